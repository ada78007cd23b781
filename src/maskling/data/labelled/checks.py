"""Warnings about likely mistakes in labelled data: rare classes, misspelt labels, leaks from train into dev or test."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import combinations, pairwise

from maskling.console import agreeing, counted
from maskling.data.labelled.records import QuestionRecord, TaggedRecord, TextRecord, label_names, record_tags
from maskling.errors import listing
from maskling.metrics.entities import entities, marks_entities, split_tag, unmarked

# A class is rare if it is this many times rarer than the most frequent one, or below this fraction of all.
RATIO = 10
SHARE = 0.05
# Non-BIO tags up to this fraction of all tags are reported as stray.
STRAY = 0.01
_SHOWN = 3
_TYPOS_SHOWN = 10
# The label of unlabelled texts in datasets of the Hugging Face hub, such as GLUE's test sets.
_NO_LABEL = "-1"
_DIGITS = re.compile(r"\d")


def check_texts(
    train: Sequence[TextRecord], others: Mapping[str, Sequence[TextRecord]], unbalanced: str = ""
) -> list[str]:
    """Return a warning per likely mistake. others: evaluation sets by name ('dev', 'test').

    unbalanced: advice on which metric to read if classes are unbalanced.
    """
    warnings = []
    if not isinstance(train[0].label, float):
        counts = Counter(name for record in train for name in label_names(record))
        warnings += [*imbalance(counts, unbalanced), *typos(counts), *unlabelled(counts, counts, "train")]
        for name, records in others.items():
            found = Counter(label for record in records if record.label is not None for label in label_names(record))
            warnings += [*unseen_labels(counts, found.elements(), name, "labels"), *unlabelled(counts, found, name)]
        warnings += contradictions(train)
    warnings += empty_texts(train)
    texts = {_key(record) for record in train}
    for name, records in others.items():
        warnings += leaks([_key(record) in texts for record in records], name, "texts")
    return warnings


def check_tagged(train: Sequence[TaggedRecord], others: Mapping[str, Sequence[TaggedRecord]]) -> list[str]:
    """Return a warning per likely mistake. others: evaluation sets by name."""
    tags = Counter(tag for record in train for tag in record_tags(record))
    are_entities = marks_entities(tags)
    counts = (
        Counter(found.type for record in train for found in entities(record_tags(record))) if are_entities else tags
    )
    warnings = [*stray_tags(train, tags), *numbered_tags(tags), *imbalance(counts), *typos(counts)]
    sets = {"train": train, **others}
    for name, records in others.items():
        warnings += unseen_labels(tags, (tag for record in records for tag in record.tags or ()), name, "tags")
    if are_entities:
        for name, records in sets.items():
            warnings += loose_tags(records, name)
    sentences = {record.words for record in train}
    for name, records in others.items():
        warnings += leaks([record.words in sentences for record in records], name, "sentences")
    return warnings


def check_questions(train: Sequence[QuestionRecord], others: Mapping[str, Sequence[QuestionRecord]]) -> list[str]:
    """Return a warning per likely mistake. others: evaluation sets by name."""
    warnings = []
    unanswered = [record for record in train if not record.impossible and not record.answers]
    if unanswered:
        warnings.append(
            f"{agreeing(len(unanswered), 'questions have no answer and are not marked impossible')}: {_ids(unanswered)}"
        )
    contexts = {record.context for record in train}
    for name, records in others.items():
        warnings += leaks([record.context in contexts for record in records], name, "contexts")
    return warnings


def imbalance(counts: Mapping[str, int], advice: str = "") -> list[str]:
    """Warn of rare classes: under a tenth of the most frequent, or under 5 % of all (less if there are many classes).

    advice: which reported metric shows it.
    """
    total = sum(counts.values())
    most = max(counts, key=lambda name: counts[name], default="")
    share = min(SHARE, 0.5 / max(1, len(counts)))
    rare = [name for name, count in counts.items() if count * RATIO < counts[most] or count < share * total]
    if not rare:
        return []
    rarest = sorted(rare, key=lambda name: counts[name])
    shown = _first_of([f"'{name}' {counts[name]:,}" for name in rarest])
    warning = f"classes are unbalanced: {shown} against '{most}' {counts[most]:,} of {total:,}"
    return [f"{warning}; {advice}" if advice else warning]


def typos(counts: Mapping[str, int]) -> list[str]:
    """Warn of labels that are likely misspellings: equal but for case or spaces, or rare and a letter or two away."""
    plain = {name: _plain(name) for name in counts}
    warnings = []
    for one, other in combinations(sorted(counts), 2):
        rare, common = (one, other) if counts[one] <= counts[other] else (other, one)
        if plain[one] == plain[other] or (counts[rare] * RATIO <= counts[common] and _are_near(rare, common)):
            warnings.append(f"'{rare}' ({counts[rare]:,}) may be '{common}' ({counts[common]:,}) misspelt")
    more = len(warnings) - _TYPOS_SHOWN
    if more <= 0:
        return warnings
    return [*warnings[:_TYPOS_SHOWN], f"and {counted(more, 'more label')} may be misspelt like these"]


def unseen_labels(
    known: Collection[str], found: Iterable[str], where: str, what: str, whose: str = "train"
) -> list[str]:
    """Warn of labels of an evaluation set that train, or the model, lacks."""
    counts = Counter(name for name in found if name not in known)
    if not counts:
        return []
    shown = _first_of([f"'{name}' ({count:,})" for name, count in counts.most_common()])
    return [f"{where} has {what} that {whose} lacks: {shown}; the model cannot predict them"]


def unlabelled(known: Mapping[str, int], counts: Mapping[str, int], where: str) -> list[str]:
    """Warn of the label -1 if train's other labels are 0, 1, ...: in datasets of the hub it marks unlabelled texts."""
    others = set(known) - {_NO_LABEL}
    if _NO_LABEL not in counts or "0" not in others or not all(name.isdecimal() for name in others):
        return []
    return [
        f"{where} has the label '{_NO_LABEL}' {counts[_NO_LABEL]:,} times, taken for a class of its own; if it means "
        f"'no label', as in datasets of the hub, remove those records"
    ]


