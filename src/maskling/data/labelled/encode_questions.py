"""Questions with windows of their context as token sequences, and the positions of the answers in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskling.arrays import Int64Array
from maskling.data.labelled.encode_texts import (
    SpanTargets,
    Windows,
    add_special_tokens,
    join_windows,
    text_room,
    window_slices,
)
from maskling.data.labelled.records import QuestionRecord
from maskling.errors import SettingsError
from maskling.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True)
class AnswerWindows:
    """Question and context, in as many windows as the context needs.

    context, context_end: (w,) int64, position at which the context begins in each window, and the one after its end.
    begins, ends: (t,) int32, the characters of the context that each token of `windows` covers, `ends` exclusive; -1
    for tokens outside the context. cut: number of questions that lost their end.
    """

    windows: Windows
    context: Int64Array
    context_end: Int64Array
    begins: NDArray[np.int32]
    ends: NDArray[np.int32]
    cut: int


def encode_questions(
    records: Sequence[QuestionRecord],
    tokenizer: Tokenizer,
    max_length: int,
    *,
    overlap: int = 128,
    max_question: int = 64,
) -> AnswerWindows:
    """Encode [CLS] question [SEP] context [SEP], the context in windows that share at least `overlap` tokens.

    overlap: at most half of the room beside the question. max_question: tokens per question; its end is cut off.
    Raises SettingsError if there is no room for text.
    """
    room = text_room(tokenizer, max_length, 2, least=max_question + 8)
    if overlap < 0 or max_question < 1:
        raise SettingsError(f"overlap ({overlap}) and max_question ({max_question}) must not be negative")
    questions = tokenizer.encode_batch([record.question for record in records])
    # The questions of a paragraph share its context: it is encoded once.
    distinct = list(dict.fromkeys(record.context for record in records))
    context_index = {text: index for index, text in enumerate(distinct)}
    encoded = tokenizer.encode_with_offsets(distinct)

    parts: list[tuple[int, NDArray[np.int32], int]] = []
    bounds: list[tuple[int, int]] = []
    begins: list[NDArray[np.int32]] = [np.zeros(0, np.int32)]
    ends: list[NDArray[np.int32]] = [np.zeros(0, np.int32)]
    cut = 0
    for index, (record, question) in enumerate(zip(records, questions, strict=True)):
        cut += len(question) > max_question
        question_ids = question.ids[:max_question]
        text = encoded[context_index[record.context]]
        rest = room - len(question_ids)
        for some in window_slices(len(text.ids), rest, min(overlap, rest // 2)):
            ids, second = add_special_tokens(tokenizer, question_ids, text.ids[some])
            first = len(question_ids) + 1 + tokenizer.num_separators
            parts.append((index, ids, second))
            bounds.append((first, len(ids) - 1))
            for into, values in ((begins, text.begins), (ends, text.ends)):
                into.append(np.full(len(ids), -1, np.int32))
                into[-1][first:-1] = values[some]
    context = np.array(bounds, np.int64).reshape(-1, 2)
    return AnswerWindows(
        join_windows(parts), context[:, 0], context[:, 1], np.concatenate(begins), np.concatenate(ends), cut
    )


def span_targets(records: Sequence[QuestionRecord], encoded: AnswerWindows) -> SpanTargets:
    """Return the first answer of each question in the windows that hold all of it, and [CLS] in the others.

    A question whose answer has no position, or which has none and is not impossible, gets weight 0.
    """
    windows = encoded.windows
    starts, ends = np.zeros(len(windows), np.int64), np.zeros(len(windows), np.int64)
    weights = np.ones(len(windows), np.float32)
    for window, (record, first) in enumerate(zip(windows.record.tolist(), windows.first.tolist(), strict=True)):
        answer = next((answer for answer in records[record].answers if answer.start >= 0 and answer.text), None)
        if answer is None:
            weights[window] = records[record].impossible
            continue
        some = slice(first + int(encoded.context[window]), first + int(encoded.context_end[window]))
        found = tokens_of(encoded.begins[some], encoded.ends[some], answer.start, answer.end)
        if found is not None:
            starts[window], ends[window] = np.array(found) + encoded.context[window]
    return SpanTargets(starts, ends, weights)


def tokens_of(begins: NDArray[np.int32], ends: NDArray[np.int32], start: int, end: int) -> tuple[int, int] | None:
    """Return the first and last token of characters start to end - 1, or None if the tokens do not cover them all.

    begins, ends: (n,) int32, the characters that each token covers.
    """
    overlapping = np.flatnonzero((begins < end) & (ends > start))
    if not len(overlapping):
        return None
    first, last = int(overlapping[0]), int(overlapping[-1])
    # At the edge of a window, the token that covers the rest of the answer may be outside.
    if first == 0 and begins[0] > start:
        return None
    if last == len(ends) - 1 and ends[-1] < end:
        return None
    return first, last
