"""Methods of the model that the endpoints call: lists of texts in, plain data out."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from maskling.errors import ModelError, SettingsError
from maskling.files import path_text
from maskling.infer.attention_maps import attention_maps
from maskling.infer.embed import embed_texts
from maskling.infer.masks import mask_pattern
from maskling.infer.model import Model
from maskling.infer.predict import PredictInput, predict_all
from maskling.infer.results import Prediction
from maskling.infer.score import Method, ScoredText, score_texts
from maskling.model.onnx import GRAPH_FILES, find_graph
from maskling.model.sentence_transformers import normalizes, read_pooling
from maskling.model.tasks.config import Pooling
from maskling.serve.batching import Batcher
from maskling.version import __version__

_T = TypeVar("_T")
_R = TypeVar("_R")

# Limits per response. Attention weights: 200 tokens in a model of 12 layers and 12 heads.
_MAX_ATTENTION_WEIGHTS: Final = 6_000_000
# Characters of the filled texts that are returned with the candidates.
_MAX_FILL_CHARACTERS: Final = 8_000_000
# Candidate combinations when masks are filled jointly.
_MAX_JOINT: Final = 256
# Tokens of a scored text, each of which is masked in a sequence of its own.
_MAX_SCORE_TOKENS: Final = 1024
_MAX_TOKENIZE_CHARACTERS: Final = 500_000


class Vector(NamedTuple):
    """values: (hidden) float32; num_tokens: tokens the model read for it, special tokens included."""

    values: NDArray[np.float32]
    num_tokens: int


def default_name(folder: Path) -> str:
    """Return the name of a model's folder, or of its run."""
    folder = folder.resolve()
    return path_text(folder.parent.name if folder.name == "model" else folder.name)


