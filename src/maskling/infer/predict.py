"""Whatever a task model was made for, done to whatever a person gives it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from maskling.data.labelled.records import QuestionRecord, TaggedRecord, TextRecord
from maskling.errors import SettingsError
from maskling.infer.answering import predict_answers
from maskling.infer.classifying import predict_texts
from maskling.infer.judge import Judge
from maskling.infer.predictions import Predicted
from maskling.infer.reader import Reader
from maskling.infer.rows import batch_budget
from maskling.infer.tagging import predict_tags

Asked = str | Sequence[str] | TextRecord | TaggedRecord | QuestionRecord


def predict_all(
    reader: Reader,
    judge: Judge,
    asked: Iterable[Asked],
    *,
    threshold: float | None = None,
    n_best: int = 3,
    allow_none: bool | None = None,
    batch_tokens: int | None = None,
) -> Predicted:
    """Predictions for texts, pairs, sentences or questions, whichever the model judges.

    asked: for classify, multi-label and regress texts or pairs of them; for tag texts or lists of words; for answer
    pairs of a question and a context; or the records of a labelled file. threshold: left out, what the model was
    judged with. The other arguments: see `predict_texts`,
    `predict_answers` and `embed_texts`. Raises SettingsError for what is none of them.
    """
    batch_tokens = batch_budget(batch_tokens, reader.compute)
    if n_best < 1:
        raise SettingsError(f"n_best is {n_best}; ask for 1 answer or more")
    threshold = judge.head_config.judging.threshold if threshold is None else threshold
    if not 0 <= threshold <= 1:
        raise SettingsError(f"threshold is {threshold}; it is a probability, from 0 to 1")
    tokenizer, longest = reader.tokenizer, reader.max_length
    match judge.head_config.kind:
        case "tag":
            sentences = [_sentence(one) for one in asked]
            return predict_tags(judge, tokenizer, longest, sentences, batch_tokens=batch_tokens)
        case "answer":
            questions = [_question(one) for one in asked]
            return predict_answers(
                judge,
                tokenizer,
                longest,
                questions,
                n_best=n_best,
                allow_none=allow_none,
                batch_tokens=batch_tokens,
            )
        case _:
            texts = [_text(one) for one in asked]
            return predict_texts(judge, tokenizer, longest, texts, threshold=threshold, batch_tokens=batch_tokens)


def _text(asked: Any) -> TextRecord:
    match asked:
        case TextRecord():
            return asked
        case str():
            return TextRecord("", asked)
        case [str(first), str(second)]:
            return TextRecord("", first, second)
    raise SettingsError(f"this model judges texts, and pairs of them as tuples of two, not {_shown(asked)}")


def _sentence(asked: Any) -> str | Sequence[str]:
    match asked:
        case TaggedRecord():
            return asked.words
        case TextRecord():
            return asked.text
        case str():
            return asked
        case list() | tuple() if all(isinstance(word, str) for word in asked):
            return asked
    raise SettingsError(f"this model tags words: give texts, or sentences as lists of words, not {_shown(asked)}")


def _question(asked: Any) -> QuestionRecord:
    match asked:
        case QuestionRecord():
            return asked
        case [str(question), str(context)]:
            return QuestionRecord("", question, context)
    raise SettingsError(
        f"this model answers questions: give pairs of a question and the text that answers it, not {_shown(asked)}"
    )


def _shown(value: Any) -> str:
    line = repr(value)
    return line if len(line) <= 60 else f"{line[:57]}..."
