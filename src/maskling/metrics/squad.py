"""Exact match and F1 of extracted answers, as SQuAD computes them, and for Chinese as CMRC 2018 does."""

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
# Removed by CMRC's own program.
_CHINESE_PUNCTUATION: Final = str.maketrans("", "", "-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』")
_CHINESE_TOKEN: Final = re.compile(r"[\u4e00-\u9fa5]|[^\W\u4e00-\u9fa5]+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class AnswerScores:
    """exact: fraction of predictions that equal an answer. f1: mean overlap with the closest answer. Both 0 to 1."""

    exact: float
    f1: float
    questions: int


def score_answers(
    truth: Sequence[Sequence[str]], predicted: Sequence[str], *, chinese: bool | None = None
) -> AnswerScores:
    """Score predictions, each against its closest answer; NaN if there are none.

    truth: the answers of each question, empty if it has none. predicted: the predicted text, "" for no answer.
    chinese: compute as CMRC 2018; default: if more than half of the questions with answers have Chinese ones.
    """
    if not predicted:
        return AnswerScores(math.nan, math.nan, 0)
    if chinese is None:
        answered = [answers for answers in truth if answers]
        chinese = 2 * sum(any(map(_CHINESE.search, answers)) for answers in answered) > len(answered)
    exact, overlap = (chinese_exact_match, chinese_f1) if chinese else (exact_match, f1)
    pairs = list(zip(truth, predicted, strict=True))
    return AnswerScores(
        sum(exact(answers, text) for answers, text in pairs) / len(pairs),
        sum(overlap(answers, text) for answers, text in pairs) / len(pairs),
        len(pairs),
    )


def normalized(text: str) -> str:
    """Return text lower-cased without punctuation, articles and extra spaces (Rajpurkar et al. 2016, section 6.1)."""
    bare = text.lower().translate(_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", bare).split())


def exact_match(answers: Sequence[str], predicted: str) -> float:
    """Return 1 if the normalized prediction is one of the normalized answers, else 0. No answers match ""."""
    return float(normalized(predicted) in {normalized(answer) for answer in _real(answers)})


def f1(answers: Sequence[str], predicted: str) -> float:
    """Return the F1 of the words of a prediction against those of its closest answer.

    As in SQuAD 2.0's program, an answer of only articles and punctuation is no answer, and an empty prediction scores 1
    against no answer. 1.1's program differs only there: it gives 0.
    """
    words = normalized(predicted).split()
    return max(_overlap(normalized(answer).split(), words) for answer in _real(answers))


def chinese_exact_match(answers: Sequence[str], predicted: str) -> float:
    """Return 1 if the prediction is one of the answers, in lower case without punctuation, else 0."""
    return float(_bare(predicted) in {_bare(answer) for answer in answers or [""]})


def chinese_f1(answers: Sequence[str], predicted: str) -> float:
    """Return F1 by the longest common run of tokens of prediction and answer (Cui et al. 2019, CMRC 2018).

    Tokens are Chinese characters, other words, and punctuation. CMRC's program takes the other words from NLTK, which
    splits "don't" and the like in two; here they are split at punctuation.
    """
    tokens = _CHINESE_TOKEN.findall(_bare(predicted))
    return max(_shared(_CHINESE_TOKEN.findall(_bare(answer)), tokens) for answer in answers or [""])


def _real(answers: Sequence[str]) -> Sequence[str]:
    return [answer for answer in answers if normalized(answer)] or [""]


def _overlap(answer: Sequence[str], predicted: Sequence[str]) -> float:
    if not answer or not predicted:
        return float(answer == predicted)
    return _f1((Counter(answer) & Counter(predicted)).total(), answer, predicted)


def _shared(answer: Sequence[str], predicted: Sequence[str]) -> float:
    if not answer or not predicted:
        return float(answer == predicted)
    return _f1(_longest_run(answer, predicted), answer, predicted)


def _f1(same: int, answer: Sequence[str], predicted: Sequence[str]) -> float:
    return 2 * same / (len(answer) + len(predicted))


def _longest_run(one: Sequence[str], other: Sequence[str]) -> int:
    """Return the length of the longest run of tokens in both."""
    longest, above = 0, [0] * (len(other) + 1)
    for token in one:
        row = [0] * (len(other) + 1)
        for index, another in enumerate(other, 1):
            if token == another:
                row[index] = above[index - 1] + 1
        longest, above = max(longest, *row), row
    return longest


def _bare(text: str) -> str:
    return text.lower().strip().translate(_CHINESE_PUNCTUATION)
