"""One optimizer step: gradient accumulation over micro-batches, all-reduce over ranks, gradient clipping, update."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from maskling.errors import NumericsError, SettingsError
from maskling.objectives.losses import Term, weighted_loss
from maskling.randomness import integer
from maskling.train.distributed import PendingAllReduce, Ranks
from maskling.train.engine import Engine
from maskling.train.fsdp import full_tensor, local_tensor
from maskling.train.task import StepBatches

# Gradients are all-reduced in buckets, as a message for each of a few hundred small tensors would cost more than their
# bytes; one bucket is summed while the backward pass computes the next (25 MiB is what torch's DDP found best).
BUCKET_BYTES = 25 << 20


@dataclass(frozen=True)
class StepResult:
    """Result of a step. loss, terms: in nats per prediction, None without predictions; problem: why no weight changed.

    Without any prediction the loss is None, and no weight changed either.
    """

    loss: float | None
    terms: Mapping[str, float | None]
    gradient_norm: float
    problem: str | None = None


def take_step(engine: Engine, batches: StepBatches, factor: float) -> StepResult:
    """Update the weights once, at `factor` times the highest learning rate.

    A step in which no rank has anything to predict changes neither weights nor optimizer state: not even by weight
    decay, or by the momentum of the steps before.

    Raises NumericsError if a loss or gradient is not finite and the recipe says to stop then, or if the weights
    themselves are not finite and it does not say to rewind.
    """
    weights, train = engine.task.weights, engine.recipe.train
    # The counts are over all ranks, so that all of them take the step or none does.
    if not any(weight and batches.counts.get(name) for name, weight in weights.items()):
        return StepResult(None, dict.fromkeys(weights), 0.0)
    parameters = [parameter for parameter in engine.module.parameters() if parameter.requires_grad]
    reduction = GradientAllReduce(engine.ranks, [] if engine.sharded else parameters)
    sums = _accumulate_gradients(engine, batches, reduction)
    reduction.finish()
    totals = engine.ranks.all_reduce(torch.stack(sums).sum(0))
    # Gradient clipping, by the norm over all parameters.
    norm = full_tensor(torch.nn.utils.clip_grad_norm_(parameters, train.clip or math.inf))
    # The only wait for the device in a step.
    *added, gradient_norm = torch.cat([totals, norm.detach()[None].to(totals.dtype)]).tolist()
    terms = {
        name: total / batches.counts[name] if batches.counts.get(name) else None
        for name, total in zip(weights, added, strict=True)
    }
    loss = sum(weights[name] * (value or 0.0) for name, value in terms.items())
    problem = None
    if math.isfinite(loss) and math.isfinite(gradient_norm):
        engine.optimizer.step(factor)
    else:
        problem = _explain_nonfinite(engine, batches, sums)
    engine.optimizer.zero_grad()
    return StepResult(loss, terms, gradient_norm, problem)


def _accumulate_gradients(engine: Engine, batches: StepBatches, reduction: GradientAllReduce) -> list[Tensor]:
    """Run forward and backward on each micro-batch, in mixed precision (autocast), accumulating gradients.

    Returns for each micro-batch (terms,) fp32, the sum of each term of the loss.
    """
    # Gradient accumulation: every micro-batch is divided by the counts of the WHOLE batch, known before the first
    # backward, so the gradients of micro-batches, and of ranks, only have to be added.
    task, device = engine.task, engine.compute.device
    engine.module.train()
    engine.optimizer.zero_grad()
    torch.manual_seed(integer(task.recipe.seed, "dropout", batches.step, engine.ranks.rank))
    sums = [torch.zeros(len(task.weights), device=device)]
    passes = _passes(engine, batches)
    for index, (batch, counts) in enumerate(passes):
        with engine.compute.autocast():
            terms = task.terms(engine.module, batch, engine.forward, device)
        loss = weighted_loss(terms, batches.counts, task.weights)
        with reduction.last_pass() if index == len(passes) - 1 else contextlib.nullcontext():
            (loss if counts else 0.0 * loss).backward()  # type: ignore[no-untyped-call]
        if counts:
            none = Term(torch.zeros((), device=device), 0)
            sums.append(torch.stack([terms.get(name, none).sum.detach() for name in task.weights]))
    return sums


def _passes(engine: Engine, batches: StepBatches) -> list[tuple[Any, bool]]:
    """Return the micro-batches of a step, and whether each counts.

    Under FSDP all ranks gather a layer together, so each rank has to make as many passes: one with fewer micro-batches
    repeats its last, which counts for nothing. Raises SettingsError if a rank has none at all.
    """
    own = [(batch, True) for batch in batches.batches]
    if engine.sharded is None:
        return own
    if engine.ranks.max(int(not own)):
        raise SettingsError(
            f"system.shard: step {batches.step + 1:,} has too few rows for {engine.ranks.size} ranks; raise "
            f"train.batch_size, or start fewer ranks"
        )
    return own + [(batches.batches[-1], False)] * (engine.ranks.max(len(own)) - len(own))


def _explain_nonfinite(engine: Engine, batches: StepBatches, sums: list[Tensor]) -> str:
    """Explain where a step became non-finite; raise if the run is to stop then. The same message on every rank."""
    step, remedy = batches.step + 1, engine.recipe.train.on_nonfinite
    names = [name for name, _ in engine.module.named_parameters()]
    bad = [~local_tensor(value.detach()).isfinite().all() for value in engine.module.parameters()]
    if broken := [
        name for name, some in zip(names, engine.ranks.all_reduce(torch.stack(bad).int()), strict=True) if some
    ]:
        text = f"step {step:,}: {len(broken)} weights are not finite, {broken[0]} among them"
        if remedy == "rewind":
            return text
        raise NumericsError(f"{text}; begin a new run with a lower optimizer.lr")
    micro = next((index for index, value in enumerate(sums) if not bool(value.isfinite().all())), None)
    what = "loss" if engine.ranks.max(int(micro is not None)) else "gradient"
    if what == "gradient":
        micro = _first_bad_gradient(engine, batches)
    text = f"step {step:,}: the {what} is not a finite number ({_where(engine, batches, micro)})"
    if remedy == "skip":
        return f"{text}; the step was left out"
    if remedy == "rewind":
        return text
    raise NumericsError(
        f"{text}; likely causes: optimizer.lr too high, schedule.warmup too short, or precision too low "
        f"(system.dtype = 'fp32' is the highest); train.on_nonfinite = 'skip' leaves such steps out, 'rewind' returns "
        f"to the last checkpoint and continues with later text"
    )


def _where(engine: Engine, batches: StepBatches, micro: int | None) -> str:
    """Describe micro-batch `micro` (1 for the first) and its examples, of the first rank that has one."""
    ranks = engine.ranks
    source = ranks.size - ranks.max(ranks.size - ranks.rank if micro is not None else 0)
    text = "in the sum of micro-batches"
    if micro is not None:
        text = f"micro-batch {micro} of {len(batches.batches)}"
        if ranks.size > 1:
            text = f"{text} of rank {ranks.rank}"
        else:
            examples = batches.examples_of(micro - 1)
            shown = ", ".join(map(engine.task.describe_example, examples[:8]))
            text = f"{text}, examples {shown}{', ...' if len(examples) > 8 else ''}"
    return str(ranks.broadcast(text, min(source, ranks.size - 1)))


def _first_bad_gradient(engine: Engine, batches: StepBatches) -> int | None:
    """Replay the micro-batches, accumulating as the step did; return which (1 for the first) made a gradient bad.

    None under FSDP: a rank cannot replay anything alone.
    """
    if engine.sharded:
        return None
    for count in range(1, len(batches.batches) + 1):
        replayed = replace(batches, batches=batches.batches[:count])
        _accumulate_gradients(engine, replayed, GradientAllReduce(Ranks(), []))
        grads = [parameter.grad for parameter in engine.module.parameters() if parameter.grad is not None]
        if not all(bool(grad.isfinite().all()) for grad in grads):
            return count
    return None


class GradientAllReduce:
    """All-reduce of the gradients of one step, overlapped with the backward pass, as in torch's DDP.

    A sum, not a mean: every rank has already divided its losses by counts over the whole batch. A rank without data
    adds zeros.

    Buckets are sent in one order on every rank, from the last layers to the first, as the backward pass reaches them:
    which gradients a rank has depends on its text (no pairs, no gradient of the pair head), and messages that cross
    would be added to each other. The time of sending changes no bit of the sums.
    """

    def __init__(self, ranks: Ranks, parameters: Iterable[Parameter], bucket_bytes: int = BUCKET_BYTES) -> None:
        self._ranks = ranks
        self._buckets = list(gradient_buckets(parameters, bucket_bytes)) if ranks.size > 1 else []
        self._missing = [len(bucket) for bucket in self._buckets]
        self._pending: list[tuple[list[Parameter], Tensor, PendingAllReduce]] = []

    @contextlib.contextmanager
    def last_pass(self) -> Iterator[None]:
        """Wrap the last backward pass, after which gradients are complete: each bucket is sent when it is full."""
        bucket_of = {parameter: index for index, bucket in enumerate(self._buckets) for parameter in bucket}

        def accumulated(parameter: Tensor) -> None:
            self._missing[bucket_of[parameter]] -= 1  # type: ignore[index]
            self._send_full()

        hooks = [
            parameter.register_post_accumulate_grad_hook(accumulated)  # type: ignore[no-untyped-call]
            for parameter in bucket_of
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def finish(self) -> None:
        """Send the remaining buckets, wait for all, and replace the gradients by their sums."""
        self._missing = [0] * len(self._buckets)
        self._send_full()
        for bucket, flat, pending in self._pending:
            pending.wait()
            for parameter, part in zip(bucket, torch.split(flat, [p.numel() for p in bucket]), strict=True):
                parameter.grad = part.view_as(parameter)

    def _send_full(self) -> None:
        while (left := len(self._buckets) - len(self._pending)) and self._missing[left - 1] == 0:
            bucket = self._buckets[left - 1]
            grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in bucket]
            flat = torch.cat([grad.flatten() for grad in grads])
            for parameter in bucket:
                parameter.grad = None  # else all gradients would be in memory twice
            self._pending.append((bucket, flat, self._ranks.all_reduce_async(flat)))


def gradient_buckets(parameters: Iterable[Parameter], max_bytes: int) -> Iterator[list[Parameter]]:
    """Yield the parameters in order, grouped by dtype until the next would make a bucket exceed `max_bytes`."""
    bucket: list[Parameter] = []
    filled = 0
    for parameter in parameters:
        wanted = parameter.numel() * parameter.element_size()
        if bucket and (filled + wanted > max_bytes or parameter.dtype != bucket[0].dtype):
            yield bucket
            bucket, filled = [], 0
        bucket.append(parameter)
        filled += wanted
    if bucket:
        yield bucket
