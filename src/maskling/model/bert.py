"""BERT as of 2018 (Devlin et al., section 3; google-research/bert `modeling.py`), and RoBERTa's variant of it.

Post-norm: the output of each sublayer is added to its input and the sum is normalized. RoBERTa differs in the names of
its weights, in positions that start at row 2, and in having no pair head.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from maskling.errors import ModelError
from maskling.model.attention import AttentionPattern, attend, prepare_masks
from maskling.model.config import BertConfig
from maskling.model.layers import ACTIVATIONS, autocast_dtype, drop, layer_norm
from maskling.model.masked_lm import MaskedLM, truncated_normal_


class BertLayer(nn.Module):
    """Attention, then a feed-forward sublayer, each with a residual connection and LayerNorm."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.config = config
        width = config.hidden_size
        self.qkv = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.attention_norm = nn.LayerNorm(width, config.norm_eps)
        self.up = nn.Linear(width, config.intermediate_size)
        self.down = nn.Linear(config.intermediate_size, width)
        self.output_norm = nn.LayerNorm(width, config.norm_eps)

    def forward(self, x: Tensor, pattern: AttentionPattern) -> Tensor:
        """Apply the layer. x: (rows * seq, hidden). Returns the same shape."""
        config, training = self.config, self.training
        weight_dropout = config.attention_dropout if training else 0.0
        attended = attend(self.qkv(x), pattern, config.num_heads, window=None, dropout=weight_dropout, rotation=None)
        x = layer_norm(x + drop(self.attention_out(attended), config.dropout, training), self.attention_norm)
        inner = ACTIVATIONS[config.activation](self.up(x))
        return layer_norm(x + drop(self.down(inner), config.dropout, training), self.output_norm)


