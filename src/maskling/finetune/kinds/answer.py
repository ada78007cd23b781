"""Answers to questions: where in a text each begins and ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from maskling.data.labelled.checks import check_questions
from maskling.data.labelled.columns import Columns
from maskling.data.labelled.encode_questions import AnswerWindows, encode_questions, span_targets
from maskling.data.labelled.encode_texts import NoTargets, Windows
from maskling.data.labelled.read_questions import read_questions
from maskling.data.shards import ragged
from maskling.errors import DataError
from maskling.finetune.kinds.kind import Encoded, Kind, Logits, Outputs, Records
from maskling.metrics.squad import score_answers
from maskling.model.tasks.config import ANSWER_LABELS, AnswerSettings
from maskling.tokenizer.tokenizer import Tokenizer
from maskling.train.task import Criterion, Numbers

if TYPE_CHECKING:
    from torch import Tensor

    from maskling.finetune.device_batch import Rows
    from maskling.infer.task_logits import TaskScorer
    from maskling.model.tasks.model import TaskModel


class Answer(Kind):
    """The piece of a context that answers a question (Devlin et al. 2019, section 4.2).

    A long context comes in windows that overlap; one without the answer is to point at [CLS].
    """

    small_rate: ClassVar[float] = 1e-3
    kind: Literal["answer"] = "answer"
    max_question: int = Field(64, ge=1, description="tokens of a question; the end of a longer one is cut off")
    max_answer: int = Field(30, ge=1, description="tokens that an answer may have when the model is judged and used")

    def read(self, path: str, columns: Columns) -> tuple[Records, list[str]]:
        """See Kind."""
        found = read_questions(path, skip=columns.on_bad_row == "skip", answered=True)
        return found.records, found.warnings

    def check(self, train: Records, others: Mapping[str, Records]) -> list[str]:
        """See Kind."""
        return check_questions(train, others)

    def outputs(self, train: Records) -> Outputs:
        """See Kind."""
        if not any(record.answers or record.impossible for record in train):
            raise DataError(
                "none of the questions has an answer, and nothing can be learned from that; give 'answers' with lists "
                "of 'text' and 'answer_start', or one in 'answer' and 'answer_start'"
            )
        return Outputs("answer", ANSWER_LABELS, unanswerable=any(record.impossible for record in train))

    def check_judged(self, records: Records, outputs: Outputs) -> None:  # noqa: ARG002
        """See Kind."""
        for record in records:
            if not record.answers and not record.impossible:
                raise DataError(f"question {record.id} has no answer to compare with; give it one, or leave it out")

    def criterion(self, outputs: Outputs) -> Criterion:  # noqa: ARG002
        """See Kind."""
        return Criterion("f1", higher=True)

    def judging(self, outputs: Outputs) -> AnswerSettings:
        """See Kind."""
        return AnswerSettings(
            max_question=self.max_question, max_answer=self.max_answer, allow_none=outputs.unanswerable
        )

    def encode(
        self,
        records: Records,
        tokenizer: Tokenizer,
        max_length: int,
        outputs: Outputs,  # noqa: ARG002
        targets: bool,
    ) -> Encoded:
        """See Kind. A question may take a quarter of a sequence, so that a context still fits."""
        made = encode_questions(records, tokenizer, max_length, max_question=min(self.max_question, max_length // 4))
        return Encoded(made.windows, span_targets(records, made) if targets else NoTargets(), made, made.cut)

    def loss(self, model: TaskModel, hidden: Tensor, rows: Rows) -> Tensor:
        """The mean of the cross-entropies of start and end, each over the tokens of its own sequence."""
        import torch
        import torch.nn.functional as F

        targets, first, lengths = rows.batch.targets, rows.first_positions, rows.lengths
        columns = torch.arange(int(rows.batch.lengths.max(initial=1)), device=first.device)
        inside = columns < lengths[:, None]
        places = torch.where(inside, first[:, None] + columns, first[:, None])
        logits = model.answer(hidden).float().flatten(0, 1)[places]
        logits = logits.masked_fill(~inside[:, :, None], -torch.inf)
        starts, ends = rows.on_device(targets.starts), rows.on_device(targets.ends)
        both = F.cross_entropy(logits[..., 0], starts, reduction="none")
        both = both + F.cross_entropy(logits[..., 1], ends, reduction="none")
        return (both / 2 * rows.on_device(targets.weights)).sum()

    def logits(self, judge: TaskScorer, windows: Windows, more: Any, batch_tokens: int) -> Logits:  # noqa: ARG002
        """See Kind: (tokens, 2)."""
        return judge.spans(windows, batch_tokens)

    def part(self, encoded: Encoded, which: NDArray[np.int64]) -> tuple[Windows, Any, NDArray[np.int64]]:
        """See Kind."""
        windows = encoded.windows
        return windows.take(which), None, ragged(windows.first[which], windows.length[which])

    def size(self, encoded: Encoded) -> int:
        """See Kind."""
        return len(encoded.windows.ids)

    def measure(self, records: Records, encoded: Encoded, logits: Logits, outputs: Outputs) -> Numbers:
        """Exact match and F1, as SQuAD counts them (CMRC's way in Chinese), of the answers that `predict` gives."""
        from maskling.infer.predict import best_spans

        more: AnswerWindows = encoded.more
        none = outputs.unanswerable
        guess = best_spans(records, more, logits, n_best=1, allow_none=none, longest=self.max_answer)
        truth = [[answer.text for answer in record.answers] for record in records]
        found = score_answers(truth, [one.text for one in guess])
        return {"f1": found.f1, "exact": found.exact}
