"""Layers of settings: the last word wins, its origin is remembered, and a mistake is one clear line."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import Field

from maskling.config import Layer, Settings, load_toml, one_of, overrides, resolve, strategies_by_kind
from maskling.errors import SettingsError


class Token(Settings):
    kind: Literal["token"] = "token"
    rate: float = Field(0.15, gt=0, lt=1)


class Span(Settings):
    kind: Literal["span"] = "span"
    rate: float = Field(0.15, gt=0, lt=1)
    max_words: int = Field(10, ge=1)


class Train(Settings):
    batch_size: int = Field(32, ge=1)
    budget: str | None = None
    workers: Literal["auto"] | int = "auto"


class Run(Settings):
    seed: int = 0
    masking: one_of(strategies_by_kind(Token, Span)) = Token()  # type: ignore[valid-type]
    train: Train = Train()


def test_later_layers_win_and_every_origin_is_known():
    layers = [
        Layer("preset small", {"train": {"batch_size": 64}, "seed": 3}),
        Layer("train.toml", {"train": {"batch_size": 128}}),
        *overrides([("train.batch-size", "256")]),
    ]
    resolved = resolve(Run, layers)
    assert resolved.settings.train.batch_size == 256
    assert resolved.origins["train.batch_size"] == "--train.batch-size"
    assert resolved.origins["seed"] == "preset small"
    assert resolved.origins["masking.rate"] == "default"


def test_another_kind_resets_its_section():
    layers = [
        Layer("preset", {"masking": {"kind": "span", "max_words": 5, "rate": 0.3}}),
        *overrides([("masking.kind", "token")]),
    ]
    resolved = resolve(Run, layers)
    assert resolved.settings.masking == Token()
    assert resolved.origins["masking.rate"] == "default"


def test_the_same_kind_again_keeps_earlier_values():
    layers = [Layer("preset", {"masking": {"kind": "span", "max_words": 5}}), *overrides([("masking.kind", "span")])]
    assert resolve(Run, layers).settings.masking == Span(max_words=5)


@pytest.mark.parametrize(
    ("pairs", "line"),
    [
        (
            [("train.batch-siz", "3")],
            "train.batch_siz: there is no such setting; did you mean 'batch_size'? (from --train.batch-siz)",
        ),
        (
            [("train.batch-size", "0")],
            "train.batch_size: should be at least 1, not '0' (from --train.batch-size)",
        ),
        ([("seed", "x")], "seed: should be a whole number, not 'x' (from --seed)"),
        ([("masking.kind", "spam")], "masking: there is no kind 'spam'; did you mean 'span'? (there are token, span)"),
        ([("train", "3")], "train: this is a section of settings; give one of them, such as train.batch_size"),
        ([("train.batch-size.x", "3")], "train.batch_size: this is a single setting, not a section"),
        ([("train.workers", "many")], "train.workers: should be 'auto' or a whole number, not 'many'"),
        (
            [("masking.kind", "span"), ("masking.max-word", "3")],
            "masking.max_word: there is no such setting; did you mean 'max_words'? (from --masking.max-word)",
        ),
        ([("trian.batch-size", "3")], "trian: there is no such setting; did you mean 'train'?"),
    ],
)
def test_an_error_names_the_setting_the_value_and_its_origin(pairs: list[tuple[str, Any]], line: str):
    with pytest.raises(SettingsError) as caught:
        resolve(Run, overrides(pairs))
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_none_on_the_command_line_unsets():
    layers = [Layer("file", {"train": {"budget": "4m"}}), *overrides([("train.budget", "none")])]
    assert resolve(Run, layers).settings.train.budget is None


def test_a_file_that_is_missing_or_not_toml_is_named(tmp_path: Path):
    with pytest.raises(SettingsError, match="no such settings file"):
        load_toml(tmp_path / "a.toml")
    (tmp_path / "b.toml").write_text("a = = 2")
    with pytest.raises(SettingsError, match=r"b\.toml is not a TOML file"):
        load_toml(tmp_path / "b.toml")
