"""What each kind of task with a head has to say: how it is read, encoded, learnt and judged."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from maskling.config import Settings
from maskling.data.labelled.columns import Columns
from maskling.data.labelled.encode_texts import NoTargets, Targets, Windows, encode_texts
from maskling.model.tasks.config import AnswerSettings, HeadKind
from maskling.tokenizer.tokenizer import Tokenizer
from maskling.train.task import Baseline, Criterion, Numbers, TrainingData

if TYPE_CHECKING:
    from torch import Tensor

    from maskling.finetune.device_batch import Rows
    from maskling.finetune.recipe import FinetuneRecipe
    from maskling.infer.task_logits import TaskScorer
    from maskling.model.tasks.model import TaskModel

# FOLDED DOCS
# [any_kind] What every kind of fine-tuning is, whether it puts a head on the encoder or not.
# [texts] What classes and numbers for texts share: windows of a long text, averaged.


class AnyKind(Settings, ABC):
    """A kind of task. It has no state: its fields are settings.

    usual: settings of other sections that suit it better than the general ones. small_rate: the learning rate that
    suits encoders less than 384 wide.
    """

    usual: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    small_rate: ClassVar[float] = 3e-4
    kind: str

    @abstractmethod
    def open(self, recipe: FinetuneRecipe) -> TrainingData[FinetuneRecipe]:
        """Read what a run of this kind is made of. Raises SettingsError, ModelError or DataError."""


Records = Sequence[Any]
Logits = NDArray[np.float32]


@dataclass(frozen=True)
class Outputs:
    """What the head of a model has an output for.

    labels: their names, in order. pairs: whether they are of pairs of texts. unanswerable: whether some questions have
    no answer.
    """

    kind: HeadKind
    labels: tuple[str, ...]
    pairs: bool | None = None
    unanswerable: bool = False


@dataclass(frozen=True)
class Encoded:
    """Records as sequences. more: what the kind needs beside them to read the answer off; cut: records that lost text.

    targets: what is to be learnt of each sequence.
    """

    windows: Windows
    targets: Targets
    more: Any
    cut: int


class Kind(AnyKind, ABC):
    """A kind of task for which the encoder gets a head."""

    def open(self, recipe: FinetuneRecipe) -> TrainingData[FinetuneRecipe]:
        """See AnyKind."""
        from maskling.finetune.task import Labelled

        return Labelled(recipe)

    @abstractmethod
    def read(self, path: str, columns: Columns) -> tuple[Records, list[str]]:
        """The records of a file, and a line for each thing wrong with it. Raises DataError."""

    @abstractmethod
    def check(self, train: Records, others: Mapping[str, Records]) -> list[str]:
        """A line for each thing a person should look at before training. others: sets to be judged on, by name."""

    @abstractmethod
    def outputs(self, train: Records) -> Outputs:
        """What the head has to tell. Raises DataError where nothing can be learnt."""

    @abstractmethod
    def check_judged(self, records: Records, outputs: Outputs) -> None:
        """Raises DataError for a record that a model could not be judged by, as it does not say what is right."""

    def check_shared(self, records: Records, outputs: Outputs, where: str) -> None:
        """Raises DataError where labels have names and the file `where` has none that train has."""

    @abstractmethod
    def criterion(self, outputs: Outputs) -> Criterion:
        """The number that says which weights are best."""

    @abstractmethod
    def encode(
        self, records: Records, tokenizer: Tokenizer, max_length: int, outputs: Outputs, targets: bool
    ) -> Encoded:
        """Sequences of at most `max_length` tokens, with what is to be learnt of them if `targets`.

        Raises DataError for a record without it, SettingsError where there is no room.
        """

    @abstractmethod
    def loss(self, model: TaskModel, hidden: Tensor, rows: Rows) -> Tensor:
        """() fp32, the loss added over what is counted in `targets.total`. hidden: (rows, seq, width)."""

    @abstractmethod
    def logits(self, judge: TaskScorer, windows: Windows, more: Any, batch_tokens: int) -> Logits:
        """What the model says of some windows, in an array whose rows `places` numbers."""

    @abstractmethod
    def part(self, encoded: Encoded, which: NDArray[np.int64]) -> tuple[Windows, Any, NDArray[np.int64]]:
        """Some windows, what goes with them, and which rows of all logits theirs are."""

    @abstractmethod
    def size(self, encoded: Encoded) -> int:
        """How many rows the logits of all windows have."""

    @abstractmethod
    def measure(self, records: Records, encoded: Encoded, logits: Logits, outputs: Outputs) -> Numbers:
        """Numbers as the field reports them, the criterion's among them."""

    def judging(self, outputs: Outputs) -> AnswerSettings:
        """How its answers are taken, by its settings and what it learns."""
        return AnswerSettings(pairs=outputs.pairs)

    def baseline(self, records: Records, outputs: Outputs) -> Baseline | None:  # noqa: ARG002
        """The loss of knowing only how often each answer occurs, where there is such a thing."""
        return None

    def start(self, model: TaskModel, records: Records) -> None:
        """Set what of a new head follows from the training records."""


def are_pairs(records: Records) -> bool:
    """Whether the records are pairs of texts, as all are or none."""
    return records[0].text_pair is not None


class TextKind(Kind, ABC):
    """Something said of a whole text, or of a pair."""

    @abstractmethod
    def targets(self, records: Records, outputs: Outputs, windows: Windows) -> Targets:
        """What is to be learnt of each window."""

    def encode(
        self, records: Records, tokenizer: Tokenizer, max_length: int, outputs: Outputs, targets: bool
    ) -> Encoded:
        """See Kind. A long text becomes several windows; of a pair that is too long, the longer text is cut."""
        made = encode_texts(records, tokenizer, max_length)
        learnt = self.targets(records, outputs, made.windows) if targets else NoTargets()
        return Encoded(made.windows, learnt, None, made.cut)

    def logits(self, judge: TaskScorer, windows: Windows, more: Any, batch_tokens: int) -> Logits:  # noqa: ARG002
        """See Kind: (windows, labels)."""
        return judge.texts(windows, batch_tokens)

    def part(self, encoded: Encoded, which: NDArray[np.int64]) -> tuple[Windows, Any, NDArray[np.int64]]:
        """See Kind."""
        return encoded.windows.take(which), None, which

    def size(self, encoded: Encoded) -> int:
        """See Kind."""
        return len(encoded.windows)
