"""maskling's own endpoints: fill with all options, scores, generation, attention maps, and the page's examples."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Response
from pydantic import Field, WithJsonSchema, create_model

from maskling.infer.generate import Order
from maskling.infer.score import Method, Per
from maskling.serve import bounds
from maskling.serve.answers import (
    Attention,
    Examples,
    FilledText,
    GeneratedText,
    HeadAttention,
    JointlyFilledText,
    TextScore,
)
from maskling.serve.examples import example_inputs
from maskling.serve.http import (
    MASKED_TEXT,
    MAX_TEXTS,
    FromZero,
    Seed,
    StrictRequest,
    Targets,
    TextOrTexts,
    UpToThousand,
    as_list,
    error_responses,
    integers,
    json_response,
)
from maskling.serve.queued import QueuedService
from maskling.serve.service import GenerateOptions, HeadChoice

HeadIndex = Literal["mean"] | FromZero


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
    """Arguments of `Model.attention`.

    layer, head: return the weights (n, n) of this head alone, counted from 0, or of "mean", the mean over them; one
    given without the other is that of the mean.
    """

    text: str
    layer: HeadIndex | None = None
    head: HeadIndex | None = None


class GenerateRequest(StrictRequest):
    """Arguments of `Model.generate`. text: each mask is one token; without a mask, `length` tokens are appended."""

    text: str = ""
    length: UpToThousand | None = None
    count: UpToThousand = 1
    order: Order = "confidence"
    temperature: Annotated[float, Field(ge=0, le=1000)] = 1.0
    top_k: UpToThousand | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = 0.9
    steps: UpToThousand | None = None
    no_repeat: FromZero = 3
    seed: Seed = 0


def _limited(request: type[StrictRequest], **fields: Any) -> type[StrictRequest]:
    """Return a kind of request with other types of some fields."""
    types: dict[str, Any] = {}
    for name, kind in fields.items():
        default = request.model_fields[name].default
        types[name] = (kind | None if default is None else kind, default)
    return create_model(request.__name__, __base__=request, __doc__=request.__doc__, **types)


def native_router(queued: QueuedService) -> APIRouter:
    """Return the endpoints. The response to one text is an object, to a list of texts a list."""
    routes = APIRouter(tags=["maskling"], responses=error_responses())
    # Others get an error that names what the model is for.
    fills = queued.service.task == "fill-mask"
    filled_text = FilledText | JointlyFilledText
    found: dict[str, Any] = {}

    @routes.post("/fill", response_model=filled_text | list[filled_text], include_in_schema=fills)
    async def fill(body: FillRequest) -> Response:
        """Fill the masks of texts."""
        filled = await queued.fill(as_list(body.text), body.top_k, body.targets, body.whole_words, body.joint)
        results = [one.as_dict() for one in filled]
        return json_response(results if isinstance(body.text, list) else results[0])

    @routes.post("/score", response_model=TextScore | list[TextScore], include_in_schema=fills)
    async def score(body: ScoreRequest) -> Response:
        """Score texts by pseudo-log-likelihood."""
        results = []
        for one in await queued.score(as_list(body.text), body.method):
            results.append(one.as_dict(body.per))
            if body.per == "word":
                for word, (start, stop) in zip(results[-1]["words"], queued.service.word_spans(one), strict=False):
                    word |= {"start": start, "stop": stop}
        return json_response(results if isinstance(body.text, list) else results[0])

    async def generate(body: GenerateRequest) -> Response:
        """Generate texts by filling masks step by step, with the step that drew each token."""
        options = GenerateOptions(**body.model_dump(exclude={"text"}))
        return json_response([one.as_dict() for one in await queued.generate(body.text, options)])

    async def attention(body: AttentionRequest) -> Response:
        """Return the attention of every head on a text: tokens, and weights (layers, heads, n, n).

        With a layer or a head: weights (n, n), an overview (layers, heads, m, m) of at most 24 rows, in which the
        largest weight of each block is kept, and statistics of every head.
        """
        if body.layer is None and body.head is None:
            return json_response(await queued.attention(body.text))
        layer, head = (None if one in (None, "mean") else int(one) for one in (body.layer, body.head))
        return json_response(await queued.attention_of(body.text, HeadChoice(layer, head)))

    # The limits of the model stand in the description of the service.
    config, room = queued.service.model.module.config, queued.service.model.max_length - 2
    layers, heads = (Literal["mean"] | integers(0, size - 1) for size in (config.num_layers, config.num_heads))
    attention.__annotations__["body"] = _limited(AttentionRequest, layer=layers, head=heads)
    routes.post("/attention", response_model=Attention | HeadAttention)(attention)
    # As many texts as the model may write for one request, one token per step and each as long as it reads.
    texts = min(1000, max(1, bounds.MAX_WORK // (max(1, room) * queued.service.model.max_length)))
    limited = _limited(GenerateRequest, length=integers(1, max(1, min(1000, room))), count=integers(1, texts))
    generate.__annotations__["body"] = limited
    routes.post("/generate", response_model=list[GeneratedText], include_in_schema=fills)(generate)

    @routes.get("/examples", response_model=Examples)
    async def examples() -> Response:
        """Return texts to try: of the model's held-out data or its card, else in the script of its vocabulary."""
        if not found:
            found.update(await asyncio.to_thread(example_inputs, queued.service, queued.shows_data))
        return json_response(found)

    return routes
