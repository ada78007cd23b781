"""Endpoints of Hugging Face's inference clients, which use one address for all tasks."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import numpy as np
from fastapi import APIRouter, Response
from numpy.typing import NDArray
from pydantic import Field, WithJsonSchema, create_model, model_validator

from maskling.errors import SettingsError
from maskling.infer.aggregation import STRATEGIES, Strategy
from maskling.infer.results import Filled, FilledMasks
from maskling.serve.answers import InferenceAnswer
from maskling.serve.http import (
    MASKED_TEXT,
    MAX_TEXTS,
    Positive,
    StrictRequest,
    Targets,
    TruncationDirection,
    UpToThousand,
    as_list,
    check_model_name,
    error_responses,
    json_response,
)
from maskling.serve.queued import QueuedService
from maskling.serve.service import PredictOptions
from maskling.serve.task_forms import hugging_face_form, inputs_schema, tags_words, task_inputs
from maskling.serve.vectors import resized

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

_TopK = UpToThousand | None


class VectorParameters(StrictRequest):
    """Parameters of vectors and similarities; None is the model's default."""

    normalize: bool | None = None
    truncate: bool | None = None
    truncation_direction: TruncationDirection = None
    dimensions: Positive | None = None
    prompt_name: None = None


class FillParameters(VectorParameters):
    """Parameters of a model that fills masks, and returns vectors for texts without one."""

    top_k: _TopK = None
    targets: Targets | Annotated[str, WithJsonSchema({"type": "string", "pattern": r"\S"})] | None = None


class ClassifyParameters(StrictRequest):
    """Parameters of a classifier. function_to_apply: the one that the model was trained with; no other is possible."""

    top_k: _TopK = None
    function_to_apply: Literal["softmax"] | None = None


class MultiLabelParameters(StrictRequest):
    """Parameters of a model that gives any number of labels, each with its own probability."""

    top_k: _TopK = None
    function_to_apply: Literal["sigmoid"] | None = None


class RegressParameters(StrictRequest):
    """Parameters of a model that predicts a number."""

    top_k: _TopK = None
    function_to_apply: Literal["none"] | None = None


class TagParameters(StrictRequest):
    """Parameters of a tagger.

    aggregation_strategy: none for the tag of each word, else entities, with the tags of words from their first token,
    their mean or their most certain token, or (simple) from each token by itself.
    """

    aggregation_strategy: Literal["none", Strategy] | None = None
    ignore_labels: Annotated[list[Literal["O"]], Field(min_length=1, max_length=1)] | None = None
    stride: None = None


class AnswerParameters(StrictRequest):
    """Parameters of a model that answers questions.

    max_answer_len: maximum tokens of an answer. handle_impossible_answer: whether there may be no answer.
    """

    top_k: _TopK = None
    max_answer_len: UpToThousand | None = None
    handle_impossible_answer: bool | None = None


_PARAMETERS: Final[dict[str, type[StrictRequest]]] = {
    "fill-mask": FillParameters,
    "embed": VectorParameters,
    "classify": ClassifyParameters,
    "multi-label": MultiLabelParameters,
    "regress": RegressParameters,
    "tag": TagParameters,
    "answer": AnswerParameters,
}


class InferenceRequest(StrictRequest):
    """inputs: whatever the model's task takes. parameters: some clients send them beside the inputs instead.

    options: how Hugging Face's own servers wait and cache; ignored.
    """

    inputs: Any
    parameters: StrictRequest | None = None
    options: dict[str, Any] | None = None

    @model_validator(mode="before")
    @classmethod
    def _collect_parameters(cls, body: Any) -> Any:
        given = body.get("parameters") if isinstance(body, dict) else None
        if not isinstance(body, dict) or not isinstance(given, dict | None):
            return body
        beside = {name: value for name, value in body.items() if name not in cls.model_fields}
        own = {name: value for name, value in body.items() if name in cls.model_fields}
        return {**own, "parameters": {**beside, **(given or {})}}


def _split_schema(schema: dict[str, Any]) -> None:
    """Describe that masks and vectors have different parameters. schema: of a request to a model that fills masks."""
    properties = schema.pop("properties")
    parameters = FillParameters.model_json_schema()["properties"]
    fills = set(FillParameters.model_fields) - set(VectorParameters.model_fields)
    masked = {"anyOf": [MASKED_TEXT, {"type": "array", "items": MASKED_TEXT, "minItems": 1, "maxItems": MAX_TEXTS}]}
    strict = {"type": "object", "additionalProperties": False}
    variants = []
    for inputs, names in ((masked, fills), (properties["inputs"], set(parameters) - fills)):
        own = {**strict, "properties": {name: field for name, field in parameters.items() if name in names}}
        described = {**properties, "inputs": inputs, "parameters": {"anyOf": [own, {"type": "null"}]}}
        variants.append({**strict, "properties": described, "required": ["inputs"]})
    schema.pop("additionalProperties")
    schema.pop("required")
    schema["anyOf"] = variants


