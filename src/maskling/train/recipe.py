"""Every setting of pretraining, and where they come from: defaults, preset, file, command line. No torch."""

from __future__ import annotations

import textwrap
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import tomli_w
from pydantic import BaseModel, Field, model_validator

from maskling.config import Layer, Resolved, choice, load_toml, refuse_idle, resolve
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
    read_settings,
)

# FOLDED DOCS
# [written] A recipe as a file for a person: every setting with what it means beside it.


# A field of a strategy may hold any of its table. pydantic needs the union that the table makes, mypy the base class.
if TYPE_CHECKING:
    from maskling.data.masking.strategy import Masking as AnyMasking
    from maskling.data.packing import Packing as AnyPacking
    from maskling.data.pairing.strategy import Pairing as AnyPairing
    from maskling.model.config import ModelConfig as AnyModel
    from maskling.train.optimizer import Strategy as AnyOptimizer
    from maskling.train.schedule import Schedule as AnySchedule
else:
    AnyModel, AnyPairing, AnyMasking = choice(MODELS), choice(PAIRINGS), choice(MASKINGS)
    AnyPacking, AnyOptimizer, AnySchedule = choice(PACKINGS), choice(OPTIMIZERS), choice(SCHEDULES)

DEFAULT_PRESET = "modern-mini"


class Recipe(RunSettings):
    """All settings of a pretraining run."""

    not_the_result: ClassVar[Mapping[str, set[str]]] = {"": {"preset", "init"}, "data": {"path", "verify"}}

    preset: str | None = Field(None, description="named settings to start from")
    seed: int = Field(0, ge=0, lt=1 << 63, description="decides weights, order, masks and dropout")
    init: str | None = Field(None, description="a model folder to go on from: its weights and shape instead of [model]")
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
    def _fits_together(self) -> Self:
        if self.data.seq_length > self.model.max_positions:
            raise ValueError(
                f"data.seq_length = {self.data.seq_length} is longer than model.max_positions = "
                f"{self.model.max_positions}; lower the one or raise the other"
            )
        if self.pairing.has_pairs and isinstance(self.model, BertConfig) and self.model.type_vocab_size < 2:
            raise ValueError(
                f"pairing.kind = '{self.pairing.kind}' has two segments, but model.type_vocab_size = 1 can mark only "
                f"one; use pairing.kind = 'single'"
            )
        return self


def read_recipe(layers: Sequence[Layer] = (), default_preset: str | None = DEFAULT_PRESET) -> Resolved[Recipe]:
    """Resolve a recipe: defaults, then the preset that the last layer to name one asks for, then the layers in order.

    Raises SettingsError for an unknown preset or setting, a value that does not fit, or one asked for that would
    change nothing.
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
        refuse_idle(resolved, ["model."], "the shape of the model comes from the folder of init")
    if resolved.settings.train.budget is not None:
        refuse_idle(resolved, ["train.steps"], "train.budget sets the steps")
    return resolved


def read_config(run_dir: Path) -> Recipe:
    """The recipe that a run wrote into its folder.

    Raises SettingsError if there is none, it is damaged, or that of a fine-tuning.
    """
    if is_finetuning(run_dir):
        raise SettingsError(f"{run_dir} is a run of 'maskling finetune', and this needs one of 'maskling train'")
    return read_settings(run_dir, Recipe)


def is_finetuning(run_dir: Path) -> bool:
    """Whether a run is one of 'maskling finetune'. Raises SettingsError if it has no config.toml, or a damaged one."""
    return "task" in load_toml(run_dir / "config.toml").tree


def preset_names() -> list[str]:
    """Every preset, by name."""
    return sorted(file.name.removesuffix(".toml") for file in _folder().iterdir() if file.name.endswith(".toml"))


def preset_name(wanted: str) -> str:
    """The full name of a preset; one without its family is of the modern one ('small' is 'modern-small').

    Raises SettingsError for a name that no preset has.
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
    """The settings of a preset, after those of the preset it extends."""
    tree = tomllib.loads((_folder() / f"{name}.toml").read_text(encoding="utf-8"))
    base = tree.pop("extends", None)
    return [*(preset_layers(base) if base else []), Layer(f"preset {name}", {"preset": name, **tree})]


def _kinds() -> Layer:
    """The kind of each strategy where nobody chooses another, so that one of its settings can be given alone."""
    fields = Recipe.model_fields.items()
    return Layer(
        "default", {name: {"kind": field.default.kind} for name, field in fields if hasattr(field.default, "kind")}
    )


def _folder() -> Any:
    return resources.files("maskling.presets")


def commented_toml(recipe: Recipe) -> str:
    """Every setting of `recipe` as TOML, each under a comment that says what it is. Reads back as the same recipe."""
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
