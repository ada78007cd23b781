"""Threads that get on with whatever else the machine does.

A matrix product ends when its slowest thread does, and the others wait for it. libgomp, the OpenMP library in torch,
lets them spin for some 20 ms meanwhile; if the slow one has no core because another program runs there, that is time
taken from it. Two threads were 4-6 times slower than one so, and as fast as one when they spin for less than a
millisecond before they sleep.
"""

from __future__ import annotations

import os
from pathlib import Path

# Turns of a loop of some 70 ns: enough for the gap between two operations, little for whoever wants the core.
_SPINS = 3000
_MILLISECONDS = 1


def stop_openmp_spinning() -> None:
    """Ask the OpenMP libraries of this process, if it has not loaded them yet, not to spin. What is set stays."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(_SPINS))
        os.environ.setdefault("KMP_BLOCKTIME", str(_MILLISECONDS))


def cores() -> int:
    """Cores that this process may use: those of the machine, less what taskset or a container's quota withholds."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota()
    return count if quota is None else max(1, min(count, round(quota)))


def _quota(root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """Cores' worth of time that the control group allows, None without a limit."""
    try:
        if (root / "cpu.max").exists():  # version 2: "200000 100000" or "max 100000"
            share, period = (root / "cpu.max").read_text().split()
        else:
            share, period = ((root / "cpu" / f"cpu.cfs_{what}_us").read_text() for what in ("quota", "period"))
        return int(share) / int(period) if int(share) > 0 else None
    except (OSError, ValueError):
        return None
