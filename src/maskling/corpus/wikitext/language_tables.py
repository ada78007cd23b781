"""What depends on the language of a wiki: names of namespaces, headings that end an article, templates.

Each language is a TOML file in `tables/`; `common.toml` and `en.toml` hold for all of them, because most wikis take
English names as well:

    file, category      names of these namespaces
    redirect            words after '#' that begin a redirect
    disambiguation      templates on pages that only list other pages
    stop                headings whose sections are left out, with those below them
    drop                templates without text to keep; a final '*' stands for any ending
    [keep]              templates with text to keep, and a pattern of it, see `templates.py`
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

_COMMON: Final = ("common", "en")
DROP: Final = ""
_SHORTEST_NAMESPACE: Final = 2
# Wikis whose codes are not those of their languages, and languages written in the same words.
_SAME: Final = {
    "simple": "en",
    "nds": "de",
    "als": "de",
    "bar": "de",
    "zh_classical": "zh",
    "zh_yue": "zh",
    "yue": "zh",
    "wuu": "zh",
    "gan": "zh",
    "hak": "zh",
    "zh_min_nan": "zh",
    "be": "ru",
    "be_x_old": "ru",
    "arz": "ar",
}


@dataclass(frozen=True, slots=True)
class LanguageTables:
    """The tables of one language, with the English ones beneath them. Names are casefolded, with single spaces.

    templates: the pattern of each known template, `DROP` for those without text; prefixes: the same for names that
    begin so; lengths: of the prefixes, the longest first.
    """

    language: str
    has_own: bool
    file: frozenset[str]
    category: frozenset[str]
    interlanguage: frozenset[str]
    redirect: frozenset[str]
    disambiguation: frozenset[str]
    stop: frozenset[str]
    templates: Mapping[str, str]
    prefixes: Mapping[str, str]
    lengths: tuple[int, ...]

    def pattern(self, template: str) -> str | None:
        """Return the pattern of a template by its normalized name, `DROP`, or None if it is not known."""
        found = self.templates.get(template)
        if found is not None:
            return found
        if template.endswith(" icon"):
            return DROP
        for length in self.lengths:
            found = self.prefixes.get(template[:length])
            if found is not None:
                return found
        return None


def normalized(name: str) -> str:
    """Return the name of a template, namespace or heading as the tables have it."""
    return " ".join(name.replace("_", " ").split()).casefold()


def has_table(language: str) -> bool:
    """Return whether there is a table of this language."""
    return (files(__package__) / "tables" / f"{_SAME.get(language, language)}.toml").is_file()


@cache
def language_tables(language: str, file: tuple[str, ...] = (), category: tuple[str, ...] = ()) -> LanguageTables:
    """Return the tables of a language; of one without a file, the English ones.

    file, category: more names of these namespaces, as a dump declares them.
    """
    own = _SAME.get(language, language)
    has_own = own != "en" and has_table(own)
    layers = [_read(name) for name in (*_COMMON, *([own] if has_own else []))]

    def names(key: str, more: Iterable[str] = ()) -> frozenset[str]:
        return frozenset(normalized(name) for layer in layers for name in layer.get(key, ())).union(
            normalized(name) for name in more
        )

    templates: dict[str, str] = {}
    prefixes: dict[str, str] = {}
    for layer in layers:
        for name, pattern in {**dict.fromkeys(layer.get("drop", ()), DROP), **layer.get("keep", {})}.items():
            known = normalized(name.removesuffix("*"))
            if name.endswith("*"):
                # A space before the asterisk counts: 'cite *' is not 'cited'.
                prefixes[known + (" " if name.endswith(" *") else "")] = pattern
            else:
                templates[known] = pattern
    # A dump of one language may hold pages of another, and a word for 'file' begins no label in any of them.
    spaces = [_read(name) for name in _all_languages()]

    def of_all(key: str) -> list[str]:
        return [name for layer in spaces for name in layer.get(key, ()) if len(name) >= _SHORTEST_NAMESPACE]

    disambiguation = names("disambiguation")
    return LanguageTables(
        language=language,
        has_own=has_own or own == "en",
        file=names("file", (*file, *of_all("file"))),
        category=names("category", (*category, *of_all("category"))),
        interlanguage=names("interlanguage"),
        redirect=names("redirect"),
        disambiguation=disambiguation,
        stop=names("stop"),
        templates=dict.fromkeys(disambiguation, DROP) | templates,
        prefixes=prefixes,
        lengths=tuple(sorted(set(map(len, prefixes)), reverse=True)),
    )


@cache
def _all_languages() -> tuple[str, ...]:
    names = (entry.name for entry in (files(__package__) / "tables").iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))


@cache
def _read(language: str) -> dict[str, Any]:
    return tomllib.loads((files(__package__) / "tables" / f"{language}.toml").read_text(encoding="utf-8"))
