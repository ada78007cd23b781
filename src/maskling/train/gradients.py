"""Gradients added over ranks while the backward pass is still making others."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor
from torch.nn import Parameter

from maskling.train.world import Sending, World

# Gradients travel together, as a message for each of a few hundred small tensors would cost more than their bytes;
# in buckets, as one is added up while the next is being made (25 MiB is what torch's DDP found best).
BUCKET_BYTES = 25 << 20


class GradientSum:
    """The sum over ranks of the gradients of one step.

    A sum, not a mean: every rank has already divided its losses by counts over the whole batch. A rank that had nothing
    to do adds zeros.

    Buckets leave in one order on every rank, from the last layers to the first, as the backward pass comes to them:
    which gradients a rank has depends on its text (no pairs, no gradient of the pair head), and messages that cross
    would be added to each other. When they leave changes no bit of what they bring.
    """

    def __init__(self, world: World, parameters: Iterable[Parameter], bucket_bytes: int = BUCKET_BYTES) -> None:
        self._world = world
        self._buckets = list(buckets(parameters, bucket_bytes)) if world.size > 1 else []
        self._missing = [len(bucket) for bucket in self._buckets]
        self._under_way: list[tuple[list[Parameter], Tensor, Sending]] = []

    @contextlib.contextmanager
    def last_pass(self) -> Iterator[None]:
        """Around the backward pass after which gradients are whole: within it, each bucket leaves when it is full."""
        place = {parameter: index for index, bucket in enumerate(self._buckets) for parameter in bucket}

        def made(parameter: Tensor) -> None:
            self._missing[place[parameter]] -= 1  # type: ignore[index]
            self._send_full()

        hooks = [
            parameter.register_post_accumulate_grad_hook(made)  # type: ignore[no-untyped-call]
            for parameter in place
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def finish(self) -> None:
        """Send what is left, and put the sums in the place of the gradients."""
        self._missing = [0] * len(self._buckets)
        self._send_full()
        for bucket, flat, sending in self._under_way:
            sending.wait()
            for parameter, part in zip(bucket, torch.split(flat, [p.numel() for p in bucket]), strict=True):
                parameter.grad = part.view_as(parameter)

    def _send_full(self) -> None:
        while (left := len(self._buckets) - len(self._under_way)) and self._missing[left - 1] == 0:
            bucket = self._buckets[left - 1]
            grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in bucket]
            flat = torch.cat([grad.flatten() for grad in grads])
            for parameter in bucket:
                parameter.grad = None  # else all gradients would be there twice
            self._under_way.append((bucket, flat, self._world.begin_sum(flat)))


def buckets(parameters: Iterable[Parameter], most: int) -> Iterator[list[Parameter]]:
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
