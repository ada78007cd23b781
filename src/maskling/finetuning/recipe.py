"""Settings of fine-tuning, without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from maskling.config import Layer, Resolved, Settings, one_of, reject_unused, resolve
from maskling.data.labelled.columns import Columns
from maskling.data.packing import PACKINGS, BestFitPacking
from maskling.errors import SettingsError
from maskling.finetuning.kinds import KINDS
from maskling.finetuning.kinds.classify import Classify
from maskling.finetuning.kinds.kind import TaskSettings
from maskling.model.config import ModelConfig
from maskling.model.locate import find_model
from maskling.train.optimizer import OPTIMIZERS, AdamW
from maskling.train.schedule import SCHEDULES, LinearSchedule
from maskling.train.settings import MICRO_BATCH_TOKENS, RunSettings, SystemSettings, TrainSettings, check_budget_unit

if TYPE_CHECKING:
    from maskling.data.packing import Packing as AnyPacking
    from maskling.finetuning.kinds.kind import TaskSettings as AnyTaskSettings
    from maskling.train.optimizer import OptimizerSettings as AnyOptimizer
    from maskling.train.schedule import Schedule as AnySchedule
else:
    AnyTaskSettings, AnyPacking = one_of(KINDS), one_of(PACKINGS)
    AnyOptimizer, AnySchedule = one_of(OPTIMIZERS), one_of(SCHEDULES)


# Factor of the default learning rate with LoRA.
_LORA_RATE = 10


class EncoderSettings(Settings):
    """The [encoder] section: the model to fine-tune."""

    path: str = Field("", description="model to fine-tune: a folder, or a run of 'maskling train'")
    fresh: bool = Field(
        False, description="random weights in the model's shape, to measure what pretraining contributes"
    )
    dropout: float | None = Field(
        None, ge=0, lt=1, description="dropout of the encoder, attention included; default: as in the model folder"
    )
    head_dropout: float | None = Field(
        0.1, ge=0, lt=1, description="dropout before the last layer; none: as in transformers"
    )
    frozen_layers: int | None = Field(
        None,
        ge=0,
        description="number of layers that are not trained, counted from the embeddings, which are not trained either; "
        "0: only the embeddings; default: everything is trained",
    )
    layer_decay: float = Field(
        1.0,
        gt=0,
        le=1,
        description="factor of the learning rate from each layer to the one below; the embeddings are below the first",
    )
    pooling: Literal["cls", "mean"] | None = Field(
        None,
        description="pooling for text classification with a ModernBERT, and for vectors of any encoder; default: as in "
        "the model folder, else the mean",
    )


class LoraSettings(Settings):
    """The [lora] section: train low-rank matrices beside frozen weights, and the head (Hu et al. 2021)."""

    rank: int | None = Field(
        None, ge=1, description="rank of the matrices; default: no LoRA, the weights of the encoder are trained"
    )
    alpha: float | None = Field(
        None, gt=0, description="what the matrices add is multiplied by alpha / rank; default: twice the rank"
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout of the input of the matrices")
    targets: str | None = Field(
        None,
        description="layers to adapt, by the ends of their names in transformers, separated by commas; all-linear: all "
        "in the encoder; default: query,value, or Wqkv for a ModernBERT",
    )


class LabelledSettings(Settings):
    """The [data] section of fine-tuning."""

    train: str = Field("", description="training file; for similarity also a folder or pattern")
    dev: str | None = Field(None, description="file that selects the best weights; default: a held-out part of train")
    test: str | None = Field(None, description="file that is evaluated once, at the end")
    dev_fraction: float = Field(
        0.1, gt=0, lt=1, description="fraction of train that is held out if there is no dev; at most 10,000 records"
    )
    hold_out: Literal["grouped", "random"] = Field(
        "grouped",
        description="how records are held out: 'grouped' keeps equal texts and the questions of one context together, "
        "and takes each label in its share; 'random': one by one",
    )
    folds: int | None = Field(
        None,
        ge=2,
        description="cross-validation: split train into this many folds, and train once per fold, which is the test "
        "file of a run on the others",
    )
    fold: int | None = Field(None, ge=1, description="run only this fold, 1 for the first; default: all")
    max_length: int | None = Field(
        None,
        ge=8,
        description="tokens per sequence and per row; default: the length the model was trained on, at most 512",
    )


class FinetuneTrain(TrainSettings):
    """The [train] section of fine-tuning."""

    steps: int = Field(0, ge=0, description="optimizer steps; 0: as many as the epochs take")
    epochs: float = Field(3.0, gt=0, description="passes over the training records")
    batch_size: int = Field(32, ge=1, description="records per optimizer step, over all ranks")
    evaluate_every: int | None = Field(
        None, ge=1, description="steps between evaluations; default: one evaluation per epoch"
    )
    evaluations: int | None = Field(None, ge=1, description="number of evaluations, instead of evaluate_every")
    keep: int = Field(1, ge=1, description="number of newest checkpoints to keep, beside the best one")


class FinetuneRecipe(RunSettings):
    """All settings of a fine-tuning run."""

    not_the_result: ClassVar[Mapping[str, set[str]]] = {"encoder": {"path"}, "data": {"train", "dev", "test"}}

    added: ClassVar[Mapping[str, Any]] = {
        "columns.delimiter": "auto",
        "columns.quote": "auto",
        "columns.escape": "auto",
        "columns.encoding": "auto",
        "columns.label_names": None,
        "columns.sentence": None,
        "data.hold_out": "random",
        "data.folds": None,
        "data.fold": None,
        "encoder.frozen_layers": None,
        "encoder.layer_decay": 1.0,
        "lora.rank": None,
        "lora.alpha": None,
        "lora.dropout": 0.0,
        "lora.targets": None,
        "task.class_weights": None,
    }

    seed: int = Field(
        0, ge=0, lt=1 << 63, description="seed of the head's initial weights, the order of records, and dropout"
    )
    task: AnyTaskSettings = Classify()
    encoder: EncoderSettings = EncoderSettings()
    lora: LoraSettings = LoraSettings()
    data: LabelledSettings = LabelledSettings()
    columns: Columns = Columns()
    packing: AnyPacking = BestFitPacking()
    optimizer: AnyOptimizer = AdamW(lr=3e-5, beta2=0.999)
    schedule: AnySchedule = LinearSchedule(warmup=0.1)
    train: FinetuneTrain = FinetuneTrain()
    system: SystemSettings = SystemSettings()

    def onward(self, model: Path) -> str:
        return f"'maskling finetune {model} --out NEW'"

    @property
    def micro_batch_rows(self) -> int:
        """Rows per micro-batch."""
        return max(1, (self.system.micro_batch_tokens or MICRO_BATCH_TOKENS) // (self.data.max_length or 512))


def read_finetune_recipe(layers: Sequence[Layer]) -> Resolved[FinetuneRecipe]:
    """Resolve the settings: defaults, defaults for the size of the model and for the task, then `layers` in order.

    Raises SettingsError for a setting that does not fit or would change nothing, ModelError for a missing model.
    """
    path = next((given for given in reversed([_path(layer) for layer in layers]) if given), None)
    kind = next((given for given in reversed([_kind(layer) for layer in layers]) if given), None)
    for_size = []
    if path is not None:
        from maskling.model.folder import read_config
        from maskling.model.hf_config import from_hugging_face

        folder = find_model(path)
        config = from_hugging_face(read_config(folder), str(folder))
        rate = learning_rate(config, KINDS.get(kind or "", Classify))
        rate *= _LORA_RATE if any(_has_rank(layer) for layer in layers) else 1
        for_size = [Layer("the size of the encoder", {"optimizer": {"lr": rate}})]
    for_task = [Layer(f"what suits {kind}", dict(KINDS[kind].usual))] if kind in KINDS and KINDS[kind].usual else []
    resolved = resolve(FinetuneRecipe, [_defaults(), *for_size, *for_task, *layers])
    if resolved.settings.task.kind == "similarity":
        reject_unused(resolved, ["encoder.head_dropout"], "similarity training has no head")
    check_budget_unit(resolved.settings.train.budget)
    if resolved.settings.lora.rank is None:
        reject_unused(resolved, ["lora."], "without lora.rank there is no LoRA")
    elif resolved.settings.encoder.fresh:
        raise SettingsError("lora.rank adapts pretrained weights, and --from-scratch has none; leave one of them out")
    _check_folds(resolved)
    if resolved.settings.train.steps:
        reject_unused(resolved, ["train.epochs"], "train.steps sets the length of the run")
    return resolved


def _check_folds(resolved: Resolved[FinetuneRecipe]) -> None:
    data = resolved.settings.data
    if data.folds is None:
        reject_unused(resolved, ["data.fold"], "without data.folds there are no folds")
    elif data.test is not None:
        raise SettingsError("data.folds: each fold is the test file of the others; leave out --test")
    elif data.fold is not None and data.fold > data.folds:
        raise SettingsError(f"data.fold = {data.fold}, but there are {data.folds} folds; lower it")


def learning_rate(config: ModelConfig, kind: type[TaskSettings]) -> float:
    """Return the default learning rate for the size of an encoder.

    3e-5 for 768 wide and more, the middle of the range that Devlin et al. 2019 (A.3) searched; 1e-4 from 384, the upper
    end of what Turc et al. 2019 (section 4) searched for small ones. Below, the best for one 256 wide
    (docs/results.md): 1e-3 for texts, words and answers, by 1 to 7 points over 3e-4, and 3e-4 for comparing two texts,
    by 10 points.
    """
    width = config.hidden_size
    return 3e-5 if width >= 768 else 1e-4 if width >= 384 else kind.small_rate


def _path(layer: Layer) -> str | None:
    encoder = layer.tree.get("encoder")
    return str(encoder["path"]) if isinstance(encoder, Mapping) and encoder.get("path") else None


def _has_rank(layer: Layer) -> bool:
    lora = layer.tree.get("lora")
    return isinstance(lora, Mapping) and lora.get("rank") is not None


def _kind(layer: Layer) -> str | None:
    task = layer.tree.get("task")
    return str(task["kind"]) if isinstance(task, Mapping) and task.get("kind") else None


def _defaults() -> Layer:
    """Return the default kind of each section, so that one of its settings can be given alone."""
    defaults = FinetuneRecipe()
    return Layer(
        "default",
        {name: getattr(defaults, name).model_dump() for name in ("task", "packing", "optimizer", "schedule")},
    )
