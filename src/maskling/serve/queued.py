"""The methods of a Service through the batcher, within the limits of a request."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from maskling.errors import SettingsError
from maskling.infer.generate import DEFAULT_LENGTH, Generated
from maskling.infer.predict import PredictInput
from maskling.infer.results import Prediction
from maskling.infer.score import Method, ScoredText
from maskling.serve import bounds
from maskling.serve.batching import Batcher
from maskling.serve.service import (
    MAX_ATTENTION_WEIGHTS,
    MAX_CALCULATED_WEIGHTS,
    MAX_SCORE_TOKENS,
    GenerateOptions,
    HeadChoice,
    PredictOptions,
    Service,
    TextOrIds,
    Vector,
)

_T = TypeVar("_T")
_R = TypeVar("_R")


@dataclass(frozen=True)
class QueuedService:
    """The methods of a Service, run through the batcher: each kind of call with the arguments that decide its results.

    shows_data: whether clients may see texts of the data that the model was made from. compared: the
    name of a second model, served below /compare.
    Raises SettingsError for a text with a lone surrogate and for a request beyond the limits in `bounds`, and what the
    methods raise.
    """

    service: Service
    batcher: Batcher
    shows_data: bool = False
    compared: str | None = None

    async def fill(
        self,
        texts: Sequence[str],
        top_k: int = 5,
        targets: Sequence[str] | None = None,
        whole_words: bool = False,
        joint: bool = False,
    ) -> list[Any]:
        words = None if targets is None else tuple(targets)
        _check_text(words or ())
        pieces = bounds.check_targets(words) if words else 1
        bounds.check_lengths(texts)
        masks = [self.service.count_masks(text) for text in texts]
        characters = bounds.check_fill(texts, masks, top_k, joint)
        candidates = sum(masks) * top_k
        await bounds.hold_memory(4 * characters + candidates * bounds.OBJECT_BYTES)
        reading = {
            text: self._tokens(text) * (bounds.joint_rows(count, top_k) if joint else max(1, count if words else 1))
            for text, count in zip(texts, masks, strict=True)
        }
        kind = ("fill", top_k, words, whole_words, joint)
        return await self._run(
            kind,
            lambda some: self.service.fill(some, top_k, words, whole_words, joint),
            texts,
            lambda text: pieces * reading[text] + self.service.count_masks(text) * top_k,
        )

    async def embed(
        self, items: Sequence[TextOrIds], normalize: bool | None, truncate: bool | None = None
    ) -> list[Vector]:
        bounds.check_lengths([item for item in items if isinstance(item, str)])
        numbers = bounds.check_vectors(len(items), self.service.model.module.config.hidden_size)
        await bounds.hold_memory(numbers * bounds.VECTOR_BYTES)
        truncate = self.service.truncate if truncate is None else truncate
        kind = ("embed", normalize, truncate)
        return await self._run(kind, lambda some: self.service.embed(some, normalize, truncate), items, self._tokens)

    async def embed_all(self, texts: Sequence[str], truncate: bool | None = None) -> list[Vector]:
        bounds.check_lengths(texts)
        # A token takes a character or more.
        most = sum(min(len(text) + 2, self.service.model.max_length) for text in texts)
        numbers = bounds.check_vectors(most, self.service.model.module.config.hidden_size)
        await bounds.hold_memory(numbers * bounds.VECTOR_BYTES)
        truncate = self.service.truncate if truncate is None else truncate
        return await self._run(
            ("embed_all", truncate), lambda some: self.service.embed_all(some, truncate), texts, self._tokens
        )

    async def score(self, texts: Sequence[str], method: Method) -> list[ScoredText]:
        bounds.check_lengths(texts)
        await bounds.hold_memory(sum(map(len, texts)) * bounds.OBJECT_BYTES // 2)
        return await self._run(
            ("score", method),
            lambda some: self.service.score(some, method),
            texts,
            lambda text: min(bounds.most_tokens(text), MAX_SCORE_TOKENS) * self._tokens(text),
        )

    async def predict(self, inputs: Sequence[PredictInput], options: PredictOptions | None = None) -> list[Prediction]:
        options = options or PredictOptions()
        head = self.service.task_scorer.head_config
        texts = [text for item in inputs for text in _texts_of(item)]
        bounds.check_lengths(texts)
        if head.kind == "tag":
            objects = bounds.check_listed(texts)
        elif head.kind == "answer":
            contexts = [item[-1] for item in inputs if isinstance(item, tuple) and len(item) == 2]
            objects = bounds.check_answers([str(context) for context in contexts], options.n_best)
        else:
            objects = bounds.check_labels(len(inputs), len(head.labels))
        await bounds.hold_memory(objects * bounds.OBJECT_BYTES)
        return await self._run(
            ("predict", options),
            lambda some: self.service.predict(some, options),
            inputs,
            lambda item: sum(map(bounds.most_tokens, _texts_of(item))),
        )

    async def tokenize(self, texts: Sequence[str]) -> list[list[dict[str, Any]]]:
        await bounds.hold_memory(bounds.check_listed(texts) * bounds.OBJECT_BYTES)
        return await self._run("tokenize", self.service.tokenize, texts, bounds.most_tokens)

    async def decode(self, sequences: Sequence[tuple[int, ...]], skip_special_tokens: bool) -> list[str]:
        return await self._run(
            ("decode", skip_special_tokens),
            lambda some: self.service.decode(some, skip_special_tokens),
            sequences,
            len,
        )

    async def attention(self, text: str) -> dict[str, Any]:
        bounds.check_lengths([text])
        config = self.service.model.module.config
        tokens = min(bounds.most_tokens(text), self.service.model.max_length)
        weights = min(MAX_ATTENTION_WEIGHTS, config.num_layers * config.num_heads * tokens**2)
        await bounds.hold_memory(weights * bounds.VECTOR_BYTES)
        return (await self._run("attention", self.service.attention, [text], self._tokens))[0]

    async def attention_of(self, text: str, choice: HeadChoice) -> dict[str, Any]:
        bounds.check_lengths([text])
        config = self.service.model.module.config
        tokens = min(bounds.most_tokens(text), self.service.model.max_length)
        weights = min(MAX_CALCULATED_WEIGHTS, config.num_layers * config.num_heads * tokens**2)
        await bounds.hold_memory(3 * 4 * weights + tokens**2 * bounds.VECTOR_BYTES)
        call = self.service.attention_of
        return (await self._run(("attention", choice), lambda some: call(some, choice), [text], self._tokens))[0]

    async def generate(self, text: str, options: GenerateOptions) -> list[Generated]:
        bounds.check_lengths([text])
        drawn = max(options.length or DEFAULT_LENGTH, self.service.count_masks(text))
        read = min(self._tokens(text) + drawn, self.service.model.max_length)
        await bounds.hold_memory(options.count * drawn * bounds.OBJECT_BYTES)
        return (
            await self._run(
                ("generate", options),
                lambda some: self.service.generate(some, options),
                [text],
                lambda _: options.count * min(options.steps or drawn, drawn) * read,
            )
        )[0]

    def _tokens(self, item: TextOrIds) -> int:
        """Return about the most tokens that the model reads of a text at once."""
        most = bounds.most_tokens(item) if isinstance(item, str) else len(item)
        return min(most, self.service.model.max_length)

    async def _run(
        self,
        kind: Hashable,
        call: Callable[[list[_T]], Sequence[_R]],
        items: Sequence[_T],
        cost: Callable[[_T], int],
    ) -> list[_R]:
        _check_text(items)
        bounds.check_work([cost(item) for item in items])
        kind = (self.service.name, kind)  # several models can share a batcher
        if self.service.alone:
            return await self.batcher.run(kind, lambda some: [call([one])[0] for one in some], items, cost)
        return await self.batcher.run(kind, call, items, cost)


def _texts_of(item: PredictInput) -> Sequence[str]:
    return [item] if isinstance(item, str) else [text for text in item if isinstance(text, str)]  # type: ignore[union-attr]


def _check_text(items: Iterable[Any]) -> None:
    """Raise SettingsError for a lone surrogate: JSON can carry one, but no tokenizer can read it."""
    for item in items:
        if isinstance(item, int):
            continue
        if not isinstance(item, str):
            _check_text(item)
        elif not item.isascii():
            try:
                item.encode()
            except UnicodeEncodeError as error:
                raise SettingsError(
                    f"character {error.start} of a text is half a character (a lone surrogate); the text was split "
                    f"inside a character before it was sent, so split texts between characters"
                ) from None
