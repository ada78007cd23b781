"""Encoders with a task head, calculated and named as in transformers."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from maskling.model.attention import AttentionPattern
from maskling.model.build import SkipInit, build_masked_lm
from maskling.model.config import BertConfig, ModelConfig, ModernConfig
from maskling.model.layers import ACTIVATIONS, drop
from maskling.model.masked_lm import HFWeights, MaskedLM, truncated_normal_
from maskling.model.tasks.config import HeadConfig
from maskling.randomness import integer


class TaskModel(HFWeights):
    """Encoder without its own heads, and a task head over its last hidden states.

    As with MaskedLM, `forward` runs the encoder only; then call `classify`, `tag` or `answer` for logits.
    """

    def __init__(self, encoder: MaskedLM, head_config: HeadConfig) -> None:
        """Drop the heads of `encoder`, in place, and add a task head with uninitialized weights, see `initialize`."""
        super().__init__()
        encoder.drop_heads()
        self.encoder = encoder
        self.head_config = head_config
        with SkipInit():
            self.head = make_head(encoder.config, head_config)

    @property
    def config(self) -> ModelConfig:
        """The encoder's configuration."""
        return self.encoder.config

    def forward(
        self,
        input_ids: Tensor,
        position_ids: Tensor,
        token_type_ids: Tensor | None,
        pattern: AttentionPattern,
        states: list[Tensor] | None = None,
    ) -> Tensor:
        """Encode rows of tokens, see MaskedLM. Returns (rows, seq, hidden)."""
        hidden: Tensor = self.encoder(input_ids, position_ids, token_type_ids, pattern, states)
        return hidden

    def classify(self, hidden: Tensor, first_positions: Tensor, pattern: AttentionPattern) -> Tensor:
        """Return the logits of each example of packed rows, for classify, multi-label and regress: (k, labels).

        hidden: (rows, seq, hidden). first_positions: (k,) int64, flat index of each example's [CLS], ascending.
        pattern: of the same batch.
        """
        if isinstance(self.config, ModernConfig) and self.head_config.pooling == "mean":
            vectors = mean_pool(hidden, first_positions, pattern)
        else:
            vectors = hidden.flatten(0, 1).index_select(0, first_positions)
        logits: Tensor = self.head(vectors)
        return logits

    def tag(self, hidden: Tensor, token_positions: Tensor) -> Tensor:
        """Return the logits of tokens: (n, labels). token_positions: (n,) int64, flat indices into (rows, seq)."""
        logits: Tensor = self.head(hidden.flatten(0, 1).index_select(0, token_positions))
        return logits

    def answer(self, hidden: Tensor) -> Tensor:
        """Return the logits of the start and end of an answer: (rows, seq, 2), to compare within each example."""
        logits: Tensor = self.head(hidden)
        return logits

    def initialize(self, generator: Generator) -> None:
        """Draw the weights of the head; the encoder is not changed."""
        self.head.initialize(generator)

    def hf_names(self) -> dict[str, tuple[str, ...]]:
        encoder = {f"encoder.{ours}": theirs for ours, theirs in self.encoder.hf_names().items()}
        return encoder | {f"head.{ours}": (theirs,) for ours, theirs in self.head.hf_names().items()}

    def canonical_name(self, name: str) -> str | None:
        return self.encoder.canonical_name(name)


def new_task_model(config: ModelConfig, head_config: HeadConfig, seed: int) -> TaskModel:
    """Build an untrained task model on the CPU in fp32.

    The encoder is drawn from (seed, 'weights') as for pretraining, the head from (seed, 'head').
    Raises ModelError if config.vocab_size is 0.
    """
    model = TaskModel(build_masked_lm(config.model_copy(update={"pair_head": False}), seed), head_config)
    model.initialize(head_generator(seed))
    return model


def head_generator(seed: int) -> Generator:
    """Return the generator of a new head's weights, which does not depend on the encoder."""
    return torch.Generator().manual_seed(integer(seed, "head"))


