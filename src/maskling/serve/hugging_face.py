"""Endpoints of Hugging Face's inference clients, which use one address for all tasks, and the shapes of their data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

import numpy as np
from fastapi import APIRouter, Response
from numpy.typing import NDArray
from pydantic import Field, model_validator

from maskling.errors import SettingsError
from maskling.infer.predict import PredictInput
from maskling.infer.results import Answered, Filled, FilledMasks, Label, Labels, Number, Prediction, Tagged
from maskling.metrics.entities import marks_entities
from maskling.serve.http import MAX_TEXTS, StrictRequest, as_list, check_model_name, json_response
from maskling.serve.service import QueuedService, Service

# Hugging Face's names of tasks.
_TASKS: Final = {
    "fill-mask": "fill-mask",
    "embed": "feature-extraction",
    "classify": "text-classification",
    "multi-label": "text-classification",
    "regress": "text-classification",
    "tag": "token-classification",
    "answer": "question-answering",
}


class Parameters(StrictRequest):
    """Parameters of all supported tasks; None is the model's default. Others would change results and are refused."""

    top_k: int | None = Field(None, ge=1, le=1000)
    targets: list[str] | str | None = None
    normalize: bool | None = None
    truncate: bool | None = None
    truncation_direction: Literal["right", "Right"] | None = None
    aggregation_strategy: str | None = None
    dimensions: int | None = None
    prompt_name: str | None = None


class InferenceRequest(StrictRequest):
    """inputs: whatever the model's task takes. parameters: some clients send them beside the inputs instead.

    options: how Hugging Face's own servers wait and cache; ignored.
    """

    inputs: Any
    parameters: Parameters = Parameters()
    options: dict[str, Any] | None = None

    @model_validator(mode="before")
    @classmethod
    def _collect_parameters(cls, body: Any) -> Any:
        if not isinstance(body, dict) or not isinstance(body.get("parameters") or {}, dict):
            return body
        beside = {name: value for name, value in body.items() if name not in cls.model_fields}
        own = {name: value for name, value in body.items() if name in cls.model_fields}
        return {**own, "parameters": {**beside, **(body.get("parameters") or {})}}


class PredictRequest(StrictRequest):
    """inputs: a text, a pair, or a list of lists of one text or two."""

    inputs: Any


def hugging_face_router(queued: QueuedService) -> APIRouter:
    """Return the endpoints."""
    routes = APIRouter(tags=["Hugging Face"])
    service = queued.service

    @routes.post("/")
    async def infer(body: InferenceRequest) -> Response:
        """Run the model's task: its head, fill-mask for texts with masks, embeddings, or sentence similarity.

        A masked language model returns vectors for texts without a mask. {"source_sentence", "sentences"} requests
        similarities.
        """
        return json_response(await _infer(queued, body))

    @routes.post("/models/{name:path}")
    async def infer_by_name(name: str, body: InferenceRequest) -> Response:
        """Run the model's task, for clients that name the model."""
        name, _, task = name.partition("/pipeline/")
        check_model_name(name, service)
        if task == "feature-extraction":
            return json_response(await _vectors(queued, body))
        if task not in ("", "sentence-similarity", _TASKS.get(service.task)):
            raise SettingsError(f"{name} is not for {task}; it is for {_TASKS[service.task]}")
        return json_response(await _infer(queued, body))

    @routes.post("/predict")
    async def predict(body: PredictRequest) -> Response:
        """Run a fine-tuned model; one result for one text, a list for a list."""
        inputs, single = task_inputs(body.inputs, service)
        words = _per_word(queued, Parameters())
        results = [hugging_face_form(one, service, words=words) for one in await queued.predict(inputs)]
        return json_response(results[0] if single else results)

    return routes


async def _infer(queued: QueuedService, body: InferenceRequest) -> Any:
    service, parameters = queued.service, body.parameters
    if isinstance(body.inputs, dict) and "source_sentence" in body.inputs:
        return await _similarities(queued, body.inputs)
    if service.model.task_scorer is not None:
        inputs, single = task_inputs(body.inputs, service)
        predictions = await queued.predict(inputs, n_best=parameters.top_k or 3)
        words = _per_word(queued, parameters)
        results = [hugging_face_form(one, service, top_k=parameters.top_k, words=words) for one in predictions]
        # Label scores are a list of lists, for one text too.
        nested = service.task in ("classify", "multi-label", "regress")
        return results[0] if single and not nested else results
    texts = _texts(body.inputs)
    if service.task == "fill-mask" and any(service.has_mask(text) for text in texts):
        targets = None if parameters.targets is None else as_list(parameters.targets)
        results = [_candidates(one) for one in await queued.fill(texts, parameters.top_k or 5, targets)]
        return results if isinstance(body.inputs, list) else results[0]
    return await _vectors(queued, body)


