"""One optimizer step: forward and backward over micro-batches, the gradient of the whole batch, the update."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module, Parameter

from maskling.errors import NumericsError, SettingsError
from maskling.model.device import Compute
from maskling.objectives.losses import Encode, Term, weighted_loss
from maskling.randomness import integer
from maskling.train.distributed import PendingAllReduce, Ranks
from maskling.train.fsdp import Shards, collected, own_part, whole
from maskling.train.optimizer import Optimizer
from maskling.train.task import AnyTask, Numbers, StepBatches

# FOLDED DOCS
# [gradients] Gradients added over ranks while the backward pass is still making others.


@dataclass(frozen=True)
class Parts:
    """What takes steps together.

    encode: the forward pass of the task's encoder, perhaps compiled. shards: how the module is taken apart over ranks,
    None where every rank has all of it.
    """

    task: AnyTask
    module: Module
    optimizer: Optimizer
    compute: Compute
    ranks: Ranks
    encode: Encode
    shards: Shards | None = None

    def evaluate(self) -> Numbers:
        """What the task measures of the weights of now. All ranks ask together."""
        with self.shards.together() if self.shards else contextlib.nullcontext():
            return self.task.evaluate(self.module, self.compute, self.ranks)

    def in_one_piece(self) -> Module:
        """The module as a single process has it, on rank 0. All ranks ask together."""
        return self.shards.in_one_piece() if self.shards else self.module

    def moments(self) -> Mapping[str, Tensor]:
        """The optimizer's state as a single process has it, on rank 0. All ranks ask together."""
        state = self.optimizer.state()
        return collected(state, self.ranks) if self.shards else state


@dataclass(frozen=True)
class Taken:
    """What came of a step. terms: in nats a prediction, None for one without any; problem: why it moved nothing."""

    loss: float
    terms: Mapping[str, float | None]
    gradient_norm: float
    problem: str | None = None


def take_step(parts: Parts, work: StepBatches, factor: float) -> Taken:
    """Move the weights once, at `factor` times the highest learning rate.

    Raises NumericsError if a loss or gradient is no longer a number and the recipe says to stop then, or if the weights
    themselves are no longer numbers and it does not say to go back.
    """
    weights, train = parts.task.weights, parts.task.recipe.train
    parameters = [parameter for parameter in parts.module.parameters() if parameter.requires_grad]
    adding = GradientSum(parts.ranks, [] if parts.shards else parameters)
    sums = _gradients(parts, work, adding)
    adding.finish()
    totals = parts.ranks.all_reduce(torch.stack(sums).sum(0))
    norm = whole(torch.nn.utils.clip_grad_norm_(parameters, train.clip or math.inf))
    # The only wait for the device in a step.
    *added, gradient_norm = torch.cat([totals, norm.detach()[None].to(totals.dtype)]).tolist()
    terms = {
        name: total / work.counts[name] if work.counts.get(name) else None
        for name, total in zip(weights, added, strict=True)
    }
    loss = sum(weights[name] * (value or 0.0) for name, value in terms.items())
    problem = None
    if math.isfinite(loss) and math.isfinite(gradient_norm):
        parts.optimizer.step(factor)
    else:
        problem = _blame(parts, work, sums)
    parts.optimizer.clear_gradients()
    return Taken(loss, terms, gradient_norm, problem)


def _gradients(parts: Parts, work: StepBatches, adding: GradientSum) -> list[Tensor]:
    """Run the micro-batches, adding up gradients. Returns for each (terms,) fp32, the sum of each term of the loss."""
    # Every micro-batch is divided by the counts of the WHOLE batch, known before the first backward: so the
    # gradients of micro-batches, and of ranks, only have to be added.
    task, device = parts.task, parts.compute.device
    parts.module.train()
    parts.optimizer.clear_gradients()
    torch.manual_seed(integer(task.recipe.seed, "dropout", work.step, parts.ranks.rank))
    sums = [torch.zeros(len(task.weights), device=device)]
    passes = _passes(parts, work)
    for place, (batch, counts) in enumerate(passes):
        with parts.compute.autocast():
            found = task.terms(parts.module, batch, parts.encode, device)
        loss = weighted_loss(found, work.counts, task.weights)
        with adding.last_pass() if place == len(passes) - 1 else contextlib.nullcontext():
            (loss if counts else 0.0 * loss).backward()  # type: ignore[no-untyped-call]
        if counts:
            none = Term(torch.zeros((), device=device), 0)
            sums.append(torch.stack([found.get(name, none).sum.detach() for name in task.weights]))
    return sums


