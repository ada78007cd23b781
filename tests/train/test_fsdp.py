"""Sharded ranks (FSDP) train to the same weights as unsharded ones, and write the same checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from chaos_runs import config, metrics
from maskling.errors import SettingsError
from maskling.train.distributed import Ranks
from maskling.train.engine import _check_sharding
from maskling.train.fsdp import gather_tensors
from maskling.train.pretrain import pretrain
from maskling.train.recipe import Recipe
from torch_ranks import assert_near, ran, torchrun, weights
from toy_runs import Make

# A busy machine takes its time to start so many processes.
pytestmark = pytest.mark.timeout(2000)
# Rows that do not divide by two ranks, two micro-batches a rank, pairs, evaluations that find a best step.
CHANGES = {
    "pairing.kind": "nsp",
    "train.steps": 20,
    "train.evaluate_every": 5,
    "train.batch_size": 7,
    "train.log_every": 1,
    "system.micro_batch_tokens": 64,
}
PIECES = {**CHANGES, "system.shard": True}


def losses(run_dir: Path) -> list[float]:
    return [float(line["loss"]) for line in metrics(run_dir) if line["kind"] == "step"]  # type: ignore[arg-type]


def done(recipe: Recipe, folder: Path, run_dir: Path, *what: str) -> None:
    """Run the recipe on two ranks."""
    found = ran(torchrun(config(folder, recipe) if not folder.exists() else folder, run_dir, *what))
    assert found.returncode == 0, found.stderr


class InPieces:
    """A sharded tensor."""

    placements = ()
    asked = 0

    def full_tensor(self) -> torch.Tensor:
        self.asked += 1
        return torch.ones(2)


@pytest.mark.parametrize("rank", [0, 1])
def test_what_is_in_pieces_is_put_together_by_all_and_kept_by_the_first(rank: int):
    pieces = InPieces()
    found = gather_tensors({"a": pieces, "b": torch.zeros(1)}, Ranks(rank, 2))
    assert pieces.asked == 1
    assert {name: value.tolist() for name, value in found.items()} == ({"a": [1, 1], "b": [0]} if rank == 0 else {})


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["modern", "bert"])
def test_pieces_learn_what_the_whole_learns_over_twenty_steps(recipe_of: Make, tmp_path: Path, kind: str):
    shape = {"model.kind": kind, "model.hidden_size": 32, "model.num_layers": 2, "model.num_heads": 2}
    shape |= {"model.intermediate_size": 48, "model.dropout": 0.0, "model.attention_dropout": 0.0}
    done(recipe_of({**CHANGES, **shape}), tmp_path / "whole.config", tmp_path / "whole")
    done(recipe_of({**PIECES, **shape}), tmp_path / "pieces.config", tmp_path / "pieces")
    assert len(losses(tmp_path / "whole")) == 20
    assert losses(tmp_path / "pieces") == pytest.approx(losses(tmp_path / "whole"), rel=1e-6)
    assert_near(tmp_path / "pieces", tmp_path / "whole", 20)


@pytest.mark.slow
def test_pieces_stopped_and_gone_on_with_end_with_the_same_bits(recipe_of: Make, tmp_path: Path):
    recipe, made = recipe_of({**PIECES, "model.dropout": 0.1}), tmp_path / "config"
    done(recipe, made, tmp_path / "straight")
    for what in (("stop", "7"), ("leave", "13"), ()):
        done(recipe, made, tmp_path / "stopped", *what)
    straight, stopped = weights(tmp_path / "straight", 20), weights(tmp_path / "stopped", 20)
    assert all(torch.equal(straight[name], stopped[name]) for name in straight)
    assert metrics(tmp_path / "straight") == metrics(tmp_path / "stopped")


@pytest.mark.slow
def test_one_process_two_ranks_and_two_with_pieces_go_on_for_each_other(recipe_of: Make, tmp_path: Path):
    for _ in pretrain(recipe_of(CHANGES), tmp_path / "alone"):
        pass
    pieces = recipe_of(PIECES)
    done(pieces, tmp_path / "pieces", tmp_path / "run", "stop", "6")
    # A single process has nothing to share out: the setting may stay.
    for event in pretrain(pieces, tmp_path / "run"):
        if getattr(event, "step", 0) == 11:
            break
    done(recipe_of(CHANGES), tmp_path / "whole", tmp_path / "run", "stop", "14")
    done(pieces, tmp_path / "pieces", tmp_path / "run")
    assert losses(tmp_path / "run") == pytest.approx(losses(tmp_path / "alone"), rel=1e-5)
    assert_near(tmp_path / "run", tmp_path / "alone", 20)


@pytest.mark.slow
def test_a_run_in_pieces_goes_back_and_plans_for_a_time(recipe_of: Make, tmp_path: Path):
    changes: dict[str, Any] = {"optimizer.lr": 1e30, "train.clip": "none", "train.on_nonfinite": "rewind"}
    made = config(tmp_path / "wild", recipe_of({**PIECES, **changes}))
    found = ran(torchrun(made, tmp_path / "wild-run"))
    assert found.returncode == 1
    assert "lower optimizer.lr in a new run" in found.stderr
    assert "rewinds to its last checkpoint" in found.stdout
    timed = {name: value for name, value in PIECES.items() if name != "train.steps"}
    done(recipe_of({**timed, "train.budget": "3s"}), tmp_path / "planned", tmp_path / "planned-run")
    assert len(losses(tmp_path / "planned-run")) > 0


def test_one_process_with_pieces_is_one_process(recipe_of: Make, tmp_path: Path):
    for name, changes in (("whole", CHANGES), ("pieces", PIECES)):
        for _ in pretrain(recipe_of({**changes, "train.steps": 3}), tmp_path / name):
            pass
    assert metrics(tmp_path / "whole") == metrics(tmp_path / "pieces")


@pytest.mark.parametrize(
    ("changes", "whole", "words"),
    [
        ({}, False, "fine-tuning"),
        ({"optimizer.kind": "muon"}, True, "muon needs whole matrices"),
        ({"system.compile": True}, True, "cannot be compiled"),
    ],
)
def test_what_does_not_go_with_pieces_is_refused(recipe_of: Make, changes: dict[str, Any], whole: bool, words: str):
    class OfRecipe:
        recipe = recipe_of({**PIECES, **changes})

    with pytest.raises(SettingsError, match=f"system.shard: .*{words}"):
        _check_sharding(OfRecipe(), whole)  # type: ignore[arg-type]
