"""Whatever a task model was made for, done to whatever a person gives it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskling.data.labelled.encode_questions import AnswerWindows, encode_questions
from maskling.data.labelled.encode_tags import encode_tagged, join_words
from maskling.data.labelled.encode_texts import Windows, encode_texts
from maskling.data.labelled.records import QuestionRecord, TaggedRecord, TextRecord
from maskling.errors import SettingsError
from maskling.infer.forward import BATCH_TOKENS, ModelRunner, batch_budget
from maskling.infer.results import Answered, Entity, Label, Labels, Number, Predicted, Span, Tagged, Word
from maskling.infer.task_logits import Float32Array, TaskScorer
from maskling.metrics.entities import entities, marks_entities
from maskling.tokenizer.characters import SPACE, kinds, starts
from maskling.tokenizer.tokenizer import Tokenizer

# FOLDED DOCS
# [classifying] Labels and numbers for texts and pairs.
# [tagging] Tags for words, and the entities that tags make.
# [answering] Answers to questions: the best places in a context.


Asked = str | Sequence[str] | TextRecord | TaggedRecord | QuestionRecord


def predict_all(
    reader: ModelRunner,
    judge: TaskScorer,
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
    threshold = judge.head_config.answer_settings.threshold if threshold is None else threshold
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


def predict_texts(
    judge: TaskScorer,
    tokenizer: Tokenizer,
    max_length: int,
    records: Sequence[TextRecord],
    *,
    threshold: float = 0.5,
    batch_tokens: int = BATCH_TOKENS,
) -> Predicted:
    """Judge texts and pairs; a text longer than the model sees by the mean of the logits of its windows.

    threshold: what the probability of a label must reach, where a text may have several.
    """
    encoded = encode_texts(records, tokenizer, max_length)
    logits = pool_windows(judge.texts(encoded.windows, batch_tokens), encoded.windows, len(records))
    names = judge.head_config.labels
    if judge.head_config.kind == "regress":
        return Predicted([Number(value) for value in logits[:, 0].tolist()], encoded.cut)
    if judge.head_config.kind == "multi-label":
        ranked = [_ranked(names, row) for row in 1 / (1 + np.exp(-logits))]
        chosen = [tuple(name for name, score in scores.items() if score >= threshold) for scores in ranked]
        return Predicted([Labels(*both) for both in zip(chosen, ranked, strict=True)], encoded.cut)
    ranked = [_ranked(names, row) for row in softmax(logits)]
    return Predicted([Label(*next(iter(scores.items())), scores) for scores in ranked], encoded.cut)


def pool_windows(logits: Float32Array, windows: Windows, records: int) -> NDArray[np.float64]:
    """The mean over the windows of each record, each weighted by its part of the tokens, as its loss is in training.

    logits: (w, labels); records: how many, each with at least one window. Returns (records, labels).
    """
    total = np.zeros((records, logits.shape[1]))
    np.add.at(total, windows.record, logits * windows.shares[:, None].astype(np.float64))
    return total


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Probabilities over the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True).astype(np.float64))
    shares: NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def _ranked(names: Sequence[str], scores: NDArray[np.float64]) -> dict[str, float]:
    order = np.argsort(-scores, kind="stable").tolist()
    return {names[index]: float(scores[index]) for index in order}


def predict_tags(
    judge: TaskScorer,
    tokenizer: Tokenizer,
    max_length: int,
    sentences: Sequence[str | Sequence[str]],
    *,
    batch_tokens: int = BATCH_TOKENS,
) -> Predicted:
    """Tag words: those given, or those of a text (see `words_in`).

    Each is judged by its first token, with the context of the window that has most of it. Adjacent words with tags
    of one entity, as BIO and its kin mark them, come out as entities too.
    """
    split = [words_in(sentence) if isinstance(sentence, str) else _given(sentence) for sentence in sentences]
    records = [TaggedRecord("", tuple(words)) for _, words, _ in split]
    encoded = encode_tagged(records, tokenizer, max_length)
    scores = np.zeros((sum(len(record.words) for record in records), len(judge.head_config.labels)))
    scores[encoded.words.words] = softmax(judge.words(encoded.windows, encoded.words, batch_tokens))
    best = scores.argmax(axis=1)
    names = judge.head_config.labels
    with_entities = marks_entities(names)

    tagged, first = [], 0
    for text, texts, begins in split:
        last = first + len(texts)
        words = tuple(
            Word(word, names[label], float(score), begin, begin + len(word))
            for word, begin, label, score in zip(
                texts, begins, best[first:last].tolist(), scores[first:last].max(axis=1).tolist(), strict=True
            )
        )
        tagged.append(Tagged(text, words, tuple(_entities(text, words)) if with_entities else ()))
        first = last
    return Predicted(tagged, encoded.cut)


def words_in(text: str) -> tuple[str, list[str], list[int]]:
    """A text, its words and the character each begins at: what white space leaves, marks and Chinese characters alone.

    As BERT cuts text before it looks into its vocabulary. Whoever has words of another kind gives them as words.
    """
    begins = np.flatnonzero(starts(text, jieba=False))
    black = np.flatnonzero(kinds(text) != SPACE)
    ends = black[np.searchsorted(black, [*begins[1:], len(text)]) - 1] + 1 if len(begins) else begins
    return text, [text[begin:end] for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)], begins.tolist()


def _entities(text: str, words: Sequence[Word]) -> Iterator[Entity]:
    for found in entities([word.tag for word in words]):
        some = words[found.first : found.last]
        start, end = some[0].start, some[-1].end
        yield Entity(text[start:end], found.type, sum(word.score for word in some) / len(some), start, end)


def _given(words: Sequence[str]) -> tuple[str, list[str], list[int]]:
    text, begins = join_words(words)
    return text, list(words), begins


def predict_answers(
    judge: TaskScorer,
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
    judging = judge.head_config.answer_settings
    allow_none = judging.allow_none if allow_none is None else allow_none
    # A question may take a quarter of a short sequence, so that a context still fits.
    encoded = encode_questions(records, tokenizer, max_length, max_question=min(judging.max_question, max_length // 4))
    logits = judge.spans(encoded.windows, batch_tokens)
    found = best_spans(records, encoded, logits, n_best=n_best, allow_none=allow_none, longest=judging.max_answer)
    return Predicted(found, encoded.cut)


def best_spans(
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
