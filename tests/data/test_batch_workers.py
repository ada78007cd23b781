"""Processes that build batches: they end with their parent, and one that is killed is an error in words."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from maskling.data.prefetch import prefetch
from maskling.errors import DataError

PARENT = """
import itertools, os, signal
from maskling.data.prefetch import prefetch
from math import factorial
import multiprocessing

if __name__ == "__main__":
    made = prefetch(factorial, itertools.count(), 1)
    next(made)
    print(*(child.pid for child in multiprocessing.active_children()), flush=True)
    signal.pause()
"""


def own_id(_step: int) -> int:
    return os.getpid()


def wait_until_gone(pid: int) -> None:
    for _ in range(600):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return
        if state == "Z":  # nobody reaps orphans in a container without an init process
            return
        time.sleep(0.05)
    pytest.fail(f"process {pid} outlives its parent")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_a_worker_ends_when_its_parent_is_killed(tmp_path: Path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        children = [int(word) for word in parent.stdout.readline().split()]
        assert len(children) == 1
        parent.send_signal(signal.SIGKILL)
    wait_until_gone(children[0])


def test_a_worker_that_is_killed_is_an_error_in_words():
    made = prefetch(own_id, itertools.count(), 1)
    os.kill(next(made), signal.SIGKILL)
    with pytest.raises(DataError, match=r"was killed.*resume.*system\.workers"):
        list(itertools.islice(made, 50))
