"""Activation checkpointing: recompute the activations of a layer in the backward pass, trading time for memory.

Only the input of each layer is kept (Chen et al. 2016, Training Deep Nets with Sublinear Memory Cost, section 4.1, with
one layer per segment).
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
    """Checkpoint the activations of every layer of `module`, in place. Results are bit-identical, dropout included."""
    layers = module.layers
    assert isinstance(layers, ModuleList)
    for layer in layers:
        layer.forward = partial(checkpoint_activations, layer.forward)


def checkpoint_activations(function: Callable[..., Tensor], first: Tensor, *inputs: Any) -> Tensor:
    """Return function(first, *inputs), computed a second time in the backward pass with the same dropout.

    first: on the device whose generator draws dropout. torch restores the generators of the CPU and of the CUDA devices
    of tensors that are arguments themselves, but not the one of MPS.
    """
    if first.device.type == "mps":
        function = SameRandomState(function, torch.mps.get_rng_state, torch.mps.set_rng_state)
    out: Tensor = checkpoint(function, first, *inputs, use_reentrant=False, preserve_rng_state=True)
    return out


class SameRandomState:
    """Function wrapper: every later call starts from the generator state of the first call, and then restores it."""

    def __init__(
        self, function: Callable[..., Tensor], get_state: Callable[[], Tensor], set_state: Callable[[Tensor], object]
    ) -> None:
        self._function, self._get_state, self._set_state = function, get_state, set_state
        self._first: Tensor | None = None

    def __call__(self, *inputs: Any) -> Tensor:
        if self._first is None:
            self._first = self._get_state()
            return self._function(*inputs)
        current = self._get_state()
        self._set_state(self._first)
        try:
            return self._function(*inputs)
        finally:
            self._set_state(current)
