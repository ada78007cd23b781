"""Run one training job end to end, whatever the task: start or resume, train, write the outputs.

The step is the only state of the dataloader, so resuming means: load the newest whole checkpoint, take the next step.
On a CPU the weights are then bit-identical to those of an uninterrupted run.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch.nn import Module

from maskling.model.device import Compute, keep_freed_memory, pick_device
from maskling.model.masked_lm import MaskedLM
from maskling.threads import cores
from maskling.train import checkpoint, timing
from maskling.train.distributed import Ranks, join_ranks
from maskling.train.engine import Engine
from maskling.train.events import Event, Measuring, Started, Warned
from maskling.train.fsdp import module_tensors
from maskling.train.loop import Ending, TrainingLoop, finished_event, is_over
from maskling.train.memory_fit import MemoryFit, fit_to_memory, peak_bytes
from maskling.train.run_folder import (
    ResumePoint,
    find_resume_point,
    lock_run_folder,
    read_env,
    set_aside,
    write_env,
)
from maskling.train.run_status import StatusRecorder, recorded_status
from maskling.train.settings import R, SystemSettings, seconds
from maskling.train.task import AnyTask, TrainingData
from maskling.train.trackers import check_tracker


def run_training(
    recipe: R,
    run_dir: Path,
    open_data: Callable[[R, bool], TrainingData[R]],
    stop: Callable[[], bool] = lambda: False,
    force_new: bool = False,
) -> Iterator[Event]:
    """Train on what `open_data` opens, or resume the run in `run_dir`, yielding events.

    open_data: called with the recipe, and whether this rank should verify checksums.
    Otherwise, and in what it raises, as `pretrain`, which calls this; so does fine-tuning.
    """
    run_dir = Path(run_dir)
    check_tracker(recipe.train.log)
    with join_ranks(recipe.system.device, recipe.system.rank_timeout) as ranks, contextlib.ExitStack() as held:
        began = time.perf_counter()
        if ranks.is_main and not force_new:
            held.enter_context(lock_run_folder(run_dir))
        set_threads(recipe.system, None if force_new else read_env(run_dir, "threads"))
        compute = setup_device(recipe.system)
        data = open_data(recipe, ranks.is_main)
        if ranks.is_main and force_new:
            # Only now: a command that cannot train must not move a good run away.
            if aside := set_aside(run_dir):
                yield Warned(f"the run that was in {run_dir} is now in {aside}")
            held.enter_context(lock_run_folder(run_dir))
        # In a frame of its own: its module and engine may refer to the process group, which is destroyed at the end of
        # this block, and have to be gone by then.
        with recorded_status(run_dir, ranks.is_main) as status:
            yield from _run(recipe, run_dir, data, compute, ranks, stop, began, status)


def _run(
    recipe: R,
    run_dir: Path,
    data: TrainingData[R],
    compute: Compute,
    ranks: Ranks,
    stop: Callable[[], bool],
    began: float,
    status: StatusRecorder,
) -> Iterator[Event]:
    """Find the resume point, fit to memory, build the engine, and run the training loop."""
    resume = find_resume_point(run_dir, recipe, data, ranks)
    task: AnyTask = data.build_task(resume.recipe, ranks)
    begins = ranks.is_main and not resume.resumed
    module = (task.first_module() if begins else task.empty_module()).to(compute.device)
    if resume.resumed and is_over(resume.state, resume.recipe.train):
        yield from _finish_again(run_dir, module, resume, task, compute, ranks)
        return

    encoder = task.encoder(module)
    config = encoder.config if isinstance(encoder, MaskedLM) else None
    trained = trained_parameters(module)
    fit = fit_to_memory(
        task, config, compute, ranks, micro_batch_tokens=resume.micro_batch_tokens, trained_parameters=trained
    )
    # From here on there is one recipe, the engine's; only config.toml shows [system] as it was requested.
    task = task.with_recipe(resume.recipe.with_system(fit.system))
    if not resume.resumed:
        ranks.broadcast_tensors(module_tensors(module))
    engine = Engine.build(task, module, compute, ranks, fit.checkpoint_activations)
    description = fit.describe(compute, ranks.size)
    warnings = [*resume.warnings, *task.warnings]
    state = resume.state
    if resume.resumed:
        engine.load_checkpoint(resume.checkpoint)
        if state.compute != description:
            warnings.append(
                f"the run resumes, but not bit for bit: so far it was on {state.compute}, now on {description}"
            )
        tokens = fit.system.micro_batch_tokens
        if resume.micro_batch_tokens not in (None, tokens):
            warnings.append(
                f"the run resumes, but not bit for bit: so far its micro-batches had at most "
                f"{resume.micro_batch_tokens} tokens, now {tokens}, and each draws its own dropout"
            )
    if resume.needs_plan:
        budget = engine.recipe.train.budget or "0"
        left = seconds(budget) - (time.perf_counter() - began)
        if ranks.is_main:
            yield Measuring(budget, timing.measuring_time(left))
        plan = timing.measure_and_plan(left, engine, run_dir / "measuring", stop)
        if plan is None:
            yield finished_event(run_dir, task, state, time.perf_counter() - began, stopped=True)
            return
        engine, durations = plan
        train = engine.recipe.train
        state = replace(state, steps=train.steps, recipe=engine.recipe.fingerprint, costs=durations)

    loop = TrainingLoop(run_dir, engine, replace(state, compute=description), began, resume.recipe.system)
    with contextlib.closing(loop):
        loop.write_config()
        if ranks.is_main:
            tokens = fit.system.micro_batch_tokens
            write_env(run_dir, _with_checkpointing(description, fit), torch.get_num_threads(), tokens)
        ranks.barrier()
        parameters = sum(parameter.numel() for parameter in module.parameters())
        resumed_from = state.step if resume.resumed else None
        started = started_event(engine.task, fit, description, parameters, data.path, resumed_from, trained)
        supply = engine.task.supply()
        status.start(started, {"documents": supply.documents, "vocabulary": supply.vocabulary})
        ending = yield from loop.run([*map(Warned, warnings), started], stop)
        if ending is Ending.DONE:
            yield from loop.finalize()
            if ranks.is_main:
                yield from loop.engine.task.finish(run_dir, loop.state.best, compute)
        finished = loop.finished_event(time.perf_counter() - began, ending)
        finished = replace(finished, memory=peak_bytes(compute.device))
        status.end("stopped" if finished.stopped else "finished", memory=finished.memory, last_step=finished.step)
        yield finished


def _finish_again(
    run_dir: Path, module: Module, resume: ResumePoint[R], task: AnyTask, compute: Compute, ranks: Ranks
) -> Iterator[Event]:
    """Write the model folder of a run that is over, if it is missing."""
    began = time.perf_counter()
    state = resume.state
    if resume.checkpoint is not None and not (run_dir / "model" / "config.json").exists():
        best = resume.checkpoint
        if state.best:
            best = checkpoint.read_checkpoint(checkpoint.checkpoint_path(run_dir, state.best.step))
        best.load(module, optimizer_state=False)
        task.write(run_dir, module, state.best)
    finished = finished_event(run_dir, task, state, time.perf_counter() - began, already=True)
    ranks.barrier()
    if ranks.is_main:
        yield from task.finish(run_dir, state.best, compute)
    yield finished


def set_threads(system: SystemSettings, threads_so_far: int | None = None) -> None:
    """Set torch's number of threads. threads_so_far: of a run that resumes.

    A run keeps its number if possible: another one rounds differently.
    """
    torch.set_num_threads(system.threads or min(cores(), threads_so_far or torch.get_num_threads()))


def setup_device(system: SystemSettings) -> Compute:
    """Choose device and dtype, and set up the allocator."""
    keep_freed_memory()
    return pick_device(system.device, system.dtype)


def started_event(
    task: AnyTask,
    fit: MemoryFit,
    description: str,
    parameters: int,
    source: str,
    resumed_from: int | None = None,
    trained: int | None = None,
) -> Started:
    """Return the event that opens a run. description: of the device, see `MemoryFit.describe`. source: of the data."""
    supply = task.supply()
    return Started(
        description=_with_checkpointing(description, fit),
        parameters=parameters,
        tokens=supply.tokens,
        baseline=task.baseline,
        examples_per_epoch=supply.examples_per_epoch,
        examples_per_step=supply.examples_per_step,
        steps=task.recipe.train.steps,
        resumed_from=resumed_from,
        memory=fit.memory.total if fit.memory else None,
        trained=trained,
        source=source,
        budget=task.recipe.train.budget,
    )


def trained_parameters(module: Module) -> int | None:
    """Return the number of parameters that are trained, None if all are."""
    if all(parameter.requires_grad for parameter in module.parameters()):
        return None
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def _with_checkpointing(description: str, fit: MemoryFit) -> str:
    """Add whether activations are checkpointed; that never changes results, so resuming does not compare it."""
    return f"{description}, activation checkpointing" if fit.checkpoint_activations else description
