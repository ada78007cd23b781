"""The config.json of a stranger: the model is read, or refused in one line, and no memory is taken for a lie."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import small_models
from hostile_json import changed, said
from maskling.errors import ModelError
from maskling.model.folder import read_folder, write_weights
from maskling.model.tasks.folder import build_task_model, read_task_folder, write_task_weights

Read = Callable[[Path], object]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, dict[str, Any], Read]]:
    """A folder of each kind of model, what its config.json says, and what reads it."""
    place = tmp_path_factory.mktemp("models")
    tokenizer = small_models.wordpiece(place / "wordpiece")
    write_weights(small_models.bert(tokenizer, pair_head=True), place / "bert")
    write_weights(small_models.roberta(small_models.byte_level(place / "bytes")), place / "roberta")
    write_weights(small_models.modern(tokenizer), place / "modern")
    write_task_weights(build_task_model(place / "bert", "tag", ("O", "B-x", "I-x"), 0).model, place / "tag")
    write_task_weights(build_task_model(place / "modern", "regress", ("x",), 0).model, place / "regress")
    kinds: list[tuple[str, Read]] = [(name, read_folder) for name in ("bert", "roberta", "modern")]
    kinds += [(name, read_task_folder) for name in ("tag", "regress")]
    return [(place / name, json.loads((place / name / "config.json").read_text()), read) for name, read in kinds]


def refusal(folder: Path, config: bytes, read: Read) -> str:
    """What a folder with this config.json is refused with; nothing if it is read."""
    before = (folder / "config.json").read_bytes()
    try:
        (folder / "config.json").write_bytes(config)
        read(folder)
    except ModelError as error:
        return str(error)
    finally:
        (folder / "config.json").write_bytes(before)
    return ""


@given(data=st.data())
def test_any_config_json(folders: list[tuple[Path, dict[str, Any], Read]], data: st.DataObject):
    folder, tree, read = data.draw(st.sampled_from(folders))
    text = refusal(folder, said(data.draw(changed(tree))), read)
    assert "\n" not in text
    assert len(text) < 1500


@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize(
    "lie",
    [
        {"num_hidden_layers": 10**9},
        {"num_hidden_layers": 10**9, "layer_types": None},
        {"vocab_size": 2**40},
        {"hidden_size": 10**9, "num_attention_heads": 1},
        {"intermediate_size": 2**50},
    ],
    ids=lambda lie: " ".join(lie),
)
def test_sizes_that_the_weights_do_not_have_cost_no_memory(
    folders: list[tuple[Path, dict[str, Any], Read]], place: int, lie: dict[str, Any]
):
    folder, tree, read = folders[place]
    assert "belong together" in refusal(folder, said(tree | lie), read) or "layer_types" in lie or "layer_types" in tree


@pytest.mark.parametrize("text", [b"[" * 100_000, b'{"a":' * 100_000, b" " * (17 << 20), b"\xff", b"[]", b"{}"])
def test_what_is_no_configuration(folders: list[tuple[Path, dict[str, Any], Read]], text: bytes):
    for folder, _, read in folders:
        assert str(folder) in refusal(folder, text, read)


def test_a_class_or_dropout_of_the_wrong_kind(folders: list[tuple[Path, dict[str, Any], Read]], tmp_path: Path):
    folder, tree, read = folders[3]
    copy = shutil.copytree(folder, tmp_path / "copy")
    assert refusal(copy, said(tree | {"architectures": 5}), read) == ""  # the weights tell
    assert "classifier_dropout = 'much' is not a number" in refusal(
        copy, said(tree | {"classifier_dropout": "much"}), read
    )
