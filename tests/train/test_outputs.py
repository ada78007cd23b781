"""metrics.jsonl: complete lines, only of steps that were kept."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from maskling.train.events import Step
from maskling.train.outputs import MetricsLog, _record


def step(number: int, loss: float = 1.5) -> dict[str, Any]:
    """Return the line of a step."""
    return _record(Step(number, 9, loss, {"mlm": loss, "pair": None}, 1e-3, {"mask_rate": 0.3}, 100.0, 0.99, 2.0, 5.0))


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_lines_after_the_step_gone_on_from_are_taken_back_and_a_cut_off_one_too(tmp_path: Path):
    path = tmp_path / "metrics.jsonl"
    journal = MetricsLog(path, 0)
    for number in (1, 2, 3, 4):
        journal.write(step(number))
    path.write_bytes(path.read_bytes() + b'{"kind": "step", "step": 2, "lo')
    MetricsLog(path, 2).write(step(3, loss=7.0))
    assert [(line["step"], line["loss"]) for line in lines(path)] == [(1, 1.5), (2, 1.5), (3, 7.0)]


def test_a_new_run_begins_with_an_empty_file(tmp_path: Path):
    path = tmp_path / "metrics.jsonl"
    MetricsLog(path, 0).write(step(1))
    MetricsLog(path, 0)
    assert lines(path) == []


def test_terms_and_facts_stand_beside_the_loss(tmp_path: Path):
    path = tmp_path / "metrics.jsonl"
    MetricsLog(path, 0).write(step(1))
    (line,) = lines(path)
    assert list(line)[:7] == ["kind", "step", "steps", "loss", "mlm", "pair", "lr"]
    assert (line["mlm"], line["pair"], line["mask_rate"]) == (1.5, None, 0.3)


def test_what_is_no_number_is_null(tmp_path: Path):
    path = tmp_path / "metrics.jsonl"
    MetricsLog(path, 0).write(step(1, loss=math.nan))
    assert lines(path)[0]["loss"] is None
    assert "NaN" not in path.read_text()
