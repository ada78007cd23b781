"""Which device and which numbers: picked once, and said in words."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Literal

import torch

from maskling.errors import SettingsError

Precision = Literal["auto", "fp32", "bf16"]


@dataclass(frozen=True)
class Compute:
    """Where and in which numbers to calculate. Weights stay in fp32; `dtype` is what matrix products use."""

    device: torch.device
    dtype: torch.dtype
    description: str

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """The context to run the forward pass in."""
        if self.dtype == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, self.dtype)


def pick(device: str = "auto", dtype: Precision = "auto") -> Compute:
    """Choose the device ('auto', 'cpu', 'cuda', 'cuda:1', 'mps') and the numbers.

    'auto' takes a GPU where there is one, and bf16 where the processor multiplies it natively, fp32 elsewhere;
    never fp16, whose range needs a loss scaler. Raises SettingsError for a device that is not there.
    """
    chosen = _device(device)
    native = _native_bf16(chosen)
    bf16 = dtype == "bf16" or (dtype == "auto" and native is not None)
    return Compute(chosen, torch.bfloat16 if bf16 else torch.float32, _describe(chosen, bf16, native))


def _device(name: str) -> torch.device:
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise SettingsError(f"system.device: '{name}' is no device; use auto, cpu, cuda, cuda:1 or mps") from None
    there = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if (device.index or 0) >= there.get(device.type, 0):
        raise SettingsError(
            f"system.device: torch {torch.__version__} sees no device '{name}' here; use auto or cpu, "
            f"or install a torch that is built for it"
        )
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return device


def _native_bf16(device: torch.device) -> str | None:
    """What multiplies bf16 fast on this device, None if nothing does."""
    if device.type == "cuda":
        # Emulation on older cards is slower than fp32.
        return "tensor cores" if torch.cuda.get_device_capability(device) >= (8, 0) else None
    if device.type == "cpu":
        if torch.cpu._is_amx_tile_supported():
            return "amx"
        if torch.cpu._is_avx512_bf16_supported():
            return "avx512_bf16"
    return None


def _describe(device: torch.device, bf16: bool, native: str | None) -> str:
    if device.type == "cuda":
        where = f"{device} ({torch.cuda.get_device_name(device)})"
    elif device.type == "cpu":
        threads = torch.get_num_threads()
        where = f"cpu, {threads} thread{'s' if threads > 1 else ''}"
    else:
        where = device.type
    numbers = f"bf16 autocast ({native or 'emulated, slower than fp32'})" if bf16 else "fp32"
    return f"{where}, {numbers}"