async def _vectors(queued: QueuedService, body: InferenceRequest) -> list[NDArray[np.float32]]:
    parameters, size = body.parameters, queued.service.model.module.config.hidden_size
    if parameters.prompt_name is not None:
        raise SettingsError(
            f"prompt_name is {parameters.prompt_name!r}, and this model has no prompts; write it into the text"
        )
    if parameters.dimensions not in (None, size):
        raise SettingsError(f"dimensions is {parameters.dimensions}; the vectors of this model have {size:,}")
    vectors = await queued.embed(_texts(body.inputs), parameters.normalize, bool(parameters.truncate))
    return [vector.values for vector in vectors]


async def _similarities(queued: QueuedService, inputs: dict[str, Any]) -> list[float]:
    match inputs:
        case {"source_sentence": str(source), "sentences": [*others]} if all(isinstance(text, str) for text in others):
            texts = _texts([source, *others])
            vectors = np.array([vector.values for vector in await queued.embed(texts, True, False)])
            similarities: list[float] = (vectors[1:] @ vectors[0]).tolist()
            return similarities
    raise SettingsError('inputs holds "source_sentence"; give a text there, and a list of texts in "sentences"')


def _texts(inputs: Any) -> list[str]:
    texts = as_list(inputs)
    if not texts or len(texts) > MAX_TEXTS or not all(isinstance(text, str) for text in texts):
        raise SettingsError(f"inputs is neither a text nor a list of 1 to {MAX_TEXTS:,} texts")
    return texts


def _per_word(queued: QueuedService, parameters: Parameters) -> bool:
    """Return whether tags are returned per word: as requested, or because the tags do not mark entities."""
    judge = queued.service.model.task_scorer
    if judge is None or judge.head_config.kind != "tag":
        return False
    return parameters.aggregation_strategy == "none" or not marks_entities(judge.head_config.labels)


def task_inputs(inputs: Any, service: Service) -> tuple[list[PredictInput], bool]:
    """Return the inputs of a fine-tuned model, and whether there is a single one, which gets a single result.

    inputs: a text, {"text", "text_pair"}, {"question", "context"}, or a list of them. A list of two texts is a pair
    if the model takes pairs; a list of lists holds a text or a pair in each.
    """
    if not isinstance(inputs, list):
        return [_task_input(inputs)], True
    if not inputs or len(inputs) > MAX_TEXTS:
        raise SettingsError(f"inputs holds {len(inputs):,} items; give 1 to {MAX_TEXTS:,} at a time")
    if service.takes_pairs and len(inputs) == 2 and all(isinstance(text, str) for text in inputs):
        return [(inputs[0], inputs[1])], True
    return [_task_input(one) for one in inputs], False


def _task_input(one: Any) -> PredictInput:
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
        "inputs holds something else than a model input: give a text, a pair of texts, "
        '{"text": ..., "text_pair": ...} or {"question": ..., "context": ...}'
    )


def hugging_face_form(
    prediction: Prediction, service: Service, *, top_k: int | None = None, words: bool = False
) -> Any:
    """Return a prediction in the form of Hugging Face's pipelines.

    words: return the tag of each word, even if tags could be merged into entities.
    """
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
            answers = [{"score": one.score, "start": one.start, "end": one.end, "answer": one.text} for one in spans]
            return answers[0] if top_k in (None, 1) else answers


def _candidates(filled: FilledMasks) -> Any:
    """Return the candidates of a single mask, or a list of them per mask."""
    masks = [[_candidate(one) for one in mask] for mask in filled]
    return masks[0] if len(masks) == 1 else masks


def _candidate(one: Filled) -> dict[str, Any]:
    return {"score": one.probability, "token": one.id, "token_str": one.word, "sequence": one.text}


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
