"""The heads of BERT, RoBERTa and ModernBERT, as transformers calculates and names them."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from maskling.model.activations import ACTIVATIONS
from maskling.model.config import BertConfig, ModelConfig, ModernConfig
from maskling.model.dropout import drop
from maskling.model.masked_lm import draw
from maskling.model.tasks.config import HeadConfig


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

    def names(self) -> dict[str, str]:
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
            draw(layer.weight, self.spread, generator)
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
        draw(self.dense.weight, self.spread, generator)
        self.norm.weight.fill_(1.0)
        draw(self.classifier.weight, self.classifier.in_features**-0.5, generator)
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
