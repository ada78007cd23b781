"""A time budget whose plan is corrected on the way, by what the steps really take."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskling.train import running
from maskling.train.budget import Clock, corrected, reconsiders
from maskling.train.events import Finished, Replanned, Step
from maskling.train.pretrain import pretrain
from maskling.train.recipe import Recipe, read_config
from maskling.train.schedule import LinearSchedule, Schedule, TrapezoidSchedule
from maskling.train.settings import TrainSettings
from torch_ranks import weights
from toy_runs import Make

PLANNED = TrainSettings(steps=100, budget="100s")
USUAL = TrapezoidSchedule()
# Time enough to measure something; what comes of it is said by hand.
BUDGET = {"train.budget": "2s", "train.evaluate_every": 4}


class Took(Clock):
    """Time that is given instead of measured."""

    step_seconds = 0.0

    def __init__(self, step_seconds: float, evaluation_seconds: float = 0.0) -> None:
        super().__init__(0.0, 0.0, evaluation_seconds)
        self.step_seconds = step_seconds


def test_a_faster_machine_gets_more_steps_and_a_slower_one_fewer():
    assert corrected(95.0, 20, Took(1.0), PLANNED, USUAL) == 20 + 90  # 5 % are kept for what comes
    assert corrected(80.0, 20, Took(0.5), PLANNED, USUAL) == 20 + 152
    assert corrected(60.0, 20, Took(2.0), PLANNED, USUAL) == 20 + 28


@pytest.mark.parametrize("asked", [{"evaluations": 1}, {"evaluations": 2}, {"evaluate_every": 10}], ids=str)
@pytest.mark.parametrize("step", [10, 20, 60])
def test_evaluations_that_are_still_to_come_are_counted(asked: dict[str, int], step: int):
    train = TrainSettings(steps=1000).model_copy(update=asked)
    found = corrected(100.0, step, Took(1.0, 7.0), train, USUAL)
    assert found is not None

    def cost(steps: int) -> float:
        return steps - step + 7.0 * sum(train.evaluates(at, steps) for at in range(step + 1, steps + 1))

    assert cost(found) <= 95 < cost(found + 1)


def test_a_plan_that_is_nearly_right_stays():
    assert corrected(80.0, 20, Took(1.0), PLANNED, USUAL) is None
    assert corrected(89.0, 20, Took(1.0), PLANNED, USUAL) is None


def test_plans_are_looked_at_again_until_the_learning_rate_falls_at_the_end():
    assert [step for step in range(1, 101) if reconsiders(step, 100)] == [10, 20, 30, 40, 50, 60, 70]
    assert [step for step in range(1, 54) if reconsiders(step, 53)] == [6, 12, 18, 24, 30, 36]
    assert [step for step in range(1, 4) if reconsiders(step, 3)] == [1, 2]


def test_a_run_never_goes_back_into_its_warmup():
    # Of 1,045 steps the first 63 would be warm-up.
    schedule = TrapezoidSchedule(warmup=0.06)
    assert corrected(1079.0, 20, Took(1.0), PLANNED, schedule) is None
    assert corrected(1079.0, 63, Took(1.0), PLANNED, schedule) is None
    assert corrected(1079.0, 66, Took(1.0), PLANNED, schedule) == 66 + 1025


def test_a_run_whose_time_is_over_still_lets_its_learning_rate_come_down():
    assert corrected(-3600.0, 50, Took(1.0), PLANNED, USUAL) == 55
    assert corrected(0.0, 1, Took(1.0), PLANNED, USUAL) == 2


@given(
    left=st.floats(-1e4, 1e6),
    step=st.integers(1, 200),
    took=st.floats(1e-3, 100),
    steps=st.integers(1, 200),
    schedule=st.sampled_from([USUAL, LinearSchedule(warmup=10)]),
)
def test_a_correction_leaves_steps_to_take(left: float, step: int, took: float, steps: int, schedule: Schedule):
    found = corrected(left, step, Took(took), TrainSettings(steps=steps), schedule)
    if found is not None:
        assert found > step
        assert schedule.warmup_steps(found) <= step
        assert (found - step) * took <= max(left, took * max(1, step // 10))


def test_a_clock_counts_what_was_before_and_what_comes_between_steps(monkeypatch: pytest.MonkeyPatch):
    now = 1000.0
    monkeypatch.setattr("time.perf_counter", lambda: now)
    clock = Clock(before=50.0, began=990.0, evaluation_seconds=9.0)
    assert clock.seconds == 60
    for _ in range(4):
        clock.start()
        now += 3.0
    now += 2.0  # a checkpoint
    assert clock.step_seconds == 3.5
    now += 8.0
    clock.evaluated(8.0)
    assert clock.step_seconds == 3.5
    assert clock.evaluation_seconds == 8.0
    assert clock.seconds == 82


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plans as if time had said so: first 12 steps, and 20 from the fourth on."""

    def plan(*_: object) -> TrainSettings:
        return TrainSettings(steps=12, evaluate_every=4)

    def correct(_left: float, step: int, _clock: Clock, train: TrainSettings, _schedule: Schedule) -> int | None:
        return 20 if step >= 4 and train.steps != 20 else None

    monkeypatch.setattr("maskling.train.budget.plan", plan)
    monkeypatch.setattr(running, "corrected", correct)


