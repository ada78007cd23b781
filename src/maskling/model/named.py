"""Modules whose weights go by transformers' names in a model folder, whatever they are called here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from maskling.errors import ModelError


class NameReport(NamedTuple):
    """Names, as transformers spells them, that a set of weights lacked or had too many."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]


class Named(nn.Module, ABC):
    """A module that knows what transformers calls its weights."""

    @abstractmethod
    def names(self) -> dict[str, tuple[str, ...]]:
        """Each parameter's name here and in transformers; several there are stacked along their rows here.

        Parameters that the module has given up (see `MaskedLM.shed_heads`) may be among them.
        """

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
            if ours in state
            for theirs, piece in zip(several, state[ours].chunk(len(several)), strict=True)
        }

    @torch.no_grad()
    def load_hugging_face(self, weights: Mapping[str, Tensor], *, adopt: bool = False) -> NameReport:
        """Copy weights with transformers' names, old or new, into this module, in the module's dtype.

        What `weights` lacks stays as it is. adopt: take the tensors themselves where they can stand as they are, of
        the same dtype and in one piece: nothing is copied, and what is mapped from a file is read when it is used.
        Raises ModelError for the first weight of another shape.
        """
        found: dict[str, Tensor] = {}
        unexpected = []
        expected = self.to_hugging_face()
        alone = {several[0]: ours for ours, several in self.names().items() if len(several) == 1}
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
            if adopt and name in alone and tensor.dtype == target.dtype and tensor.is_contiguous():
                self.get_parameter(alone[name]).data = tensor
            else:
                target.copy_(tensor)
        return NameReport(tuple(name for name in expected if name not in found), tuple(unexpected))

    def homeless(self, weights: Iterable[str]) -> tuple[str, ...]:
        """Those of the names in a file that have no place in this module."""
        expected = self.to_hugging_face()
        known = {name: self.canonical(name) for name in weights}
        return tuple(name for name, ours in known.items() if ours is not None and ours not in expected)

    def num_parameters(self) -> int:
        """Number of weights, tied ones once."""
        return sum(parameter.numel() for parameter in self.parameters())


def _shape(tensor: Tensor) -> str:
    return " x ".join(str(size) for size in tensor.shape) or "a single number"
