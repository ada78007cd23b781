"""Losses that are not finite: rewind to the last checkpoint, and continue with later text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from maskling.errors import NumericsError
from maskling.train import checkpoint, loop
from maskling.train import pretrain as pretrain_module
from maskling.train.events import Step, Warned
from maskling.train.prepared_data import build_batches
from maskling.train.pretrain import pretrain
from maskling.train.recipe import Recipe
from maskling.train.step import StepResult, take_step
from maskling.train.task import StepBatches, data_step
from toy_runs import Make

CHANGES = {"train.on_nonfinite": "rewind", "train.log_every": 1, "model.dropout": 0.1}


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[int], bool]], None]:
    """poison(bad): text for whose first example `bad` is true turns the weights to NaN before its step."""

    def install(bad: Callable[[int], bool]) -> None:
        def spoilt(engine, batches: StepBatches, *rest) -> StepResult:
            if bad(int(batches.example_ids[0])):
                with torch.no_grad():
                    next(engine.module.parameters()).fill_(float("nan"))
            return take_step(engine, batches, *rest)

        monkeypatch.setattr(loop, "take_step", spoilt)

    return install


def first_examples(recipe: Recipe, steps: list[int]) -> list[int]:
    """Return the id of the first example of each step."""
    from maskling.train.distributed import Ranks
    from maskling.train.prepared_data import PreparedData

    examples = PreparedData.open(Path(recipe.data.path)).examples(recipe)
    return [int(build_batches(step, recipe, examples, Ranks()).example_ids[0]) for step in steps]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "checkpoints" / "step-000012" / "model.safetensors")


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_text_steps_by_hand():
    left_out = [[4, 2, 1], [6, 3, 2]]
    assert [data_step(step, left_out) for step in range(8)] == [0, 1, 2, 3, 6, 7, 11, 12]


def test_a_run_goes_back_leaves_the_text_out_and_repeats_itself(
    recipe_of: Make, tmp_path: Path, poison, monkeypatch: pytest.MonkeyPatch
):
    recipe = recipe_of(CHANGES)
    (bad,) = first_examples(recipe, [5])
    # What it should come to: steps 5 and on take the text of two steps later, and nothing is ever wrong.
    with monkeypatch.context() as patch:
        patch.setattr(pretrain_module, "build_batches", _shifted)
        list(pretrain(recipe, tmp_path / "wanted"))
    poison(lambda number: number == bad)

    events = list(pretrain(recipe, tmp_path / "run"))
    assert [event.step for event in events if isinstance(event, Step)] == [*range(1, 7), *range(5, 13)]
    assert any("rewinds" in event.text for event in events if isinstance(event, Warned))
    assert same(weights(tmp_path / "run"), weights(tmp_path / "wanted"))
    assert checkpoint.newest_whole(tmp_path / "run")[0].state.left_out == [[4, 2, 1]]

    # Left after it went back, before and after the next checkpoint, and gone on with.
    for stop in (7, 10):
        for event in pretrain(recipe, tmp_path / "again"):
            if isinstance(event, Step) and event.step == stop:
                break
    list(pretrain(recipe, tmp_path / "again"))
    assert same(weights(tmp_path / "again"), weights(tmp_path / "wanted"))
    lines = [(tmp_path / name / "metrics.jsonl").read_text().count("\n") for name in ("run", "again", "wanted")]
    # Each of three evaluations has a line of numbers and one of samples.
    assert lines == [12 + 2 * 3] * 3


def _shifted(step: int, recipe, examples, ranks, skipped_ranges):
    return build_batches(step, recipe, examples, ranks, skipped_ranges=[[4, 2, 1]])


def test_without_a_checkpoint_it_goes_back_to_the_beginning(recipe_of: Make, tmp_path: Path, poison):
    recipe = recipe_of(CHANGES)
    (bad,) = first_examples(recipe, [1])
    poison(lambda number: number == bad)
    events = list(pretrain(recipe, tmp_path))
    assert [event.step for event in events if isinstance(event, Step)] == [1, 2, *range(1, 13)]


def test_it_gives_up_where_no_text_helps(recipe_of: Make, tmp_path: Path, poison):
    poison(lambda _: True)
    with pytest.raises(NumericsError, match=r"step 1: .* rewinding to step 0 3 times.*lower optimizer\.lr"):
        list(pretrain(recipe_of(CHANGES), tmp_path))
