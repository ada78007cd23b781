"""Learning-rate factors compared with values calculated by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskling.train.schedule import (
    SCHEDULES,
    Bert2018Schedule,
    ConstantSchedule,
    CosineSchedule,
    LinearSchedule,
    Schedule,
    TrapezoidSchedule,
)


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=list(SCHEDULES))
@given(steps=st.integers(1, 500), warmup=st.one_of(st.floats(0, 0.99), st.integers(1, 600)))
def test_every_factor_is_a_share_of_the_highest_rate_and_warm_up_rises(
    schedule: type[Schedule], steps: int, warmup: float
):
    chosen = schedule(warmup=warmup)
    factors = [chosen.at(step, steps) for step in range(steps)]
    assert all(0 <= factor <= 1 for factor in factors)
    rising = factors[: chosen.warmup_steps(steps)]
    assert rising == sorted(set(rising))
    # Nothing rises once warm-up is over (BERT's own falls from the line it was on).
    falling = factors[chosen.warmup_steps(steps) :]
    assert falling == sorted(falling, reverse=True)


@pytest.mark.parametrize(
    "schedule", [s for s in SCHEDULES.values() if s is not Bert2018Schedule], ids=lambda s: s.__name__
)
def test_no_step_is_wasted_at_zero(schedule: type[Schedule]):
    assert all(schedule(warmup=0.2).at(step, 40) > 0 for step in range(40))


def test_warm_up_is_a_fraction_below_one_and_steps_from_one_on():
    assert ConstantSchedule(warmup=0.25).warmup_steps(200) == 50
    assert ConstantSchedule(warmup=1).warmup_steps(200) == 1
    assert ConstantSchedule(warmup=30).warmup_steps(200) == 30
    assert ConstantSchedule(warmup=300).warmup_steps(200) == 200
    assert [ConstantSchedule(warmup=3).at(step, 9) for step in range(5)] == [0.25, 0.5, 0.75, 1, 1]


def test_linear_falls_on_a_line():
    schedule = LinearSchedule(warmup=0, final=0.2)
    assert [schedule.at(step, 4) for step in range(4)] == pytest.approx([1, 0.8, 0.6, 0.4])


def test_cosine_is_half_way_in_the_middle():
    schedule = CosineSchedule(warmup=20, final=0.1)
    assert schedule.at(20, 120) == pytest.approx(1)
    assert schedule.at(70, 120) == pytest.approx(0.55)
    assert schedule.at(45, 120) == pytest.approx(0.1 + 0.45 * (1 + math.cos(math.pi / 4)))


def test_a_trapezoid_stays_and_then_falls():
    schedule = TrapezoidSchedule(warmup=10, decay=9, shape="linear")
    assert [schedule.at(step, 100) for step in (10, 50, 90)] == [1, 1, 1]
    assert [schedule.at(step, 100) for step in (91, 95, 99)] == pytest.approx([0.9, 0.5, 0.1])
    root = TrapezoidSchedule(warmup=10, decay=9, shape="one-minus-sqrt")
    assert [root.at(step, 100) for step in (91, 95, 99)] == pytest.approx([1 - math.sqrt(f) for f in (0.1, 0.5, 0.9)])


def test_berts_own_rises_from_zero_and_counts_its_line_from_the_first_step():
    schedule = Bert2018Schedule(warmup=10_000)
    assert [schedule.at(step, 1_000_000) for step in (0, 5_000, 10_000, 500_000)] == pytest.approx([0, 0.5, 0.99, 0.5])
