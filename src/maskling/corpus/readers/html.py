"""Reader of HTML: the visible text, one paragraph per block element."""

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
# Elements that are not part of the text of a page.
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
    """Return the encoding that a page declares, or None if it declares none that Python supports."""
    found = _CHARSET.search(block[:4096])
    if not found:
        return None
    name = found[1].decode("ascii")
    # A page in which these ASCII letters were found is not in UTF-16, whatever it declares; browsers agree.
    return name if is_encoding(name) and not name.lower().startswith(("utf-16", "utf-32")) else None


def visible_text(blocks: Iterable[str]) -> str:
    """Return the text of HTML given in blocks: blank lines between paragraphs, line breaks for <br> and in <pre>."""
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
        """Parse '<![ endif]>' and the like, which word processors write, as a comment, as browsers do."""
        try:
            return super().parse_marked_section(i, report)
        except AssertionError:  # raised by Python up to 3.13
            return self.parse_bogus_comment(i)

    def text(self) -> str:
        text = re.sub(r"[ \t]+\n", "\n", "".join(self._parts))
        return re.sub(r"\n{3,}", "\n\n", text).strip()

    def handle_starttag(self, tag: str, _attrs: list[tuple[str, str | None]]) -> None:
        if self._dropped:
            # </head> and <body> are optional: an element that does not belong in a head ends it.
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
        # <script/> and <p/> are complete elements in XHTML, the HTML of EPUB.
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
            # White space may continue across a tag, or across the border of two blocks.
            if self._parts and self._parts[-1].endswith((" ", "\n")):
                data = data.removeprefix(" ")
        if data:
            self._parts.append(data)
