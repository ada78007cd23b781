"""An encoder with the head of a task."""

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

# FOLDED DOCS
# [heads] The heads of BERT, RoBERTa and ModernBERT, as transformers calculates and names them.


class TaskModel(HFWeights):
    """An encoder, which has given up its masked-token head, and a head over its last states.

    As with MaskedLM the two are apart: call the model for the states, then `classify`, `tag` or `answer` for what is
    needed of them.
    """

    def __init__(self, encoder: MaskedLM, head_config: HeadConfig) -> None:
        """encoder: sheds its own heads here. The weights of the new head are not drawn: see `initialize`."""
        super().__init__()
        encoder.drop_heads()
        self.encoder = encoder
        self.head_config = head_config
        with SkipInit():
            self.head = make_head(encoder.config, head_config)

    @property
    def config(self) -> ModelConfig:
        """The encoder's."""
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
        """Judge examples, whatever else stands in their rows; for classify, multi-label and regress.

        hidden: (rows, seq, hidden); first_positions: (k,) int64, flat places of the [CLS] of every example, ascending;
        pattern: of the same batch. Returns (k, labels) logits.
        """
        if isinstance(self.config, ModernConfig) and self.head_config.pooling == "mean":
            vectors = mean_pool(hidden, first_positions, pattern)
        else:
            vectors = hidden.flatten(0, 1).index_select(0, first_positions)
        logits: Tensor = self.head(vectors)
        return logits

    def tag(self, hidden: Tensor, token_positions: Tensor) -> Tensor:
        """Judge tokens. token_positions: (n,) int64, flat places in (rows, seq). Returns (n, labels) logits."""
        logits: Tensor = self.head(hidden.flatten(0, 1).index_select(0, token_positions))
        return logits

    def answer(self, hidden: Tensor) -> Tensor:
        """Judge where answers start and end: (rows, seq, 2) logits, to be compared over the tokens of one example."""
        logits: Tensor = self.head(hidden)
        return logits

    def initialize(self, generator: Generator) -> None:
        """Draw the head; the encoder stays as it is."""
        self.head.initialize(generator)

    def hf_names(self) -> dict[str, tuple[str, ...]]:
        """See Named."""
        encoder = {f"encoder.{ours}": theirs for ours, theirs in self.encoder.hf_names().items()}
        return encoder | {f"head.{ours}": (theirs,) for ours, theirs in self.head.hf_names().items()}

    def canonical_name(self, name: str) -> str | None:
        """See Named."""
        return self.encoder.canonical_name(name)


def new_task_model(config: ModelConfig, head_config: HeadConfig, seed: int) -> TaskModel:
    """A task model on the CPU in fp32 that has learned nothing.

    The encoder is drawn from (seed, 'weights') as pretraining starts it, the head from (seed, 'head').
    Raises ModelError if the vocabulary size is not filled in.
    """
    model = TaskModel(build_masked_lm(config.model_copy(update={"pair_head": False}), seed), head_config)
    model.initialize(head_generator(seed))
    return model


def head_generator(seed: int) -> Generator:
    """What draws the weights of a new head: the same whatever the encoder and where it comes from."""
    return torch.Generator().manual_seed(integer(seed, "head"))


