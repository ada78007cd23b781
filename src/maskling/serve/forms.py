"""Questions and answers as Hugging Face's pipelines and inference endpoints spell them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from maskling.errors import SettingsError
from maskling.infer.answers import Filled, FilledMasks
from maskling.infer.predict import Asked
from maskling.infer.predictions import Answered, Label, Labels, Number, Prediction, Tagged
from maskling.serve.requests import MOST_TEXTS
from maskling.serve.service import Service


def questions(inputs: Any, service: Service) -> tuple[list[Asked], bool]:
    """What a model for a task is asked about, and whether it is one thing, which gets one answer.

    inputs: a text, {"text", "text_pair"}, {"question", "context"}, or a list of them. A list of two texts is a pair
    where the model judges pairs; a list of lists holds a text or a pair in each.
    """
    if not isinstance(inputs, list):
        return [_question(inputs)], True
    if not inputs or len(inputs) > MOST_TEXTS:
        raise SettingsError(f"inputs holds {len(inputs):,} things; give 1 to {MOST_TEXTS:,} at a time")
    if service.judges_pairs and len(inputs) == 2 and all(isinstance(text, str) for text in inputs):
        return [(inputs[0], inputs[1])], True
    return [_question(one) for one in inputs], False


def _question(one: Any) -> Asked:
    match one:
        case str():
            return one
        case [str(text)]:
            return text
        case [str(text), str(pair)]:
            return (text, pair)
        case {"question": str(question), "context": str(context)}:
            return (question, context)
        case {"text": str(text), "text_pair": str(pair)}:
            return (text, pair)
        case {"text": str(text)}:
            return text
    raise SettingsError(
        'inputs holds what is no question to a model: give a text, a pair of texts, {"text": ..., "text_pair": ...} or '
        '{"question": ..., "context": ...}'
    )


def answer(prediction: Prediction, service: Service, *, top_k: int | None = None, words: bool = False) -> Any:
    """What a model for a task says of one thing. words: tags of single words, where they could be put together."""
    match prediction:
        case Label() | Labels():
            return _ranked(prediction.scores, top_k)
        case Number():
            judge = service.model.need_judge("predicting")
            return [{"label": judge.head_config.labels[0], "score": float(prediction)}]
        case Tagged():
            return _tags(prediction, words)
        case Answered():
            spans = [prediction] if top_k in (None, 1) else prediction.best
            found = [{"score": one.score, "start": one.start, "end": one.end, "answer": one.text} for one in spans]
            return found[0] if top_k in (None, 1) else found


def fillings(filled: FilledMasks) -> Any:
    """The candidates of the one mask; of several masks a list for each."""
    masks = [[_filling(one) for one in mask] for mask in filled]
    return masks[0] if len(masks) == 1 else masks


def _filling(one: Filled) -> dict[str, Any]:
    return {"score": one.probability, "token": one.id, "token_str": one.word, "sequence": one.text}


def _ranked(scores: dict[str, float], top_k: int | None) -> Sequence[dict[str, Any]]:
    ranked = sorted(scores.items(), key=lambda item: -item[1])[:top_k]
    return [{"label": label, "score": score} for label, score in ranked]


def _tags(tagged: Tagged, words: bool) -> list[dict[str, Any]]:
    """Entities, or where tags mark none, or single words are wanted, each word with its tag."""
    if not words:
        return [
            {"entity_group": one.type, "score": one.score, "word": one.text, "start": one.start, "end": one.end}
            for one in tagged.entities
        ]
    return [
        {"entity": one.tag, "score": one.score, "index": number, "word": one.text, "start": one.start, "end": one.end}
        for number, one in enumerate(tagged.words, 1)
        if one.tag != "O"
    ]