def contradictions(records: Sequence[TextRecord]) -> list[str]:
    """Warn of texts that occur with different labels."""
    labels: dict[tuple[str, str | None], set[object]] = defaultdict(set)
    for record in records:
        labels[_key(record)].add(record.label)
    some = [record for record in records if len(labels[_key(record)]) > 1]
    texts = {_key(record) for record in some}
    return [f"{agreeing(len(texts), 'texts occur with different labels')}: {_ids(some)}"] if some else []


def empty_texts(records: Sequence[TextRecord]) -> list[str]:
    """Warn of records without text."""
    some = [record for record in records if not record.text.strip()]
    return [f"{agreeing(len(some), 'texts are empty')}: {_ids(some)}"] if some else []


def leaks(is_in_train: Sequence[bool], where: str, what: str) -> list[str]:
    """Warn of evaluation records that are also in train."""
    count = sum(is_in_train)
    if not count:
        return []
    return [f"{count:,} of the {len(is_in_train):,} {what} of {where} are also in train; their scores are too high"]


def stray_tags(records: Sequence[TaggedRecord], counts: Mapping[str, int]) -> list[str]:
    """Warn of the few tags that are not BIO where nearly all are. counts: of the tags of `records`."""
    stray = unmarked(counts)
    few = len(stray) == 1 or sum(counts[name] for name in stray) <= STRAY * sum(counts.values())
    if not stray or not few or len(counts) - len(stray) < 2 or not marks_entities(set(counts) - stray):
        return []
    where = [record for record in records if not stray.isdisjoint(record.tags or ())]
    shown = _first_of([f"'{name}' {counts[name]:,}" for name in sorted(stray)])
    return [
        f"all tags are BIO except {shown}, in the sentences at {_ids(where)}: because of them the accuracy of tags is "
        f"measured, not F1 of entities; correct them if they are mistakes"
    ]


def numbered_tags(counts: Mapping[str, int]) -> list[str]:
    """Warn of tags that are numbers, as the Hugging Face hub has them: their names may mark entities."""
    if not all(name.removeprefix("-").isdecimal() for name in counts):
        return []
    shown = listing([str(number) for number in sorted(map(int, counts))], _SHOWN)
    return [
        f"tags are numbers ({shown}), so the accuracy of tags is measured, not F1 of entities; name them with "
        f"columns.label-names, as in O,B-PER,I-PER"
    ]


def loose_tags(records: Sequence[TaggedRecord], where: str) -> list[str]:
    """Warn of I- tags that follow no tag of their type."""
    loose: list[TaggedRecord] = []
    begun = 0
    for record in records:
        split = [("O", ""), *map(split_tag, record.tags or ())]
        begun += sum(mark in ("B", "S") for mark, _ in split)
        for (_, before), (mark, type_) in pairwise(split):
            if mark == "I" and before != type_:
                loose.append(record)
    if not loose:
        return []
    if len(loose) > begun:
        return [
            f"{where} begins most entities with I- (IOB1 or IO); they are counted correctly, but B- would be clearer"
        ]
    return [f"{where} has {len(loose):,} I- tags that follow no tag of their type: {_ids(loose)}"]


def edit_distance(one: str, other: str) -> int:
    """Return the number of letters to insert, delete or replace (Levenshtein 1966)."""
    above = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        row = [i]
        for j, another in enumerate(other, 1):
            row.append(min(row[-1] + 1, above[j] + 1, above[j - 1] + (letter != another)))
        above = row
    return above[-1]


def _are_near(one: str, other: str) -> bool:
    shorter = min(len(one), len(other))
    # Labels that differ only in digits are different numbers: neither of "E11.8" and "E11.9" is misspelt.
    if abs(len(one) - len(other)) > 2 or _DIGITS.sub("", one) == _DIGITS.sub("", other):
        return False
    # "LOC" and "ORG" are two letters apart, "PER" and "PERS" one: at most a third of a word may differ.
    return edit_distance(one, other) <= min(2, shorter // 3)


def _plain(name: str) -> str:
    bare = re.sub(r"[\s_-]", "", name.casefold())
    return name if not bare or bare.isdecimal() else bare  # "1" and "-1" are different labels


def _key(record: TextRecord) -> tuple[str, str | None]:
    pair = record.text_pair
    return " ".join(record.text.split()), None if pair is None else " ".join(pair.split())


def _ids(records: Sequence[TextRecord | TaggedRecord | QuestionRecord]) -> str:
    return listing(list(dict.fromkeys(record.id for record in records)), _SHOWN)


def _first_of(items: Sequence[str]) -> str:
    more = len(items) - _SHOWN
    return ", ".join(items[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