def mean_pool(hidden: Tensor, first_positions: Tensor, pattern: AttentionPattern) -> Tensor:
    """Return the mean hidden state of each example, without padding: (k, hidden). Arguments: see `TaskModel.classify`.

    A matrix product with 0/1 membership, since index_add sums in another order each time on a GPU.
    """
    ids = pattern.example_ids
    count = pattern.max_examples()
    member = (ids[:, None, :] == torch.arange(count, device=ids.device)[None, :, None]).to(hidden.dtype)
    vectors = (member @ hidden) / member.sum(-1).clamp_min(1)[..., None]
    # Select by index: finding the examples that exist by a mask would synchronize with the device.
    of_examples = ids.flatten().index_select(0, first_positions).long()
    return vectors.flatten(0, 1).index_select(0, first_positions // pattern.seq * count + of_examples)


class TaskHead(nn.Module):
    """Head from vectors of texts or tokens to a logit per label."""

    modules_in_files: ClassVar[dict[str, str]]
    """The transformers name of each layer, by its name here."""

    def __init__(self, encoder: ModelConfig, head: HeadConfig) -> None:
        super().__init__()
        self.classifier = nn.Linear(encoder.hidden_size, len(head.labels))

    @abstractmethod
    def forward(self, vectors: Tensor) -> Tensor:
        """Return logits: (..., labels). vectors: (..., hidden)."""

    @abstractmethod
    def initialize(self, generator: Generator) -> None:
        """Draw the initial weights, in place."""

    def hf_names(self) -> dict[str, str]:
        """Return the transformers name of each parameter."""
        layers = dict(self.named_modules())
        return {
            f"{ours}.{kind}": f"{theirs}.{kind}"
            for ours, theirs in self.modules_in_files.items()
            for kind, _ in layers[ours].named_parameters()
        }


class LinearHead(TaskHead):
    """Linear layer: tagging with BERT and RoBERTa."""

    modules_in_files: ClassVar[dict[str, str]] = {"classifier": "classifier"}

    def __init__(self, encoder: BertConfig, head: HeadConfig) -> None:
        super().__init__(encoder, head)
        self.dropout = encoder.dropout if head.dropout is None else head.dropout
        self.spread = encoder.initializer_range

    def forward(self, vectors: Tensor) -> Tensor:
        logits: Tensor = self.classifier(drop(vectors, self.dropout, self.training))
        return logits

    @torch.no_grad()
    def initialize(self, generator: Generator) -> None:
        """Draw weights as BERT does: from a normal distribution truncated at two standard deviations; biases are 0."""
        for layer in self.children():
            assert isinstance(layer, nn.Linear)
            truncated_normal_(layer.weight, self.spread, generator)
            layer.bias.zero_()


class AnswerHead(LinearHead):
    """Linear layer without dropout: question answering with BERT and RoBERTa."""

    modules_in_files: ClassVar[dict[str, str]] = {"classifier": "qa_outputs"}

    def forward(self, vectors: Tensor) -> Tensor:
        logits: Tensor = self.classifier(vectors)
        return logits


class PoolerHead(LinearHead):
    """BERT's pooler and a linear layer: classification of texts (Devlin et al. 2019, section 4.1)."""

    modules_in_files: ClassVar[dict[str, str]] = {"dense": "bert.pooler.dense", "classifier": "classifier"}

    def __init__(self, encoder: BertConfig, head: HeadConfig) -> None:
        super().__init__(encoder, head)
        self.dense = nn.Linear(encoder.hidden_size, encoder.hidden_size)

    def forward(self, vectors: Tensor) -> Tensor:
        return super().forward(torch.tanh(self.dense(vectors)))


class RobertaHead(PoolerHead):
    """PoolerHead with dropout before the pooler too, under other names: classification with RoBERTa."""

    modules_in_files: ClassVar[dict[str, str]] = {"dense": "classifier.dense", "classifier": "classifier.out_proj"}

    def forward(self, vectors: Tensor) -> Tensor:
        return super().forward(drop(vectors, self.dropout, self.training))


class ModernHead(TaskHead):
    """ModernBERT's prediction head, built like the masked-token head, and a linear layer: every task."""

    modules_in_files: ClassVar[dict[str, str]] = {
        "dense": "head.dense",
        "norm": "head.norm",
        "classifier": "classifier",
    }

    def __init__(self, encoder: ModernConfig, head: HeadConfig) -> None:
        super().__init__(encoder, head)
        width = encoder.hidden_size
        self.dense = nn.Linear(width, width, bias=False)
        self.norm = nn.LayerNorm(width, encoder.norm_eps, bias=False)
        self.activation = encoder.activation
        self.dropout = head.dropout or 0.0
        self.spread = encoder.initializer_range / math.sqrt(2 * encoder.num_layers)

    def forward(self, vectors: Tensor) -> Tensor:
        vectors = self.norm(ACTIVATIONS[self.activation](self.dense(vectors)))
        logits: Tensor = self.classifier(drop(vectors, self.dropout, self.training))
        return logits

    @torch.no_grad()
    def initialize(self, generator: Generator) -> None:
        """Draw weights; the last layer's standard deviation preserves the scale of its input, as in transformers."""
        truncated_normal_(self.dense.weight, self.spread, generator)
        self.norm.weight.fill_(1.0)
        truncated_normal_(self.classifier.weight, self.classifier.in_features**-0.5, generator)
        self.classifier.bias.zero_()


def make_head(encoder: ModelConfig, head: HeadConfig) -> TaskHead:
    """Build the head that transformers uses for this encoder and task, with uninitialized weights."""
    if isinstance(encoder, ModernConfig):
        return ModernHead(encoder, head)
    if head.kind == "tag":
        return LinearHead(encoder, head)
    if head.kind == "answer":
        return AnswerHead(encoder, head)
    return PoolerHead(encoder, head) if encoder.family == "bert" else RobertaHead(encoder, head)
