"""What every architecture offers: an encoder, a head apart from it, and names that other tools know."""

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

# FOLDED DOCS
# [named] Modules whose weights go by transformers' names in a model folder, whatever they are called here.


class NameReport(NamedTuple):
    """Names, as transformers spells them, that a set of weights lacked or had too many."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]


class HFWeights(nn.Module, ABC):
    """A module that knows what transformers calls its weights."""

    @abstractmethod
    def hf_names(self) -> dict[str, tuple[str, ...]]:
        """Each parameter's name here and in transformers; several there are stacked along their rows here.

        Parameters that the module has given up (see `MaskedLM.drop_heads`) may be among them.
        """

    @abstractmethod
    def canonical_name(self, name: str) -> str | None:
        """A name found in a file as transformers spells it today, None for what carries no weight.

        A tied duplicate becomes the name of what it repeats.
        """

    def to_hugging_face(self) -> dict[str, Tensor]:
        """The weights under transformers' names, tied duplicates left out. Shares memory with the module."""
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

        What `weights` lacks stays as it is. reuse_tensors: take the tensors themselves where they can stand as they are, of
        the same dtype and in one piece: nothing is copied, and what is mapped from a file is read when it is used.
        Raises ModelError for the first weight of another shape.
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
            if reuse_tensors and name in alone and tensor.dtype == target.dtype and tensor.is_contiguous():
                self.get_parameter(alone[name]).data = tensor
            else:
                target.copy_(tensor)
        return NameReport(tuple(name for name in expected if name not in found), tuple(unexpected))

    def unexpected(self, weights: Iterable[str]) -> tuple[str, ...]:
        """Those of the names in a file that have no place in this module."""
        expected = self.to_hugging_face()
        known = {name: self.canonical_name(name) for name in weights}
        return tuple(name for name, ours in known.items() if ours is not None and ours not in expected)

    def num_parameters(self) -> int:
        """Number of weights, tied ones once."""
        return sum(parameter.numel() for parameter in self.parameters())


def _shape(tensor: Tensor) -> str:
    return " x ".join(str(size) for size in tensor.shape) or "a single number"


class MaskedLM(HFWeights):
    """An encoder with a head that guesses masked tokens and, if asked for, one that judges pairs.

    The head is apart from the encoder because only masked positions go through it.
    """

    config: ModelConfig
    word: nn.Embedding
    token_head_prefixes: ClassVar[tuple[str, ...]]
    """How the names of the masked-token head's weights begin."""
    head_prefixes: ClassVar[tuple[str, ...]]
    """How the names of weights begin that an encoder can do without; they may be missing from a folder."""

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
        states: a list that gets the state after the embeddings and after each layer, as transformers counts them.
        Returns (rows, seq, hidden).
        """

    @abstractmethod
    def transformed(self, hidden: Tensor) -> Tensor:
        """The masked-token head up to its output matrix. hidden: (..., hidden). Returns the same shape."""

    @abstractmethod
    def decoder(self) -> tuple[Tensor, Tensor]:
        """The output matrix of that head, (vocab_size, hidden), and its bias, (vocab_size,)."""

    def predict(self, hidden: Tensor) -> Tensor:
        """Score every token of the vocabulary. hidden: (..., hidden). Returns (..., vocab_size) logits."""
        return F.linear(self.transformed(hidden), *self.decoder())

    @abstractmethod
    def pair(self, first: Tensor) -> Tensor:
        """Judge pairs of segments; needs `config.pair_head`. first: (n, hidden), of each [CLS]. Returns (n, 2)."""

    @abstractmethod
    def initialize(self, generator: Generator) -> None:
        """Fill the weights as training starts with them."""

    def embed_tokens(self, input_ids: Tensor) -> Tensor:
        """The rows of the word table: (rows, seq) integers to (rows * seq, hidden)."""
        # Where the table is also the output matrix its gradient is a full one, and comes first; then that of the lookup
        # is best added to it row by row: as a full table of its own, nearly all zeros, it took 5 % of a small step.
        # (torch's compiler knows no such gradients.)
        eager = input_ids.device.type == "cpu" and not torch.compiler.is_compiling()
        rows_only = self.training and eager and hasattr(self, "decoder_bias")
        return F.embedding(input_ids.flatten(), self.word.weight, sparse=rows_only)

    def drop_heads(self) -> None:
        """Give up every weight that the encoder can do without; `predict` and `pair` do not work any more."""
        for ours, theirs in self.hf_names().items():
            part = ours.partition(".")[0]
            if theirs[0].startswith(self.head_prefixes) and hasattr(self, part):
                delattr(self, part)


def truncated_normal_(weight: Tensor, spread: float, generator: Generator) -> None:
    """Fill `weight` in place from a normal distribution of deviation `spread` cut off at two deviations.

    By the inverse of its distribution function: torch's trunc_normal_ draws again what falls outside, which took 8 of
    the 10 seconds before the first step of a base model.
    """
    inside = math.erf(2 / math.sqrt(2))
    weight.uniform_(-inside, inside, generator=generator).erfinv_().mul_(spread * math.sqrt(2))
    weight.clamp_(-2 * spread, 2 * spread)  # rounding
