"""Sequences through a task model: logits for texts, words, and places of answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskling.data.labelled.targets import WordTargets
from maskling.data.labelled.windows import Windows
from maskling.data.shards import ragged
from maskling.infer.rows import BATCH_TOKENS, laid
from maskling.model.attention import Visible
from maskling.model.device import Compute, moved
from maskling.model.tasks.config import HeadConfig
from maskling.model.tasks.model import TaskModel

Float32Array = NDArray[np.float32]


class Judge(Protocol):
    """Whatever gives logits to sequences: a task model here, one that was exported elsewhere."""

    @property
    def head_config(self) -> HeadConfig:
        """What its logits are for."""
        ...

    def texts(self, windows: Windows, batch_tokens: int = BATCH_TOKENS) -> Float32Array:
        """For classify, multi-label, regress: (w, labels) logits of each sequence."""
        ...

    def words(self, windows: Windows, words: WordTargets, batch_tokens: int = BATCH_TOKENS) -> Float32Array:
        """For tag: (n, labels) logits of each word, in the order of `words`."""
        ...

    def spans(self, windows: Windows, batch_tokens: int = BATCH_TOKENS) -> Float32Array:
        """For answer: (t, 2) logits of starting and ending at each token, in the order of `windows.ids`."""
        ...


@dataclass(frozen=True)
class TaskJudge:
    """A Judge that is a task model. Sequences of about one length run together, padded.

    pad: the id of [PAD].
    """

    model: TaskModel
    compute: Compute
    pad: int

    @property
    def head_config(self) -> HeadConfig:
        """See Judge."""
        return self.model.head_config

    def texts(self, windows: Windows, batch_tokens: int = BATCH_TOKENS) -> Float32Array:
        """See Judge."""
        logits = self._nothing(len(windows))
        with torch.inference_mode(), self.compute.autocast():
            for rows in self._rows(windows, batch_tokens):
                first = torch.from_numpy(rows.first).to(self.compute.device)
                logits[rows.numbers] = _numbers(self.model.classify(rows.hidden, first, rows.visible))
        return logits

    def words(self, windows: Windows, words: WordTargets, batch_tokens: int = BATCH_TOKENS) -> Float32Array:
        """See Judge."""
        logits = self._nothing(len(words.words))
        first = np.cumsum(words.count) - words.count
        with torch.inference_mode(), self.compute.autocast():
            for rows in self._rows(windows, batch_tokens):
                positions = torch.from_numpy(words.take(rows.numbers).positions(rows.first)).to(self.compute.device)
                places = ragged(first[rows.numbers], words.count[rows.numbers])
                logits[places] = _numbers(self.model.tag(rows.hidden, positions))
        return logits

    def spans(self, windows: Windows, batch_tokens: int = BATCH_TOKENS) -> Float32Array:
        """See Judge."""
        logits = self._nothing(len(windows.ids))
        with torch.inference_mode(), self.compute.autocast():
            for rows in self._rows(windows, batch_tokens):
                places = ragged(windows.first[rows.numbers], windows.length[rows.numbers])
                logits[places] = _numbers(self.model.answer(rows.hidden))[rows.real]
        return logits

    def _nothing(self, count: int) -> Float32Array:
        return np.zeros((count, len(self.head_config.labels)), dtype=np.float32)

    def _rows(self, windows: Windows, batch_tokens: int) -> Iterator[_Rows]:
        for rows in laid(windows, self.pad, batch_tokens):
            count, longest = rows.real.shape
            positions = np.tile(np.arange(longest), (count, 1))
            visible = Visible.from_example_ids(torch.from_numpy(rows.real.astype(np.int32) - 1), self.compute.device)
            arrays = (rows.input_ids, positions, rows.token_type_ids)
            hidden = self.model(*(moved(array, self.compute.device) for array in arrays), visible)
            first = np.arange(count, dtype=np.int64) * longest
            yield _Rows(rows.numbers, rows.real, first, hidden, visible)


@dataclass(frozen=True)
class _Rows:
    """Some sequences, encoded.

    numbers: (rows,) which they are; real: (rows, longest) bool, False at padding; first: (rows,) flat places of their
    [CLS]; hidden: (rows, longest, hidden).
    """

    numbers: NDArray[np.int64]
    real: NDArray[np.bool_]
    first: NDArray[np.int64]
    hidden: Tensor
    visible: Visible


def _numbers(logits: Tensor) -> Float32Array:
    found: Float32Array = logits.float().cpu().numpy()
    return found
