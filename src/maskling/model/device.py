"""Choose the device and the dtype of mixed precision, move arrays to it, and keep freed memory in the process."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import platform
import time
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from maskling.console import counted
from maskling.errors import SettingsError

Precision = Literal["auto", "fp32", "bf16"]

# Environment variables that limit the instruction set of oneDNN or of torch itself.
_LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY")
# Below this speedup the casts around the matrix products cost what the products save.
_MIN_SPEEDUP = 1.5


@dataclass(frozen=True)
class Compute:
    """Device and dtype of a computation. Weights stay in fp32; `dtype` is that of matrix products (mixed precision)."""

    device: torch.device
    dtype: torch.dtype
    description: str

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """Return the context manager to run the forward pass in."""
        if self.dtype == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, self.dtype)


def pick_device(device: str = "auto", dtype: Precision = "auto") -> Compute:
    """Choose the device ('auto', 'cpu', 'cuda', 'cuda:1', 'mps') and the dtype.

    'auto' takes a GPU if there is one, and bf16 if the device multiplies it natively, else fp32. Never fp16, whose
    range needs a loss scaler. Raises SettingsError for a device that is not available.
    """
    chosen = _device(device)
    native = _native_bf16(chosen)
    bf16 = dtype == "bf16" or (dtype == "auto" and native is not None)
    return Compute(chosen, torch.bfloat16 if bf16 else torch.float32, _describe(chosen, bf16, native))


def to_device(array: np.ndarray | Tensor, device: torch.device) -> Tensor:
    """Return an array as a tensor on `device`; to a GPU from pinned memory, so that the copy is asynchronous."""
    tensor = array if isinstance(array, Tensor) else torch.from_numpy(np.ascontiguousarray(array))
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def _device(name: str) -> torch.device:
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise SettingsError(f"system.device: '{name}' is not a device; use auto, cpu, cuda, cuda:1 or mps") from None
    counts = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if (device.index or 0) >= counts.get(device.type, 0):
        raise SettingsError(
            f"system.device: torch {torch.__version__} finds no device '{name}' here; use auto or cpu, "
            f"or install a torch that is built for it"
        )
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return device


def _native_bf16(device: torch.device) -> str | None:
    """Return what multiplies bf16 natively on this device, None if nothing does."""
    if device.type == "cuda":
        # Emulation on older cards is slower than fp32.
        return "tensor cores" if torch.cuda.get_device_capability(device) >= (8, 0) else None
    if device.type != "cpu":
        return None
    if any(name in os.environ for name in _LIMITS) or platform.machine() not in ("x86_64", "AMD64"):
        # CPU flags do not decide: the libraries are limited to fewer instructions, or it is another kind (aarch64).
        faster = _bf16_is_faster_by()
        return f"{faster:.1f} times fp32, measured" if faster >= _MIN_SPEEDUP else None
    if torch.cpu._is_amx_tile_supported():
        return "amx"
    # Every other x86 computes bf16 products in fp32, with two more casts.
    return "avx512_bf16" if torch.cpu._is_avx512_bf16_supported() else None


def has_onednn_bf16(compute: Compute) -> bool:
    """Return whether oneDNN computes the matrix products: in bf16, on a CPU whose instructions oneDNN supports."""
    if compute.device.type != "cpu" or compute.dtype != torch.bfloat16:
        return False
    try:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    except (AttributeError, RuntimeError):
        return False


@functools.cache
def _bf16_is_faster_by() -> float:
    """Return how many times faster a matrix product is in bf16 than in fp32. Takes some 50 ms."""

    def best(dtype: torch.dtype) -> float:
        a = torch.ones(256, 256, dtype=dtype)
        torch.mm(a, a)
        seconds = []
        for _ in range(5):
            began = time.perf_counter()
            torch.mm(a, a)
            seconds.append(time.perf_counter() - began)
        return min(seconds)

    return best(torch.float32) / best(torch.bfloat16)


def _describe(device: torch.device, bf16: bool, native: str | None) -> str:
    if device.type == "cuda":
        where = f"{device} ({torch.cuda.get_device_name(device)})"
    elif device.type == "cpu":
        where = f"cpu, {counted(torch.get_num_threads(), 'thread')}"
    else:
        where = device.type
    numbers = f"bf16 autocast ({native or 'emulated, slower than fp32'})" if bf16 else "fp32"
    return f"{where}, {numbers}"


# Options of mallopt, from glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_TOP_PAD = -2
_M_MMAP_MAX = -4


def keep_freed_memory() -> bool:
    """Set glibc's malloc to keep freed memory. Returns whether it does; other allocators are not changed.

    A training step frees and allocates the same hundreds of megabytes each time. By default glibc returns them to the
    kernel and maps them again, and the first touch of fresh pages costs 3-10 times a second one: 1.2-1.5x per step.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    mallopt.argtypes, mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    # A threshold of -1 is never reached; the largest int is, by the memory that a base model frees after a step.
    options = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1), (_M_TOP_PAD, 64 << 20))
    return all(mallopt(option, value) == 1 for option, value in options)
