"""The interface of a fine-tuning task: its settings, how records are read and encoded, its loss and its metrics."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from maskling.config import Settings
from maskling.data.labelled.columns import Columns
from maskling.data.labelled.encode_texts import EncodedRecords
from maskling.data.labelled.reader import RecordFile
from maskling.model.tasks.config import HeadConfig
from maskling.tokenizer.tokenizer import Tokenizer
from maskling.train.events import Baseline, Details, Metrics
from maskling.train.task import Criterion

if TYPE_CHECKING:
    from torch import Tensor

    from maskling.finetuning.device_batch import DeviceBatch
    from maskling.model.tasks.model import TaskModel

Records = Sequence[Any]
Logits = NDArray[np.float32]


class TaskSettings(Settings, ABC):
    """The [task] section: a fine-tuning task without state, whose fields are its settings.

    usual: defaults of other sections for this task. small_rate: learning rate for encoders less than 384 wide.
    """

    usual: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    small_rate: ClassVar[float] = 3e-4
    kind: str


class HeadTask(TaskSettings, ABC):
    """A task that puts a head on the encoder. `HeadConfig` holds what it decides from the training records."""

    @abstractmethod
    def read(self, path: str, columns: Columns) -> RecordFile:
        """Read the labelled records of a file. Raises DataError."""

    @abstractmethod
    def head(self, train: Records) -> HeadConfig:
        """Return the head for the training records: its labels and answer settings.

        Raises DataError if nothing can be learned from them.
        """

    @abstractmethod
    def warnings(self, train: Records, others: Mapping[str, Records]) -> list[str]:
        """Return a line per likely mistake in the data. others: evaluation sets by name."""

    @abstractmethod
    def check_evaluable(self, records: Records, head: HeadConfig, where: str | None = None) -> None:
        """Raise DataError for a record without a label to compare with.

        where: the file of the records; given, also raise if none of its labels is among those of the head.
        """

    @abstractmethod
    def encode(
        self, records: Records, tokenizer: Tokenizer, max_length: int, head: HeadConfig, *, targets: bool
    ) -> EncodedRecords[Any]:
        """Encode records as windows of at most `max_length` tokens, with training targets if `targets`.

        Raises DataError for an unlabelled record if `targets`, SettingsError if there is no room for text.
        """

    @abstractmethod
    def loss(self, model: TaskModel, hidden: Tensor, batch: DeviceBatch) -> Tensor:
        """Return the loss summed over what `targets.total` counts, () fp32. hidden: (rows, seq, hidden_size)."""

    @abstractmethod
    def criterion(self, head: HeadConfig) -> Criterion:
        """Return the metric that selects the best weights."""

    @abstractmethod
    def metrics(self, records: Records, encoded: EncodedRecords[Any], logits: Logits, head: HeadConfig) -> Metrics:
        """Return the metrics that the field reports, the criterion among them.

        logits: as `window_logits` returns them for all windows.
        """

    def details(self, _records: Records, _encoded: EncodedRecords[Any], _logits: Logits, _head: HeadConfig) -> Details:
        """Return scores per label, and what else does not fit in a row of metrics; nothing for tasks without labels."""
        return {}

    def majority(self, _records: Records, _head: HeadConfig) -> Details:
        """Return the most frequent 'label' of records and the scores of always predicting it; empty without labels."""
        return {}

    def label_names(self, _records: Records) -> Iterable[str]:
        """Yield the labels of records, for tasks that choose among names."""
        return ()

    def baseline(self, _records: Records, _head: HeadConfig) -> Baseline | None:
        """Return the loss of predicting label frequencies alone, None for tasks without one."""
        return None

    def initialize_head(self, model: TaskModel, records: Records) -> None:
        """Set parameters of a new head that follow from the training records."""
