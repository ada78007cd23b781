"""The kinds of fine-tuning, by name."""

from maskling.finetune.kinds.answer import Answer
from maskling.finetune.kinds.any_kind import AnyKind
from maskling.finetune.kinds.classify import Classify
from maskling.finetune.kinds.pair import Pair
from maskling.finetune.kinds.regress import Regress
from maskling.finetune.kinds.similarity import Similarity
from maskling.finetune.kinds.tag import Tag
from maskling.registry import table

KINDS: dict[str, type[AnyKind]] = table(Classify, Pair, Regress, Tag, Answer, Similarity)
