"""Runs of several ranks under torchrun, and the comparison of two of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from chaos_runs import TESTS, metrics
from maskling.finetuning.recipe import FinetuneRecipe

SCRIPT = TESTS / "rank.py"


def launcher(ranks: int = 2, restarts: int = 0) -> list[str]:
    """Return the command line up to what each rank runs."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return [*command, f"--nproc-per-node={ranks}", f"--max-restarts={restarts}"]


def torchrun(config: Path, run_dir: Path, *what: str, ranks: int = 2, restarts: int = 0) -> list[str]:
    """Return the command line of ranks that run rank.py."""
    return [*launcher(ranks, restarts), str(SCRIPT), str(config), str(run_dir), *what]


def finetuning(recipe: FinetuneRecipe, run_dir: Path, ranks: int = 2) -> list[str]:
    """Return the command line of `maskling finetune` on several ranks."""
    file = run_dir.with_suffix(".toml")
    file.write_text(recipe.to_toml())
    return [*launcher(ranks), "-m", "maskling", "finetune", "--config", str(file), "--out", str(run_dir)]


def ran(command: list[str], timeout: int = 900) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout, env=env)


def weights(run_dir: Path, step: int) -> dict[str, torch.Tensor]:
    return load_file(run_dir / "checkpoints" / f"step-{step:06d}" / "model.safetensors")


def assert_near(one: Path, other: Path, step: int) -> None:
    there = weights(other, step)
    assert all(torch.allclose(value, there[name], atol=1e-6) for name, value in weights(one, step).items())
    for here, there in zip(metrics(one), metrics(other), strict=True):
        assert here.keys() == there.keys()
        # Among tokens of about the same probability, rounding decides which one fills a sample.
        for name, value in here.items():
            if name == "samples":
                continue
            other = there[name]
            assert value == pytest.approx(other, rel=1e-5) if isinstance(value, float) else value == other
