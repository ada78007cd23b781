"""What a model is made of: its sizes and choices. No torch, so that settings start fast."""

from __future__ import annotations

from typing import Literal, Self, TypeAlias

from pydantic import Field, model_validator

from maskling.config import Settings, table

# FOLDED DOCS
# [cost] What a model costs: floating-point operations of training, to compare with what the machine could do.


Activation = Literal["gelu", "gelu_tanh"]


class _Sizes(Settings):
    """What every architecture has."""

    hidden_size: int = Field(512, ge=1, description="width of a token's vector")
    num_layers: int = Field(4, ge=1, description="number of layers")
    num_heads: int = Field(8, ge=1, description="attention heads; they share hidden_size out between them")
    activation: Activation = Field("gelu", description="gelu is exact (erf), gelu_tanh its tanh approximation")
    dropout: float = Field(0.0, ge=0, lt=1, description="chance that a hidden value is dropped in training")
    attention_dropout: float = Field(0.0, ge=0, lt=1, description="chance that an attention weight is dropped")
    initializer_range: float = Field(0.02, gt=0, description="spread of the first weights, cut off at twice this")
    pair_head: bool = Field(False, description="a head that judges two segments; needed by nsp and sop")
    vocab_size: int = Field(0, ge=0, description="number of tokens; 0 takes the tokenizer's")
    pad_id: int = Field(0, ge=0, description="the tokenizer's [PAD]; written into config.json")
    cls_id: int | None = Field(None, ge=0, description="the tokenizer's [CLS]; written into config.json")
    sep_id: int | None = Field(None, ge=0, description="the tokenizer's [SEP]; written into config.json")

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        if self.hidden_size % self.num_heads:
            raise ValueError(
                f"num_heads = {self.num_heads} does not divide hidden_size = {self.hidden_size}; "
                f"choose one of {_divisors_near(self.hidden_size, self.num_heads)} heads"
            )
        return self

    @property
    def head_size(self) -> int:
        """Width of one attention head."""
        return self.hidden_size // self.num_heads

    def with_vocabulary(self, vocab_size: int, *, pad: int, cls: int, sep: int) -> Self:
        """The same model for a tokenizer of `vocab_size` tokens with these special ids."""
        return self.model_copy(update={"vocab_size": vocab_size, "pad_id": pad, "cls_id": cls, "sep_id": sep})


class BertConfig(_Sizes):
    """BERT as of 2018 (Devlin et al.), and RoBERTa, which differs in names and in where positions start."""

    kind: Literal["bert"] = "bert"
    intermediate_size: int = Field(
        2048, ge=1, description="width inside the feed-forward part, usually 4 x hidden_size"
    )
    max_positions: int = Field(512, ge=2, description="longest sequence; rows of the position table")
    type_vocab_size: int = Field(2, ge=1, description="number of segments: token types")
    norm_eps: float = Field(1e-12, gt=0, description="added to the variance in LayerNorm")
    positions_start: Literal["normal", "sinusoidal"] = Field(
        "normal", description="first values of the position table: BERT's random ones, or sinusoids, which learn sooner"
    )
    family: Literal["bert", "roberta", "xlm-roberta", "camembert"] = Field(
        "bert", description="whose names the weights carry in a model folder"
    )
    position_offset: int = Field(0, ge=0, description="row of the first position; 2 in RoBERTa")

    @model_validator(mode="after")
    def _family_has_its_heads(self) -> Self:
        if self.family != "bert" and self.pair_head:
            raise ValueError(f"pair_head = true: a {self.family} folder has no place for it; use family = 'bert'")
        return self

    @property
    def layer_parameters(self) -> int:
        """Weights of the matrices of one layer."""
        return 4 * self.hidden_size**2 + 2 * self.hidden_size * self.intermediate_size


class ModernConfig(_Sizes):
    """ModernBERT (Warner et al. 2024): pre-norm, rotary positions, GeGLU, local and global attention, few biases."""

    kind: Literal["modern"] = "modern"
    intermediate_size: int = Field(768, ge=1, description="width inside the gated feed-forward part, 1.5 x hidden_size")
    max_positions: int = Field(8192, ge=2, description="longest sequence that is promised; nothing is sized by it")
    norm_eps: float = Field(1e-5, gt=0, description="added to the variance in LayerNorm")
    global_every: int = Field(3, ge=1, description="every n-th layer, the first included, sees the whole example")
    local_window: int = Field(128, ge=2, description="the other layers see this many tokens around, half on each side")
    global_rope_theta: float = Field(160_000.0, gt=0, description="base of the rotary positions in global layers")
    local_rope_theta: float = Field(10_000.0, gt=0, description="base of the rotary positions in local layers")

    @model_validator(mode="after")
    def _heads_can_be_rotated(self) -> Self:
        if self.head_size % 2:
            raise ValueError(
                f"hidden_size / num_heads = {self.head_size} is odd; rotary positions turn pairs of numbers: "
                f"choose an even size for each head"
            )
        return self

    @property
    def layer_parameters(self) -> int:
        """Weights of the matrices of one layer; the one into the feed-forward part is twice as wide, for its gate."""
        return 4 * self.hidden_size**2 + 3 * self.hidden_size * self.intermediate_size

    def is_global(self, layer: int) -> bool:
        """Whether a layer sees the whole example."""
        return layer % self.global_every == 0


ModelConfig: TypeAlias = BertConfig | ModernConfig

MODELS = table(BertConfig, ModernConfig)


def _divisors_near(size: int, wanted: int) -> str:
    divisors = [number for number in range(1, size + 1) if size % number == 0]
    return ", ".join(str(number) for number in sorted(sorted(divisors, key=lambda d: abs(d - wanted))[:4]))


def flops_per_token(config: ModelConfig, seq: int, mask_rate: float = 0.15) -> float:
    """Operations of one forward and backward pass, for each token of rows of `seq` tokens.

    Two for each multiply-add forward, four backward. Counts the matrix products of attention over a whole row (a
    window where the layer has one), of the feed-forward part, and of the head on `mask_rate` of the tokens.
    """
    width = config.hidden_size
    attended = [
        seq if isinstance(config, BertConfig) or config.is_global(layer) else min(seq, config.local_window + 1)
        for layer in range(config.num_layers)
    ]
    head = mask_rate * (width**2 + width * config.vocab_size)
    return 6.0 * (config.num_layers * config.layer_parameters + 2 * width * sum(attended) + head)
