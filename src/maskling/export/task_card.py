"""The model card of a model for a task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from maskling import __version__
from maskling.export.card import environment
from maskling.model.tasks.config import HeadKind
from maskling.model.tasks.model import TaskModel

PIPELINES: Final[dict[HeadKind, str]] = {
    "classify": "text-classification",
    "multi-label": "text-classification",
    "regress": "text-classification",
    "tag": "token-classification",
    "answer": "question-answering",
}
# How many labels a card lists.
LABELS_SHOWN: Final = 40


@dataclass(frozen=True)
class TaskFacts:
    """What the card says beside what the model itself says; whatever is None or empty is left out.

    pairs: whether texts come in pairs. base: the model that was fine-tuned; fresh: only its shape was taken, not its
    weights; converted_from: the folder that was only brought into another layout. train, measured_on: names of files.
    metrics: 'accuracy' -> 0.83, the chosen one first. seq_length: the longest sequence, which is where other tools cut
    texts. recipe: flat settings, 'train.lr' -> 1e-4.
    """

    name: str | None = None
    pairs: bool = False
    base: str | None = None
    fresh: bool = False
    converted_from: str | None = None
    train: tuple[str, ...] = ()
    records: int | None = None
    epochs: float | None = None
    steps: int | None = None
    seq_length: int | None = None
    seed: int | None = None
    measured_on: str | None = None
    measured_records: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)


def render_task_card(facts: TaskFacts, model: TaskModel, family: str) -> str:
    """The text of README.md. family: 'BERT', as `ModelFacts.architecture` has it."""
    template = environment().get_template("task_card.md.jinja")
    head = model.head_config
    return template.render(
        facts=facts,
        kind=head.kind,
        pipeline=PIPELINES[head.kind],
        labels=head.labels if head.kind in ("classify", "multi-label", "tag") else (),
        shown=LABELS_SHOWN,
        family=family,
        config=model.config,
        num_parameters=model.num_parameters(),
        version=__version__,
    )
