"""`--section.key value` on the command line, and the listing that `--show` prints."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from maskling.cli.layout import table

if TYPE_CHECKING:
    from maskling.config import Layer, Resolved

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
