"""What every kind of fine-tuning is, whether it puts a head on the encoder or not."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from maskling.config import Settings

if TYPE_CHECKING:
    from maskling.finetune.recipe import FinetuneRecipe
    from maskling.train.task import Material


class AnyKind(Settings, ABC):
    """A kind of task. It has no state: its fields are settings.

    usual: settings of other sections that suit it better than the general ones. small_rate: the learning rate that
    suits encoders less than 384 wide.
    """

    usual: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    small_rate: ClassVar[float] = 3e-4
    kind: str

    @abstractmethod
    def open(self, recipe: FinetuneRecipe) -> Material[FinetuneRecipe]:
        """Read what a run of this kind is made of. Raises SettingsError, ModelError or DataError."""
