"""The kinds of fine-tuning, by name."""

from maskling.finetune.kinds.answer import Answer
from maskling.finetune.kinds.classify import Classify
from maskling.finetune.kinds.kind import Kind
from maskling.finetune.kinds.pair import Pair
from maskling.finetune.kinds.regress import Regress
from maskling.finetune.kinds.tag import Tag
from maskling.registry import table

KINDS: dict[str, type[Kind]] = table(Classify, Pair, Regress, Tag, Answer)
