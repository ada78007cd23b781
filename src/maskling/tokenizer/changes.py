"""What the normalizer of a tokenizer does to the letters and marks of a text, by script, changes of case aside."""

from __future__ import annotations

import functools
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

SAMPLE_CHARACTERS: Final = 2_000_000
_MOST_WORDS: Final = 30_000  # different words that are looked at, the most frequent ones
_JOINERS: Final = "\u200c\u200d"
# First words of Unicode names that say nothing of the script: the second word does, or the letter before.
_FORMS: Final = ("FULLWIDTH", "HALFWIDTH")
_OF_ANY_SCRIPT: Final = ("COMBINING", "ZERO", "VARIATION", "MODIFIER")
_NAMES: Final = {"CJK": "Han", "KATAKANA-HIRAGANA": "Katakana"}


@dataclass(frozen=True, slots=True)
class ScriptChanges:
    """Changes in text of one script.

    script: its name in Unicode's names of characters; characters: letters, marks and joiners; marks, letters, joiners:
    how many of them are removed; replaced: how many become others.
    """

    script: str
    characters: int
    marks: int = 0
    letters: int = 0
    joiners: int = 0
    replaced: int = 0

    @property
    def changed(self) -> int:
        """Number of characters that are removed or replaced."""
        return self.marks + self.letters + self.joiners + self.replaced

    @property
    def share(self) -> float:
        """Fraction of the characters that are removed or replaced."""
        return self.changed / max(1, self.characters)


class TextSample:
    """Words of the first texts that are added, up to a number of characters."""

    def __init__(self, characters: int = SAMPLE_CHARACTERS) -> None:
        self._left = characters
        self.words: Counter[str] = Counter()

    @property
    def is_full(self) -> bool:
        """Whether no more text is taken."""
        return self._left <= 0

    def add(self, text: str) -> None:
        """Count the words of a text."""
        self.words.update(text[: max(0, self._left)].split())
        self._left -= len(text)


def count_changes(normalized: Callable[[str], str], words: Counter[str]) -> list[ScriptChanges]:
    """Count what a normalizer changes in counted words, scripts with the largest changed share first."""
    totals: Counter[str] = Counter()
    lost: dict[str, Counter[str]] = {}
    frequent = sorted(words.items(), key=lambda item: (-item[1], item[0]))[:_MOST_WORDS]
    for word, count in frequent:
        if word.isascii():
            totals["Latin"] += count * sum(map(str.isalpha, word))
            continue
        before = Counter(_letters(word))
        for (script, _), times in before.items():
            totals[script] += count * times
        after = Counter(_letters(normalized(word)))
        if before == after:
            continue
        gone, new = before - after, after - before
        new_letters = sum(new.values())
        for (script, character), times in gone.items():
            kind = "joiners" if character in _JOINERS else "marks" if _is_mark(character) else "letters"
            if kind == "letters" and new_letters:
                replaced = min(times, new_letters)
                new_letters -= replaced
                lost.setdefault(script, Counter())["replaced"] += count * replaced
                times -= replaced
            lost.setdefault(script, Counter())[kind] += count * times
    found = [
        ScriptChanges(script, total, **{kind: n for kind, n in lost.get(script, Counter()).items() if n})
        for script, total in totals.items()
        if total
    ]
    return sorted(found, key=lambda changes: (-changes.share, -changes.characters, changes.script))


def _letters(text: str) -> Iterable[tuple[str, str]]:
    """Yield (script, character) of each letter, mark and joiner of a decomposed text, without regard to case."""
    script = ""
    before = ""
    for character in unicodedata.normalize("NFD", text.lower()).replace("ς", "σ").replace("ı", "i"):
        if character in _JOINERS or _is_mark(character) or unicodedata.category(character)[0] == "L":
            own = script_of(character)
            script = own or script
            # The lower case of İ is i, with or without its dot.
            if script and not (character == "\u0307" and before == "i"):
                yield script, character
        before = character


@functools.cache
def _is_mark(character: str) -> bool:
    return unicodedata.category(character)[0] == "M"


@functools.cache
def script_of(character: str) -> str:
    """Return the script of a character as Unicode names it ("Hangul"), or "" if it is that of the letter before."""
    first, _, rest = unicodedata.name(character, "").partition(" ")
    if first in _FORMS:
        first = rest.partition(" ")[0]
    if not first or first in _OF_ANY_SCRIPT:
        return ""
    return _NAMES.get(first, first.title())
