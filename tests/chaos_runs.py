"""What the tests of interrupted runs share: scripts to disturb a run, and what makes two runs the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from maskling.train.outputs import TIMING
from maskling.train.recipe import Recipe
from maskling.train.run_folder import write_config

TESTS = Path(__file__).parent


def config(folder: Path, recipe: Recipe) -> Path:
    """A folder with the settings of a run."""
    folder.mkdir(parents=True)
    write_config(folder, recipe)
    return folder


def script(name: str, *arguments: object, timeout: float = 600) -> dict[str, Any]:
    """Run one of the scripts beside the tests; returns the JSON of its last line."""
    command = [sys.executable, str(TESTS / name), *map(str, arguments)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env, timeout=timeout)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def assert_same_run(one: Path, other: Path) -> None:
    """Every byte of every checkpoint, of the model's weights and of the metrics, but for times of day."""
    kept = sorted(path.name for path in (one / "checkpoints").iterdir())
    assert kept == sorted(path.name for path in (other / "checkpoints").iterdir())
    names = [f"checkpoints/{step}/{kind}.safetensors" for step in kept for kind in ("model", "optimizer")]
    for name in [*names, "model/model.safetensors", "model/tokenizer.json", "model/config.json"]:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    assert metrics(one) == metrics(other)


def metrics(run_dir: Path) -> list[dict[str, object]]:
    """The metrics without what tells of the machine and the hour."""
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in TIMING} for line in lines]
