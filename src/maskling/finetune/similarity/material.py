"""What training of vectors is made of: an encoder, and pairs or plain text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from maskling.data.labelled.checks import emptiness, leaks
from maskling.data.labelled.records import TextRecord
from maskling.data.labelled.similar import Form, Similar, read_similar
from maskling.errors import DataError, SettingsError
from maskling.export.sentence_transformers import own_pooling
from maskling.files import fingerprint
from maskling.finetune.kinds.similarity import Similarity
from maskling.finetune.material import RecordsMaterial, completed
from maskling.finetune.recipe import FinetuneRecipe
from maskling.finetune.similarity.task import Embedding
from maskling.model.encoder import encoder_config
from maskling.train.world import World

# What tells the two copies of a text apart: 0.1 was the best of Gao et al. 2021 (table 5).
_DROPOUT = 0.1
# Texts, and pairs, that are held out at the most: to judge by a text takes the time of training on it, and a pair is
# compared with all others.
_MOST_HELD_OUT: Final[dict[Form, int]] = {"texts": 1000, "pairs": 5000, "scored": 10_000}


class SimilarTexts(RecordsMaterial):
    """A model folder and its tokenizer; the texts to learn from, to choose by, and to be measured on.

    form: of what is learnt from; dev_form, test_form: of what is judged by, which may be others.
    """

    def __init__(self, recipe: FinetuneRecipe, kind: Similarity) -> None:
        """Read everything. Raises SettingsError, ModelError, DataError or CorpusError."""
        super().__init__(recipe)
        self.kind, data = kind, recipe.data
        self.config = encoder_config(self.folder)
        train = self._read(recipe, data.train)
        self.form: Form = train.form
        self.train: Sequence[TextRecord] = train.records
        self.dev: Sequence[TextRecord]
        self.test: Sequence[TextRecord] | None = None
        self.dev_form: Form = train.form
        self.test_form: Form = train.form
        if data.dev is None:
            self.train, self.dev = self.hold_out(recipe, self.train, _MOST_HELD_OUT[train.form])
        else:
            dev = self._read(recipe, data.dev)
            self.dev, self.dev_form, self.dev_name = dev.records, dev.form, Path(data.dev).name
        if data.test is not None:
            test = self._read(recipe, data.test)
            self.test, self.test_form = test.records, test.form
        self._check(recipe)
        self.data = fingerprint([[_texts(record) for record in some] for some in (self.train, self.dev)])

    def completed(self, recipe: FinetuneRecipe, written: FinetuneRecipe | None) -> FinetuneRecipe:  # noqa: ARG002
        """The recipe with its longest sequence, steps, evaluations, pooling, and the dropout that SimCSE needs."""
        recipe = completed(recipe, self.folder, len(self.train))
        encoder = recipe.encoder
        if encoder.pooling is None:
            encoder = encoder.model_copy(update={"pooling": own_pooling(self.folder)})
        if self.form == "texts" and encoder.dropout is None:
            encoder = encoder.model_copy(update={"dropout": _DROPOUT})
        return recipe.model_copy(update={"encoder": encoder})

    def task(self, recipe: FinetuneRecipe, world: World) -> Embedding:
        """The task of a completed recipe."""
        return Embedding(recipe, self, world)

    def _read(self, recipe: FinetuneRecipe, path: str) -> Similar:
        found = read_similar(path, recipe.columns, self.kind.unit, self.kind.min_characters)
        self.warnings += found.warnings
        if found.form == "scored":
            scores = [record.label for record in found.records if isinstance(record.label, float)]
            if len(set(scores)) < 2:
                raise DataError(f"{path}: all scores are {scores[0]:g}, and an order cannot be learned or judged so")
        return found

    def _check(self, recipe: FinetuneRecipe) -> None:
        if recipe.train.batch_size < 2:
            raise SettingsError("train.batch_size is 1, and a text has nothing to be told from then; take 16 or more")
        if self.form == "texts" and recipe.encoder.dropout == 0:
            raise SettingsError(
                "encoder.dropout is 0, but without pairs it is all that tells the two copies of a text apart; "
                "leave it out for 0.1"
            )
        if len({record.text for record in self.train}) < 2:
            raise DataError(f"{recipe.data.train} has a single text, and nothing to tell it from; give more")
        self.warnings += emptiness(self.train)
        known = {(record.text, record.text_pair) for record in self.train}
        for name, records in (("dev", self.dev), ("test", self.test or ())):
            self.warnings += leaks([(record.text, record.text_pair) in known for record in records], name, "texts")


def _texts(record: TextRecord) -> list[str | None]:
    score = np.format_float_positional(record.label) if isinstance(record.label, float) else None
    return [record.text, record.text_pair, record.negative, score]
