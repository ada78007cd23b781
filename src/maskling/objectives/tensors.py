"""A batch as tensors on the device that calculates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from maskling.data.batch import Batch
from maskling.model.attention import Visible
from maskling.model.device import moved

# oneDNN compiles a kernel for each shape of a matrix product and keeps a thousand of them: every batch has another
# number of predictions, and in 34 steps that made 700 MB of kernels. A few numbers make a few kernels.
EVENLY = 64


@dataclass(frozen=True)
class TensorBatch:
    """`maskling.data.batch.Batch`, on a device.

    input_ids, position_ids, token_type_ids: (rows, seq) int64 or int32. visible: who sees whom.
    masked_positions: (m,) int64, places in the flat batch to predict, and then the first place again and again until
    they are a multiple of `EVENLY`; labels: (n,) int64, what belongs at the first n of them.
    first_positions: (k,) int64, the [CLS] of each example; pair_labels: (k,) int64, or empty without pairs.
    """

    input_ids: Tensor
    position_ids: Tensor
    token_type_ids: Tensor
    visible: Visible
    masked_positions: Tensor
    labels: Tensor
    first_positions: Tensor
    pair_labels: Tensor

    @classmethod
    def of(cls, batch: Batch, device: torch.device) -> TensorBatch:
        """Move a batch to `device`."""
        return cls(
            input_ids=moved(batch.input_ids, device),
            position_ids=moved(batch.position_ids, device),
            token_type_ids=moved(batch.token_type_ids, device),
            visible=Visible.from_example_ids(torch.from_numpy(np.ascontiguousarray(batch.example_ids)), device),
            masked_positions=moved(np.pad(batch.masked_positions, (0, -len(batch.masked_positions) % EVENLY)), device),
            labels=moved(batch.labels, device),
            first_positions=moved(batch.first_positions, device),
            pair_labels=moved(batch.pair_labels, device),
        )
