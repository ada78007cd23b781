"""maskling's own endpoints: fill with all options, pseudo-log-likelihood scores, and attention maps."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import WithJsonSchema

from maskling.infer.score import Method, Per
from maskling.serve.answers import Attention, FilledText, JointlyFilledText, TextScore
from maskling.serve.http import (
    MASKED_TEXT,
    MAX_TEXTS,
    StrictRequest,
    Targets,
    TextOrTexts,
    UpToThousand,
    as_list,
    error_responses,
    json_response,
)
from maskling.serve.queued import QueuedService


class FillRequest(StrictRequest):
    """Arguments of `Model.fill`."""

    text: Annotated[
        TextOrTexts,
        WithJsonSchema(
            {
                "oneOf": [
                    MASKED_TEXT,
                    {"type": "array", "items": MASKED_TEXT, "minItems": 1, "maxItems": MAX_TEXTS},
                ]
            }
        ),
    ]
    top_k: UpToThousand = 5
    targets: Targets | None = None
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
    routes = APIRouter(tags=["maskling"], responses=error_responses())
    # Others get an error that names what the model is for.
    fills = queued.service.task == "fill-mask"
    filled_text = FilledText | JointlyFilledText

    @routes.post("/fill", response_model=filled_text | list[filled_text], include_in_schema=fills)
    async def fill(body: FillRequest) -> Response:
        """Fill the masks of texts."""
        filled = await queued.fill(as_list(body.text), body.top_k, body.targets, body.whole_words, body.joint)
        results = [one.as_dict() for one in filled]
        return json_response(results if isinstance(body.text, list) else results[0])

    @routes.post("/score", response_model=TextScore | list[TextScore], include_in_schema=fills)
    async def score(body: ScoreRequest) -> Response:
        """Score texts by pseudo-log-likelihood."""
        results = [one.as_dict(body.per) for one in await queued.score(as_list(body.text), body.method)]
        return json_response(results if isinstance(body.text, list) else results[0])

    @routes.post("/attention", response_model=Attention)
    async def attention(body: AttentionRequest) -> Response:
        """Return the attention of every head on a text: tokens, and weights (layers, heads, n, n)."""
        return json_response(await queued.attention(body.text))

    return routes
