"""Run a fine-tuned model on texts, pairs, sentences or questions, as its head expects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskling.data.labelled.encode_questions import AnswerWindows, encode_questions
from maskling.data.labelled.encode_tags import encode_tagged, join_words, words_in
from maskling.data.labelled.encode_texts import Windows, encode_texts
from maskling.data.labelled.records import QuestionRecord, TaggedRecord, TextRecord
from maskling.errors import SettingsError
from maskling.infer.forward import BATCH_TOKENS, ModelRunner, resolve_batch_tokens
from maskling.infer.results import Answered, Entity, Label, Labels, Number, Predicted, Span, Tagged, Word
from maskling.infer.task_logits import Float32Array, TaskScorer
from maskling.metrics.entities import entities, marks_entities
from maskling.tokenizer.tokenizer import Tokenizer

PredictInput = str | Sequence[str] | TextRecord | TaggedRecord | QuestionRecord


def predict_all(
    runner: ModelRunner,
    scorer: TaskScorer,
    inputs: Iterable[PredictInput],
    *,
    threshold: float | None = None,
    n_best: int = 3,
    allow_none: bool | None = None,
    batch_tokens: int | None = None,
) -> Predicted:
    """Predict on texts, pairs, sentences or questions, as the head of the model expects.

    inputs: for classify, multi-label and regress texts or pairs of texts; for tag texts or lists of words; for answer
    pairs of a question and a context; or the records of a labelled file. threshold: default: as in training. The other
    arguments: see `predict_texts`, `predict_answers` and `embed_texts`. Raises SettingsError for other inputs.
    """
    batch_tokens = resolve_batch_tokens(batch_tokens, runner.compute)
    if n_best < 1:
        raise SettingsError(f"n_best is {n_best}; set it to 1 or more")
    threshold = scorer.head_config.answer_settings.threshold if threshold is None else threshold
    if not 0 <= threshold <= 1:
        raise SettingsError(f"threshold is {threshold}; set it to a probability, from 0 to 1")
    tokenizer, longest = runner.tokenizer, runner.max_length
    match scorer.head_config.kind:
        case "tag":
            return predict_tags(scorer, tokenizer, longest, sentences_of(inputs), batch_tokens=batch_tokens)
        case "answer":
            return predict_answers(
                scorer,
                tokenizer,
                longest,
                questions_of(inputs),
                n_best=n_best,
                allow_none=allow_none,
                batch_tokens=batch_tokens,
            )
        case _:
            pairs = scorer.head_config.answer_settings.pairs
            texts = [_text(item, pairs) for item in inputs]
            return predict_texts(scorer, tokenizer, longest, texts, threshold=threshold, batch_tokens=batch_tokens)


def sentences_of(inputs: Iterable[PredictInput]) -> list[str | Sequence[str]]:
    """Return the sentences to tag. Raises SettingsError for other inputs."""
    return [_sentence(item) for item in inputs]


def questions_of(inputs: Iterable[PredictInput]) -> list[QuestionRecord]:
    """Return the questions to answer. Raises SettingsError for other inputs."""
    return [_question(item) for item in inputs]


def _text(item: Any, pairs: bool | None) -> TextRecord:
    """Return an input as a record. pairs: whether the model takes pairs of texts; None for both."""
    match item:
        case TextRecord():
            return item
        case str():
            if pairs:
                raise SettingsError(
                    f"this model takes pairs of texts: give each as a tuple of two, not {_shortened(item)}"
                )
            return TextRecord("", item)
        case [str(first), str(second)]:
            if pairs is False:
                raise SettingsError(
                    f"this model takes single texts, not pairs: give a list of texts, not {_shortened(item)}"
                )
            return TextRecord("", first, second)
    raise SettingsError(f"this model takes texts, or pairs of them as tuples of two, not {_shortened(item)}")


def _sentence(item: Any) -> str | Sequence[str]:
    match item:
        case TaggedRecord():
            return item.words
        case TextRecord():
            return item.text
        case str():
            return item
        case list() | tuple() if all(isinstance(word, str) for word in item):
            return item
    raise SettingsError(f"this model tags words: give texts, or sentences as lists of words, not {_shortened(item)}")


def _question(item: Any) -> QuestionRecord:
    match item:
        case QuestionRecord():
            return item
        case [str(question), str(context)]:
            return QuestionRecord("", question, context)
    raise SettingsError(
        f"this model answers questions: give pairs of a question and the text that answers it, not {_shortened(item)}"
    )


def _shortened(value: Any) -> str:
    line = repr(value)
    return line if len(line) <= 60 else f"{line[:57]}..."


def predict_texts(
    scorer: TaskScorer,
    tokenizer: Tokenizer,
    max_length: int,
    records: Sequence[TextRecord],
    *,
    threshold: float = 0.5,
    batch_tokens: int = BATCH_TOKENS,
) -> Predicted:
    """Predict on texts and pairs. A text longer than the model's maximum length has its windows' logits averaged.

    threshold: least probability of a predicted label, for multi-label.
    """
    encoded = encode_texts(records, tokenizer, max_length)
    logits = pool_windows(scorer.texts(encoded.windows, batch_tokens), encoded.windows, len(records))
    names = scorer.head_config.labels
    if scorer.head_config.kind == "regress":
        return Predicted([Number(value) for value in logits[:, 0].tolist()], encoded.cut)
    if scorer.head_config.kind == "multi-label":
        ranked = [_ranked(names, row) for row in 1 / (1 + np.exp(-logits))]
        chosen = [tuple(name for name, score in scores.items() if score >= threshold) for scores in ranked]
        return Predicted([Labels(*both) for both in zip(chosen, ranked, strict=True)], encoded.cut)
    ranked = [_ranked(names, row) for row in softmax(logits)]
    return Predicted([Label(*next(iter(scores.items())), scores) for scores in ranked], encoded.cut)


def pool_windows(logits: Float32Array, windows: Windows, records: int) -> NDArray[np.float64]:
    """Return each record's mean over its windows, weighted by tokens, as its loss is in training: (records, labels).

    logits: (w, labels). records: number of records, each with at least one window.
    """
    total = np.zeros((records, logits.shape[1]))
    np.add.at(total, windows.record, logits * windows.shares[:, None].astype(np.float64))
    return total


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return probabilities over the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True).astype(np.float64))
    probabilities: NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
    return probabilities


def _ranked(names: Sequence[str], scores: NDArray[np.float64]) -> dict[str, float]:
    order = np.argsort(-scores, kind="stable").tolist()
    return {names[index]: float(scores[index]) for index in order}


def predict_tags(
    scorer: TaskScorer,
    tokenizer: Tokenizer,
    max_length: int,
    sentences: Sequence[str | Sequence[str]],
    *,
    batch_tokens: int = BATCH_TOKENS,
) -> Predicted:
    """Tag words: the given ones, or those of a text (see `words_in`).

    Each is predicted from its first token, in the window that has the most context of it. Adjacent words with tags of
    one entity, in BIO or a related scheme, are also returned as entities.
    """
    split = [split_words(sentence) for sentence in sentences]
    records = [TaggedRecord("", tuple(words)) for _, words, _ in split]
    encoded = encode_tagged(records, tokenizer, max_length)
    scores = np.zeros((sum(len(record.words) for record in records), len(scorer.head_config.labels)))
    scores[encoded.words.words] = softmax(scorer.words(encoded.windows, encoded.words, batch_tokens))
    best = scores.argmax(axis=1)
    names = scorer.head_config.labels
    with_entities = marks_entities(names)

    tagged, first = [], 0
    for text, word_texts, begins in split:
        last = first + len(word_texts)
        words = tuple(
            Word(word, names[label], float(score), begin, begin + len(word))
            for word, begin, label, score in zip(
                word_texts, begins, best[first:last].tolist(), scores[first:last].max(axis=1).tolist(), strict=True
            )
        )
        tagged.append(Tagged(text, words, tuple(entities_of(text, words)) if with_entities else ()))
        first = last
    return Predicted(tagged, encoded.cut)


def entities_of(text: str, words: Sequence[Word]) -> Iterator[Entity]:
    """Yield the entities that the tags of words mark. text: what the words' offsets refer to."""
    for found in entities([word.tag for word in words]):
        some = words[found.first : found.last]
        start, end = some[0].start, some[-1].end
        yield Entity(text[start:end], found.type, sum(word.score for word in some) / len(some), start, end)


