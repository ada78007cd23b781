"""What training of vectors is made of: an encoder, and pairs or plain text."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from maskling.data.labelled.batches import LabelledBatch, LabelledExamples
from maskling.data.labelled.checks import empty_texts, leaks
from maskling.data.labelled.read_texts import Form, Similar, read_similar
from maskling.data.labelled.records import TextRecord
from maskling.data.labelled.triplets import (
    PositivePairs,
    Triplets,
    TripletTargets,
    encode_triplets,
    step_positive_pairs,
)
from maskling.errors import DataError, SettingsError
from maskling.export.cards import TaskFacts
from maskling.export.folder import export_sentence_encoder
from maskling.files import fingerprint
from maskling.finetune.device_batch import Rows
from maskling.finetune.kinds.similarity import Similarity
from maskling.finetune.material import RecordsMaterial, completed
from maskling.finetune.recipe import FinetuneRecipe
from maskling.finetune.results import finish, write_model
from maskling.finetune.similarity_eval import CRITERIA, measured
from maskling.finetune.task import RecordsTask
from maskling.model.activation_checkpointing import checkpointed
from maskling.model.config import flops_per_token
from maskling.model.device import Compute
from maskling.model.folder import build_encoder, encoder_config, pool_rows
from maskling.model.masked_lm import MaskedLM
from maskling.model.sentence_transformers import read_pooling
from maskling.model.tasks.config import Pooling
from maskling.objectives.losses import Encode, Term
from maskling.objectives.similarity import contrastive, cosent
from maskling.train.distributed import Ranks
from maskling.train.events import Event
from maskling.train.task import Baseline, Best, Numbers, SkippedRanges, StepBatches, data_step

# FOLDED DOCS
# [task] Training of vectors as a task of the engine.
# [vectors] The vectors of all texts of a step, however few of them fit into memory at once.
# [work] What a step of training vectors is made of.


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

    def complete_recipe(self, recipe: FinetuneRecipe, written: FinetuneRecipe | None) -> FinetuneRecipe:  # noqa: ARG002
        """The recipe with its longest sequence, steps, evaluations, pooling, and the dropout that SimCSE needs."""
        recipe = completed(recipe, self.folder, len(self.train))
        encoder = recipe.encoder
        if encoder.pooling is None:
            encoder = encoder.model_copy(update={"pooling": read_pooling(self.folder)})
        if self.form == "texts" and encoder.dropout is None:
            encoder = encoder.model_copy(update={"dropout": _DROPOUT})
        return recipe.model_copy(update={"encoder": encoder})

    def build_task(self, recipe: FinetuneRecipe, ranks: Ranks) -> Embedding:
        """The task of a completed recipe."""
        return Embedding(recipe, self, ranks)

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
        self.warnings += empty_texts(self.train)
        known = {(record.text, record.text_pair) for record in self.train}
        for name, records in (("dev", self.dev), ("test", self.test or ())):
            self.warnings += leaks([(record.text, record.text_pair) in known for record in records], name, "texts")


def _texts(record: TextRecord) -> list[str | None]:
    score = np.format_float_positional(record.label) if isinstance(record.label, float) else None
    return [record.text, record.text_pair, record.negative, score]


class Embedding(RecordsTask[MaskedLM]):
    """An encoder without heads, learning to lay alike texts side by side."""

    def __init__(self, recipe: FinetuneRecipe, material: SimilarTexts, ranks: Ranks) -> None:
        assert recipe.encoder.pooling is not None
        super().__init__(recipe, material)
        self._pooling: Pooling = recipe.encoder.pooling
        self._material, self._ranks, self._kind = material, ranks, material.kind
        self.criterion = CRITERIA[material.dev_form]
        if material.form != "scored":
            guess = math.log(min(recipe.train.batch_size, len(material.train)))
            self.baseline = Baseline("guessing", guess, "how many texts a step has")

    @property
    def measures_first(self) -> bool:
        """Whether there are weights that were given."""
        return not self.recipe.encoder.fresh

    @cached_property
    def _train(self) -> Triplets:
        return self._encoded(self._material.train)

    @cached_property
    def _dev(self) -> Triplets:
        return self._encoded(self._material.dev)

    def _encoded(self, records: Sequence[TextRecord]) -> Triplets:
        return encode_triplets(records, self._material.tokens, self.row_tokens)

    def first_module(self) -> MaskedLM:
        """The encoder with its weights, or fresh ones."""
        return self._built(self.recipe.encoder.fresh)

    def empty_module(self) -> MaskedLM:
        """The same for a checkpoint to fill."""
        return self._built(fresh=True)

    def _built(self, fresh: bool) -> MaskedLM:
        return build_encoder(self._material.folder, self.recipe.seed, fresh=fresh, dropout=self.recipe.encoder.dropout)

    def batch_builder(self, ranks: Ranks, left_out: SkippedRanges = ()) -> Callable[[int], StepBatches]:
        """What makes the work of a step."""
        flops = flops_per_token(self._material.config, self.row_tokens, 0.0)
        return partial(
            work_of, recipe=self.recipe, examples=self._examples, flops=flops, ranks=ranks, left_out=left_out
        )

    def terms(self, module: MaskedLM, batch: Compared, encode: Encode, device: torch.device) -> dict[str, Term]:
        """The loss of the whole step, on every rank; only the first tells how much it is, so that it counts once."""
        vectors = step_vectors(module, batch, encode, device, self._pooling, self._ranks)
        matches, temperature = batch.matches, self._kind.temperature
        with torch.autocast(device.type, enabled=False):
            anchors = vectors[torch.from_numpy(matches.anchors).to(device)]
            if self._material.form == "scored":
                partners = vectors[torch.from_numpy(matches.partners).to(device)]
                # Their order is all that counts, and Apple's GPUs have no float64.
                order = torch.from_numpy(np.unique(matches.scores, return_inverse=True)[1])
                loss = cosent(anchors, partners, order.to(device), temperature)
            else:
                candidates = vectors[torch.from_numpy(matches.candidates).to(device)]
                excluded = torch.from_numpy(matches.excluded()).to(device)
                loss = contrastive(anchors, candidates, excluded, temperature)
        return {"loss": Term(loss if self._ranks.is_main else loss - loss.detach(), 1)}

    def evaluate(self, module: MaskedLM, compute: Compute, ranks: Ranks) -> Numbers:
        """What the dev texts come to."""
        return self._measured(module, compute, ranks, self._material.dev_form, self._dev)

    def _measured(self, module: MaskedLM, compute: Compute, ranks: Ranks, form: Form, sides: Triplets) -> Numbers:
        return measured(module, compute, ranks, form, sides, self._material.tokens.special.pad, self.recipe)

    def write(self, run_dir: Path, module: MaskedLM, best: Best | None) -> Path:
        """Write `run_dir/model`."""
        return self._write(run_dir, module, self._told(best), {})

    def finish(self, run_dir: Path, best: Best | None, compute: Compute) -> Iterator[Event]:
        """Measure the finished model on the test texts, once, and write what came of everything."""
        material = self._material

        def tested() -> Numbers:
            assert material.test is not None
            module = build_encoder(run_dir / "model", self.recipe.seed).to(compute.device)
            sides = self._encoded(material.test)
            numbers = self._measured(module, compute, Ranks(), material.test_form, sides)
            self._write(run_dir, module, self._told(best), numbers)
            return numbers

        return finish(self.recipe, self.criterion, material, run_dir, best, tested)

    def _told(self, best: Best | None) -> Numbers:
        if best is None:
            return {}
        return {**best.numbers, f"{self.criterion.name} before training": best.before}

    def _write(self, run_dir: Path, module: MaskedLM, dev: Numbers, test: Numbers) -> Path:
        material = self._material

        def export(out: Path, facts: TaskFacts) -> None:
            export_sentence_encoder(module, material.config, material.tokens, out, facts, self._pooling, material.form)

        return write_model(run_dir, self.recipe, material, dev, test, export)


def step_vectors(
    module: MaskedLM, compared: Compared, encode: Encode, device: torch.device, pooling: Pooling, ranks: Ranks
) -> Tensor:
    """The vectors of all sequences of a step: (sequences, hidden) fp32.

    Of more than one micro-batch only the vectors are kept, and each is encoded again, with the same dropout, when its
    gradient is wanted: what Gao et al. 2021 (Scaling deep contrastive learning batch size under memory limited setup,
    section 3.2) call gradient caching is a checkpoint of activations around each. So loss and gradient are those of
    the whole step, for a third more time.
    """
    vectors = []
    for part in compared.parts:
        rows = Rows.of(part, device)
        if len(compared.parts) == 1:
            vectors.append(_encoded(rows.input_ids, rows, encode, pooling))
        else:
            vectors.append(checkpointed(_encoded, rows.input_ids, rows, encode, pooling))
    if not vectors:
        # A rank without rows has nothing, but the engine wants something to differentiate.
        vectors = [module.word.weight[:0].float()]
    return _of_all_ranks(torch.cat(vectors), compared, ranks)


def _encoded(input_ids: Tensor, rows: Rows, encode: Encode, pooling: Pooling) -> Tensor:
    # With the masks of the first time a second one would be another calculation, to a compiler.
    visible = rows.visible.without_masks()
    hidden = encode(input_ids, rows.position_ids, rows.token_type_ids, visible)
    with torch.autocast(hidden.device.type, enabled=False):
        return pool_rows(hidden.float(), rows.first_positions, visible, pooling)


def _of_all_ranks(own: Tensor, compared: Compared, ranks: Ranks) -> Tensor:
    """Every rank's vectors, of which only its own can be differentiated here: the others do that with theirs."""
    if ranks.size == 1:
        return own
    first, end = compared.place, compared.place + len(own)
    everything = torch.zeros(compared.sequences, own.shape[1], device=ranks.device)
    everything[first:end] = own.detach().to(ranks.device)
    everything = ranks.all_reduce(everything).to(own.device)
    return torch.cat([everything[:first], own, everything[end:]])


