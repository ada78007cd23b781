"""Planning a time budget, checked by arithmetic, and runs that have one."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from maskling.train.events import Finished, Measuring, Step
from maskling.train.pretrain import pretrain
from maskling.train.recipe import read_run_recipe
from maskling.train.settings import TrainSettings
from maskling.train.task import Durations
from maskling.train.timing import fit_steps, is_enough, step_time
from torch_ranks import weights
from toy_runs import Make


def test_steps_fill_what_evaluations_and_checkpoints_leave():
    train = fit_steps(100.0, Durations(0.5, 1.0, 0.5), TrainSettings())
    # Ten evaluations with a checkpoint each take 15 seconds.
    assert train.evaluations is None
    assert train.steps == 170


def test_where_evaluations_are_dear_there_are_fewer():
    train = fit_steps(100.0, Durations(0.5, 4.0, 1.0), TrainSettings())
    assert train.evaluations == 3
    assert train.num_evaluations(train.steps) == 3
    assert train.steps == 170
    assert fit_steps(100.0, Durations(0.5, 4.0, 1.0), TrainSettings(evaluations=8)).evaluations == 8


def cost(train: TrainSettings, steps: int) -> float:
    """Return the time at half a second per step and one per evaluation."""
    return steps * 0.5 + train.num_evaluations(steps)


def test_an_interval_that_was_asked_for_is_kept():
    train = fit_steps(100.0, Durations(0.5, 1.0, 0.0), TrainSettings(evaluate_every=10))
    assert train.evaluate_every == 10
    assert cost(train, train.steps) <= 100 < cost(train, train.steps + 1)


@given(seconds=st.floats(0.1, 1e5), step=st.floats(0.01, 10), evaluation=st.floats(0, 50), save=st.floats(0, 50))
@example(seconds=14.0, step=1.0, evaluation=1e-308, save=0.0)
def test_a_plan_fits_or_is_a_single_step(seconds: float, step: float, evaluation: float, save: float):
    train = fit_steps(seconds, Durations(step, evaluation, save), TrainSettings())
    cost = train.steps * step + train.num_evaluations(train.steps) * (evaluation + save)
    assert cost <= seconds * (1 + 1e-9) or train.steps == 1


@pytest.mark.parametrize("steps", [1, 2, 9, 10, 15, 104, 1000])
def test_the_last_step_is_logged_evaluated_and_saved_and_the_counts_are_right(steps: int):
    for train in (TrainSettings(), TrainSettings(evaluate_every=7, save_every=4), TrainSettings(evaluations=3)):
        evaluated = [step for step in range(1, steps + 1) if train.evaluates(step, steps)]
        saved = [step for step in range(1, steps + 1) if train.saves(step, steps)]
        assert evaluated[-1] == saved[-1] == steps
        assert train.logs(1, steps)
        assert train.logs(steps, steps)
        assert len(evaluated) == train.num_evaluations(steps)
        apart = -(-steps // train.save_every) if train.save_every else 0
        assert len({*evaluated, *saved}) <= len(evaluated) + apart


def test_steps_are_measured_until_they_tell_something():
    quick = [0.1] * 8
    assert not is_enough(quick[:7], 20.0, compiles=False)
    assert is_enough(quick, 20.0, compiles=False)
    assert not is_enough(quick, 200.0, compiles=False)  # so little time says nothing of a long run
    assert is_enough([0.1] * 200, 86_400.0, compiles=False)  # and what tells of an hour tells of a day
    assert is_enough([5.0, *[8.0] * 5], 3600.0, compiles=False)
    assert is_enough([9.0], 20.0, compiles=False)  # slow steps, of which each costs
    assert step_time([9.0, 8.0]) == 8.0
    assert step_time([5.0, 1.0, 1.0, 0.2, 0.3, 0.2]) == 0.2


def test_compiling_is_not_taken_for_a_slow_step():
    compiling = [60.0, 40.0, 0.5]
    assert not is_enough(compiling, 120.0, compiles=True)
    measured = [*compiling, 0.2, 0.2, 0.2, 0.2, 0.2]
    assert is_enough(measured, 120.0, compiles=True)
    assert step_time(measured) == 0.2
    assert is_enough([*compiling, 50.0], 120.0, compiles=True)


def test_a_time_budget_chooses_the_steps_once(recipe_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    recipe = recipe_of({"train.budget": "3s", "train.evaluate_every": "none"})
    monkeypatch.setattr("maskling.train.timing.corrected", lambda *_: None)
    for event in pretrain(recipe, tmp_path):
        if isinstance(event, Step) and event.step == 2:
            break
    chosen = read_run_recipe(tmp_path).train.steps
    assert chosen != 12
    assert list(pretrain(recipe, tmp_path))[-1].steps == chosen


def test_measuring_for_a_budget_is_told_and_can_be_stopped(recipe_of: Make, tmp_path: Path):
    recipe = recipe_of({"train.budget": "1h"})
    measuring, over = pretrain(recipe, tmp_path, stop=lambda: True)
    assert isinstance(measuring, Measuring)
    assert measuring.seconds == pytest.approx(10)
    assert isinstance(over, Finished)
    assert (over.stopped, over.step) == (True, 0)
    assert not (tmp_path / "config.toml").exists()
    again = list(pretrain(recipe_of({"train.budget": "2s"}), tmp_path))[-1]
    assert again.step == again.steps  # one at the least, on a busy machine


def test_measuring_for_a_budget_leaves_no_trace_in_the_weights(
    recipe_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("maskling.train.timing.corrected", lambda *_: None)
    list(pretrain(recipe_of({"train.budget": "2s", "train.evaluate_every": "none"}), tmp_path / "planned"))
    steps = read_run_recipe(tmp_path / "planned").train.steps
    every = read_run_recipe(tmp_path / "planned").train.evaluate_every or "none"
    list(pretrain(recipe_of({"train.steps": steps, "train.evaluate_every": every}), tmp_path / "told"))
    planned, told = weights(tmp_path / "planned", steps), weights(tmp_path / "told", steps)
    assert planned.keys() == told.keys()
    assert all((planned[name] == told[name]).all() for name in planned)
