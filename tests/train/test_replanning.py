"""Correction of a time budget during the run, by the measured duration of steps."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskling.errors import CheckpointError
from maskling.train import loop as loop_module
from maskling.train import outputs
from maskling.train import step as step_module
from maskling.train import timing as timing_module
from maskling.train.distributed import Ranks
from maskling.train.engine import Engine
from maskling.train.events import Evaluated, Finished, Replanned, Started, Step, Warned
from maskling.train.pretrain import Pretraining, open_text, pretrain
from maskling.train.recipe import Recipe, read_run_recipe
from maskling.train.run_folder import write_config
from maskling.train.schedule import LinearSchedule, Schedule, TrapezoidSchedule
from maskling.train.settings import TrainSettings
from maskling.train.task import Durations
from maskling.train.timing import RunClock, corrected, reconsiders
from torch_ranks import ran, torchrun, weights
from toy_runs import Make

PLANNED = TrainSettings(steps=100, budget="100s")
USUAL = TrapezoidSchedule()
# Time enough to measure something; what comes of it is said by hand.
BUDGET = {"train.budget": "2s", "train.evaluate_every": 4}


def took(step: float, evaluation: float = 0.0, save: float = 0.0) -> Durations:
    return Durations(step, evaluation, save, steps=100)


def test_a_faster_machine_gets_more_steps_and_a_slower_one_fewer():
    assert corrected(95.0, 20, took(1.0), PLANNED, USUAL) == 20 + 90  # 5 % are kept for what comes
    assert corrected(80.0, 20, took(0.5), PLANNED, USUAL) == 20 + 152
    assert corrected(60.0, 20, took(2.0), PLANNED, USUAL) == 20 + 28


@pytest.mark.parametrize(
    "asked", [{"evaluations": 1}, {"evaluations": 2}, {"evaluate_every": 10}, {"save_every": 15}], ids=str
)
@pytest.mark.parametrize("step", [10, 20, 60])
def test_evaluations_and_checkpoints_that_are_still_to_come_are_counted(asked: dict[str, int], step: int):
    train = TrainSettings(steps=1000).model_copy(update=asked)
    found = corrected(100.0, step, took(1.0, 7.0, 2.0), train, USUAL)
    assert found is not None

    def cost(steps: int) -> float:
        to_come = range(step + 1, steps + 1)
        evaluations = sum(train.evaluates(at, steps) for at in to_come)
        apart = sum(at == steps or at % train.save_every == 0 for at in to_come) if train.save_every else 0
        return steps - step + 7.0 * evaluations + 2.0 * (evaluations + apart)

    assert cost(found) <= 95 < cost(found + 1)


def test_a_plan_that_is_nearly_right_stays():
    assert corrected(80.0, 20, took(1.0), PLANNED, USUAL) is None
    assert corrected(89.0, 20, took(1.0), PLANNED, USUAL) is None


@pytest.mark.parametrize(
    "costs", [Durations(9.0, 1.0, 1.0, 4), Durations(9.0, None, 1.0, 9), Durations(9.0, 1.0, None, 9)], ids=str
)
def test_a_plan_is_not_corrected_by_guesses(costs: Durations):
    assert corrected(80.0, 20, costs, PLANNED, USUAL) is None


def test_plans_are_looked_at_again_until_the_learning_rate_falls_at_the_end():
    assert [step for step in range(1, 101) if reconsiders(step, 100)] == [10, 20, 30, 40, 50, 60, 70]
    assert [step for step in range(1, 54) if reconsiders(step, 53)] == [6, 12, 18, 24, 30, 36]
    assert [step for step in range(1, 4) if reconsiders(step, 3)] == [1, 2]


def test_a_run_never_goes_back_into_its_warmup():
    # Of 1,045 steps the first 63 would be warm-up.
    schedule = TrapezoidSchedule(warmup=0.06)
    assert corrected(1079.0, 20, took(1.0), PLANNED, schedule) is None
    assert corrected(1079.0, 63, took(1.0), PLANNED, schedule) is None
    assert corrected(1079.0, 66, took(1.0), PLANNED, schedule) == 66 + 1025


def test_a_run_whose_time_is_over_still_lets_its_learning_rate_come_down():
    assert corrected(-3600.0, 50, took(1.0), PLANNED, USUAL) == 55
    assert corrected(0.0, 1, took(1.0), PLANNED, USUAL) == 2


@given(
    left=st.floats(-1e4, 1e6),
    step=st.integers(1, 200),
    seconds=st.floats(1e-3, 100),
    steps=st.integers(1, 200),
    schedule=st.sampled_from([USUAL, LinearSchedule(warmup=10)]),
)
def test_a_correction_leaves_steps_to_take(left: float, step: int, seconds: float, steps: int, schedule: Schedule):
    found = corrected(left, step, took(seconds), TrainSettings(steps=steps), schedule)
    if found is not None:
        assert found > step
        assert schedule.warmup_steps(found) <= step
        assert (found - step) * seconds <= max(left, seconds * max(1, step // 10))


def test_a_clock_goes_on_from_what_was_before_and_leaves_the_first_steps_of_a_process_out(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("time.perf_counter", lambda: 1000.0)
    clock = RunClock(seconds_before=50.0, began=990.0, durations=Durations(2.0, 9.0, 1.0, steps=6))
    assert clock.seconds == 60
    for seconds in (90.0, 90.0, 90.0, 4.0, 4.0):
        clock.record_step(seconds)
    assert clock.durations == Durations(pytest.approx(2.5), 9.0, 1.0, steps=8)
    clock.record_evaluation(3.0)
    clock.record_save(0.5)
    assert (clock.durations.evaluation, clock.durations.save) == (3.0, 0.5)
    measured = RunClock(0.0, 990.0, Durations(7.0, 1.0, 1.0))
    for _ in range(4):
        measured.record_step(3.0)
    assert measured.durations == Durations(3.0, 1.0, 1.0, steps=1)  # what was measured before the run counts no more


class Machine:
    """Simulated clock, so that a run of a minute is over in a second.

    step: seconds of a step, by how many have been taken; evaluation, save: of the others, when the run has begun.
    """

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        step: Callable[[int], float],
        evaluation: float = 2.0,
        save: float = 1.0,
    ) -> None:
        self.now, self.taken, self.step = 1e6, 0, step
        monkeypatch.setattr("time.perf_counter", lambda: self.now)
        monkeypatch.setattr("maskling.train.timing.peak_flops", lambda _: 1e9)
        for module in (timing_module, loop_module):
            monkeypatch.setattr(module, "take_step", self._slowly(step_module.take_step, self._a_step))
        monkeypatch.setattr(
            Pretraining, "evaluate", self._slowly(Pretraining.evaluate, lambda: evaluation if self.taken > 8 else 2.0)
        )
        monkeypatch.setattr(timing_module, "_save", self._slowly(timing_module._save, lambda: 0.5))
        monkeypatch.setattr(outputs.RunOutputs, "save", self._slowly(outputs.RunOutputs.save, lambda: save))

    def _a_step(self) -> float:
        self.taken += 1
        return self.step(self.taken)

    def _slowly(self, do: Callable[..., Any], seconds: Callable[[], float]) -> Callable[..., Any]:
        def slow(*arguments: Any, **named: Any) -> Any:
            self.now += seconds()
            return do(*arguments, **named)

        return slow


def timed(recipe_of: Make, budget: str = "4m") -> Recipe:
    return recipe_of({"train.budget": budget, "train.evaluate_every": "none", "evaluate.examples": 4})


def of(kind: type, events: list[Any]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def test_where_steps_take_what_they_took_when_they_were_measured_the_plan_stands(
    recipe_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    machine = Machine(monkeypatch, lambda _: 4.0)
    events = events_of(timed(recipe_of), tmp_path)
    assert not of(Replanned, events)
    assert 0.88 * 240 < machine.now - 1e6 <= 1.02 * 240


@pytest.mark.parametrize(
    ("step", "evaluation", "save"), [(2.0, 2.0, 1.0), (7.0, 2.0, 1.0), (4.0, 7.0, 1.0), (4.0, 2.0, 6.0)]
)
def test_a_run_ends_in_time_on_a_machine_that_gets_faster_or_slower(
    recipe_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: float, evaluation: float, save: float
):
    machine = Machine(monkeypatch, lambda taken: 4.0 if taken <= 10 else step, evaluation, save)
    events = events_of(timed(recipe_of), tmp_path)
    assert of(Replanned, events)
    assert 0.88 * 240 < machine.now - 1e6 <= 1.02 * 240
    evaluated = [event.step for event in of(Evaluated, events)]
    apart = [later - sooner for sooner, later in pairwise(evaluated)]
    assert min(apart[:-1]) > events[-1].steps / 25  # none right after another


@pytest.mark.parametrize("at", [0.09, 0.39, 0.5, 0.69])
def test_a_slow_first_step_after_a_stop_does_not_decide_the_plan(
    recipe_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: float
):
    machine = Machine(monkeypatch, lambda _: 4.0)
    recipe = timed(recipe_of)
    planned: list[int] = []
    run = pretrain(recipe, tmp_path, stop=lambda: bool(planned) and machine.taken - 8 > at * planned[0])
    for event in run:
        planned += [event.steps] if isinstance(event, Started) else []
    machine.taken, machine.step = 0, lambda taken: 30.0 if taken == 1 else 4.0
    events = events_of(recipe, tmp_path)
    # It costs six steps, and no more.
    assert planned[0] - 8 <= events[-1].steps <= planned[0]
    assert 0.88 * 240 < machine.now - 1e6 <= 1.13 * 240


def test_the_time_before_a_stop_is_time_of_the_budget(recipe_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    machine = Machine(monkeypatch, lambda _: 4.0)
    recipe = timed(recipe_of)
    for event in pretrain(recipe, tmp_path, stop=lambda: machine.taken > 22):
        last = event
    state = tmp_path / "checkpoints" / f"step-{last.step:06d}" / "state.json"
    said = json.loads(state.read_text())
    assert said["seconds"] == pytest.approx(machine.now - 1e6, abs=5)
    assert said["costs"]["step"] == pytest.approx(4.0)
    state.write_text(json.dumps({**said, "seconds": 180.0}))
    events = events_of(recipe, tmp_path)
    first = of(Replanned, events)[0]
    assert first.steps < last.step + 60 / 4 < first.before
    ended = tmp_path / "checkpoints" / f"step-{events[-1].step:06d}" / "state.json"
    counted = events[-1].step - last.step - 3  # without the first of the process
    assert json.loads(ended.read_text())["costs"]["steps"] == said["costs"]["steps"] + counted


@pytest.mark.usefixtures("by_hand")
def test_a_plan_is_rank_0s(recipe_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Ranks, "broadcast_int", lambda _, value: 15 if value == 20 else value)
    assert events_of(recipe_of(BUDGET), tmp_path)[-1].steps == 15


@pytest.mark.parametrize("what", ["leave", "nothing"])
def test_ranks_agree_on_a_plan_and_hear_of_one_that_leaves(recipe_of: Make, tmp_path: Path, what: str):
    # Its time is over, so it ends as soon as it may.
    changes = {"train.budget": "1s", "train.evaluate_every": 4, "system.rank_timeout": 30}
    recipe = recipe_of(changes)
    recipe = open_text(recipe, verify=False).complete_recipe(recipe, None)
    (tmp_path / "config").mkdir()
    write_config(tmp_path / "config", recipe.with_train(recipe.train.model_copy(update={"steps": 20})))
    shutil.copytree(tmp_path / "config", tmp_path / "run")
    found = ran(torchrun(tmp_path / "config", tmp_path / "run", what, "6"), timeout=100)
    assert found.returncode == 0, found.stderr
    events = [json.loads(line) for line in found.stdout.splitlines()]
    assert [event["steps"] for event in events if event["event"] == "Replanned"] == ([] if what == "leave" else [9])
    assert max(event["step"] for event in events if event["event"] == "Step") == (6 if what == "leave" else 9)


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fixed plans: first 12 steps, and 20 from the fourth on."""

    def plan(_seconds: float, _costs: Durations, train: TrainSettings) -> TrainSettings:
        return train.model_copy(update={"steps": 12})

    def correct(_left: float, step: int, _costs: Durations, train: TrainSettings, _schedule: Schedule) -> int | None:
        return 20 if step >= 4 and train.steps != 20 else None

    monkeypatch.setattr("maskling.train.timing.fit_steps", plan)
    monkeypatch.setattr(timing_module, "corrected", correct)


