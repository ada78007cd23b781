"""What `--help` says: made from the verbs' functions, their docstrings and the help of their parameters."""

from __future__ import annotations

import inspect
import shutil
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from cyclopts import Parameter

from maskling.cli.settings import SettingPairs

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
