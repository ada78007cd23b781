"""Weights, gradients and moments in pieces, one on each rank, for models of which a device cannot hold all four.

torch's FSDP2: a layer is put together from its pieces just before it is used and taken apart after it, and each rank
is brought the sum of its own piece of the gradient. Weights (a fourth of what training holds) have to fit in one
piece: to be measured and saved they are put together, and a checkpoint is that of one process, which any number of
ranks goes on with.
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


class Shards:
    """A module in pieces."""

    def __init__(self, module: Module, empty: Callable[[], Module], ranks: Ranks) -> None:
        """Take `module`, which has the same weights on every rank, apart. empty: makes a module like it, in one piece.

        From here on its parameters are pieces (DTensors).
        """
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import FSDPModule, fully_shard

        # It minds what somebody might do to a view; nothing here writes into what the encoder returns.
        warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
        self._module, self._empty, self._ranks = module, empty, ranks
        mesh = init_device_mesh(ranks.device.type, (ranks.size,))
        stacks = [child for child in module.modules() if isinstance(child, nn.ModuleList)]
        for layer in (layer for stack in stacks for layer in stack):
            fully_shard(layer, mesh=mesh, reshard_after_forward=True)
        # What is left, embeddings and heads, is used before and after the layers: it stays together for the pass.
        fully_shard(module, mesh=mesh, reshard_after_forward=False)
        # torch's caches keep the mesh for ever, and with it the process group: see `joined`. It finds it by name, too.
        getattr(mesh, "_pg_registry", {}).clear()
        # The module itself is the first.
        self._parts: list[FSDPModule] = [part for part in module.modules() if isinstance(part, FSDPModule)]
        for part in self._parts:
            # A sum, not a mean: losses are divided by the counts of the whole batch already.
            part.set_gradient_divide_factor(1.0)
            part.set_force_sum_reduction_for_comms(True)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Within the block every rank has all weights, and forward passes need no other rank. All ranks enter it."""
        for part in self._parts:
            part.unshard()
            part.set_reshard_after_forward(False, recurse=False)
        try:
            yield
        finally:
            for part in self._parts:
                part.set_reshard_after_forward(part is not self._parts[0], recurse=False)
                part.reshard()

    def in_one_piece(self) -> Module:
        """A module with the weights of now, on the CPU of rank 0; what others get is empty. All ranks ask together."""
        whole = self._empty()
        with self.together(), torch.no_grad():
            if self._ranks.is_main:
                for mine, own in zip(tensors_of(whole), tensors_of(self._module), strict=True):
                    mine.copy_(own)
        return whole

    def take(self, whole: Module) -> None:
        """Take over the weights of a module in one piece, which every rank has."""
        with torch.no_grad():
            for own, theirs in zip(self._module.parameters(), whole.parameters(), strict=True):
                own.to_local().copy_(piece(theirs, own).to_local())  # type: ignore[attr-defined]
            for buffer, other in zip(self._module.buffers(), whole.buffers(), strict=True):
                buffer.copy_(other)


def piece(whole: Tensor, like: Tensor) -> Any:
    """This rank's piece of a tensor that every rank has in one, cut as the parameter `like` is; without a message."""
    from torch.distributed.tensor import distribute_tensor

    mesh = like.device_mesh  # type: ignore[attr-defined]
    there = whole.detach().to(like.device, like.dtype)
    return distribute_tensor(there, mesh, like.placements, src_data_rank=None)  # type: ignore[attr-defined]


def is_piece(tensor: Tensor) -> bool:
    """Whether a tensor is one of pieces."""
    return hasattr(tensor, "placements")


def own_part(tensor: Tensor) -> Tensor:
    """What of a tensor lies on this rank: all of it, or its piece."""
    return tensor.to_local() if is_piece(tensor) else tensor  # type: ignore[attr-defined]


def whole(tensor: Tensor) -> Tensor:
    """A tensor that may be in pieces, in one. All ranks ask together."""
    return tensor.full_tensor() if is_piece(tensor) else tensor  # type: ignore[attr-defined]


def collected(tensors: Mapping[str, Tensor], ranks: Ranks) -> dict[str, Tensor]:
    """Tensors that may be in pieces, each in one on the CPU of rank 0; others get none. All ranks ask together.

    One after the other: a device that needs them in pieces has no room for all of them.
    """
    found = {}
    for name, tensor in tensors.items():
        together = whole(tensor)
        if ranks.is_main:
            found[name] = together.cpu()
    return found


def tensors_of(module: Module) -> Iterator[Tensor]:
    """Every weight and every buffer, each once."""
    return chain(module.parameters(), module.buffers())
