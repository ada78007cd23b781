"""Attention maps and hidden states of one text: the attention of every head, the states after every layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskling.drawing import Drawing, attention_map, attention_overview, box
from maskling.errors import ModelError, SettingsError
from maskling.infer.forward import ModelRunner
from maskling.model.attention import AttentionPattern

# The largest array of attention maps; a larger one is more likely to exhaust memory than to be looked at.
_MAX_BYTES = 4 << 30


@dataclass(frozen=True)
class AttentionMaps:
    """The attention of every head in every layer on one text.

    tokens: (n,) [CLS] and [SEP] included; weights: (layers, heads, n, n) float32, weights[l, h, i, j] is the weight of
    token j for token i, and each row sums to one; cut: whether the text was truncated.
    """

    tokens: tuple[str, ...]
    weights: NDArray[np.float32]
    cut: bool = False

    def summary(self) -> list[dict[str, float]]:
        """Return statistics of each head, averaged over the tokens.

        Fractions of the attention on the token itself, the one before, the one after, the first ([CLS]) and the last
        ([SEP]), as in Clark et al. 2019, What Does BERT Look At?, section 3; and the entropy in nats, which is small
        if a head attends to few tokens.
        """
        itself, before, after = (self._along(offset) for offset in (0, -1, 1))
        first, last = self.weights[..., 0].mean(-1), self.weights[..., -1].mean(-1)
        safe = np.maximum(self.weights, np.finfo(np.float32).tiny)
        entropy = -(self.weights * np.log(safe)).sum(-1).mean(-1)
        layers, heads = entropy.shape
        names = ("itself", "before", "after", "first", "last", "entropy")
        columns = (itself, before, after, first, last, entropy)
        return [
            {"layer": layer, "head": head}
            | {name: float(column[layer, head]) for name, column in zip(names, columns, strict=True)}
            for layer in range(layers)
            for head in range(heads)
        ]

    def draw(self, layer: int | None = None, head: int | None = None) -> Drawing:
        """Draw the map of one head for a notebook, with its tokens. layer, head: from 0; None averages over all.

        Each row shows where one token attends. Raises SettingsError for a layer or head that the model does not have.
        """
        weights, names = self.weights, []
        for name, index in (("layer", layer), ("head", head)):
            # Of layers, then heads, the first axis of what is left.
            if index is not None and not 0 <= index < len(weights):
                raise SettingsError(f"{name} is {index}; this model has {name}s 0 to {len(weights) - 1}")
            weights = weights.mean(0) if index is None else weights[index]
            names.append(f"all {name}s, averaged" if index is None else f"{name} {index}")
        note = f"{'; '.join(names)}; rows: from, columns: to" + self.cut * "; the end of the text was cut"
        return Drawing(box(attention_map(self.tokens, weights), note=note))

    def _repr_html_(self) -> str:
        note = "all heads; draw(layer, head) draws one of them"
        return box(attention_overview(self.weights), note=note) + self.draw().html

    def _along(self, offset: int) -> NDArray[np.float32]:
        """Return (layers, heads) the mean over tokens of the weight of the token `offset` positions to the right."""
        diagonal = np.diagonal(self.weights, offset, axis1=2, axis2=3)
        return np.asarray(diagonal.sum(-1) / len(self.tokens), dtype=np.float32)


def attention_maps(runner: ModelRunner, text: str) -> AttentionMaps:
    """Compute the attention maps of one text, as transformers does with attn_implementation="eager".

    Special tokens written in the text, such as [MASK], become those tokens. A text that is too long is truncated.
    Raises SettingsError for a text whose maps would take more than 4 GB, ModelError for an ONNX model.
    """
    ids, cut = _sequence(runner, text)
    config = runner.module.config
    size = 4 * config.num_layers * config.num_heads * len(ids) ** 2
    if size > _MAX_BYTES:
        raise SettingsError(
            f"the attention maps of {len(ids):,} tokens would take {size / 1e9:.0f} GB; give a shorter text"
        )
    maps: list[Tensor] = []
    _read(runner, ids, maps=maps)
    if not maps:
        raise ModelError("an ONNX model does not output its attention; use the model it was exported from")
    weights: NDArray[np.float32] = torch.cat(maps).cpu().numpy()
    return AttentionMaps(tuple(map(runner.tokenizer.token, ids.tolist())), weights, cut)


def layer_states(runner: ModelRunner, text: str) -> tuple[NDArray[np.float32], bool]:
    """Compute the state of every token after the embeddings and after each layer, counted as in transformers.

    Special tokens written in the text become those tokens. Returns (layers + 1, n, hidden) float32, [CLS] and [SEP]
    included, and whether the text was truncated.
    """
    ids, cut = _sequence(runner, text)
    states: list[Tensor] = []
    _read(runner, ids, states=states)
    found: NDArray[np.float32] = torch.cat(states).float().cpu().numpy()
    return found, cut


@torch.inference_mode()
def _read(
    runner: ModelRunner, ids: NDArray[np.int64], maps: list[Tensor] | None = None, states: list[Tensor] | None = None
) -> None:
    row = torch.from_numpy(ids)[None].to(runner.compute.device)
    pattern = AttentionPattern(torch.zeros_like(row, dtype=torch.int32), full=True)
    pattern.maps = maps
    positions = torch.arange(len(ids), device=row.device)[None]
    with runner.compute.autocast():
        runner.module(row, positions, torch.zeros_like(row), pattern, states)


def _sequence(runner: ModelRunner, text: str) -> tuple[NDArray[np.int64], bool]:
    special, room = runner.tokenizer.special, runner.max_length - 2
    ids = runner.tokenizer.encode(text, special_in_text=True).ids
    return np.concatenate([[special.cls], ids[:room], [special.sep]]).astype(np.int64), len(ids) > room
