"""Classes for texts: one of several, or any number of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field

from maskling.console import counted
from maskling.data.labelled.checks import check_texts
from maskling.data.labelled.columns import Columns
from maskling.data.labelled.encode_texts import Targets, Windows, class_targets, multi_class_targets
from maskling.data.labelled.read_texts import read_texts
from maskling.data.labelled.records import LabelSet, label_names
from maskling.errors import DataError
from maskling.finetune.kinds.kind import Encoded, Logits, Outputs, Records, TextKind, are_pairs
from maskling.metrics import classification, entropy
from maskling.model.tasks.config import AnswerSettings
from maskling.train.task import Baseline, Criterion, Numbers

if TYPE_CHECKING:
    from torch import Tensor

    from maskling.finetune.device_batch import Rows
    from maskling.model.tasks.model import TaskModel

# FOLDED DOCS
# [pair] Classes for pairs of texts: paraphrases, entailment, questions that ask the same.


class Classify(TextKind):
    """One label for each text, or several where the data has lists of them.

    A text longer than the model sees is read in windows, and judged by the mean of their logits.
    """

    small_rate: ClassVar[float] = 1e-3
    kind: Literal["classify"] = "classify"
    threshold: float = Field(
        0.5, gt=0, lt=1, description="where texts have several labels: the probability from which one counts"
    )

    def read(self, path: str, columns: Columns) -> tuple[Records, list[str]]:
        """See Kind."""
        found = read_texts(path, columns, labelled=True)
        paired = next((record for record in found.records if record.text_pair is not None), None)
        if paired is not None:
            raise DataError(f"{paired.id} is a pair of texts; use --task pair, or say which column with columns.text")
        return found.records, found.warnings

    def check(self, train: Records, others: Mapping[str, Records]) -> list[str]:
        """See Kind."""
        several = any(isinstance(record.label, tuple) for record in train)
        classes = len({name for record in train for name in label_names(record)})
        return check_texts(train, others, self.unbalanced(several, classes))

    def unbalanced(self, several: bool, classes: int) -> str:  # noqa: ARG002
        """Which of its numbers shows what is rare."""
        return f"{'micro-F1' if several else 'accuracy'} flatters, look at macro-F1"

    def outputs(self, train: Records) -> Outputs:
        """See Kind. Several labels a text, if any record has a list."""
        several = any(isinstance(record.label, tuple) for record in train)
        return Outputs("multi-label" if several else "classify", LabelSet.of_texts(train).names, are_pairs(train))

    def check_judged(self, records: Records, outputs: Outputs) -> None:
        """See Kind."""
        for record in records:
            if len(label_names(record)) != 1 and outputs.kind == "classify":
                raise DataError(
                    f"{record.id} has {counted(len(label_names(record)), 'label')}, and each of train has one"
                )

    def check_shared(self, records: Records, outputs: Outputs, where: str) -> None:
        """See Kind."""
        LabelSet(outputs.labels).check_shared((name for record in records for name in label_names(record)), where)

    def criterion(self, outputs: Outputs) -> Criterion:
        """See Kind: accuracy, or micro-F1 where there are several labels."""
        return Criterion("micro_f1" if outputs.kind == "multi-label" else "accuracy", higher=True)

    def judging(self, outputs: Outputs) -> AnswerSettings:
        """See Kind."""
        return AnswerSettings(threshold=self.threshold, pairs=outputs.pairs)

    def targets(self, records: Records, outputs: Outputs, windows: Windows) -> Targets:
        """See TextKind."""
        made = multi_class_targets if outputs.kind == "multi-label" else class_targets
        return made(records, LabelSet(outputs.labels), windows)

    def loss(self, model: TaskModel, hidden: Tensor, rows: Rows) -> Tensor:
        """Cross-entropy; for several labels that of each, their mean. A record's windows count by their tokens."""
        import torch.nn.functional as F

        logits = model.classify(hidden, rows.first_positions, rows.visible).float()
        targets = rows.batch.targets
        labels, weights = rows.on_device(targets.labels), rows.on_device(targets.weights)
        if model.head_config.kind == "multi-label":
            each = F.binary_cross_entropy_with_logits(logits, labels, reduction="none").mean(1)
        else:
            each = F.cross_entropy(logits, labels, reduction="none")
        return (each * weights).sum()

    def measure(self, records: Records, encoded: Encoded, logits: Logits, outputs: Outputs) -> Numbers:
        """Accuracy, macro-F1 and Matthews' coefficient; for several labels micro- and macro-F1 and exact sets."""
        from maskling.infer.predict import pool_windows, softmax

        scores = pool_windows(logits, encoded.windows, len(records))
        names = outputs.labels
        if outputs.kind == "multi-label":
            known = {name: number for number, name in enumerate(names)}
            truth = np.zeros(scores.shape, bool)
            for place, record in enumerate(records):
                for name in label_names(record):
                    if name in known:
                        truth[place, known[name]] = True
            guess = 1 / (1 + np.exp(-scores)) >= self.threshold
            return {
                "micro_f1": classification.multilabel_micro_f1(truth, guess),
                "macro_f1": classification.multilabel_macro_f1(truth, guess),
                "exact": classification.subset_accuracy(truth, guess),
            }
        said = [label_names(record)[0] for record in records]
        best = np.array(names)[scores.argmax(1)]
        chances = softmax(scores)
        losses = [
            -np.log(max(chances[place, names.index(name)], 1e-300)) for place, name in enumerate(said) if name in names
        ]
        return self.scores(np.array(said), best, names) | {"loss": float(np.mean(losses)) if losses else None}

    def scores(self, truth: np.ndarray, guess: np.ndarray, names: tuple[str, ...]) -> Numbers:  # noqa: ARG002
        """Numbers of names against names."""
        return {
            "accuracy": classification.accuracy(truth, guess),
            "macro_f1": classification.macro_f1(truth, guess),
            "mcc": classification.matthews(truth, guess),
        }

    def baseline(self, records: Records, outputs: Outputs) -> Baseline | None:
        """See Kind: the entropy of the labels."""
        if outputs.kind == "multi-label":
            return None
        counts = Counter(label_names(record)[0] for record in records)
        return Baseline("labels", entropy.entropy(np.array(list(counts.values()))), "how often each label occurs")


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

    def judging(self, outputs: Outputs) -> AnswerSettings:
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