class Bert(MaskedLM):
    """BERT with its masked-token head, and with pooler and pair head if `config.pair_head`."""

    config: BertConfig
    token_head_prefixes: ClassVar[tuple[str, ...]] = ("cls.predictions.", "lm_head.")
    head_prefixes: ClassVar[tuple[str, ...]] = (*token_head_prefixes, "cls.seq_relationship.", "bert.pooler.")

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.config = config
        width = config.hidden_size
        self.word = nn.Embedding(config.vocab_size, width)
        self.position = nn.Embedding(config.max_positions + config.position_offset, width)
        self.token_type = nn.Embedding(config.type_vocab_size, width)
        self.embedding_norm = nn.LayerNorm(width, config.norm_eps)
        self.layers = nn.ModuleList(BertLayer(config) for _ in range(config.num_layers))
        self.transform = nn.Linear(width, width)
        self.transform_norm = nn.LayerNorm(width, config.norm_eps)
        self.decoder_bias = nn.Parameter(torch.zeros(config.vocab_size))
        if config.pair_head:
            self.pooler = nn.Linear(width, width)
            self.pair_classifier = nn.Linear(width, 2)

    def forward(
        self,
        input_ids: Tensor,
        position_ids: Tensor,
        token_type_ids: Tensor | None,
        pattern: AttentionPattern,
        states: list[Tensor] | None = None,
    ) -> Tensor:
        """Encode rows of tokens, see MaskedLM. A model with one token type ignores token_type_ids, as RoBERTa does."""
        rows, seq = input_ids.shape
        x = self.embed_tokens(input_ids) + self.position(position_ids.flatten() + self.config.position_offset)
        if token_type_ids is None or self.config.type_vocab_size == 1:
            x = x + self.token_type.weight[0]
        else:
            x = x + self.token_type(token_type_ids.flatten())
        # From here on hidden states are in the dtype of the matrix products, which would round them anyway.
        x = drop(self.embedding_norm(x).to(autocast_dtype(x)), self.config.dropout, self.training)
        if states is not None:
            states.append(x.view(rows, seq, -1))
        if self.training:
            dropout, size = self.config.attention_dropout, self.config.head_size
            prepare_masks(pattern, [None], autocast_dtype(x), dropout=dropout, head_size=size)
        for layer in self.layers:
            x = layer(x, pattern)
            if states is not None:
                states.append(x.view(rows, seq, -1))
        hidden: Tensor = x.view(rows, seq, -1)
        return hidden

    def transformed(self, hidden: Tensor) -> Tensor:
        # RoBERTa's head uses the exact GELU whatever the layers use.
        activation = self.config.activation if self.config.family == "bert" else "gelu"
        return layer_norm(ACTIVATIONS[activation](self.transform(hidden)), self.transform_norm)

    def decoder(self) -> tuple[Tensor, Tensor]:
        """Return the word table, which is tied to the output matrix, and a bias per token."""
        return self.word.weight, self.decoder_bias

    def pair(self, first: Tensor) -> Tensor:
        """Classify pairs of segments: label 0 if B follows A, 1 if it does not. See MaskedLM."""
        if not self.config.pair_head:
            raise ModelError("this model has no pair head; set model.pair_head = true, or choose pairing.kind = single")
        logits: Tensor = self.pair_classifier(torch.tanh(self.pooler(first)))
        return logits

    @torch.no_grad()
    def initialize(self, generator: Generator) -> None:
        """Draw weights from a normal distribution truncated at two standard deviations; set biases to 0 and norms to 1.

        transformers draws from the whole normal distribution and zeroes the row of [PAD]; Google's code does neither.
        """
        spread = self.config.initializer_range
        for module in self.modules():
            if isinstance(module, nn.LayerNorm):
                module.weight.fill_(1.0)
                module.bias.zero_()
            elif isinstance(module, nn.Linear | nn.Embedding):
                truncated_normal_(module.weight, spread, generator)
                if isinstance(module, nn.Linear):
                    module.bias.zero_()
        self.decoder_bias.zero_()
        if self.config.positions_start == "sinusoidal":
            self.position.weight[self.config.position_offset :] = sinusoids(self.config, spread)

    def hf_names(self) -> dict[str, tuple[str, ...]]:
        roberta = self.config.family != "bert"
        base = "roberta" if roberta else "bert"
        names: dict[str, tuple[str, ...]] = {
            "word.weight": (f"{base}.embeddings.word_embeddings.weight",),
            "position.weight": (f"{base}.embeddings.position_embeddings.weight",),
            "token_type.weight": (f"{base}.embeddings.token_type_embeddings.weight",),
            "decoder_bias": ("lm_head.bias" if roberta else "cls.predictions.bias",),
        }
        modules = {
            "embedding_norm": f"{base}.embeddings.LayerNorm",
            "transform": "lm_head.dense" if roberta else "cls.predictions.transform.dense",
            "transform_norm": "lm_head.layer_norm" if roberta else "cls.predictions.transform.LayerNorm",
        }
        if self.config.pair_head:
            modules |= {"pooler": "bert.pooler.dense", "pair_classifier": "cls.seq_relationship"}
        for i in range(self.config.num_layers):
            here, there = f"layers.{i}", f"{base}.encoder.layer.{i}"
            modules |= {
                f"{here}.attention_out": f"{there}.attention.output.dense",
                f"{here}.attention_norm": f"{there}.attention.output.LayerNorm",
                f"{here}.up": f"{there}.intermediate.dense",
                f"{here}.down": f"{there}.output.dense",
                f"{here}.output_norm": f"{there}.output.LayerNorm",
            }
            for kind in ("weight", "bias"):
                several = tuple(f"{there}.attention.self.{part}.{kind}" for part in ("query", "key", "value"))
                names[f"{here}.qkv.{kind}"] = several
        for ours, theirs in modules.items():
            names |= {f"{ours}.{kind}": (f"{theirs}.{kind}",) for kind in ("weight", "bias")}
        return names

    def canonical_name(self, name: str) -> str | None:
        """Return today's name, see HFWeights. Handles TensorFlow's gamma and beta, and encoders without prefix."""
        base = "bert" if self.config.family == "bert" else "roberta"
        name = name.removeprefix("module.").replace(".gamma", ".weight").replace(".beta", ".bias")
        if name.startswith(("embeddings.", "encoder.", "pooler.")):
            name = f"{base}.{name}"
        tied = {
            "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
            "cls.predictions.decoder.bias": "cls.predictions.bias",
            "lm_head.decoder.weight": "roberta.embeddings.word_embeddings.weight",
            "lm_head.decoder.bias": "lm_head.bias",
        }
        return None if name.endswith((".position_ids", ".token_type_ids")) else tied.get(name, name)


def sinusoids(config: BertConfig, spread: float) -> Tensor:
    """Return a table of sinusoidal positions (Vaswani et al. 2017, section 3.5) with standard deviation `spread`.

    Attention can read relative positions from it at once; a random table must first learn them.
    Returns (max_positions, hidden).
    """
    half = (config.hidden_size + 1) // 2
    rate = torch.exp(torch.arange(half, dtype=torch.float32) * (-math.log(10_000.0) / half))
    angle = torch.arange(config.max_positions, dtype=torch.float32)[:, None] * rate
    table = torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(1)[:, : config.hidden_size]
    return table * (spread * math.sqrt(2))
