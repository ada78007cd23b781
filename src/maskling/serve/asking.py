"""How an endpoint asks the model: through the batcher, each kind of question with what decides its answers."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from maskling.errors import SettingsError
from maskling.infer.masked_copies import Method
from maskling.infer.predict import Asked
from maskling.infer.predictions import Prediction
from maskling.infer.scored_text import ScoredText
from maskling.serve.batching import Batcher
from maskling.serve.service import Service, Vector

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Asking:
    """The methods of a Service, waited for. See there.

    Raises SettingsError for a text with half of a character in it, and what they raise.
    """

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
        _check(words or ())
        kind = ("fill", top_k, words, whole_words, joint)
        return await self._run(kind, lambda some: self.service.fill(some, top_k, words, whole_words, joint), texts)

    async def embed(self, texts: Sequence[str], normalize: bool | None, truncate: bool) -> list[Vector]:
        kind = ("embed", normalize, truncate)
        return await self._run(kind, lambda some: self.service.embed(some, normalize, truncate), texts)

    async def score(self, texts: Sequence[str], method: Method) -> list[ScoredText]:
        return await self._run(("score", method), lambda some: self.service.score(some, method), texts)

    async def predict(
        self, asked: Sequence[Asked], threshold: float | None = None, n_best: int = 3
    ) -> list[Prediction]:
        kind = ("predict", threshold, n_best)
        return await self._run(kind, lambda some: self.service.predict(some, threshold, n_best), asked)

    async def tokenize(self, texts: Sequence[str]) -> list[list[dict[str, Any]]]:
        return await self._run("tokenize", self.service.tokenize, texts)

    async def attention(self, text: str) -> dict[str, Any]:
        return (await self._run("attention", self.service.attention, [text]))[0]

    async def _run(self, kind: Hashable, call: Callable[[list[T]], Sequence[R]], items: Sequence[T]) -> list[R]:
        _check(items)
        if self.service.alone:
            return await self.batcher.run(kind, lambda some: [call([one])[0] for one in some], items)
        return await self.batcher.run(kind, call, items)


def _check(items: Iterable[Any]) -> None:
    """JSON can say half of a character; no tokenizer can read it."""
    for item in items:
        if not isinstance(item, str):
            _check(item)
        elif not item.isascii():
            try:
                item.encode()
            except UnicodeEncodeError as error:
                raise SettingsError(
                    f"character {error.start} of a text is half of one (a lone surrogate); it was cut in two before it "
                    f"was sent, so cut texts between characters"
                ) from None
