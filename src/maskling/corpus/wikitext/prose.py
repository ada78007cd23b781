"""Wikitext to prose: what a reader of the page keeps of it, without tables, references and navigation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from maskling.corpus.wikitext.language_tables import LanguageTables
from maskling.corpus.wikitext.lines import to_paragraphs
from maskling.corpus.wikitext.marks import strip_marks
from maskling.corpus.wikitext.scanner import Scanner
from maskling.corpus.wikitext.settings import WikiSettings


@dataclass(frozen=True, slots=True)
class Prose:
    """The text of a page. dropped: templates within its text that are not in the tables, by name."""

    text: str
    is_disambiguation: bool
    dropped: Mapping[str, int]


def to_prose(wikitext: str, tables: LanguageTables, settings: WikiSettings) -> Prose:
    """Return the prose of a page. It never fails, and takes time in proportion to the page."""
    # In front of the first line stands a line break, as in front of every other.
    scanner = Scanner("\n" + strip_marks(wikitext), tables, settings.variant, settings.formulas == "keep")
    text = to_paragraphs(scanner.scan(), tables)
    return Prose(text, scanner.is_disambiguation, scanner.dropped)


def is_redirect(wikitext: str, tables: LanguageTables) -> bool:
    """Return whether a page only leads to another one."""
    start = wikitext[:200].lstrip(" \t\n:")
    if not start.startswith(("#", "＃")):
        return False
    word, bracket, _ = start[1:].partition("[[")
    return bool(bracket) and " ".join(word.split()).strip(" :").casefold() in tables.redirect
