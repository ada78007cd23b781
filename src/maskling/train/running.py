"""What a run carries from step to step, and what follows a step: a line, an evaluation, a checkpoint, an export."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from maskling.data.batch import Batch
from maskling.errors import CheckpointError
from maskling.objectives.measure import measure
from maskling.train import checkpoint
from maskling.train.checkpoint import State
from maskling.train.events import Evaluated, Event, Finished, Saved, Step, Warned
from maskling.train.journal import Journal
from maskling.train.loop import Parts, Taken, take_step
from maskling.train.material import Material
from maskling.train.model_folder import write_model
from maskling.train.recipe import Recipe
from maskling.train.speed import Pace
from maskling.train.watch import Watch
from maskling.train.work import Work


class Running:
    """One run, on one rank, between its first step and its last."""

    def __init__(
        self,
        run_dir: Path,
        recipe: Recipe,
        parts: Parts,
        material: Material,
        validation: Sequence[Batch],
        state: State,
    ) -> None:
        """state: of the checkpoint the run goes on from, or of step 0. validation: empty for no evaluations."""
        self._run_dir, self._recipe, self._parts = run_dir, recipe, parts
        self._material, self._validation = material, validation
        self._state = state
        self._train, self._steps = recipe.train, recipe.train.steps
        self._watch = Watch(self._train.spike, self._train.plateau_after, material.unigram_entropy)
        if state.watch:
            self._watch.load_state(state.watch)
        self._leads = parts.world.leads
        self._journal = Journal(run_dir / "metrics.jsonl", state.step) if self._leads else None
        self._pace = Pace(recipe, parts.compute)
        self._exported: int | None = None

    def take(self, work: Work) -> Iterator[Event]:
        """Take a step and do what is due after it."""
        factor = self._recipe.schedule.at(work.step, self._steps)
        taken = take_step(self._parts, work, factor, self._recipe)
        step = work.step + 1
        yield self._stepped(step, work, taken, factor)
        yield from self._warnings(step, taken)
        saves = self._train.saves(step, self._steps)
        if self._validation and self._train.evaluates(step, self._steps):
            evaluated = self._evaluate(step)
            yield evaluated
            saves = saves or evaluated.best
        if saves:
            yield self._save(step)
            if self._state.best is not None and self._state.best["step"] == step:
                yield from self._export(step)
        self._pace.resume()

    def stop(self, step: int) -> Iterator[Event]:
        """Leave a checkpoint, and a model folder if there is none yet."""
        if not checkpoint.folder_of(self._run_dir, step).exists() or self._state.step != step:
            yield self._save(step)
        if self._state.best is None:
            yield from self._export(step)

    def end(self) -> Iterator[Event]:
        """Leave the best weights in the model folder."""
        best = self._state.best["step"] if self._state.best else self._steps
        if best == self._exported:
            return
        if best != self._steps:
            # Not exported by this process: the run was stopped since. The module's own weights are no longer needed.
            try:
                found = checkpoint.read(checkpoint.folder_of(self._run_dir, best))
                found.load(self._parts.module, optimizer_state=False)
            except CheckpointError as error:
                yield Warned(f"the best checkpoint is lost ({error}); the model folder gets the last weights instead")
                self._state = replace(self._state, best=None)
        yield from self._export(best)

    def finished(self, step: int, seconds: float, stopped: bool) -> Finished:
        """The event that ends the run."""
        best = self._state.best
        model = self._run_dir / "model"
        return Finished(
            step=step,
            steps=self._steps,
            seconds=seconds,
            stopped=stopped,
            best_step=best["step"] if best else None,
            best_loss=best["mlm_loss"] if best else None,
            model=model if model.exists() else None,
        )

    def _stepped(self, step: int, work: Work, taken: Taken, factor: float) -> Step:
        pace = self._pace.step(work, step)
        event = Step(
            step=step,
            steps=self._steps,
            loss=taken.loss,
            mlm=taken.mlm,
            pair=taken.pair,
            lr=self._recipe.optimizer.lr * factor,
            mask_rate=work.mask_rate,
            tokens_per_second=pace.tokens_per_second,
            fill=work.fill,
            gradient_norm=taken.gradient_norm,
            seconds_left=pace.seconds_left,
            mfu=pace.mfu,
        )
        if self._journal and self._train.logs(step, self._steps):
            self._journal.step(event)
        return event

    def _warnings(self, step: int, taken: Taken) -> Iterator[Warned]:
        if taken.skipped is not None:
            self._state = replace(self._state, skipped=self._state.skipped + 1)
            yield Warned(f"{taken.skipped} ({self._state.skipped} so far)")
        else:
            for text in self._watch.see(step, taken.mlm):
                yield Warned(text)

    def _evaluate(self, step: int) -> Evaluated:
        began = time.perf_counter()
        measured = measure(self._parts.module, self._validation, self._parts.compute)
        self._pace.evaluated(time.perf_counter() - began)
        before = self._state.best["mlm_loss"] if self._state.best else math.inf
        event = Evaluated(step, measured, best=measured.mlm_loss < before)
        if event.best:
            self._state = replace(self._state, best={"step": step, **asdict(measured)})
        if self._journal:
            self._journal.evaluated(event, self._material.unigram_entropy)
        return event

    def _save(self, step: int) -> Saved:
        self._state = replace(self._state, step=step, watch=self._watch.state())
        path = checkpoint.folder_of(self._run_dir, step)
        if self._leads:
            checkpoint.save(self._run_dir, self._parts.module, self._parts.optimizer.state(), self._state)
            best = self._state.best["step"] if self._state.best else None
            checkpoint.prune(self._run_dir, step, self._train.keep, best)
        self._parts.world.wait()
        return Saved(step, path)

    def _export(self, step: int) -> Iterator[Saved]:
        self._exported = step
        if self._leads:
            module, best = self._parts.module, self._state.best
            yield Saved(step, write_model(self._run_dir, module, self._material, self._recipe, best))
        self._parts.world.wait()
