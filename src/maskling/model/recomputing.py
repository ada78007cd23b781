"""Layers that forget what they calculated and calculate it again in the backward pass: time for memory.

What stays of a layer is its input (Chen et al. 2016, Training Deep Nets with Sublinear Memory Cost, section 4.1, with a
segment a layer).
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor
from torch.nn import ModuleList
from torch.utils.checkpoint import checkpoint

from maskling.model.masked_lm import MaskedLM


def recompute(module: MaskedLM) -> None:
    """Let the layers of `module` forget, from now on. In place; the numbers stay the same, dropout included."""
    layers = module.layers
    assert isinstance(layers, ModuleList)
    for layer in layers:
        layer.forward = partial(_forgetful, layer.forward)


def _forgetful(forward: Any, *inputs: Any) -> Tensor:
    # torch's generator is put back before the second time, so that the same values are dropped.
    out: Tensor = checkpoint(forward, *inputs, use_reentrant=False, preserve_rng_state=True)
    return out
