"""Engine of a run: the module on its device, sharded or compiled, with its optimizer and the ranks that train it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module

from maskling.errors import SettingsError
from maskling.model.activation_checkpointing import enable_activation_checkpointing
from maskling.model.attention import AttentionPattern
from maskling.model.device import Compute
from maskling.model.masked_lm import MaskedLM
from maskling.objectives.losses import Encode
from maskling.train.checkpoint import Checkpoint, State
from maskling.train.distributed import Ranks
from maskling.train.events import Metrics
from maskling.train.fsdp import ShardedModule, gather_tensors, module_tensors
from maskling.train.optimizer import Optimizer
from maskling.train.task import AnyTask


@dataclass(frozen=True)
class Engine:
    """Module, optimizer, device and ranks that take the steps of a run.

    task: holds the recipe, with [system] filled in. forward: forward pass of the task's encoder, possibly compiled.
    sharded: the module under FSDP, None if every rank holds all of it.
    """

    task: AnyTask
    module: Module
    optimizer: Optimizer
    compute: Compute
    ranks: Ranks
    forward: Encode
    sharded: ShardedModule | None = None

    @classmethod
    def build(
        cls, task: AnyTask, module: Module, compute: Compute, ranks: Ranks, checkpoint_activations: bool = False
    ) -> Engine:
        """Shard `module`, which has equal weights on every rank, or compile its encoder, and build the optimizer.

        Raises SettingsError if the recipe asks for what does not work with sharding.
        """
        encoder, system = task.encoder(module), task.recipe.system
        if checkpoint_activations and isinstance(encoder, MaskedLM):
            enable_activation_checkpointing(encoder)
        sharded = None
        if system.shard and ranks.size > 1:
            _check_sharding(task, encoder is module)
            sharded = ShardedModule(module, task.empty_module, ranks)
        forward = compile_encoder(encoder) if system.compile else encoder
        return cls(
            task, module, task.recipe.optimizer.build(module, task.lr_scales(module)), compute, ranks, forward, sharded
        )

    @property
    def recipe(self) -> Any:
        """Settings of the run, with [system] filled in."""
        return self.task.recipe

    def with_train(self, changes: Mapping[str, int | None]) -> Engine:
        """Return the engine with changes to [train], such as the number of steps of its learning-rate schedule."""
        recipe = self.recipe.with_train(self.recipe.train.model_copy(update=changes))
        return replace(self, task=self.task.with_recipe(recipe))

    def with_fresh_optimizer(self) -> Engine:
        """Return the engine with an optimizer without state."""
        return replace(self, optimizer=self.recipe.optimizer.build(self.module, self.task.lr_scales(self.module)))

    def evaluate(self) -> Metrics:
        """Return the metrics of the current weights. All ranks call this together."""
        with self.sharded.unsharded() if self.sharded else contextlib.nullcontext():
            return self.task.evaluate(self.module, self.compute, self.ranks)

    def samples(self) -> list[list[Any]]:
        """Return a few held-out sentences as the current weights fill them. All ranks call this together."""
        with self.sharded.unsharded() if self.sharded else contextlib.nullcontext():
            return self.task.samples(self.module, self.compute)

    def whole_module(self) -> Module:
        """Return the module as a single process has it, on rank 0. All ranks call this together."""
        return self.sharded.gather() if self.sharded else self.module

    def optimizer_state(self) -> Mapping[str, Tensor]:
        """Return the optimizer state as a single process has it, on rank 0. All ranks call this together."""
        state = self.optimizer.state()
        return gather_tensors(state, self.ranks) if self.sharded else state

    def load_checkpoint(self, checkpoint: Checkpoint | None) -> State | None:
        """Load rank 0's checkpoint on every rank; returns its state, or None if rank 0 has none.

        Raises CheckpointError if it does not fit.
        """
        state = self.ranks.broadcast(checkpoint and asdict(checkpoint.state))
        if state is None:
            return None
        module = self._loadable()
        moments = checkpoint.load(module) if checkpoint else {}
        self._broadcast_weights(module)
        self.optimizer.load_state(self.ranks.broadcast_state(moments))
        return State.of(state)

    def reset(self) -> Engine:
        """Restore the initial weights on every rank; returns the engine with a fresh optimizer."""
        module = self._loadable()
        if self.ranks.is_main:
            with torch.no_grad():
                module.load_state_dict(self.task.first_module().state_dict())
        self._broadcast_weights(module)
        return self.with_fresh_optimizer()

    def _loadable(self) -> Module:
        """Return the module to load whole weights into."""
        return self.task.empty_module() if self.sharded else self.module

    def _broadcast_weights(self, module: Module) -> None:
        """Broadcast rank 0's whole weights, and shard them if the engine does."""
        self.ranks.broadcast_tensors(module_tensors(module))
        if self.sharded:
            self.sharded.load(module)


def _check_sharding(task: AnyTask, whole: bool) -> None:
    """Raise SettingsError for settings that do not work with FSDP. whole: whether the encoder is the whole module."""
    problem = ""
    if not whole:
        problem = "fine-tuning does not support sharded models; leave it out"
    elif task.recipe.optimizer.kind == "muon":
        problem = "muon needs whole matrices, but ranks hold shards; choose optimizer.kind = adamw or bert2018"
    elif task.recipe.system.compile:
        problem = "a sharded encoder cannot be compiled; leave system.compile off"
    if problem:
        raise SettingsError(f"system.shard: {problem}")


def compile_encoder(module: Module) -> Encode:
    """Return the module's forward pass, compiled by torch's inductor when it is first called.

    Slow to start, faster if kernels are bound by memory. The first call raises SettingsError if compiling fails, as it
    does without a C++ compiler.
    """
    fast = torch.compile(module.forward)
    ready = False

    def forward(*inputs: Any) -> Tensor:
        nonlocal ready
        for given in inputs:
            if isinstance(given, AttentionPattern) and given.runs is not None:
                # As many as there are examples, which differs from batch to batch.
                torch._dynamo.maybe_mark_dynamic(given.runs.starts, 0)
        try:
            hidden: Tensor = fast(*inputs)
        except RuntimeError as error:
            if ready or isinstance(error, torch.OutOfMemoryError):
                raise
            first = str(error).strip().splitlines()[0]
            raise SettingsError(
                f"system.compile: torch could not compile the encoder ({first}); install a C++ compiler such as g++, "
                f"or leave system.compile off"
            ) from error
        ready = True
        return hidden

    return forward
