"""Tagging of words: named entities, parts of speech."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from maskling.arrays import offsets_of
from maskling.data.labelled.checks import check_tagged
from maskling.data.labelled.class_weights import class_weights
from maskling.data.labelled.columns import Columns
from maskling.data.labelled.encode_tags import encode_tagged, tag_targets
from maskling.data.labelled.encode_texts import IGNORED, EncodedRecords
from maskling.data.labelled.reader import RecordFile, read_records
from maskling.data.labelled.records import LabelSet, record_tags
from maskling.finetuning.kinds.kind import HeadTask, Logits, Records
from maskling.metrics import entropy
from maskling.metrics.classification import confusion, label_scores
from maskling.metrics.entities import entity_scores, marks_entities, token_accuracy
from maskling.model.tasks.config import HeadConfig
from maskling.tokenizer.tokenizer import Tokenizer
from maskling.train.events import Baseline, Details, Metrics
from maskling.train.task import Criterion

if TYPE_CHECKING:
    from torch import Tensor

    from maskling.finetuning.device_batch import DeviceBatch
    from maskling.model.tasks.model import TaskModel


class Tag(HeadTask):
    """A tag per word, predicted from its first token. Long sentences are read in windows with context on both sides."""

    small_rate: ClassVar[float] = 1e-3
    kind: Literal["tag"] = "tag"
    class_weights: str | None = Field(
        None,
        description="weights of tags in the loss: 'balanced', inversely proportional to their frequency in train, or "
        "as in 'O=0.5,B-PER=2'; default: all 1",
    )

    def read(self, path: str, columns: Columns) -> RecordFile:
        return read_records(path, "tag", columns)

    def warnings(self, train: Records, others: Mapping[str, Records]) -> list[str]:
        return check_tagged(train, others)

    def head(self, train: Records) -> HeadConfig:
        return HeadConfig("tag", LabelSet.of_tags(train).names)

    def check_evaluable(self, records: Records, head: HeadConfig, where: str | None = None) -> None:
        tags = list(self.label_names(records))
        if where is not None:
            LabelSet(head.labels).check_shared(tags, where)

    def label_names(self, records: Records) -> Iterable[str]:
        return (tag for record in records for tag in record_tags(record))

    def encode(
        self, records: Records, tokenizer: Tokenizer, max_length: int, head: HeadConfig, *, targets: bool
    ) -> EncodedRecords[Any]:
        made = encode_tagged(records, tokenizer, max_length)
        found = made.words
        if targets:
            labels = LabelSet(head.labels)
            found = tag_targets(records, labels, made)
            if self.class_weights is not None:
                weights = class_weights(self.class_weights, records, labels, several=False)
                scales = np.where(found.labels == IGNORED, np.float32(1), weights[np.maximum(found.labels, 0)])
                found = replace(found, scales=scales.astype(np.float32))
        return EncodedRecords(made.windows, found, made.cut, made.words)

    def loss(self, model: TaskModel, hidden: Tensor, batch: DeviceBatch) -> Tensor:
        """Return the cross-entropy of the tags, summed over words, each times the weight of its tag."""
        import torch.nn.functional as F

        targets = batch.source.targets
        positions = batch.on_device(targets.positions(batch.source.first_positions))
        logits = model.tag(hidden, positions).float()
        labels = batch.on_device(targets.labels)
        if targets.scales is None:
            return F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum")
        losses = F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="none")
        return (losses * batch.on_device(targets.scales)).sum()

    def criterion(self, head: HeadConfig) -> Criterion:
        """Return F1 of whole entities, or accuracy for tags that do not mark entities."""
        return Criterion("f1" if marks_entities(head.labels) else "accuracy", higher=True)

    def metrics(self, records: Records, encoded: EncodedRecords[Any], logits: Logits, head: HeadConfig) -> Metrics:
        """Return entity F1, precision and recall as conlleval counts them, and the accuracy of single tags."""
        predicted = _predicted(records, encoded, logits, head)
        truth = [record_tags(record) for record in records]
        accuracy: Metrics = {"accuracy": token_accuracy(truth, predicted)}
        if not marks_entities(head.labels):
            return accuracy
        found = entity_scores(truth, predicted).overall
        return {"f1": found.f1, "precision": found.precision, "recall": found.recall, **accuracy}

    def details(self, records: Records, encoded: EncodedRecords[Any], logits: Logits, head: HeadConfig) -> Details:
        """Return the scores of each type of entities, or of each tag and the confusion matrix if tags mark none."""
        predicted = _predicted(records, encoded, logits, head)
        truth = [record_tags(record) for record in records]
        majority = self.majority(records, head)
        if marks_entities(head.labels):
            by_type = entity_scores(truth, predicted).per_type
            return {"labels": {name: asdict(one) for name, one in by_type.items()}, "majority": majority}
        true, found = [tag for tags in truth for tag in tags], [tag for tags in predicted for tag in tags]
        names = list(dict.fromkeys([*head.labels, *true]))
        by_tag = label_scores(true, found, names)
        return {
            "labels": {name: asdict(one) for name, one in by_tag.items()},
            "confusion": {"labels": names, "counts": confusion(true, found, names).tolist()},
            "majority": majority,
        }

    def majority(self, records: Records, _head: HeadConfig) -> Details:
        """Return the most frequent tag and the accuracy of always predicting it."""
        truth = [record_tags(record) for record in records]
        most = Counter(tag for tags in truth for tag in tags).most_common(1)[0][0]
        return {"label": most, "accuracy": token_accuracy(truth, [(most,) * len(tags) for tags in truth])}

    def baseline(self, records: Records, _head: HeadConfig) -> Baseline | None:
        """Return the entropy of the tags."""
        counts = Counter(tag for record in records for tag in record_tags(record))
        return Baseline("tags", entropy.entropy(np.array(list(counts.values()))), "tag frequencies")


def _predicted(
    records: Records, encoded: EncodedRecords[Any], logits: Logits, head: HeadConfig
) -> list[tuple[str, ...]]:
    """Return the predicted tags of each sentence."""
    ends = offsets_of([len(record.words) for record in records])[1:]
    best = np.zeros(ends[-1], np.int64)
    best[encoded.detail.words] = logits.argmax(1)
    names = np.array(head.labels)
    return [tuple(names[indices].tolist()) for indices in np.split(best, ends[:-1])]
