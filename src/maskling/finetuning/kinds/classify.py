"""Classification of texts and of pairs: one class of several, or any number of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from maskling.console import counted
from maskling.data.labelled.checks import check_texts
from maskling.data.labelled.class_weights import class_weights, loss_scales
from maskling.data.labelled.columns import Columns
from maskling.data.labelled.encode_texts import (
    EncodedRecords,
    NoTargets,
    class_targets,
    encode_texts,
    multi_label_targets,
)
from maskling.data.labelled.reader import RecordFile, read_records
from maskling.data.labelled.records import LabelSet, label_names
from maskling.errors import DataError
from maskling.finetuning.kinds.kind import HeadTask, Logits, Records
from maskling.metrics import classification, entropy
from maskling.model.tasks.config import AnswerSettings, HeadConfig
from maskling.tokenizer.tokenizer import Tokenizer
from maskling.train.events import Baseline, Details, Metrics
from maskling.train.task import Criterion

if TYPE_CHECKING:
    from torch import Tensor

    from maskling.finetuning.device_batch import DeviceBatch
    from maskling.model.tasks.model import TaskModel


class Classify(HeadTask):
    """One label per text, or several if the data has lists of labels.

    A text longer than the model's maximum length is read in windows, and classified by the mean of their logits.
    """

    small_rate: ClassVar[float] = 1e-3
    kind: Literal["classify"] = "classify"
    threshold: float = Field(
        0.5, gt=0, lt=1, description="for multi-label data: least probability of a predicted label"
    )
    class_weights: str | None = Field(
        None,
        description="weights of classes in the loss: 'balanced', inversely proportional to their frequency in train, "
        "or as in 'spam=5,ham=1'; for multi-label data, weights of texts that have a label; default: all 1",
    )

    def read(self, path: str, columns: Columns) -> RecordFile:
        """Read texts. Raises DataError for pairs."""
        found = read_records(path, "classify", columns)
        paired = next((record for record in found.records if record.text_pair is not None), None)
        if paired is not None:
            raise DataError(f"{paired.id} is a pair of texts; use --task pair, or name one column with columns.text")
        return found

    def warnings(self, train: Records, others: Mapping[str, Records]) -> list[str]:
        multi_label = any(isinstance(record.label, tuple) for record in train)
        classes = len({name for record in train for name in label_names(record)})
        return check_texts(train, others, self._advice_if_unbalanced(multi_label, classes))

    def _advice_if_unbalanced(self, multi_label: bool, _classes: int) -> str:
        return f"{'micro-F1' if multi_label else 'accuracy'} is too optimistic, look at macro-F1"

    def head(self, train: Records) -> HeadConfig:
        """Return a multi-label head if any record has a list of labels, else one that chooses a class."""
        kind: Literal["multi-label", "classify"] = (
            "multi-label" if any(isinstance(record.label, tuple) for record in train) else "classify"
        )
        settings = AnswerSettings(threshold=self.threshold, pairs=train[0].text_pair is not None)
        return HeadConfig(kind, LabelSet.of_texts(train).names, answer_settings=settings)

    def check_evaluable(self, records: Records, head: HeadConfig, where: str | None = None) -> None:
        for record in records:
            if len(label_names(record)) != 1 and head.kind == "classify":
                raise DataError(
                    f"{record.id} has {counted(len(label_names(record)), 'label')}, but each record of train has one"
                )
        if where is not None:
            LabelSet(head.labels).check_shared(self.label_names(records), where)

    def label_names(self, records: Records) -> Iterable[str]:
        return (name for record in records for name in label_names(record))

    def encode(
        self, records: Records, tokenizer: Tokenizer, max_length: int, head: HeadConfig, *, targets: bool
    ) -> EncodedRecords[Any]:
        """Encode texts, a long one as several windows, and pairs, of which the longer text is truncated."""
        made = encode_texts(records, tokenizer, max_length)
        if not targets:
            return EncodedRecords(made.windows, NoTargets(), made.cut)
        labels, several = LabelSet(head.labels), head.kind == "multi-label"
        found = (multi_label_targets if several else class_targets)(records, labels, made.windows)
        if self.class_weights is not None:
            weights = class_weights(self.class_weights, records, labels, several)
            found = replace(found, scales=loss_scales(weights, found.labels, several))
        return EncodedRecords(made.windows, found, made.cut)

    def loss(self, model: TaskModel, hidden: Tensor, batch: DeviceBatch) -> Tensor:
        """Return cross-entropy; for multi-label the mean binary cross-entropy over labels. Windows weigh by tokens."""
        import torch.nn.functional as F

        logits = model.classify(hidden, batch.first_positions, batch.attention_pattern).float()
        targets = batch.source.targets
        labels, weights = batch.on_device(targets.labels), batch.on_device(targets.weights)
        scales = None if targets.scales is None else batch.on_device(targets.scales)
        if model.head_config.kind == "multi-label":
            losses = F.binary_cross_entropy_with_logits(logits, labels, weight=scales, reduction="none").mean(1)
        else:
            losses = F.cross_entropy(logits, labels, reduction="none")
            losses = losses if scales is None else losses * scales
        return (losses * weights).sum()

    def criterion(self, head: HeadConfig) -> Criterion:
        """Return accuracy, or micro-F1 for multi-label."""
        return Criterion("micro_f1" if head.kind == "multi-label" else "accuracy", higher=True)

    def metrics(self, records: Records, encoded: EncodedRecords[Any], logits: Logits, head: HeadConfig) -> Metrics:
        """Return accuracy, macro-F1, Matthews' coefficient, loss; for multi-label micro-F1, macro-F1, exact match."""
        from maskling.infer.predict import pool_windows, softmax

        scores = pool_windows(logits, encoded.windows, len(records))
        names = head.labels
        if head.kind == "multi-label":
            truth, predicted = self._decisions(records, scores, names)
            return {
                "micro_f1": classification.multilabel_micro_f1(truth, predicted),
                "macro_f1": classification.multilabel_macro_f1(truth, predicted),
                "exact": classification.subset_accuracy(truth, predicted),
            }
        labels = [label_names(record)[0] for record in records]
        best = np.array(names)[scores.argmax(1)]
        probabilities = softmax(scores)
        losses = [
            -np.log(max(probabilities[row, names.index(name)], 1e-300))
            for row, name in enumerate(labels)
            if name in names
        ]
        found = self._class_metrics(np.array(labels), best, names)
        return found | {"loss": float(np.mean(losses)) if losses else None}

    def _decisions(
        self, records: Records, scores: NDArray[np.float64], names: tuple[str, ...]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return which labels apply to each record, and which are predicted: (records, labels) bool."""
        index_of = {name: index for index, name in enumerate(names)}
        truth = np.zeros(scores.shape, bool)
        for row, record in enumerate(records):
            truth[row, [index_of[name] for name in label_names(record) if name in index_of]] = True
        return truth, 1 / (1 + np.exp(-scores)) >= self.threshold

    def details(self, records: Records, encoded: EncodedRecords[Any], logits: Logits, head: HeadConfig) -> Details:
        """Return the scores of each label; of one label per text also the confusion matrix, and those of guessing."""
        from maskling.infer.predict import pool_windows

        scores = pool_windows(logits, encoded.windows, len(records))
        if head.kind == "multi-label":
            found = classification.multilabel_scores(*self._decisions(records, scores, head.labels))
            return {"labels": {name: asdict(one) for name, one in zip(head.labels, found, strict=True)}}
        truth = [label_names(record)[0] for record in records]
        predicted = np.array(head.labels)[scores.argmax(1)].tolist()
        names = list(dict.fromkeys([*head.labels, *truth]))
        by_label = classification.label_scores(truth, predicted, names)
        return {
            "labels": {name: asdict(one) for name, one in by_label.items()},
            "confusion": {"labels": names, "counts": classification.confusion(truth, predicted, names).tolist()},
            "majority": self.majority(records, head),
        }

    def majority(self, records: Records, head: HeadConfig) -> Details:
        """Return the most frequent label and the scores of always predicting it; empty for several labels per text."""
        if head.kind == "multi-label":
            return {}
        truth = [label_names(record)[0] for record in records]
        most = Counter(truth).most_common(1)[0][0]
        guess = [most] * len(truth)
        return {
            "label": most,
            "accuracy": classification.accuracy(truth, guess),
            "macro_f1": classification.macro_f1(truth, guess),
        }

    def _class_metrics(self, truth: np.ndarray, predicted: np.ndarray, _names: tuple[str, ...]) -> Metrics:
        return {
            "accuracy": classification.accuracy(truth, predicted),
            "macro_f1": classification.macro_f1(truth, predicted),
            "mcc": classification.matthews(truth, predicted),
        }

    def baseline(self, records: Records, head: HeadConfig) -> Baseline | None:
        """Return the entropy of the labels."""
        if head.kind == "multi-label":
            return None
        counts = Counter(label_names(record)[0] for record in records)
        return Baseline("labels", entropy.entropy(np.array(list(counts.values()))), "label frequencies")


class ClassifyPairs(Classify):
    """One label per pair of texts: paraphrase, entailment. If a pair is too long, the longer text is truncated."""

    small_rate: ClassVar[float] = 3e-4
    kind: Literal["pair"] = "pair"  # type: ignore[assignment]
    positive: str | None = Field(
        None, description="the label whose F1 is reported if there are two; default: the last one"
    )

    def read(self, path: str, columns: Columns) -> RecordFile:
        """Read pairs. Raises DataError for a single text."""
        found = read_records(path, "classify", columns)
        single = next((record for record in found.records if record.text_pair is None), None)
        if single is not None:
            raise DataError(
                f"{single.id} has one text, but this task takes pairs; use --task classify, or name the two columns "
                f"with columns.text and columns.text-pair"
            )
        return found

    def head(self, train: Records) -> HeadConfig:
        """Return the head. Raises DataError if `positive` is not one of the labels."""
        head = super().head(train)
        if self.positive is not None and self.positive not in head.labels:
            raise DataError(f"task.positive is '{self.positive}', but the labels are {', '.join(head.labels)}")
        return replace(head, answer_settings=replace(head.answer_settings, positive=self.positive))

    def _advice_if_unbalanced(self, multi_label: bool, classes: int) -> str:
        # Of two labels no macro-F1 is reported.
        if multi_label or classes > 2:
            return super()._advice_if_unbalanced(multi_label, classes)
        return "accuracy is too optimistic, look at f1 and mcc"

    def _class_metrics(self, truth: np.ndarray, predicted: np.ndarray, names: tuple[str, ...]) -> Metrics:
        """Return accuracy and, of two labels, the F1 of the positive one, as GLUE reports them; macro-F1 of more."""
        if len(names) > 2:
            return super()._class_metrics(truth, predicted, names)
        positive = self.positive or names[-1]
        scored = positive in {*truth, *predicted}
        return {
            "accuracy": classification.accuracy(truth, predicted),
            "f1": classification.label_scores(truth, predicted)[positive].f1 if scored else 0.0,
            "mcc": classification.matthews(truth, predicted),
        }
