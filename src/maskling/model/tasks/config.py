"""Configuration of a task head, and its conversion to and from config.json. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from maskling.errors import ModelError
from maskling.model.config import BertConfig, ModelConfig
from maskling.model.hf_config import JSONDict

HeadKind = Literal["classify", "multi-label", "regress", "tag", "answer"]
HEAD_KINDS: Final[tuple[HeadKind, ...]] = get_args(HeadKind)
Pooling = Literal["cls", "mean"]
POOLINGS: Final[tuple[Pooling, ...]] = get_args(Pooling)

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
# A key of config.json that only maskling reads, and the AnswerSettings written there for each kind of head.
_SETTINGS_KEY: Final = "maskling_judging"
_SETTINGS_OF: Final[dict[HeadKind, tuple[str, ...]]] = {
    "classify": ("pairs", "positive"),
    "multi-label": ("pairs", "threshold"),
    "regress": ("pairs",),
    "answer": ("max_question", "max_answer", "allow_none"),
}
ANSWER_LABELS: Final = ("start", "end")


@dataclass(frozen=True)
class AnswerSettings:
    """Settings that turn logits into predictions, stored with the model so that it predicts as it was evaluated.

    threshold: multi-label, the probability from which a label is predicted. max_question, max_answer: maximum tokens of
    a question and of an answer. allow_none: whether a question may have no answer, as some in training had none. pairs:
    whether inputs are pairs of texts, None if unknown. positive: of two labels, the one whose F1 is reported; None for
    the last.
    """

    threshold: float = 0.5
    max_question: int = 64
    max_answer: int = 30
    allow_none: bool = False
    pairs: bool | None = None
    positive: str | None = None


@dataclass(frozen=True)
class HeadConfig:
    """Configuration of the head of a task model.

    kind: classify predicts one of `labels` for a text or a pair, multi-label any number of them, regress a number
    (`labels` has one name for it), tag one of `labels` for every word, answer the start and end of an answer.
    dropout: probability of dropout before the last layer in training; default: the encoder's in BERT and RoBERTa and 0
    in ModernBERT, as in transformers. pooling: whether ModernBERT classifies a text by its [CLS] or by the mean of its
    tokens; the other families always use [CLS]. answer_settings: how logits become predictions.
    """

    kind: HeadKind
    labels: tuple[str, ...]
    dropout: float | None = None
    pooling: Pooling = "cls"
    answer_settings: AnswerSettings = AnswerSettings()

    def __post_init__(self) -> None:
        """Raise ModelError for labels that do not fit the kind."""
        if self.kind not in HEAD_KINDS:
            raise ModelError(f"there is no head for {self.kind!r}; choose one of {', '.join(HEAD_KINDS)}")
        if len(set(self.labels)) < len(self.labels):
            duplicate = next(label for label in self.labels if self.labels.count(label) > 1)
            raise ModelError(f"the label {duplicate!r} is given twice; give each label a name of its own")
        outputs = {"regress": 1, "answer": 2}.get(self.kind)
        if outputs is not None and len(self.labels) != outputs:
            raise ModelError(
                f"a head for {self.kind!r} has {outputs} outputs, not {len(self.labels)}; give as many labels"
            )
        if not self.labels:
            raise ModelError(f"a head for {self.kind!r} needs at least one label; give its labels")


def head_to_hugging_face(head: HeadConfig, encoder: ModelConfig) -> dict[str, Any]:
    """Return the entries that a task head adds to config.json, for transformers 4.48 and later."""
    family = _FAMILIES[encoder.family] if isinstance(encoder, BertConfig) else "ModernBert"
    ending = next(ending for ending, kind in _ENDINGS.items() if kind == _broad(head.kind))
    hf_config: dict[str, Any] = {
        "architectures": [family + ending],
        "id2label": {str(index): label for index, label in enumerate(head.labels)},
        "label2id": {label: index for index, label in enumerate(head.labels)},
    }
    if head.kind in _PROBLEMS:
        hf_config["problem_type"] = _PROBLEMS[head.kind]
    if fields := _SETTINGS_OF.get(head.kind):
        settings = {name: getattr(head.answer_settings, name) for name in fields}
        if known := {name: value for name, value in settings.items() if value is not None}:
            hf_config[_SETTINGS_KEY] = known
    if head.kind == "regress":
        # CrossEncoder of Sentence-Transformers would otherwise put a single number through a sigmoid.
        hf_config["sentence_transformers"] = {"activation_fn": "torch.nn.modules.linear.Identity"}
    if isinstance(encoder, BertConfig):
        hf_config["classifier_dropout"] = head.dropout
    else:
        hf_config |= {"classifier_dropout": head.dropout or 0.0, "classifier_pooling": head.pooling}
    return hf_config


def has_no_task_head(hf_config: JSONDict) -> bool:
    """Return whether config.json alone rules out a task head."""
    return bool(hf_config.get("architectures")) and _kind(hf_config, {}) is None


def head_from_hugging_face(hf_config: JSONDict, shapes: Mapping[str, Sequence[int]], where: str) -> HeadConfig | None:
    """Return the head of a model folder, None if it holds an encoder or a masked language model.

    shapes: of its weights, by name; they decide for an old config.json without the newer fields.
    Raises ModelError for a head that is not supported.
    """
    outputs = next((shape[0] for name, shape in shapes.items() if name.endswith(_LAST_LAYERS)), None)
    kind = _kind(hf_config, shapes)
    if kind is None or outputs is None:
        return None
    labels = _labels(hf_config, outputs, where)
    if kind == "classify":
        kind = _problem(hf_config, outputs)
    dropout = hf_config.get("classifier_dropout")
    declared = hf_config.get("classifier_pooling") or "cls"
    pooling = next((pooling for pooling in POOLINGS if pooling == declared), None)
    if pooling is None:
        raise ModelError(f"{where}/config.json: classifier_pooling = {declared!r} is not supported, only cls and mean")
    try:
        settings = _answer_settings(hf_config, where)
        return HeadConfig(kind, labels, None if dropout is None else float(dropout), pooling, settings)
    except (TypeError, ValueError):
        raise ModelError(f"{where}/config.json: classifier_dropout = {dropout!r} is not a number; restore it") from None
    except ModelError as error:
        raise ModelError(f"{where}/config.json: {error}") from None


_LAST_LAYERS: Final = ("classifier.weight", "classifier.out_proj.weight", "qa_outputs.weight")


def _broad(kind: HeadKind) -> HeadKind:
    return "classify" if kind in _PROBLEMS else kind


def _kind(hf_config: JSONDict, shapes: Mapping[str, Sequence[int]]) -> HeadKind | None:
    classes = hf_config.get("architectures")
    named = classes[0] if isinstance(classes, list) and classes else None
    if named is not None:
        return next((kind for ending, kind in _ENDINGS.items() if str(named).endswith(ending)), None)
    # Files from before 2020 name no class, and are not of ModernBERT: the last layer decides.
    names = [name.removeprefix("module.") for name in shapes]
    if "qa_outputs.weight" in names:
        return "answer"
    if "classifier.out_proj.weight" in names:
        return "classify"
    if "classifier.weight" in names:
        return "classify" if any("pooler." in name for name in names) else "tag"
    return None


def _answer_settings(hf_config: JSONDict, where: str) -> AnswerSettings:
    stored = hf_config.get(_SETTINGS_KEY, {})
    try:
        settings = AnswerSettings(**stored)
        if 0 <= settings.threshold <= 1 and settings.max_question >= 1 and settings.max_answer >= 1:
            return settings
    except TypeError:
        pass
    raise ModelError(f"{where}/config.json: {_SETTINGS_KEY} = {stored!r} is not valid; restore it, or leave it out")


def _problem(hf_config: JSONDict, outputs: int) -> HeadKind:
    declared = hf_config.get("problem_type")
    known = next((kind for kind, problem in _PROBLEMS.items() if problem == declared), None)
    # Without problem_type as transformers decides.
    return known or ("regress" if outputs == 1 else "classify")


def _labels(hf_config: JSONDict, outputs: int, where: str) -> tuple[str, ...]:
    id2label = hf_config.get("id2label") or {}
    try:
        names = {int(index): str(label) for index, label in dict(id2label).items()}
    except (TypeError, ValueError):
        raise ModelError(f"{where}/config.json: id2label does not map ids to names; restore it") from None
    if names and sorted(names) != list(range(outputs)):
        raise ModelError(
            f"{where}/config.json names {len(names)} labels, but the last layer of its head has {outputs} outputs; "
            f"the two files do not belong together"
        )
    return tuple(names.get(index, f"LABEL_{index}") for index in range(outputs))
