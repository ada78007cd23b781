"""A whole run: `for event in pretrain(recipe, run_dir)`.

The step is the only state of the data, so going on after a stop is: load the newest whole checkpoint, take the next
step. On a CPU the weights are then bit for bit those of a run that was never stopped.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

import torch

from maskling.data.loader import ahead
from maskling.errors import DataError
from maskling.model.allocator import keep_memory
from maskling.model.attention import kernel_name
from maskling.model.device import Compute, pick
from maskling.model.masked_lm import MaskedLM
from maskling.train import checkpoint
from maskling.train.beginning import completed, empty_module, first_module, init_folder, weights_fingerprint
from maskling.train.budget import planned
from maskling.train.compiling import compiled
from maskling.train.events import Event, Finished, Started, Warned
from maskling.train.lock import only_here
from maskling.train.loop import Parts
from maskling.train.material import Material
from maskling.train.model_folder import write_model
from maskling.train.recipe import Recipe
from maskling.train.run_folder import (
    PLANNED,
    adopt_plan,
    refuse_other_run,
    with_train,
    write_config,
    write_env,
    written_recipe,
)
from maskling.train.running import Running
from maskling.train.settings import seconds
from maskling.train.work import Work, work_of
from maskling.train.world import World, this_world


def pretrain(recipe: Recipe, run_dir: Path, stop: Callable[[], bool] = lambda: False) -> Iterator[Event]:
    """Train a model, or go on with the run in `run_dir`, telling of each thing that happens.

    stop: asked after every step; when it says yes, a checkpoint is written and the run ends, to be gone on with by the
    same call. So does leaving the loop, which costs the steps since the last checkpoint. torch's global generator
    is reseeded at each step, and its number of threads set.

    Raises CheckpointError if `run_dir` holds another run or is in use; SettingsError, DataError, TokenizerError or
    ModelError if what it is to be made of does not fit together; NumericsError when numbers stop being numbers.
    """
    run_dir, world = Path(run_dir), this_world()
    with only_here(run_dir) if world.leads else contextlib.nullcontext():
        yield from _pretrain(recipe, run_dir, stop, world)


def _pretrain(recipe: Recipe, run_dir: Path, stop: Callable[[], bool], world: World) -> Iterator[Event]:
    began = time.perf_counter()
    compute = _prepare_machine(recipe)
    material = Material.open(Path(recipe.data.path))

    checkpoint.tidy(run_dir)
    newest, problems = checkpoint.newest_whole(run_dir)
    written = written_recipe(run_dir)
    asked = completed(recipe, material.tokenizer, written)
    recipe = adopt_plan(asked, written)
    state = _first_state(recipe, material, newest)
    if newest is not None:
        refuse_other_run(run_dir, written, recipe, newest.state, state)
        for problem in problems:
            yield Warned(f"{problem}; going on from step {newest.state.step:,} instead")
        state = newest.state

    module = (empty_module if newest else first_module)(recipe).to(compute.device)
    if newest is not None and state.step >= recipe.train.steps:
        yield _nothing_left(run_dir, module, newest, recipe, material, began)
        return

    examples = material.examples(recipe)
    try:
        validation = material.validation(recipe)
    except DataError as error:
        validation = []
        yield Warned(f"there will be no evaluation, and the last weights count as the best: {error}")
    description = _describe(compute, recipe)
    parts = _parts(module, recipe, compute, world)
    if newest is not None:
        parts.optimizer.load_state(newest.load(module))
        if state.compute != description:
            yield Warned(
                f"the run goes on, but not bit for bit: so far it was on {state.compute}, now on {description}"
            )
    elif recipe.train.budget is not None and recipe is asked:
        left = seconds(recipe.train.budget) - (time.perf_counter() - began)
        make = partial(work_of, recipe=recipe, examples=examples, world=world)
        train = planned(recipe, left, parts, make, validation, run_dir / "measuring")
        # Ranks time differently and must not plan differently.
        agreed = {name: value and world.agree(value) for name, value in train.model_dump().items() if name in PLANNED}
        recipe = with_train(recipe, train.model_copy(update=agreed))
        state = _first_state(recipe, material, None)
        parts = replace(parts, optimizer=recipe.optimizer.build(module))

    running = Running(run_dir, recipe, parts, material, validation, replace(state, compute=description))
    if world.leads:
        write_config(run_dir, recipe)
        write_env(run_dir, description, torch.get_num_threads())
    yield Started(
        description=description,
        parameters=module.num_parameters(),
        tokens=material.shards.split("train").num_tokens,
        unigram_entropy=material.unigram_entropy,
        examples_per_epoch=examples.num_examples,
        examples_per_step=examples.examples_per_step(recipe.train.batch_size),
        steps=recipe.train.steps,
        resumed_from=state.step if newest else None,
    )
    make = partial(work_of, recipe=recipe, examples=examples, world=world)
    todo = range(state.step, recipe.train.steps)
    works = cast("Generator[Work, None, None]", ahead(make, todo, recipe.system.workers))
    with contextlib.closing(works):
        for work in works:
            yield from running.take(work)
            if work.step + 1 < recipe.train.steps and world.agree(stop()):
                yield from running.stop(work.step + 1)
                yield running.finished(work.step + 1, time.perf_counter() - began, stopped=True)
                return
    yield from running.end()
    yield running.finished(recipe.train.steps, time.perf_counter() - began, stopped=False)


def _prepare_machine(recipe: Recipe) -> Compute:
    if recipe.system.threads is not None:
        torch.set_num_threads(recipe.system.threads)
    keep_memory()
    return pick(recipe.system.device, recipe.system.dtype)


def _describe(compute: Compute, recipe: Recipe) -> str:
    compiled = ", compiled" if recipe.system.compile else ""
    return f"{compute.description}, {kernel_name(compute.device, recipe.data.seq_length)} attention{compiled}"


def _first_state(recipe: Recipe, material: Material, newest: checkpoint.Checkpoint | None) -> checkpoint.State:
    init = weights_fingerprint(recipe.init)
    if newest is not None and recipe.init is not None and not init_folder(recipe.init).exists():
        init = newest.state.init  # gone since; its weights were taken long ago
    manifest = material.shards.manifest
    return checkpoint.State(0, recipe.fingerprint, manifest.fingerprint, manifest.tokenizer, init)


def _parts(module: MaskedLM, recipe: Recipe, compute: Compute, world: World) -> Parts:
    encode = compiled(module) if recipe.system.compile else module
    return Parts(module, recipe.optimizer.build(module), compute, world, encode)


def _nothing_left(
    run_dir: Path,
    module: MaskedLM,
    newest: checkpoint.Checkpoint,
    recipe: Recipe,
    material: Material,
    began: float,
) -> Finished:
    """The run was over before; only its model folder may be missing."""
    state = newest.state
    model = run_dir / "model"
    if not (model / "config.json").exists():
        best = checkpoint.read(checkpoint.folder_of(run_dir, state.best["step"])) if state.best else newest
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
