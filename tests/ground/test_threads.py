"""OpenMP threads that sleep instead of spin, and the number of usable cores."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from maskling.threads import _quota, cores


def seen_by_openmp(**environment: str) -> str:
    """What the OpenMP library of a fresh process says that it was told."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_", "KMP_"))}
    asked = {**clean, "OMP_DISPLAY_ENV": "verbose", **environment}
    program = [sys.executable, "-c", "import maskling, torch; torch.ones(9).sum()"]
    return subprocess.run(program, env=asked, capture_output=True, text=True, check=True).stderr


def test_openmp_is_configured_before_torch_loads_it():
    said = seen_by_openmp()
    if "GOMP_SPINCOUNT" not in said:
        pytest.skip("this torch has another OpenMP library than libgomp")
    assert "GOMP_SPINCOUNT = '3000'" in said


def test_variables_set_by_the_user_are_kept():
    said = seen_by_openmp(GOMP_SPINCOUNT="77")
    if "GOMP_SPINCOUNT" not in said:
        pytest.skip("this torch has another OpenMP library than libgomp")
    assert "GOMP_SPINCOUNT = '77'" in said
    assert "GOMP_SPINCOUNT = '3000'" not in seen_by_openmp(OMP_WAIT_POLICY="active")


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4.0),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({}, None),
    ],
)
def test_the_quota_of_a_container_is_read(tmp_path: Path, files: dict[str, str], quota: float | None):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert _quota(tmp_path) == quota


def test_there_is_at_least_one_core_and_not_more_than_the_machine_has():
    assert 1 <= cores() <= (os.cpu_count() or 1)
