"""OpenMP settings for a machine that also runs other programs, and the number of usable cores.

A matrix product ends when its slowest thread does, and the other threads wait for it. libgomp, the OpenMP library in
torch, lets them spin for about 20 ms meanwhile; if the slow thread has no core because another program runs there,
the spinning takes time from it. Two threads were 4-6 times slower than one because of this, and as fast as one when
they spin for less than a millisecond before they sleep.
"""

from __future__ import annotations

import os
from pathlib import Path

# Iterations of a loop of about 70 ns: enough for the gap between two operations, short for a program that waits.
_SPINS = 3000
_MILLISECONDS = 1


def stop_openmp_spinning() -> None:
    """Keep the OpenMP libraries of this process, if not loaded yet, from spinning. Variables already set are kept."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(_SPINS))
        os.environ.setdefault("KMP_BLOCKTIME", str(_MILLISECONDS))


def cores() -> int:
    """Return the number of cores this process may use: the machine's, limited by taskset or a container's quota."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota()
    return count if quota is None else max(1, min(count, round(quota)))


def _quota(root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """Return the control group's limit in cores of processor time, or None without a limit."""
    try:
        if (root / "cpu.max").exists():  # version 2: "200000 100000" or "max 100000"
            share, period = (root / "cpu.max").read_text().split()
        else:
            share, period = ((root / "cpu" / f"cpu.cfs_{what}_us").read_text() for what in ("quota", "period"))
        return int(share) / int(period) if int(share) > 0 else None
    except (OSError, ValueError):
        return None
