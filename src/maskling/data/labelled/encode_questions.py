"""Questions with pieces of their context as sequences, and where in them the answers are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskling.arrays import Int64Array
from maskling.data.labelled.encode_texts import SpanTargets, Windows, framed, room_in, spread, windows_of
from maskling.data.labelled.records import QuestionRecord
from maskling.errors import SettingsError
from maskling.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True)
class AnswerWindows:
    """Question and context, in as many windows as the context takes.

    windows: of all records. context: (w,) int64, the place in each window where the context begins, and context_end
    the one after its end. begins, ends: (t,) int32, the characters of the context that each token of `windows` stands
    for, `ends` the one after the last; -1 for tokens that are not of the context.
    cut: how many questions lost their end.
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
    """Encode [CLS] question [SEP] context [SEP], the context in windows that share `overlap` tokens or a few more.

    overlap: no more than half of what the question leaves; max_question: tokens of a question, its end is cut off.
    Raises SettingsError where there is no room.
    """
    room = room_in(tokenizer, max_length, 2, least=max_question + 8)
    if overlap < 0 or max_question < 1:
        raise SettingsError(f"overlap ({overlap}) and max_question ({max_question}) must not be negative")
    questions = tokenizer.encode_batch([record.question for record in records])
    # The questions of a paragraph come one after the other: it is encoded once.
    distinct = list(dict.fromkeys(record.context for record in records))
    place = {text: number for number, text in enumerate(distinct)}
    encoded = tokenizer.encode_with_offsets(distinct)

    parts: list[tuple[int, NDArray[np.int32], int]] = []
    bounds: list[tuple[int, int]] = []
    begins: list[NDArray[np.int32]] = [np.zeros(0, np.int32)]
    ends: list[NDArray[np.int32]] = [np.zeros(0, np.int32)]
    cut = 0
    for number, (record, question) in enumerate(zip(records, questions, strict=True)):
        cut += len(question) > max_question
        asked = question.ids[:max_question]
        text = encoded[place[record.context]]
        left = room - len(asked)
        for some in spread(len(text.ids), left, min(overlap, left // 2)):
            ids, second = framed(tokenizer, asked, text.ids[some])
            first = len(asked) + 1 + tokenizer.separators
            parts.append((number, ids, second))
            bounds.append((first, len(ids) - 1))
            for into, values in ((begins, text.begins), (ends, text.ends)):
                into.append(np.full(len(ids), -1, np.int32))
                into[-1][first:-1] = values[some]
    context = np.array(bounds, np.int64).reshape(-1, 2)
    return AnswerWindows(
        windows_of(parts), context[:, 0], context[:, 1], np.concatenate(begins), np.concatenate(ends), cut
    )


def span_targets(records: Sequence[QuestionRecord], encoded: AnswerWindows) -> SpanTargets:
    """The first answer of each question, in the windows that hold it whole; [CLS] in the others.

    A question whose answer is not where it says, or which has none and is not impossible, has the weight 0.
    """
    windows = encoded.windows
    starts, ends = np.zeros(len(windows), np.int64), np.zeros(len(windows), np.int64)
    weights = np.ones(len(windows), np.float32)
    for number, (record, first) in enumerate(zip(windows.record.tolist(), windows.first.tolist(), strict=True)):
        answer = next((answer for answer in records[record].answers if answer.start >= 0 and answer.text), None)
        if answer is None:
            weights[number] = records[record].impossible
            continue
        some = slice(first + int(encoded.context[number]), first + int(encoded.context_end[number]))
        found = tokens_of(encoded.begins[some], encoded.ends[some], answer.start, answer.end)
        if found is not None:
            starts[number], ends[number] = np.array(found) + encoded.context[number]
    return SpanTargets(starts, ends, weights)


def tokens_of(begins: NDArray[np.int32], ends: NDArray[np.int32], start: int, end: int) -> tuple[int, int] | None:
    """The first and last token of characters start to end - 1, or None if the tokens do not hold them all.

    begins, ends: (n,) int32, the characters of each token.
    """
    touched = np.flatnonzero((begins < end) & (ends > start))
    if not len(touched):
        return None
    first, last = int(touched[0]), int(touched[-1])
    # At the edge of a window, the token that would hold the rest of the answer may lie outside.
    if first == 0 and begins[0] > start:
        return None
    if last == len(ends) - 1 and ends[-1] < end:
        return None
    return first, last
