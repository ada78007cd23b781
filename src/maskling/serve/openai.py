"""Endpoints of OpenAI's API for embeddings."""

from __future__ import annotations

import base64
from typing import Annotated, Any, Final, Literal

import numpy as np
from fastapi import APIRouter, Response
from numpy.typing import NDArray
from pydantic import WithJsonSchema

from maskling.errors import SettingsError
from maskling.serve.answers import OpenAIEmbeddings, OpenAIModel, OpenAIModels
from maskling.serve.http import (
    MAX_TEXTS,
    Integer,
    OpenAIErrorAnswer,
    Positive,
    StrictRequest,
    check_model_name,
    error_responses,
    json_response,
)
from maskling.serve.queued import QueuedService
from maskling.serve.service import Service, TextOrIds
from maskling.serve.vectors import resized

_INPUT: Final = {
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": MAX_TEXTS}],
    "description": "a text or texts; also the ids of this model's tokenizer, with its special tokens, or lists of them",
}


class EmbeddingsRequest(StrictRequest):
    """As OpenAI's; its clients request base64 by default. model: any name, because only one model is served.

    dimensions: the first numbers of each vector, scaled to length 1. truncate: cut texts that are too long at their
    end; truncate_prompt_tokens of vLLM does so too if it is -1 or the most that the model reads. user: ignored, as it
    changes nothing.
    """

    input: Annotated[Any, WithJsonSchema(_INPUT)]
    model: str | None = None
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Positive | None = None
    truncate: bool | None = None
    truncate_prompt_tokens: Integer | None = None
    user: str | None = None


def openai_router(queued: QueuedService) -> APIRouter:
    """Return the endpoints. Vectors have length 1, as OpenAI's have."""
    routes = APIRouter(prefix="/v1", tags=["OpenAI"])
    service = queued.service
    errors = error_responses(OpenAIErrorAnswer, body=False)

    @routes.get("/models", response_model=OpenAIModels, responses=errors)
    async def models() -> Any:
        """List the served model."""
        return {"object": "list", "data": [_model(service.name)]}

    not_found = error_responses(OpenAIErrorAnswer, not_found="Another model than the served one")

    @routes.get("/models/{name:path}", response_model=OpenAIModel, responses=not_found)
    async def model(name: str) -> Any:
        """Describe the served model, by its name."""
        check_model_name(name, service)
        return _model(name)

    @routes.post("/embeddings", response_model=OpenAIEmbeddings, responses=error_responses(OpenAIErrorAnswer))
    async def embeddings(body: EmbeddingsRequest) -> Response:
        """Embed each text as a vector."""
        truncate = _truncates(body, service)
        items = _items(body.input, service, service.truncate if truncate is None else truncate)
        vectors = await queued.embed(items, True, truncate)
        values = resized([vector.values for vector in vectors], body.dimensions, normalize=True)
        tokens = sum(vector.num_tokens for vector in vectors)
        content = {
            "object": "list",
            "data": [
                {"object": "embedding", "index": index, "embedding": _encoded(vector, body.encoding_format)}
                for index, vector in enumerate(values)
            ],
            "model": service.name,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
        return json_response(content)

    return routes


def _items(given: Any, service: Service, truncate: bool) -> list[TextOrIds]:
    """Return texts, or the ids of texts, of a list or a single one."""
    if isinstance(given, str):
        return [given]
    if not isinstance(given, list):
        raise SettingsError("input is neither a text nor a list of texts")
    if given and all(type(id_) is int for id_ in given):
        return [service.tokens_of_ids(given, truncate)]
    if not 1 <= len(given) <= MAX_TEXTS:
        raise SettingsError(f"input holds {len(given):,} texts; give 1 to {MAX_TEXTS:,} at a time")
    items: list[TextOrIds] = []
    for one in given:
        if isinstance(one, str):
            items.append(one)
        elif isinstance(one, list) and all(type(id_) is int for id_ in one):
            items.append(service.tokens_of_ids(one, truncate))
        else:
            raise SettingsError("input holds something else than texts, or than lists of token ids")
    return items


def _truncates(body: EmbeddingsRequest, service: Service) -> bool | None:
    """Return whether texts that are too long are cut; None for the server's default."""
    tokens, most = body.truncate_prompt_tokens, service.model.max_length
    if tokens is None:
        return body.truncate
    if tokens not in (-1, most):
        raise SettingsError(
            f"truncate_prompt_tokens is {tokens}; texts can be cut to the {most:,} tokens that this model reads, "
            f"so give {most} or -1"
        )
    return True


def _encoded(vector: NDArray[np.float32], encoding: str | None) -> NDArray[np.float32] | str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode() if encoding == "base64" else vector


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "maskling"}
