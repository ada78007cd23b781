"""What a person sees of a run."""

from __future__ import annotations

import io
import json

import pytest

from maskling.cli.run_report import RunReport
from maskling.console import Console
from maskling.train.events import Evaluated, Evaluating, Replanned, Started


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


STARTED = Started("cpu", 7_000_000, 1000, None, 10, 2, steps=100, resumed_from=None)


def test_a_plan_that_is_corrected_is_said_and_counted_by(capsys: pytest.CaptureFixture[str]):
    report = RunReport(Console(), log_every=10, format_metrics=lambda _: "loss 1.0")
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


def test_while_it_measures_a_run_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    report = RunReport(Console(err=terminal), log_every=10, format_metrics=lambda _: "loss 1.0")
    for event in (STARTED, Evaluating(20), Evaluated(20, {"loss": 1.0}, best=False), Evaluating(100, "test.jsonl")):
        report.show(event)
    shown = terminal.getvalue().split("\r\x1b[K")
    assert [line.strip() for line in shown[-3:]] == [
        "held-out   20/100   measuring",
        "held-out   20/100   loss 1.0",
        "held-out  100/100   measuring on test.jsonl",
    ]


def test_a_corrected_plan_is_an_event_of_json(capsys: pytest.CaptureFixture[str]):
    report = RunReport(Console(as_json=True), log_every=10, format_metrics=lambda _: "")
    report.show(Replanned(10, "4m", before=100, steps=120))
    expected = {"event": "replanned", "step": 10, "budget": "4m", "before": 100, "steps": 120}
    assert json.loads(capsys.readouterr().out) == expected
