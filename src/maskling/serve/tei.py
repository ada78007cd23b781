"""Endpoints of text-embeddings-inference, for clients written for it."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Response

from maskling.serve.http import StrictRequest, TextOrTexts, as_list, json_response
from maskling.serve.service import QueuedService


class EmbedRequest(StrictRequest):
    """normalize: scale vectors to length 1; truncate: cut texts that are too long at their end, not refuse them."""

    inputs: TextOrTexts
    normalize: bool = True
    truncate: bool = False
    truncation_direction: Literal["right", "Right"] = "Right"


class TokenizeRequest(StrictRequest):
    """add_special_tokens: put [CLS] and [SEP] around each text."""

    inputs: TextOrTexts
    add_special_tokens: bool = True


def tei_router(queued: QueuedService) -> APIRouter:
    """Return the endpoints. The response is a list, for one text too."""
    routes = APIRouter(tags=["text-embeddings-inference"])

    @routes.post("/embed")
    async def embed(body: EmbedRequest) -> Response:
        """Embed each text as a vector."""
        vectors = await queued.embed(as_list(body.inputs), body.normalize, body.truncate)
        return json_response([vector.values for vector in vectors])

    @routes.post("/tokenize")
    async def tokenize(body: TokenizeRequest) -> Response:
        """Tokenize each text."""
        cls, sep = queued.service.special_tokens()
        texts = await queued.tokenize(as_list(body.inputs))
        if body.add_special_tokens:
            texts = [[cls, *tokens, sep] for tokens in texts]
        return json_response(texts)

    @routes.get("/info")
    async def info() -> Any:
        """Describe the model and its limits."""
        return queued.service.info()

    @routes.head("/health", include_in_schema=False)
    @routes.get("/health")
    async def health() -> Any:
        """Return 200 while the server is running."""
        return {}

    return routes
