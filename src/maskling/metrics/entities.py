"""EntitySpan F1 of tagged sentences, as conlleval (and seqeval by default) computes it."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from maskling.metrics.classification import Scores

# BMES writes M for I. Some files have the mark after the type, or an underscore between them.
_MARKED = re.compile(r"(?P<mark>[BIESLUM])[-_](?P<type>.+)", re.DOTALL)
_MARKED_AT_END = re.compile(r"(?P<type>.+)[-_](?P<mark>[BIESLUM])", re.DOTALL)
# BILOU's names for what IOBES calls E and S.
_BEGINS_ALONE, _ENDS = "BSU", "ESLU"


@dataclass(frozen=True, slots=True)
class EntitySpan:
    """An entity of a type: words `first` to `last` - 1 of a sentence."""

    type: str
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class EntityScores:
    """Scores of entities. overall: over all types (micro). per_type: sorted by name."""

    overall: Scores
    per_type: dict[str, Scores]


def marks_entities(tags: Iterable[str]) -> bool:
    """Return whether tags mark entities: all are O or B-X, I-X (E-X, S-X, L-X, U-X, M-X), and some are not O.

    B_X and X-B, with the mark at the end, are read as B-X.
    """
    names = set(tags) - {"O"}
    return bool(names) and not unmarked(names)


def unmarked(tags: Iterable[str]) -> set[str]:
    """Return the tags that neither mark an entity nor are O."""
    return {name for name in tags if name != "O" and not split_tag(name)[0]}


def split_tag(tag: str) -> tuple[str, str]:
    """Return the mark of a tag (one of BIESLU, or O) and its type; no mark if it marks no entity."""
    if tag == "O":
        return "O", ""
    found = _MARKED.fullmatch(tag) or _MARKED_AT_END.fullmatch(tag)
    if found is None:
        return "", tag
    return found["mark"].replace("M", "I"), found["type"]


def entities(tags: Sequence[str]) -> list[EntitySpan]:
    """Return the entities of a sentence, in order.

    An I- that follows no entity, or one of another type, begins an entity: so files in IOB1 are read correctly too, and
    invalid sequences of a model count as entities (Tjong Kim Sang and De Meulder 2003, conlleval).
    """
    found: list[EntitySpan] = []
    start = 0
    before, kind = "O", ""
    for index, tag in enumerate([*tags, "O"]):
        mark, type_ = split_tag(tag)
        if not mark:
            mark, _, type_ = tag.partition("-")
            mark = mark[:1] or "O"
        starts = mark != "O" and (mark in _BEGINS_ALONE or before == "O" or before in _ENDS or type_ != kind)
        if before != "O" and (mark == "O" or starts):
            found.append(EntitySpan(kind, start, index))
        if starts:
            start = index
        before, kind = mark, type_
    return found


def entity_scores(truth: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> EntityScores:
    """Return precision, recall and F1 of whole entities; type and both ends must match.

    truth, predicted: the tags of each sentence.
    """
    right: Counter[str] = Counter()
    predictions: Counter[str] = Counter()
    support: Counter[str] = Counter()
    for true_tags, predicted_tags in zip(truth, predicted, strict=True):
        assert len(true_tags) == len(predicted_tags), "one prediction per word"
        true, found = entities(true_tags), entities(predicted_tags)
        support.update(entity.type for entity in true)
        predictions.update(entity.type for entity in found)
        right.update(entity.type for entity in set(true) & set(found))
    types = sorted(support | predictions)
    return EntityScores(
        Scores.of(right.total(), predictions.total(), support.total()),
        {type_: Scores.of(right[type_], predictions[type_], support[type_]) for type_ in types},
    )


def token_accuracy(truth: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> float:
    """Return the fraction of words with the correct tag; NaN if there are none. truth, predicted: tags per sentence."""
    right = total = 0
    for true, found in zip(truth, predicted, strict=True):
        right += sum(one == other for one, other in zip(true, found, strict=True))
        total += len(true)
    return right / total if total else math.nan
