"""The engine with a task without text: fitting a line, with a criterion to be maximized."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from maskling.errors import CheckpointError
from maskling.objectives.losses import Term
from maskling.randomness import stream
from maskling.train import checkpoint
from maskling.train.events import Evaluated, Event, Finished, Started, Step
from maskling.train.optimizer import AdamW
from maskling.train.run import run_training
from maskling.train.schedule import ConstantSchedule
from maskling.train.settings import RunSettings, SystemSettings, TrainSettings
from maskling.train.task import Criterion, DataCounts, StepBatches, Task, TrainingData, data_step

SIZE = 8  # points of a step


class LineRecipe(RunSettings):
    slope: float = 3.0
    seed: int = 0
    optimizer: AdamW = AdamW(lr=0.05)
    schedule: ConstantSchedule = ConstantSchedule(warmup=0)
    train: TrainSettings = TrainSettings(steps=20, evaluate_every=2, save_every=5, log_every=1)
    system: SystemSettings = SystemSettings(device="cpu", dtype="fp32")


def work(step: int, seed: int, slope: float, skipped_ranges: object) -> StepBatches:
    text = data_step(step, skipped_ranges)
    x = stream(seed, "points", text).standard_normal((2, SIZE // 2, 1)).astype(np.float32)
    numbers = np.arange(text * SIZE, (text + 1) * SIZE)
    batches = [(part, slope * part) for part in x]
    return StepBatches(
        step, batches, {"square": SIZE, "never": 0}, SIZE, 1.0, 6.0, numbers, [SIZE // 2] * 2, {"points": SIZE}
    )


class Line(Task[LineRecipe, nn.Sequential]):
    """Two layers with dropout, drawn from the generator that each step seeds."""

    criterion = Criterion("nearness", higher=True)
    row_tokens = 8
    scripted: ClassVar[dict[int, float]] = {}

    def __init__(self, recipe: LineRecipe) -> None:
        self.recipe = recipe

    weights: ClassVar[dict[str, float]] = {"square": 0.5, "never": 1.0}
    evaluates = True

    def supply(self) -> DataCounts:
        return DataCounts(0, 1, SIZE)

    def first_module(self) -> nn.Sequential:
        torch.manual_seed(self.recipe.seed)
        return nn.Sequential(nn.Linear(1, 7), nn.Dropout(0.2), nn.BatchNorm1d(7), nn.Linear(7, 1))

    empty_module = first_module

    def batch_builder(self, ranks, skipped_ranges=()) -> Callable[[int], StepBatches]:  # noqa: ARG002
        return partial(work, seed=self.recipe.seed, slope=self.recipe.slope, skipped_ranges=skipped_ranges)

    def terms(self, module, batch, forward, device) -> dict[str, Term]:  # noqa: ARG002
        x, y = map(torch.from_numpy, batch)
        return {"square": Term((forward(x) - y).square().sum(), len(x))}

    def evaluate(self, module, compute, ranks) -> dict[str, float | int | None]:  # noqa: ARG002
        module.eval()
        with torch.no_grad():
            nearness = float(module(torch.ones(1, 1)))
        return {"nearness": nearness, "broken": float("nan"), "count": 3}

    def write(self, run_dir, module, best) -> Path:
        folder = run_dir / "model"
        folder.mkdir(exist_ok=True)
        save_file(module.state_dict(), folder / "line.safetensors")
        (folder / "config.json").write_text(json.dumps(best and best.numbers))
        return folder


class Scripted(Line):
    """Evaluations with given values."""

    def evaluate(self, module, compute, ranks) -> dict[str, float | int | None]:
        return super().evaluate(module, compute, ranks) | {"nearness": self.script.pop(0)}


class Points(TrainingData[LineRecipe]):
    data, tokenizer, path = "points", "none", "nowhere"
    settings = LineRecipe
    made: type[Line] = Line

    def complete_recipe(self, recipe, saved) -> LineRecipe:  # noqa: ARG002
        return recipe

    def initial_weights_id(self, recipe, known) -> None:  # noqa: ARG002
        return None

    def build_task(self, recipe, ranks) -> Line:  # noqa: ARG002
        return self.made(recipe)


def runs(recipe: LineRecipe, folder: Path, material: TrainingData[LineRecipe] | None = None, **more) -> list[Event]:
    return list(run_training(recipe, folder, lambda *_: material or Points(), **more))


def scripted(values: list[float]) -> Points:
    material = Points()
    material.made = type("Scripted", (Scripted,), {"script": values})
    return material


def with_train(**changes: object) -> LineRecipe:
    recipe = LineRecipe()
    return recipe.with_train(recipe.train.model_copy(update=changes))


def weights(folder: Path, step: int) -> dict[str, torch.Tensor]:
    return load_file(folder / "checkpoints" / f"step-{step:06d}" / "model.safetensors")


def test_a_module_of_any_kind_is_trained_judged_and_written(tmp_path: Path):
    events = runs(LineRecipe(), tmp_path)
    steps = [event for event in events if isinstance(event, Step)]
    assert steps[0].terms["never"] is None
    assert steps[0].loss == pytest.approx(0.5 * steps[0].terms["square"])
    assert steps[-1].loss < steps[0].loss
    assert steps[0].flat()["points"] == SIZE
    evaluated = [event for event in events if isinstance(event, Evaluated)]
    assert evaluated[0].measured["broken"] is None
    # More is better here: the slope is 3, and the line rises to it.
    best = max(evaluated, key=lambda event: event.measured["nearness"])
    assert isinstance(events[-1], Finished)
    assert (events[-1].best_step, events[-1].best_value) == (best.step, best.measured["nearness"])
    assert json.loads((tmp_path / "model" / "config.json").read_text()) == best.measured
    written = load_file(tmp_path / "model" / "line.safetensors")
    assert torch.equal(written["3.weight"], weights(tmp_path, best.step)["3.weight"])


@pytest.mark.parametrize("at", [3, 5, 13])
def test_any_task_goes_on_to_the_same_bits_buffers_included(tmp_path: Path, at: int):
    runs(LineRecipe(), tmp_path / "straight")
    for event in run_training(LineRecipe(), tmp_path / "left", lambda *_: Points()):
        if isinstance(event, Step) and event.step == at:
            break
    runs(LineRecipe(), tmp_path / "left")
    one, other = weights(tmp_path / "straight", 20), weights(tmp_path / "left", 20)
    assert "2.running_mean" in one
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_of_another_task_setting_is_refused(tmp_path: Path):
    runs(LineRecipe(), tmp_path)
    with pytest.raises(CheckpointError, match=r"slope = 3\.0, but this command asks for 4\.0"):
        runs(LineRecipe(slope=4.0), tmp_path)


def test_patience_ends_a_run_after_so_many_evaluations_without_a_better_one(tmp_path: Path):
    recipe = with_train(patience=3)
    values = [1.0, 5.0, 5.0, 4.0, 5.0, 9.0]
    events = runs(recipe, tmp_path, scripted(values))
    # An equal one is no better: the best is of step 4, and three more evaluations end it.
    assert values == [9.0]
    assert [event.step for event in events if isinstance(event, Step)] == list(range(1, 11))
    assert (events[-1].step, events[-1].steps, events[-1].best_step, events[-1].stopped) == (10, 20, 4, False)
    assert json.loads((tmp_path / "model" / "config.json").read_text())["nearness"] == 5.0
    # It is over for good.
    (event,) = runs(recipe, tmp_path, scripted([]))
    assert (event.already, event.step, event.best_value) == (True, 10, 5.0)


def test_patience_outlives_a_stop(tmp_path: Path):
    recipe, values = with_train(patience=3), [1.0, 5.0, 5.0, 4.0, 5.0, 9.0]
    for event in run_training(recipe, tmp_path, lambda *_: scripted(values)):
        if isinstance(event, Step) and event.step == 7:
            break
    # The checkpoint of step 5 knows of the first two evaluations; that of step 6 is made again.
    assert checkpoint.newest_whole(tmp_path)[0].state.since_best == 0
    events = runs(recipe, tmp_path, scripted([5.0, 4.0, 5.0, 9.0]))
    assert next(event for event in events if isinstance(event, Started)).resumed_from == 5
    assert (events[-1].step, events[-1].best_step) == (10, 4)


@pytest.mark.parametrize(
    ("value", "before", "higher", "better"),
    [
        (0.5, None, False, True),
        (0.5, 0.6, False, True),
        (0.5, 0.6, True, False),
        (0.5, 0.5, False, False),
        (0.5, 0.5, True, False),
        (float("nan"), None, True, False),
        (float("inf"), 1.0, True, False),
        (None, None, False, False),
    ],
)
def test_which_number_is_better(value: float | None, before: float | None, higher: bool, better: bool):
    assert Criterion("x", higher).better(value, before) is better
