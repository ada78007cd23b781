"""A run long enough for memory to settle: prints the estimate of its memory and its peak as JSON.

python tests/model/peak_memory.py DATA SETTINGS
"""

from __future__ import annotations

import contextlib
import json
import resource
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from maskling.config import Layer
from maskling.model.device import has_onednn_bf16, pick_device
from maskling.train.events import Finished, Started
from maskling.train.pretrain import pretrain
from maskling.train.recipe import read_recipe


class ZeroProducts(TorchDispatchMode):
    """Replace matrix products in bf16 by zeros.

    Without oneDNN a product in bf16 takes some hundred times as long as in fp32. Its result takes the same memory
    whatever its values.
    """

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        del types
        ops = torch.ops.aten
        operands = args[1:3] if func is ops.addmm.default else args[:2]
        if func in (ops.addmm.default, ops.mm.default, ops.bmm.default) and operands[0].dtype == torch.bfloat16:
            left, right = operands
            out: Tensor = left.new_zeros(*left.shape[:-1], right.shape[-1])
            return out
        return func(*args, **(kwargs or {}))


def main(data: str, tree: dict[str, Any]) -> None:
    seq, rows, dtype = tree.pop("seq"), tree.pop("rows"), tree["system"]["dtype"]
    compute = pick_device("cpu", dtype)
    emulated = dtype == "bf16" and not has_onednn_bf16(compute)
    tree = {
        **tree,
        "data": {"path": data, "seq_length": seq},
        "train": {"steps": 60, "batch_size": rows, "save_every": 20, "evaluate_every": 20},
        "evaluate": {"examples": 50},
    }
    recipe = read_recipe([Layer("test", tree)]).settings
    found: dict[str, int | None] = {}
    with ZeroProducts() if emulated else contextlib.nullcontext(), tempfile.TemporaryDirectory() as folder:
        for event in pretrain(recipe, Path(folder) / "run"):
            if isinstance(event, Started):
                found |= {"expected": event.memory, "begun": _peak()}
            if isinstance(event, Finished):
                found["reported"] = event.memory
    print(json.dumps({**found, "peak": _peak()}))


def _peak() -> int:
    """Return the peak resident memory of this process in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
