"""Sentence pairs as google-research/bert's create_pretraining_data.py makes them, decision for decision."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from maskling.arrays import Int64Array
from maskling.data.pairing.strategy import Pairing, Segments
from maskling.data.plan import Plan
from maskling.data.shards import Split
from maskling.errors import DataError

_Pair = tuple[int, int, int, int, int]  # a_start, a_length, b_start, b_length, label
_CODES = "qiqib"  # type codes of the arrays of its columns


@dataclass(frozen=True, kw_only=True)
class PairPlan(Plan):
    """Pairs made once, before training. start and length are those of A.

    b_start: (N,) int64; b_length: (N,) int32; label: (N,) int8. document_first holds the first pair of each pass over
    the text, not of each document.
    """

    b_start: Int64Array
    b_length: NDArray[np.int32]
    label: NDArray[np.int8]

    @property
    def mean_length(self) -> float:
        """Mean tokens per example, both segments, special tokens not included."""
        return float(self.length.mean() + self.b_length.mean())


class Bert2018Pairing(Pairing):
    """Make the original pairs, flaws included (Devlin et al. 2019, `create_instances_from_document`).

    More than half of the pairs have label 1 (random next), since a lone sentence always
    gets a random B; with one document, or by bad luck in ten draws, B comes from A's own document
    and is still labelled random; one draw of a short length holds for a whole document. `nsp` has none of these flaws.

    The draws are the original's, in its order, from Python's generator, except its draws for masks in between,
    because here masks are drawn anew in every epoch.
    """

    kind: Literal["bert2018"] = "bert2018"
    has_pairs: ClassVar[bool] = True
    random_seed: int = Field(12345, description="seed of the pairs, a flag of the original, apart from the run's seed")
    dupe_factor: int = Field(
        10, ge=1, description="passes over the text, each with its own pairs; together they are one epoch"
    )
    short_seq_prob: float = Field(
        0.1, ge=0, le=1, description="probability that a document is cut into shorter examples"
    )

    def plan(self, split: Split, seq_length: int) -> Plan:
        """Make all pairs of all passes. Raises DataError if there is no text, or no room for two tokens."""
        if seq_length < self.num_special + 2:
            raise DataError(f"a pair needs a token in each segment; set seq_length to {self.num_special + 2} or more")
        rng = Random(self.random_seed)
        documents = _documents(split)
        rng.shuffle(documents)
        columns = [array(code) for code in _CODES]
        passes = [0]
        for _ in range(self.dupe_factor):
            for index in range(len(documents)):
                for pair in _pairs(documents, index, seq_length - self.num_special, self.short_seq_prob, rng):
                    for column, value in zip(columns, pair, strict=True):
                        column.append(value)
            passes.append(len(columns[0]))
        if not columns[0]:
            raise DataError("this split has no text to make pairs of; prepare more text")
        a_start, a_length, b_start, b_length, label = (np.frombuffer(column, column.typecode) for column in columns)
        return PairPlan(
            start=a_start,
            length=a_length,
            document_first=np.array(passes),
            goal=seq_length - self.num_special,
            b_start=b_start,
            b_length=b_length,
            label=label,
        )

    def segments(self, plan: Plan, _epoch: Int64Array, index: Int64Array, _seed: int) -> Segments:
        """Return the pairs of the plan, the same in every epoch."""
        assert isinstance(plan, PairPlan)
        columns = (plan.start, plan.length, plan.b_start, plan.b_length, plan.label)
        return Segments(*(column[index].astype(np.int64) for column in columns))


def _documents(split: Split) -> list[array[int]]:
    """Return the token offsets at which the sentences of each document with text start, and where it ends."""
    documents = []
    for block in split.blocks():
        # Sentences without tokens are skipped, as the original skips empty lines.
        sentences = np.asarray(block.sentences) + block.first_token
        for first, last in zip(block.documents[:-1].tolist(), block.documents[1:].tolist(), strict=True):
            offsets = np.unique(sentences[first : last + 1])
            if len(offsets) > 1:
                documents.append(array("q", offsets.tobytes()))
    return documents


def _pairs(documents: list[array[int]], index: int, max_tokens: int, short: float, rng: Random) -> Iterator[_Pair]:
    """Yield the pairs of one pass over one document."""
    document = documents[index]
    num_sentences = len(document) - 1
    target = max_tokens
    if rng.random() < short:
        target = rng.randint(2, max_tokens)
    first = sentence = 0
    while sentence < num_sentences:
        # A chunk: the sentences from `first` to this one.
        if sentence < num_sentences - 1 and document[sentence + 1] - document[first] < target:
            sentence += 1
            continue
        chunk = sentence + 1 - first
        a_sentences = rng.randint(1, chunk - 1) if chunk >= 2 else 1
        begin, middle, end = document[first], document[first + a_sentences], document[sentence + 1]
        # No draw is made for a lone sentence: the order of the two conditions matters.
        if chunk == 1 or rng.random() < 0.5:
            b_begin, b_end = _random_next(documents, index, target - (middle - begin), rng)
            yield (*_truncated(begin, middle, b_begin, b_end, max_tokens, rng), 1)
            # The sentences that would have been the true B begin the next chunk.
            sentence -= chunk - a_sentences
        else:
            yield (*_truncated(begin, middle, middle, end, max_tokens, rng), 0)
        first = sentence = sentence + 1


def _random_next(documents: list[array[int]], index: int, target: int, rng: Random) -> tuple[int, int]:
    """Return begin and end of enough sentences of a random document, usually another, to reach the target."""
    for _ in range(10):
        other = rng.randint(0, len(documents) - 1)
        if other != index:
            break
    document = documents[other]
    first = last = rng.randint(0, len(document) - 2)
    while last < len(document) - 2 and document[last + 1] - document[first] < target:
        last += 1
    return document[first], document[last + 1]


def _truncated(
    a_begin: int, a_end: int, b_begin: int, b_end: int, max_tokens: int, rng: Random
) -> tuple[int, int, int, int]:
    """Remove one token at a time from the longer segment (B if equal), from either end at random."""
    while (a_end - a_begin) + (b_end - b_begin) > max_tokens:
        front = rng.random() < 0.5
        if a_end - a_begin > b_end - b_begin:
            a_begin, a_end = (a_begin + 1, a_end) if front else (a_begin, a_end - 1)
        else:
            b_begin, b_end = (b_begin + 1, b_end) if front else (b_begin, b_end - 1)
    return a_begin, a_end - a_begin, b_begin, b_end - b_begin
