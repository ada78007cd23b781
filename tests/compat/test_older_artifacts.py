"""Folders written by an earlier commit open and resume: prepared data, runs, an ONNX export, a search index.

The folder beside this file, named after the commit that made it, is what tests/compat_make.py writes there. Weights
from another processor differ in their last digits, so numbers are compared with a tolerance. For bit equality on one
machine, name an older checkout:  MASKLING_OLD_SRC=PATH/src pytest tests/compat
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from compat_make import SIZES, SPLIT, maskling
from maskling.data.shards import open_shards

OLD = Path(__file__).parent / "858267a"
TRAIN = ("--preset", "bert-tiny", "--data", "data", *SIZES, "--train.steps", "8", "--train.save-every", "4")
TRAIN = ("train", *TRAIN, "--train.evaluate-every", "4")
TUNE = ("finetune", "finished", "--task", "classify", "--train", "train.jsonl", "--train.steps", "4")
TUNE = (*TUNE, "--train.save-every", "2", "--train.keep", "2", "--train.batch-size", "8", "--system.threads", "1")


@pytest.fixture(params=["committed", "made here"])
def older(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, float]:
    """A copy of what an earlier commit wrote, and how far numbers may be from those it found."""
    if request.param == "committed":
        return Path(shutil.copytree(OLD, tmp_path / "old")), 1e-3
    source = os.environ.get("MASKLING_OLD_SRC")
    if source is None:
        pytest.skip("MASKLING_OLD_SRC names no older checkout's src/")
    script = Path(__file__).parents[1] / "compat_make.py"
    subprocess.run(
        [sys.executable, str(script), str(tmp_path / "old")], check=True, env={**os.environ, "PYTHONPATH": source}
    )
    return tmp_path / "old", 0.0


def same(found: Any, expected: Any, tolerance: float) -> None:
    """Assert that two JSON values are equal, but for the last digits of numbers."""
    assert type(found) is type(expected)
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            same(found[key], value, tolerance)
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            same(one, other, tolerance)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, abs=tolerance, rel=tolerance)
    else:
        assert found == expected


def same_weights(found: Path, expected: Path, tolerance: float) -> None:
    """Assert that two model folders hold the same weights."""
    one, other = (load_file(folder / "model.safetensors") for folder in (found, expected))
    assert one.keys() == other.keys()
    for name, weights in other.items():
        assert np.allclose(one[name], weights, rtol=0, atol=tolerance), name


def events(text: str) -> list[dict[str, Any]]:
    """The events of a run, one JSON object per line."""
    return [json.loads(line) for line in text.splitlines()]


def test_a_prepared_folder_opens_and_is_known_to_be_complete(older: tuple[Path, float]):
    folder, _ = older
    open_shards(folder / "data", verify=True)
    prepared = maskling(
        folder, "prepare", "text.jsonl", "--out", "data", "--tokenizer.vocab-size", "120", *SPLIT, "--json"
    )
    assert json.loads(prepared)["already"] is True


def test_a_stopped_run_resumes_to_the_weights_it_would_have_had(older: tuple[Path, float]):
    folder, tolerance = older
    found = {event["event"]: event for event in events(maskling(folder, *TRAIN, "--out", "run", "--json"))}
    assert found["started"]["resumed_from"] == 4
    assert found["finished"]["step"] == 8
    same_weights(folder / "run" / "model", folder / "finished" / "model", tolerance)


def test_a_stopped_fine_tuning_resumes_to_the_weights_it_would_have_had(older: tuple[Path, float]):
    folder, tolerance = older
    found = {event["event"]: event for event in events(maskling(folder, *TUNE, "--out", "tuned", "--json"))}
    assert found["started"]["resumed_from"] == 2
    same_weights(folder / "tuned" / "model", folder / "tuned-finished" / "model", tolerance)


def test_models_graphs_and_indexes_answer_as_before(older: tuple[Path, float]):
    folder, tolerance = older
    expected = json.loads((folder / "answers.json").read_text())
    text = json.loads((folder / "text.jsonl").read_text().splitlines()[0])["text"]
    index = sorted((folder / "index").rglob("*"))
    found = {
        "fill": maskling(folder, "fill", "finished", "The [MASK] sees the dog.", "--json"),
        "onnx": maskling(folder, "fill", "onnx", "The [MASK] sees the dog.", "--json"),
        "search": maskling(
            folder, "search", "finished", "--index", "index", "--query", "The owl sees the hen.", "--json"
        ),
        "predict": maskling(folder, "predict", "tuned-finished", "--text", text, "--json"),
    }
    same({name: json.loads(answer) for name, answer in found.items()}, expected, tolerance)
    assert sorted((folder / "index").rglob("*")) == index
