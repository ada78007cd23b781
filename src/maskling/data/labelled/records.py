"""Labelled text as a person gives it: texts with a label, words with tags, questions with answers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from maskling.errors import DataError, suggestion

# FOLDED DOCS
# [labels] The names that labels have, and their numbers.


Label = str | tuple[str, ...] | float | None


@dataclass(frozen=True, slots=True)
class TextRecord:
    """A text, or a pair of texts, with what is to be said of it.

    id: where it is from ("train.jsonl:17").
    label: a name, several names (none of them fitting is the empty tuple), a number, or None where there is none.
    negative: a text that looks as if it went with `text` and does not, where a file has such.
    """

    id: str
    text: str
    text_pair: str | None = None
    label: Label = None
    negative: str | None = None


@dataclass(frozen=True, slots=True)
class TaggedRecord:
    """The words of a sentence with a tag for each; tags: None where there are none.

    id: where its first word is from ("train.conll:17").
    """

    id: str
    words: tuple[str, ...]
    tags: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A piece of a context. start: its first character there, -1 where the context does not have it."""

    text: str
    start: int

    @property
    def end(self) -> int:
        """The character after its last."""
        return self.start + len(self.text)


@dataclass(frozen=True, slots=True)
class QuestionRecord:
    """A question about a text.

    id: the question's own, as predictions name it, or where it is from ("dev.jsonl:17").
    answers: all that count as right; none of a question without labels. impossible: the context does not answer it.
    """

    id: str
    question: str
    context: str
    answers: tuple[Answer, ...] = ()
    impossible: bool = False


# How many names of labels a message shows.
_SHOWN = 12


@dataclass(frozen=True)
class LabelSet:
    """names: of the classes, by number. Sorted when discovered; names that are numbers in the order of the numbers."""

    names: tuple[str, ...]

    @classmethod
    def of_texts(cls, *sets: Sequence[TextRecord]) -> LabelSet:
        """The labels of texts, of all sets together. Raises DataError for a record without one, or if there is one."""
        return cls._of(name for records in sets for record in records for name in label_names(record))

    @classmethod
    def of_tags(cls, *sets: Sequence[TaggedRecord]) -> LabelSet:
        """The tags of words, of all sets together. Raises DataError for a record without, or if all are the same."""
        return cls._of(tag for records in sets for record in records for tag in record_tags(record))

    @classmethod
    def _of(cls, names: Iterable[str]) -> LabelSet:
        found = sorted(set(names), key=_order)
        if len(found) < 2:
            only = f"all labels are '{found[0]}'" if found else "there are no labels"
            raise DataError(f"{only}, and nothing can be learned from that; give records with two or more of them")
        return cls(tuple(found))

    def check_shared(self, found: Iterable[str], where: str) -> None:
        """Raises DataError if there are labels in the file `where`, and none of them is among these."""
        others = dict.fromkeys(found)
        if others and others.keys().isdisjoint(self.names):
            raise DataError(
                f"{where} shares no label with train: it has {_some(list(others))}, and train {_some(self.names)}; "
                f"write them alike"
            )

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.names)}

    def index(self, name: str, where: str) -> int:
        """The number of a label. Raises DataError, naming `where`, for one that is not among them."""
        found = self._numbers.get(name)
        if found is None:
            raise DataError(
                f"{where} has the label '{name}'{suggestion(name, self.names)}; the labels are {_some(self.names)}"
            )
        return found

    def indices(self, records: Sequence[TextRecord]) -> NDArray[np.int64]:
        """The class of each text: (records,) int64. Raises DataError for one without a single, known label."""
        found = np.empty(len(records), np.int64)
        for number, record in enumerate(records):
            if isinstance(record.label, tuple):
                raise DataError(f"{record.id} has a list of labels where one is wanted; use multi-label classification")
            found[number] = self.index(label_names(record)[0], record.id)
        return found

    def multi_hot(self, records: Sequence[TextRecord]) -> NDArray[np.float32]:
        """1 for each class that fits a text, else 0: (records, classes) float32. Raises DataError."""
        found = np.zeros((len(records), len(self)), np.float32)
        for number, record in enumerate(records):
            for name in label_names(record):
                found[number, self.index(name, record.id)] = 1
        return found

    def tag_indices(self, records: Sequence[TaggedRecord]) -> NDArray[np.int64]:
        """The tag of every word of all records, end to end: (words,) int64. Raises DataError."""
        found = [self.index(tag, record.id) for record in records for tag in record_tags(record)]
        return np.array(found, np.int64)


def label_names(record: TextRecord) -> tuple[str, ...]:
    """The names of a text's labels. Raises DataError if it has no label, or a number."""
    if record.label is None:
        raise DataError(f"{record.id} has no label; give it one, or leave it out")
    if isinstance(record.label, float):
        raise DataError(f"{record.id} has the number {record.label:g} where the name of a class is wanted")
    return (record.label,) if isinstance(record.label, str) else record.label


def record_tags(record: TaggedRecord) -> tuple[str, ...]:
    """The tags of a sentence. Raises DataError if it has none."""
    if record.tags is None:
        raise DataError(f"{record.id} has words without tags; give each word its tag, or leave it out")
    return record.tags


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def _order(name: str) -> tuple[bool, float, str]:
    try:
        number = float(name)
    except ValueError:
        number = math.nan
    return (False, number, name) if math.isfinite(number) else (True, 0.0, name)
