"""Inputs and predictions of fine-tuned models, in the forms of Hugging Face's pipelines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from maskling.errors import SettingsError
from maskling.infer.predict import PredictInput
from maskling.infer.results import Answered, Label, Labels, Number, Prediction, Span, Tagged
from maskling.metrics.entities import marks_entities
from maskling.serve.http import MAX_TEXTS
from maskling.serve.service import Service

_TEXT: Final = {"type": "string"}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}


def _list(items: Any, most: int = MAX_TEXTS, least: int = 1) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": least, "maxItems": most}


_QUESTION: Final = _object(question=_TEXT, context=_TEXT)
_SOURCE: Final = _object(source_sentence=_TEXT, sentences=_list(_TEXT, MAX_TEXTS - 1))
_TEXTS_OR_SOURCE: Final = {"anyOf": [_TEXT, _list(_TEXT), _SOURCE]}


def inputs_schema(service: Service) -> dict[str, Any]:
    """Return the JSON schema of `inputs` for the task of a model."""
    match service.task:
        case "answer":
            return {"anyOf": [_QUESTION, _list({"anyOf": [_QUESTION, _list(_TEXT, 2, 2)]})]}
        case "tag":
            one = {"anyOf": [_TEXT, _object(text=_TEXT), _list(_TEXT, MAX_TEXTS)]}
            return {"anyOf": [_TEXT, _object(text=_TEXT), _list(one)]}
        case "fill-mask" | "embed":
            return _TEXTS_OR_SOURCE
    pair = [_object(text=_TEXT), _object(text=_TEXT, text_pair=_TEXT)]
    return {"anyOf": [_TEXT, *pair, _list({"anyOf": [_TEXT, *pair, _list(_TEXT, 2)]})]}


def task_inputs(inputs: Any, service: Service) -> tuple[list[PredictInput], bool]:
    """Return the inputs of a fine-tuned model, and whether there is a single one, which gets a single result.

    inputs: a text, {"text", "text_pair"}, {"question", "context"}, or a list of them. A list of two texts is a pair
    if the model takes pairs; a list of lists holds a text or a pair in each, or for a tagger the words of a sentence.
    """
    if not isinstance(inputs, list):
        return [_task_input(inputs, service.task)], True
    if not inputs or len(inputs) > MAX_TEXTS:
        raise SettingsError(f"inputs holds {len(inputs):,} items; give 1 to {MAX_TEXTS:,} at a time")
    if service.takes_pairs and len(inputs) == 2 and all(isinstance(text, str) for text in inputs):
        return [(inputs[0], inputs[1])], True
    return [_task_input(one, service.task) for one in inputs], False


def _task_input(one: Any, task: str) -> PredictInput:
    if task == "tag":
        match one:
            case str():
                return one
            case {"text": str(text), **others} if not others:
                return text
            case [_, *_] if all(isinstance(word, str) for word in one):
                return tuple(one)
        raise SettingsError(
            "inputs holds something else than a model input: give a text, or a list of texts or of lists of words"
        )
    match one:
        case str():
            return one
        case [str(text)]:
            return text
        case [str(text), str(pair)]:
            return (text, pair)
        case {"question": str(question), "context": str(context), **others} if not others:
            return (question, context)
        case {"text": str(text), "text_pair": str(pair), **others} if not others:
            return (text, pair)
        case {"text": str(text), **others} if not others:
            return text
    raise SettingsError(
        "inputs holds something else than a model input: give a text, a pair of texts, "
        '{"text": ..., "text_pair": ...} or {"question": ..., "context": ...}'
    )


def tags_words(service: Service) -> bool:
    """Return whether the tags of a tagger mark no entities, so that it tags words."""
    return service.task == "tag" and not marks_entities(service.task_scorer.head_config.labels)


def hugging_face_form(
    prediction: Prediction, service: Service, *, top_k: int | None = None, words: bool = False, allow_none: bool = False
) -> Any:
    """Return a prediction in the form of Hugging Face's pipelines.

    words: return the tag of each word, even if tags could be merged into entities. allow_none: whether no answer is
    one of the `top_k` answers.
    """
    match prediction:
        case Label() | Labels():
            return _ranked(prediction.scores, top_k)
        case Number():
            return [{"label": service.task_scorer.head_config.labels[0], "score": float(prediction)}]
        case Tagged():
            return _tags(prediction, words)
        case Answered():
            answers = [
                {"score": one.score, "start": one.start, "end": one.end, "answer": one.text}
                for one in ranked_answers(prediction, top_k or 1, allow_none)
            ]
            return answers[0] if top_k in (None, 1) else answers


def ranked_answers(prediction: Answered, top_k: int, allow_none: bool) -> Sequence[Span]:
    """Return the best answers. As in transformers no answer, "", is one of them if allowed, with its own probability.

    It is also the answer if there is no other.
    """
    if allow_none or not prediction.best:
        empty = Span("", 0, 0, prediction.no_answer)
        return sorted([*prediction.best, empty], key=lambda one: -one.score)[:top_k]
    return prediction.best[:top_k]


def _ranked(scores: dict[str, float], top_k: int | None) -> Sequence[dict[str, Any]]:
    ranked = sorted(scores.items(), key=lambda item: -item[1])[:top_k]
    return [{"label": label, "score": score} for label, score in ranked]


def _tags(tagged: Tagged, words: bool) -> list[dict[str, Any]]:
    """Return the entities, or, with `words`, each tagged word."""
    if not words:
        return [
            {"entity_group": one.type, "score": one.score, "word": one.text, "start": one.start, "end": one.end}
            for one in tagged.entities
        ]
    return [
        {"entity": one.tag, "score": one.score, "index": index, "word": one.text, "start": one.start, "end": one.end}
        for index, one in enumerate(tagged.words, 1)
        if one.tag != "O"
    ]
