"""What comes before the first step: the machine made ready, the run cut to fit it, and what is told of both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from maskling.model.allocator import keep_memory
from maskling.model.config import ModelConfig
from maskling.model.device import Compute, pick
from maskling.threads import cores
from maskling.train.events import Started
from maskling.train.fitting import Fit, fit
from maskling.train.settings import SystemSettings
from maskling.train.task import AnyTask


def machine(system: SystemSettings, threads: int | None = None) -> Compute:
    """Set torch's threads and the allocator, and choose the device. threads: those that the run began with.

    A run keeps that number where it can: another one rounds otherwise.
    """
    torch.set_num_threads(system.threads or min(cores(), threads or torch.get_num_threads()))
    keep_memory()
    return pick(system.device, system.dtype)


def fitted(
    task: AnyTask,
    config: ModelConfig | None,
    compute: Compute,
    *,
    ranks: int = 1,
    process_bytes: int | None = None,
    share: Callable[[Any], Any] = lambda own: own,
) -> Fit:
    """Cut the steps of a task; all else as in `fit`."""
    recipe = task.recipe
    return fit(
        recipe.system,
        config,
        compute,
        row_tokens=task.row_tokens,
        most_rows=recipe.train.batch_size,
        mask_rate=task.mask_rate,
        hidden_moments=recipe.optimizer.hidden_moments,
        ranks=ranks,
        process_bytes=process_bytes,
        share=share,
    )


def opened(task: AnyTask, fit: Fit, used: str, parameters: int, resumed_from: int | None = None) -> Started:
    """The event that opens a run. used: as `described` says it."""
    supply = task.supply()
    return Started(
        description=told(fit, used),
        parameters=parameters,
        tokens=supply.tokens,
        baseline=task.baseline,
        examples_per_epoch=supply.examples_per_epoch,
        examples_per_step=supply.examples_per_step,
        steps=task.recipe.train.steps,
        resumed_from=resumed_from,
        memory=fit.memory.total if fit.memory else None,
    )


def told(fit: Fit, used: str) -> str:
    """`used`, and what need not be compared: layers that are calculated twice come to the same bits."""
    return f"{used}, layers calculated twice" if fit.forgets else used
