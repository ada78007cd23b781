"""Layers that forget what they calculated and calculate it again in the backward pass: time for memory.

What stays of a layer is its input (Chen et al. 2016, Training Deep Nets with Sublinear Memory Cost, section 4.1, with a
segment a layer).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import ModuleList
from torch.utils.checkpoint import checkpoint

from maskling.model.masked_lm import MaskedLM


def enable_activation_checkpointing(module: MaskedLM) -> None:
    """Let the layers of `module` forget, from now on. In place; the numbers stay the same, dropout included."""
    layers = module.layers
    assert isinstance(layers, ModuleList)
    for layer in layers:
        layer.forward = partial(checkpointed, layer.forward)


def checkpointed(function: Callable[..., Tensor], first: Tensor, *inputs: Any) -> Tensor:
    """function(first, *inputs), calculated once more, with the same dropout, when its gradient is wanted.

    first: on the device that draws what is dropped. torch puts back the generators of the processor and of the GPUs of
    those tensors that are arguments themselves, and knows none of Apple's.
    """
    if first.device.type == "mps":
        function = SameDraws(function, torch.mps.get_rng_state, torch.mps.set_rng_state)
    out: Tensor = checkpoint(function, first, *inputs, use_reentrant=False, preserve_rng_state=True)
    return out


class SameDraws:
    """A function that finds a generator as it was at its first call in every later call, and leaves it as it was."""

    def __init__(
        self, function: Callable[..., Tensor], get: Callable[[], Tensor], put: Callable[[Tensor], object]
    ) -> None:
        self._function, self._get, self._put = function, get, put
        self._first: Tensor | None = None

    def __call__(self, *inputs: Any) -> Tensor:
        if self._first is None:
            self._first = self._get()
            return self._function(*inputs)
        now = self._get()
        self._put(self._first)
        try:
            return self._function(*inputs)
        finally:
            self._put(now)
