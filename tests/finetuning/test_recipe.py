"""Settings of fine-tuning, and what is wrong with what people give."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from maskling.config import overrides
from maskling.errors import DataError, MasklingError, ModelError, SettingsError
from maskling.finetuning.finetune import finetune
from maskling.finetuning.kinds import KINDS
from maskling.finetuning.recipe import FinetuneRecipe, learning_rate, read_finetune_recipe
from maskling.model.config import BertConfig
from maskling.train.settings import read_settings

Make = Callable[..., FinetuneRecipe]


def test_the_rate_follows_the_size_of_the_encoder_unless_one_is_given(models: dict[str, Path]):
    found = read_finetune_recipe(overrides([("encoder.path", str(models["bert"]))]))
    assert found.settings.optimizer.lr == 1e-3
    assert found.origins["optimizer.lr"] == "the size of the encoder"
    given = read_finetune_recipe(overrides([("encoder.path", str(models["bert"])), ("optimizer.lr", "1e-5")]))
    assert given.settings.optimizer.lr == 1e-5
    wide = [BertConfig(hidden_size=width, num_heads=1) for width in (128, 384, 768, 1024)]
    rates = {name: [learning_rate(config, kind) for config in wide] for name, kind in KINDS.items()}
    assert rates["classify"] == rates["tag"] == rates["answer"] == [1e-3, 1e-4, 3e-5, 3e-5]
    assert rates["pair"] == rates["regress"] == rates["similarity"] == [3e-4, 1e-4, 3e-5, 3e-5]


def test_what_a_run_writes_is_read_back_the_same(recipe_of: Make, tmp_path: Path):
    recipe = recipe_of("pair", {"task.positive": "0", "train.steps": 1})
    (tmp_path / "config.toml").write_text(recipe.to_toml())
    assert read_settings(tmp_path, FinetuneRecipe) == recipe


def records(tmp_path: Path, *rows: dict[str, object]) -> Path:
    path = tmp_path / "bad.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


ONE = {"text": "the fox", "label": "animal"}
BAD = {
    "one class": ("classify", [ONE, ONE], DataError, "all labels are 'animal'"),
    "no labels": (
        "classify",
        [{"text": "the fox"}] * 3,
        DataError,
        r"bad\.jsonl:1 has no column with a name known for labels",
    ),
    "pairs for single texts": (
        "classify",
        [{"sentence1": "a", "sentence2": "b", "label": "x"}],
        DataError,
        "--task pair",
    ),
    "single texts for pairs": ("pair", [ONE, ONE], DataError, "--task classify"),
    "names for numbers": ("regress", [ONE, ONE], DataError, "a number is needed"),
    "equal numbers": ("regress", [{"text": "a", "label": 1}, {"text": "b", "label": 1.0}], DataError, "all numbers"),
    "no file": ("classify", None, DataError, "nowhere.jsonl"),
}


@pytest.mark.parametrize(("kind", "rows", "error", "words"), BAD.values(), ids=BAD)
def test_records_that_teach_nothing_are_refused_and_leave_no_model(
    recipe_of: Make, tmp_path: Path, kind: str, rows, error: type[MasklingError], words: str
):
    path = tmp_path / "nowhere.jsonl" if rows is None else records(tmp_path, *rows)
    with pytest.raises(error, match=words):
        list(finetune(recipe_of(kind, {"data.train": path}), tmp_path / "run"))
    assert not (tmp_path / "run" / "model").exists()
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_settings_that_do_not_fit_are_refused(recipe_of: Make, tmp_path: Path):
    with pytest.raises(SettingsError, match=r"data\.max_length = 300 is longer than the 67 positions"):
        list(finetune(recipe_of("classify", {"data.max_length": 300}, model="bert"), tmp_path))
    with pytest.raises(SettingsError, match="task: there is no kind 'classfy'; did you mean 'classify'"):
        recipe_of("classify", {"task.kind": "classfy"})
    with pytest.raises(ModelError, match="nowhere"):
        recipe_of("classify", {"encoder.path": tmp_path / "nowhere"})
    with pytest.raises(DataError, match=r"task\.positive is 'yes'"):
        list(finetune(recipe_of("pair", {"task.positive": "yes"}), tmp_path))
