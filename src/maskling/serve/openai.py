"""Endpoints of OpenAI's API for embeddings."""

from __future__ import annotations

import base64
from typing import Any, Literal

import numpy as np
from fastapi import APIRouter, Response
from numpy.typing import NDArray
from pydantic import BaseModel

from maskling.errors import SettingsError
from maskling.serve.http import MAX_TEXTS, check_model_name, json_response
from maskling.serve.service import QueuedService


class EmbeddingsRequest(BaseModel):
    """As OpenAI's; its clients request base64 by default. model: any name, because only one model is served."""

    input: str | list[str] | list[int] | list[list[int]]
    model: str | None = None
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = None


def openai_router(queued: QueuedService) -> APIRouter:
    """Return the endpoints. Vectors have length 1, as OpenAI's have."""
    routes = APIRouter(prefix="/v1", tags=["OpenAI"])
    service = queued.service

    @routes.get("/models")
    async def models() -> Any:
        """List the served model."""
        return {"object": "list", "data": [_model(service.name)]}

    @routes.get("/models/{name:path}")
    async def model(name: str) -> Any:
        """Describe the served model, by its name."""
        check_model_name(name, service)
        return _model(name)

    @routes.post("/embeddings")
    async def embeddings(body: EmbeddingsRequest) -> Response:
        """Embed each text as a vector."""
        texts: list[Any] = body.input if isinstance(body.input, list) else [body.input]
        size = service.model.module.config.hidden_size
        if not all(isinstance(text, str) for text in texts):
            raise SettingsError("input holds token ids, which belong to another vocabulary; give texts")
        if not 1 <= len(texts) <= MAX_TEXTS:
            raise SettingsError(f"input holds {len(texts):,} texts; give 1 to {MAX_TEXTS:,} at a time")
        if body.dimensions not in (None, size):
            raise SettingsError(f"dimensions is {body.dimensions}; the vectors of this model have {size:,}")
        vectors = await queued.embed(texts, normalize=True, truncate=False)
        tokens = sum(vector.num_tokens for vector in vectors)
        content = {
            "object": "list",
            "data": [
                {"object": "embedding", "index": index, "embedding": _encoded(vector.values, body.encoding_format)}
                for index, vector in enumerate(vectors)
            ],
            "model": service.name,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
        return json_response(content)

    return routes


def _encoded(vector: NDArray[np.float32], encoding: str | None) -> NDArray[np.float32] | str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode() if encoding == "base64" else vector


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "maskling"}
