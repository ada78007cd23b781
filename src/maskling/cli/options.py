"""The command line: binding words to a verb's function, settings as options, and what is known of a verb's options."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from cyclopts import (
    App,
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    Parameter,
    RepeatArgumentError,
    UnknownOptionError,
    UnusedCliTokensError,
)

from maskling.cli.format import table
from maskling.errors import SettingsError, settings_by_name, suggestion

if TYPE_CHECKING:
    from pydantic import BaseModel

    from maskling.config import Layer, Resolved

# cyclopts takes a lone "-" (standard input) for an option. No argument can hold a zero byte, so it stands in.
_DASH = "\0"
_COMMAND = "verb"  # the name of every command inside cyclopts, because a verb may have two words
# Short names, where a verb has the option.
SHORT_NAMES = {"-o": "--out", "-k": "--top-k"}
_TYPE_NAMES = {"int": "a whole number", "float": "a number", "bool": "true or false"}


def bind(verb: str, function: Callable[..., Any], words: Sequence[str]) -> inspect.BoundArguments:
    """Return the arguments, settings included, with which `words` call the function of a verb.

    Raises SettingsError, in one line, for words that the verb does not accept.
    """
    rest, pairs = split_settings(_with_long_names(words, function))
    app = App(
        name="maskling",
        help_flags=(),
        version_flags=(),
        default_parameter=Parameter(negative=""),
        suppress_keyboard_interrupt=False,
    )
    app.command(function, name=_COMMAND)
    rest = [_DASH if word == "-" else word for word in rest]
    try:
        _, bound, unparsed = app.parse_args([_COMMAND, *rest], exit_on_error=False, print_error=False)
    except CycloptsError as error:
        raise SettingsError(_error_message(error, verb)) from None
    if "settings" in unparsed:
        bound.arguments["settings"] = pairs
    elif pairs:
        raise SettingsError(f"'maskling {verb}' takes no settings; leave --{pairs[0][0]} out")
    bound.arguments.update({name: _restore_dashes(value) for name, value in bound.arguments.items()})
    return bound


def _error_message(error: CycloptsError, verb: str) -> str:
    see_help = f"see 'maskling {verb} --help'"
    match error:
        case UnknownOptionError():
            word = error.token.keyword or error.token.value
            names = [name for argument in error.argument_collection or () for name in argument.names]
            return f"{verb} has no option {word}{_suggested_option(word, names, verb) or f'; {see_help}'}"
        case MissingArgumentError() if error.argument is not None:
            name = error.keyword or error.argument.name
            positional = error.argument.field_info.kind is not inspect.Parameter.KEYWORD_ONLY
            missing = f"{verb} needs {name.lstrip('-').upper()}" if positional else f"{name} needs a value"
            return f"{missing}; {see_help}"
        case UnusedCliTokensError():
            return f"{verb} does not take the argument '{(error.unused_tokens or [''])[0]}'; {see_help}"
        case CoercionError() if error.token is not None and error.argument is not None:
            choices = error.argument.get_choices()
            expected = (
                f"one of {', '.join(choices)}"
                if choices
                else _TYPE_NAMES.get(getattr(error.target_type, "__name__", ""), "a valid value")
            )
            return f"{error.argument.name}: '{error.token.value}' is not {expected}"
        case RepeatArgumentError():
            return f"{error.token.keyword} is given twice; give it once"
    return " ".join(str(error).split())


def _with_long_names(words: Sequence[str], function: Callable[..., Any]) -> list[str]:
    """Replace short names of the options that the verb has."""
    known = {f"--{name.replace('_', '-')}" for name in inspect.signature(function).parameters}
    end = list(words).index("--") if "--" in words else len(words)
    return [
        SHORT_NAMES[word] if index < end and SHORT_NAMES.get(word) in known else word
        for index, word in enumerate(words)
    ]


# Where the settings of a verb are defined: (section, class); '' for all sections.
_CORPUS = ("corpus", "maskling.corpus.settings:CorpusSettings")
_COLUMNS = ("columns", "maskling.data.labelled.columns:Columns")
_SETTINGS = {
    "prepare": [("", "maskling.data.prepare.settings:PrepareSettings")],
    "tokenizer": [("", "maskling.data.prepare.tokenizer_stage:TokenizerTrainingSettings")],
    "train": [("", "maskling.train.recipe:Recipe")],
    "config": [("", "maskling.train.recipe:Recipe")],
    "inspect": [("", "maskling.train.recipe:Recipe"), _CORPUS],
    "finetune": [("", "maskling.finetuning.recipe:FinetuneRecipe")],
    "evaluate": [_CORPUS, _COLUMNS],
    "predict": [_COLUMNS],
}


def settings_of(verb: str, function: Callable[..., Any]) -> list[str]:
    """Return the dotted paths of the settings that a verb takes, '_' in their names; empty if it takes none."""
    if SettingPairs not in get_type_hints(function, include_extras=True).values():
        return []
    from maskling.config import setting_paths

    return [
        f"{section}.{path}" if section else path
        for section, model in _setting_models(verb)
        for path in setting_paths(model)
    ]


def setting_choices_of(verb: str, setting: str) -> list[str]:
    """Return the values that a setting of a verb may have, if they are few."""
    from maskling.config import setting_choices

    path = setting.replace("-", "_")
    return [
        choice
        for section, model in _setting_models(verb)
        for choice in setting_choices(model, path.removeprefix(f"{section}.") if section else path)
    ]


def _setting_models(verb: str) -> list[tuple[str, type[BaseModel]]]:
    found = [(section, where.split(":")) for section, where in _SETTINGS.get(verb, [_CORPUS])]
    return [(section, getattr(import_module(module), name)) for section, (module, name) in found]


def _suggested_option(word: str, names: Sequence[str], verb: str) -> str:
    """Return '; did you mean --X?' for an option that a verb does not have, by its own options and its settings."""
    from maskling.cli import VERBS

    module, name = VERBS[verb].split(":")
    paths = settings_of(verb, getattr(import_module(module), name))
    close = suggestion(word, names)
    if paths and (by_name := settings_by_name(word.lstrip("-"), paths, exact=bool(close))):
        last = f"--{by_name[0].rpartition('.')[2].replace('_', '-')}"
        options = [last] if last in names else [f"--{path.replace('_', '-')}" for path in by_name]
        return f"; did you mean {' or '.join(options)}?"
    return close


def _restore_dashes(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return type(value)(_restore_dashes(inner) for inner in value)
    return type(value)("-") if isinstance(value, str | Path) and str(value) == _DASH else value


# Settings on the command line: --section.key value.

Pairs = tuple[tuple[str, str], ...]
# A verb with a parameter of this type takes settings; `bind` fills it in, and cyclopts skips it.
SettingPairs = Annotated[Pairs, Parameter(parse=False)]

_SETTING = re.compile(r"--([A-Za-z_][\w-]*(?:\.[A-Za-z_][\w-]*)+)(?:=(.*))?", re.DOTALL)


def split_settings(words: Sequence[str]) -> tuple[list[str], Pairs]:
    """Separate `--section.key value` and `--section.key=value` from the other words of a command line.

    A setting followed by another option, or by nothing, is switched on ('true'). Everything
    after a bare `--` is left as it is.
    """
    rest: list[str] = []
    pairs: list[tuple[str, str]] = []
    index = 0
    while index < len(words):
        word = words[index]
        if word == "--":
            rest.extend(words[index:])
            break
        match = _SETTING.fullmatch(word)
        if match is None:
            rest.append(word)
        elif match[2] is not None:
            pairs.append((match[1], match[2]))
        elif index + 1 < len(words) and not words[index + 1].startswith("--"):
            pairs.append((match[1], words[index + 1]))
            index += 1
        else:
            pairs.append((match[1], "true"))
        index += 1
    return rest, tuple(pairs)


def setting_layers(config: Path | None, settings: Pairs, **named: Any) -> list[Layer]:
    """Return the layers of settings: a settings file, options that are settings (`--seed 3`), `--section.key value`."""
    from maskling.config import load_toml, overrides

    found = [load_toml(config)] if config else []
    found += overrides((name.replace("__", "."), value) for name, value in named.items() if value is not None)
    return found + overrides(settings)


def setting_lines(resolved: Resolved[Any]) -> list[str]:
    """Return the lines of `--show`, one per setting: its dotted path, its value and its origin."""
    from maskling.config import flatten

    values = flatten(resolved.settings.model_dump())
    # The kind of a section comes first, because the meaning of the other settings depends on it.
    order = sorted(values, key=lambda path: (_section_index(path, values), not path.endswith(".kind")))
    return table(
        [[path, _setting_text(values[path]), resolved.origins.get(path, "default")] for path in order], indent=""
    )


def _section_index(path: str, values: dict[str, Any]) -> int:
    """Return the index of the first setting of a setting's section."""
    section = path.rpartition(".")[0]
    return next(index for index, other in enumerate(values) if other.rpartition(".")[0] == section)


