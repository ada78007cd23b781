"""Every setting of fine-tuning. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from maskling.config import Layer, Resolved, Settings, choice, resolve
from maskling.data.labelled.columns import Columns
from maskling.data.packing import PACKINGS, BestFitPacking
from maskling.finetune.kinds import KINDS
from maskling.finetune.kinds.classify import Classify
from maskling.model.config import ModelConfig
from maskling.model.locate import find_model
from maskling.train.optimizer import OPTIMIZERS, AdamW
from maskling.train.schedule import SCHEDULES, LinearSchedule
from maskling.train.settings import MICRO_BATCH_TOKENS, RunSettings, SystemSettings, TrainSettings

if TYPE_CHECKING:
    from maskling.data.packing import Packing as AnyPacking
    from maskling.finetune.kinds.kind import AnyKind
    from maskling.train.optimizer import Strategy as AnyOptimizer
    from maskling.train.schedule import Schedule as AnySchedule
else:
    AnyKind, AnyPacking = choice(KINDS), choice(PACKINGS)
    AnyOptimizer, AnySchedule = choice(OPTIMIZERS), choice(SCHEDULES)


class EncoderSettings(Settings):
    """The [encoder] section: the model to fine-tune."""

    path: str = Field("", description="a model folder, or a run of 'maskling train'")
    fresh: bool = Field(
        False, description="take only the shape, with random weights: what the same model reaches without pretraining"
    )
    dropout: float | None = Field(
        None, ge=0, lt=1, description="of the encoder, attention's included; none is what the model's folder says"
    )
    head_dropout: float | None = Field(0.1, ge=0, lt=1, description="before the last layer; none is as in transformers")
    pooling: Literal["cls", "mean"] | None = Field(
        None,
        description="what a ModernBERT judges texts by, and what any encoder makes vectors of; none is what the folder "
        "says, else the mean",
    )


class LabelledSettings(Settings):
    """The [data] section of fine-tuning."""

    train: str = Field("", description="file to learn from; for similarity also a folder or pattern")
    dev: str | None = Field(None, description="file that chooses the best weights; none holds out a part of train")
    test: str | None = Field(None, description="file that is measured once, at the end")
    dev_fraction: float = Field(
        0.1, gt=0, lt=1, description="part of train that is held out where there is no dev; 10,000 records at the most"
    )
    max_length: int | None = Field(
        None,
        ge=8,
        description="tokens of a sequence and of a row; none is what the model was trained on, at most 512",
    )


class FinetuneTrain(TrainSettings):
    """The [train] section of fine-tuning."""

    steps: int = Field(0, ge=0, description="optimizer steps; 0 is as many as epochs come to")
    epochs: float = Field(3.0, gt=0, description="how often every record is seen")
    batch_size: int = Field(32, ge=1, description="records in one step, over all ranks")
    evaluate_every: int | None = Field(None, ge=1, description="steps between evaluations; none is once an epoch")
    evaluations: int | None = Field(None, ge=1, description="evaluations of the run, instead of evaluate_every")
    keep: int = Field(1, ge=1, description="newest checkpoints to keep, beside the best one")


class FinetuneRecipe(RunSettings):
    """All settings of a fine-tuning run."""

    not_the_result: ClassVar[Mapping[str, set[str]]] = {"encoder": {"path"}, "data": {"train", "dev", "test"}}

    seed: int = Field(0, ge=0, lt=1 << 63, description="decides the head's first weights, order and dropout")
    task: AnyKind = Classify()
    encoder: EncoderSettings = EncoderSettings()
    data: LabelledSettings = LabelledSettings()
    columns: Columns = Columns()
    packing: AnyPacking = BestFitPacking()
    optimizer: AnyOptimizer = AdamW(lr=3e-5, beta2=0.999)
    schedule: AnySchedule = LinearSchedule(warmup=0.1)
    train: FinetuneTrain = FinetuneTrain()
    system: SystemSettings = SystemSettings()

    def onward(self, model: Path) -> str:
        """See RunSettings."""
        return f"'maskling finetune {model} --out NEW'"

    @property
    def rows_at_once(self) -> int:
        """Rows of a micro-batch."""
        return max(1, (self.system.micro_batch_tokens or MICRO_BATCH_TOKENS) // (self.data.max_length or 512))


def read_finetune_recipe(layers: Sequence[Layer]) -> Resolved[FinetuneRecipe]:
    """Resolve the settings: defaults, what suits the size of the model and the kind of task, then `layers` in order.

    Raises SettingsError for a setting that does not fit, ModelError where there is no such model.
    """
    path = next((said for said in reversed([_path(layer) for layer in layers]) if said), None)
    kind = next((said for said in reversed([_kind(layer) for layer in layers]) if said), None)
    sized = []
    if path is not None:
        from maskling.model.folder import read_config
        from maskling.model.hf_config import from_hugging_face

        folder = find_model(path)
        config = from_hugging_face(read_config(folder), str(folder))
        rate = learning_rate(config, KINDS.get(kind or "", Classify))
        sized = [Layer("the size of the encoder", {"optimizer": {"lr": rate}})]
    suited = [Layer(f"what suits {kind}", dict(KINDS[kind].usual))] if kind in KINDS and KINDS[kind].usual else []
    return resolve(FinetuneRecipe, [_defaults(), *sized, *suited, *layers])


def learning_rate(config: ModelConfig, kind: type[AnyKind]) -> float:
    """A rate that suits the size of an encoder.

    3e-5 for 768 wide and more, the middle of what Devlin et al. 2019 (A.3) searched; 1e-4 from 384, the upper end of
    what Turc et al. 2019 (section 4) searched for small ones. Below, what was best for one 256 wide (docs/results.md):
    1e-3 for texts, words and answers, by 1 to 7 points over 3e-4, and 3e-4 where two texts are compared, by 10 points.
    """
    width = config.hidden_size
    return 3e-5 if width >= 768 else 1e-4 if width >= 384 else kind.small_rate


def _path(layer: Layer) -> str | None:
    encoder = layer.tree.get("encoder")
    return str(encoder["path"]) if isinstance(encoder, Mapping) and encoder.get("path") else None


def _kind(layer: Layer) -> str | None:
    task = layer.tree.get("task")
    return str(task["kind"]) if isinstance(task, Mapping) and task.get("kind") else None


def _defaults() -> Layer:
    """What a section is where nobody chooses another kind of it, so that one of its settings can be given alone."""
    usual = FinetuneRecipe()
    return Layer(
        "default",
        {name: getattr(usual, name).model_dump() for name in ("task", "packing", "optimizer", "schedule")},
    )
