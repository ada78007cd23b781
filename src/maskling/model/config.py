"""Settings of an architecture: sizes, dropout, positions. Imports no torch, so that settings load fast."""

from __future__ import annotations

from typing import Literal, Self, TypeAlias

from pydantic import Field, model_validator

from maskling.config import Settings, strategies_by_kind

Activation = Literal["gelu", "gelu_tanh"]


class _Sizes(Settings):
    """Settings that every architecture has."""

    hidden_size: int = Field(512, ge=1, description="width of the hidden states")
    num_layers: int = Field(4, ge=1, description="number of layers")
    num_heads: int = Field(8, ge=1, description="number of attention heads; hidden_size is divided among them")
    activation: Activation = Field("gelu", description="gelu is exact (erf), gelu_tanh its tanh approximation")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout probability of hidden states in training")
    attention_dropout: float = Field(0.0, ge=0, lt=1, description="dropout probability of attention weights")
    initializer_range: float = Field(
        0.02, gt=0, le=1000, description="standard deviation of the initial weights, truncated at twice this"
    )
    pair_head: bool = Field(False, description="add a head that classifies pairs of segments; needed by nsp and sop")
    vocab_size: int = Field(0, ge=0, description="number of tokens; 0 takes the tokenizer's")
    pad_id: int = Field(0, ge=0, description="the tokenizer's [PAD]; written into config.json")
    cls_id: int | None = Field(None, ge=0, description="the tokenizer's [CLS]; written into config.json")
    sep_id: int | None = Field(None, ge=0, description="the tokenizer's [SEP]; written into config.json")

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        if self.hidden_size % self.num_heads:
            raise ValueError(
                f"num_heads = {self.num_heads} does not divide hidden_size = {self.hidden_size}; "
                f"set num_heads to one of {_divisors_near(self.hidden_size, self.num_heads)}"
            )
        return self

    @property
    def head_size(self) -> int:
        """Width of one attention head."""
        return self.hidden_size // self.num_heads

    def with_vocabulary(self, vocab_size: int, *, pad: int, cls: int, sep: int) -> Self:
        """Return a copy for a tokenizer of `vocab_size` tokens with these ids of special tokens."""
        return self.model_copy(update={"vocab_size": vocab_size, "pad_id": pad, "cls_id": cls, "sep_id": sep})


class BertConfig(_Sizes):
    """BERT (Devlin et al. 2018), and RoBERTa, which differs in the names of weights and the first position."""

    kind: Literal["bert"] = "bert"
    intermediate_size: int = Field(2048, ge=1, description="width of the feed-forward layer, usually 4 x hidden_size")
    max_positions: int = Field(512, ge=2, description="maximum sequence length; rows of the position table")
    type_vocab_size: int = Field(2, ge=1, description="number of token types (segments)")
    norm_eps: float = Field(1e-12, gt=0, le=1, description="added to the variance in LayerNorm")
    positions_start: Literal["normal", "sinusoidal"] = Field(
        "normal", description="initial position table: BERT's random one, or sinusoids, which train faster"
    )
    family: Literal["bert", "roberta", "xlm-roberta", "camembert"] = Field(
        "bert", description="model type that a model folder is written as, which names its weights"
    )
    position_offset: int = Field(0, ge=0, description="row of the first position; 2 in RoBERTa")

    @model_validator(mode="after")
    def _family_has_its_heads(self) -> Self:
        if self.family != "bert" and self.pair_head:
            raise ValueError(f"pair_head = true: a {self.family} folder cannot store it; use family = 'bert'")
        return self

    @property
    def layer_parameters(self) -> int:
        """Number of weights in the matrices of one layer."""
        return 4 * self.hidden_size**2 + 2 * self.hidden_size * self.intermediate_size


class ModernConfig(_Sizes):
    """ModernBERT (Warner et al. 2024): pre-norm, rotary positions, GeGLU, local and global attention, few biases."""

    kind: Literal["modern"] = "modern"
    intermediate_size: int = Field(
        768, ge=1, description="width of the gated feed-forward layer, usually 1.5 x hidden_size"
    )
    max_positions: int = Field(8192, ge=2, description="maximum sequence length; no weight depends on it")
    norm_eps: float = Field(1e-5, gt=0, le=1, description="added to the variance in LayerNorm")
    global_every: int = Field(3, ge=1, description="every n-th layer, from the first, attends to the whole example")
    local_window: int = Field(
        128, ge=2, description="attention window of the other layers in tokens, half on either side"
    )
    global_rope_theta: float = Field(
        160_000.0, ge=1, le=1e12, description="base of the rotary positions in global layers"
    )
    local_rope_theta: float = Field(10_000.0, ge=1, le=1e12, description="base of the rotary positions in local layers")

    @model_validator(mode="after")
    def _heads_can_be_rotated(self) -> Self:
        if self.head_size % 2:
            raise ValueError(
                f"hidden_size / num_heads = {self.head_size} is odd, but rotary positions rotate pairs of dimensions; "
                f"choose an even head size"
            )
        return self

    @property
    def layer_parameters(self) -> int:
        """Number of weights in the matrices of one layer; the feed-forward input is twice as wide, for the gate."""
        return 4 * self.hidden_size**2 + 3 * self.hidden_size * self.intermediate_size

    def is_global(self, layer: int) -> bool:
        """Return whether a layer attends to the whole example."""
        return layer % self.global_every == 0


ModelConfig: TypeAlias = BertConfig | ModernConfig

MODELS = strategies_by_kind(BertConfig, ModernConfig)


def _divisors_near(size: int, wanted: int) -> str:
    divisors = [divisor for divisor in range(1, size + 1) if size % divisor == 0]
    return ", ".join(map(str, sorted(sorted(divisors, key=lambda divisor: abs(divisor - wanted))[:4])))


def flops_per_token(config: ModelConfig, seq: int, mask_rate: float = 0.15) -> float:
    """Return the floating-point operations of one forward and backward pass, per token of rows of `seq` tokens.

    Two per multiply-add forward, four backward. Counts the matrix products of attention over a whole row (or over the
    window of the layer), of the feed-forward layers, and of the head on `mask_rate` of the tokens.
    """
    width = config.hidden_size
    attended = [
        seq if isinstance(config, BertConfig) or config.is_global(layer) else min(seq, config.local_window + 1)
        for layer in range(config.num_layers)
    ]
    head = mask_rate * (width**2 + width * config.vocab_size)
    return 6.0 * (config.num_layers * config.layer_parameters + 2 * width * sum(attended) + head)