@dataclass(frozen=True)
class Service:
    """A model and the name it is served under. Methods take lists, so that requests can share a call; all are pure.

    pooling, normalizing: how the model folder defines vectors. alone: run each text by itself, because int8 rounds by
    the largest value among all texts of a call.
    """

    model: Model
    name: str
    pooling: Pooling
    normalizing: bool
    alone: bool

    @classmethod
    def of(cls, model: Model, name: str) -> Service:
        """Return the service of a model. Raises ModelError for a folder whose kind of vectors is not supported."""
        graph = find_graph(model.folder)
        alone = graph is not None and graph.name == GRAPH_FILES["int8"]
        return cls(model, name, read_pooling(model.folder), normalizes(model.folder), alone)

    @property
    def task(self) -> str:
        """What the model is for: the kind of its head, fill-mask, or embed for an encoder without a head."""
        if self.model.task_scorer is not None:
            return self.model.task_scorer.head_config.kind
        return "embed" if self.model.headless else "fill-mask"

    @property
    def takes_pairs(self) -> bool:
        """Whether the model's head is known to classify pairs of texts."""
        return self.model.task_scorer is not None and bool(self.model.task_scorer.head_config.answer_settings.pairs)

    def warm_up(self) -> None:
        """Run the model once, so that the first request takes no longer than others."""
        self.embed(["a"], normalize=False, truncate=True)

    def has_mask(self, text: str) -> bool:
        """Return whether a text contains a mask."""
        return mask_pattern(self.model.tokenizer).search(text) is not None

    def info(self) -> dict[str, Any]:
        """Describe the model and its limits, with the keys of text-embeddings-inference where it has them."""
        model = self.model
        judge = model.task_scorer
        return {
            "model_id": self.name,
            "model_dtype": "bfloat16" if model.compute.dtype.itemsize == 2 else "float32",
            "task": self.task,
            "labels": list(judge.head_config.labels) if judge is not None else [],
            "pairs": self.takes_pairs,
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
        """Fill the masks of texts, see `Model.fill`. Raises SettingsError if the response would be too large."""
        for text in texts:
            masks = len(mask_pattern(self.model.tokenizer).findall(text))
            if joint and masks * max(top_k, 16) > _MAX_JOINT:
                raise SettingsError(
                    f"{masks:,} masks are too many to be filled jointly with {top_k} candidates; give fewer, or "
                    f"leave joint out"
                )
            if masks * top_k * len(text) > _MAX_FILL_CHARACTERS:
                raise SettingsError(
                    f"the response would be too large: {top_k} candidates for each of {masks:,} masks, each with the "
                    f"text of {len(text):,} characters; give a shorter text, or lower top_k"
                )
        return list(self.model.fill(texts, top_k=top_k, targets=targets, whole_words=whole_words, joint=joint))

    def embed(self, texts: list[str], normalize: bool | None, truncate: bool) -> list[Vector]:
        """Embed each text, pooled as the model folder says.

        normalize: scale vectors to length 1; None follows the model folder. Raises SettingsError for a text that is
        too long, unless `truncate` cuts it.
        """
        model = self.model
        max_tokens = model.max_length - 2
        lengths = [len(tokens.ids) for tokens in model.tokenizer.encode_batch(texts)]
        longest = max(lengths, default=0)
        if longest > max_tokens and not truncate:
            raise SettingsError(
                f"a text has {longest:,} tokens, and this model reads at most {max_tokens:,}; give shorter texts, or "
                f'cut them with "truncate": true'
            )
        normalize = self.normalizing if normalize is None else normalize
        embedded = embed_texts(model, texts, pooling=self.pooling, normalize=normalize)
        return [
            Vector(vector, min(length, max_tokens) + 2)
            for vector, length in zip(embedded.vectors, lengths, strict=True)
        ]

    def score(self, texts: list[str], method: Method) -> list[ScoredText]:
        """Score texts, see `Model.score`. Raises SettingsError for a text that is too long."""
        for text in texts:
            tokens = len(self.model.tokenizer.encode(text).ids)
            if tokens > _MAX_SCORE_TOKENS:
                raise SettingsError(
                    f"a text has {tokens:,} tokens, and each would be masked by itself; give at most "
                    f"{_MAX_SCORE_TOKENS:,} tokens, or score it with 'maskling score'"
                )
        return score_texts(self.model, texts, method=method)

    def predict(self, inputs: list[PredictInput], threshold: float | None, n_best: int) -> list[Prediction]:
        """Run a fine-tuned model, see `Model.predict`. Raises ModelError for a model without a task head."""
        judge = self.model.task_scorer
        if judge is None:
            raise ModelError(f"{self.name} has no task head; it is for: {self.task}")
        return list(predict_all(self.model, judge, inputs, threshold=threshold, n_best=n_best).predictions)

    def tokenize(self, texts: list[str]) -> list[list[dict[str, Any]]]:
        """Tokenize each text: id, text, and character offsets of each token.

        Raises SettingsError for a text that is too long.
        """
        tokenizer = self.model.tokenizer
        longest = max(map(len, texts), default=0)
        if longest > _MAX_TOKENIZE_CHARACTERS:
            raise SettingsError(f"a text has {longest:,} characters; give at most {_MAX_TOKENIZE_CHARACTERS:,}")
        return [
            [
                {"id": id_, "text": tokenizer.token(id_), "special": False, "start": start, "stop": end}
                for id_, start, end in zip(one.ids.tolist(), one.begins.tolist(), one.ends.tolist(), strict=True)
            ]
            for one in tokenizer.encode_with_offsets(texts)
        ]

    def special_tokens(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return [CLS] and [SEP] in the form of `tokenize`, without character offsets."""
        tokenizer = self.model.tokenizer
        first, last = (
            {"id": id_, "text": tokenizer.token(id_), "special": True, "start": None, "stop": None}
            for id_ in (tokenizer.special.cls, tokenizer.special.sep)
        )
        return first, last

    def attention(self, texts: list[str]) -> list[dict[str, Any]]:
        """Return the attention of every head on each text, to three digits: enough to look at, a third of the size.

        Raises SettingsError for a text whose maps are too large to send.
        """
        config = self.model.module.config
        results = []
        for text in texts:
            tokens = len(self.model.tokenizer.encode(text, special_in_text=True).ids) + 2
            if config.num_layers * config.num_heads * tokens**2 > _MAX_ATTENTION_WEIGHTS:
                raise SettingsError(
                    f"the attention maps of {tokens:,} tokens are too large to send; give a shorter text, or write "
                    f"them to a file with 'maskling attention'"
                )
            maps = attention_maps(self.model, text)
            results.append({"tokens": list(maps.tokens), "weights": maps.weights.round(3), "cut": maps.cut})
        return results


@dataclass(frozen=True)
class QueuedService:
    """The methods of a Service, run through the batcher: each kind of call with the arguments that decide its results.

    Raises SettingsError for a text with a lone surrogate, and what the methods raise.
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
        _check_text(words or ())
        kind = ("fill", top_k, words, whole_words, joint)
        return await self._run(kind, lambda some: self.service.fill(some, top_k, words, whole_words, joint), texts)

    async def embed(self, texts: Sequence[str], normalize: bool | None, truncate: bool) -> list[Vector]:
        kind = ("embed", normalize, truncate)
        return await self._run(kind, lambda some: self.service.embed(some, normalize, truncate), texts)

    async def score(self, texts: Sequence[str], method: Method) -> list[ScoredText]:
        return await self._run(("score", method), lambda some: self.service.score(some, method), texts)

    async def predict(
        self, inputs: Sequence[PredictInput], threshold: float | None = None, n_best: int = 3
    ) -> list[Prediction]:
        kind = ("predict", threshold, n_best)
        return await self._run(kind, lambda some: self.service.predict(some, threshold, n_best), inputs)

    async def tokenize(self, texts: Sequence[str]) -> list[list[dict[str, Any]]]:
        return await self._run("tokenize", self.service.tokenize, texts)

    async def attention(self, text: str) -> dict[str, Any]:
        return (await self._run("attention", self.service.attention, [text]))[0]

    async def _run(self, kind: Hashable, call: Callable[[list[_T]], Sequence[_R]], items: Sequence[_T]) -> list[_R]:
        _check_text(items)
        if self.service.alone:
            return await self.batcher.run(kind, lambda some: [call([one])[0] for one in some], items)
        return await self.batcher.run(kind, call, items)


def _check_text(items: Iterable[Any]) -> None:
    """Raise SettingsError for a lone surrogate: JSON can carry one, but no tokenizer can read it."""
    for item in items:
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
