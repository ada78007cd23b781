"""Settings: their base class, the merging of layers, and one-line error messages.

A layer is a nested dict with a name (a preset, a file, the command line). Each layer is merged over
the ones before it, and the result records which layer every value came from.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from os import PathLike
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from maskling.errors import SettingsError, settings_by_name, suggestion
from maskling.files import read_toml

_S = TypeVar("_S", bound="Settings")
_Tree = dict[str, Any]


class Settings(BaseModel):
    """A frozen group of settings; unknown keys are errors."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=False, protected_namespaces=()
    )

    @model_validator(mode="before")
    @classmethod
    def _none_as_text(cls, values: Any) -> Any:
        """Read the text 'none' as None wherever a field allows None: TOML and the command line have no null."""
        if not isinstance(values, Mapping):
            return values
        return {
            key: None if _is_none_text(value) and key in cls.model_fields and _allows_none(cls, key) else value
            for key, value in values.items()
        }


@dataclass(frozen=True)
class Layer:
    """Settings from one source, and its name ('preset modern-small', 'train.toml', '--train.steps')."""

    origin: str
    tree: Mapping[str, Any]


@dataclass(frozen=True)
class Resolved(Generic[_S]):
    """Complete settings, and the origin of each value by dotted path ('default' if no layer set it)."""

    settings: _S
    origins: dict[str, str]


def reject_unused(resolved: Resolved[Any], idle: Sequence[str], why: str) -> None:
    """Raise SettingsError if the command line gives one of the settings `idle`, which would have no effect.

    idle: dotted paths, or prefixes of them. Presets and files may hold them; they were not written for this command.
    """
    for path, origin in resolved.origins.items():
        if origin.startswith("--") and path.startswith(tuple(idle)):
            raise SettingsError(f"{origin} has no effect, because {why}; leave one of the two out")


def resolve(model: type[_S], layers: Iterable[Layer]) -> Resolved[_S]:
    """Merge layers, later over earlier, and validate the result.

    Choosing another `kind` in a section resets that section: values of the old kind from earlier
    layers do not apply to the new one.
    Raises SettingsError with the dotted path, the value and its origin.
    """
    tree: _Tree = {}
    origins: dict[str, str] = {}
    for layer in layers:
        _merge(tree, layer.tree, layer.origin, origins, ())
    try:
        settings = TypeAdapter(model).validate_python(tree)
    except ValidationError as error:
        raise SettingsError(explain(model, error, origins)) from None
    return Resolved(settings, {path: origins.get(path, "default") for path in flatten(settings.model_dump())})


def load_toml(path: Path) -> Layer:
    """Read a settings file as a layer. Raises SettingsError if it is missing or is not TOML."""
    try:
        return Layer(path.name, read_toml(path))
    except FileNotFoundError:
        raise SettingsError(f"{path}: there is no such settings file") from None
    except ValueError as error:
        raise SettingsError(f"{path} is not a TOML file: {error}") from None
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from None


def overrides(pairs: Iterable[tuple[str, Any]], prefix: str = "--") -> list[Layer]:
    """Return a layer per pair ('train.batch-size', '32'): dashes become underscores, dots become sections."""
    layers = []
    for name, value in pairs:
        path = name.replace("-", "_").split(".")
        tree: Any = _literal(value)
        for part in reversed(path):
            tree = {part: tree}
        layers.append(Layer(f"{prefix}{name}", tree))
    return layers


def layers_of(
    settings: Mapping[str, object] | None,
    config: str | PathLike[str] | None = None,
    own: Mapping[str, object] | None = None,
) -> list[Layer]:
    """Return the layers of a file, of a function's own arguments, and of single settings, later ones over earlier."""
    given = {**{name: value for name, value in (own or {}).items() if value is not None}, **(settings or {})}
    named = [(name, str(value) if isinstance(value, PathLike) else value) for name, value in given.items()]
    named.sort(key=lambda setting: not setting[0].endswith("kind"))  # a kind clears what was set in its section before
    return [*([] if config is None else [load_toml(Path(config))]), *overrides(named)]


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten {'train': {'steps': 5}} into {'train.steps': 5}."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _merge(tree: _Tree, new: Mapping[str, Any], origin: str, origins: dict[str, str], path: tuple[str, ...]) -> None:
    if "kind" in new and tree.get("kind", new["kind"]) != new["kind"]:
        tree.clear()
        prefix = ".".join(path) + "."
        for known in [known for known in origins if known.startswith(prefix)]:
            del origins[known]
    for key, value in new.items():
        here = (*path, key)
        if isinstance(value, Mapping):
            below = tree.get(key)
            if not isinstance(below, dict):
                below = tree[key] = {}
            _merge(below, value, origin, origins, here)
        else:
            tree[key] = value
            origins[".".join(here)] = origin


def _literal(value: Any) -> Any:
    """Parse a command-line value for pydantic: '[1, 2]' becomes a list, the rest stays text."""
    if isinstance(value, str) and value.startswith("["):
        try:
            return tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            return value
    return value


def _is_none_text(value: Any) -> bool:
    return isinstance(value, str) and value.lower() == "none"


def _allows_none(model: type[BaseModel], key: str) -> bool:
    return type(None) in get_args(model.model_fields[key].annotation)


