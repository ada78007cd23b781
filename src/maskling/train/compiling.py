"""The encoder compiled by torch's inductor: slow to start, faster where kernels are bound by memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import Module

from maskling.errors import SettingsError
from maskling.objectives.terms import Encode


def can_compile(device: torch.device) -> bool:
    """Whether compiling is worth it without being asked for: on a GPU, where torch finds Triton."""
    if device.type != "cuda":
        return False
    from torch.utils._triton import has_triton

    return bool(has_triton())


def compiled(module: Module) -> Encode:
    """The module's forward pass, compiled when it is first called.

    What it returns raises SettingsError if that fails, as it does without a C++ compiler.
    """
    fast = torch.compile(module.forward)
    ready = False

    def encode(*inputs: Any) -> Tensor:
        nonlocal ready
        try:
            hidden: Tensor = fast(*inputs)
        except RuntimeError as error:
            if ready:
                raise
            first = str(error).strip().splitlines()[0]
            raise SettingsError(
                f"system.compile: torch could not compile the encoder ({first}); install a C++ compiler such as g++, "
                f"or leave system.compile off"
            ) from error
        ready = True
        return hidden

    return encode
