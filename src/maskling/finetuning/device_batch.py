"""A batch of labelled rows as tensors on a device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maskling.data.labelled.batches import LabelledBatch
from maskling.model.attention import AttentionPattern
from maskling.model.device import to_device


@dataclass(frozen=True)
class DeviceBatch:
    """The tensors of a `LabelledBatch`.

    input_ids, position_ids, token_type_ids: (rows, seq) int32. attention_pattern: the attention mask.
    first_positions, lengths: (k,) int64, of each sequence. source: the arrays, which hold the targets.
    """

    input_ids: Tensor
    position_ids: Tensor
    token_type_ids: Tensor
    attention_pattern: AttentionPattern
    first_positions: Tensor
    lengths: Tensor
    source: LabelledBatch[Any]

    @classmethod
    def of(cls, batch: LabelledBatch[Any], device: torch.device) -> DeviceBatch:
        """Move a batch to `device`."""
        return cls(
            input_ids=to_device(batch.input_ids, device),
            position_ids=to_device(batch.position_ids, device),
            token_type_ids=to_device(batch.token_type_ids, device),
            attention_pattern=AttentionPattern.from_example_ids(
                torch.from_numpy(np.ascontiguousarray(batch.example_ids)), device
            ),
            first_positions=to_device(batch.first_positions, device),
            lengths=to_device(batch.lengths, device),
            source=batch,
        )

    def on_device(self, array: np.ndarray) -> Tensor:
        """Move an array of the batch's targets to the device."""
        return to_device(array, self.input_ids.device)
