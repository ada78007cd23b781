"""Who takes part in a run: one process, or the ranks that torchrun started.

Everything that ranks say to each other goes through here. With one process each of it is the identity, so that the
loop reads the same either way. Nothing is pickled: what is not a tensor travels as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import Parameter

# Gradients travel together, as a message for each of a few hundred small tensors would cost more than their bytes;
# in buckets, as one is added up while the next is being copied (25 MiB is what torch's DDP found best).
BUCKET_BYTES = 25 << 20
_CPU = torch.device("cpu")


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

    def sum_gradients(self, parameters: Iterable[Parameter], bucket_bytes: int = BUCKET_BYTES) -> None:
        """Add each gradient over ranks.

        A sum, not a mean: every rank has already divided its losses by counts over the whole batch. A rank that had
        nothing to do adds zeros.
        """
        if self.size == 1:
            return
        under_way = []
        for bucket in _buckets(parameters, bucket_bytes):
            grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in bucket]
            flat = torch.cat([grad.flatten() for grad in grads])
            under_way.append((bucket, flat, dist.all_reduce(flat, async_op=True)))
        for bucket, flat, sending in under_way:
            sending.wait()
            for parameter, part in zip(bucket, torch.split(flat, [p.numel() for p in bucket]), strict=True):
                parameter.grad = part.view_as(parameter)

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


def _buckets(parameters: Iterable[Parameter], most: int) -> Iterator[list[Parameter]]:
    """Parameters in their order, gathered by kind of number until the next would make a bucket larger than `most`."""
    bucket: list[Parameter] = []
    filled = 0
    for parameter in parameters:
        wanted = parameter.numel() * parameter.element_size()
        if bucket and (filled + wanted > most or parameter.dtype != bucket[0].dtype):
            yield bucket
            bucket, filled = [], 0
        bucket.append(parameter)
        filled += wanted
    if bucket:
        yield bucket
