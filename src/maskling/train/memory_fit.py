"""Choose micro-batch size, activation checkpointing and compilation from free memory, and estimate the peak.

None of it changes the result, except for rounding and, with dropout, which values are dropped.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import torch

from maskling.model.attention import Kernel, kernel_name
from maskling.model.config import ModelConfig
from maskling.model.device import Compute, has_onednn_bf16
from maskling.model.memory import PROCESS_BYTES, TrainingMemory, num_parameters, training_memory
from maskling.train.distributed import Ranks
from maskling.train.settings import MICRO_BATCH_TOKENS, SystemSettings
from maskling.train.task import AnyTask

# On a GPU larger micro-batches are hardly faster once its cores are busy, and they take memory.
GPU_TOKENS = 1 << 17
# Of the free memory; the rest is for other programs.
_SHARE = 0.8


@dataclass(frozen=True)
class MemoryFit:
    """Settings and estimated memory of a run on this machine.

    system: the settings, nothing left open. kernel: of attention. checkpoint_activations: whether layers are recomputed
    in the backward pass. memory: estimated peak, None for a module that is not one of our encoders.
    """

    system: SystemSettings
    kernel: Kernel
    memory: TrainingMemory | None
    checkpoint_activations: bool

    def describe(self, compute: Compute, num_ranks: int) -> str:
        """Return device, threads, dtype and attention kernel in use; compared when a run resumes."""
        sharded = " with a piece of the model" if self.system.shard else ""
        ranks = f"{num_ranks} ranks, each{sharded} on " if num_ranks > 1 else ""
        compiled = ", compiled" if self.system.compile else ""
        return f"{ranks}{compute.description}, {self.kernel} attention{compiled}"


def fit_to_memory(
    task: AnyTask,
    config: ModelConfig | None,
    compute: Compute,
    ranks: Ranks,
    *,
    micro_batch_tokens: int | None = None,
    process_bytes: int | None = None,
    trained_parameters: int | None = None,
) -> MemoryFit:
    """Choose what the task's [system] settings leave open.

    config: of the encoder, None for a module of another kind. micro_batch_tokens: as the run used them so far, if the
    settings leave them open: dropout is drawn per micro-batch, and free memory changes. process_bytes: memory of the
    process besides the weights; measured by default, with the weights in memory. trained_parameters: None for all.
    Ranks see different free memory and must agree: rank 0 decides.
    """
    recipe, row_tokens = task.recipe, task.row_tokens
    system: SystemSettings = recipe.system
    task.supply()  # a plan of many examples takes memory too, and has to exist when memory is measured
    given_tokens = system.micro_batch_tokens or micro_batch_tokens
    if config is None:
        chosen = {"micro_batch_tokens": given_tokens or MICRO_BATCH_TOKENS, "compile": bool(system.compile)}
        kernel = kernel_name(compute.device, row_tokens, True, compute.dtype)
        return MemoryFit(system.model_copy(update=chosen), kernel, None, checkpoint_activations=False)
    max_rows = recipe.train.batch_size
    available = _SHARE * free_bytes(compute.device)
    wanted = given_tokens or (GPU_TOKENS if compute.device.type == "cuda" else MICRO_BATCH_TOKENS)
    rows = max(1, min(max_rows, wanted // row_tokens))
    dropout, head_size = config.attention_dropout, config.head_size
    kernel = kernel_name(compute.device, row_tokens, True, compute.dtype, dropout, head_size)
    process = _process_bytes(compute.device, config) if process_bytes is None else process_bytes

    def needed(rows: int, recomputes: bool) -> TrainingMemory:
        return training_memory(
            config,
            rows=rows,
            seq=row_tokens,
            dtype_bytes=compute.dtype.itemsize,
            mask_rate=task.mask_rate,
            hidden_moments=recipe.optimizer.hidden_moments,
            ranks=ranks.size if system.shard else 1,
            gpu=compute.device.type == "cuda",
            bmm=kernel == "bmm",
            activation_checkpointing=recomputes,
            onednn=has_onednn_bf16(compute),
            process_bytes=process,
            trained_parameters=trained_parameters,
        )

    recomputes = system.checkpoint_activations == "always"
    if given_tokens is None:
        while rows > 1 and needed(rows, recomputes).total > available:
            rows = -(-rows // 2)
    if system.checkpoint_activations == "auto":
        recomputes = needed(rows, False).total > available
    tokens = given_tokens or max(row_tokens, rows * row_tokens)
    compiles = can_compile(compute.device) and not system.shard if system.compile is None else system.compile
    tokens, compiles, recomputes = ranks.broadcast([tokens, compiles, recomputes])
    filled = system.model_copy(update={"micro_batch_tokens": tokens, "compile": compiles})
    memory = needed(max(1, min(max_rows, tokens // row_tokens)), recomputes)
    return MemoryFit(filled, kernel, memory, recomputes)


def free_bytes(device: torch.device) -> float:
    """Return the free memory of the device; infinite if unknown."""
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
    """Return the peak memory so far: what torch allocated on a GPU, else of the whole process; None if unknown."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def resident_bytes() -> int | None:
    """Return the resident memory of this process, None if unknown."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None


def _process_bytes(device: torch.device, config: ModelConfig) -> int:
    """Return the memory of this process besides the weights, which are in memory already."""
    if device.type == "cuda":
        return 0
    resident = resident_bytes()
    return PROCESS_BYTES if resident is None else max(0, resident - 4 * num_parameters(config))


def can_compile(device: torch.device) -> bool:
    """Return whether to compile by default: on a GPU, with Triton and the C compiler that it calls."""
    if device.type != "cuda" or not _has_c():
        return False
    from torch.utils._triton import has_triton

    return bool(has_triton())


def _has_c() -> bool:
    """Return whether there are a C compiler and Python's headers, without which Triton fails."""
    compilers = (os.environ.get("CC"), "cc", "gcc", "clang")
    headers = Path(sysconfig.get_paths()["include"]) / "Python.h"
    return headers.is_file() and any(name and shutil.which(name) for name in compilers)
