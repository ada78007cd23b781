"""The endpoints of Hugging Face's inference clients, which ask for every task at the same address."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

import numpy as np
from fastapi import APIRouter, Response
from numpy.typing import NDArray
from pydantic import Field, model_validator

from maskling.errors import SettingsError
from maskling.infer.predict import Asked
from maskling.infer.results import Answered, Filled, FilledMasks, Label, Labels, Number, Prediction, Tagged
from maskling.metrics.entities import marks_entities
from maskling.serve.http import MOST_TEXTS, OwnRequest, as_json, as_list, check_name
from maskling.serve.service import Asking, Service

# FOLDED DOCS
# [forms] Questions and answers as Hugging Face's pipelines and inference endpoints spell them.


# What Hugging Face calls what a model is for.
_TASKS: Final = {
    "fill-mask": "fill-mask",
    "embed": "feature-extraction",
    "classify": "text-classification",
    "multi-label": "text-classification",
    "regress": "text-classification",
    "tag": "token-classification",
    "answer": "question-answering",
}


class Parameters(OwnRequest):
    """Those of all tasks that are done here; None is the model's own. Others would change answers, and are refused."""

    top_k: int | None = Field(None, ge=1, le=1000)
    targets: list[str] | str | None = None
    normalize: bool | None = None
    truncate: bool | None = None
    truncation_direction: Literal["right", "Right"] | None = None
    aggregation_strategy: str | None = None
    dimensions: int | None = None
    prompt_name: str | None = None


class InferenceRequest(OwnRequest):
    """inputs: what the task of the model takes. parameters: of some tasks clients send them beside the inputs.

    options: of how Hugging Face's own servers wait and cache; nothing here depends on them.
    """

    inputs: Any
    parameters: Parameters = Parameters()
    options: dict[str, Any] | None = None

    @model_validator(mode="before")
    @classmethod
    def _put_together(cls, asked: Any) -> Any:
        if not isinstance(asked, dict) or not isinstance(asked.get("parameters") or {}, dict):
            return asked
        beside = {name: value for name, value in asked.items() if name not in cls.model_fields}
        own = {name: value for name, value in asked.items() if name in cls.model_fields}
        return {**own, "parameters": {**beside, **(asked.get("parameters") or {})}}


class PredictRequest(OwnRequest):
    """inputs: a text, a pair, or a list of lists of one text or two."""

    inputs: Any


def router(asking: Asking) -> APIRouter:
    """The endpoints."""
    routes = APIRouter(tags=["Hugging Face"])
    service = asking.service

    @routes.post("/")
    async def infer(asked: InferenceRequest) -> Response:
        """What the model was made for: its task, masks to fill where a text has some, vectors, or how alike texts are.

        A model that fills masks gives vectors of texts without one. {"source_sentence", "sentences"} asks how alike
        they are.
        """
        return as_json(await _infer(asking, asked))

    @routes.post("/models/{name:path}")
    async def infer_by_name(name: str, asked: InferenceRequest) -> Response:
        """The same, for clients that name the model."""
        name, _, task = name.partition("/pipeline/")
        check_name(name, service)
        if task == "feature-extraction":
            return as_json(await _vectors(asking, asked))
        if task not in ("", "sentence-similarity", _TASKS.get(service.task)):
            raise SettingsError(f"{name} is not for {task}; it is for {_TASKS[service.task]}")
        return as_json(await _infer(asking, asked))

    @routes.post("/predict")
    async def predict(asked: PredictRequest) -> Response:
        """What a model for a task says; one answer for one text, a list for a list."""
        things, one = questions(asked.inputs, service)
        words = _single_words(asking, Parameters())
        answers = [answer(each, service, words=words) for each in await asking.predict(things)]
        return as_json(answers[0] if one else answers)

    return routes


async def _infer(asking: Asking, asked: InferenceRequest) -> Any:
    service, how = asking.service, asked.parameters
    if isinstance(asked.inputs, dict) and "source_sentence" in asked.inputs:
        return await _similarities(asking, asked.inputs)
    if service.model.judge is not None:
        things, one = questions(asked.inputs, service)
        said = await asking.predict(things, n_best=how.top_k or 3)
        answers = [answer(each, service, top_k=how.top_k, words=_single_words(asking, how)) for each in said]
        # Scores of labels come in a list in a list for one text too.
        nested = service.task in ("classify", "multi-label", "regress")
        return answers[0] if one and not nested else answers
    texts = _texts(asked.inputs)
    if service.task == "fill-mask" and any(service.has_mask(text) for text in texts):
        targets = None if how.targets is None else as_list(how.targets)
        found = [fillings(one) for one in await asking.fill(texts, how.top_k or 5, targets)]
        return found if isinstance(asked.inputs, list) else found[0]
    return await _vectors(asking, asked)


async def _vectors(asking: Asking, asked: InferenceRequest) -> list[NDArray[np.float32]]:
    how, size = asked.parameters, asking.service.model.module.config.hidden_size
    if how.prompt_name is not None:
        raise SettingsError(
            f"prompt_name is {how.prompt_name!r}, and this model has no prompts; write it into the text"
        )
    if how.dimensions not in (None, size):
        raise SettingsError(f"dimensions is {how.dimensions}; the vectors of this model have {size:,}")
    vectors = await asking.embed(_texts(asked.inputs), how.normalize, bool(how.truncate))
    return [vector.values for vector in vectors]


async def _similarities(asking: Asking, inputs: dict[str, Any]) -> list[float]:
    match inputs:
        case {"source_sentence": str(one), "sentences": [*others]} if all(isinstance(text, str) for text in others):
            texts = _texts([one, *others])
            vectors = np.array([vector.values for vector in await asking.embed(texts, True, False)])
            found: list[float] = (vectors[1:] @ vectors[0]).tolist()
            return found
    raise SettingsError('inputs holds "source_sentence"; give a text there, and a list of texts in "sentences"')


def _texts(inputs: Any) -> list[str]:
    texts = as_list(inputs)
    if not texts or len(texts) > MOST_TEXTS or not all(isinstance(text, str) for text in texts):
        raise SettingsError(f"inputs is no text and no list of 1 to {MOST_TEXTS:,} texts")
    return texts


def _single_words(asking: Asking, how: Parameters) -> bool:
    """Whether words are answered one by one: as asked, or where the tags mark no entities."""
    judge = asking.service.model.judge
    if judge is None or judge.head_config.kind != "tag":
        return False
    return how.aggregation_strategy == "none" or not marks_entities(judge.head_config.labels)


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
            judge = service.model.need_task_scorer("predicting")
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
