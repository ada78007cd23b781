"""What a head is for, and how config.json says it. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from maskling.errors import ModelError
from maskling.model.config import BertConfig, ModelConfig

HeadKind = Literal["classify", "multi-label", "regress", "tag", "answer"]
HEAD_KINDS: Final[tuple[HeadKind, ...]] = get_args(HeadKind)
Pooling = Literal["cls", "mean"]
POOLINGS: Final[tuple[Pooling, ...]] = get_args(Pooling)

Tree = Mapping[str, Any]

_PROBLEMS: Final[dict[HeadKind, str]] = {
    "classify": "single_label_classification",
    "multi-label": "multi_label_classification",
    "regress": "regression",
}
_ENDINGS: Final[dict[str, HeadKind]] = {
    "ForSequenceClassification": "classify",
    "ForTokenClassification": "tag",
    "ForQuestionAnswering": "answer",
}
_FAMILIES: Final = {"bert": "Bert", "roberta": "Roberta", "xlm-roberta": "XLMRoberta", "camembert": "Camembert"}
# A key of config.json that only maskling knows, and what stands there of each kind.
_JUDGING: Final = "maskling_judging"
_JUDGED_BY: Final[dict[HeadKind, tuple[str, ...]]] = {
    "classify": ("pairs", "positive"),
    "multi-label": ("pairs", "threshold"),
    "regress": ("pairs",),
    "answer": ("max_question", "max_answer", "allow_none"),
}
ANSWER_LABELS: Final = ("start", "end")


@dataclass(frozen=True)
class AnswerSettings:
    """What decides, beside the weights, what a model is said to answer: kept, so that it answers as it was measured.

    threshold: in multi-label, the probability from which a label counts. max_question, max_answer: tokens that are read
    of a question, and that an answer may have. allow_none: whether a question may have no answer, as some of those in
    training had none. pairs: whether it judges pairs of texts, None where that is not known. positive: the label of two
    whose F1 is reported, None for the last.
    """

    threshold: float = 0.5
    max_question: int = 64
    max_answer: int = 30
    allow_none: bool = False
    pairs: bool | None = None
    positive: str | None = None


@dataclass(frozen=True)
class HeadConfig:
    """What the head of a task model answers.

    kind: classify chooses one of `labels` for a text or a pair, multi-label any number of them, regress gives a
    number (`labels` has one name for it), tag one of `labels` for every word, answer where an answer starts and ends.
    dropout: chance that a value is dropped before the last layer in training; None is the encoder's own in BERT and
    RoBERTa and 0 in ModernBERT, as in transformers. pooling: what ModernBERT judges a text by, its [CLS] or the mean
    of its tokens; the other families always take [CLS]. judging: how its answers are taken.
    """

    kind: HeadKind
    labels: tuple[str, ...]
    dropout: float | None = None
    pooling: Pooling = "cls"
    answer_settings: AnswerSettings = AnswerSettings()

    def __post_init__(self) -> None:
        """Raises ModelError for labels that do not fit the kind."""
        if self.kind not in HEAD_KINDS:
            raise ModelError(f"there is no head for {self.kind!r}; choose one of {', '.join(HEAD_KINDS)}")
        if len(set(self.labels)) < len(self.labels):
            twice = next(label for label in self.labels if self.labels.count(label) > 1)
            raise ModelError(f"the label {twice!r} is named twice; give each label another name")
        wanted = {"regress": 1, "answer": 2}.get(self.kind)
        if wanted is not None and len(self.labels) != wanted:
            raise ModelError(f"a head for {self.kind!r} has {wanted} outputs, but {len(self.labels)} labels were given")
        if not self.labels:
            raise ModelError(f"a head for {self.kind!r} needs labels to choose among, and none were given")


def head_to_hugging_face(head: HeadConfig, encoder: ModelConfig) -> dict[str, Any]:
    """What a task adds to config.json, for transformers 4.48 and later."""
    family = _FAMILIES[encoder.family] if isinstance(encoder, BertConfig) else "ModernBert"
    ending = next(ending for ending, kind in _ENDINGS.items() if kind == _broad(head.kind))
    tree: dict[str, Any] = {
        "architectures": [family + ending],
        "id2label": {str(index): label for index, label in enumerate(head.labels)},
        "label2id": {label: index for index, label in enumerate(head.labels)},
    }
    if head.kind in _PROBLEMS:
        tree["problem_type"] = _PROBLEMS[head.kind]
    if fields := _JUDGED_BY.get(head.kind):
        said = {name: getattr(head.answer_settings, name) for name in fields}
        if known := {name: value for name, value in said.items() if value is not None}:
            tree[_JUDGING] = known
    if isinstance(encoder, BertConfig):
        tree["classifier_dropout"] = head.dropout
    else:
        tree |= {"classifier_dropout": head.dropout or 0.0, "classifier_pooling": head.pooling}
    return tree


def has_no_task_head(tree: Tree) -> bool:
    """Whether config.json alone says that there is no head for a task."""
    return bool(tree.get("architectures")) and _kind(tree, {}) is None


def head_of(tree: Tree, shapes: Mapping[str, Sequence[int]], where: str) -> HeadConfig | None:
    """The head that a model folder has, None if it holds an encoder or a masked language model.

    shapes: of its weights, by name; they decide where config.json is older than the fields that would say it.
    Raises ModelError for a head that is not understood.
    """
    outputs = next((shape[0] for name, shape in shapes.items() if name.endswith(_LAST_LAYERS)), None)
    kind = _kind(tree, shapes)
    if kind is None or outputs is None:
        return None
    labels = _labels(tree, outputs, where)
    if kind == "classify":
        kind = _problem(tree, outputs)
    dropout = tree.get("classifier_dropout")
    said = tree.get("classifier_pooling") or "cls"
    pooling = next((pooling for pooling in POOLINGS if pooling == said), None)
    if pooling is None:
        raise ModelError(f"{where}/config.json: classifier_pooling = {said!r} is not supported, only cls and mean")
    try:
        return HeadConfig(kind, labels, None if dropout is None else float(dropout), pooling, _judging(tree, where))
    except (TypeError, ValueError):
        raise ModelError(f"{where}/config.json: classifier_dropout = {dropout!r} is not a number; restore it") from None
    except ModelError as error:
        raise ModelError(f"{where}/config.json: {error}") from None


_LAST_LAYERS: Final = ("classifier.weight", "classifier.out_proj.weight", "qa_outputs.weight")


def _broad(kind: HeadKind) -> HeadKind:
    return "classify" if kind in _PROBLEMS else kind


def _kind(tree: Tree, shapes: Mapping[str, Sequence[int]]) -> HeadKind | None:
    classes = tree.get("architectures")
    named = classes[0] if isinstance(classes, list) and classes else None
    if named is not None:
        return next((kind for ending, kind in _ENDINGS.items() if str(named).endswith(ending)), None)
    # Files from before 2020 name no class, and there was no ModernBERT then: the last layer tells.
    names = [name.removeprefix("module.") for name in shapes]
    if "qa_outputs.weight" in names:
        return "answer"
    if "classifier.out_proj.weight" in names:
        return "classify"
    if "classifier.weight" in names:
        return "classify" if any("pooler." in name for name in names) else "tag"
    return None


def _judging(tree: Tree, where: str) -> AnswerSettings:
    said = tree.get(_JUDGING, {})
    try:
        judging = AnswerSettings(**said)
        if 0 <= judging.threshold <= 1 and judging.max_question >= 1 and judging.max_answer >= 1:
            return judging
    except TypeError:
        pass
    raise ModelError(f"{where}/config.json: {_JUDGING} = {said!r} is not understood; restore it, or leave it out")


def _problem(tree: Tree, outputs: int) -> HeadKind:
    said = tree.get("problem_type")
    known = next((kind for kind, problem in _PROBLEMS.items() if problem == said), None)
    # As transformers decides when it is not said.
    return known or ("regress" if outputs == 1 else "classify")


def _labels(tree: Tree, outputs: int, where: str) -> tuple[str, ...]:
    said = tree.get("id2label") or {}
    try:
        names = {int(index): str(label) for index, label in dict(said).items()}
    except (TypeError, ValueError):
        raise ModelError(f"{where}/config.json: id2label is not a table of numbers and names") from None
    if names and sorted(names) != list(range(outputs)):
        raise ModelError(
            f"{where}/config.json names {len(names)} labels, but the last layer of its head has {outputs} outputs; "
            f"the two files do not belong together"
        )
    return tuple(names.get(index, f"LABEL_{index}") for index in range(outputs))
