"""A token drawn from what a model expects: sharpened, cut to the likeliest, and repeatable."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from maskling.errors import SettingsError


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn.

    temperature: probabilities to the power of one over it; 0 takes the likeliest token. top_k: draw among so many
    likeliest tokens. top_p: among the fewest likeliest that hold this much probability (Holtzman et al. 2020, The
    Curious Case of Neural Text Degeneration, section 3.1). Raises SettingsError for a value out of range.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = 0.9

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise SettingsError(f"temperature is {self.temperature:g}; it is 0 or more, 1 leaves probabilities alone")
        if self.top_k is not None and self.top_k < 1:
            raise SettingsError(f"top_k is {self.top_k}; draw among 1 token or more")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise SettingsError(f"top_p is {self.top_p:g}; it is a probability, above 0 and up to 1")

    def draw(self, scores: Tensor, uniforms: Tensor) -> Tensor:
        """One token for each row.

        scores: (n, tokens), logits or log-probabilities, -inf where a token is ruled out; uniforms: (n,) float64 in
        [0, 1), which decide. Returns (n,) int64.
        """
        if self.temperature == 0:
            return scores.argmax(-1)
        scaled = scores.double() / self.temperature
        if self.top_k is not None:
            values, order = scaled.topk(min(self.top_k, scaled.shape[-1]), dim=-1)
        elif self.top_p is not None:
            values, order = scaled.sort(dim=-1, descending=True, stable=True)
        else:
            values, order = scaled, None
        chances = values.softmax(-1)
        if self.top_p is not None:
            before = chances.cumsum(-1) - chances
            chances = torch.where(before < self.top_p, chances, 0.0)
        total = chances.cumsum(-1)
        place = torch.searchsorted(total, uniforms[:, None] * total[:, -1:], right=True)
        # Rounding may put a draw on the very end, behind the last token that has a chance.
        last = (chances > 0).int().cumsum(-1).argmax(-1, keepdim=True)
        place = torch.minimum(place, last)
        return (place if order is None else order.gather(-1, place))[:, 0]
