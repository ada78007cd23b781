"""A command line as the function of a verb and its arguments, or one line that says what is wrong with it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

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

from maskling.cli.settings import split_settings
from maskling.errors import SettingsError, suggestion

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
