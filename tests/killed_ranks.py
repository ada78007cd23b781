"""Train on several ranks of which one is killed, again and again: python killed_ranks.py CONFIG RUN SEED COUNT [RANKS].

Each attempt resumes the run: RANKS (2) forked processes find each other as under torchrun. One of them, drawn by
lot, is killed at a random instant: in one life of four while the ranks still look for each other (they do so for
TIMEOUT seconds), in the others within SPREAD seconds of the first words of rank 0. The rest have to end by themselves,
in words: a signal, or one that is still there after PATIENCE seconds, is a failure. A run that is over too soon is
deleted and begun again. A last life finishes the run.
Prints a line of JSON: {"kills": how many ranks were killed, "steps": where each life began}.
"""

from __future__ import annotations

import json
import os
import random
import select
import shutil
import signal
import socket
import sys
import time
import traceback
from pathlib import Path

# Before the forks, so that a life takes as long as its steps: what a run loads as it goes.
import torch._dynamo  # noqa: F401

from killed_pipe import told, train_and_tell
from maskling.errors import RankError
from maskling.train.recipe import read_run_recipe

SPREAD = 1.5
TIMEOUT = 30.0
PATIENCE = 240
KILLED, MISSED = -signal.SIGKILL, 7


def main(config: str, run_dir: str, seed: str, count: str, ranks: str = "2") -> None:
    draws, kills, steps = random.Random(int(seed)), 0, []
    while kills < int(count):
        lot = draws.randrange(int(ranks))
        children, reads = begin(Path(config), Path(run_dir), int(ranks), TIMEOUT)
        if draws.random() < 0.25:
            time.sleep(draws.uniform(0, 0.5))
        else:
            select.select([reads], [], [], PATIENCE)
            time.sleep(draws.uniform(0, SPREAD))
        os.kill(children[lot], signal.SIGKILL)
        codes = ends(children)
        began, over = told(reads)
        steps += began
        # A rank that was about to be killed may have been through; then the others are, too.
        assert codes[lot] in (KILLED, MISSED, 0), codes
        assert all(code in (MISSED, 0) for place, code in enumerate(codes) if place != lot), codes
        kills += codes[lot] == KILLED and not over
        if over:
            shutil.rmtree(run_dir)
    children, reads = begin(Path(config), Path(run_dir), int(ranks))
    assert ends(children, patience=30 * PATIENCE) == [0] * int(ranks)
    print(json.dumps({"kills": kills, "steps": steps}))


def begin(config: Path, run_dir: Path, ranks: int, timeout: float = 600.0) -> tuple[list[int], int]:
    """Fork the ranks; return their ids and the pipe that rank 0 writes to."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    reads, writes = os.pipe()
    children = []
    for rank in range(ranks):
        child = os.fork()
        if not child:
            os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "MASTER_PORT": str(port)}
            os.environ |= {"WORLD_SIZE": str(ranks), "LOCAL_WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1"}
            take_part(config, run_dir, writes if rank == 0 else None, timeout)
        children.append(child)
    os.close(writes)
    return children, reads


def take_part(config: Path, run_dir: Path, writes: int | None, timeout: float) -> None:
    """Run a rank until the process ends, as an interpreter ordinarily does."""
    code, recipe = 1, read_run_recipe(config)
    recipe = recipe.model_copy(update={"system": recipe.system.model_copy(update={"rank_timeout": timeout})})
    try:
        train_and_tell(recipe, run_dir, writes)
        code = 0
    except RankError:
        code = MISSED
    except BaseException:
        traceback.print_exc()
    sys.exit(code)


def ends(children: list[int], patience: float = PATIENCE) -> list[int]:
    """Return how each ended: its exit code, or minus the signal. Those that hang are killed and reported."""
    deadline, codes = time.monotonic() + patience, []
    for child in children:
        while (found := os.waitpid(child, os.WNOHANG))[0] == 0:
            if time.monotonic() > deadline:
                for left in children[len(codes) :]:
                    os.kill(left, signal.SIGKILL)
                raise AssertionError(f"rank {len(codes)} was still there after {patience} s; the others: {codes}")
            time.sleep(0.02)
        codes.append(os.waitstatus_to_exitcode(found[1]))
    return codes


if __name__ == "__main__":
    main(*sys.argv[1:])