def _passes(parts: Parts, work: StepBatches) -> list[tuple[Any, bool]]:
    """The micro-batches of a step, and whether each counts.

    Where layers are put together by all ranks at once, each rank has to make as many passes: one that has fewer
    micro-batches repeats its last, and it counts for nothing. Raises SettingsError where a rank has none at all.
    """
    own = [(batch, True) for batch in work.batches]
    if parts.shards is None:
        return own
    if parts.ranks.max(int(not own)):
        raise SettingsError(
            f"system.shard: step {work.step + 1:,} has too few rows for {parts.ranks.size} ranks; raise "
            f"train.batch_size, or start fewer ranks"
        )
    return own + [(work.batches[-1], False)] * (parts.ranks.max(len(own)) - len(own))


def _blame(parts: Parts, work: StepBatches, sums: list[Tensor]) -> str:
    """Say where a step went wrong; raise it if the run is to stop then. The same words on every rank."""
    step, remedy = work.step + 1, parts.task.recipe.train.on_nonfinite
    names = [name for name, _ in parts.module.named_parameters()]
    bad = [~own_part(value.detach()).isfinite().all() for value in parts.module.parameters()]
    if broken := [
        name for name, some in zip(names, parts.ranks.all_reduce(torch.stack(bad).int()), strict=True) if some
    ]:
        text = f"step {step:,}: {len(broken)} weights are no longer numbers, {broken[0]} among them"
        if remedy == "rewind":
            return text
        raise NumericsError(f"{text}; begin a new run with a lower optimizer.lr")
    micro = next((place for place, value in enumerate(sums) if not bool(value.isfinite().all())), None)
    what = "loss" if parts.ranks.max(int(micro is not None)) else "gradient"
    if what == "gradient":
        micro = _first_bad_gradient(parts, work)
    text = f"step {step:,}: the {what} is not a finite number ({_where(parts, work, micro)})"
    if remedy == "skip":
        return f"{text}; the step was left out"
    if remedy == "rewind":
        return text
    raise NumericsError(
        f"{text}; likely causes: optimizer.lr too high, schedule.warmup too short, or numbers too coarse "
        f"(system.dtype = 'fp32' is the finest); train.on_nonfinite = 'skip' leaves such steps out, 'rewind' goes back "
        f"to the last checkpoint and on with later text"
    )


def _where(parts: Parts, work: StepBatches, micro: int | None) -> str:
    """In words: micro-batch `micro` (1 for the first) and its examples, of the first rank that has one."""
    ranks = parts.ranks
    source = ranks.size - ranks.max(ranks.size - ranks.rank if micro is not None else 0)
    text = "in the sum of micro-batches"
    if micro is not None:
        text = f"micro-batch {micro} of {len(work.batches)}"
        if ranks.size > 1:
            text = f"{text} of rank {ranks.rank}"
        else:
            numbers = work.examples_of(micro - 1)
            shown = ", ".join(map(parts.task.describe_example, numbers[:8]))
            text = f"{text}, examples {shown}{', ...' if len(numbers) > 8 else ''}"
    return str(ranks.broadcast(text, min(source, ranks.size - 1)))


def _first_bad_gradient(parts: Parts, work: StepBatches) -> int | None:
    """Replay micro-batches one by one, adding gradients as the step did: the number of the first that spoils them.

    None where the module is in pieces: a rank cannot replay anything alone.
    """
    if parts.shards:
        return None
    for count in range(1, len(work.batches) + 1):
        _gradients(parts, replace(work, batches=work.batches[:count]), GradientSum(Ranks(), []))
        grads = [parameter.grad for parameter in parts.module.parameters() if parameter.grad is not None]
        if not all(bool(grad.isfinite().all()) for grad in grads):
            return count
    return None


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

    def __init__(self, ranks: Ranks, parameters: Iterable[Parameter], bucket_bytes: int = BUCKET_BYTES) -> None:
        self._ranks = ranks
        self._buckets = list(buckets(parameters, bucket_bytes)) if ranks.size > 1 else []
        self._missing = [len(bucket) for bucket in self._buckets]
        self._under_way: list[tuple[list[Parameter], Tensor, PendingAllReduce]] = []

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
            self._under_way.append((bucket, flat, self._ranks.all_reduce_async(flat)))


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
