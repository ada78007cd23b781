"""Records of labelled files (texts with labels, words with tags, questions with answers), and the set of labels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from maskling.errors import DataError, listing, suggestion

RecordKind = Literal["classify", "multi-label", "regress", "tag", "answer"]
"""What a file is read for. Equal to `maskling.model.tasks.config.HeadKind`, which `data` must not import."""

RecordLabel = str | tuple[str, ...] | float | None


@dataclass(frozen=True, slots=True)
class TextRecord:
    """A text, or a pair of texts, with its label.

    id: file and line ("train.jsonl:17").
    label: a class name, a tuple of names (empty if no class applies), a number, or None for an unlabelled record.
    negatives: hard negatives, texts that resemble a match for `text` but are not one.
    row: all fields of a row to predict on.
    """

    id: str
    text: str
    text_pair: str | None = None
    label: RecordLabel = None
    negatives: tuple[str, ...] = ()
    row: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class TaggedRecord:
    """The words of a sentence with a tag per word; tags: None for an unlabelled sentence.

    id: file and line of the first word ("train.conll:17").
    """

    id: str
    words: tuple[str, ...]
    tags: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A span of the context. start: index of its first character, -1 if the context does not contain it."""

    text: str
    start: int

    @property
    def end(self) -> int:
        """Index of the character after the last one."""
        return self.start + len(self.text)


@dataclass(frozen=True, slots=True)
class QuestionRecord:
    """A question about a context.

    id: the id given in the file, or file and line ("dev.jsonl:17"); predictions are written under it.
    answers: every accepted answer; empty for an unlabelled question. impossible: the context does not answer it.
    row: all fields of a row to predict on.
    """

    id: str
    question: str
    context: str
    answers: tuple[Answer, ...] = ()
    impossible: bool = False
    row: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)


Record = TextRecord | TaggedRecord | QuestionRecord

# Label names listed in a message.
_SHOWN = 12


@dataclass(frozen=True)
class LabelSet:
    """The label names of a task; a label's class index is its position in `names`.

    Names found in data are sorted; names that are numbers come first, in numeric order.
    """

    names: tuple[str, ...]

    @classmethod
    def of_texts(cls, *sets: Sequence[TextRecord]) -> LabelSet:
        """Collect the labels of all sets. Raises DataError for an unlabelled record, or if there is only one label."""
        return cls._of(name for records in sets for record in records for name in label_names(record))

    @classmethod
    def of_tags(cls, *sets: Sequence[TaggedRecord]) -> LabelSet:
        """Collect the tags of all sets. Raises DataError for an untagged sentence, or if all tags are the same."""
        return cls._of(tag for records in sets for record in records for tag in record_tags(record))

    @classmethod
    def _of(cls, names: Iterable[str]) -> LabelSet:
        found = sorted(set(names), key=_order)
        if len(found) < 2:
            only = f"all labels are '{found[0]}'" if found else "there are no labels"
            raise DataError(f"{only}, and nothing can be learned from that; give records with two or more of them")
        return cls(tuple(found))

    def check_shared(self, found: Iterable[str], where: str) -> None:
        """Raise DataError if the file `where` has labels and none of them is in this set."""
        others = dict.fromkeys(found)
        if others and others.keys().isdisjoint(self.names):
            raise DataError(
                f"{where} shares no label with train: it has {listing(list(others), _SHOWN)}, and train "
                f"{listing(self.names, _SHOWN)}; use the same spelling in both"
                + ("; numbers get names with columns.label-names" if all(map(_is_number, others)) else "")
            )

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def _indices(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self.names)}

    def index(self, name: str, where: str) -> int:
        """Return the class index of a label. Raises DataError, naming `where`, for an unknown label."""
        found = self._indices.get(name)
        if found is None:
            raise DataError(
                f"{where} has the label '{name}'{suggestion(name, self.names)}; "
                f"the labels are {listing(self.names, _SHOWN)}"
            )
        return found

    def indices(self, records: Sequence[TextRecord]) -> NDArray[np.int64]:
        """Return class indices, (records,) int64. Raises DataError for a text without exactly one known label."""
        found = np.empty(len(records), np.int64)
        for row, record in enumerate(records):
            if isinstance(record.label, tuple):
                raise DataError(
                    f"{record.id} has a list of labels, but this task takes one; use multi-label classification"
                )
            found[row] = self.index(label_names(record)[0], record.id)
        return found

    def multi_hot(self, records: Sequence[TextRecord]) -> NDArray[np.float32]:
        """Return 1 per class of a text, else 0: (records, classes) float32. Raises DataError for an unknown label."""
        found = np.zeros((len(records), len(self)), np.float32)
        for row, record in enumerate(records):
            for name in label_names(record):
                found[row, self.index(name, record.id)] = 1
        return found

    def tag_indices(self, records: Sequence[TaggedRecord]) -> NDArray[np.int64]:
        """Return the tag indices of the words of all records: (words,) int64. Raises DataError for an unknown tag."""
        found = [self.index(tag, record.id) for record in records for tag in record_tags(record)]
        return np.array(found, np.int64)


def label_names(record: TextRecord) -> tuple[str, ...]:
    """Return the label names of a text. Raises DataError if it has no label, or a number."""
    if record.label is None:
        raise DataError(f"{record.id} has no label; give it one, or remove it")
    if isinstance(record.label, float):
        raise DataError(f"{record.id} has the number {record.label:g} for a label, but this task needs a class name")
    return (record.label,) if isinstance(record.label, str) else record.label


def record_tags(record: TaggedRecord) -> tuple[str, ...]:
    """Return the tags of a sentence. Raises DataError if it has none."""
    if record.tags is None:
        raise DataError(f"{record.id} has words without tags; give each word a tag, or remove the sentence")
    return record.tags


def _is_number(name: str) -> bool:
    return name.removeprefix("-").isdecimal()


def _order(name: str) -> tuple[bool, float, str]:
    try:
        number = float(name)
    except ValueError:
        number = math.nan
    return (False, number, name) if math.isfinite(number) else (True, 0.0, name)
