"""The endpoints of text-embeddings-inference, for what is written for it."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Response

from maskling.serve.http import OwnRequest, TextOrTexts, as_json, as_list
from maskling.serve.service import Asking


class EmbedRequest(OwnRequest):
    """normalize: vectors of length 1; truncate: cut texts that are too long, at their end, instead of refusing them."""

    inputs: TextOrTexts
    normalize: bool = True
    truncate: bool = False
    truncation_direction: Literal["right", "Right"] = "Right"


class TokenizeRequest(OwnRequest):
    """add_special_tokens: [CLS] and [SEP] around each text."""

    inputs: TextOrTexts
    add_special_tokens: bool = True


def router(asking: Asking) -> APIRouter:
    """The endpoints. They answer with lists, to one text too."""
    routes = APIRouter(tags=["text-embeddings-inference"])

    @routes.post("/embed")
    async def embed(asked: EmbedRequest) -> Response:
        """A vector for each text."""
        vectors = await asking.embed(as_list(asked.inputs), asked.normalize, asked.truncate)
        return as_json([vector.values for vector in vectors])

    @routes.post("/tokenize")
    async def tokenize(asked: TokenizeRequest) -> Response:
        """The tokens of each text."""
        special = asking.service.special_tokens()
        found = await asking.tokenize(as_list(asked.inputs))
        if asked.add_special_tokens:
            found = [[special[0], *tokens, special[1]] for tokens in found]
        return as_json(found)

    @routes.get("/info")
    async def info() -> Any:
        """What the model is and takes."""
        return asking.service.about()

    @routes.head("/health", include_in_schema=False)
    @routes.get("/health")
    async def health() -> Any:
        """That the server answers."""
        return {}

    return routes
