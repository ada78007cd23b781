"""Classes for pairs of texts: paraphrases, entailment, questions that ask the same."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from maskling.data.labelled.columns import Columns
from maskling.data.labelled.texts import read_texts
from maskling.errors import DataError
from maskling.finetune.kinds.classify import Classify
from maskling.finetune.kinds.kind import Outputs, Records
from maskling.metrics import classification
from maskling.model.tasks.config import Judging
from maskling.train.task import Numbers


class Pair(Classify):
    """One label for each pair of texts. Where a pair is too long, the longer text loses its end."""

    small_rate: ClassVar[float] = 3e-4
    kind: Literal["pair"] = "pair"  # type: ignore[assignment]
    positive: str | None = Field(
        None, description="of two labels, the one whose F1 is reported; the last of them if none"
    )

    def read(self, path: str, columns: Columns) -> tuple[Records, list[str]]:
        """See Kind."""
        found = read_texts(path, columns, labelled=True)
        single = next((record for record in found.records if record.text_pair is None), None)
        if single is not None:
            raise DataError(
                f"{single.id} has one text where a pair is wanted; use --task classify, or say which columns hold the "
                f"two with columns.text and columns.text-pair"
            )
        return found.records, found.warnings

    def outputs(self, train: Records) -> Outputs:
        """See Kind. Raises DataError if `positive` is none of the labels."""
        found = super().outputs(train)
        if self.positive is not None and self.positive not in found.labels:
            raise DataError(f"task.positive is '{self.positive}', but the labels are {', '.join(found.labels)}")
        return found

    def judging(self, outputs: Outputs) -> Judging:
        """See Kind."""
        return replace(super().judging(outputs), positive=self.positive)

    def unbalanced(self, several: bool, classes: int) -> str:
        """See Classify. Of two labels it reports no macro-F1."""
        if several or classes > 2:
            return super().unbalanced(several, classes)
        return "accuracy flatters, look at f1 and mcc"

    def scores(self, truth: np.ndarray, guess: np.ndarray, names: tuple[str, ...]) -> Numbers:
        """Accuracy and, of two labels, the F1 of the positive one, as GLUE reports them; macro-F1 of more."""
        if len(names) > 2:
            return super().scores(truth, guess, names)
        positive = self.positive or names[-1]
        return {
            "accuracy": classification.accuracy(truth, guess),
            "f1": classification.label_scores(truth, guess)[positive].f1 if positive in {*truth, *guess} else 0.0,
            "mcc": classification.matthews(truth, guess),
        }