@dataclass(frozen=True)
class Compared:
    """All sequences of a step, which are compared with each other.

    parts: those of this rank, in the micro-batches that are encoded one after the other; place: of its first one among
    all; sequences: how many there are over all ranks. matches: who belongs to whom, among all.
    """

    parts: list[LabelledBatch[TripletTargets]]
    place: int
    sequences: int
    matches: PositivePairs


def work_of(
    step: int,
    recipe: FinetuneRecipe,
    examples: LabelledExamples[TripletTargets],
    flops: float,
    ranks: Ranks,
    left_out: SkippedRanges = (),
) -> StepBatches:
    """The work of `step`, for the engine a single micro-batch: a loss over all texts of a step cannot be cut up."""
    whole = examples.step(data_step(step, left_out), recipe.train.batch_size)
    rows = recipe.rows_at_once
    compared = Compared(
        parts=[batch for batch in whole.batches(rows, ranks.rank, ranks.size) if batch.rows],
        place=whole.place(rows, ranks.rank, ranks.size),
        sequences=len(whole.windows),
        matches=step_positive_pairs(whole),
    )
    return StepBatches(
        step=step,
        batches=[compared],
        counts={"loss": 1},
        num_tokens=whole.num_tokens,
        fill=whole.fill,
        flops_per_token=flops,
        example_ids=whole.windows.record,
        sizes=[len(whole.windows)],
    )
