"""Interfaces of modules: `MaskedLM`, an encoder with separate heads; `HFWeights`, loading by transformers' names."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from maskling.errors import ModelError
from maskling.model.attention import AttentionPattern
from maskling.model.config import ModelConfig
from maskling.model.hf_config import NOT_QUANTIZED

_WEIGHT_DTYPES = (
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
    *(torch.float8_e4m3fn, torch.float8_e4m3fnuz, torch.float8_e5m2, torch.float8_e5m2fnuz),
)


class NameReport(NamedTuple):
    """Names of weights, as in the file, that were missing or unexpected; PyTorch's load_state_dict has the same two."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]


class HFWeights(nn.Module, ABC):
    """Module that loads and saves its weights under transformers' names, whatever they are called here."""

    @abstractmethod
    def hf_names(self) -> dict[str, tuple[str, ...]]:
        """Return the transformers name of each parameter; several names are stacked along the rows of one parameter.

        Parameters that were dropped (see `MaskedLM.drop_heads`) may be included.
        """

    @abstractmethod
    def canonical_name(self, name: str) -> str | None:
        """Return today's transformers name for a name found in a file, None for a buffer that is no weight.

        A tied duplicate gets the name of the weight that it repeats.
        """

    def to_hugging_face(self) -> dict[str, Tensor]:
        """Return the weights under transformers' names, without tied duplicates. Shares memory with the module."""
        state = self.state_dict()
        return {
            theirs: piece
            for ours, several in self.hf_names().items()
            if ours in state
            for theirs, piece in zip(several, state[ours].chunk(len(several)), strict=True)
        }

    @torch.no_grad()
    def load_hugging_face(self, weights: Mapping[str, Tensor], *, reuse_tensors: bool = False) -> NameReport:
        """Copy weights with transformers' names, old or new, into this module, in the module's dtype.

        Parameters that `weights` lacks are not changed. reuse_tensors: use the given tensors as parameters, without a
        copy, where dtype and layout allow it; a memory-mapped tensor is then read from its file on first use.
        Raises ModelError for the first weight of another shape, of a dtype whose values are no weights by themselves
        (integers are quantized weights), or with a value that is not finite.
        """
        found: dict[str, Tensor] = {}
        unexpected = []
        expected = self.to_hugging_face()
        alone = {several[0]: ours for ours, several in self.hf_names().items() if len(several) == 1}
        for name, tensor in weights.items():
            known = self.canonical_name(name)
            if known is not None and known not in expected:
                unexpected.append(name)
            elif known is not None and (known == name or known not in found):
                found[known] = tensor
        for name, tensor in found.items():
            target = expected[name]
            if target.shape != tensor.shape:
                raise ModelError(
                    f"weight {name} has shape {_shape(tensor)}, but config.json asks for {_shape(target)}; "
                    f"the two files do not belong together"
                )
            if tensor.dtype not in _WEIGHT_DTYPES:
                kind = str(tensor.dtype).removeprefix("torch.")
                raise ModelError(f"weight {name} is of type {kind}, so it is quantized, which {NOT_QUANTIZED}")
            if reuse_tensors and name in alone and tensor.dtype == target.dtype and tensor.is_contiguous():
                self.get_parameter(alone[name]).data = tensor
            else:
                target.copy_(tensor)
            if not _all_finite(tensor if tensor.dtype == target.dtype else target):
                raise ModelError(
                    f"weight {name} has values that are not finite (NaN or infinity), so every result would be; the "
                    f"training that wrote it failed, or the file is damaged: take an earlier checkpoint"
                )
        return NameReport(tuple(name for name in expected if name not in found), tuple(unexpected))

    def unexpected(self, weights: Iterable[str]) -> tuple[str, ...]:
        """Return the names in a file that this module has no parameter for."""
        expected = self.to_hugging_face()
        known = {name: self.canonical_name(name) for name in weights}
        return tuple(name for name, ours in known.items() if ours is not None and ours not in expected)

    def num_parameters(self) -> int:
        """Return the number of weights; tied weights count once."""
        return sum(parameter.numel() for parameter in self.parameters())


