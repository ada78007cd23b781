"""A run folder, checkpoint or model folder from an untrusted source: refused with a message, whatever its bytes."""

from __future__ import annotations

import json
import pickle
import shutil
import tracemalloc
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import nn

from maskling.errors import CheckpointError, MasklingError, ModelError
from maskling.files import checksum
from maskling.model.build import build_masked_lm
from maskling.model.config import ModernConfig
from maskling.model.folder import read_folder, write_weights
from maskling.train import checkpoint
from maskling.train.checkpoint import State
from maskling.train.recipe import Recipe
from maskling.train.run_folder import saved_recipe
from toy_runs import Make


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint."""
    module = nn.Linear(3, 5)
    state = State(step=7, steps=9, recipe="r", data="d", tokenizer="t")
    return checkpoint.save(tmp_path_factory.mktemp("whole"), module, {"weight|m": torch.ones(5, 3)}, state).path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder."""
    folder = tmp_path_factory.mktemp("model")
    sizes = {"hidden_size": 8, "num_layers": 1, "num_heads": 2, "intermediate_size": 12, "vocab_size": 11}
    write_weights(build_masked_lm(ModernConfig(**sizes, max_positions=16), 0), folder)
    return folder


def header(tree: object, body: bytes = b"", length: int | None = None) -> bytes:
    text = tree if isinstance(tree, bytes) else json.dumps(tree).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + body


def tensor(shape: list[int], begin: int, end: int, kind: str = "F32") -> dict[str, object]:
    return {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}


LIES = {
    "a header longer than the file": header({}, length=1 << 40),
    "the longest header there can be": header({}, length=(1 << 64) - 1),
    "a tensor larger than any memory": header({"weight": tensor([1 << 40, 1 << 20], 0, 1 << 62)}),
    "a shape that its bytes do not fill": header({"weight": tensor([1 << 40], 0, 4)}, bytes(4)),
    "a product that overflows": header({"weight": tensor([1 << 33, 1 << 33], 0, 0)}),
    "bytes from before the file": header({"weight": tensor([1], -8, -4)}, bytes(4)),
    "two tensors on the same bytes": header({"weight": tensor([1], 0, 4), "bias": tensor([1], 0, 4)}, bytes(4)),
    "nested without end": header(b"[" * 100_000, bytes(4)),
    "a pickle": pickle.dumps({"weight": [1.0]}),
    "nothing": b"",
}


def with_file(folder: Path, name: str, content: bytes, copy: Path) -> Path:
    """Return a copy with a replaced file and a matching checksum."""
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy)
    (copy / name).write_bytes(content)
    if (copy / "state.json").exists():
        state = json.loads((copy / "state.json").read_text())
        state["checksums"][name] = checksum(copy / name)
        (copy / "state.json").write_text(json.dumps(state))
    return copy


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors"])
@pytest.mark.parametrize("lie", LIES, ids=str)
def test_a_header_that_lies_is_refused_and_costs_no_memory(whole: Path, tmp_path: Path, name: str, lie: str):
    hostile = with_file(whole, name, LIES[lie], tmp_path / whole.name)
    tracemalloc.start()
    with pytest.raises(CheckpointError, match="damaged"):
        checkpoint.read_checkpoint(hostile).load(nn.Linear(3, 5))
    assert tracemalloc.get_traced_memory()[1] < 64 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("lie", LIES, ids=str)
def test_a_model_folder_with_a_header_that_lies_is_refused(model: Path, tmp_path: Path, lie: str):
    with pytest.raises(ModelError):
        read_folder(with_file(model, "model.safetensors", LIES[lie], tmp_path / "hostile"))


@given(data=st.data())
def test_any_bytes_in_a_header_load_or_are_refused(
    whole: Path, model: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
):
    folder, name = data.draw(st.sampled_from([(whole, "model.safetensors"), (model, "model.safetensors")]))
    content = bytearray((folder / name).read_bytes())
    for place, value in data.draw(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255)), min_size=1)):
        content[place % len(content)] = value
    content = content[: data.draw(st.integers(0, len(content)))]
    hostile = with_file(folder, name, bytes(content), tmp_path_factory.getbasetemp() / "fuzzed" / whole.name)
    try:
        if folder is whole:
            checkpoint.read_checkpoint(hostile).load(nn.Linear(3, 5))
        else:
            read_folder(hostile)
    except MasklingError:
        pass


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(field=st.sampled_from([*State.__dataclass_fields__, "checksums", "format", "more"]), value=json_values)
def test_any_state_is_read_or_refused(whole: Path, tmp_path_factory: pytest.TempPathFactory, field: str, value: object):
    hostile = with_file(
        whole, "model.safetensors", (whole / "model.safetensors").read_bytes(), tmp_path_factory.getbasetemp() / "s"
    )
    state = json.loads((whole / "state.json").read_text()) | {field: value}
    (hostile / "state.json").write_text(json.dumps(state))
    try:
        found = checkpoint.read_checkpoint(hostile).state
    except CheckpointError:
        return
    assert type(found.step) is int
    assert found.best is None or checkpoint.checkpoint_path(Path("run"), found.best.step).parent == Path(
        "run/checkpoints"
    )


@pytest.mark.parametrize(
    "change",
    [
        {"best": {"step": "../../../etc", "value": 1.0, "numbers": {}}},
        {"step": "7"},
        {"step": 8},
        {"left_out": [["a"]]},
        {"left_out": [[1, -5, 1]]},
        {"watch": {"mean": 1.0}},
        {"recipe": None},
    ],
    ids=str,
)
def test_a_state_that_says_what_none_can_say_is_damage(whole: Path, tmp_path: Path, change: dict[str, object]):
    hostile = shutil.copytree(whole, tmp_path / whole.name)
    (hostile / "state.json").write_text(json.dumps(json.loads((whole / "state.json").read_text()) | change))
    with pytest.raises(CheckpointError, match=r"state\.json is damaged"):
        checkpoint.read_checkpoint(hostile)


@pytest.mark.parametrize("text", ["[" * 50_000, '{"a":' * 50_000, " " * (2 << 20)], ids=["lists", "objects", "blank"])
def test_a_state_that_is_deep_or_huge_is_damage(whole: Path, tmp_path: Path, text: str):
    hostile = shutil.copytree(whole, tmp_path / whole.name)
    (hostile / "state.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"state\.json is damaged"):
        checkpoint.read_checkpoint(hostile)


def test_moments_of_another_shape_are_refused(recipe_of: Make):
    optimizer = recipe_of().optimizer.build(nn.Linear(3, 5))
    with pytest.raises(CheckpointError, match=r"weight\|exp_avg.*\[2, 2\]"):
        optimizer.load_state({"weight|exp_avg": torch.ones(2, 2), "bias|exp_avg": torch.ones(5)})


@pytest.mark.parametrize(
    "text",
    [b"\xff\xfe", b"a = " + b"[" * 20_000, b"[train]\nsteps = 'many'\n", b"unknown = 1\n"],
    ids=["no text", "deep", "wrong", "unknown"],
)
def test_a_config_that_is_none_is_refused_in_words(tmp_path: Path, text: bytes):
    (tmp_path / "config.toml").write_bytes(text)
    with pytest.raises(CheckpointError, match=r"config\.toml cannot be read"):
        saved_recipe(tmp_path, Recipe)


def test_what_is_saved_is_no_pickle(whole: Path):
    assert sorted(path.name for path in whole.iterdir()) == ["model.safetensors", "optimizer.safetensors", "state.json"]
    assert load_file(whole / "model.safetensors").keys() == {"weight", "bias"}
