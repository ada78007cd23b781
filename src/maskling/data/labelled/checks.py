"""What is likely wrong with labelled sets, said before anything is learned from them."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations, pairwise

from maskling.data.labelled.records import QuestionRecord, TaggedRecord, TextRecord, label_names, record_tags
from maskling.metrics.entities import entities, marks_entities, unmarked

# A class this much rarer than the commonest, or under this share of all, is called rare.
RATIO = 10
SHARE = 0.05
# Tags that are no BIO are called stray up to this share of all.
STRAY = 0.01
_SHOWN = 3
_TYPOS_SHOWN = 10
# What the hub's sets have for texts without a label, such as GLUE's test sets.
_NO_LABEL = "-1"
_DIGITS = re.compile(r"\d")


def check_texts(
    train: Sequence[TextRecord], others: Mapping[str, Sequence[TextRecord]], unbalanced: str = ""
) -> list[str]:
    """A line for each thing a person should look at. others: sets to be judged on, by name ('dev', 'test').

    unbalanced: which number to look at where classes are.
    """
    said = []
    if not isinstance(train[0].label, float):
        counts = Counter(name for record in train for name in label_names(record))
        said += [*imbalance(counts, unbalanced), *typos(counts), *unlabelled(counts, counts, "train")]
        for name, records in others.items():
            found = Counter(label for record in records if record.label is not None for label in label_names(record))
            said += [*unseen(counts, found.elements(), name, "labels"), *unlabelled(counts, found, name)]
        said += contradictions(train)
    said += empty_texts(train)
    texts = {_key(record) for record in train}
    for name, records in others.items():
        said += leaks([_key(record) in texts for record in records], name, "texts")
    return said


def check_tagged(train: Sequence[TaggedRecord], others: Mapping[str, Sequence[TaggedRecord]]) -> list[str]:
    """A line for each thing a person should look at. others: sets to be judged on, by name."""
    tags = Counter(tag for record in train for tag in record_tags(record))
    are_entities = marks_entities(tags)
    counts = (
        Counter(found.type for record in train for found in entities(record_tags(record))) if are_entities else tags
    )
    said = [*stray_tags(train, tags), *imbalance(counts), *typos(counts)]
    sets = {"train": train, **others}
    for name, records in others.items():
        said += unseen(tags, (tag for record in records for tag in record.tags or ()), name, "tags")
    if are_entities:
        for name, records in sets.items():
            said += loose_tags(records, name)
    sentences = {record.words for record in train}
    for name, records in others.items():
        said += leaks([record.words in sentences for record in records], name, "sentences")
    return said


def check_questions(train: Sequence[QuestionRecord], others: Mapping[str, Sequence[QuestionRecord]]) -> list[str]:
    """A line for each thing a person should look at. others: sets to be judged on, by name."""
    said = []
    unanswered = [record for record in train if not record.impossible and not record.answers]
    if unanswered:
        said.append(f"{len(unanswered):,} questions have no answer and are not impossible: {_places(unanswered)}")
    contexts = {record.context for record in train}
    for name, records in others.items():
        said += leaks([record.context in contexts for record in records], name, "contexts")
    return said


def imbalance(counts: Mapping[str, int], advice: str = "") -> list[str]:
    """Classes that are rare: under a tenth of the commonest, or under 5 % of all (less where there are many).

    advice: which of the numbers that are reported shows it.
    """
    total = sum(counts.values())
    most = max(counts, key=lambda name: counts[name], default="")
    share = min(SHARE, 0.5 / max(1, len(counts)))
    rare = [name for name, count in counts.items() if count * RATIO < counts[most] or count < share * total]
    if not rare:
        return []
    shown = ", ".join(f"'{name}' {counts[name]:,}" for name in sorted(rare, key=lambda name: counts[name])[:_SHOWN])
    more = f" and {len(rare) - _SHOWN} more" if len(rare) > _SHOWN else ""
    said = f"classes are unbalanced: {shown}{more} against '{most}' {counts[most]:,} of {total:,}"
    return [f"{said}; {advice}" if advice else said]


def typos(counts: Mapping[str, int]) -> list[str]:
    """Pairs of labels of which one is likely the other misspelt: by case or spaces, or by a letter or two and rare."""
    plain = {name: _plain(name) for name in counts}
    said = []
    for one, other in combinations(sorted(counts), 2):
        rare, common = (one, other) if counts[one] <= counts[other] else (other, one)
        if plain[one] == plain[other] or (counts[rare] * RATIO <= counts[common] and _are_near(rare, common)):
            said.append(f"'{rare}' ({counts[rare]:,}) may be '{common}' ({counts[common]:,}) misspelt")
    more = len(said) - _TYPOS_SHOWN
    return said if more <= 0 else [*said[:_TYPOS_SHOWN], f"and {more:,} more labels may be misspelt like these"]


def unseen(known: Mapping[str, int], found: Iterable[str], where: str, what: str) -> list[str]:
    """Labels of another set that nothing can be learned about."""
    counts = Counter(name for name in found if name not in known)
    if not counts:
        return []
    shown = ", ".join(f"'{name}' ({count:,})" for name, count in counts.most_common(_SHOWN))
    more = f" and {len(counts) - _SHOWN} more" if len(counts) > _SHOWN else ""
    return [f"{where} has {what} that train lacks: {shown}{more}; they cannot be told rightly"]


def unlabelled(known: Mapping[str, int], counts: Mapping[str, int], where: str) -> list[str]:
    """-1 where train's other labels count from 0: in the hub's sets it says that there is no label."""
    others = set(known) - {_NO_LABEL}
    if _NO_LABEL not in counts or "0" not in others or not all(name.isdecimal() for name in others):
        return []
    return [
        f"{where} has the label '{_NO_LABEL}' {counts[_NO_LABEL]:,} times, taken for a class of its own; where it says "
        f"'no label', as in the hub's sets, leave those records out"
    ]


def contradictions(records: Sequence[TextRecord]) -> list[str]:
    """Texts that occur with several labels."""
    labels: dict[tuple[str, str | None], set[object]] = defaultdict(set)
    for record in records:
        labels[_key(record)].add(record.label)
    some = [record for record in records if len(labels[_key(record)]) > 1]
    texts = {_key(record) for record in some}
    return [f"{len(texts):,} texts occur with different labels: {_places(some)}"] if some else []


def empty_texts(records: Sequence[TextRecord]) -> list[str]:
    """Records without text."""
    some = [record for record in records if not record.text.strip()]
    return [f"{len(some):,} texts are empty: {_places(some)}"] if some else []


def leaks(is_in_train: Sequence[bool], where: str, what: str) -> list[str]:
    """What a model will be judged on although it learned it."""
    count = sum(is_in_train)
    if not count:
        return []
    return [f"{count:,} of the {len(is_in_train):,} {what} of {where} are also in train; scores there are flattered"]


def stray_tags(records: Sequence[TaggedRecord], counts: Mapping[str, int]) -> list[str]:
    """The few tags that are no BIO where nearly all are. counts: of the tags of `records`."""
    stray = unmarked(counts)
    few = len(stray) == 1 or sum(counts[name] for name in stray) <= STRAY * sum(counts.values())
    if not stray or not few or len(counts) - len(stray) < 2 or not marks_entities(set(counts) - stray):
        return []
    where = [record for record in records if not stray.isdisjoint(record.tags or ())]
    shown = ", ".join(f"'{name}' {counts[name]:,}" for name in sorted(stray)[:_SHOWN])
    more = f" and {len(stray) - _SHOWN} more" if len(stray) > _SHOWN else ""
    return [
        f"all tags are BIO but {shown}{more}, in the sentences at {_places(where)}: because of it the accuracy of tags "
        f"is measured, not F1 of entities; mend it if it is a slip"
    ]


def loose_tags(records: Sequence[TaggedRecord], where: str) -> list[str]:
    """I- tags that follow no tag of their type."""
    loose: list[TaggedRecord] = []
    begun = 0
    for record in records:
        begun += sum(tag[:1] in "BS" for tag in record.tags or ())
        for before, tag in pairwise(("O", *(record.tags or ()))):
            if tag.startswith("I-") and before[2:] != tag[2:]:
                loose.append(record)
    if not loose:
        return []
    if len(loose) > begun:
        return [f"{where} begins most entities with I- (IOB1 or IO); they are counted rightly, but B- would be clearer"]
    return [f"{where} has {len(loose):,} I- tags that follow no tag of their type: {_places(loose)}"]


def edit_distance(one: str, other: str) -> int:
    """Letters to insert, leave out or replace (Levenshtein 1966)."""
    above = list(range(len(other) + 1))
    for number, letter in enumerate(one, 1):
        row = [number]
        for place, another in enumerate(other, 1):
            row.append(min(row[-1] + 1, above[place] + 1, above[place - 1] + (letter != another)))
        above = row
    return above[-1]


def _are_near(one: str, other: str) -> bool:
    shorter = min(len(one), len(other))
    # What differs in digits alone is another number: of "E11.8" and "E11.9" none is misspelt.
    if abs(len(one) - len(other)) > 2 or _DIGITS.sub("", one) == _DIGITS.sub("", other):
        return False
    # "LOC" and "ORG" are two letters apart; so are "PER" and "PERS" and a third of a word may differ at most.
    return edit_distance(one, other) <= min(2, shorter // 3)


def _plain(name: str) -> str:
    bare = re.sub(r"[\s_-]", "", name.casefold())
    return name if not bare or bare.isdecimal() else bare  # "1" and "-1" are two


def _key(record: TextRecord) -> tuple[str, str | None]:
    pair = record.text_pair
    return " ".join(record.text.split()), None if pair is None else " ".join(pair.split())


def _places(records: Sequence[TextRecord | TaggedRecord | QuestionRecord]) -> str:
    ids = list(dict.fromkeys(record.id for record in records))
    return ", ".join(ids[:_SHOWN]) + (", ..." if len(ids) > _SHOWN else "")
