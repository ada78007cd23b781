"""Help of the command line: the overview of the verbs, and the options of one verb.

Not cyclopts' own: it needs rich, which takes `maskling train --help` from 0.14 to 0.30 s of processor time, and it has
no place for --SECTION.KEY and wraps the example, which is there to be copied. The overview imports no verb.
"""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Callable, Iterator, Mapping
from typing import Any

_MIN_WIDTH, _MAX_WIDTH = 40, 100
# Options of every verb.
COMMON_OPTIONS = (
    ("-q, --quiet", "print results, warnings and errors only"),
    ("-v, --verbose", "also print checkpoints, and the traceback of an error"),
    ("-h, --help", "show this help"),
)


def overview(groups: Mapping[str, Mapping[str, str]], about: str, example: str) -> list[str]:
    """Return the lines of `maskling --help`: one per verb, by group."""
    lines = ["maskling VERB ...", "", *_wrap(about)]
    indent = 4 + max(len(verb) for rows in groups.values() for verb in rows)
    for group, rows in groups.items():
        lines += ["", f"{group}:", *_two_columns(list(rows.items()), indent)]
    return [
        *lines,
        "",
        *_wrap("'maskling VERB --help' shows the options of a verb, 'maskling --version' (-V) the version."),
        *_example_lines(example),
    ]


def verb_help(verb: str, function: Callable[..., Any]) -> list[str]:
    """Return the lines of `maskling VERB --help`: usage, description, arguments, options, and a working example."""
    from maskling.cli.options import parameters_of

    *about, example = _paragraphs(function)
    parameters = parameters_of(function, verb)
    arguments = [one for one in parameters if not one.is_option]
    options = [(f"{', '.join(one.names)}{one.metavar}", one.help) for one in parameters if one.is_option]
    usage = ["maskling", verb, *(one.usage for one in arguments), "[OPTIONS]"]
    lines = _wrap(" ".join(usage))
    for paragraph in about:
        lines += ["", *_wrap(paragraph)]
    if arguments:
        lines += ["", *_two_columns([(one.names[0], one.help) for one in arguments])]
    lines += ["", *_two_columns([*options, *COMMON_OPTIONS])]
    return lines + _example_lines(example.removeprefix("Example:").strip())


def _paragraphs(function: Callable[..., Any]) -> list[str]:
    return [" ".join(part.split()) for part in textwrap.dedent(f"    {function.__doc__}").strip().split("\n\n")]


def _two_columns(rows: list[tuple[str, str]], indent: int | None = None) -> Iterator[str]:
    indent = indent or min(max(len(name) for name, _ in rows) + 4, 26)
    for name, text in rows:
        first, *rest = textwrap.wrap(text, width() - indent) or [""]
        if len(name) + 4 > indent:
            yield f"  {name}"
            yield " " * indent + first
        else:
            yield f"  {name}".ljust(indent) + first
        yield from (" " * indent + line for line in rest)


def _wrap(text: str) -> list[str]:
    return textwrap.wrap(text, width(), break_long_words=False, break_on_hyphens=False)


def _example_lines(example: str) -> list[str]:
    # Never wrapped, so that it can be copied.
    return ["", "Example:", *(f"  {line.strip()}" for line in example.split(" && "))]


def width() -> int:
    return max(_MIN_WIDTH, min(_MAX_WIDTH, shutil.get_terminal_size().columns))
