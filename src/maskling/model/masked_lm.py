"""What every architecture offers: an encoder, a head apart from it, and names that other tools know."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import torch
from torch import Generator, Tensor, nn

from maskling.errors import ModelError
from maskling.model.attention import Visible
from maskling.model.config import ModelConfig


class NameReport(NamedTuple):
    """Names, as transformers spells them, that a set of weights lacked or had too many."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]


class MaskedLM(nn.Module, ABC):
    """An encoder with a head that guesses masked tokens and, if asked for, one that judges pairs.

    The head is apart from the encoder because only masked positions go through it.
    """

    config: ModelConfig
    head_prefixes: ClassVar[tuple[str, ...]]
    """How the names of weights begin that an encoder can do without; they may be missing from a folder."""

    @abstractmethod
    def forward(
        self,
        input_ids: Tensor,
        position_ids: Tensor,
        token_type_ids: Tensor | None,
        visible: Visible,
        states: list[Tensor] | None = None,
    ) -> Tensor:
        """Encode rows of tokens.

        input_ids, position_ids, token_type_ids: (rows, seq) integers; positions start at 0 in each example.
        states: a list that gets the state after the embeddings and after each layer, as transformers counts them.
        Returns (rows, seq, hidden).
        """

    @abstractmethod
    def predict(self, hidden: Tensor) -> Tensor:
        """Score every token of the vocabulary. hidden: (..., hidden). Returns (..., vocab_size) logits."""

    @abstractmethod
    def pair(self, first: Tensor) -> Tensor:
        """Judge pairs of segments; needs `config.pair_head`. first: (n, hidden), of each [CLS]. Returns (n, 2)."""

    @abstractmethod
    def initialize(self, generator: Generator) -> None:
        """Fill the weights as training starts with them."""

    @abstractmethod
    def names(self) -> dict[str, tuple[str, ...]]:
        """Each parameter's name here and in transformers; several there are stacked along their rows here."""

    @abstractmethod
    def canonical(self, name: str) -> str | None:
        """A name found in a file as transformers spells it today, None for what carries no weight.

        A tied duplicate becomes the name of what it repeats.
        """

    def to_hugging_face(self) -> dict[str, Tensor]:
        """The weights under transformers' names, tied duplicates left out. Shares memory with the module."""
        state = self.state_dict()
        return {
            theirs: piece
            for ours, several in self.names().items()
            for theirs, piece in zip(several, state[ours].chunk(len(several)), strict=True)
        }

    @torch.no_grad()
    def load_hugging_face(self, weights: Mapping[str, Tensor]) -> NameReport:
        """Copy weights with transformers' names, old or new, into this module, in the module's dtype.

        What `weights` lacks stays as it is. Raises ModelError for the first weight of another shape.
        """
        found: dict[str, Tensor] = {}
        unexpected = []
        expected = self.to_hugging_face()
        for name, tensor in weights.items():
            known = self.canonical(name)
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
            target.copy_(tensor)
        return NameReport(tuple(name for name in expected if name not in found), tuple(unexpected))

    def num_parameters(self) -> int:
        """Number of weights, tied ones once."""
        return sum(parameter.numel() for parameter in self.parameters())


def _shape(tensor: Tensor) -> str:
    return " x ".join(str(size) for size in tensor.shape) or "a single number"


def draw(weight: Tensor, spread: float, generator: Generator) -> None:
    """Fill `weight` in place from a normal distribution of deviation `spread` cut off at two deviations.

    By the inverse of its distribution function: torch's trunc_normal_ draws again what falls outside, which took 8 of
    the 10 seconds before the first step of a base model.
    """
    inside = math.erf(2 / math.sqrt(2))
    weight.uniform_(-inside, inside, generator=generator).erfinv_().mul_(spread * math.sqrt(2))
    weight.clamp_(-2 * spread, 2 * spread)  # rounding
