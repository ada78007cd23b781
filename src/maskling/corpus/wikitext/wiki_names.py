"""The language of a wiki, from the name of a file or a database: dewiki-20260901-pages-articles.xml.bz2 is German."""

from __future__ import annotations

import re
from typing import Final

from maskling.corpus.wikitext.language_tables import language_tables

_WIKI: Final = re.compile(
    r"(?:^|[/=_.\s-])([a-z]{2,12}(?:_[a-z]+){0,3}?)"
    r"wik(?:i|tionary|ibooks|inews|iquote|isource|iversity|ivoyage|imedia)(?=[-_.]|$)"
)
# Wikis whose name is not that of their language.
_NAMED: Final = {"simple": "en"}


def language_of_name(name: str) -> str | None:
    """Return the language code in the name of a dump or its database, or None if it names no wiki of a language."""
    found = _WIKI.search(name.lower())
    if found is None:
        return None
    code = _NAMED.get(found[1], found[1])
    known = code.replace("_", "-") in language_tables("en").interlanguage
    return code if known else None
