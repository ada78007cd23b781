"""Rank texts by how well they fit a query: /rerank of text-embeddings-inference, and Cohere's and Jina's endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final
from uuid import uuid4

from fastapi import APIRouter, Response
from pydantic import Field, WithJsonSchema

from maskling.errors import ModelError, SettingsError
from maskling.infer.results import Label, Number
from maskling.serve.answers import Rank, RerankAnswer
from maskling.serve.http import (
    MAX_TEXTS,
    ErrorAnswer,
    OpenAIErrorAnswer,
    Positive,
    StrictRequest,
    TruncationDirection,
    error_responses,
    json_response,
)
from maskling.serve.queued import QueuedService
from maskling.serve.service import Service

# Names of the label that means a match, in lower case.
_MATCHES: Final = frozenset(
    {"1", "true", "yes", "match", "relevant", "same", "similar", "duplicate", "paraphrase", "equivalent", "entailment"}
    | {"is_duplicate", "is_match", "positive", "pos", "label_1"}
)


class RerankRequest(StrictRequest):
    """As in text-embeddings-inference.

    raw_scores: changes nothing for a regressor, whose number is the score; a classifier has probabilities only.
    truncate: changes nothing; of a pair that is too long, the longer text is cut at its end.
    """

    query: str
    texts: Annotated[list[str], Field(min_length=1, max_length=MAX_TEXTS, fail_fast=True)]
    raw_scores: bool | None = None
    return_text: bool | None = None
    truncate: bool | None = None
    truncation_direction: TruncationDirection = None


_DOCUMENT: Final = {
    "anyOf": [
        {"type": "string"},
        {
            "type": "object",
            "properties": {"text": {"type": "string"}},
            "required": ["text"],
            "additionalProperties": False,
        },
    ]
}
_DOCUMENTS: Final = {"type": "array", "items": _DOCUMENT, "minItems": 1, "maxItems": MAX_TEXTS}


class DocumentsRequest(StrictRequest):
    """As in Cohere's and Jina's API. model: any name, because only one model is served."""

    query: str
    documents: Annotated[Any, WithJsonSchema(_DOCUMENTS)]
    model: str | None = None
    top_n: Positive | None = None
    return_documents: bool | None = None


def rerank_router(queued: QueuedService) -> APIRouter:
    """Return the endpoints, which a model of pairs answers."""
    routes = APIRouter(tags=["rerank"])
    service = queued.service
    shown = service.task == "regress" or _match_label(service) is not None

    @routes.post("/rerank", response_model=list[Rank], responses=error_responses(), include_in_schema=shown)
    async def rerank(body: RerankRequest) -> Response:
        """Score each text for a query, best first."""
        if body.raw_scores and service.task != "regress":
            raise SettingsError("raw_scores is true, and this model is a classifier; its scores are probabilities")
        ranked = await _ranked(queued, body.query, body.texts)
        texts = [{"text": body.texts[index]} if body.return_text else {} for index, _ in ranked]
        return json_response(
            [{"index": index, "score": score, **text} for (index, score), text in zip(ranked, texts, strict=True)]
        )

    async def rerank_documents(body: DocumentsRequest) -> Response:
        """Score each document for a query, best first: Cohere's and Jina's form."""
        texts = _texts(body.documents)
        ranked = (await _ranked(queued, body.query, texts))[: body.top_n]
        results = [
            {
                "index": index,
                "relevance_score": score,
                **({"document": {"text": texts[index]}} if body.return_documents else {}),
            }
            for index, score in ranked
        ]
        return json_response({"id": str(uuid4()), "model": service.name, "results": results, "meta": {}})

    for path, kind in (("/v1/rerank", OpenAIErrorAnswer), ("/v2/rerank", ErrorAnswer)):
        routes.add_api_route(
            path,
            rerank_documents,
            methods=["POST"],
            response_model=RerankAnswer,
            responses=error_responses(kind),
            include_in_schema=shown,
        )
    return routes


async def _ranked(queued: QueuedService, query: str, texts: Sequence[str]) -> list[tuple[int, float]]:
    """Return index and score of each text, best first; equal scores stay in order."""
    service = queued.service
    label = _match_label(service)
    if service.task != "regress" and label is None:
        raise ModelError(_why_not(service))
    if service.task_scorer.head_config.answer_settings.pairs is False:
        raise ModelError(f"{service.name} was trained on single texts; reranking needs a model trained on pairs")
    predictions = await queued.predict([(query, text) for text in texts])
    scores = [
        float(one) if isinstance(one, Number) else one.scores[str(label)]
        for one in predictions
        if isinstance(one, Number | Label)
    ]
    return sorted(enumerate(scores), key=lambda pair: -pair[1])


def _match_label(service: Service) -> str | None:
    """Return the label whose probability is the score of a pair, None if it cannot be told."""
    if service.task != "classify":
        return None
    head = service.task_scorer.head_config
    positive = head.answer_settings.positive
    if positive in head.labels:
        return positive
    matches = [label for label in head.labels if label.lower() in _MATCHES]
    return matches[0] if len(matches) == 1 else None


def _why_not(service: Service) -> str:
    if service.task == "classify":
        labels = ", ".join(service.task_scorer.head_config.labels[:5])
        return (
            f"{service.name} classifies, and which of its labels ({labels}) means that a text fits cannot be told; "
            f"fine-tune with --task regress, or name a label 'relevant'"
        )
    return (
        f"{service.name} is for {service.task}, and reranking needs a model fine-tuned on pairs; for similarities of "
        f"vectors use /similarity"
    )


def _texts(documents: Any) -> list[str]:
    texts = []
    for one in documents if isinstance(documents, list) else []:
        match one:
            case str():
                texts.append(one)
            case {"text": str(text), **others} if not others:
                texts.append(text)
    if not texts or not isinstance(documents, list) or len(texts) < len(documents) or len(texts) > MAX_TEXTS:
        raise SettingsError(f'documents is not a list of 1 to {MAX_TEXTS:,} texts, or of {{"text": ...}}')
    return texts
