"""Anchors, positives and hard negatives for similarity training, encoded and matched for in-batch negatives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskling.arrays import Int64Array
from maskling.data.labelled.batches import LabelledStep
from maskling.data.labelled.encode_texts import EncodedRecords, Targets, add_special_tokens, join_windows, text_room
from maskling.data.labelled.records import TextRecord
from maskling.tokenizer.tokenizer import Tokenizer

# The role of a sequence in its record.
ANCHOR, POSITIVE, NEGATIVE = range(3)


@dataclass(frozen=True)
class TripletTargets(Targets):
    """The role of each sequence in its record.

    role: (w,) int64, ANCHOR, POSITIVE or NEGATIVE. text: (w,) int64, equal for sequences of the same tokens.
    score: (w,) float64, similarity score of the record; NaN if it has none.
    """

    role: Int64Array
    text: Int64Array
    score: NDArray[np.float64]

    def take(self, which: Int64Array) -> TripletTargets:
        """Return the targets of some sequences."""
        return TripletTargets(self.role[which], self.text[which], self.score[which])

    @property
    def total(self) -> float:
        """Number of records."""
        return float(np.count_nonzero(self.role == ANCHOR))


def encode_triplets(
    records: Sequence[TextRecord], tokenizer: Tokenizer, max_length: int
) -> EncodedRecords[TripletTargets]:
    """Encode each text of each record as one sequence, truncated like a text to embed.

    A record has two consecutive sequences and one for each hard negative. One of a single text has it twice: it is its
    own positive, and dropout makes the two vectors differ (Gao et al. 2021, SimCSE, section 3). `cut` counts texts that
    lost their end.
    Raises SettingsError if there is no room for text.
    """
    room = text_room(tokenizer, max_length)
    firsts = tokenizer.encode_batch([record.text for record in records])
    seconds = _others(tokenizer, (record.text_pair for record in records))
    others = _others(tokenizer, (text for record in records for text in record.negatives))
    parts: list[tuple[int, NDArray[np.int32], int]] = []
    roles, texts, scores = [], [], []
    known: dict[bytes, int] = {}
    cut = 0
    for index, (record, first) in enumerate(zip(records, firsts, strict=True)):
        second = next(seconds).ids if record.text_pair is not None else first.ids
        several = [first.ids, second, *(next(others).ids for _ in record.negatives)]
        score = record.label if isinstance(record.label, float) else np.nan
        for place, ids in enumerate(several):
            role = min(place, NEGATIVE)
            cut += len(ids) > room and (role != POSITIVE or record.text_pair is not None)
            framed_ids, end = add_special_tokens(tokenizer, ids[:room])
            parts.append((index, framed_ids, end))
            roles.append(role)
            texts.append(known.setdefault(framed_ids.tobytes(), len(known)))
            scores.append(score)
    targets = TripletTargets(np.array(roles, np.int64), np.array(texts, np.int64), np.array(scores, np.float64))
    return EncodedRecords(join_windows(parts), targets, cut)


def _others(tokenizer: Tokenizer, texts: Iterable[str | None]) -> Any:
    return iter(tokenizer.encode_batch([text for text in texts if text is not None]))


@dataclass(frozen=True)
class PositivePairs:
    """The positive pairs among n sequences, and the candidates each anchor is compared with.

    anchors, positives: (p,) int64, indices of the two texts of each record. candidates: (c,) int64, indices of the p
    positives, which are in-batch negatives for the other anchors, then of the hard negatives. scores: (p,) float64.
    text: (n,) int64, see TripletTargets.
    """

    anchors: Int64Array
    positives: Int64Array
    candidates: Int64Array
    scores: NDArray[np.float64]
    text: Int64Array

    @property
    def has_predictions(self) -> bool:
        """Whether anything is compared: two different scores, or an anchor with at least one negative.

        Otherwise the loss is 0 for every model, and there is nothing to learn.
        """
        if not np.isnan(self.scores).any():
            return len(np.unique(self.scores)) > 1
        if len(np.unique(self.text[self.candidates])) > 2:  # more than an anchor excludes
            return True
        return int(np.count_nonzero(~self.excluded())) > len(self.anchors)

    def excluded(self, some: slice = slice(None)) -> NDArray[np.bool_]:
        """Return candidates that are not negatives of some anchors: (anchors of `some`, c) bool.

        These are equal to the anchor's own text, or to its positive, from another record.
        """
        anchors, positives = self.text[self.anchors[some]], self.text[self.positives[some]]
        texts = self.text[self.candidates]
        same: NDArray[np.bool_] = (texts == positives[:, None]) | (texts == anchors[:, None])
        same[np.arange(len(anchors)), np.arange(len(self.anchors))[some]] = False
        return same


def positive_pairs(record: Int64Array, targets: TripletTargets) -> PositivePairs:
    """Match n sequences, in any order. record: (n,) int64, the record of each.

    A record that occurs twice, where an epoch ends within a step, has two equal anchors and two equal positives, so
    either match is right.
    """
    anchors, positives, negatives = (_indices_of(role, record, targets) for role in (ANCHOR, POSITIVE, NEGATIVE))
    candidates = np.concatenate([positives, negatives])
    return PositivePairs(anchors, positives, candidates, targets.score[anchors], targets.text)


def step_positive_pairs(step: LabelledStep[TripletTargets]) -> PositivePairs:
    """Match the sequences of a whole step, by their index in it."""
    return positive_pairs(step.windows.record, step.targets)


def _indices_of(role: int, record: Int64Array, targets: TripletTargets) -> Int64Array:
    indices = np.flatnonzero(targets.role == role)
    ordered: Int64Array = indices[np.argsort(record[indices], kind="stable")]
    return ordered
