"""A masked language model that onnxruntime calculates, in the place of a torch module."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from maskling.arrays import Int64Array
from maskling.errors import ModelError
from maskling.model.attention import Visible
from maskling.model.config import ModelConfig
from maskling.model.masked_lm import MaskedLM
from maskling.model.onnx_session import PARAMETERS, OnnxGraph, open_part, part_of


class OnnxLM(MaskedLM):
    """Encoder and head as two graphs, so that here too the head runs at masked positions only.

    It answers and nothing else: there are no weights to train, and no states of single layers.
    """

    def __init__(self, config: ModelConfig, whole: Path | None) -> None:
        """whole: the graph that encoder and head are parts of; None for a task's, which has no parts.

        Raises what `open_part` does.
        """
        super().__init__()
        self.config = config.model_copy(update={"pair_head": False})
        self._encoder = None if whole is None else open_part(whole, "encoder")
        has_head = whole is not None and part_of(whole, "head").is_file()
        self._head: OnnxGraph | None = open_part(whole, "head") if whole is not None and has_head else None

    @property
    def headless(self) -> bool:
        """Whether it is an encoder alone."""
        return self._head is None

    def forward(
        self,
        input_ids: Tensor,
        position_ids: Tensor,  # noqa: ARG002 - the graph counts by itself
        token_type_ids: Tensor | None,
        visible: Visible,
        states: list[Tensor] | None = None,
    ) -> Tensor:
        """See MaskedLM. Where a row holds several examples, each is given to the graph in a row of its own."""
        if states is not None:
            raise ModelError("an ONNX model gives the states of its last layer only; use the model it was made from")
        ids = input_ids.numpy().astype(np.int64)
        types = np.zeros_like(ids) if token_type_ids is None else token_type_ids.numpy().astype(np.int64)
        examples = visible.example_ids.numpy()
        hidden = np.zeros((*ids.shape, self.config.hidden_size), dtype=np.float32)
        rows, columns = _apart(examples)
        here = examples >= 0
        apart = (int(rows.max(initial=-1)) + 1, int(columns.max(initial=-1)) + 1)
        laid = [np.full(apart, self.config.pad_id, np.int64), np.zeros(apart, np.int64), np.zeros(apart, np.int64)]
        for into, values in zip(laid, (ids[here], np.ones(len(rows), np.int64), types[here]), strict=True):
            into[rows, columns] = values
        if len(rows):
            names = ("input_ids", "attention_mask", "token_type_ids")
            hidden[here] = self.encode(dict(zip(names, laid, strict=True)))[rows, columns]
        return torch.from_numpy(hidden)

    def encode(self, inputs: dict[str, Int64Array]) -> NDArray[np.float32]:
        """The last hidden states of a batch as the graph takes it, one example a row: (batch, sequence, hidden)."""
        if self._encoder is None:
            raise ModelError("this ONNX model gives the answers of its task only; use the model it was made from")
        return self._encoder.run("last_hidden_state", **inputs)

    def predict(self, hidden: Tensor) -> Tensor:
        """See MaskedLM."""
        if self._head is None:
            raise ModelError("this ONNX model has no masked-token head: it was made from an encoder alone")
        flat = hidden.reshape(1, -1, self.config.hidden_size).float().numpy()
        scores = torch.from_numpy(self._head.run("logits", last_hidden_state=flat))
        return scores.view(*hidden.shape[:-1], -1)

    def num_parameters(self) -> int:
        """Number of weights of the model that the graph was made from."""
        return int(self._encoder.metadata.get(PARAMETERS, "0")) if self._encoder else 0

    def transformed(self, hidden: Tensor) -> Tensor:  # noqa: ARG002
        """See MaskedLM; not to be had here."""
        raise ModelError(_NO_WEIGHTS)

    def decoder(self) -> tuple[Tensor, Tensor]:
        """See MaskedLM; not to be had here."""
        raise ModelError(_NO_WEIGHTS)

    def pair(self, first: Tensor) -> Tensor:  # noqa: ARG002
        """See MaskedLM; not to be had here."""
        raise ModelError("an ONNX model has no pair head; use the model it was made from")

    def initialize(self, generator: Generator) -> None:  # noqa: ARG002
        """See MaskedLM; not to be had here."""
        raise ModelError(_NO_WEIGHTS)

    def names(self) -> dict[str, tuple[str, ...]]:
        """See MaskedLM; not to be had here."""
        raise ModelError(_NO_WEIGHTS)

    def canonical(self, name: str) -> str | None:  # noqa: ARG002
        """See MaskedLM; not to be had here."""
        raise ModelError(_NO_WEIGHTS)


_NO_WEIGHTS = "an ONNX model only answers: its weights are not at hand; use the model it was made from"


def _apart(examples: NDArray[np.integer]) -> tuple[Int64Array, Int64Array]:
    """For each token, rows first, the number of its example over all rows, and its place in it: (n,) int64 each."""
    here = examples >= 0
    begins = here.copy()
    begins[:, 1:] &= examples[:, 1:] != examples[:, :-1]
    number = np.cumsum(begins[here]) - 1
    first = np.flatnonzero(begins[here])
    return number, np.arange(len(number)) - first[number]
