"""The encoder compiled by torch's inductor: slow to start, faster where kernels are bound by memory."""

from __future__ import annotations

import os
import shutil
import sysconfig
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module

from maskling.errors import SettingsError
from maskling.model.attention import Visible
from maskling.objectives.terms import Encode


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
            if isinstance(given, Visible) and given.runs is not None:
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
