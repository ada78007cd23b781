"""The command line: binding words to a verb's function, settings as options, and help."""

from __future__ import annotations

import inspect
import re
import shutil
import textwrap
from collections.abc import Callable, Iterator, Sequence
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
from maskling.errors import SettingsError, suggestion

if TYPE_CHECKING:
    from maskling.config import Layer, Resolved

# cyclopts takes a lone "-" (standard input) for an option. No argument can hold a zero byte, so it stands in.
_DASH = "\0"
_COMMAND = "verb"  # the name of every command inside cyclopts, because a verb may have two words
_TYPE_NAMES = {"int": "a whole number", "float": "a number", "bool": "true or false"}


def bind(verb: str, function: Callable[..., Any], words: Sequence[str]) -> inspect.BoundArguments:
    """Return the arguments, settings included, with which `words` call the function of a verb.

    Raises SettingsError, in one line, for words that the verb does not accept.
    """
    rest, pairs = split_settings(words)
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
            return f"{verb} has no option {word}{suggestion(word, names) or f'; {see_help}'}"
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


# Help. Not cyclopts' own: it needs rich, which takes `maskling train --help` from 0.14 to 0.30 s of processor time, and
# it has no place for --SECTION.KEY and wraps the example, which is there to be copied.

_MIN_WIDTH, _MAX_WIDTH = 40, 100
_METAVARS = {Path: "PATH", str: "TEXT", int: "N", float: "NUMBER"}


def overview(verbs: dict[str, Callable[..., Any]], about: str, example: str) -> list[str]:
    """Return the lines of `maskling --help`: one per verb."""
    rows = [(verb, _paragraphs(function)[0].rstrip(".")) for verb, function in verbs.items()]
    return [
        "maskling VERB ...",
        "",
        *_wrap(about),
        "",
        *_two_columns(rows),
        "",
        *_wrap("'maskling VERB --help' shows the options of a verb, 'maskling --version' the version."),
        *_example_lines(example),
    ]


def verb_help(verb: str, function: Callable[..., Any]) -> list[str]:
    """Return the lines of `maskling VERB --help`: usage, description, arguments, options, and a working example."""
    *about, example = _paragraphs(function)
    arguments, options = _parameters(function)
    usage = ["maskling", verb, *(shown for shown, _, _ in arguments), "[OPTIONS]"]
    lines = [" ".join(usage)]
    for paragraph in about:
        lines += ["", *_wrap(paragraph)]
    if arguments:
        lines += ["", *_two_columns([(name, text) for _, name, text in arguments])]
    lines += ["", *_two_columns([*options, ("--help", "show this help")])]
    return lines + _example_lines(example.removeprefix("Example:").strip())


def _parameters(function: Callable[..., Any]) -> tuple[list[tuple[str, str, str]], list[tuple[str, str]]]:
    """Return (usage, name, help) of each argument, and (usage, help) of each option."""
    hints = get_type_hints(function, include_extras=True)
    arguments, options = [], []
    for parameter in inspect.signature(function).parameters.values():
        hint = hints[parameter.name]
        if hint == SettingPairs:
            options.append(("--SECTION.KEY VALUE", "any setting; see the reference or 'maskling init'"))
            continue
        kind, extra = _type_and_parameter(hint)
        text = extra.help or ""
        if parameter.default not in (parameter.empty, None, False, ()):
            text += f" (default {parameter.default})"
        name = parameter.name.upper()
        if parameter.kind is parameter.KEYWORD_ONLY:
            options.append((f"--{parameter.name.replace('_', '-')}{_metavar(kind, extra)}", text))
        elif parameter.kind is parameter.VAR_POSITIONAL:
            arguments.append((f"[{name} ...]", name, text))
        else:
            arguments.append((name if parameter.default is parameter.empty else f"[{name}]", name, text))
    return arguments, options


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
    if get_origin(kind) is list:
        return f" {_METAVARS[get_args(kind)[0]]} ..."
    return f" {_METAVARS[kind]}"


def _paragraphs(function: Callable[..., Any]) -> list[str]:
    return [" ".join(part.split()) for part in (inspect.getdoc(function) or "").split("\n\n")]


def _two_columns(rows: list[tuple[str, str]]) -> Iterator[str]:
    indent = min(max(len(name) for name, _ in rows) + 4, 26)
    for name, text in rows:
        first, *rest = textwrap.wrap(text, _width() - indent) or [""]
        if len(name) + 4 > indent:
            yield f"  {name}"
            yield " " * indent + first
        else:
            yield f"  {name}".ljust(indent) + first
        yield from (" " * indent + line for line in rest)


def _wrap(text: str) -> list[str]:
    return textwrap.wrap(text, _width(), break_long_words=False, break_on_hyphens=False)


def _example_lines(example: str) -> list[str]:
    # Never wrapped, so that it can be copied.
    return ["", "Example:", *(f"  {line.strip()}" for line in example.split(" && "))]


def _width() -> int:
    return max(_MIN_WIDTH, min(_MAX_WIDTH, shutil.get_terminal_size().columns))
