"""Train in children that are killed: python killed_train.py CONFIG_FOLDER RUN_FOLDER SEED COUNT [points].

Each child resumes the run. Without 'points' it is killed at a random instant: one in four while it is still
starting, the others within SPREAD seconds of its first words. With 'points' it kills itself just before a random change
to the names on the disk: in the middle of a checkpoint, of an export, of a pruning. A last child finishes the run.
Prints a line of JSON: {"kills": how many were killed before the run was over, "steps": where each one began}.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sys
import time
from pathlib import Path

from killed_pipe import told, train_and_tell
from killed_prepare import die_before_change
from maskling.train.recipe import read_run_recipe

SPREAD = 0.8
# A child that got no further than this many changes has hardly begun, one that gets further writes checkpoints.
MOST_CHANGES = 80


def main(config: str, run_dir: str, seed: str, count: str, *how: str) -> None:
    draws = random.Random(int(seed))
    kills, steps = 0, []
    while kills < int(count):
        point = draws.randrange(MOST_CHANGES) if how else None
        child, reads = begin(Path(config), Path(run_dir), point)
        if point is None:
            if draws.random() < 0.25:
                time.sleep(draws.uniform(0, 0.3))
            else:
                select.select([reads], [], [], 60)
                time.sleep(draws.uniform(0, SPREAD))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        began, over = told(reads)
        steps += began
        if not os.WIFSIGNALED(status):
            assert os.WEXITSTATUS(status) == 0, f"a child ended with {status}"
        if over:
            break
        kills += os.WIFSIGNALED(status)
    child, reads = begin(Path(config), Path(run_dir), None)
    _, status = os.waitpid(child, 0)
    assert status == 0, f"the last child ended with {status}"
    print(json.dumps({"kills": kills, "steps": steps}))


def begin(config: Path, run_dir: Path, point: int | None) -> tuple[int, int]:
    """Fork a child that trains; return its id and the pipe that it writes to."""
    reads, writes = os.pipe()
    child = os.fork()
    if child:
        os.close(writes)
        return child, reads
    code = 1
    try:
        if point is not None:
            die_before_change(point)
        train_and_tell(read_run_recipe(config), run_dir, writes)
        code = 0
    finally:
        os._exit(code)
    return 0, 0


if __name__ == "__main__":
    main(*sys.argv[1:])
