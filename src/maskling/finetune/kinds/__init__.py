"""The fine-tuning tasks, by name."""

from maskling.config import strategies_by_kind
from maskling.finetune.kinds.answer import AnswerQuestions
from maskling.finetune.kinds.classify import Classify, ClassifyPairs
from maskling.finetune.kinds.kind import TaskSettings
from maskling.finetune.kinds.regress import Regress
from maskling.finetune.kinds.similarity import Similarity
from maskling.finetune.kinds.tag import Tag

KINDS: dict[str, type[TaskSettings]] = strategies_by_kind(
    Classify, ClassifyPairs, Regress, Tag, AnswerQuestions, Similarity
)
