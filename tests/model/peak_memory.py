"""A run long enough for memory to settle: what it said it would take, and what it took. Prints JSON."""

from __future__ import annotations

import json
import resource
import sys
import tempfile
from pathlib import Path

from maskling.config import Layer
from maskling.train.events import Finished, Started
from maskling.train.pretrain import pretrain
from maskling.train.recipe import read_recipe


def main(data: str, tree: dict[str, object]) -> None:
    seq, rows = tree.pop("seq"), tree.pop("rows")
    tree = {
        **tree,
        "data": {"path": data, "seq_length": seq},
        "train": {"steps": 60, "batch_size": rows, "save_every": 20, "evaluate_every": 20},
        "evaluate": {"examples": 50},
    }
    recipe = read_recipe([Layer("test", tree)]).settings
    said: dict[str, int | None] = {}
    with tempfile.TemporaryDirectory() as folder:
        for event in pretrain(recipe, Path(folder) / "run"):
            if isinstance(event, Started):
                said |= {"expected": event.memory, "begun": _peak()}
            if isinstance(event, Finished):
                said["reported"] = event.memory
    print(json.dumps({**said, "peak": _peak()}))


def _peak() -> int:
    """The most memory that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
