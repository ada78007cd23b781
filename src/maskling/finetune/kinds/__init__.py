"""The kinds of fine-tuning, by name."""

from maskling.config import table
from maskling.finetune.kinds.answer import Answer
from maskling.finetune.kinds.classify import Classify, Pair
from maskling.finetune.kinds.kind import AnyKind
from maskling.finetune.kinds.regress import Regress
from maskling.finetune.kinds.similarity import Similarity
from maskling.finetune.kinds.tag import Tag

KINDS: dict[str, type[AnyKind]] = table(Classify, Pair, Regress, Tag, Answer, Similarity)
