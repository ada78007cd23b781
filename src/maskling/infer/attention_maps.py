"""What goes on inside a model that reads a text: the attention of every head, the states after every layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskling.errors import ModelError, SettingsError
from maskling.infer.forward import ModelRunner
from maskling.model.attention import AttentionPattern

# The largest array of maps that is made; beyond it a machine is more likely to die of it than to look at it.
_MOST_BYTES = 4 << 30


@dataclass(frozen=True)
class AttentionMaps:
    """The attention of every head in every layer on one text.

    tokens: (n), [CLS] and [SEP] included; weights: (layers, heads, n, n) float32, weights[l, h, i, j] is how much token
    i takes from token j, each row summing to one; cut: the text was longer than the model sees.
    """

    tokens: tuple[str, ...]
    weights: NDArray[np.float32]
    cut: bool = False

    def summary(self) -> list[dict[str, float]]:
        """Where each head looks, as fractions of its attention averaged over the tokens (as Clark et al. 2019,
        What Does BERT Look At?, section 3): at the token itself, the one before, the one after, the first ([CLS]) and
        the last ([SEP]); and its entropy in nats, small where it looks at few tokens.
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

    def _along(self, offset: int) -> NDArray[np.float32]:
        """(layers, heads): the mean over tokens of what each takes from the one `offset` to its right."""
        diagonal = np.diagonal(self.weights, offset, axis1=2, axis2=3)
        return np.asarray(diagonal.sum(-1) / len(self.tokens), dtype=np.float32)


def attention_maps(reader: ModelRunner, text: str) -> AttentionMaps:
    """The attention on one text, as transformers gives it with attn_implementation="eager".

    Special tokens written in the text, as [MASK], are those tokens. A text that is too long is cut.
    Raises SettingsError for a text whose maps would take more than 4 GB, ModelError for an ONNX model.
    """
    ids, cut = _sequence(reader, text)
    config = reader.module.config
    size = 4 * config.num_layers * config.num_heads * len(ids) ** 2
    if size > _MOST_BYTES:
        raise SettingsError(
            f"the attention maps of {len(ids):,} tokens would take {size / 1e9:.0f} GB; give a shorter text"
        )
    maps: list[Tensor] = []
    _read(reader, ids, maps=maps)
    if not maps:
        raise ModelError("an ONNX model does not show its attention; use the model it was made from")
    weights: NDArray[np.float32] = torch.cat(maps).cpu().numpy()
    return AttentionMaps(tuple(map(reader.tokenizer.token, ids.tolist())), weights, cut)


def layer_states(reader: ModelRunner, text: str) -> tuple[NDArray[np.float32], bool]:
    """The state of every token after the embeddings and after each layer, counted as transformers counts them.

    Special tokens written in the text are those tokens. Returns (layers + 1, n, hidden) float32, [CLS] and [SEP]
    included, and whether the text was too long and was cut.
    """
    ids, cut = _sequence(reader, text)
    states: list[Tensor] = []
    _read(reader, ids, states=states)
    found: NDArray[np.float32] = torch.cat(states).float().cpu().numpy()
    return found, cut


@torch.inference_mode()
def _read(
    reader: ModelRunner, ids: NDArray[np.int64], maps: list[Tensor] | None = None, states: list[Tensor] | None = None
) -> None:
    row = torch.from_numpy(ids)[None].to(reader.compute.device)
    visible = AttentionPattern(torch.zeros_like(row, dtype=torch.int32), full=True)
    visible.maps = maps
    positions = torch.arange(len(ids), device=row.device)[None]
    with reader.compute.autocast():
        reader.module(row, positions, torch.zeros_like(row), visible, states)


def _sequence(reader: ModelRunner, text: str) -> tuple[NDArray[np.int64], bool]:
    special, room = reader.tokenizer.special, reader.max_length - 2
    ids = reader.tokenizer.encode(text, special_in_text=True).ids
    return np.concatenate([[special.cls], ids[:room], [special.sep]]).astype(np.int64), len(ids) > room
