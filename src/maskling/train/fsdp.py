"""FSDP2: shard weights, gradients and optimizer state over ranks, for models too large for one device.

A layer is gathered (all-gather) just before it is used and resharded after it, and each rank gets the sum of its own
shard of the gradient (reduce-scatter). The weights alone, a fourth of what training holds, have to fit on a device: to
be evaluated and saved they are gathered. A checkpoint is that of a single process, which any number of ranks resumes.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import Module

from maskling.train.distributed import Ranks

if TYPE_CHECKING:
    from torch.distributed.fsdp import FSDPModule


class ShardedModule:
    """A module whose parameters are shards (DTensors)."""

    def __init__(self, module: Module, build_empty: Callable[[], Module], ranks: Ranks) -> None:
        """Shard `module`, equal on every rank, in place. build_empty: builds a whole module like it."""
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import FSDPModule, fully_shard

        # It warns of writing into a view; nothing here writes into what the encoder returns.
        warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
        self._module, self._build_empty, self._ranks = module, build_empty, ranks
        mesh = init_device_mesh(ranks.device.type, (ranks.size,))
        stacks = [child for child in module.modules() if isinstance(child, nn.ModuleList)]
        for layer in (layer for stack in stacks for layer in stack):
            fully_shard(layer, mesh=mesh, reshard_after_forward=True)
        # The rest, embeddings and heads, is used before and after the layers: it stays gathered during the pass.
        fully_shard(module, mesh=mesh, reshard_after_forward=False)
        # torch's caches keep the mesh for ever, and with it the process group: see `join_ranks`. It is found by name.
        getattr(mesh, "_pg_registry", {}).clear()
        # The module itself is the first.
        self._parts: list[FSDPModule] = [part for part in module.modules() if isinstance(part, FSDPModule)]
        for part in self._parts:
            # A sum, not a mean: losses are divided by the counts of the whole batch already.
            part.set_gradient_divide_factor(1.0)
            part.set_force_sum_reduction_for_comms(True)

    @contextlib.contextmanager
    def unsharded(self) -> Iterator[None]:
        """Gather all weights on every rank for the block; forward passes then need no other rank. All ranks enter."""
        for part in self._parts:
            part.unshard()
            part.set_reshard_after_forward(False, recurse=False)
        try:
            yield
        finally:
            for part in self._parts:
                part.set_reshard_after_forward(part is not self._parts[0], recurse=False)
                part.reshard()

    def gather(self) -> Module:
        """Return a whole module with the current weights, on the CPU of rank 0; other ranks get an empty one.

        All ranks call this together.
        """
        whole = self._build_empty()
        with self.unsharded(), torch.no_grad():
            if self._ranks.is_main:
                for target, source in zip(module_tensors(whole), module_tensors(self._module), strict=True):
                    target.copy_(source)
        return whole

    def load(self, whole: Module) -> None:
        """Copy the weights of a whole module, equal on every rank."""
        with torch.no_grad():
            for shard, source in zip(self._module.parameters(), whole.parameters(), strict=True):
                shard.to_local().copy_(shard_like(source, shard).to_local())  # type: ignore[attr-defined]
            for buffer, other in zip(self._module.buffers(), whole.buffers(), strict=True):
                buffer.copy_(other)


def shard_like(whole: Tensor, like: Tensor) -> Any:
    """Return this rank's shard of a tensor that every rank has, sharded as the parameter `like`; without a message."""
    from torch.distributed.tensor import distribute_tensor

    mesh = like.device_mesh  # type: ignore[attr-defined]
    there = whole.detach().to(like.device, like.dtype)
    return distribute_tensor(there, mesh, like.placements, src_data_rank=None)  # type: ignore[attr-defined]


def is_sharded(tensor: Tensor) -> bool:
    """Return whether a tensor is sharded."""
    return hasattr(tensor, "placements")


def local_tensor(tensor: Tensor) -> Tensor:
    """Return the part of a tensor on this rank: all of it, or its shard."""
    return tensor.to_local() if is_sharded(tensor) else tensor  # type: ignore[attr-defined]


def full_tensor(tensor: Tensor) -> Tensor:
    """Gather a tensor if it is sharded. All ranks call this together."""
    return tensor.full_tensor() if is_sharded(tensor) else tensor  # type: ignore[attr-defined]


def gather_tensors(tensors: Mapping[str, Tensor], ranks: Ranks) -> dict[str, Tensor]:
    """Gather tensors to the CPU of rank 0; other ranks get none. All ranks call this together.

    One after the other: a device that needs them sharded has no room for all of them.
    """
    gathered = {}
    for name, tensor in tensors.items():
        full = full_tensor(tensor)
        if ranks.is_main:
            gathered[name] = full.cpu()
    return gathered


def module_tensors(module: Module) -> Iterator[Tensor]:
    """Iterate over all parameters and buffers, each once."""
    return chain(module.parameters(), module.buffers())
