"""What only maskling offers over HTTP: filling with all its ways, scores, attention."""

from __future__ import annotations

from fastapi import APIRouter, Response
from pydantic import Field

from maskling.infer.score import Method, Per
from maskling.serve.http import OwnRequest, TextOrTexts, as_json, as_list
from maskling.serve.service import Asking


class FillRequest(OwnRequest):
    """See `Model.fill`."""

    text: TextOrTexts
    top_k: int = Field(5, ge=1, le=1000)
    targets: list[str] | None = None
    whole_words: bool = False
    joint: bool = False


class ScoreRequest(OwnRequest):
    """See `Model.score`. per: also list the tokens, or the words."""

    text: TextOrTexts
    method: Method = "original"
    per: Per = "text"


class AttentionRequest(OwnRequest):
    """See `Model.attention`."""

    text: str


def router(asking: Asking) -> APIRouter:
    """The endpoints. An answer to one text is an object, to a list of texts a list."""
    routes = APIRouter(tags=["maskling"])

    @routes.post("/fill")
    async def fill(asked: FillRequest) -> Response:
        """Fill the masks of texts."""
        filled = await asking.fill(as_list(asked.text), asked.top_k, asked.targets, asked.whole_words, asked.joint)
        answers = [one.as_dict() for one in filled]
        return as_json(answers if isinstance(asked.text, list) else answers[0])

    @routes.post("/score")
    async def score(asked: ScoreRequest) -> Response:
        """How likely texts are: their pseudo-log-likelihood."""
        answers = [one.as_dict(asked.per) for one in await asking.score(as_list(asked.text), asked.method)]
        return as_json(answers if isinstance(asked.text, list) else answers[0])

    @routes.post("/attention")
    async def attention(asked: AttentionRequest) -> Response:
        """Where every head looks in a text: tokens, and weights (layers, heads, n, n)."""
        return as_json(await asking.attention(asked.text))

    return routes
