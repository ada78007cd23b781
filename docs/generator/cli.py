"""docs/reference/cli.md: the description, arguments and options of every verb, from the functions of the verbs."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from cyclopts import Parameter

from generator.markdown import prose, table, type_name, value
from maskling.cli import VERBS
from maskling.cli.options import SettingPairs

_INTRODUCTION = """\
# Commands

`maskling --help` lists the verbs, `maskling VERB --help` shows the options of one, `maskling --version` (`-V`) the
version. Results go to stdout, progress and warnings to stderr; with `--json` stdout carries JSON and nothing else.
Every verb takes `--quiet` (`-q`) and `--verbose` (`-v`); `-o` is short for `--out` and `-k` for `--top-k`. See also
[The command line](../guides/command-line.md).

Exit codes: 0 success, 2 an error that you can fix (the message says how), 1 an internal error, 130 stopped by Ctrl-C or
SIGTERM.
"""


def cli_page() -> str:
    """Return the page."""
    parts = [_INTRODUCTION]
    for verb, where in VERBS.items():
        module, name = where.split(":")
        parts.append(_verb(verb, getattr(import_module(module), name)))
    return "".join(parts)


def _verb(verb: str, function: Any) -> str:
    hints = get_type_hints(function, include_extras=True)
    parameters = inspect.signature(function).parameters.values()
    usage, arguments, options = [f"maskling {verb}"], [], []
    for parameter in parameters:
        hint = hints[parameter.name]
        if hint == SettingPairs:
            continue
        if parameter.kind is parameter.KEYWORD_ONLY:
            options.append(
                [f"`--{parameter.name.replace('_', '-')}`", _value_type(hint), _default(parameter), _help(hint)]
            )
            continue
        usage.append(_argument(parameter))
        arguments.append([f"`{parameter.name.upper()}`", _value_type(hint), _default(parameter), _help(hint)])
    settings = " [--SECTION.KEY VALUE ...]" if SettingPairs in hints.values() else ""
    about, _, example = prose(inspect.getdoc(function) or "").partition("Example: ")
    rows = table(("argument or option", "value", "default", "description"), [*arguments, *options])
    return (
        f"\n## {verb}\n\n```\n{' '.join(usage)} [OPTIONS]{settings}\n```\n\n{about.strip()}\n\n"
        f"Example:\n\n```\n{' '.join(example.split())}\n```\n\n{rows}"
    )


def _argument(parameter: inspect.Parameter) -> str:
    name = parameter.name.upper()
    if parameter.kind is parameter.VAR_POSITIONAL:
        return f"[{name} ...]"
    return name if parameter.default is parameter.empty else f"[{name}]"


def _value_type(hint: Any) -> str:
    kind = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    return "no value (a switch)" if kind is bool else type_name(kind).removesuffix(" or none")


def _default(parameter: inspect.Parameter) -> str:
    found = parameter.default
    return "" if found is parameter.empty or found is None or found is False else f"`{value(found)}`"


def _help(hint: Any) -> str:
    """Return the help of a parameter."""
    return next((prose(part.help) for part in get_args(hint) if isinstance(part, Parameter) and part.help), "")