def hugging_face_router(queued: QueuedService) -> APIRouter:
    """Return the endpoints."""
    routes = APIRouter(tags=["Hugging Face"])
    service = queued.service
    parameters: Any = _PARAMETERS[service.task]
    inputs = Annotated[Any, WithJsonSchema(inputs_schema(service))]
    request: Any = create_model(
        "InferenceRequest",
        __base__=InferenceRequest,
        __doc__=InferenceRequest.__doc__,
        inputs=(inputs, ...),
        parameters=(parameters | None, None),
    )
    if service.task == "fill-mask":
        request.model_config["json_schema_extra"] = _split_schema

    async def infer(body: InferenceRequest) -> Response:
        """Run the model's task: its head, fill-mask for texts with masks, embeddings, or sentence similarity.

        A masked language model returns vectors for texts without a mask. {"source_sentence", "sentences"} requests
        similarities.
        """
        return json_response(await _infer(queued, body.inputs, body.parameters or parameters()))

    async def infer_by_name(name: str, body: InferenceRequest) -> Response:
        """Run the model's task, for clients that name the model."""
        name, _, task = name.partition("/pipeline/")
        check_model_name(name, service)
        given = body.parameters or parameters()
        if task == "feature-extraction" and isinstance(given, VectorParameters):
            return json_response(await _vectors(queued, body.inputs, given))
        if task not in ("", "sentence-similarity", _TASKS[service.task]):
            raise SettingsError(f"{name} is not for {task}; it is for {_TASKS[service.task]}")
        return json_response(await _infer(queued, body.inputs, given))

    for path, endpoint, errors in (
        ("/", infer, error_responses()),
        ("/models/{name:path}", infer_by_name, error_responses(not_found="Another model than the served one")),
    ):
        endpoint.__annotations__["body"] = request  # its parameters depend on the model
        routes.add_api_route(path, endpoint, methods=["POST"], response_model=InferenceAnswer, responses=errors)
    return routes


async def _infer(queued: QueuedService, inputs: Any, parameters: Any) -> Any:
    service = queued.service
    if isinstance(inputs, dict) and "source_sentence" in inputs:
        if not isinstance(parameters, VectorParameters):
            raise SettingsError(f"inputs is for sentence similarity, and this model is for {_TASKS[service.task]}")
        return await similarities(queued, inputs, parameters.truncate)
    if service.model.task_scorer is not None:
        given, single = task_inputs(inputs, service)
        top_k = getattr(parameters, "top_k", None)
        options, words, allow_none = _options(queued, parameters, top_k)
        predictions = await queued.predict(given, options)
        results = [
            hugging_face_form(one, service, top_k=top_k, words=words, allow_none=allow_none) for one in predictions
        ]
        # Label scores are a list of lists, for one text too.
        nested = service.task in ("classify", "multi-label", "regress")
        return results[0] if single and not nested else results
    texts = _texts(inputs)
    if isinstance(parameters, FillParameters):
        fills = {"top_k": parameters.top_k, "targets": parameters.targets}
        if any(service.count_masks(text) for text in texts):
            _refuse(parameters.model_dump(exclude={*fills}, exclude_none=True), "vectors, and the texts have masks")
            targets = None if parameters.targets is None else as_list(parameters.targets)
            results = [_candidates(one) for one in await queued.fill(texts, parameters.top_k or 5, targets)]
            return results if isinstance(inputs, list) else results[0]
        _refuse(fills, f"masks, and no text has one (write {service.model.tokenizer.mask_token})")
    return await _vectors(queued, inputs, parameters)


def _refuse(given: dict[str, Any], what: str) -> None:
    for name, value in given.items():
        if value not in (None, False):
            raise SettingsError(f"parameters.{name} is for {what}; leave it out")


def _options(queued: QueuedService, parameters: Any, top_k: int | None) -> tuple[PredictOptions, bool, bool]:
    """Return the options of a prediction, whether words are returned, and whether no answer is an answer."""
    service = queued.service
    if isinstance(parameters, AnswerParameters):
        allow_none = parameters.handle_impossible_answer
        usual = service.task_scorer.head_config.answer_settings.allow_none
        options = PredictOptions(top_k or 1, allow_none, parameters.max_answer_len)
        return options, False, usual if allow_none is None else allow_none
    strategy = getattr(parameters, "aggregation_strategy", None)
    words = strategy == "none" or tags_words(service)
    if words and strategy in STRATEGIES:
        raise SettingsError(
            f"parameters.aggregation_strategy is {strategy!r}, and the tags of this model mark no entities; "
            f"leave it out, or choose none"
        )
    aggregation = strategy if strategy in ("simple", "average", "max") else None
    return PredictOptions(aggregation=aggregation), words, False


async def _vectors(queued: QueuedService, inputs: Any, parameters: VectorParameters) -> list[NDArray[np.float32]]:
    vectors = await queued.embed(_texts(inputs), parameters.normalize, parameters.truncate)
    scaled = queued.service.normalizing if parameters.normalize is None else parameters.normalize
    return resized([vector.values for vector in vectors], parameters.dimensions, scaled)


async def similarities(queued: QueuedService, inputs: Any, truncate: bool | None) -> list[float]:
    """Return the cosine similarity of {"source_sentence"} with each of {"sentences"}."""
    match inputs:
        case {"source_sentence": str(source), "sentences": [_, *_] as others, **more} if not more and all(
            isinstance(text, str) for text in others
        ):
            texts = _texts([source, *others])
            vectors = np.array([vector.values for vector in await queued.embed(texts, True, truncate)])
            found: list[float] = (vectors[1:] @ vectors[0]).tolist()
            return found
    raise SettingsError('inputs holds "source_sentence"; give a text there, and a list of texts in "sentences"')


def _texts(inputs: Any) -> list[str]:
    texts = as_list(inputs)
    if not texts or len(texts) > MAX_TEXTS or not all(isinstance(text, str) for text in texts):
        raise SettingsError(f"inputs is neither a text nor a list of 1 to {MAX_TEXTS:,} texts")
    return texts


def _candidates(filled: FilledMasks) -> Any:
    """Return the candidates of a single mask, or a list of them per mask."""
    masks = [[_candidate(one) for one in mask] for mask in filled]
    return masks[0] if len(masks) == 1 else masks


def _candidate(one: Filled) -> dict[str, Any]:
    return {"score": one.probability, "token": one.id, "token_str": one.word, "sequence": one.text}