def events_of(recipe: Recipe, folder: Path, until: int = 1000) -> list[object]:
    """What a run tells, left after step `until`, before its checkpoint."""
    events = []
    for event in pretrain(recipe, folder):
        events.append(event)
        if isinstance(event, Step) and event.step == until:
            break
    return events


@pytest.mark.usefixtures("by_hand")
def test_a_run_planned_anew_takes_the_steps_and_learning_rates_of_the_longer_one(recipe_of: Make, tmp_path: Path):
    recipe = recipe_of({**BUDGET, "masking.final_rate": 0.05})
    events = events_of(recipe, tmp_path)
    (replanned,) = [event for event in events if isinstance(event, Replanned)]
    assert replanned == Replanned(step=4, budget="2s", before=12, steps=20)
    steps = [event for event in events if isinstance(event, Step)]
    assert [event.step for event in steps] == list(range(1, 21))
    assert [event.steps for event in steps] == [12] * 4 + [20] * 16
    of = [12] * 4 + [20] * 16
    assert [event.lr for event in steps] == [recipe.optimizer.lr * recipe.schedule.at(i, n) for i, n in enumerate(of)]
    assert [event.facts["mask_rate"] for event in steps] == [recipe.masking.rate_at(i / n) for i, n in enumerate(of)]
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert (finished.step, finished.steps, finished.stopped) == (20, 20, False)
    assert read_config(tmp_path).train.steps == 20
    assert "| optimizer steps | 20 |" in (tmp_path / "model" / "README.md").read_text()


@pytest.mark.usefixtures("by_hand")
@pytest.mark.parametrize("at", [2, 4, 7, 8, 13])
def test_a_run_planned_anew_goes_on_exactly(recipe_of: Make, tmp_path: Path, at: int):
    recipe = recipe_of({**BUDGET, "model.dropout": 0.1})
    events_of(recipe, tmp_path / "straight")
    events_of(recipe, tmp_path / "left", until=at)
    shutil.copytree(tmp_path / "left", tmp_path / "older")
    assert events_of(recipe, tmp_path / "left")[-1].steps == 20
    straight, left = weights(tmp_path / "straight", 20), weights(tmp_path / "left", 20)
    assert all((left[name] == straight[name]).all() for name in straight)
    # Killed between the checkpoint and config.toml, which then has the plan before.
    config = tmp_path / "older" / "config.toml"
    config.write_text(config.read_text().replace("steps = 20\n", "steps = 12\n"))
    assert events_of(recipe, tmp_path / "older")[-1].steps == 20
    assert all((weights(tmp_path / "older", 20)[name] == straight[name]).all() for name in straight)


@pytest.mark.usefixtures("by_hand")
def test_a_damaged_checkpoint_takes_its_plan_with_it(recipe_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    recipe = recipe_of({**BUDGET, "train.save_every": 2})
    events_of(recipe, tmp_path, until=6)
    assert read_config(tmp_path).train.steps == 20
    shutil.rmtree(tmp_path / "checkpoints" / "step-000004")
    monkeypatch.setattr(running, "corrected", lambda *_: None)
    assert events_of(recipe, tmp_path)[-1].steps == 12


def test_the_time_of_a_run_is_kept_over_its_stops(recipe_of: Make, tmp_path: Path):
    def seconds(step: int) -> float:
        return json.loads((tmp_path / f"checkpoints/step-{step:06d}/state.json").read_text())["seconds"]

    events_of(recipe_of({}), tmp_path, until=5)
    at_four = seconds(4)
    assert at_four > 0
    events_of(recipe_of({}), tmp_path)
    assert at_four < seconds(8) < seconds(12)