def events_of(recipe: Recipe, folder: Path, until: int = 1000) -> list[object]:
    """Return the events of a run, left after step `until`, before its checkpoint."""
    events = []
    for event in pretrain(recipe, folder):
        events.append(event)
        if isinstance(event, Step) and event.step == until:
            break
    return events


def measure(monkeypatch: pytest.MonkeyPatch, losses: list[float]) -> None:
    """Make evaluations return these losses; the first is that of the timing."""
    real, left = Pretraining.evaluate, iter(losses)
    monkeypatch.setattr(Pretraining, "evaluate", lambda *all_: {**real(*all_), "mlm_loss": next(left)})


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
    assert read_run_recipe(tmp_path).train.steps == 20
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
    if at <= 4:
        return
    # Killed between the checkpoint and config.toml, which then has the plan before.
    config = tmp_path / "older" / "config.toml"
    assert "steps = 20\n" in config.read_text()
    config.write_text(config.read_text().replace("steps = 20\n", "steps = 12\n"))
    assert events_of(recipe, tmp_path / "older")[-1].steps == 20
    assert all((weights(tmp_path / "older", 20)[name] == straight[name]).all() for name in straight)


@pytest.mark.usefixtures("by_hand")
def test_a_damaged_checkpoint_takes_its_plan_with_it(recipe_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    recipe = recipe_of({**BUDGET, "train.save_every": 2})
    events_of(recipe, tmp_path, until=6)
    assert read_run_recipe(tmp_path).train.steps == 20
    shutil.rmtree(tmp_path / "checkpoints" / "step-000004")
    monkeypatch.setattr(timing_module, "corrected", lambda *_: None)
    assert events_of(recipe, tmp_path)[-1].steps == 12


@pytest.mark.usefixtures("by_hand")
def test_a_run_that_is_over_is_not_planned_anew(recipe_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    measure(monkeypatch, [9.0, 1.0, 2.0])
    monkeypatch.setattr(timing_module, "corrected", lambda _left, step, *_: 20 if step == 8 else None)
    events = events_of(recipe_of({**BUDGET, "train.patience": 1}), tmp_path)
    assert not of(Replanned, events)
    assert events[-1].step == of(Step, events)[-1].step == 8


@pytest.mark.usefixtures("by_hand")
def test_a_run_that_goes_back_before_its_plan_was_corrected_says_so_in_its_settings(
    recipe_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    steps = 0

    def wrong_once(engine: Engine, batches: Any, factor: float) -> step_module.StepResult:
        nonlocal steps
        steps += 1
        taken = step_module.take_step(engine, batches, factor)
        if steps != 7:
            return taken
        shutil.rmtree(tmp_path / "checkpoints" / "step-000004")
        monkeypatch.setattr(timing_module, "corrected", lambda *_: None)
        return step_module.StepResult(taken.loss, taken.terms, taken.gradient_norm, problem="as if it were no number")

    monkeypatch.setattr(loop_module, "take_step", wrong_once)
    events = events_of(recipe_of({**BUDGET, "train.on_nonfinite": "rewind"}), tmp_path)
    assert len(of(Replanned, events)) == 1
    assert events[-1].steps == read_run_recipe(tmp_path).train.steps == 12


@pytest.mark.usefixtures("by_hand")
def test_an_exported_model_is_not_lost_for_a_number_on_its_card(
    recipe_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    measure(monkeypatch, [9.0, 1.0, *[2.0] * 9])
    monkeypatch.setattr(timing_module, "corrected", lambda _left, step, *_: 20 if step == 8 else None)
    events = []
    for event in pretrain(recipe_of(BUDGET), tmp_path):
        events.append(event)
        if isinstance(event, Step) and event.step == 12:
            shutil.rmtree(tmp_path / "checkpoints" / "step-000004")
    assert not of(Warned, events)
    assert (events[-1].best_step, events[-1].steps) == (4, 20)


@pytest.mark.usefixtures("by_hand")
def test_what_a_budget_does_not_decide_is_not_taken_over(recipe_of: Make, tmp_path: Path):
    changes = {**BUDGET, "train.evaluate_every": "none", "train.evaluations": 3}
    events_of(recipe_of(changes), tmp_path, until=6)
    with pytest.raises(CheckpointError, match=r"holds a run with train\.evaluations = 3, but this command asks for 6;"):
        events_of(recipe_of({**changes, "train.evaluations": 6}), tmp_path)
    with pytest.raises(CheckpointError, match=r"holds a run with train\.budget = '2s', which decides .* give"):
        events_of(recipe_of({**changes, "train.budget": "3s"}), tmp_path)
