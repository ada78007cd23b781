"""Regression: a number per text or pair, such as the similarity of two sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from maskling.data.labelled.checks import check_texts
from maskling.data.labelled.columns import Columns
from maskling.data.labelled.encode_texts import EncodedRecords, NoTargets, encode_texts, regression_targets
from maskling.data.labelled.reader import RecordFile, read_records
from maskling.errors import DataError
from maskling.finetuning.kinds.kind import HeadTask, Logits, Records
from maskling.metrics.ranking import pearson, spearman
from maskling.model.tasks.config import AnswerSettings, HeadConfig
from maskling.tokenizer.tokenizer import Tokenizer
from maskling.train.events import Metrics
from maskling.train.task import Criterion

if TYPE_CHECKING:
    from torch import Tensor

    from maskling.finetuning.device_batch import DeviceBatch
    from maskling.model.tasks.model import TaskModel


class Regress(HeadTask):
    """A number per text or pair, trained with squared error."""

    kind: Literal["regress"] = "regress"

    def read(self, path: str, columns: Columns) -> RecordFile:
        return read_records(path, "regress", columns)

    def warnings(self, train: Records, others: Mapping[str, Records]) -> list[str]:
        return check_texts(train, others)

    def head(self, train: Records) -> HeadConfig:
        """Return a head with one output. Raises DataError if all numbers are the same."""
        missing = _first_unlabelled(train)
        if missing is not None:
            raise DataError(f"{missing.id} has no number to learn; give it one, or remove it")
        if len({record.label for record in train}) < 2:
            raise DataError(f"all numbers are {train[0].label:g}, so nothing can be learned from them")
        return HeadConfig("regress", ("score",), answer_settings=AnswerSettings(pairs=train[0].text_pair is not None))

    def check_evaluable(self, records: Records, _head: HeadConfig, _where: str | None = None) -> None:
        missing = _first_unlabelled(records)
        if missing is not None:
            raise DataError(f"{missing.id} has no number to compare with; give it one, or remove it")

    def encode(
        self, records: Records, tokenizer: Tokenizer, max_length: int, _head: HeadConfig, *, targets: bool
    ) -> EncodedRecords[Any]:
        """Encode texts, a long one as several windows, and pairs, of which the longer text is truncated."""
        made = encode_texts(records, tokenizer, max_length)
        return EncodedRecords(
            made.windows, regression_targets(records, made.windows) if targets else NoTargets(), made.cut
        )

    def loss(self, model: TaskModel, hidden: Tensor, batch: DeviceBatch) -> Tensor:
        """Return the sum of squared errors."""
        predicted = model.classify(hidden, batch.first_positions, batch.attention_pattern).float()[:, 0]
        targets = batch.source.targets
        errors = (predicted - batch.on_device(targets.labels)).square() * batch.on_device(targets.weights)
        return errors.sum()

    def criterion(self, _head: HeadConfig) -> Criterion:
        return Criterion("pearson", higher=True)

    def metrics(self, records: Records, encoded: EncodedRecords[Any], logits: Logits, _head: HeadConfig) -> Metrics:
        """Return Pearson's and Spearman's correlation, as GLUE reports them, and the root mean squared error."""
        from maskling.infer.predict import pool_windows

        predicted = pool_windows(logits, encoded.windows, len(records))[:, 0]
        truth = np.array([record.label for record in records])
        return {
            "pearson": pearson(truth, predicted),
            "spearman": spearman(truth, predicted),
            "rmse": float(np.sqrt(np.mean((truth - predicted) ** 2))),
        }

    def initialize_head(self, model: TaskModel, records: Records) -> None:
        """Set the bias to the mean of the numbers, else the first steps are spent on finding it."""
        import torch

        with torch.no_grad():
            model.head.classifier.bias.fill_(float(np.mean([record.label for record in records])))


def _first_unlabelled(records: Records) -> Any:
    return next((record for record in records if not isinstance(record.label, float)), None)
