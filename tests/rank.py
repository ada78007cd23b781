"""One rank of a run, for torchrun to start: torchrun ... rank.py CONFIG_FOLDER RUN_FOLDER [WHAT [STEP [RANK]]].

Prints each event of rank 0 as a line of JSON. WHAT happens on rank RANK (1) after step STEP: 'leave' leaves the loop,
'leave-evaluating' does so when the evaluation of STEP is about to begin, 'kill' sends SIGKILL to itself in its first
life only, 'stop' asks for a stop. With 'data', STEP is the folder of other data that rank RANK is given. With 'chaos',
one rank of each of the first STEP lives dies at a random instant. Ends with 3 where threads of the process group
outlive the run.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
from dataclasses import asdict
from pathlib import Path

from maskling.cli.run_report import stop_requested
from maskling.errors import MasklingError
from maskling.train.events import Evaluating, Step
from maskling.train.pretrain import pretrain
from maskling.train.recipe import read_run_recipe


def main(config: str, run_dir: str, what: str = "nothing", at: str = "0", which: str = "1") -> int:
    mine = os.environ.get("RANK", "0") == which
    lives = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
    asked: list[bool] = []
    recipe = read_run_recipe(Path(config))
    if what == "chaos" and lives < int(at):
        draws = random.Random(lives)
        if draws.randrange(2) == int(os.environ["RANK"]):
            killer = threading.Timer(draws.uniform(0.1, 4), os.kill, (os.getpid(), signal.SIGKILL))
            killer.daemon = True
            killer.start()
    if mine and what == "data":
        recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"path": at})})
    try:
        for event in pretrain(recipe, Path(run_dir), stop=lambda: bool(asked)):
            if os.environ.get("RANK", "0") == "0":
                print(json.dumps({"event": type(event).__name__, **asdict(event)}, default=str), flush=True)
            if mine and what == "leave-evaluating" and isinstance(event, Evaluating) and str(event.step) == at:
                break
            if mine and isinstance(event, Step) and str(event.step) == at:
                if what == "leave":
                    break
                if what == "kill" and lives == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                if what == "stop":
                    asked.append(True)
    except MasklingError as error:
        if os.environ.get("RANK", "0") == "0":
            print(f"error: {error}", file=sys.stderr, flush=True)
        return 2
    return 0


if __name__ == "__main__":
    # torchrun sends SIGTERM when another rank has failed: this one still has to say why.
    with stop_requested():
        code = main(*sys.argv[1:])
    names = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    if left := [name for name in names if "gloo" in name]:
        print(f"threads outlive the run: {left}", file=sys.stderr, flush=True)
        code = 3
    sys.exit(code)
