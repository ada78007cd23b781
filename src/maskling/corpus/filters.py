"""Quality filters: reject documents that are too short, repetitive or not natural language, and name the reason."""

from __future__ import annotations

import string
import unicodedata

from maskling.corpus.sentences import script_language
from maskling.corpus.settings import FilterSettings

TOO_SHORT = "too_short"
REPEATED_LINES = "repeated_lines"
REPEATED_WORDS = "repeated_words"
NOT_ALPHABETIC = "not_alphabetic"
REASONS = (TOO_SHORT, REPEATED_LINES, REPEATED_WORDS, NOT_ALPHABETIC)

# Words and letters are measured on three samples, so that the cost does not grow with the document.
_SAMPLE_CHARACTERS = 2000
_RUN = 5
_FEWEST_WORDS = 30
_ASCII = bytes(range(128))
_ASCII_LETTERS = string.ascii_letters.encode()
_NOT_VISIBLE_ASCII = bytes(code for code in range(256) if code > 127 or chr(code).isspace())


def rejection(text: str, settings: FilterSettings) -> str | None:
    """Return the name of the first filter that rejects a clean text, or None."""
    if not text:
        return TOO_SHORT
    if len(text) < 4 * settings.min_characters + 100 and len("".join(text.split())) < settings.min_characters:
        return TOO_SHORT
    sample = _sample(text)
    if _alphabetic(sample) < settings.min_alphabetic:
        return NOT_ALPHABETIC
    if _repeated_lines(text) > settings.max_repeated_lines:
        return REPEATED_LINES
    if _repeats_words(sample, settings.max_repeated_words):
        return REPEATED_WORDS
    return None


def _sample(text: str) -> str:
    n = _SAMPLE_CHARACTERS
    middle = len(text) // 2
    return text if len(text) <= 3 * n else f"{text[:n]}\n{text[middle : middle + n]}\n{text[-n:]}"


def _alphabetic(text: str) -> float:
    """Return the share of letters (and combining marks, as in Indic scripts) among the visible characters."""
    data = text.encode("utf-8", "surrogatepass")
    letters = len(data) - len(data.translate(None, _ASCII_LETTERS))
    others = "".join(data.translate(None, _ASCII).decode("utf-8", "surrogatepass").split())
    visible = len(data.translate(None, _NOT_VISIBLE_ASCII)) + len(others)
    letters += sum(map(str.isalpha, others))
    marks = {character for character in set(others) if unicodedata.category(character)[0] == "M"}
    letters += sum(map(others.count, marks))
    return letters / max(1, visible)


def _repeated_lines(text: str) -> float:
    """Return the share of characters in lines that repeat an earlier line."""
    lines = [line for line in text.split("\n") if line]
    if len(lines) < 2:
        return 0.0
    seen: set[str] = set()
    repeated = total = 0
    for line in lines:
        total += len(line)
        if line in seen:
            repeated += len(line)
        seen.add(line)
    return repeated / total


def _repeats_words(text: str, limit: float) -> bool:
    """Return whether more than this share of the runs of five words (in Chinese, characters) repeat an earlier run."""
    words = text.lower().split() if script_language(text) == "en" else list("".join(text.split()))
    if len(words) < _FEWEST_WORDS:
        return False

    def repeated(run: int) -> int:
        runs = list(zip(*(words[start:] for start in range(run)), strict=False))
        return len(runs) - len(set(runs))

    most = limit * (len(words) - _RUN + 1)
    # If a run of five repeats, so do its first two words, and pairs are counted in half the time.
    return repeated(2) > most and repeated(_RUN) > most
