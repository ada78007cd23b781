"""Numbers for texts or pairs of them, such as how alike two sentences are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np

from maskling.data.labelled.checks import check_texts
from maskling.data.labelled.columns import Columns
from maskling.data.labelled.encode_texts import Targets, Windows, number_targets
from maskling.data.labelled.read_texts import read_texts
from maskling.errors import DataError
from maskling.finetune.kinds.kind import Encoded, Logits, Outputs, Records, TextKind, are_pairs
from maskling.metrics.ranking import pearson, spearman
from maskling.train.task import Criterion, Numbers

if TYPE_CHECKING:
    from torch import Tensor

    from maskling.finetune.device_batch import Rows
    from maskling.model.tasks.model import TaskModel


class Regress(TextKind):
    """A number for each text or pair, learnt by its squared error."""

    kind: Literal["regress"] = "regress"

    def read(self, path: str, columns: Columns) -> tuple[Records, list[str]]:
        """See Kind."""
        found = read_texts(path, columns, numbers=True, labelled=True)
        return found.records, found.warnings

    def check(self, train: Records, others: Mapping[str, Records]) -> list[str]:
        """See Kind."""
        return check_texts(train, others)

    def outputs(self, train: Records) -> Outputs:
        """See Kind."""
        missing = next((record for record in train if not isinstance(record.label, float)), None)
        if missing is not None:
            raise DataError(f"{missing.id} has no number to learn; give it one, or leave it out")
        if len({record.label for record in train}) < 2:
            raise DataError(f"all numbers are {train[0].label:g}, and nothing can be learned from that")
        return Outputs("regress", ("score",), are_pairs(train))

    def check_judged(self, records: Records, outputs: Outputs) -> None:  # noqa: ARG002
        """See Kind."""
        missing = next((record for record in records if not isinstance(record.label, float)), None)
        if missing is not None:
            raise DataError(f"{missing.id} has no number to compare with; give it one, or leave it out")

    def criterion(self, outputs: Outputs) -> Criterion:  # noqa: ARG002
        """See Kind."""
        return Criterion("pearson", higher=True)

    def targets(self, records: Records, outputs: Outputs, windows: Windows) -> Targets:  # noqa: ARG002
        """See TextKind."""
        return number_targets(records, windows)

    def loss(self, model: TaskModel, hidden: Tensor, rows: Rows) -> Tensor:
        """Squared errors."""
        guess = model.classify(hidden, rows.first_positions, rows.visible).float()[:, 0]
        targets = rows.batch.targets
        errors = (guess - rows.on_device(targets.labels)).square() * rows.on_device(targets.weights)
        return errors.sum()

    def measure(self, records: Records, encoded: Encoded, logits: Logits, outputs: Outputs) -> Numbers:  # noqa: ARG002
        """Both correlations, as GLUE reports them, and the root of the mean squared error."""
        from maskling.infer.predict import pool_windows

        guess = pool_windows(logits, encoded.windows, len(records))[:, 0]
        truth = np.array([record.label for record in records])
        return {
            "pearson": pearson(truth, guess),
            "spearman": spearman(truth, guess),
            "rmse": float(np.sqrt(np.mean((truth - guess) ** 2))),
        }

    def start(self, model: TaskModel, records: Records) -> None:
        """Begin with the mean of the numbers: else the first steps go into finding it."""
        import torch

        with torch.no_grad():
            model.head.classifier.bias.fill_(float(np.mean([record.label for record in records])))
