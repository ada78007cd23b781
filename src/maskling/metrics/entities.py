"""Entities in tagged sentences, found and counted as conlleval (and seqeval's default) does."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from maskling.metrics.classification import Scores

_MARKED = re.compile(r"[BIESLU]-.+")
# BILOU's names for what IOBES calls E and S.
_BEGINS_ALONE, _ENDS = "BSU", "ESLU"


@dataclass(frozen=True, slots=True)
class Entity:
    """Words `first` to `last` - 1 of a sentence, of a type."""

    type: str
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class EntityScores:
    """overall: over the entities of all types together (micro). per_type: sorted by name."""

    overall: Scores
    per_type: dict[str, Scores]


def marks_entities(tags: Iterable[str]) -> bool:
    """Whether tags mark entities: all are O or B-X, I-X (E-X, S-X, L-X, U-X), and some are not O."""
    names = set(tags) - {"O"}
    return bool(names) and not unmarked(names)


def unmarked(tags: Iterable[str]) -> set[str]:
    """Those of the tags that neither mark an entity nor are O."""
    return {name for name in tags if name != "O" and not _MARKED.fullmatch(name)}


def entities(tags: Sequence[str]) -> list[Entity]:
    """The entities of a sentence, in their order.

    An I- that follows nothing, or another type, begins an entity: so files in IOB1 are read rightly too, and a model's
    slips count as its readers would see them (Tjong Kim Sang and De Meulder 2003, conlleval).
    """
    found: list[Entity] = []
    begun = 0
    before, kind = "O", ""
    for place, tag in enumerate([*tags, "O"]):
        mark, _, type_ = tag.partition("-")
        mark = mark[:1] or "O"
        starts = mark != "O" and (mark in _BEGINS_ALONE or before == "O" or before in _ENDS or type_ != kind)
        if before != "O" and (mark == "O" or starts):
            found.append(Entity(kind, begun, place))
        if starts:
            begun = place
        before, kind = mark, type_
    return found


def entity_scores(truth: Sequence[Sequence[str]], guess: Sequence[Sequence[str]]) -> EntityScores:
    """Precision, recall and F1 of whole entities: right are those whose type and both ends are.

    truth, guess: the tags of each sentence.
    """
    right: Counter[str] = Counter()
    guessed: Counter[str] = Counter()
    support: Counter[str] = Counter()
    for true_tags, guessed_tags in zip(truth, guess, strict=True):
        assert len(true_tags) == len(guessed_tags), "a guess for each word"
        true, found = entities(true_tags), entities(guessed_tags)
        support.update(entity.type for entity in true)
        guessed.update(entity.type for entity in found)
        right.update(entity.type for entity in set(true) & set(found))
    types = sorted(support | guessed)
    return EntityScores(
        Scores.of(right.total(), guessed.total(), support.total()),
        {type_: Scores.of(right[type_], guessed[type_], support[type_]) for type_ in types},
    )


def token_accuracy(truth: Sequence[Sequence[str]], guess: Sequence[Sequence[str]]) -> float:
    """The fraction of words that have the right tag; NaN of none. truth, guess: the tags of each sentence."""
    right = total = 0
    for true, found in zip(truth, guess, strict=True):
        right += sum(one == other for one, other in zip(true, found, strict=True))
        total += len(true)
    return right / total if total else math.nan
