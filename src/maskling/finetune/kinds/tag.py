"""Tags for words: entities, parts of speech."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from maskling.data.labelled.checks import check_tagged
from maskling.data.labelled.columns import Columns
from maskling.data.labelled.encode_tags import encode_tagged, tag_targets
from maskling.data.labelled.encode_texts import IGNORED, Windows, WordTargets
from maskling.data.labelled.read_tags import read_tagged
from maskling.data.labelled.records import LabelSet, record_tags
from maskling.data.shards import ragged
from maskling.finetune.kinds.kind import Encoded, Kind, Logits, Outputs, Records
from maskling.metrics import entropy
from maskling.metrics.entities import entity_scores, marks_entities, token_accuracy
from maskling.tokenizer.tokenizer import Tokenizer
from maskling.train.task import Baseline, Criterion, Numbers

if TYPE_CHECKING:
    from torch import Tensor

    from maskling.finetune.device_batch import Rows
    from maskling.infer.task_logits import TaskScorer
    from maskling.model.tasks.model import TaskModel


class Tag(Kind):
    """A tag for each word, told from its first token. Long sentences come in windows with context around."""

    small_rate: ClassVar[float] = 1e-3
    kind: Literal["tag"] = "tag"

    def read(self, path: str, columns: Columns) -> tuple[Records, list[str]]:
        """See Kind."""
        found = read_tagged(path, columns, labelled=True)
        return found.records, found.warnings

    def check(self, train: Records, others: Mapping[str, Records]) -> list[str]:
        """See Kind."""
        return check_tagged(train, others)

    def outputs(self, train: Records) -> Outputs:
        """See Kind."""
        return Outputs("tag", LabelSet.of_tags(train).names)

    def check_judged(self, records: Records, outputs: Outputs) -> None:  # noqa: ARG002
        """See Kind."""
        for record in records:
            record_tags(record)

    def check_shared(self, records: Records, outputs: Outputs, where: str) -> None:
        """See Kind."""
        LabelSet(outputs.labels).check_shared((tag for record in records for tag in record_tags(record)), where)

    def criterion(self, outputs: Outputs) -> Criterion:
        """See Kind: F1 of whole entities, accuracy for tags that mark none."""
        return Criterion("f1" if marks_entities(outputs.labels) else "accuracy", higher=True)

    def encode(
        self, records: Records, tokenizer: Tokenizer, max_length: int, outputs: Outputs, targets: bool
    ) -> Encoded:
        """See Kind."""
        made = encode_tagged(records, tokenizer, max_length)
        learnt = tag_targets(records, LabelSet(outputs.labels), made) if targets else made.words
        return Encoded(made.windows, learnt, made.words, made.cut)

    def loss(self, model: TaskModel, hidden: Tensor, rows: Rows) -> Tensor:
        """Cross-entropy of the words' tags."""
        import torch.nn.functional as F

        targets = rows.batch.targets
        places = rows.on_device(targets.positions(rows.batch.first_positions))
        logits = model.tag(hidden, places).float()
        return F.cross_entropy(logits, rows.on_device(targets.labels), ignore_index=IGNORED, reduction="sum")

    def logits(self, judge: TaskScorer, windows: Windows, more: Any, batch_tokens: int) -> Logits:
        """See Kind: (words, labels), in the order in which windows judge them."""
        return judge.words(windows, more, batch_tokens)

    def part(self, encoded: Encoded, which: NDArray[np.int64]) -> tuple[Windows, Any, NDArray[np.int64]]:
        """See Kind."""
        words: WordTargets = encoded.more
        first = np.cumsum(words.count) - words.count
        return encoded.windows.take(which), words.take(which), ragged(first[which], words.count[which])

    def size(self, encoded: Encoded) -> int:
        """See Kind."""
        return len(encoded.more.words)

    def measure(self, records: Records, encoded: Encoded, logits: Logits, outputs: Outputs) -> Numbers:
        """Entity F1, precision and recall as conlleval counts them, and the accuracy of single tags."""
        best = np.zeros(sum(len(record.words) for record in records), np.int64)
        best[encoded.more.words] = logits.argmax(1)
        names = np.array(outputs.labels)
        ends = np.cumsum([len(record.words) for record in records])[:-1]
        guess = [tuple(names[some].tolist()) for some in np.split(best, ends)]
        truth = [record_tags(record) for record in records]
        accuracy: Numbers = {"accuracy": token_accuracy(truth, guess)}
        if not marks_entities(outputs.labels):
            return accuracy
        found = entity_scores(truth, guess).overall
        return {"f1": found.f1, "precision": found.precision, "recall": found.recall, **accuracy}

    def baseline(self, records: Records, outputs: Outputs) -> Baseline | None:  # noqa: ARG002
        """See Kind: the entropy of the tags."""
        counts = Counter(tag for record in records for tag in record_tags(record))
        return Baseline("tags", entropy.entropy(np.array(list(counts.values()))), "how often each tag occurs")
