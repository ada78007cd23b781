"""A command line as the function of a verb and its arguments, or one line that says what is wrong with it."""

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

# FOLDED DOCS
# [settings] `--section.key value` on the command line, and the listing that `--show` prints.
# [help] What `--help` says: made from the verbs' functions, their docstrings and the help of their parameters.


# A lone "-" is standard input, but cyclopts takes it for an option. No argument can hold a zero byte.
_DASH = "\0"
_COMMAND = "verb"  # what cyclopts calls each of them: ours may have two words
_KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false"}


def bind(verb: str, function: Callable[..., Any], words: Sequence[str]) -> inspect.BoundArguments:
    """The arguments that `words` give to the function of a verb, its settings among them.

    Raises SettingsError, in one line, for what the verb does not take.
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
        _, bound, left_out = app.parse_args([_COMMAND, *rest], exit_on_error=False, print_error=False)
    except CycloptsError as error:
        raise SettingsError(_said(error, verb)) from None
    if "settings" in left_out:
        bound.arguments["settings"] = pairs
    elif pairs:
        raise SettingsError(f"'maskling {verb}' takes no settings, so --{pairs[0][0]} has no meaning here")
    bound.arguments.update({name: _undashed(value) for name, value in bound.arguments.items()})
    return bound


def _said(error: CycloptsError, verb: str) -> str:
    more = f"'maskling {verb} --help' says what it takes"
    match error:
        case UnknownOptionError():
            word = error.token.keyword or error.token.value
            names = [name for argument in error.argument_collection or () for name in argument.names]
            return f"{verb} has no option {word}{suggestion(word, names) or f'; {more}'}"
        case MissingArgumentError() if error.argument is not None:
            name = error.keyword or error.argument.name
            positional = error.argument.field_info.kind is not inspect.Parameter.KEYWORD_ONLY
            return f"{verb} needs {name.lstrip('-').upper()}; {more}" if positional else f"{name} needs a value; {more}"
        case UnusedCliTokensError():
            return f"{verb} has no place for '{(error.unused_tokens or [''])[0]}'; {more}"
        case CoercionError() if error.token is not None and error.argument is not None:
            choices = error.argument.get_choices()
            wanted = (
                f"one of {', '.join(choices)}" if choices else _KINDS.get(_name(error.target_type), "another value")
            )
            return f"{error.argument.name}: '{error.token.value}' is not {wanted}"
        case RepeatArgumentError():
            return f"{error.token.keyword} is given twice; leave one of them out"
    return " ".join(str(error).split())


def _name(kind: object) -> str:
    return getattr(kind, "__name__", "")


def _undashed(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return type(value)(_undashed(inner) for inner in value)
    return type(value)("-") if isinstance(value, str | Path) and str(value) == _DASH else value


Pairs = tuple[tuple[str, str], ...]
# A verb with a parameter of this type takes settings; `parsing.bind` fills it in, cyclopts leaves it alone.
SettingPairs = Annotated[Pairs, Parameter(parse=False)]

_SETTING = re.compile(r"--([A-Za-z_][\w-]*(?:\.[A-Za-z_][\w-]*)+)(?:=(.*))?", re.DOTALL)


def split_settings(words: Sequence[str]) -> tuple[list[str], Pairs]:
    """Take `--section.key value` and `--section.key=value` out of a command line.

    A setting followed by another option, or by nothing, is switched on ('true'). Everything
    after a bare `--` is left as it is.
    """
    rest: list[str] = []
    pairs: list[tuple[str, str]] = []
    place = 0
    while place < len(words):
        word = words[place]
        if word == "--":
            rest.extend(words[place:])
            break
        match = _SETTING.fullmatch(word)
        if match is None:
            rest.append(word)
        elif match[2] is not None:
            pairs.append((match[1], match[2]))
        elif place + 1 < len(words) and not words[place + 1].startswith("--"):
            pairs.append((match[1], words[place + 1]))
            place += 1
        else:
            pairs.append((match[1], "true"))
        place += 1
    return rest, tuple(pairs)


def layers(config: Path | None, settings: Pairs, **named: Any) -> list[Layer]:
    """A settings file, then options that are settings too (`--seed 3`), then `--section.key value`."""
    from maskling.config import load_toml, overrides

    found = [load_toml(config)] if config else []
    found += overrides((name.replace("__", "."), value) for name, value in named.items() if value is not None)
    return found + overrides(settings)


def shown(resolved: Resolved[Any]) -> list[str]:
    """Every setting on a line: its dotted path, its value, where the value came from."""
    from maskling.config import flatten

    values = flatten(resolved.settings.model_dump())
    # What kind a section is of says what its other settings mean, so it stands first.
    order = sorted(values, key=lambda path: (_section(path, values), not path.endswith(".kind")))
    return table([[path, _literal(values[path]), resolved.origins.get(path, "default")] for path in order], indent="")


def _section(path: str, values: dict[str, Any]) -> int:
    """Where the section of a setting begins among all."""
    section = path.rpartition(".")[0]
    return next(place for place, other in enumerate(values) if other.rpartition(".")[0] == section)


def _literal(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_literal, value))}]"
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


_NARROWEST, _WIDEST = 40, 100
_VALUES = {Path: "PATH", str: "TEXT", int: "N", float: "NUMBER"}


def overview(verbs: dict[str, Callable[..., Any]], about: str, example: str) -> list[str]:
    """The verbs, a line each."""
    rows = [(verb, _paragraphs(function)[0].rstrip(".")) for verb, function in verbs.items()]
    return [
        "maskling VERB ...",
        "",
        *_wrapped(about),
        "",
        *_rows(rows),
        "",
        *_wrapped("'maskling VERB --help' says what a verb takes; 'maskling --version' which maskling this is."),
        *_example(example),
    ]


def verb_help(verb: str, function: Callable[..., Any]) -> list[str]:
    """What a verb does and takes, and an example that works."""
    *about, example = _paragraphs(function)
    arguments, options = _parameters(function)
    usage = ["maskling", verb, *(shown for shown, _, _ in arguments), "[OPTIONS]"]
    lines = [" ".join(usage)]
    for paragraph in about:
        lines += ["", *_wrapped(paragraph)]
    if arguments:
        lines += ["", *_rows([(name, text) for _, name, text in arguments])]
    return [*lines, "", *_rows([*options, ("--help", "say this")]), *_example(example.removeprefix("Example:").strip())]


def _parameters(function: Callable[..., Any]) -> tuple[list[tuple[str, str, str]], list[tuple[str, str]]]:
    """(usage, name, help) of each argument, and (usage, help) of each option."""
    hints = get_type_hints(function, include_extras=True)
    arguments, options = [], []
    for parameter in inspect.signature(function).parameters.values():
        hint = hints[parameter.name]
        if hint == SettingPairs:
            options.append(
                ("--SECTION.KEY VALUE", "any setting; the reference and 'maskling init' say what each means")
            )
            continue
        kind, said = _taken_apart(hint)
        text = said.help or ""
        if parameter.default not in (parameter.empty, None, False, ()):
            text += f" (default {parameter.default})"
        name = parameter.name.upper()
        if parameter.kind is parameter.KEYWORD_ONLY:
            options.append((f"--{parameter.name.replace('_', '-')}{_value(kind, said)}", text))
        elif parameter.kind is parameter.VAR_POSITIONAL:
            arguments.append((f"[{name} ...]", name, text))
        else:
            arguments.append((name if parameter.default is parameter.empty else f"[{name}]", name, text))
    return arguments, options


def _taken_apart(hint: Any) -> tuple[Any, Parameter]:
    """The type that a person gives, and what is said of it."""
    said = Parameter()
    if get_origin(hint) is Annotated:
        hint, *extras = get_args(hint)
        said = next((extra for extra in extras if isinstance(extra, Parameter)), said)
    if get_origin(hint) in (Union, UnionType):
        hint = next(kind for kind in get_args(hint) if kind is not NoneType)
    return hint, said


def _value(kind: Any, said: Parameter) -> str:
    if kind is bool:
        return ""
    if said.metavar:
        return f" {said.metavar}"
    if get_origin(kind) is Literal:
        return f" {'|'.join(get_args(kind))}"
    if get_origin(kind) is list:
        return f" {_VALUES[get_args(kind)[0]]} ..."
    return f" {_VALUES[kind]}"


def _paragraphs(function: Callable[..., Any]) -> list[str]:
    return [" ".join(part.split()) for part in (inspect.getdoc(function) or "").split("\n\n")]


def _rows(rows: list[tuple[str, str]]) -> Iterator[str]:
    indent = min(max(len(name) for name, _ in rows) + 4, 26)
    for name, text in rows:
        first, *rest = textwrap.wrap(text, _width() - indent) or [""]
        if len(name) + 4 > indent:
            yield f"  {name}"
            yield " " * indent + first
        else:
            yield f"  {name}".ljust(indent) + first
        yield from (" " * indent + line for line in rest)


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _width(), break_long_words=False, break_on_hyphens=False)


def _example(example: str) -> list[str]:
    # Never wrapped, so that it can be copied.
    return ["", "Example:", *(f"  {line.strip()}" for line in example.split(" && "))]


def _width() -> int:
    return max(_NARROWEST, min(_WIDEST, shutil.get_terminal_size().columns))
