"""How an endpoint asks the model: through the batcher, each kind of question with what decides its answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from maskling.infer.masked_copies import Method
from maskling.infer.predict import Asked
from maskling.infer.predictions import Prediction
from maskling.infer.scored_text import ScoredText
from maskling.serve.batching import Batcher
from maskling.serve.service import Service, Vector


@dataclass(frozen=True)
class Asking:
    """The methods of a Service, waited for. See there."""

    service: Service
    batcher: Batcher

    async def fill(
        self,
        texts: Sequence[str],
        top_k: int = 5,
        targets: Sequence[str] | None = None,
        whole_words: bool = False,
        joint: bool = False,
    ) -> list[Any]:
        words = None if targets is None else tuple(targets)
        kind = ("fill", top_k, words, whole_words, joint)
        return await self.batcher.run(
            kind, lambda some: self.service.fill(some, top_k, words, whole_words, joint), texts
        )

    async def embed(self, texts: Sequence[str], normalize: bool, truncate: bool) -> list[Vector]:
        kind = ("embed", normalize, truncate)
        return await self.batcher.run(kind, lambda some: self.service.embed(some, normalize, truncate), texts)

    async def score(self, texts: Sequence[str], method: Method) -> list[ScoredText]:
        return await self.batcher.run(("score", method), lambda some: self.service.score(some, method), texts)

    async def predict(
        self, asked: Sequence[Asked], threshold: float | None = None, n_best: int = 3
    ) -> list[Prediction]:
        kind = ("predict", threshold, n_best)
        return await self.batcher.run(kind, lambda some: self.service.predict(some, threshold, n_best), asked)

    async def tokenize(self, texts: Sequence[str]) -> list[list[dict[str, Any]]]:
        return await self.batcher.run("tokenize", self.service.tokenize, texts)

    async def attention(self, text: str) -> dict[str, Any]:
        return (await self.batcher.run("attention", self.service.attention, [text]))[0]