def split_words(sentence: str | Sequence[str]) -> tuple[str, list[str], list[int]]:
    """Return the text, the words and their first characters: of a text as in `words_in`, or of given words, joined."""
    if isinstance(sentence, str):
        return words_in(sentence)
    text, begins = join_words(sentence)
    return text, list(sentence), begins


def predict_answers(
    scorer: TaskScorer,
    tokenizer: Tokenizer,
    max_length: int,
    records: Sequence[QuestionRecord],
    *,
    n_best: int = 3,
    allow_none: bool | None = None,
    max_answer: int | None = None,
    batch_tokens: int = BATCH_TOKENS,
) -> Predicted:
    """Find the answer to each question in its context; a long context is read in overlapping windows.

    n_best: number of answers to return. allow_none: answer with nothing if that is the most likely; default: if the
    model was trained with impossible questions, as others cannot tell. max_answer: maximum tokens of an answer;
    default: as in training.
    """
    settings = scorer.head_config.answer_settings
    allow_none = settings.allow_none if allow_none is None else allow_none
    # A question may take a quarter of a short sequence, so that a context still fits.
    encoded = encode_questions(records, tokenizer, max_length, max_question=min(settings.max_question, max_length // 4))
    logits = scorer.spans(encoded.windows, batch_tokens)
    longest = settings.max_answer if max_answer is None else max_answer
    found = best_spans(records, encoded, logits, n_best=n_best, allow_none=allow_none, longest=longest)
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
    """Return the best spans of each context.

    logits: (t, 2), of starting and ending at each token of `encoded.windows`. longest: maximum tokens of an answer.
    In each window the softmax is over the tokens of the context and [CLS], which means no answer. The score of a span
    is the probability of its start times that of its end, the maximum over the windows that hold it; the score of no
    answer is the minimum over windows, as none of them may hold an answer.
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
        probabilities = softmax(np.concatenate([logits[first : first + 1], logits[context]]).T)
        no_answer[record] = min(no_answer[record], probabilities[:, 0].prod())
        for start, stop, score in _best_pairs(probabilities[0, 1:], probabilities[1, 1:], n_best, longest):
            span = int(encoded.begins[context][start]), int(encoded.ends[context][stop])
            if span[0] < span[1]:  # a token may cover only white space
                found[record][span] = max(score, found[record].get(span, 0.0))
    return [
        _answered(record.context, spans, float(none), n_best, allow_none)
        for record, spans, none in zip(records, found, no_answer, strict=True)
    ]


def _best_pairs(
    starts: NDArray[np.float64], ends: NDArray[np.float64], n_best: int, longest: int
) -> list[tuple[int, int, float]]:
    """Return the best (first token, last token, score), at most `longest` tokens. starts, ends: (n,) probabilities."""
    if not len(starts):
        return []
    longest = min(longest, len(starts))
    # Spans that would end after the last token get a negative score, and so come last.
    after = np.lib.stride_tricks.sliding_window_view(np.pad(ends, (0, longest - 1), constant_values=-1.0), longest)
    scores = (starts[:, None] * after).ravel()
    n_best = min(n_best, int(np.count_nonzero(after >= 0)))
    some = np.argpartition(-scores, n_best - 1)[:n_best] if n_best < len(scores) else np.arange(len(scores))
    top = some[np.lexsort((some, -scores[some]))].tolist()
    return [(index // longest, index // longest + index % longest, float(scores[index])) for index in top]


def _answered(
    context: str, spans: dict[tuple[int, int], float], none: float, n_best: int, allow_none: bool
) -> Answered:
    ranked = sorted(spans.items(), key=lambda item: (-item[1], item[0]))[:n_best]
    best = tuple(Span(context[start:end], start, end, score) for (start, end), score in ranked)
    if not best or (allow_none and none > best[0].score):
        return Answered("", 0, 0, none, none, best)
    first = best[0]
    return Answered(first.text, first.start, first.end, first.score, none, best)