def explain(model: type[BaseModel], error: ValidationError, origins: Mapping[str, str]) -> str:
    """Return one line per invalid setting: its path, what is wrong with it, and where it was set."""
    messages: dict[str, list[str]] = {}
    suffixes: dict[str, str] = {}
    for problem in error.errors(include_url=False):
        location = [str(part) for part in problem["loc"]]
        # A discriminated union adds the chosen kind to the location; it is not part of the path that a user writes.
        keys, known = _walk(model, location)
        path, value = ".".join(keys), problem.get("input")
        chosen_kind = problem["type"] == "union_tag_invalid"
        origin = origins.get(f"{path}.kind" if chosen_kind else path)
        suffixes[path] = f" (from {origin})" if origin else ""
        if problem["type"] == "extra_forbidden":
            message = f"there is no such setting{_did_you_mean(model, path, known)}"
        elif problem["type"] == "missing":
            message = "this setting is required"
        elif chosen_kind:
            kinds = [kind.strip("' ") for kind in problem["ctx"]["expected_tags"].split(",")]
            kind = problem["ctx"]["tag"]
            message = f"there is no kind '{kind}'{suggestion(kind, kinds)} (there are {', '.join(kinds)})"
        elif problem["type"] in ("model_type", "dict_type", "model_attributes_type"):
            inside = _walk(model, [*location, "?"])[1]
            message = f"this is a section of settings; give one of them, such as {path}.{inside[0]}"
        elif isinstance(value, Mapping) and problem["type"] != "value_error":
            message, suffixes[path] = f"this is a single setting, not a section; give {path} alone", ""
        else:
            message = _plain_message(problem)
            if path and isinstance(value, str | int | float | bool | list | type(None)):
                shown = f", not {value!r}" if message.startswith("should be") else f" (got {value!r})"
                suffixes[path] = shown + suffixes[path]
        messages.setdefault(path, []).append(message)
    return "\n".join(
        f"{path}: {_joined(found)}{suffixes[path]}" if path else found[0] for path, found in messages.items()
    )


def _did_you_mean(model: type[BaseModel], path: str, known: Sequence[str]) -> str:
    """Return what a setting that does not exist may have been meant to be: one of its section, or of another."""
    elsewhere = [other for other in settings_by_name(path, setting_paths(model), exact=True) if other != path]
    if close := suggestion(path.rpartition(".")[2], known):
        return close
    other_names = "' or '".join(elsewhere)
    return f"; did you mean '{other_names}'?" if elsewhere else f"; there are {', '.join(known)}"


def _joined(messages: Sequence[str]) -> str:
    """Join the messages of a value that may be of several types: 'should be a number or a list'."""
    first, *others = dict.fromkeys(messages)
    return first + "".join(f" or {message.removeprefix('should be ')}" for message in others)


def _plain_message(problem: Mapping[str, Any]) -> str:
    """Return pydantic's message in plainer words."""
    kinds = {"int": "a whole number", "float": "a number", "bool": "true or false", "string": "text", "tuple": "a list"}
    kind, _, failure = problem["type"].partition("_")
    if kind in kinds and failure in ("type", "parsing", "from_float"):
        return f"should be {kinds[kind]}"
    message: str = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
    message = message.replace("greater than or equal to", "at least").replace("less than or equal to", "at most")
    return message[:1].lower() + message[1:]


def _walk(model: type[BaseModel] | None, parts: list[str]) -> tuple[list[str], list[str]]:
    """Follow a location into the models; return the keys a user writes and the keys known at the last level."""
    keys: list[str] = []
    known: list[str] = list(model.model_fields) if model else []
    candidates = [model] if model else []
    for part in parts:
        if not candidates:
            break  # below a single setting, pydantic adds the types that it tried
        fields = [found.model_fields[part] for found in candidates if part in found.model_fields]
        if fields or part not in {_kind(found) for found in candidates}:
            keys.append(part)
            known = [name for found in candidates for name in found.model_fields]
        if fields:
            candidates = _models(fields[0].annotation)
        else:
            candidates = [found for found in candidates if _kind(found) == part] or candidates
    return keys, known


def _kind(model: type[BaseModel]) -> Any:
    field = model.model_fields.get("kind")
    return field.default if field else None


def setting_paths(model: type[BaseModel]) -> list[str]:
    """Return the dotted path of every setting, those of each kind of a section included."""
    paths = []
    for name, field in model.model_fields.items():
        inner = _models(field.annotation)
        paths += [f"{name}.{path}" for one in inner for path in setting_paths(one)] if inner else [name]
    return list(dict.fromkeys(paths))


def setting_choices(model: type[BaseModel], path: str) -> list[str]:
    """Return the values that a setting may have, as text, if they are few: those of a Literal or a bool, the kinds."""
    found, fields = [model], []
    for part in path.split("."):
        fields = [one.model_fields[part] for one in found if part in one.model_fields]
        found = [inner for field in fields for inner in _models(field.annotation)]
    choices = [choice for field in fields for choice in _choices(field.annotation)]
    return list(dict.fromkeys(choices))


def _choices(annotation: Any) -> list[str]:
    if annotation is bool:
        return ["true", "false"]
    if get_origin(annotation) is Literal:
        return [str(choice) for choice in get_args(annotation)]
    return [choice for part in get_args(annotation) for choice in _choices(part)]


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


# Strategies: a table of classes by their `kind`, and the pydantic union that a settings field needs.


def strategies_by_kind(*strategies: type[_S]) -> dict[str, type[_S]]:
    """Return {'token': TokenMasking, ...} from classes that each have a `kind` with a default."""
    return {str(strategy.model_fields["kind"].default): strategy for strategy in strategies}


def one_of(strategies: Mapping[str, type[Any]]) -> Any:
    """Return the annotation of a field that holds one of `strategies`, discriminated by `kind`."""
    if len(strategies) == 1:
        return next(iter(strategies.values()))
    return Annotated[reduce(or_, strategies.values()), Field(discriminator="kind")]
