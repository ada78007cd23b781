"""The tags that wikitext may have: which hold text, which hold something else, and where the next one closes."""

from __future__ import annotations

import re
from typing import Final

# Elements whose content is no wikitext, or none of the article: left out, except for nowiki.
RAW_TAGS: Final = frozenset(
    (
        *("ref", "references", "nowiki", "pre", "math", "chem", "ce", "score", "timeline", "gallery", "imagemap"),
        *("syntaxhighlight", "source", "hiero", "graph", "mapframe", "maplink", "templatedata", "templatestyles"),
        *("inputbox", "categorytree", "includeonly", "indicator", "charinsert", "rss", "quiz", "phonos", "chart"),
        *("section", "labeledsectiontransclusion", "dynamicpagelist", "style", "script", "embedvideo", "math-chem"),
    )
)
TABLE_TAGS: Final = frozenset(("table", "tr", "td", "th", "tbody", "thead", "tfoot", "caption", "col", "colgroup"))
BLOCK_TAGS: Final = frozenset(
    (
        *("p", "blockquote", "center", "poem", "hr", "ul", "ol", "li", "dl", "dt", "dd", "dir", "menu", "article"),
        *("h1", "h2", "h3", "h4", "h5", "h6", "main", "aside", "header", "footer", "figure", "figcaption"),
    )
)
_INLINE: Final = frozenset(
    (
        *("b", "i", "u", "s", "em", "strong", "small", "big", "sub", "tt", "code", "kbd", "samp", "var", "cite", "q"),
        *("del", "ins", "strike", "font", "abbr", "dfn", "mark", "time", "data", "bdi", "bdo", "ruby", "rb", "rtc"),
        *(
            "wbr",
            "noinclude",
            "onlyinclude",
            "translate",
            "languages",
            "tvar",
            "nobr",
            "noindex",
            "a",
            "img",
            "acronym",
        ),
        *("acronym", "link", "meta", "button", "input", "form", "label", "blink", "basefont", "nobreak"),
    )
)
# Every name that is a tag here; '<x>' of another name is text.
PAIRED: Final = RAW_TAGS | TABLE_TAGS | BLOCK_TAGS | _INLINE | {"br", "sup", "rt", "rp", "span", "div"}
ANY_TAG: Final = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9]{0,20})((?:[\s/][^<>]*)?)>")
HIDDEN_STYLE: Final = re.compile(r"display\s{0,5}:\s{0,5}none", re.IGNORECASE)
_CLOSING: Final = {name: re.compile(rf"</{name}(?:\s[^<>]*)?>", re.IGNORECASE) for name in RAW_TAGS}
# One that ends in '/>' holds nothing.
_OPENING: Final = {name: re.compile(rf"<{name}(?:\s[^<>]*[^<>/]|\s)?>", re.IGNORECASE) for name in RAW_TAGS}


class ClosingTags:
    """Where the next closing tag of each name is, searched for once for all openings before it."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._closings: dict[str, tuple[int, int] | None] = {}
        self._openings: dict[str, int | None] = {}

    def find(self, name: str, start: int) -> tuple[int, int] | None:
        """Return where the next closing tag begins and ends, or None without one.

        name: of a tag, or '-->'. An element that begins again before it is closed is not closed; nowiki may hold
        anything, and comments hold others unless a heading stands between.
        """
        closing = self._closing(name, start)
        if closing is None or name == "nowiki":
            return closing
        again = self._opening(name, start)
        if again is None or again > closing[0]:
            return closing
        return closing if name == "-->" and self._text.find("\n==", start, again) < 0 else None

    def _closing(self, name: str, start: int) -> tuple[int, int] | None:
        known = self._closings.get(name, (-1, -1))
        if known is None or known[0] >= start:
            return known
        if name == "-->":
            at = self._text.find(name, start)
            found = (at, at + 3) if at >= 0 else None
        else:
            match = _CLOSING[name].search(self._text, start)
            found = match.span() if match is not None else None
        self._closings[name] = found
        return found

    def _opening(self, name: str, start: int) -> int | None:
        known = self._openings.get(name, -1)
        if known is None or known >= start:
            return known
        if name == "-->":
            at = self._text.find("<!--", start)
            found = at if at >= 0 else None
        else:
            match = _OPENING[name].search(self._text, start)
            found = match.start() if match is not None else None
        self._openings[name] = found
        return found
