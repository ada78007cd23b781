"""Extractive question answering: where in a context the answer begins and ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from maskling.data.labelled.checks import check_questions
from maskling.data.labelled.columns import Columns
from maskling.data.labelled.encode_questions import encode_questions, span_targets
from maskling.data.labelled.encode_texts import EncodedRecords, NoTargets
from maskling.data.labelled.reader import RecordFile, read_records
from maskling.errors import DataError
from maskling.finetuning.kinds.kind import HeadTask, Logits, Records
from maskling.metrics.squad import score_answers
from maskling.model.tasks.config import ANSWER_LABELS, AnswerSettings, HeadConfig
from maskling.tokenizer.tokenizer import Tokenizer
from maskling.train.events import Metrics
from maskling.train.task import Criterion

if TYPE_CHECKING:
    from torch import Tensor

    from maskling.finetuning.device_batch import DeviceBatch
    from maskling.model.tasks.model import TaskModel


class AnswerQuestions(HeadTask):
    """The span of a context that answers a question (Devlin et al. 2019, section 4.2).

    A long context is read in overlapping windows; a window without the answer is trained to point at [CLS].
    """

    small_rate: ClassVar[float] = 1e-3
    kind: Literal["answer"] = "answer"
    max_question: int = Field(64, ge=1, description="tokens per question; longer questions are cut at the end")
    max_answer: int = Field(30, ge=1, description="maximum tokens of a predicted answer")

    def read(self, path: str, columns: Columns) -> RecordFile:
        return read_records(path, "answer", columns)

    def warnings(self, train: Records, others: Mapping[str, Records]) -> list[str]:
        return check_questions(train, others)

    def head(self, train: Records) -> HeadConfig:
        """Return the head; it may answer with nothing if some questions of train are impossible."""
        if not any(record.answers or record.impossible for record in train):
            raise DataError(
                "none of the questions has an answer, so nothing can be learned from them; give 'answers' with lists "
                "of 'text' and 'answer_start', or one in 'answer' and 'answer_start'"
            )
        settings = AnswerSettings(
            max_question=self.max_question,
            max_answer=self.max_answer,
            allow_none=any(record.impossible for record in train),
        )
        return HeadConfig("answer", ANSWER_LABELS, answer_settings=settings)

    def check_evaluable(self, records: Records, _head: HeadConfig, _where: str | None = None) -> None:
        for record in records:
            if not record.answers and not record.impossible:
                raise DataError(f"question {record.id} has no answer to compare with; give it one, or remove it")

    def encode(
        self, records: Records, tokenizer: Tokenizer, max_length: int, _head: HeadConfig, *, targets: bool
    ) -> EncodedRecords[Any]:
        """Encode questions and contexts. A question takes at most a quarter of a window, so that a context fits."""
        made = encode_questions(records, tokenizer, max_length, max_question=min(self.max_question, max_length // 4))
        return EncodedRecords(made.windows, span_targets(records, made) if targets else NoTargets(), made.cut, made)

    def loss(self, model: TaskModel, hidden: Tensor, batch: DeviceBatch) -> Tensor:
        """Return the mean of start and end cross-entropy, each over the tokens of its window, summed over windows."""
        import torch
        import torch.nn.functional as F

        targets, first, lengths = batch.source.targets, batch.first_positions, batch.lengths
        columns = torch.arange(int(batch.source.lengths.max(initial=1)), device=first.device)
        inside = columns < lengths[:, None]
        positions = torch.where(inside, first[:, None] + columns, first[:, None])
        logits = model.answer(hidden).float().flatten(0, 1)[positions]
        logits = logits.masked_fill(~inside[:, :, None], -torch.inf)
        starts, ends = batch.on_device(targets.starts), batch.on_device(targets.ends)
        both = F.cross_entropy(logits[..., 0], starts, reduction="none")
        both = both + F.cross_entropy(logits[..., 1], ends, reduction="none")
        return (both / 2 * batch.on_device(targets.weights)).sum()

    def criterion(self, _head: HeadConfig) -> Criterion:
        return Criterion("f1", higher=True)

    def metrics(self, records: Records, encoded: EncodedRecords[Any], logits: Logits, head: HeadConfig) -> Metrics:
        """Return exact match and F1 of predicted answers, as SQuAD counts them (as CMRC does in Chinese)."""
        from maskling.infer.predict import best_spans

        allow_none = head.answer_settings.allow_none
        predicted = best_spans(
            records, encoded.detail, logits, n_best=1, allow_none=allow_none, longest=self.max_answer
        )
        truth = [[answer.text for answer in record.answers] for record in records]
        found = score_answers(truth, [one.text for one in predicted])
        return {"f1": found.f1, "exact": found.exact}
