"""The endpoints that OpenAI's clients ask for vectors."""

from __future__ import annotations

import base64
from typing import Any, Literal

import numpy as np
from fastapi import APIRouter, Response
from numpy.typing import NDArray
from pydantic import BaseModel

from maskling.errors import SettingsError
from maskling.serve.http import MOST_TEXTS, as_json, check_name
from maskling.serve.service import Asking


class EmbeddingsRequest(BaseModel):
    """As OpenAI's, whose clients ask for base64 unless they are told otherwise. model: any name; there is one here."""

    input: str | list[str] | list[int] | list[list[int]]
    model: str | None = None
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = None


def router(asking: Asking) -> APIRouter:
    """The endpoints. Vectors have length 1, as OpenAI's have."""
    routes = APIRouter(prefix="/v1", tags=["OpenAI"])
    service = asking.service

    @routes.get("/models")
    async def models() -> Any:
        """The one model."""
        return {"object": "list", "data": [_model(service.name)]}

    @routes.get("/models/{name:path}")
    async def model(name: str) -> Any:
        """The one model, by its name."""
        check_name(name, service)
        return _model(name)

    @routes.post("/embeddings")
    async def embeddings(asked: EmbeddingsRequest) -> Response:
        """A vector for each text."""
        texts: list[Any] = asked.input if isinstance(asked.input, list) else [asked.input]
        size = service.model.module.config.hidden_size
        if not all(isinstance(text, str) for text in texts):
            raise SettingsError("input holds token ids, which are another vocabulary's; give texts")
        if not 1 <= len(texts) <= MOST_TEXTS:
            raise SettingsError(f"input holds {len(texts):,} texts; give 1 to {MOST_TEXTS:,} at a time")
        if asked.dimensions not in (None, size):
            raise SettingsError(f"dimensions is {asked.dimensions}; the vectors of this model have {size:,}")
        vectors = await asking.embed(texts, normalize=True, truncate=False)
        tokens = sum(vector.num_tokens for vector in vectors)
        answer = {
            "object": "list",
            "data": [
                {"object": "embedding", "index": index, "embedding": _encoded(vector.values, asked.encoding_format)}
                for index, vector in enumerate(vectors)
            ],
            "model": service.name,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
        return as_json(answer)

    return routes


def _encoded(vector: NDArray[np.float32], how: str | None) -> NDArray[np.float32] | str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode() if how == "base64" else vector


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "maskling"}
