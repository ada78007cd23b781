"""Held-out records of a run without a dev file, and folds: drawn in groups, and in the proportions of the labels.

Records of one context, or of equal texts, stay together: in both parts they would make the scores too high. Each label
is held out in its share, and at least one group of records with it stays in train.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from maskling.console import agreeing
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
        found = agreeing(len(records), f"records{one} are too few to hold some out")
        raise DataError(f"{found}; give more, or a --dev file")
    order = [groups[index] for index in Shuffle(len(groups), seed, "held out")[np.arange(len(groups))].tolist()]
    strata = _strata(records, order)
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


@dataclass(frozen=True)
class Fold(Generic[_T]):
    """Records split for one fold of a cross-validation, in file order.

    kept: number of records that belong to the fold but are in train, as no other record has their label.
    """

    train: list[_T]
    test: list[_T]
    kept: int


def split_fold(records: Sequence[_T], folds: int, fold: int, seed: int) -> Fold[_T]:
    """Return the records of fold number `fold`, 1 for the first, and those of the other folds.

    Groups of records stay together, and each label is in every fold in its share. A group is in one fold only, except
    that the only group with a label is in train always. Raises DataError for fewer groups than folds.
    """
    groups = _groups(records)
    if len(groups) < folds:
        raise DataError(f"data.folds = {folds}, but there are only {len(groups)} different records; lower it")
    order = [groups[index] for index in Shuffle(len(groups), seed, "folds")[np.arange(len(groups))].tolist()]
    sizes, own = [0] * folds, set[int]()
    for some in _strata(records, order).values():
        in_stratum = [0] * folds
        # The largest groups first, so that the small ones even out the folds.
        for group in sorted(some, key=len, reverse=True):
            index = min(range(folds), key=lambda one: (in_stratum[one], sizes[one]))
            in_stratum[index] += len(group)
            sizes[index] += len(group)
            if index == fold - 1:
                own.update(group)
    known = {name for index, record in enumerate(records) if index not in own for name in label_names(record)}
    kept = {
        index
        for group in order
        if group[0] in own and not known.issuperset(_names_of(records, group))
        for index in group
    }
    test = own - kept
    if not test:
        raise DataError(f"fold {fold} of {folds} has no record whose label others have; lower data.folds")
    return Fold(
        [record for index, record in enumerate(records) if index not in test],
        [record for index, record in enumerate(records) if index in test],
        len(kept),
    )


def _names_of(records: Sequence[Any], group: Sequence[int]) -> set[str]:
    return {name for index in group for name in label_names(records[index])}


def label_names(record: Any) -> tuple[str, ...]:
    """Return the labels of a text, or the tags of a sentence."""
    label = getattr(record, "label", None)
    return (label,) if isinstance(label, str) else _names(record)


def split_randomly(records: Sequence[_T], fraction: float, seed: int, at_most: int) -> tuple[list[_T], list[_T]]:
    """Return training and held-out records, drawn one by one. Raises DataError for too few records."""
    count = min(at_most, max(1, round(len(records) * fraction)))
    if count >= len(records):
        raise DataError(f"{agreeing(len(records), 'records are too few to hold some out')}; give more, or a --dev file")
    out = set(Shuffle(len(records), seed, "held out")[np.arange(count)].tolist())
    return (
        [record for index, record in enumerate(records) if index not in out],
        [record for index, record in enumerate(records) if index in out],
    )


def _strata(records: Sequence[Any], groups: list[list[int]]) -> dict[Hashable, list[list[int]]]:
    """Return the groups of records by what is held out in its share, all under None if there are too many kinds."""
    strata: dict[Hashable, list[list[int]]] = defaultdict(list)
    for group in groups:
        strata[_stratum(records[group[0]])].append(group)
    return strata if len(strata) <= _MOST_STRATA * len(groups) else {None: groups}


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
