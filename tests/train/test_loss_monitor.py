"""Warnings about spikes and plateaus of the loss."""

from __future__ import annotations

import numpy as np

from maskling.train.events import Baseline
from maskling.train.loss_monitor import LossMonitor


def watched(
    losses: list[float], spike: float = 8, plateau_after: int = 0, entropy: float = 7.0
) -> list[tuple[int, str]]:
    watch = LossMonitor(spike, plateau_after, baseline(entropy))
    return [(step, text) for step, loss in enumerate(losses, start=1) for text in watch.observe(step, loss)]


def baseline(loss: float) -> Baseline:
    return Baseline("unigram", loss, "token frequencies", "a vocabulary that does not fit")


def falling(count: int) -> list[float]:
    draws = np.random.default_rng(1)
    return [float(2 + 7 * np.exp(-step / 80) + 0.05 * draws.standard_normal()) for step in range(count)]


def test_a_loss_that_falls_and_wobbles_is_left_alone():
    assert watched(falling(600)) == []


def test_a_jump_is_named_by_step_and_size_each_time():
    losses = falling(600)
    losses[400] += 3
    losses[401] += 3
    said = watched(losses)
    assert [step for step, _ in said] == [401, 402]
    assert f"jumped to {losses[400]:.3f}" in said[0][1]


def test_zero_switches_spikes_off():
    losses = falling(300)
    losses[200] += 50
    assert watched(losses, spike=0) == []


def test_a_plateau_at_the_unigram_entropy_is_said_once_with_causes():
    said = watched([7.05] * 300, plateau_after=100)
    assert [step for step, _ in said] == [100]
    assert "7.05, no better than guessing" in said[0][1]
    assert "vocabulary" in said[0][1]


def test_where_no_baseline_is_known_there_is_no_plateau():
    watch = LossMonitor(8, 100, None)
    assert [text for step in range(300) for text in watch.observe(step, 7.0)] == []


def test_a_loss_below_the_entropy_is_no_plateau():
    assert watched([6.5] * 300, plateau_after=100) == []


def test_its_memory_taken_out_and_put_back_warns_at_the_same_steps():
    losses = [7.0 + 0.01 * (step % 3) for step in range(200)]
    losses[150] += 2
    straight = LossMonitor(8, 160, baseline(7.0))
    said = [text for step, loss in enumerate(losses) for text in straight.observe(step, loss)]
    assert len(said) == 2
    for at in (20, 149, 151, 170):
        first = LossMonitor(8, 160, baseline(7.0))
        told = [text for step, loss in enumerate(losses[:at]) for text in first.observe(step, loss)]
        second = LossMonitor(8, 160, baseline(7.0))
        second.load_state(first.state())
        told += [text for step, loss in enumerate(losses[at:], start=at) for text in second.observe(step, loss)]
        assert told == said
