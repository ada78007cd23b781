"""Settings of pretraining, resolved from defaults, preset, file and command line. Does not import torch."""

from __future__ import annotations

import textwrap
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import tomli_w
from pydantic import BaseModel, Field, model_validator

from maskling.config import Layer, Resolved, load_toml, one_of, reject_unused, resolve
from maskling.data.masking import MASKINGS
from maskling.data.masking.corruption import Corruption
from maskling.data.masking.token import TokenMasking
from maskling.data.packing import PACKINGS, BestFitPacking
from maskling.data.pairing import PAIRINGS
from maskling.data.pairing.single import SinglePairing
from maskling.errors import SettingsError, suggestion
from maskling.model.config import MODELS, BertConfig, ModernConfig
from maskling.train.optimizer import OPTIMIZERS, AdamW
from maskling.train.schedule import SCHEDULES, TrapezoidSchedule
from maskling.train.settings import (
    DataSettings,
    EvaluateSettings,
    PretrainSettings,
    RunSettings,
    SystemSettings,
    check_budget_unit,
    read_settings,
)

# A strategy field accepts any strategy of its table. pydantic needs the union of the table, mypy the base class.
if TYPE_CHECKING:
    from maskling.data.masking.strategy import Masking as AnyMasking
    from maskling.data.packing import Packing as AnyPacking
    from maskling.data.pairing.strategy import Pairing as AnyPairing
    from maskling.model.config import ModelConfig as AnyModel
    from maskling.train.optimizer import OptimizerSettings as AnyOptimizer
    from maskling.train.schedule import Schedule as AnySchedule
else:
    AnyModel, AnyPairing, AnyMasking = one_of(MODELS), one_of(PAIRINGS), one_of(MASKINGS)
    AnyPacking, AnyOptimizer, AnySchedule = one_of(PACKINGS), one_of(OPTIMIZERS), one_of(SCHEDULES)

DEFAULT_PRESET = "modern-mini"


class Recipe(RunSettings):
    """All settings of a pretraining run.

    `preset` only records the name of the settings that a recipe began with: `Recipe(preset="small")` has the defaults
    of the other settings. `read_recipe`, `pretrain(..., preset="small")` and the command line apply a preset.
    """

    # train.epochs decides nothing by itself: it sets train.steps when the size of the data is known.
    not_the_result: ClassVar[Mapping[str, set[str]]] = {
        "": {"preset", "init"},
        "data": {"path", "verify"},
        "train": {"epochs"},
        "evaluate": {"samples"},
    }

    preset: str | None = Field(None, description="named settings to start from")
    seed: int = Field(0, ge=0, lt=1 << 63, description="seed of weights, order, masks and dropout")
    init: str | None = Field(
        None, description="model folder to start from: its weights and architecture replace [model]"
    )
    model: AnyModel = ModernConfig()
    data: DataSettings = DataSettings()
    pairing: AnyPairing = SinglePairing()
    masking: AnyMasking = TokenMasking()
    corruption: Corruption = Corruption()
    packing: AnyPacking = BestFitPacking()
    optimizer: AnyOptimizer = AdamW()
    schedule: AnySchedule = TrapezoidSchedule()
    train: PretrainSettings = PretrainSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    system: SystemSettings = SystemSettings()

    @model_validator(mode="after")
    def _check_lengths_and_segments(self) -> Self:
        if self.data.seq_length > self.model.max_positions:
            raise ValueError(
                f"data.seq_length = {self.data.seq_length} is longer than model.max_positions = "
                f"{self.model.max_positions}; lower one or raise the other"
            )
        if self.pairing.has_pairs and isinstance(self.model, BertConfig) and self.model.type_vocab_size < 2:
            raise ValueError(
                f"pairing.kind = '{self.pairing.kind}' has two segments, but model.type_vocab_size = 1 can mark only "
                f"one; use pairing.kind = 'single'"
            )
        return self


def read_recipe(layers: Sequence[Layer] = (), default_preset: str | None = DEFAULT_PRESET) -> Resolved[Recipe]:
    """Resolve a recipe: defaults, then the preset named by the last layer that names one, then the layers in order.

    Raises SettingsError for an unknown preset or setting, an invalid value, or a setting that would have no effect.
    """
    named = [str(layer.tree["preset"]) for layer in layers if layer.tree.get("preset") is not None]
    wanted = named[-1] if named else default_preset
    if wanted is None or wanted.lower() == "none":
        return _checked(resolve(Recipe, [_kinds(), *layers]))
    name = preset_name(wanted)
    rest = [Layer(layer.origin, {key: layer.tree[key] for key in layer.tree if key != "preset"}) for layer in layers]
    return _checked(resolve(Recipe, [_kinds(), *preset_layers(name), *rest]))


