"""Who takes part in a run: one process, or the ranks that torchrun started.

Everything that ranks say to each other goes through here. With one process each of it is the identity, so that the
loop reads the same either way. Nothing is pickled: what is not a tensor travels as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor

_CPU = torch.device("cpu")


class Sending(Protocol):
    """What has been sent, and not yet answered."""

    def wait(self) -> object:
        """Until the answer is there."""


@dataclass(frozen=True)
class World:
    """This process's place among `size` ranks. device: where tensors have to lie to be sent."""

    rank: int = 0
    size: int = 1
    device: torch.device = _CPU

    @property
    def leads(self) -> bool:
        """Whether this rank speaks, and writes the files."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """The element-wise sum over ranks, on every rank."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def begin_sum(self, values: Tensor) -> Sending:
        """Begin to add `values` up over ranks, in place; they are whole when what is returned has been waited for."""
        return dist.all_reduce(values, async_op=True)  # type: ignore[no-any-return]

    def highest(self, value: int) -> int:
        """The largest of the ranks' integers, on every rank."""
        if self.size == 1:
            return value
        box = torch.tensor([value], dtype=torch.int64, device=self.device)
        dist.all_reduce(box, op=dist.ReduceOp.MAX)
        return int(box)

    def agree(self, value: int) -> int:
        """Rank 0's integer, on every rank."""
        return int(self.share(value))

    def share(self, value: Any, source: int = 0) -> Any:
        """What JSON can say, from one rank to all; the others' own values do not count."""
        if self.size == 1:
            return value
        text = json.dumps(value).encode() if self.rank == source else b""
        length = torch.tensor([len(text)], dtype=torch.int64, device=self.device)
        dist.broadcast(length, src=source)
        box = torch.empty(int(length), dtype=torch.uint8, device=self.device)
        if self.rank == source:
            box.copy_(torch.frombuffer(bytearray(text), dtype=torch.uint8))
        dist.broadcast(box, src=source)
        return json.loads(bytes(box.cpu().numpy()))

    def fill(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite tensors, which every rank has in the same shapes, with rank 0's."""
        if self.size == 1:
            return
        with torch.no_grad():
            for tensor in tensors:
                there = tensor.to(self.device).contiguous()
                dist.broadcast(there, src=0)
                if there is not tensor:
                    tensor.copy_(there)

    def share_tensors(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rank 0's tensors by name, on every rank; the others' own do not count."""
        shapes = {name: (str(value.dtype).removeprefix("torch."), list(value.shape)) for name, value in tensors.items()}
        wanted = self.share(shapes)
        if not self.leads:
            tensors = {name: torch.empty(shape, dtype=getattr(torch, kind)) for name, (kind, shape) in wanted.items()}
        self.fill(tensors.values())
        return dict(tensors)

    def wait(self) -> None:
        """Until every rank is here."""
        self.highest(0)
