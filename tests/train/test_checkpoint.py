"""Checkpoints are complete or absent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from maskling.errors import CheckpointError
from maskling.train import checkpoint
from maskling.train.checkpoint import State
from maskling.train.task import Best

BEST = Best(1, 0.1 + 0.2, {"mlm_loss": 0.1 + 0.2, "pairs": 0, "pair_loss": None})


def module(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 5), nn.LayerNorm(5))


def saved(folder: Path, step: int, seed: int = 0) -> Path:
    state = State(step=step, steps=9, recipe="r", data="d", tokenizer="t", best=BEST)
    return checkpoint.save(folder, module(seed), {"0.weight|exp_avg": torch.full((3,), 1.5)}, state).path


def test_what_is_saved_is_what_is_read(tmp_path: Path):
    saved(tmp_path, 7, seed=1)
    found, problems = checkpoint.newest_whole(tmp_path)
    assert problems == []
    assert found.state == State(step=7, steps=9, recipe="r", data="d", tokenizer="t", best=BEST)
    other = module(2)
    moments = found.load(other)
    assert torch.equal(other[0].weight, module(1)[0].weight)
    assert torch.equal(moments["0.weight|exp_avg"], torch.full((3,), 1.5))


def test_a_tied_weight_is_stored_once_and_tied_again(tmp_path: Path):
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(3, 3)
            self.second = nn.Linear(3, 3)
            self.second.weight = self.first.weight

    one, other = Tied(), Tied()
    found = checkpoint.save(tmp_path, one, {}, State(step=1, steps=9, recipe="", data="", tokenizer=""))
    found.load(other)
    assert torch.equal(other.second.weight, one.first.weight)


def test_an_empty_run_has_no_checkpoint(tmp_path: Path):
    assert checkpoint.newest_whole(tmp_path) == (None, [])


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "missing", "empty"])
def test_the_newest_whole_one_is_taken_and_the_damaged_named(tmp_path: Path, name: str, damage: str):
    saved(tmp_path, 5)
    path = saved(tmp_path, 12) / name
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        flipped = bytes([content[0] ^ 64]) + content[1:]
        path.write_bytes({"cut": content[:-9], "flipped": flipped, "empty": b""}[damage])
    found, problems = checkpoint.newest_whole(tmp_path)
    assert found.state.step == 5
    assert len(problems) == 1
    assert "step-000012" in problems[0]


NO_STATES = [
    "[]",
    "3",
    "{}",
    '{"format": 3}',
    '{"format": 3, "checksums": {}}',
    '{"format": 3, "checksums": 3, "step": 1, "recipe": "", "data": "", "tokenizer": ""}',
]


@pytest.mark.parametrize("text", NO_STATES)
def test_json_that_is_no_state_is_damage(tmp_path: Path, text: str):
    path = saved(tmp_path, 5)
    (path / "state.json").write_text(text)
    with pytest.raises(CheckpointError, match="is damaged"):
        checkpoint.read_checkpoint(path)


def test_another_format_is_not_called_damaged(tmp_path: Path):
    path = saved(tmp_path, 5)
    state = json.loads((path / "state.json").read_text())
    (path / "state.json").write_text(json.dumps({**state, "format": 1}))
    with pytest.raises(CheckpointError, match="another version of maskling"):
        checkpoint.read_checkpoint(path)


def test_nothing_whole_is_an_error_with_the_remedy(tmp_path: Path):
    (saved(tmp_path, 5) / "state.json").unlink()
    with pytest.raises(CheckpointError, match=r"none of the 1 checkpoints .* another --out"):
        checkpoint.newest_whole(tmp_path)


def test_weights_of_another_shape_are_refused(tmp_path: Path):
    found = checkpoint.read_checkpoint(saved(tmp_path, 5))
    with pytest.raises(CheckpointError, match=r"another model .*0.weight"):
        found.load(nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(5)))


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    saved(tmp_path, 5, seed=1)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "write_json", full)
    with pytest.raises(CheckpointError, match=r"could not be written: .*No space left"):
        saved(tmp_path, 5, seed=2)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-000005"]
    other = module(3)
    checkpoint.newest_whole(tmp_path)[0].load(other)
    assert torch.equal(other[0].weight, module(1)[0].weight)


def test_what_an_interrupted_write_left_is_cleared_and_what_it_was_replacing_put_back(tmp_path: Path):
    path = saved(tmp_path, 5)
    path.rename(path.with_name("step-000005.old"))
    (tmp_path / "checkpoints" / "step-000009.123.partial").mkdir()
    checkpoint.remove_partial_checkpoints(tmp_path)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-000005"]
    assert checkpoint.newest_whole(tmp_path)[0].state.step == 5


def test_pruning_keeps_the_newest_the_best_and_what_lies_ahead(tmp_path: Path):
    for step in (1, 2, 3, 4, 5, 9):
        saved(tmp_path, step)
    checkpoint.prune(tmp_path, step=5, keep=2, best_step=2)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [
        f"step-{step:06d}" for step in (2, 4, 5, 9)
    ]
