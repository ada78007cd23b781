"""How a run is cut to fit the machine: tokens at once, what is calculated twice, what is compiled, the memory of it.

None of it changes what is learnt, but for rounding and, with dropout, which values are dropped.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module

from maskling.errors import SettingsError
from maskling.model.attention import AttentionPattern, Kernel, kernel_name
from maskling.model.config import ModelConfig
from maskling.model.device import Compute, has_onednn_bf16
from maskling.model.memory import PROCESS_BYTES, TrainingMemory, num_parameters, training_memory
from maskling.objectives.losses import Encode
from maskling.train.settings import MICRO_BATCH_TOKENS, SystemSettings

# FOLDED DOCS
# [compiling] The encoder compiled by torch's inductor: slow to start, faster where kernels are bound by memory.


# On a GPU more are hardly faster once its cores are busy, and they take memory.
GPU_TOKENS = 1 << 17
# Left for whatever else needs memory.
_SHARE = 0.8


@dataclass(frozen=True)
class Fit:
    """system: the settings, nothing in them left open. kernel: of attention. forgets: see `recompute`.

    memory: what the run will take, None for a module that is no encoder of ours.
    """

    system: SystemSettings
    kernel: Kernel
    memory: TrainingMemory | None
    forgets: bool


def fit(
    system: SystemSettings,
    config: ModelConfig | None,
    compute: Compute,
    *,
    row_tokens: int,
    most_rows: int,
    mask_rate: float,
    hidden_moments: int = 2,
    ranks: int = 1,
    process_bytes: int | None = None,
    share: Callable[[Any], Any] = lambda own: own,
) -> Fit:
    """Choose what `system` leaves open. config: of the encoder, None for a module of another kind.

    row_tokens, most_rows: of a row, and rows in a step; mask_rate: of the tokens that the vocabulary is scored for.
    hidden_moments: of the optimizer, see `training_memory`. ranks: that train together.
    process_bytes: what the process holds beside the weights; left out, it is measured, and the weights are there.
    share: rank 0's value, on every rank: ranks see different memory, and must cut a step alike.
    """
    if config is None:
        tokens = system.micro_batch_tokens or MICRO_BATCH_TOKENS
        usual = {"micro_batch_tokens": tokens, "compile": bool(system.compile)}
        kernel = kernel_name(compute.device, row_tokens, True, compute.dtype)
        return Fit(system.model_copy(update=usual), kernel, None, forgets=False)
    room = _SHARE * free_bytes(compute.device)
    wanted = system.micro_batch_tokens or (GPU_TOKENS if compute.device.type == "cuda" else MICRO_BATCH_TOKENS)
    rows = max(1, min(most_rows, wanted // row_tokens))
    dropout, size = config.attention_dropout, config.head_size
    kernel = kernel_name(compute.device, row_tokens, True, compute.dtype, dropout, size)
    process = _process_bytes(compute.device, config) if process_bytes is None else process_bytes

    def needed(rows: int, forgets: bool) -> TrainingMemory:
        return training_memory(
            config,
            rows=rows,
            seq=row_tokens,
            number_bytes=compute.dtype.itemsize,
            mask_rate=mask_rate,
            hidden_moments=hidden_moments,
            ranks=ranks if system.shard else 1,
            gpu=compute.device.type == "cuda",
            bmm=kernel == "bmm",
            forgets=forgets,
            onednn=has_onednn_bf16(compute),
            process_bytes=process,
        )

    forgets = system.checkpoint_activations == "always"
    if system.micro_batch_tokens is None:
        while rows > 1 and needed(rows, forgets).total > room:
            rows = -(-rows // 2)
    if system.checkpoint_activations == "auto":
        forgets = needed(rows, False).total > room
    tokens = system.micro_batch_tokens or max(row_tokens, rows * row_tokens)
    compiles = can_compile(compute.device) and not system.shard if system.compile is None else system.compile
    tokens, compiles, forgets = share([tokens, compiles, forgets])
    chosen = system.model_copy(update={"micro_batch_tokens": tokens, "compile": compiles})
    return Fit(chosen, kernel, needed(max(1, min(most_rows, tokens // row_tokens)), forgets), forgets)


def described(compute: Compute, fit: Fit, ranks: int) -> str:
    """Device, threads, number type and attention kernel that are really used."""
    apart = " with a piece of the model" if fit.system.shard else ""
    each = f"{ranks} ranks, each{apart} on " if ranks > 1 else ""
    return f"{each}{compute.description}, {fit.kernel} attention{', compiled' if fit.system.compile else ''}"


def free_bytes(device: torch.device) -> float:
    """Memory that is still free on the device; infinite where nobody says."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024.0 * int(line.split()[1])
    except (OSError, ValueError):
        pass
    return float("inf")


def peak_bytes(device: torch.device) -> int | None:
    """The most memory so far: what torch allocated on a GPU, else of the whole process; None where nobody says."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def resident_bytes() -> int | None:
    """What this process holds now, or None where nobody says."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
    except (OSError, ValueError, IndexError):
        return None


def _process_bytes(device: torch.device, config: ModelConfig) -> int:
    """What this process holds beside the weights, which are there already."""
    if device.type == "cuda":
        return 0
    resident = resident_bytes()
    return PROCESS_BYTES if resident is None else max(0, resident - 4 * num_parameters(config))


def can_compile(device: torch.device) -> bool:
    """Whether compiling is worth it without being asked for: on a GPU, with Triton and the C compiler that it calls."""
    if device.type != "cuda" or not _has_c():
        return False
    from torch.utils._triton import has_triton

    return bool(has_triton())


def _has_c() -> bool:
    """Whether there are a C compiler and Python's headers, without which Triton ends in an error."""
    compilers = (os.environ.get("CC"), "cc", "gcc", "clang")
    headers = Path(sysconfig.get_paths()["include"]) / "Python.h"
    return headers.is_file() and any(name and shutil.which(name) for name in compilers)


def compiled(module: Module) -> Encode:
    """The module's forward pass, compiled when it is first called.

    What it returns raises SettingsError if that fails, as it does without a C++ compiler.
    """
    fast = torch.compile(module.forward)
    ready = False

    def encode(*inputs: Any) -> Tensor:
        nonlocal ready
        for given in inputs:
            if isinstance(given, AttentionPattern) and given.runs is not None:
                # As many as there are examples, which is another number each time.
                torch._dynamo.maybe_mark_dynamic(given.runs.starts, 0)
        try:
            hidden: Tensor = fast(*inputs)
        except RuntimeError as error:
            if ready or isinstance(error, torch.OutOfMemoryError):
                raise
            first = str(error).strip().splitlines()[0]
            raise SettingsError(
                f"system.compile: torch could not compile the encoder ({first}); install a C++ compiler such as g++, "
                f"or leave system.compile off"
            ) from error
        ready = True
        return hidden

    return encode
