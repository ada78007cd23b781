"""Each benchmark runs with one command, prints a table and writes JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from maskling.exporting.cards import CardFacts
from maskling.exporting.folder import export_model
from small_models import bert, wordpiece

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "name", ["train", "masking", "prepare", "inference", "scaling", "model_speed", "same_loss", "gpu"]
)
def test_a_benchmark_runs_and_writes_what_it_found(name: str, tmp_path: Path):
    file = tmp_path / "found.json"
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), "--quick", "--json", str(file)]
    subprocess.run(command, check=True, cwd=tmp_path, capture_output=True, text=True)
    found = json.loads(file.read_text())
    assert found["benchmark"] == name
    assert found["conditions"]["torch"]
    assert found["rows"]
    ours = [row for row in found["rows"] if str(row.get("side", "")).startswith(("maskling", "bert", "modern"))]
    numbers = [row.get("tokens/s", row.get("median", row.get("seconds"))) for row in ours]
    assert all(number and number > 0 for number in numbers)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_serving_runs_with_its_peer(tmp_path: Path):
    tokenizer = wordpiece(tmp_path / "vocabulary")
    export_model(bert(tokenizer), tokenizer, tmp_path / "model", CardFacts())
    file = tmp_path / "found.json"
    command = [sys.executable, str(BENCHMARKS / "serving.py"), "model", "--quick", "--json", str(file)]
    subprocess.run(command, check=True, cwd=tmp_path, capture_output=True, text=True)
    rows = json.loads(file.read_text())["rows"]
    assert {row["side"] for row in rows} == {"maskling", "sentence-transformers"}
    assert all(row["requests/s"] > 0 for row in rows)
