"""Held-out records of a run without a dev file: drawn in groups, and in the proportions of the labels.

Records of one context, or of equal texts, stay together: in both parts they would make the scores too high. Each label
is held out in its share, and at least one group of records with it stays in train.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import Any, TypeVar

import numpy as np

from maskling.data.labelled.records import QuestionRecord, TaggedRecord, TextRecord
from maskling.errors import DataError
from maskling.randomness import Shuffle

_T = TypeVar("_T")
# Labels per group of records from which there are too few of each to hold out shares of them.
_MOST_STRATA = 0.5


def split_held_out(records: Sequence[_T], fraction: float, seed: int, at_most: int) -> tuple[list[_T], list[_T]]:
    """Return training records and held-out records, both in file order. Raises DataError for too few records."""
    count = min(at_most, max(1, round(len(records) * fraction)))
    groups = _groups(records)
    if count >= len(records) or len(groups) < 2:
        one = " of one context or text" if len(groups) == 1 < len(records) else ""
        raise DataError(f"{len(records)} records{one} are too few to hold some out; give more, or a --dev file")
    order = [groups[index] for index in Shuffle(len(groups), seed, "held out")[np.arange(len(groups))].tolist()]
    strata: dict[Hashable, list[list[int]]] = defaultdict(list)
    for group in order:
        strata[_stratum(records[group[0]])].append(group)
    if len(strata) > _MOST_STRATA * len(order):
        strata = {None: order}
    quotas = _quotas({key: sum(map(len, some)) for key, some in strata.items()}, count)
    out: set[int] = set()
    for key, some in strata.items():
        taken = 0
        # The last group of a label is never held out.
        for group in some[: len(some) - 1]:
            if taken + len(group) / 2 <= quotas[key]:
                out.update(group)
                taken += len(group)
    if not out:
        smallest = min(order, key=len)
        out.update(smallest)
    # Where every held-out record is alone with its label, there is nothing better to hold out.
    out = out - _alone(records, out) or out
    return (
        [record for index, record in enumerate(records) if index not in out],
        [record for index, record in enumerate(records) if index in out],
    )


def split_randomly(records: Sequence[_T], fraction: float, seed: int, at_most: int) -> tuple[list[_T], list[_T]]:
    """Return training and held-out records, drawn one by one. Raises DataError for too few records."""
    count = min(at_most, max(1, round(len(records) * fraction)))
    if count >= len(records):
        raise DataError(f"{len(records)} records are too few to hold some out; give more, or a --dev file")
    out = set(Shuffle(len(records), seed, "held out")[np.arange(count)].tolist())
    return (
        [record for index, record in enumerate(records) if index not in out],
        [record for index, record in enumerate(records) if index in out],
    )


def _groups(records: Sequence[Any]) -> list[list[int]]:
    """Return the indices of records that belong together, in the order of the first of each group."""
    found: dict[Hashable, list[int]] = defaultdict(list)
    for index, record in enumerate(records):
        found[_key(record)].append(index)
    return list(found.values())


def _key(record: Any) -> Hashable:
    match record:
        case QuestionRecord():
            return record.context
        case TaggedRecord():
            return record.words
        case TextRecord():
            pair = record.text_pair
            return " ".join(record.text.split()), None if pair is None else " ".join(pair.split())
    return id(record)


def _stratum(record: Any) -> Hashable:
    """Return what is held out in its share: the label of a text, whether a question has an answer."""
    if isinstance(record, QuestionRecord):
        return record.impossible
    if isinstance(record, TextRecord) and isinstance(record.label, str | tuple):
        return record.label
    return None


def _quotas(sizes: dict[Hashable, int], count: int) -> dict[Hashable, int]:
    """Share `count` in proportion to the sizes, by largest remainders."""
    total = sum(sizes.values())
    exact = {key: count * size / total for key, size in sizes.items()}
    found = {key: int(value) for key, value in exact.items()}
    by_remainder = sorted(exact, key=lambda key: found[key] - exact[key])
    for key in by_remainder[: count - sum(found.values())]:
        found[key] += 1
    return found


def _alone(records: Sequence[Any], out: set[int]) -> set[int]:
    """Return the held-out records with a label or tag that no training record has."""
    known = {name for index, record in enumerate(records) if index not in out for name in _names(record)}
    return {index for index in out if not known.issuperset(_names(records[index]))}


def _names(record: Any) -> tuple[str, ...]:
    if isinstance(record, TaggedRecord):
        return record.tags or ()
    label = getattr(record, "label", None)
    return label if isinstance(label, tuple) else (label,) if isinstance(label, str) else ()
