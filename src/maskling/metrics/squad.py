"""How well questions were answered with pieces of text: as SQuAD counts, and for Chinese as CMRC 2018 does."""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_ARTICLES: Final = re.compile(r"\b(a|an|the)\b", re.UNICODE)
_PUNCTUATION: Final = str.maketrans("", "", string.punctuation)
_CHINESE: Final = re.compile(r"[\u4e00-\u9fa5]")
# What CMRC's own program leaves out.
_CHINESE_PUNCTUATION: Final = str.maketrans("", "", "-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』")
_CHINESE_TOKEN: Final = re.compile(r"[\u4e00-\u9fa5]|[^\W\u4e00-\u9fa5]+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class AnswerScores:
    """exact: the fraction of guesses that equal an answer. f1: the mean overlap with the nearest one. Both 0 to 1."""

    exact: float
    f1: float
    questions: int


def score_answers(truth: Sequence[Sequence[str]], guess: Sequence[str], *, chinese: bool | None = None) -> AnswerScores:
    """Score guesses, each by the answer that suits it best; NaN of none.

    truth: the answers of each question, none where it has none; guess: the text given, "" for no answer.
    chinese: count as CMRC 2018; if None, where more than half of the questions with answers have Chinese ones.
    """
    if not guess:
        return AnswerScores(math.nan, math.nan, 0)
    if chinese is None:
        answered = [answers for answers in truth if answers]
        chinese = 2 * sum(any(map(_CHINESE.search, answers)) for answers in answered) > len(answered)
    exact, overlap = (chinese_exact_match, chinese_f1) if chinese else (exact_match, f1)
    pairs = list(zip(truth, guess, strict=True))
    return AnswerScores(
        sum(exact(answers, text) for answers, text in pairs) / len(pairs),
        sum(overlap(answers, text) for answers, text in pairs) / len(pairs),
        len(pairs),
    )


def normalized(text: str) -> str:
    """Lower case, without punctuation, articles and spare white space (Rajpurkar et al. 2016, section 6.1)."""
    bare = text.lower().translate(_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", bare).split())


def exact_match(answers: Sequence[str], guess: str) -> float:
    """1 if a guess is one of the answers once both are normalized, else 0. No answers are matched by ""."""
    return float(normalized(guess) in {normalized(answer) for answer in _real(answers)})


def f1(answers: Sequence[str], guess: str) -> float:
    """The F1 of the words of a guess against those of the answer nearest to it.

    As SQuAD 2.0's program: an answer of nothing but articles and punctuation is no answer, and no answer is
    worth 1 to no guess. 1.1's program differs there alone: it gives such a pair 0.
    """
    words = normalized(guess).split()
    return max(_overlap(normalized(answer).split(), words) for answer in _real(answers))


def chinese_exact_match(answers: Sequence[str], guess: str) -> float:
    """1 if a guess is one of the answers once both are in lower case without punctuation, else 0."""
    return float(_bare(guess) in {_bare(answer) for answer in answers or [""]})


def chinese_f1(answers: Sequence[str], guess: str) -> float:
    """F1 by the longest run of tokens that a guess and an answer share (Cui et al. 2019, CMRC 2018).

    Tokens are Chinese characters, other words, and marks. CMRC's program takes the other words from NLTK, which parts
    "don't" and the like in two; here they are parted at marks.
    """
    tokens = _CHINESE_TOKEN.findall(_bare(guess))
    return max(_shared(_CHINESE_TOKEN.findall(_bare(answer)), tokens) for answer in answers or [""])


def _real(answers: Sequence[str]) -> Sequence[str]:
    return [answer for answer in answers if normalized(answer)] or [""]


def _overlap(answer: Sequence[str], guess: Sequence[str]) -> float:
    if not answer or not guess:
        return float(answer == guess)
    return _f1((Counter(answer) & Counter(guess)).total(), answer, guess)


def _shared(answer: Sequence[str], guess: Sequence[str]) -> float:
    if not answer or not guess:
        return float(answer == guess)
    return _f1(_longest_run(answer, guess), answer, guess)


def _f1(same: int, answer: Sequence[str], guess: Sequence[str]) -> float:
    return 2 * same / (len(answer) + len(guess))


def _longest_run(one: Sequence[str], other: Sequence[str]) -> int:
    """The length of the longest run of tokens in both."""
    longest, above = 0, [0] * (len(other) + 1)
    for token in one:
        row = [0] * (len(other) + 1)
        for place, another in enumerate(other, 1):
            if token == another:
                row[place] = above[place - 1] + 1
        longest, above = max(longest, *row), row
    return longest


def _bare(text: str) -> str:
    return text.lower().strip().translate(_CHINESE_PUNCTUATION)
