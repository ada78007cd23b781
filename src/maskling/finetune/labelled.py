"""What fine-tuning is made of: a model folder, and files of labelled records."""

from __future__ import annotations

from pathlib import Path

from maskling.files import checksum, fingerprint
from maskling.finetune.kinds.kind import Kind, Records
from maskling.finetune.material import RecordsMaterial, completed
from maskling.finetune.recipe import FinetuneRecipe
from maskling.finetune.task import Finetuning
from maskling.train.world import World

# They tell models a percent apart from each other; to judge by more only takes time.
_MOST_HELD_OUT = 10_000


class Labelled(RecordsMaterial):
    """A model folder and its tokenizer; the records to learn from, to choose by, and to be measured on."""

    def __init__(self, recipe: FinetuneRecipe) -> None:
        """Read everything. Raises SettingsError, ModelError or DataError."""
        super().__init__(recipe)
        kind, data = recipe.task, recipe.data
        assert isinstance(kind, Kind)
        self.kind = kind
        self.train: Records = self._read(recipe, data.train)
        self.dev: Records
        if data.dev is None:
            self.train, self.dev = self.hold_out(recipe, self.train, _MOST_HELD_OUT)
        else:
            self.dev, self.dev_name = self._read(recipe, data.dev), Path(data.dev).name
        self.test = self._read(recipe, data.test) if data.test is not None else None
        self.outputs = kind.outputs(self.train)
        for judged_by in (self.dev, self.test or ()):
            kind.check_judged(judged_by, self.outputs)
        for path, given in ((data.dev, self.dev), (data.test, self.test)):
            if path is not None and given is not None:
                kind.check_shared(given, self.outputs, path)
        self.warnings += kind.check(self.train, {"dev": self.dev} | ({"test": self.test} if self.test else {}))
        files = [data.train, data.dev] if data.dev is not None else [data.train]
        self.data = fingerprint([checksum(Path(file)) for file in files])

    def completed(self, recipe: FinetuneRecipe, written: FinetuneRecipe | None) -> FinetuneRecipe:  # noqa: ARG002
        """The recipe with its longest sequence, its steps, and an evaluation an epoch."""
        return completed(recipe, self.folder, len(self.train))

    def task(self, recipe: FinetuneRecipe, world: World) -> Finetuning:  # noqa: ARG002  (records are dealt step by step)
        """The task of a completed recipe."""
        return Finetuning(recipe, self)

    def _read(self, recipe: FinetuneRecipe, path: str) -> Records:
        records, warnings = self.kind.read(path, recipe.columns)
        self.warnings += warnings
        return records
