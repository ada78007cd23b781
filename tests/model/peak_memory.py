"""A run of a few steps in a process of its own: what it said it would take, and what it took. Prints JSON."""

from __future__ import annotations

import json
import resource
import sys
import tempfile
from pathlib import Path

from maskling.config import Layer
from maskling.model.attention import kernel_name
from maskling.model.device import pick
from maskling.model.memory import training_memory
from maskling.train.events import Started
from maskling.train.pretrain import pretrain
from maskling.train.recipe import read_recipe


def main(data: str, tree: dict[str, object]) -> None:
    seq, rows = tree.pop("seq"), tree.pop("rows")
    tree = {
        **tree,
        "data": {"path": data, "seq_length": seq},
        "train": {"steps": 4, "batch_size": rows, "save_every": 2, "evaluate_every": 2},
        "evaluate": {"examples": 50},
    }
    recipe = read_recipe([Layer("test", tree)]).settings
    with tempfile.TemporaryDirectory() as folder:
        for event in pretrain(recipe, Path(folder) / "run"):
            if isinstance(event, Started):
                parameters, begun = event.parameters, _peak()
    seq = recipe.data.seq_length
    compute = pick("cpu", recipe.system.dtype)
    config = recipe.model.model_copy(update={"vocab_size": int(sys.argv[3])})
    rows = min(recipe.train.batch_size, recipe.system.micro_batch_tokens // seq)
    expected = training_memory(
        config, rows=rows, seq=seq, number_bytes=compute.dtype.itemsize, mask_rate=recipe.masking.rate,
        bmm=kernel_name(compute.device, seq) == "bmm",
    )  # fmt: skip
    found = {"peak": _peak(), "begun": begun, "parameters": parameters}
    print(json.dumps({**found, "expected": expected.total, "parts": vars(expected)}))


def _peak() -> int:
    """The most memory that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