def _checked(resolved: Resolved[Recipe]) -> Resolved[Recipe]:
    if resolved.settings.init is not None:
        reject_unused(resolved, ["model."], "the shape of the model comes from the folder of init")
    train = resolved.settings.train
    check_budget_unit(train.budget)
    if train.budget is not None:
        reject_unused(resolved, ["train.steps", "train.epochs"], "train.budget sets the steps")
    if train.epochs is not None:
        reject_unused(resolved, ["train.steps"], "train.epochs sets the steps")
    return resolved


def read_run_recipe(run_dir: Path) -> Recipe:
    """Read the recipe in a run folder.

    Raises SettingsError if there is none, it is damaged, or the run is a fine-tuning run.
    """
    if is_finetuning(run_dir):
        raise SettingsError(f"{run_dir} is a run of 'maskling finetune', and this needs one of 'maskling train'")
    return read_settings(run_dir, Recipe)


def is_finetuning(run_dir: Path) -> bool:
    """Return whether a run is one of 'maskling finetune'. Raises SettingsError if config.toml is missing or damaged."""
    return "task" in load_toml(run_dir / "config.toml").tree


def preset_names() -> list[str]:
    """Return the names of all presets."""
    return sorted(file.name.removesuffix(".toml") for file in _folder().iterdir() if file.name.endswith(".toml"))


def preset_name(wanted: str) -> str:
    """Return the full name of a preset; without a family it is a modern one ('small' is 'modern-small').

    Raises SettingsError for an unknown name.
    """
    known = preset_names()
    for name in (wanted, f"modern-{wanted}"):
        if name in known:
            return name
    short = [name.removeprefix("modern-") for name in known]
    raise SettingsError(
        f"preset: there is no preset '{wanted}'{suggestion(wanted, [*known, *short])} (there are: {', '.join(known)})"
    )


def preset_layers(name: str) -> list[Layer]:
    """Return the settings of a preset, after those of the preset it extends."""
    tree = tomllib.loads(preset_text(name))
    base, _ = tree.pop("extends", None), tree.pop("about")
    return [*(preset_layers(base) if base else []), Layer(f"preset {name}", {"preset": name, **tree})]


def preset_text(name: str) -> str:
    """Return the file of a preset, with the sources of its values."""
    text: str = (_folder() / f"{name}.toml").read_text(encoding="utf-8")
    return text


def preset_about(name: str) -> str:
    """Return what a preset is for, in a few words."""
    return str(tomllib.loads(preset_text(name))["about"])


def _kinds() -> Layer:
    """Return the default kind of each strategy, so that one of its settings can be given alone."""
    fields = Recipe.model_fields.items()
    return Layer(
        "default", {name: {"kind": field.default.kind} for name, field in fields if hasattr(field.default, "kind")}
    )


def _folder() -> Any:
    return resources.files("maskling.presets")


def commented_toml(recipe: Recipe) -> str:
    """Return every setting of `recipe` as TOML, each below its description. Reads back as the same recipe."""
    top = [line for name in type(recipe).model_fields for line in _setting(recipe, name)]
    sections = [_section(name, getattr(recipe, name)) for name in type(recipe).model_fields]
    return "\n".join(["\n".join(top), *filter(None, sections)]) + "\n"


def _section(name: str, section: object) -> str:
    if not isinstance(section, BaseModel):
        return ""
    lines = [line for field in type(section).model_fields for line in _setting(section, field)]
    nested = [_section(f"{name}.{field}", getattr(section, field)) for field in type(section).model_fields]
    return "\n".join([f"\n[{name}]", *lines, *filter(None, nested)])


def _setting(settings: BaseModel, name: str) -> list[str]:
    value = getattr(settings, name)
    if isinstance(value, BaseModel):
        return []
    described = type(settings).model_fields[name].description
    comment = textwrap.wrap(described or "", 110, initial_indent="# ", subsequent_indent="# ")
    plain = settings.model_dump(mode="json")[name]
    return [*comment, tomli_w.dumps({name: "none" if plain is None else plain}).rstrip()]
