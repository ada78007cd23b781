"""What a server can ask of its model: lists of texts in, plain data out."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from maskling.errors import ModelError, SettingsError
from maskling.infer.attention_maps import attention_maps
from maskling.infer.embed import embed_texts
from maskling.infer.masks import mask_pattern
from maskling.infer.model import Model
from maskling.infer.predict import Asked, predict_all
from maskling.infer.results import Prediction, ScoredText
from maskling.infer.score import Method, score_texts
from maskling.model.onnx import WHOLE, whole_graph
from maskling.model.sentence_transformers import normalizes, read_pooling
from maskling.model.tasks.config import Pooling
from maskling.serve.batching import Batcher
from maskling.version import __version__

# FOLDED DOCS
# [asking] How an endpoint asks the model: through the batcher, each kind of question with what decides its answers.


class Vector(NamedTuple):
    """values: (hidden) float32; num_tokens: read for it, special ones included."""

    values: NDArray[np.float32]
    num_tokens: int


# What one answer may come to: numbers of attention (200 tokens in a model of 12 layers and 12 heads); characters of
# the texts that candidates for masks are shown in; ways to fill masks together; tokens that are scored, each of which
# is a sequence of its own; characters that are tokenized.
_MOST_WEIGHTS: Final = 6_000_000
_MOST_SHOWN: Final = 8_000_000
_MOST_TOGETHER: Final = 256
_MOST_SCORED: Final = 1024
_MOST_TOKENIZED: Final = 500_000


@dataclass(frozen=True)
class Service:
    """A model under a name. Its methods take lists, so that requests can share a call; none changes anything.

    pooling, normalizing: how the folder says that states become a vector. alone: each text has to run by itself, as
    int8 rounds by the largest number among all that run together.
    """

    model: Model
    name: str
    pooling: Pooling
    normalizing: bool
    alone: bool

    @classmethod
    def of(cls, model: Model, name: str) -> Service:
        """Raises ModelError for a folder whose vectors are not calculated here."""
        graph = whole_graph(model.folder)
        alone = graph is not None and graph.name == WHOLE[1]
        return cls(model, name, read_pooling(model.folder), normalizes(model.folder), alone)

    @property
    def task(self) -> str:
        """What it was made for: a kind of head, fill-mask, or embed for an encoder alone."""
        if self.model.judge is not None:
            return self.model.judge.head_config.kind
        return "embed" if self.model.headless else "fill-mask"

    @property
    def judges_pairs(self) -> bool:
        """Whether its head for a task is known to judge pairs of texts."""
        return self.model.judge is not None and bool(self.model.judge.head_config.answer_settings.pairs)

    def warm_up(self) -> None:
        """Answer once, so that the first who asks waits no longer than others."""
        self.embed(["a"], normalize=False, truncate=True)

    def has_mask(self, text: str) -> bool:
        """Whether something in a text is to be filled."""
        return mask_pattern(self.model.tokenizer).search(text) is not None

    def about(self) -> dict[str, Any]:
        """What a client may want to know, in the words of text-embeddings-inference where it has some."""
        model = self.model
        judge = model.judge
        return {
            "model_id": self.name,
            "model_dtype": "bfloat16" if model.compute.dtype.itemsize == 2 else "float32",
            "task": self.task,
            "labels": list(judge.head_config.labels) if judge is not None else [],
            "pairs": self.judges_pairs,
            "pooling": self.pooling,
            "hidden_size": model.module.config.hidden_size,
            "num_layers": model.module.config.num_layers,
            "num_heads": model.module.config.num_heads,
            "vocab_size": model.tokenizer.vocab_size,
            "mask_token": model.tokenizer.mask_token,
            "max_input_length": model.max_length,
            "runs_on": model.compute.description,
            "version": __version__,
        }

    def fill(
        self, texts: list[str], top_k: int, targets: Sequence[str] | None, whole_words: bool, joint: bool
    ) -> list[Any]:
        """See `Model.fill`. Raises SettingsError where the answer would be too large."""
        for text in texts:
            masks = len(mask_pattern(self.model.tokenizer).findall(text))
            if joint and masks * max(top_k, 16) > _MOST_TOGETHER:
                raise SettingsError(
                    f"{masks:,} masks are too many to be filled together, {top_k} ways; give fewer, or leave joint out"
                )
            if masks * top_k * len(text) > _MOST_SHOWN:
                raise SettingsError(
                    f"{top_k} candidates for each of {masks:,} masks, each with the text of {len(text):,} characters, "
                    f"are too large an answer; give a shorter text, or lower top_k"
                )
        return list(self.model.fill(texts, top_k=top_k, targets=targets, whole_words=whole_words, joint=joint))

    def embed(self, texts: list[str], normalize: bool | None, truncate: bool) -> list[Vector]:
        """A vector for each text, pooled as the folder says. normalize: to length 1; None is as the folder says.

        Raises SettingsError for a text that is too long, unless `truncate` cuts it.
        """
        model = self.model
        room = model.max_length - 2
        lengths = [len(tokens.ids) for tokens in model.tokenizer.encode_batch(texts)]
        longest = max(lengths, default=0)
        if longest > room and not truncate:
            raise SettingsError(
                f"a text has {longest:,} tokens, and this model reads {room:,} at once; give shorter texts, or have "
                f'them cut with "truncate": true'
            )
        normalize = self.normalizing if normalize is None else normalize
        done = embed_texts(model, texts, pooling=self.pooling, normalize=normalize)
        return [Vector(vector, min(length, room) + 2) for vector, length in zip(done.vectors, lengths, strict=True)]

    def score(self, texts: list[str], method: Method) -> list[ScoredText]:
        """See `Model.score`. Raises SettingsError for a text that is too long."""
        for text in texts:
            tokens = len(self.model.tokenizer.encode(text).ids)
            if tokens > _MOST_SCORED:
                raise SettingsError(
                    f"a text has {tokens:,} tokens, and each would be masked by itself; give {_MOST_SCORED:,} tokens "
                    f"at most, or score it with 'maskling score'"
                )
        return score_texts(self.model, texts, method=method)

    def predict(self, asked: list[Asked], threshold: float | None, n_best: int) -> list[Prediction]:
        """See `Model.predict`. Raises ModelError for a model without a head for a task."""
        judge = self.model.judge
        if judge is None:
            raise ModelError(f"{self.name} has no head for a task; it is for: {self.task}")
        return list(predict_all(self.model, judge, asked, threshold=threshold, n_best=n_best).predictions)

    def tokenize(self, texts: list[str]) -> list[list[dict[str, Any]]]:
        """The tokens of each text: id, text, and the characters they stand for.

        Raises SettingsError for a text that is too long.
        """
        tokenizer = self.model.tokenizer
        longest = max(map(len, texts), default=0)
        if longest > _MOST_TOKENIZED:
            raise SettingsError(f"a text has {longest:,} characters; give {_MOST_TOKENIZED:,} at most")
        return [
            [
                {"id": id_, "text": tokenizer.token(id_), "special": False, "start": start, "stop": end}
                for id_, start, end in zip(one.ids.tolist(), one.begins.tolist(), one.ends.tolist(), strict=True)
            ]
            for one in tokenizer.encode_with_offsets(texts)
        ]

    def special_tokens(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """[CLS] and [SEP], as `tokenize` shows tokens; they stand for no characters."""
        tokenizer = self.model.tokenizer
        first, last = (
            {"id": id_, "text": tokenizer.token(id_), "special": True, "start": None, "stop": None}
            for id_ in (tokenizer.special.cls, tokenizer.special.sep)
        )
        return first, last

    def attention(self, texts: list[str]) -> list[dict[str, Any]]:
        """The attention of every head on each text, to three digits: enough to look at, a third of the size.

        Raises SettingsError for a text whose maps are too large to be sent.
        """
        config = self.model.module.config
        found = []
        for text in texts:
            tokens = len(self.model.tokenizer.encode(text, special_in_text=True).ids) + 2
            if config.num_layers * config.num_heads * tokens**2 > _MOST_WEIGHTS:
                raise SettingsError(
                    f"the attention maps of {tokens:,} tokens are too large to be sent; give a shorter text, or write "
                    f"them to a file with 'maskling attention'"
                )
            maps = attention_maps(self.model, text)
            found.append({"tokens": list(maps.tokens), "weights": maps.weights.round(3), "cut": maps.cut})
        return found


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
