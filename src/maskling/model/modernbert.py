"""ModernBERT (Warner et al. 2024; AnswerDotAI/ModernBERT), as transformers loads it.

Pre-norm: each sublayer reads a normalized copy of the residual stream and adds its output to it. Positions are rotary:
queries and keys are rotated. Every `global_every`-th layer attends to the whole example, the others to a window. Only
the decoder has a bias. The first layer has no norm before its attention: the embeddings were just normalized.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from maskling.errors import ModelError
from maskling.model.attention import AttentionPattern, attend, prepare_masks
from maskling.model.attention_kernels import Rotation, make_rotation
from maskling.model.config import ModernConfig
from maskling.model.layers import ACTIVATIONS, autocast_dtype, drop, geglu, layer_norm
from maskling.model.masked_lm import MaskedLM, truncated_normal_


class ModernLayer(nn.Module):
    """Attention, then a gated feed-forward sublayer, each with LayerNorm before it and a residual connection."""

    def __init__(self, config: ModernConfig, index: int) -> None:
        super().__init__()
        self.config = config
        self.window = None if config.is_global(index) else config.local_window
        width = config.hidden_size
        self.attention_norm = nn.LayerNorm(width, config.norm_eps, bias=False) if index else nn.Identity()
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.attention_out = nn.Linear(width, width, bias=False)
        self.mlp_norm = nn.LayerNorm(width, config.norm_eps, bias=False)
        self.up = nn.Linear(width, 2 * config.intermediate_size, bias=False)
        self.down = nn.Linear(config.intermediate_size, width, bias=False)

    def forward(self, x: Tensor, pattern: AttentionPattern, rotation: Rotation) -> Tensor:
        """Apply the layer. x: (rows * seq, hidden). Returns the same shape."""
        config, training = self.config, self.training
        weight_dropout = config.attention_dropout if training else 0.0
        qkv = self.qkv(self.attention_norm(x))
        attended = attend(qkv, pattern, config.num_heads, window=self.window, dropout=weight_dropout, rotation=rotation)
        x = x + drop(self.attention_out(attended), config.attention_dropout, training)
        inner = drop(geglu(self.up(self.mlp_norm(x)), config.activation), config.dropout, training)
        out: Tensor = x + self.down(inner)
        return out


class Modern(MaskedLM):
    """ModernBERT with its masked-token head, and with a pair head of maskling's own if `config.pair_head`."""

    config: ModernConfig
    token_head_prefixes: ClassVar[tuple[str, ...]] = ("head.", "decoder.")
    head_prefixes: ClassVar[tuple[str, ...]] = (*token_head_prefixes, "pair_head.")

    def __init__(self, config: ModernConfig) -> None:
        super().__init__()
        self.config = config
        width = config.hidden_size
        self.word = nn.Embedding(config.vocab_size, width)
        self.embedding_norm = nn.LayerNorm(width, config.norm_eps, bias=False)
        self.layers = nn.ModuleList(ModernLayer(config, index) for index in range(config.num_layers))
        self.final_norm = nn.LayerNorm(width, config.norm_eps, bias=False)
        self.transform = nn.Linear(width, width, bias=False)
        self.transform_norm = nn.LayerNorm(width, config.norm_eps, bias=False)
        self.decoder_bias = nn.Parameter(torch.zeros(config.vocab_size))
        if config.pair_head:
            self.pooler = nn.Linear(width, width)
            self.pair_classifier = nn.Linear(width, 2)

    def forward(
        self,
        input_ids: Tensor,
        position_ids: Tensor,
        _token_type_ids: Tensor | None,
        pattern: AttentionPattern,
        states: list[Tensor] | None = None,
    ) -> Tensor:
        """Encode rows of tokens, see MaskedLM. Token types are ignored: ModernBERT has no segments.

        As in transformers, the last of `states` is the output of the final norm.
        """
        rows, seq = input_ids.shape
        config = self.config
        dtype = autocast_dtype(self.word.weight)
        rotations = {
            theta: make_rotation(position_ids, config.head_size, theta, dtype)
            for theta in {config.global_rope_theta, config.local_rope_theta}
        }
        x: Tensor = drop(self.embedding_norm(self.embed_tokens(input_ids)), config.dropout, self.training)
        if self.training:
            windows = [None, config.local_window]
            prepare_masks(pattern, windows, dtype, dropout=config.attention_dropout, head_size=config.head_size)
        for index, layer in enumerate(self.layers):
            if states is not None:
                states.append(x.view(rows, seq, -1))
            theta = config.global_rope_theta if config.is_global(index) else config.local_rope_theta
            x = layer(x, pattern, rotations[theta])
        x = self.final_norm(x).view(rows, seq, -1)
        if states is not None:
            states.append(x)
        return x

    def transformed(self, hidden: Tensor) -> Tensor:
        return layer_norm(ACTIVATIONS[self.config.activation](self.transform(hidden)), self.transform_norm)

    def decoder(self) -> tuple[Tensor, Tensor]:
        """Return the word table, which is tied to the output matrix, and a bias per token."""
        return self.word.weight, self.decoder_bias

    def pair(self, first: Tensor) -> Tensor:
        """Classify pairs of segments as BERT does: label 0 if B follows A, 1 if it does not. See MaskedLM."""
        if not self.config.pair_head:
            raise ModelError("this model has no pair head; set model.pair_head = true, or choose pairing.kind = single")
        logits: Tensor = self.pair_classifier(torch.tanh(self.pooler(first)))
        return logits

    @torch.no_grad()
    def initialize(self, generator: Generator) -> None:
        """Draw weights from normal distributions truncated at two standard deviations.

        Matrices whose output is added to the residual stream, and the head's, get a smaller one.
        """
        spread = self.config.initializer_range
        small = spread / math.sqrt(2 * self.config.num_layers)
        for name, module in self.named_modules():
            if isinstance(module, nn.LayerNorm):
                module.weight.fill_(1.0)
            elif isinstance(module, nn.Linear | nn.Embedding):
                adds = name.endswith(("attention_out", "down", "transform"))
                truncated_normal_(module.weight, small if adds else spread, generator)
                if isinstance(module, nn.Linear) and module.bias is not None:
                    module.bias.zero_()
        self.decoder_bias.zero_()

    def hf_names(self) -> dict[str, tuple[str, ...]]:
        """Return the names, see HFWeights. transformers has no pair head; its names are maskling's own."""
        modules = {
            "word": "model.embeddings.tok_embeddings",
            "embedding_norm": "model.embeddings.norm",
            "final_norm": "model.final_norm",
            "transform": "head.dense",
            "transform_norm": "head.norm",
        }
        for i in range(self.config.num_layers):
            here, there = f"layers.{i}", f"model.layers.{i}"
            if i:
                modules[f"{here}.attention_norm"] = f"{there}.attn_norm"
            modules |= {
                f"{here}.qkv": f"{there}.attn.Wqkv",
                f"{here}.attention_out": f"{there}.attn.Wo",
                f"{here}.mlp_norm": f"{there}.mlp_norm",
                f"{here}.up": f"{there}.mlp.Wi",
                f"{here}.down": f"{there}.mlp.Wo",
            }
        names: dict[str, tuple[str, ...]] = {
            f"{ours}.weight": (f"{theirs}.weight",) for ours, theirs in modules.items()
        }
        names["decoder_bias"] = ("decoder.bias",)
        if self.config.pair_head:
            for ours, theirs in (("pooler", "pair_head.dense"), ("pair_classifier", "pair_head.classifier")):
                names |= {f"{ours}.{kind}": (f"{theirs}.{kind}",) for kind in ("weight", "bias")}
        return names

    def canonical_name(self, name: str) -> str | None:
        """Return today's name, see HFWeights. Handles encoders saved without their prefix."""
        name = name.removeprefix("module.")
        if name.startswith(("embeddings.", "layers.", "final_norm.")):
            name = f"model.{name}"
        return {"decoder.weight": "model.embeddings.tok_embeddings.weight"}.get(name, name)