def _all_finite(tensor: Tensor) -> bool:
    """Return whether all values are finite. A sum is not finite if one of them is not, and the fastest pass."""
    return math.isfinite(float(tensor.sum())) or bool(tensor.isfinite().all())


def _shape(tensor: Tensor) -> str:
    return " x ".join(str(size) for size in tensor.shape) or "a single number"


class MaskedLM(HFWeights):
    """Encoder with a masked-token head and, optionally, a pair head.

    `forward` runs the encoder only. The heads are separate methods, because only masked positions go through the
    masked-token head.
    """

    config: ModelConfig
    word: nn.Embedding
    token_head_prefixes: ClassVar[tuple[str, ...]]
    """Prefixes of the transformers names of the masked-token head's weights."""
    head_prefixes: ClassVar[tuple[str, ...]]
    """Prefixes of the transformers names of all heads' weights, which may be missing from a folder."""

    @abstractmethod
    def forward(
        self,
        input_ids: Tensor,
        position_ids: Tensor,
        token_type_ids: Tensor | None,
        pattern: AttentionPattern,
        states: list[Tensor] | None = None,
    ) -> Tensor:
        """Encode rows of tokens.

        input_ids, position_ids, token_type_ids: (rows, seq) integers; positions start at 0 in each example.
        pattern: the attention mask. states: a list to which the hidden states after the embeddings and after each layer
        are appended, as in transformers' `hidden_states`. Returns (rows, seq, hidden).
        """

    @abstractmethod
    def transformed(self, hidden: Tensor) -> Tensor:
        """Apply the masked-token head up to its output matrix. hidden: (..., hidden). Returns the same shape."""

    @abstractmethod
    def decoder(self) -> tuple[Tensor, Tensor]:
        """Return the output matrix of the masked-token head, (vocab_size, hidden), and its bias, (vocab_size,)."""

    def predict(self, hidden: Tensor) -> Tensor:
        """Return logits over the vocabulary: (..., vocab_size). hidden: (..., hidden)."""
        return F.linear(self.transformed(hidden), *self.decoder())

    @abstractmethod
    def pair(self, first: Tensor) -> Tensor:
        """Return the logits of pairs of segments: (n, 2). first: (n, hidden), each [CLS]. Needs `config.pair_head`."""

    @abstractmethod
    def initialize(self, generator: Generator) -> None:
        """Draw the initial weights, in place."""

    def embed_tokens(self, input_ids: Tensor) -> Tensor:
        """Look up word embeddings: (rows, seq) integers to (rows * seq, hidden)."""
        # The table is also the output matrix, whose dense gradient comes first. The gradient of the lookup is then best
        # sparse and added row by row: a second dense gradient, nearly all zeros, took 5 % of a small step.
        # (torch.compile does not support sparse gradients.)
        eager = input_ids.device.type == "cpu" and not torch.compiler.is_compiling()
        rows_only = self.training and eager and hasattr(self, "decoder_bias")
        return F.embedding(input_ids.flatten(), self.word.weight, sparse=rows_only)

    def drop_heads(self) -> None:
        """Delete the weights of all heads; `predict` and `pair` no longer work then."""
        for ours, theirs in self.hf_names().items():
            part = ours.partition(".")[0]
            if theirs[0].startswith(self.head_prefixes) and hasattr(self, part):
                delattr(self, part)


def truncated_normal_(weight: Tensor, spread: float, generator: Generator) -> None:
    """Fill `weight` in place from a normal distribution of standard deviation `spread`, truncated at twice that.

    Uses the inverse of the distribution function. torch's trunc_normal_ redraws values outside the interval, which took
    8 of the 10 seconds before the first step of a base model.
    """
    inside = math.erf(2 / math.sqrt(2))
    weight.uniform_(-inside, inside, generator=generator).erfinv_().mul_(spread * math.sqrt(2))
    weight.clamp_(-2 * spread, 2 * spread)  # rounding
