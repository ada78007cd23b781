"""Methods of the model that the endpoints call: lists of texts in, plain data out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskling.errors import ModelError, SettingsError
from maskling.files import path_text
from maskling.infer.aggregation import Strategy, tag_aggregated
from maskling.infer.attention_maps import attention_maps
from maskling.infer.embed import pool
from maskling.infer.forward import batches_by_length, default_batch_tokens, encode
from maskling.infer.generate import Generated, Order
from maskling.infer.masks import mask_pattern
from maskling.infer.model import Model
from maskling.infer.predict import PredictInput, predict_all, predict_answers, questions_of, sentences_of
from maskling.infer.results import Prediction
from maskling.infer.score import Method, ScoredText, score_texts
from maskling.infer.task_logits import TaskScorer
from maskling.model.onnx import GRAPH_FILES, find_graph
from maskling.model.sentence_transformers import normalizes, read_pooling
from maskling.model.tasks.config import Pooling
from maskling.version import __version__

# Attention weights per response: 200 tokens in a model of 12 layers and 12 heads; and weights to calculate for a
# response with one head: 512 tokens in a model of 24 layers and 16 heads.
MAX_ATTENTION_WEIGHTS: Final = 6_000_000
MAX_CALCULATED_WEIGHTS: Final = 110_000_000
# Rows and columns of the picture of a head in the overview.
OVERVIEW_SIZE: Final = 24
# Tokens of a scored text, each of which is masked in a sequence of its own.
MAX_SCORE_TOKENS: Final = 1024

# A text, or the token ids of one with its special tokens.
TextOrIds = str | tuple[int, ...]


class Vector(NamedTuple):
    """values: (hidden) or (tokens, hidden) float32; num_tokens: tokens the model read, special tokens included."""

    values: NDArray[np.float32]
    num_tokens: int


def default_name(folder: Path) -> str:
    """Return the name of a model's folder, or of its run."""
    folder = folder.resolve()
    return path_text(folder.parent.name if folder.name == "model" else folder.name)


@dataclass(frozen=True)
class PredictOptions:
    """How a fine-tuned model predicts. Questions: n_best, allow_none and max_answer, see `predict_answers`.

    aggregation: how words are tagged from their tokens, see `tag_aggregated`; None for the first token of each word.
    """

    n_best: int = 3
    allow_none: bool | None = None
    max_answer: int | None = None
    aggregation: Strategy | None = None


@dataclass(frozen=True)
class GenerateOptions:
    """How texts are generated, see `Model.generate`."""

    length: int | None = None
    count: int = 1
    order: Order = "confidence"
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = 0.9
    steps: int | None = None
    no_repeat: int = 3
    seed: int = 0


@dataclass(frozen=True)
class HeadChoice:
    """A head, or the mean of a layer's heads (head None), of a head over layers (layer None), or of all heads."""

    layer: int | None
    head: int | None


