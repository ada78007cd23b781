"""Weights and moments put back: from a checkpoint that rank 0 reads, or as the run began."""

from __future__ import annotations

from dataclasses import asdict, replace

import torch

from maskling.train.checkpoint import Checkpoint, State
from maskling.train.loop import Parts
from maskling.train.sharding import tensors_of


def restore(found: Checkpoint | None, parts: Parts) -> State | None:
    """Load rank 0's checkpoint on every rank; returns its state, or None if rank 0 has found none.

    Raises CheckpointError if it does not fit.
    """
    world = parts.world
    state = world.share(found and asdict(found.state))
    if state is None:
        return None
    module = parts.task.empty_module() if parts.shards else parts.module
    moments = found.load(module) if found else {}
    world.fill(tensors_of(module))
    if parts.shards:
        parts.shards.take(module)
    parts.optimizer.load_state(world.share_tensors(moments))
    return State.of(state)


def begin_again(parts: Parts) -> Parts:
    """The weights that the run began with, on every rank, and an optimizer that remembers nothing."""
    task = parts.task
    module = task.empty_module() if parts.shards else parts.module
    if parts.world.leads:
        with torch.no_grad():
            module.load_state_dict(task.first_module().state_dict())
    parts.world.fill(tensors_of(module))
    if parts.shards:
        parts.shards.take(module)
    return replace(parts, optimizer=task.recipe.optimizer.build(parts.module))
