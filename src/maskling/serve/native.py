"""maskling's own endpoints: fill with all options, pseudo-log-likelihood scores, and attention maps."""

from __future__ import annotations

from fastapi import APIRouter, Response
from pydantic import Field

from maskling.infer.score import Method, Per
from maskling.serve.http import StrictRequest, TextOrTexts, as_list, json_response
from maskling.serve.service import QueuedService


class FillRequest(StrictRequest):
    """Arguments of `Model.fill`."""

    text: TextOrTexts
    top_k: int = Field(5, ge=1, le=1000)
    targets: list[str] | None = None
    whole_words: bool = False
    joint: bool = False


class ScoreRequest(StrictRequest):
    """Arguments of `Model.score`. per: also list the tokens, or the words."""

    text: TextOrTexts
    method: Method = "original"
    per: Per = "text"


class AttentionRequest(StrictRequest):
    """Arguments of `Model.attention`."""

    text: str


def native_router(queued: QueuedService) -> APIRouter:
    """Return the endpoints. The response to one text is an object, to a list of texts a list."""
    routes = APIRouter(tags=["maskling"])

    @routes.post("/fill")
    async def fill(body: FillRequest) -> Response:
        """Fill the masks of texts."""
        filled = await queued.fill(as_list(body.text), body.top_k, body.targets, body.whole_words, body.joint)
        results = [one.as_dict() for one in filled]
        return json_response(results if isinstance(body.text, list) else results[0])

    @routes.post("/score")
    async def score(body: ScoreRequest) -> Response:
        """Score texts by pseudo-log-likelihood."""
        results = [one.as_dict(body.per) for one in await queued.score(as_list(body.text), body.method)]
        return json_response(results if isinstance(body.text, list) else results[0])

    @routes.post("/attention")
    async def attention(body: AttentionRequest) -> Response:
        """Return the attention of every head on a text: tokens, and weights (layers, heads, n, n)."""
        return json_response(await queued.attention(body.text))

    return routes