def _setting_text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_setting_text, value))}]"
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


# What help, the reference and shell completion show of a verb's parameters.

_METAVARS = {Path: "PATH", str: "TEXT", int: "N", float: "NUMBER"}


_SECTION_HELP = {
    "corpus": "how text is read, such as --corpus.encoding gbk; see the reference",
    "columns": "columns of labelled files, such as --columns.text review; see the reference",
}


@dataclass(frozen=True)
class ParameterInfo:
    """An argument or an option of a verb. names: as typed; usage: of an argument, '[TEXT ...]'; metavar: ' N', or ''.

    choices: the values that it may have, if they are few. is_path: whether the value is a file or a folder.
    """

    names: tuple[str, ...]
    help: str
    is_option: bool
    metavar: str = ""
    usage: str = ""
    choices: tuple[str, ...] = ()
    is_path: bool = False


def parameters_of(function: Callable[..., Any], verb: str = "") -> list[ParameterInfo]:
    """Return the arguments and the options of a verb, from the signature that `bind` parses words with."""
    hints = get_type_hints(function, include_extras=True)
    found = []
    for parameter in inspect.signature(function).parameters.values():
        hint = hints[parameter.name]
        if hint == SettingPairs:
            sections = [section for section, _ in _SETTINGS.get(verb, [_CORPUS])] if verb else [""]
            for section in sections:
                what = _SECTION_HELP.get(section, "any setting; see the reference or 'maskling config'")
                found.append(ParameterInfo((f"--{section or 'SECTION'}.KEY",), what, True, " VALUE"))
            continue
        kind, extra = _type_and_parameter(hint)
        text = extra.help or ""
        if parameter.default not in (parameter.empty, None, False, ()):
            text += f" (default {parameter.default})"
        is_path = kind is Path or (extra.metavar or "").startswith(("FILE", "FOLDER", "SOURCE"))
        choices = tuple(map(str, get_args(kind))) if get_origin(kind) is Literal else ()
        if parameter.kind is parameter.KEYWORD_ONLY:
            name = f"--{parameter.name.replace('_', '-')}"
            short = next((short for short, long in SHORT_NAMES.items() if long == name), None)
            names = (short, name) if short else (name,)
            found.append(ParameterInfo(names, text, True, _metavar(kind, extra), "", choices, is_path))
            continue
        name = parameter.name.upper()
        usage = f"[{name} ...]" if parameter.kind is parameter.VAR_POSITIONAL else name
        if parameter.default is not parameter.empty:
            usage = f"[{name}]"
        found.append(ParameterInfo((name,), text, False, "", usage, choices, True))
    return found


def _type_and_parameter(hint: Any) -> tuple[Any, Parameter]:
    """Split an annotation into its type, without None, and its cyclopts Parameter."""
    extra = Parameter()
    if get_origin(hint) is Annotated:
        hint, *extras = get_args(hint)
        extra = next((one for one in extras if isinstance(one, Parameter)), extra)
    if get_origin(hint) in (Union, UnionType):
        hint = next(kind for kind in get_args(hint) if kind is not NoneType)
    return hint, extra


def _metavar(kind: Any, extra: Parameter) -> str:
    if kind is bool:
        return ""
    if extra.metavar:
        return f" {extra.metavar}"
    if get_origin(kind) is Literal:
        return f" {'|'.join(get_args(kind))}"
    if get_origin(kind) in (list, tuple):
        return f" {_METAVARS[get_args(kind)[0]]} ..."
    return f" {_METAVARS[kind]}"
