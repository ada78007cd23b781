"""A whole run: `for event in pretrain(recipe, run_dir)`.

The step is the only state of the data, so going on after a stop is: load the newest whole checkpoint, take the next
step. On a CPU the weights are then bit for bit those of a run that was never stopped.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

import torch

from maskling.data.batch import Batch
from maskling.data.loader import ahead
from maskling.errors import DataError
from maskling.model.allocator import keep_memory
from maskling.model.attention import kernel_name
from maskling.model.device import Compute, pick
from maskling.model.masked_lm import MaskedLM
from maskling.threads import cores
from maskling.train import checkpoint
from maskling.train.beginning import empty_module, first_module
from maskling.train.budget import planned
from maskling.train.compiling import compiled
from maskling.train.events import Event, Finished, Started, Warned
from maskling.train.joining import joined
from maskling.train.lock import only_here
from maskling.train.loop import Parts
from maskling.train.material import Material
from maskling.train.model_folder import write_model
from maskling.train.recipe import Recipe
from maskling.train.restoring import restore, tensors_of
from maskling.train.run_folder import PLANNED, set_aside, with_train, write_config, write_env, written_threads
from maskling.train.running import Ending, Running
from maskling.train.settings import seconds
from maskling.train.start import Start, find_start, first_state, shared
from maskling.train.work import Work, work_of
from maskling.train.world import World


def pretrain(
    recipe: Recipe, run_dir: Path, stop: Callable[[], bool] = lambda: False, force_new: bool = False
) -> Iterator[Event]:
    """Train a model, or go on with the run in `run_dir`, telling of each thing that happens.

    Started by torchrun, each process is one rank of the same run; all are told the same steps and evaluations, and
    rank 0 of what it writes.

    stop: asked after every step; when it says yes on any rank, a checkpoint is written and the run ends, to be gone on
    with by the same call. So does leaving the loop, which costs the steps since the last checkpoint. torch's global
    generator is reseeded at each step, and its number of threads set.

    force_new: begin anew even where there is a run; that is moved to RUN.1 (or the next free number), never deleted.

    Raises CheckpointError if `run_dir` holds another run, is in use, or cannot be written to; SettingsError, DataError,
    TokenizerError or ModelError if what it is to be made of does not fit together; NumericsError when numbers stop
    being numbers; RankError when another rank has failed.
    """
    run_dir = Path(run_dir)
    with joined(recipe.system.device, recipe.system.rank_timeout) as world, contextlib.ExitStack() as held:
        if world.leads:
            if force_new and (aside := set_aside(run_dir)):
                yield Warned(f"the run that was in {run_dir} is now in {aside}")
            held.enter_context(only_here(run_dir))
        yield from _pretrain(recipe, run_dir, stop, world)


def _pretrain(recipe: Recipe, run_dir: Path, stop: Callable[[], bool], world: World) -> Iterator[Event]:
    began = time.perf_counter()
    compute = _prepare_machine(recipe, run_dir)
    material = Material.open(Path(recipe.data.path), verify=recipe.data.verify and world.leads)
    start = shared(find_start(run_dir, recipe, material) if world.leads else None, world, material)
    recipe, state, warnings = start.recipe, start.state, list(start.warnings)
    module = (first_module if world.leads and not start.resumed else empty_module)(recipe).to(compute.device)
    if start.resumed and state.step >= recipe.train.steps:
        finished = _nothing_left(run_dir, module, start, recipe, material, began)
        world.wait()
        yield finished
        return

    examples = material.examples(recipe)
    validation = _validation(material, recipe, world, warnings)
    description = _describe(compute, recipe, world)
    parts = _parts(module, recipe, compute, world)
    if start.resumed:
        restore(start.newest, parts)
        if state.compute != description:
            warnings.append(
                f"the run goes on, but not bit for bit: so far it was on {state.compute}, now on {description}"
            )
    else:
        world.fill(tensors_of(module))
    if start.unplanned:
        left = seconds(recipe.train.budget or "0") - (time.perf_counter() - began)
        make = partial(work_of, recipe=recipe, examples=examples, world=world)
        train = planned(recipe, left, parts, make, validation, run_dir / "measuring")
        recipe = with_train(recipe, train.model_copy(update=world.share({n: getattr(train, n) for n in PLANNED})))
        state = first_state(recipe, material, None)
        parts = replace(parts, optimizer=recipe.optimizer.build(module))

    running = Running(run_dir, recipe, parts, material, validation, replace(state, compute=description))
    with contextlib.closing(running):
        if world.leads:
            write_config(run_dir, recipe)
            write_env(run_dir, description, torch.get_num_threads())
        world.wait()
        started = Started(
            description=description,
            parameters=module.num_parameters(),
            tokens=material.shards.split("train").num_tokens,
            unigram_entropy=material.unigram_entropy,
            examples_per_epoch=examples.num_examples,
            examples_per_step=examples.examples_per_step(recipe.train.batch_size),
            steps=recipe.train.steps,
            resumed_from=state.step if start.resumed else None,
        )
        first: list[Event] = [*map(Warned, warnings), started]
        ending = Ending.WENT_BACK
        while ending is Ending.WENT_BACK:
            make = partial(
                work_of, recipe=recipe, examples=examples, world=world, left_out=tuple(running.state.left_out)
            )
            todo = range(running.state.step, recipe.train.steps)
            works = cast("Generator[Work, None, None]", ahead(make, todo, recipe.system.workers))
            with contextlib.closing(works):
                ending = yield from running.run(first, works, stop)
            first = []
            if ending is Ending.WENT_BACK:
                running.go_back()
        if ending is Ending.DONE:
            yield from running.end()
        yield running.finished(time.perf_counter() - began, ending)


def _validation(material: Material, recipe: Recipe, world: World, warnings: list[str]) -> Sequence[Batch] | None:
    """This rank's share of the validation batches; None, and a warning, where there is no text for them."""
    try:
        return material.validation(recipe)[world.rank :: world.size]
    except DataError as error:
        warnings.append(f"there will be no evaluation, and the last weights count as the best: {error}")
        return None


