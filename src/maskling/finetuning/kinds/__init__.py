"""The fine-tuning tasks, by name."""

from maskling.config import strategies_by_kind
from maskling.finetuning.kinds.answer import AnswerQuestions
from maskling.finetuning.kinds.classify import Classify, ClassifyPairs
from maskling.finetuning.kinds.kind import TaskSettings
from maskling.finetuning.kinds.regress import Regress
from maskling.finetuning.kinds.similarity import Similarity
from maskling.finetuning.kinds.tag import Tag

KINDS: dict[str, type[TaskSettings]] = strategies_by_kind(
    Classify, ClassifyPairs, Regress, Tag, AnswerQuestions, Similarity
)
