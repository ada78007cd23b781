"""A batch of labelled rows on the device that calculates."""

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
class Rows:
    """`maskling.data.labelled.batches.LabelledBatch`, on a device.

    input_ids, position_ids, token_type_ids: (rows, seq) int32; visible: who sees whom. first_positions, lengths: (k,)
    int64, of each sequence. batch: the arrays they come from, for the targets.
    """

    input_ids: Tensor
    position_ids: Tensor
    token_type_ids: Tensor
    visible: AttentionPattern
    first_positions: Tensor
    lengths: Tensor
    batch: LabelledBatch[Any]

    @classmethod
    def of(cls, batch: LabelledBatch[Any], device: torch.device) -> Rows:
        """Move a batch to `device`."""
        return cls(
            input_ids=to_device(batch.input_ids, device),
            position_ids=to_device(batch.position_ids, device),
            token_type_ids=to_device(batch.token_type_ids, device),
            visible=AttentionPattern.from_example_ids(
                torch.from_numpy(np.ascontiguousarray(batch.example_ids)), device
            ),
            first_positions=to_device(batch.first_positions, device),
            lengths=to_device(batch.lengths, device),
            batch=batch,
        )

    def on_device(self, array: np.ndarray) -> Tensor:
        """An array of the batch's targets, beside the rest."""
        return to_device(array, self.input_ids.device)
