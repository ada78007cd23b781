"""A whole run, whatever it trains: opened, gone on with, trained, left.

The step is the only state of the data, so going on after a stop is: load the newest whole checkpoint, take the next
step. On a CPU the weights are then bit for bit those of a run that was never stopped.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from torch.nn import Module

from maskling.data.prefetch import prefetch
from maskling.errors import SettingsError
from maskling.model.activation_checkpointing import enable_activation_checkpointing
from maskling.model.config import ModelConfig
from maskling.model.device import Compute, keep_freed_memory, pick_device
from maskling.model.masked_lm import MaskedLM
from maskling.threads import cores
from maskling.train import checkpoint
from maskling.train.budget import measuring_time, planned
from maskling.train.distributed import Ranks, join_ranks
from maskling.train.events import Event, Measuring, Started, Warned
from maskling.train.fsdp import Shards, tensors_of
from maskling.train.loop import Ending, Running, finished, is_over
from maskling.train.memory_fit import Fit, compiled, described, fit, peak_bytes
from maskling.train.outputs import restore
from maskling.train.run_folder import (
    Start,
    find_start,
    first_state,
    only_here,
    set_aside,
    shared,
    write_config,
    write_env,
    written_number,
)
from maskling.train.settings import R, SystemSettings, TrainSettings, seconds
from maskling.train.step import Parts
from maskling.train.task import AnyTask, StepBatches, TrainingData
from maskling.train.timing import Costs

# FOLDED DOCS
# [opening] What comes before the first step: the machine made ready, the run cut to fit it, and what is told of both.


Open = Callable[[R, bool], TrainingData[R]]


def run_training(
    recipe: R,
    run_dir: Path,
    open_material: Open[R],
    stop: Callable[[], bool] = lambda: False,
    force_new: bool = False,
) -> Iterator[Event]:
    """Train what `open_material` opens, or go on with the run in `run_dir`, telling of each thing that happens.

    open_material: called with the recipe, and whether this rank is to compare what it opens with its checksums.
    Otherwise, and in what it raises, as `pretrain`, which calls this; so does every other kind of training.
    """
    run_dir = Path(run_dir)
    with join_ranks(recipe.system.device, recipe.system.rank_timeout) as ranks, contextlib.ExitStack() as held:
        began = time.perf_counter()
        if ranks.is_main and not force_new:
            held.enter_context(only_here(run_dir))
        compute = machine(recipe.system, None if force_new else written_number(run_dir, "threads"))
        material = open_material(recipe, ranks.is_main)
        if ranks.is_main and force_new:
            # Only now: what cannot be trained on shall not move a good run away.
            if aside := set_aside(run_dir):
                yield Warned(f"the run that was in {run_dir} is now in {aside}")
            held.enter_context(only_here(run_dir))
        yield from _run(recipe, run_dir, compute, material, stop, ranks, began)


def _run(
    recipe: R,
    run_dir: Path,
    compute: Compute,
    material: TrainingData[R],
    stop: Callable[[], bool],
    ranks: Ranks,
    began: float,
) -> Iterator[Event]:
    start = shared(find_start(run_dir, recipe, material) if ranks.is_main else None, ranks, material)
    task = material.build_task(start.recipe, ranks)
    module = (task.first_module() if ranks.is_main and not start.resumed else task.empty_module()).to(compute.device)
    if start.resumed and is_over(start.state, start.recipe.train):
        yield from _over(run_dir, module, start, task, compute, ranks)
        return

    task, fit = _cut(run_dir, task, module, compute, ranks)
    used = described(compute, fit, ranks.size)
    if not start.resumed:
        ranks.broadcast_tensors(tensors_of(module))
    parts = _parts(task, module, compute, ranks)
    warnings = [*start.warnings, *task.warnings]
    if start.resumed:
        restore(start.newest, parts)
        if start.state.compute != used:
            so_far = start.state.compute
            warnings.append(f"the run goes on, but not bit for bit: so far it was on {so_far}, now on {used}")
    if start.unplanned:
        budget = start.recipe.train.budget or "0"
        left = seconds(budget) - (time.perf_counter() - began)
        if ranks.is_main:
            yield Measuring(budget, measuring_time(left))
        plan = planned(left, parts, parts.task.batch_builder(parts.ranks), run_dir / "measuring", stop)
        if plan is None:
            took = time.perf_counter() - began
            yield finished(run_dir, parts.task, start.state, took, stopped=True)
            return
        start, parts = _planned(start, parts, material, *plan)

    running = Running(run_dir, parts, replace(start.state, compute=used), began)
    with contextlib.closing(running):
        if ranks.is_main:
            write_config(run_dir, start.recipe)
            write_env(run_dir, told(fit, used), torch.get_num_threads(), fit.system.micro_batch_tokens)
        ranks.barrier()
        parameters = sum(parameter.numel() for parameter in module.parameters())
        started = opened(parts.task, fit, used, parameters, start.state.step if start.resumed else None)
        ending = yield from _steps(running, run_dir, start.recipe, [*map(Warned, warnings), started], stop)
        if ending is Ending.DONE:
            yield from running.end()
            if ranks.is_main:
                yield from running.parts.task.finish(run_dir, running.state.best, compute)
        over = running.finished(time.perf_counter() - began, ending)
        yield replace(over, memory=peak_bytes(compute.device))


def _over(
    run_dir: Path, module: Module, start: Start[R], task: AnyTask, compute: Compute, ranks: Ranks
) -> Iterator[Event]:
    """The run was over before; only its model folder may be missing."""
    began = time.perf_counter()
    state = start.state
    if start.newest is not None and not (run_dir / "model" / "config.json").exists():
        best = (
            checkpoint.read_checkpoint(checkpoint.folder_of(run_dir, state.best.step)) if state.best else start.newest
        )
        best.load(module, optimizer_state=False)
        task.write(run_dir, module, state.best)
    over = finished(run_dir, task, state, time.perf_counter() - began, already=True)
    ranks.barrier()
    if ranks.is_main:
        yield from task.finish(run_dir, state.best, compute)
    yield over


def _cut(run_dir: Path, task: AnyTask, module: Module, compute: Compute, ranks: Ranks) -> tuple[AnyTask, Fit]:
    """Cut the steps to what the machine holds; the task with the settings that this leaves."""
    recipe = task.recipe
    encoder, system = task.encoder(module), recipe.system
    if system.micro_batch_tokens is None:
        # Not what fits today: dropout is drawn by the micro-batch, and the memory that is free is never the same.
        tokens = ranks.broadcast(written_number(run_dir, "micro_batch_tokens") if ranks.is_main else None)
        task = task.with_recipe(recipe.with_system(system.model_copy(update={"micro_batch_tokens": tokens})))
    config = encoder.config if isinstance(encoder, MaskedLM) else None
    task.supply()  # a plan of many examples is memory too, and is to be there when memory is measured
    fit = fitted(task, config, compute, ranks=ranks.size, share=ranks.broadcast)
    if fit.forgets and isinstance(encoder, MaskedLM):
        enable_activation_checkpointing(encoder)
    return task.with_recipe(recipe.with_system(fit.system)), fit


def _planned(
    start: Start[R], parts: Parts, material: TrainingData[R], train: TrainSettings, costs: Costs
) -> tuple[Start[R], Parts]:
    """The same with the steps that were found to fit, and a fresh optimizer."""
    plan = parts.ranks.broadcast({"steps": train.steps, "evaluations": train.evaluations})
    recipe = start.recipe.with_train(start.recipe.train.model_copy(update=plan))
    task = parts.task.with_recipe(recipe.with_system(parts.task.recipe.system))
    state = replace(first_state(recipe, material, None), costs=costs)
    start = replace(start, recipe=recipe, state=state)
    return start, replace(parts, task=task, optimizer=recipe.optimizer.build(parts.module))


def _steps(
    running: Running, run_dir: Path, recipe: R, first: list[Event], stop: Callable[[], bool]
) -> Generator[Event, None, Ending]:
    """Take the steps that are left, from another place when the numbers went wrong, more or fewer when planned anew.

    recipe: as config.toml has it. Returns why they ended.
    """
    while True:
        parts = running.parts
        train, workers = parts.task.recipe.train, parts.task.recipe.system.workers
        make = parts.task.batch_builder(parts.ranks, tuple(running.state.left_out))
        works = cast(
            "Generator[StepBatches, None, None]", prefetch(make, range(running.state.step, train.steps), workers)
        )
        with contextlib.closing(works):
            ending = yield from running.run(first, works, stop)
        if ending is Ending.WENT_BACK:
            running.go_back()
        elif ending is not Ending.REPLANNED:
            return ending
        if parts.ranks.is_main:
            with contextlib.suppress(OSError):  # the checkpoint says it too
                write_config(run_dir, recipe.with_train(running.parts.task.recipe.train))
        first = []


def _parts(task: AnyTask, module: Module, compute: Compute, ranks: Ranks) -> Parts:
    encoder, system = task.encoder(module), task.recipe.system
    shards = None
    if system.shard and ranks.size > 1:
        _check_shards(task, encoder is module)
        shards = Shards(module, task.empty_module, ranks)
    encode = compiled(encoder) if system.compile else encoder
    return Parts(task, module, task.recipe.optimizer.build(module), compute, ranks, encode, shards)


def _check_shards(task: AnyTask, whole: bool) -> None:
    """Raise SettingsError for what does not go with a module in pieces. whole: whether all of it is the encoder."""
    problem = ""
    if not whole:
        problem = "fine-tuning keeps its model in one piece on each rank; leave it out"
    elif task.recipe.optimizer.kind == "muon":
        problem = "muon needs whole matrices, and ranks have pieces of them; choose optimizer.kind = adamw or bert2018"
    elif task.recipe.system.compile:
        problem = "the encoder is not compiled where it is in pieces; leave system.compile off"
    if problem:
        raise SettingsError(f"system.shard: {problem}")


def machine(system: SystemSettings, threads: int | None = None) -> Compute:
    """Set torch's threads and the allocator, and choose the device. threads: those that the run began with.

    A run keeps that number where it can: another one rounds otherwise.
    """
    torch.set_num_threads(system.threads or min(cores(), threads or torch.get_num_threads()))
    keep_freed_memory()
    return pick_device(system.device, system.dtype)


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
