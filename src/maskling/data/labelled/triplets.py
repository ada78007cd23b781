"""Texts that belong together, each a sequence of its own: what a step of them has to tell apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskling.arrays import Int64Array
from maskling.data.labelled.batches import LabelledStep
from maskling.data.labelled.encode_texts import Targets, Windows, framed, room_in, windows_of
from maskling.data.labelled.records import TextRecord
from maskling.tokenizer.tokenizer import Tokenizer

# What a sequence is in its record.
ANCHOR, PARTNER, NEGATIVE = range(3)


@dataclass(frozen=True)
class TripletTargets(Targets):
    """What each sequence is in its record.

    side: (w,) int64, ANCHOR, PARTNER or NEGATIVE. text: (w,) int64, equal for sequences of the same tokens.
    score: (w,) float64, how alike the two texts of its record are; NaN where nobody said.
    """

    side: Int64Array
    text: Int64Array
    score: NDArray[np.float64]

    def take(self, which: Int64Array) -> TripletTargets:
        """What some of the sequences are."""
        return TripletTargets(self.side[which], self.text[which], self.score[which])

    @property
    def total(self) -> float:
        """Records."""
        return float(np.count_nonzero(self.side == ANCHOR))


@dataclass(frozen=True)
class Triplets:
    """windows, targets: two or three sequences a record, those of one together; cut: texts that lost their end."""

    windows: Windows
    targets: TripletTargets
    cut: int


def encode_triplets(records: Sequence[TextRecord], tokenizer: Tokenizer, max_length: int) -> Triplets:
    """Encode each text of each record by itself; of one that is too long the beginning, as for its vector.

    A record of a single text has it twice: it is its own partner, and dropout tells the two apart (Gao et al. 2021,
    SimCSE, section 3). Raises SettingsError where there is no room.
    """
    room = room_in(tokenizer, max_length)
    firsts = tokenizer.encode_batch([record.text for record in records])
    seconds = _others(tokenizer, (record.text_pair for record in records))
    thirds = _others(tokenizer, (record.negative for record in records))
    parts: list[tuple[int, NDArray[np.int32], int]] = []
    sides, texts, scores = [], [], []
    known: dict[bytes, int] = {}
    cut = 0
    for number, (record, first) in enumerate(zip(records, firsts, strict=True)):
        second = next(seconds).ids if record.text_pair is not None else first.ids
        several = [first.ids, second] + ([next(thirds).ids] if record.negative is not None else [])
        score = record.label if isinstance(record.label, float) else np.nan
        for side, ids in enumerate(several):
            cut += len(ids) > room and (side != PARTNER or record.text_pair is not None)
            framed_ids, end = framed(tokenizer, ids[:room])
            parts.append((number, framed_ids, end))
            sides.append(side)
            texts.append(known.setdefault(framed_ids.tobytes(), len(known)))
            scores.append(score)
    targets = TripletTargets(np.array(sides, np.int64), np.array(texts, np.int64), np.array(scores, np.float64))
    return Triplets(windows_of(parts), targets, cut)


def _others(tokenizer: Tokenizer, texts: Iterable[str | None]) -> Any:
    return iter(tokenizer.encode_batch([text for text in texts if text is not None]))


@dataclass(frozen=True)
class PositivePairs:
    """Who belongs to whom among n sequences.

    anchors, partners: (p,) int64, the places of the two texts of each record. candidates: (c,) int64, places of all
    that an anchor could be taken to belong to: the p partners, then the negatives. scores: (p,) float64. text: (n,)
    int64, see SideTargets.
    """

    anchors: Int64Array
    partners: Int64Array
    candidates: Int64Array
    scores: NDArray[np.float64]
    text: Int64Array

    def excluded(self, some: slice = slice(None)) -> NDArray[np.bool_]:
        """Candidates that some anchors must not be kept apart from: (of the p, c) bool.

        They are the anchor's own text, or its partner's once more, as another record has it.
        """
        anchors, partners = self.text[self.anchors[some]], self.text[self.partners[some]]
        texts = self.text[self.candidates]
        same: NDArray[np.bool_] = (texts == partners[:, None]) | (texts == anchors[:, None])
        same[np.arange(len(anchors)), np.arange(len(self.anchors))[some]] = False
        return same


def positive_pairs(record: Int64Array, targets: TripletTargets) -> PositivePairs:
    """Match n sequences, in any order. record: (n,) int64, of each.

    A record that is there twice, where an epoch ends within a step, has two anchors and two partners that are the
    same, so it does not matter which is whose.
    """
    anchors, partners, negatives = (_of(side, record, targets) for side in (ANCHOR, PARTNER, NEGATIVE))
    candidates = np.concatenate([partners, negatives])
    return PositivePairs(anchors, partners, candidates, targets.score[anchors], targets.text)


def step_positive_pairs(step: LabelledStep[TripletTargets]) -> PositivePairs:
    """Match the sequences of a whole step, by their places in it."""
    return positive_pairs(step.windows.record, step.targets)


def _of(side: int, record: Int64Array, targets: TripletTargets) -> Int64Array:
    places = np.flatnonzero(targets.side == side)
    ordered: Int64Array = places[np.argsort(record[places], kind="stable")]
    return ordered
