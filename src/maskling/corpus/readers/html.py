"""The visible text of HTML, a paragraph for each block."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from html.parser import HTMLParser

from maskling.corpus.decoding import decode
from maskling.corpus.document import Document, Source
from maskling.corpus.opening import FileReport, open_bytes
from maskling.corpus.settings import CorpusSettings, is_encoding

_BLOCKS = frozenset(
    (
        *("address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "details", "dialog", "div"),
        *("dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6"),
        *("header", "hr", "li", "main", "menu", "ol", "p", "pre", "section", "summary", "table", "tbody", "tfoot"),
        *("thead", "tr", "ul"),
    )
)
# What a reader of the page does not read as its text.
_DROPPED = frozenset(
    (
        *("head", "script", "style", "nav", "noscript", "template", "svg", "math", "canvas", "iframe", "object"),
        *("audio", "video", "button", "select", "textarea"),
    )
)
_HEAD = frozenset(("title", "meta", "link", "base", "script", "style", "noscript", "template"))
_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
_SPACE = re.compile(r"[ \t\n\f\r]+")


def read_html(source: Source, settings: CorpusSettings, report: FileReport) -> Iterator[Document]:
    """Yield the page as one document."""
    with open_bytes(source, report) as stream:
        text = visible_text(decode(stream, settings, report, declared=declared_encoding))
    if text:
        yield Document(text, source.name, source.location)


def declared_encoding(block: bytes) -> str | None:
    """The encoding that the page names for itself, if Python knows it."""
    found = _CHARSET.search(block[:4096])
    if not found:
        return None
    name = found[1].decode("ascii")
    # A page that could be searched for these letters is not in UTF-16, whatever it says; browsers agree.
    return name if is_encoding(name) and not name.lower().startswith(("utf-16", "utf-32")) else None


def visible_text(blocks: Iterable[str]) -> str:
    """The text of HTML that comes in blocks: a blank line between paragraphs, a line break for <br> and in <pre>."""
    page = _Page()
    for block in blocks:
        page.feed(block)
    page.close()
    return page.text()


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._parts: list[str] = []
        self._dropped: list[str] = []
        self._pre = 0

    def parse_marked_section(self, i: int, report: bool = True) -> int:
        """'<![ endif]>' and the like, as word processors write it: no more than a comment to browsers."""
        try:
            return super().parse_marked_section(i, report)
        except AssertionError:  # Python's own word for it, up to 3.13
            return self.parse_bogus_comment(i)

    def text(self) -> str:
        text = re.sub(r"[ \t]+\n", "\n", "".join(self._parts))
        return re.sub(r"\n{3,}", "\n\n", text).strip()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        if self._dropped:
            # </head> and <body> may be left out: whatever does not belong in a head ends it.
            if self._dropped == ["head"] and tag not in _HEAD:
                self._dropped.clear()
            elif tag == self._dropped[-1] or tag in ("script", "style"):
                self._dropped.append(tag)
                return
            else:
                return
        if tag in _DROPPED:
            self._dropped.append(tag)
        elif tag in _BLOCKS:
            self._parts.append("\n\n")
            if tag == "pre":
                self._pre += 1
        elif tag == "br":
            self._parts.append("\n")
        elif tag in ("td", "th"):
            self.handle_data(" ")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        # <script/> and <p/> are whole elements in XHTML, as EPUB has it.
        if tag not in _DROPPED:
            self.handle_starttag(tag, attrs)
            if tag == "pre":
                self._pre -= 1

    def handle_endtag(self, tag: str) -> None:
        if self._dropped:
            if tag == self._dropped[-1]:
                self._dropped.pop()
            return
        if tag in _BLOCKS:
            self._parts.append("\n\n")
            if tag == "pre" and self._pre:
                self._pre -= 1

    def handle_data(self, data: str) -> None:
        if self._dropped:
            return
        if not self._pre:
            data = _SPACE.sub(" ", data)
            # A run of white space may lie on both sides of a tag, or of the border of two blocks.
            if self._parts and self._parts[-1].endswith((" ", "\n")):
                data = data.removeprefix(" ")
        if data:
            self._parts.append(data)