@dataclass(frozen=True)
class Service:
    """A model and the name it is served under. Methods take lists, so that requests can share a call; all are pure.

    pooling, normalizing: how the model folder defines vectors. alone: run each text by itself, because int8 rounds by
    the largest value among all texts of a call. truncate: whether texts to embed that are too long are cut, for
    requests that do not say.
    """

    model: Model
    name: str
    pooling: Pooling
    normalizing: bool
    alone: bool
    truncate: bool = False
    # The attention maps of the last text, 75 MB for 512 tokens in 12 layers of 12 heads: whoever looks at one head
    # looks at the next one, and the model would read the whole text again for each.
    _looked_at: dict[str, tuple[dict[str, Any], NDArray[np.float16]]] = field(
        default_factory=dict, repr=False, compare=False
    )

    @classmethod
    def of(cls, model: Model, name: str, truncate: bool = False) -> Service:
        """Return the service of a model. Raises ModelError for a folder whose kind of vectors is not supported."""
        graph = find_graph(model.folder)
        alone = graph is not None and graph.name == GRAPH_FILES["int8"]
        return cls(model, name, read_pooling(model.folder), normalizes(model.folder), alone, truncate)

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

    def count_masks(self, text: str) -> int:
        """Return the number of masks in a text."""
        return len(mask_pattern(self.model.tokenizer).findall(text))

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
        """Fill the masks of texts, see `Model.fill`."""
        return list(self.model.fill(texts, top_k=top_k, targets=targets, whole_words=whole_words, joint=joint))

    def embed(self, items: list[TextOrIds], normalize: bool | None, truncate: bool) -> list[Vector]:
        """Embed each text, pooled as the model folder says. Ids are run as they are, see `tokens_of_ids`.

        normalize: scale vectors to length 1; None follows the model folder. Raises SettingsError for a text that is
        too long, unless `truncate` cuts it.
        """
        normalize = self.normalizing if normalize is None else normalize
        found: list[Vector] = []
        for indices, hidden, real in self._states(items, truncate, found):
            pooled = pool(hidden, real, self.pooling)
            if normalize:
                pooled = torch.nn.functional.normalize(pooled, dim=-1)
            for index, vector in zip(indices, pooled.cpu().numpy(), strict=True):
                found[index] = found[index]._replace(values=vector)
        return found

    def embed_all(self, items: Sequence[TextOrIds], truncate: bool) -> list[Vector]:
        """Return the last hidden state of every token of each text, special tokens included. Raises as `embed`."""
        found: list[Vector] = []
        for indices, hidden, _ in self._states(items, truncate, found):
            for index, states in zip(indices, hidden.cpu().numpy(), strict=True):
                found[index] = found[index]._replace(values=states[: found[index].num_tokens].copy())
        return found

    @torch.inference_mode()
    def _states(
        self, items: Sequence[TextOrIds], truncate: bool, found: list[Vector]
    ) -> Iterator[tuple[list[int], Tensor, Tensor]]:
        """Append an empty vector per item to `found`; yield the items of each batch, its states and attention mask."""
        model = self.model
        texts = [item for item in items if isinstance(item, str)]
        encoded, cut = model.token_sequences(texts)
        if cut and not truncate:
            raise SettingsError(
                f"a text has more than {model.max_length - 2:,} tokens, which is all this model reads; give shorter "
                f'texts, or cut them with "truncate": true, or start the server with --truncate'
            )
        of_texts = iter(encoded)
        rows = [next(of_texts) if isinstance(item, str) else np.array(item, dtype=np.int64) for item in items]
        found += [Vector(np.zeros(0, np.float32), len(row)) for row in rows]
        for together in batches_by_length([len(row) for row in rows], default_batch_tokens(model.compute)):
            some = [rows[index] for index in together]
            yield together.tolist(), *encode(model.module, model.compute, some, model.tokenizer.special.pad)

    def tokens_of_ids(self, ids: Sequence[int], truncate: bool) -> tuple[int, ...]:
        """Return token ids if they are surely of this model's tokenizer: a text between [CLS] and [SEP].

        Other vocabularies have the same numbers for other words, so ids without these two are not taken for granted.
        Raises SettingsError for other ids, and for too many unless `truncate` cuts them.
        """
        special, most = self.model.tokenizer.special, self.model.max_length
        size = self.model.tokenizer.vocab_size
        if len(ids) < 2 or (ids[0], ids[-1]) != (special.cls, special.sep) or not all(0 <= id_ < size for id_ in ids):
            raise SettingsError(
                "input holds token ids that are not those of this model's tokenizer with its special tokens, "
                f"[{special.cls}, ..., {special.sep}]; send texts (in LangChain: OpenAIEmbeddings(..., "
                "check_embedding_ctx_length=False))"
            )
        if len(ids) > most and not truncate:
            raise SettingsError(f"input holds {len(ids):,} token ids, and this model reads at most {most:,}")
        return (*ids[: most - 1], special.sep) if len(ids) > most else tuple(ids)

    def score(self, texts: list[str], method: Method) -> list[ScoredText]:
        """Score texts, see `Model.score`. Raises SettingsError for a text that is too long."""
        for text in texts:
            tokens = len(self.model.tokenizer.encode(text).ids)
            if tokens > MAX_SCORE_TOKENS:
                raise SettingsError(
                    f"a text has {tokens:,} tokens, and each would be masked by itself; give at most "
                    f"{MAX_SCORE_TOKENS:,} tokens, or score it with 'maskling score'"
                )
        return score_texts(self.model, texts, method=method)

    def predict(self, inputs: list[PredictInput], options: PredictOptions) -> list[Prediction]:
        """Run a fine-tuned model, see `Model.predict`. Raises ModelError for a model without a task head."""
        model, scorer = self.model, self.task_scorer
        if scorer.head_config.kind == "tag" and options.aggregation is not None:
            return list(
                tag_aggregated(
                    scorer,
                    model.tokenizer,
                    model.max_length,
                    sentences_of(inputs),
                    options.aggregation,
                    batch_tokens=default_batch_tokens(model.compute),
                )
            )
        if scorer.head_config.kind == "answer":
            predicted = predict_answers(
                scorer,
                model.tokenizer,
                model.max_length,
                questions_of(inputs),
                n_best=options.n_best,
                allow_none=options.allow_none,
                max_answer=options.max_answer,
                batch_tokens=default_batch_tokens(model.compute),
            )
        else:
            predicted = predict_all(model, scorer, inputs, n_best=options.n_best)
        return list(predicted.predictions)

    @property
    def task_scorer(self) -> TaskScorer:
        """The logits of the fine-tuned head. Raises ModelError for a model without one."""
        if self.model.task_scorer is None:
            raise ModelError(f"{self.name} has no task head; it is for: {self.task}")
        return self.model.task_scorer

    def tokenize(self, texts: list[str]) -> list[list[dict[str, Any]]]:
        """Tokenize each text: id, text, and character offsets of each token."""
        tokenizer = self.model.tokenizer
        return [
            [
                {"id": id_, "text": tokenizer.token(id_), "special": False, "start": start, "stop": end}
                for id_, start, end in zip(one.ids.tolist(), one.begins.tolist(), one.ends.tolist(), strict=True)
            ]
            for one in tokenizer.encode_with_offsets(texts)
        ]

    def decode(self, sequences: list[tuple[int, ...]], skip_special_tokens: bool) -> list[str]:
        """Return the text of each sequence of ids. Raises SettingsError for an id outside of the vocabulary."""
        tokenizer = self.model.tokenizer
        special = {tokenizer.special.cls, tokenizer.special.sep, tokenizer.special.pad, tokenizer.special.mask}
        texts = []
        for ids in sequences:
            wrong = next((id_ for id_ in ids if not 0 <= id_ < tokenizer.vocab_size), None)
            if wrong is not None:
                raise SettingsError(f"there is no token {wrong}; ids are 0 to {tokenizer.vocab_size - 1:,}")
            texts.append(tokenizer.decode([id_ for id_ in ids if not (skip_special_tokens and id_ in special)]))
        return texts

    def special_tokens(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return [CLS] and [SEP] in the form of `tokenize`, without character offsets."""
        tokenizer = self.model.tokenizer
        first, last = (
            {"id": id_, "text": tokenizer.token(id_), "special": True, "start": None, "stop": None}
            for id_ in (tokenizer.special.cls, tokenizer.special.sep)
        )
        return first, last

    def generate(self, texts: list[str], options: GenerateOptions) -> list[list[Generated]]:
        """Generate texts for the masks of each text, or after it, see `Model.generate`."""
        return [self.model.generate(text, **vars(options)) for text in texts]

    def word_spans(self, scored: ScoredText) -> list[tuple[int, int]]:
        """Return the first and the last character, exclusive, of each of `scored.words`; [] if they are not known."""
        (encoded,) = self.model.tokenizer.encode_with_offsets([scored.text])
        if not len(scored.ids) or not np.array_equal(encoded.ids, scored.ids):
            return []
        starts = scored.word_starts.copy()
        starts[:1] = True
        firsts = np.flatnonzero(starts)
        lasts = np.append(firsts[1:], len(starts)) - 1
        return list(zip(encoded.begins[firsts].tolist(), encoded.ends[lasts].tolist(), strict=True))

    def attention_of(self, texts: list[str], choice: HeadChoice) -> list[dict[str, Any]]:
        """Return the attention of one head on each text, or a mean over heads, with small pictures of all heads.

        Raises SettingsError for a head that the model has not, and for a text with too many weights to calculate.
        """
        config = self.model.module.config
        for name, chosen, size in (("layer", choice.layer, config.num_layers), ("head", choice.head, config.num_heads)):
            if chosen is not None and chosen >= size:
                raise SettingsError(f"{name} is {chosen}; this model has {name}s 0 to {size - 1}")
        results = []
        for text in texts:
            if text not in self._looked_at:
                self._check_attention(text, MAX_CALCULATED_WEIGHTS, "calculate at once; give a shorter text")
                self._looked_at.clear()
                maps = attention_maps(self.model, text)
                common = {
                    "tokens": list(maps.tokens),
                    "cut": maps.cut,
                    "overview": reduced(maps.weights, OVERVIEW_SIZE).round(3),
                    "heads": maps.summary(),
                }
                self._looked_at[text] = common, maps.weights.astype(np.float16)
            common, weights = self._looked_at[text]
            layers = weights if choice.layer is None else weights[choice.layer, None]
            heads = layers if choice.head is None else layers[:, choice.head, None]
            results.append({**common, "weights": heads.mean((0, 1), dtype=np.float32).round(4)})
        return results

    def _check_attention(self, text: str, most: int, remedy: str) -> None:
        config = self.model.module.config
        tokens = len(self.model.tokenizer.encode(text, special_in_text=True).ids) + 2
        tokens = min(tokens, self.model.max_length) if most == MAX_CALCULATED_WEIGHTS else tokens
        if config.num_layers * config.num_heads * tokens**2 > most:
            raise SettingsError(f"the attention maps of {tokens:,} tokens are too large to {remedy}")

    def attention(self, texts: list[str]) -> list[dict[str, Any]]:
        """Return the attention of every head on each text, to three digits: enough to look at, a third of the size.

        Raises SettingsError for a text whose maps are too large to send.
        """
        results = []
        for text in texts:
            remedy = (
                "send; give a shorter text, ask for one layer and head, or write them to a file with "
                "'maskling attention'"
            )
            self._check_attention(text, MAX_ATTENTION_WEIGHTS, remedy)
            maps = attention_maps(self.model, text)
            results.append({"tokens": list(maps.tokens), "weights": maps.weights.round(3), "cut": maps.cut})
        return results


def reduced(weights: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Return maps of at most `size` rows and columns: the largest weight of each block of a larger map.

    weights: (layers, heads, n, n) float32.
    """
    tokens = weights.shape[-1]
    if tokens <= size:
        return weights
    starts = np.arange(size) * tokens // size
    found: NDArray[np.float32] = np.maximum.reduceat(np.maximum.reduceat(weights, starts, axis=2), starts, axis=3)
    return found