def mean_pool(hidden: Tensor, first_positions: Tensor, pattern: AttentionPattern) -> Tensor:
    """The mean of the vectors of each example, padding left out. See `TaskModel.classify`. Returns (k, hidden).

    A product with a matrix of shares, since adding up by index comes out in another order each time on a GPU.
    """
    ids = pattern.example_ids
    most = pattern.max_examples()
    share = (ids[:, None, :] == torch.arange(most, device=ids.device)[None, :, None]).to(hidden.dtype)
    vectors = (share @ hidden) / share.sum(-1).clamp_min(1)[..., None]
    # By their places, which are known: to look for those that are there would wait for the device.
    numbers = ids.flatten().index_select(0, first_positions).long()
    return vectors.flatten(0, 1).index_select(0, first_positions // pattern.seq * most + numbers)


class TaskHead(nn.Module):
    """Vectors of texts or tokens in, a logit for each label out."""

    modules_in_files: ClassVar[dict[str, str]]
    """The name of each layer here and in transformers."""

    def __init__(self, encoder: ModelConfig, head: HeadConfig) -> None:
        super().__init__()
        self.classifier = nn.Linear(encoder.hidden_size, len(head.labels))

    @abstractmethod
    def forward(self, vectors: Tensor) -> Tensor:
        """vectors: (..., hidden). Returns (..., labels) logits."""

    @abstractmethod
    def initialize(self, generator: Generator) -> None:
        """Fill the weights as training starts with them."""

    def hf_names(self) -> dict[str, str]:
        """Each parameter's name here and in transformers."""
        layers = dict(self.named_modules())
        return {
            f"{ours}.{kind}": f"{theirs}.{kind}"
            for ours, theirs in self.modules_in_files.items()
            for kind, _ in layers[ours].named_parameters()
        }


class LinearHead(TaskHead):
    """One layer: tags of BERT and RoBERTa."""

    modules_in_files: ClassVar[dict[str, str]] = {"classifier": "classifier"}

    def __init__(self, encoder: BertConfig, head: HeadConfig) -> None:
        super().__init__(encoder, head)
        self.dropout = encoder.dropout if head.dropout is None else head.dropout
        self.spread = encoder.initializer_range

    def forward(self, vectors: Tensor) -> Tensor:
        """See TaskHead."""
        logits: Tensor = self.classifier(drop(vectors, self.dropout, self.training))
        return logits

    @torch.no_grad()
    def initialize(self, generator: Generator) -> None:
        """See TaskHead. As BERT starts: a normal distribution cut at two deviations, biases 0."""
        for layer in self.children():
            assert isinstance(layer, nn.Linear)
            truncated_normal_(layer.weight, self.spread, generator)
            layer.bias.zero_()


class AnswerHead(LinearHead):
    """One layer, without dropout: answers of BERT and RoBERTa."""

    modules_in_files: ClassVar[dict[str, str]] = {"classifier": "qa_outputs"}

    def forward(self, vectors: Tensor) -> Tensor:
        """See TaskHead."""
        logits: Tensor = self.classifier(vectors)
        return logits


class PoolerHead(LinearHead):
    """BERT's pooler and one layer: labels of texts (Devlin et al. 2019, section 4.1)."""

    modules_in_files: ClassVar[dict[str, str]] = {"dense": "bert.pooler.dense", "classifier": "classifier"}

    def __init__(self, encoder: BertConfig, head: HeadConfig) -> None:
        super().__init__(encoder, head)
        self.dense = nn.Linear(encoder.hidden_size, encoder.hidden_size)

    def forward(self, vectors: Tensor) -> Tensor:
        """See TaskHead."""
        return super().forward(torch.tanh(self.dense(vectors)))


class RobertaHead(PoolerHead):
    """The same with dropout before the pooler too, and with other names: labels of texts in RoBERTa."""

    modules_in_files: ClassVar[dict[str, str]] = {"dense": "classifier.dense", "classifier": "classifier.out_proj"}

    def forward(self, vectors: Tensor) -> Tensor:
        """See TaskHead."""
        return super().forward(drop(vectors, self.dropout, self.training))


class ModernHead(TaskHead):
    """ModernBERT's prediction head, which is built like that for masked tokens, and one layer: every task."""

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
        """See TaskHead."""
        vectors = self.norm(ACTIVATIONS[self.activation](self.dense(vectors)))
        logits: Tensor = self.classifier(drop(vectors, self.dropout, self.training))
        return logits

    @torch.no_grad()
    def initialize(self, generator: Generator) -> None:
        """See TaskHead. The last layer's spread keeps the size of its input, as in transformers."""
        truncated_normal_(self.dense.weight, self.spread, generator)
        self.norm.weight.fill_(1.0)
        truncated_normal_(self.classifier.weight, self.classifier.in_features**-0.5, generator)
        self.classifier.bias.zero_()


def make_head(encoder: ModelConfig, head: HeadConfig) -> TaskHead:
    """The head that transformers puts on such an encoder for such a task; its weights are not drawn yet."""
    if isinstance(encoder, ModernConfig):
        return ModernHead(encoder, head)
    if head.kind == "tag":
        return LinearHead(encoder, head)
    if head.kind == "answer":
        return AnswerHead(encoder, head)
    return PoolerHead(encoder, head) if encoder.family == "bert" else RobertaHead(encoder, head)
