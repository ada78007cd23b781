"""What a person sees of a run."""

from __future__ import annotations

import json

import pytest

from maskling.cli.run_report import RunReport
from maskling.console import Console
from maskling.train.events import Evaluated, Replanned, Started

STARTED = Started("cpu", 7_000_000, 1000, None, 10, 2, steps=100, resumed_from=None)


def test_a_plan_that_is_corrected_is_said_and_counted_by(capsys: pytest.CaptureFixture[str]):
    report = RunReport(Console(), log_every=10, numbers=lambda _: "loss 1.0")
    for event in (
        STARTED,
        Replanned(10, "4m", before=100, steps=1200),
        Replanned(120, "4m", before=1200, steps=900),
        Evaluated(120, {"loss": 1.0}, best=True),
    ):
        report.show(event)
    said = "".join(capsys.readouterr())
    assert "steps take less time than planned: 1,200 steps fit into 4m, not 100" in said
    assert "steps take longer than planned: 900 steps fit into 4m, not 1,200" in said
    assert "held-out  120/900   loss 1.0   best so far" in said


def test_a_corrected_plan_is_an_event_of_json(capsys: pytest.CaptureFixture[str]):
    report = RunReport(Console(as_json=True), log_every=10, numbers=lambda _: "")
    report.show(Replanned(10, "4m", before=100, steps=120))
    expected = {"event": "replanned", "step": 10, "budget": "4m", "before": 100, "steps": 120}
    assert json.loads(capsys.readouterr().out) == expected
