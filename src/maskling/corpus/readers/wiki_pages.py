"""Pages of a MediaWiki XML export, one after the other from blocks of text, of each only the last revision.

Text in these files has no '<' of its own, so that a search for tags finds nothing else. What is left out is passed
without being kept: a page with all its revisions takes no more memory than its longest one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

# MediaWiki stores at most 2 MiB of text per page; more means that an element is not closed.
LONGEST_TEXT: Final = 1 << 25
_LONGEST_TAG: Final = 1 << 16
_LONGEST_VALUE: Final = 1 << 14
_LONGEST_HEADER: Final = 1 << 20
_REFERENCE: Final = re.compile(r"&(?:#([0-9]{1,7})|#[xX]([0-9A-Fa-f]{1,6})|(lt|gt|quot|apos|amp));")
_NAMED: Final = {"lt": "<", "gt": ">", "quot": '"', "apos": "'", "amp": "&"}
_NAMESPACE: Final = re.compile(r'<namespace key="(-?\d{1,6})"[^<>]{0,200}>([^<>]{1,200})<')


@dataclass(slots=True)
class Header:
    """What a dump says about its wiki. database: 'dewiki'; language: 'de'; namespaces: their names by number."""

    found: bool
    database: str
    language: str
    namespaces: dict[int, str]


@dataclass(slots=True)
class Page:
    """A page. namespace: None if the dump does not say it; text: wikitext, None if it is deleted or was not read.

    problem: why the page is not whole.
    """

    title: str = ""
    id: str = ""
    namespace: int | None = None
    is_redirect: bool = False
    model: str = "wikitext"
    text: str | None = None
    problem: str | None = None


class PageReader:
    """The pages of one dump. header: complete once `pages` has begun."""

    def __init__(self, blocks: Iterator[str]) -> None:
        self._blocks = blocks
        self._text, self._at = "", 0
        self.header = self._read_header()

    def pages(self) -> Iterator[Page]:
        """Yield every page; those outside namespace 0 and redirects without their text."""
        begun = False
        while begun or self._skip_past("<page>"):
            page = Page()
            begun = self._read_page(page)
            page.title = unescaped(page.title)
            if page.text is not None:
                page.text = unescaped(page.text)
            yield page

    def _read_page(self, page: Page) -> bool:
        """Fill a page; return whether the next one began in its place."""
        while (tag := self._tag()) is not None:
            name = tag.partition(" ")[0]
            if name == "/page":
                return False
            if name == "page":
                page.problem = "is not closed"
                return True
            if name == "title":
                page.title = self._until("</title>", _LONGEST_VALUE) or ""
            elif name == "id" and not page.id:
                page.id = (self._until("</id>", _LONGEST_VALUE) or "").strip()
            elif name == "ns":
                value = (self._until("</ns>", _LONGEST_VALUE) or "").strip()
                page.namespace = int(value) if re.fullmatch(r"-?\d{1,6}", value) else None
            elif name == "revision" and page.namespace not in (0, None):
                break
            elif name.rstrip("/") == "redirect":
                page.is_redirect = True
                break
            elif name == "content":  # of another slot, such as the structured data of a picture
                self._skip_past("</content>")
            elif name == "model":
                page.model = (self._until("</model>", _LONGEST_VALUE) or "").strip()
            elif name.rstrip("/") == "text":
                page.text = self._revision(tag, page)
        if tag is None or not self._skip_past("</page>"):
            page.problem = "is cut off: the file ends in it"
            page.text = None
        return False

    def _revision(self, tag: str, page: Page) -> str | None:
        page.problem = None
        if tag.endswith("/"):
            return None if "deleted" in tag else ""
        text = self._until("</text>", LONGEST_TEXT)
        if text is None:
            page.problem = f"has a text of more than {LONGEST_TEXT:,} characters, or one that is not closed"
        return text

    def _read_header(self) -> Header:
        size = 0
        while "<page>" not in self._text and size < _LONGEST_HEADER and self._fill():
            size = len(self._text)
        start = self._text.find("<page>")
        text = self._text[: start if start >= 0 else _LONGEST_HEADER]
        database = re.search(r"<dbname>([^<>]{1,100})<", text)
        language = re.search(r'<mediawiki [^<>]{0,2000}xml:lang="([^"<>]{1,40})"', text)
        return Header(
            found="<mediawiki" in text or start >= 0,
            database=database[1].strip() if database is not None else "",
            language=language[1] if language is not None else "",
            namespaces={int(key): unescaped(name) for key, name in _NAMESPACE.findall(text)},
        )

    def _tag(self) -> str | None:
        """Return what is inside the next tag, and pass it; None at the end."""
        if not self._skip_past("<"):
            return None
        return self._until(">", _LONGEST_TAG) or ""

    def _skip_past(self, needle: str) -> bool:
        """Pass the next occurrence of `needle`; return whether there was one."""
        while (at := self._text.find(needle, self._at)) < 0:
            self._at = max(self._at, len(self._text) - len(needle) + 1)
            if not self._fill():
                return False
        self._at = at + len(needle)
        return True

    def _until(self, needle: str, longest: int) -> str | None:
        """Return the text before the next `needle`, and pass both; None if it is too long or there is none."""
        parts: list[str] = []
        size = 0
        while (at := self._text.find(needle, self._at)) < 0:
            # The needle may begin in this block and end in the next one.
            end = max(self._at, len(self._text) - len(needle) + 1)
            parts.append(self._text[self._at : end])
            size += len(parts[-1])
            self._at = end
            if size > longest:
                parts.clear()
            if not self._fill():
                return None
        parts.append(self._text[self._at : at])
        self._at = at + len(needle)
        return None if size + len(parts[-1]) > longest else "".join(parts)

    def _fill(self) -> bool:
        """Read another block; return whether there was one."""
        block = next(self._blocks, None)
        if block is None:
            return False
        self._text = self._text[self._at :] + block
        self._at = 0
        return True


def unescaped(text: str) -> str:
    """Return a text of XML with its references resolved, once."""
    return _REFERENCE.sub(_character, text) if "&" in text else text


def _character(reference: re.Match[str]) -> str:
    if reference[3]:
        return _NAMED[reference[3]]
    code = int(reference[1]) if reference[1] else int(reference[2], 16)
    return chr(code) if code < 0x110000 else reference[0]
