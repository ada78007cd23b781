"""Answers to questions: the best places in a context."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from maskling.data.labelled.answer_windows import AnswerWindows, encode_questions
from maskling.data.labelled.records import QuestionRecord
from maskling.infer.classifying import softmax
from maskling.infer.judge import Float32Array, Judge
from maskling.infer.predictions import Answered, Predicted, Span
from maskling.infer.rows import BATCH_TOKENS
from maskling.tokenizer.tokenizer import Tokenizer


def predict_answers(
    judge: Judge,
    tokenizer: Tokenizer,
    max_length: int,
    records: Sequence[QuestionRecord],
    *,
    n_best: int = 3,
    allow_none: bool | None = None,
    batch_tokens: int = BATCH_TOKENS,
) -> Predicted:
    """Find the answer to each question in its context, a long one read in windows that overlap.

    n_best: how many answers to give; allow_none: answer with nothing where that is the likeliest. None does so if the
    model saw questions without answers: no other can judge that.
    """
    judging = judge.head_config.judging
    allow_none = judging.allow_none if allow_none is None else allow_none
    # A question may take a quarter of a short sequence, so that a context still fits.
    encoded = encode_questions(records, tokenizer, max_length, max_question=min(judging.max_question, max_length // 4))
    logits = judge.spans(encoded.windows, batch_tokens)
    found = answers(records, encoded, logits, n_best=n_best, allow_none=allow_none, longest=judging.max_answer)
    return Predicted(found, encoded.cut)


def answers(
    records: Sequence[QuestionRecord],
    encoded: AnswerWindows,
    logits: Float32Array,
    *,
    n_best: int = 3,
    allow_none: bool = False,
    longest: int,
) -> list[Answered]:
    """The best places of each context.

    logits: (t, 2) of starting and ending at each token of `encoded.windows`; longest: tokens of an answer.
    In each window the tokens of the context and [CLS], which stands for no answer, share the probability; a place has
    that of its start times that of its end, and of the windows that see it the best. No answer has the least of the
    windows: they all must find none.
    """
    windows = encoded.windows
    found: list[dict[tuple[int, int], float]] = [{} for _ in records]
    no_answer = np.ones(len(records))
    bounds = zip(
        windows.record.tolist(),
        windows.first.tolist(),
        encoded.context.tolist(),
        encoded.context_end.tolist(),
        strict=True,
    )
    for record, first, begin, end in bounds:
        context = slice(first + begin, first + end)
        shares = softmax(np.concatenate([logits[first : first + 1], logits[context]]).T)
        no_answer[record] = min(no_answer[record], shares[:, 0].prod())
        for start, stop, score in _best(shares[0, 1:], shares[1, 1:], n_best, longest):
            place = int(encoded.begins[context][start]), int(encoded.ends[context][stop])
            if place[0] < place[1]:  # a token may be of white space alone
                found[record][place] = max(score, found[record].get(place, 0.0))
    return [
        _answered(record.context, places, float(none), n_best, allow_none)
        for record, places, none in zip(records, found, no_answer, strict=True)
    ]


def _best(
    starts: NDArray[np.float64], ends: NDArray[np.float64], n_best: int, longest: int
) -> list[tuple[int, int, float]]:
    """The best pairs of a first and a last token, at most `longest` tokens. starts, ends: (n,) probabilities."""
    if not len(starts):
        return []
    longest = min(longest, len(starts))
    # What would end behind the last token gets a share below 0, and so comes last.
    after = np.lib.stride_tricks.sliding_window_view(np.pad(ends, (0, longest - 1), constant_values=-1.0), longest)
    scores = (starts[:, None] * after).ravel()
    n_best = min(n_best, int(np.count_nonzero(after >= 0)))
    some = np.argpartition(-scores, n_best - 1)[:n_best] if n_best < len(scores) else np.arange(len(scores))
    top = some[np.lexsort((some, -scores[some]))].tolist()
    return [(place // longest, place // longest + place % longest, float(scores[place])) for place in top]


def _answered(
    context: str, places: dict[tuple[int, int], float], none: float, n_best: int, allow_none: bool
) -> Answered:
    ranked = sorted(places.items(), key=lambda item: (-item[1], item[0]))[:n_best]
    best = tuple(Span(context[start:end], start, end, score) for (start, end), score in ranked)
    if not best or (allow_none and none > best[0].score):
        return Answered("", 0, 0, none, none, best)
    first = best[0]
    return Answered(first.text, first.start, first.end, first.score, none, best)
