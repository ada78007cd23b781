"""Endpoints of text-embeddings-inference, for clients written for it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Response
from pydantic import Field, WithJsonSchema, create_model

from maskling.errors import SettingsError
from maskling.serve.answers import Info, Real, TaskAnswer, Token, Vectors
from maskling.serve.bounds import MAX_LISTED_CHARACTERS
from maskling.serve.http import (
    MAX_TEXTS,
    OnlyFalse,
    Positive,
    StrictRequest,
    TextOrTexts,
    TruncationDirection,
    as_list,
    error_responses,
    json_response,
)
from maskling.serve.hugging_face import similarities
from maskling.serve.queued import QueuedService
from maskling.serve.task_forms import hugging_face_form, inputs_schema, tags_words, task_inputs
from maskling.serve.vectors import resized


class CutRequest(StrictRequest):
    """Fields of requests whose texts may be too long.

    truncate: cut texts that are too long at their end, not refuse them; null is the server's default.
    """

    truncate: bool | None = None
    truncation_direction: TruncationDirection = None
    prompt_name: None = None


class EmbedRequest(CutRequest):
    """normalize: scale vectors to length 1. dimensions: only the first numbers of each vector."""

    inputs: TextOrTexts
    normalize: bool | None = True
    dimensions: Positive | None = None


class EmbedAllRequest(CutRequest):
    """inputs: texts, each of whose tokens gets a vector."""

    inputs: TextOrTexts


class SimilarityInputs(StrictRequest):
    """source_sentence is compared with each of sentences."""

    source_sentence: str
    sentences: Annotated[list[str], Field(min_length=1, max_length=MAX_TEXTS - 1, fail_fast=True)]


class SimilarityRequest(StrictRequest):
    """inputs: the texts to compare."""

    inputs: SimilarityInputs
    parameters: CutRequest | None = None


class PredictRequest(StrictRequest):
    """inputs: a text, a pair, or a list of lists of one text or two; for a tagger, lists of words.

    Long texts are read in windows, so truncate is only there to be false, and raw_scores too. Pairs are always cut.
    """

    inputs: Any
    raw_scores: OnlyFalse = None
    truncate: OnlyFalse = None
    truncation_direction: TruncationDirection = None


class TokenizeRequest(StrictRequest):
    """add_special_tokens: put [CLS] and [SEP] around each text."""

    inputs: TextOrTexts
    add_special_tokens: bool | None = True
    prompt_name: None = None


_IDS: dict[str, Any] = {"type": "array", "items": {"type": "integer", "minimum": 0}, "maxItems": MAX_LISTED_CHARACTERS}


class DecodeRequest(StrictRequest):
    """ids: of a text, or of several. skip_special_tokens: leave out [CLS], [SEP], [PAD] and [MASK]."""

    ids: Annotated[
        Any, WithJsonSchema({"anyOf": [_IDS, {"type": "array", "items": _IDS, "minItems": 1, "maxItems": MAX_TEXTS}]})
    ]
    skip_special_tokens: bool | None = True


def tei_router(queued: QueuedService) -> APIRouter:
    """Return the endpoints. The response is a list, for one text too."""
    routes = APIRouter(tags=["text-embeddings-inference"])
    service = queued.service
    errors = error_responses()

    @routes.post("/embed", response_model=Vectors, responses=errors)
    async def embed(body: EmbedRequest) -> Response:
        """Embed each text as a vector."""
        normalize = body.normalize is not False
        texts: list[str] = as_list(body.inputs)
        vectors = await queued.embed(texts, normalize, body.truncate)
        return json_response(resized([vector.values for vector in vectors], body.dimensions, normalize))

    @routes.post("/embed_all", response_model=list[Vectors], responses=errors)
    async def embed_all(body: EmbedAllRequest) -> Response:
        """Return a vector for each token of each text, [CLS] and [SEP] included, without pooling."""
        vectors = await queued.embed_all(as_list(body.inputs), body.truncate)
        return json_response([vector.values for vector in vectors])

    @routes.post("/similarity", response_model=list[Real], responses=errors)
    async def similarity(body: SimilarityRequest) -> Response:
        """Return the cosine similarity of a text with each of the others."""
        truncate = None if body.parameters is None else body.parameters.truncate
        return json_response(await similarities(queued, body.inputs.model_dump(), truncate))

    async def predict(body: PredictRequest) -> Response:
        """Run a fine-tuned model; one result for one text, a list for a list."""
        service.task_scorer  # noqa: B018 - its error comes before those of the inputs
        inputs, single = task_inputs(body.inputs, service)
        words = tags_words(service)
        results = [hugging_face_form(one, service, words=words) for one in await queued.predict(inputs)]
        return json_response(results[0] if single else results)

    # The inputs depend on the model.
    predict.__annotations__["body"] = create_model(
        "PredictRequest",
        __base__=PredictRequest,
        __doc__=PredictRequest.__doc__,
        inputs=(Annotated[Any, WithJsonSchema(inputs_schema(service))], ...),
        truncate=(bool | None if service.takes_pairs else OnlyFalse, None),
    )
    routes.add_api_route(
        "/predict",
        predict,
        methods=["POST"],
        response_model=TaskAnswer,
        responses=errors,
        include_in_schema=service.model.task_scorer is not None,
    )

    @routes.post("/tokenize", response_model=list[list[Token]], responses=errors)
    async def tokenize(body: TokenizeRequest) -> Response:
        """Tokenize each text."""
        cls, sep = service.special_tokens()
        texts = await queued.tokenize(as_list(body.inputs))
        if body.add_special_tokens is not False:
            texts = [[cls, *tokens, sep] for tokens in texts]
        return json_response(texts)

    @routes.post("/decode", response_model=list[str], responses=errors)
    async def decode(body: DecodeRequest) -> Response:
        """Return the text of token ids; a list, for one text too."""
        return json_response(await queued.decode(_sequences(body.ids), body.skip_special_tokens is not False))

    @routes.get("/info", response_model=Info, responses=error_responses(body=False))
    async def info() -> Any:
        """Describe the model and its limits."""
        return service.info() | {"compared": queued.compared}

    @routes.head("/health", include_in_schema=False)
    @routes.get("/health", response_model=dict[str, str], responses=error_responses(body=False))
    async def health() -> Any:
        """Return 200 while the server is running. Needs no API key."""
        return {}

    return routes


def _sequences(ids: Any) -> list[tuple[int, ...]]:
    """Return the ids of each text. Raises SettingsError for anything else."""
    many = ids if isinstance(ids, list) and ids and all(isinstance(one, list) for one in ids) else [ids]
    if len(many) <= MAX_TEXTS and all(isinstance(one, list) for one in many):
        found = [tuple(int(id_) for id_ in one if _is_integer(id_)) for one in many]
        total = sum(map(len, found))
        if total == sum(map(len, many)) and total <= MAX_LISTED_CHARACTERS:
            return found
    raise SettingsError(
        f"ids is neither a list of token ids nor a list of 1 to {MAX_TEXTS:,} such lists, "
        f"with at most {MAX_LISTED_CHARACTERS:,} ids"
    )


def _is_integer(value: Any) -> bool:
    return type(value) is int or (isinstance(value, float) and value.is_integer())