def _prepare_machine(recipe: Recipe, run_dir: Path) -> Compute:
    # A run keeps the number it began with, where it can: another one rounds otherwise.
    threads = min(cores(), written_threads(run_dir) or torch.get_num_threads())
    torch.set_num_threads(recipe.system.threads or threads)
    keep_memory()
    return pick(recipe.system.device, recipe.system.dtype)


def _describe(compute: Compute, recipe: Recipe, world: World) -> str:
    ranks = f"{world.size} ranks, each on " if world.size > 1 else ""
    compiled = ", compiled" if recipe.system.compile else ""
    return f"{ranks}{compute.description}, {kernel_name(compute.device, recipe.data.seq_length)} attention{compiled}"


def _parts(module: MaskedLM, recipe: Recipe, compute: Compute, world: World) -> Parts:
    encode = compiled(module) if recipe.system.compile else module
    return Parts(module, recipe.optimizer.build(module), compute, world, encode)


def _nothing_left(
    run_dir: Path, module: MaskedLM, start: Start, recipe: Recipe, material: Material, began: float
) -> Finished:
    """The run was over before; only its model folder may be missing."""
    state, model = start.state, run_dir / "model"
    if start.newest is not None and not (model / "config.json").exists():
        best = checkpoint.read(checkpoint.folder_of(run_dir, state.best["step"])) if state.best else start.newest
        best.load(module, optimizer_state=False)
        write_model(run_dir, module, material, recipe, state.best)
    return Finished(
        step=state.step,
        steps=recipe.train.steps,
        seconds=time.perf_counter() - began,
        stopped=False,
        best_step=state.best["step"] if state.best else None,
        best_loss=state.best["mlm_loss"] if state.best else None,
        model=model,
        already=True,
    )
