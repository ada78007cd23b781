"""Reader of HTML: the visible text, one paragraph per block element.

Pages are parsed as browsers parse them (by lexbor, through selectolax), so that unclosed and misnested elements keep
their text. Menus, controls and hidden elements are dropped and counted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from selectolax.lexbor import LexborHTMLParser

from maskling.corpus.decoding import decode
from maskling.corpus.document import Document, Source
from maskling.corpus.opening import FileReport, open_bytes
from maskling.corpus.settings import CorpusSettings
from maskling.corpus.web_encodings import page_encoding

_BLOCKS = frozenset(
    (
        *("address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "details", "dialog", "dir"),
        *("div", "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6"),
        *("header", "hgroup", "hr", "legend", "li", "listing", "main", "menu", "ol", "p", "plaintext", "pre", "search"),
        *("section", "summary", "table", "tbody", "tfoot", "thead", "tr", "ul", "xmp"),
    )
)
_PREFORMATTED = frozenset(("pre", "listing", "plaintext", "xmp"))
# Elements whose text is not part of the text of a page, though browsers show some of it: menus and controls; and
# readings of ruby, which would stand in the middle of a word.
_CHROME = ("nav", "button", "select", "textarea", "svg", "math", "canvas", "object", "audio", "video")
_UNSEEN = ("iframe", "noscript", "noembed", "noframes", "template", "title")
_NO_TEXT = ("head", "script", "style")
_READINGS = ("rt", "rp", "rtc")
_DROPPED = frozenset((*_CHROME, *_UNSEEN, *_NO_TEXT, *_READINGS))
_VOID = frozenset(
    (
        *("area", "base", "basefont", "bgsound", "br", "col", "embed", "frame", "hr", "img", "input", "keygen"),
        *("link", "meta", "param", "source", "track", "wbr"),
    )
)
_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
_XML_ENCODING = re.compile(rb"""\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([\w.:-]+)""")
_COMMENT = re.compile(rb"<!--.*?(?:-->|\Z)", re.DOTALL)
_SPACE = re.compile(r"[ \t\n\f\r]+")
_EMPTY_ELEMENT = re.compile(r"<([A-Za-z][\w:.-]*)((?:\s[^<>]*)?)/>")
# The tags of elements that may be left open, outside comments and code.
_TAG = re.compile(
    rf"<!--.*?(?:-->|\Z)|<(?:script|style)\b.*?(?:</(?:script|style)|\Z)"
    rf"|<(/?)({'|'.join((*_CHROME, *_UNSEEN))})(?=[\s>/])[^<>]*>",
    re.DOTALL | re.IGNORECASE,
)
_HIDDEN_STYLE = re.compile(r"(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*hidden)", re.IGNORECASE)
_MAY_HIDE = "[hidden], [style*='display' i], [style*='visibility' i]"
# Parsing takes time in proportion to the depth. Browsers stop at 512; real pages stay far below this.
_DEEPEST = 2000
_ANY_TAG = re.compile(r"<(/?)([A-Za-z][^\s<>/]*)[^<>]*>")
_CLOSED_BY_NEXT = frozenset((*("p", "li", "dd", "dt", "tr", "td", "th", "option", "tbody", "thead"), *_VOID))
# A page of which more is dropped is reported by name.
_MUCH_DROPPED = 0.5
_FEW_CHARACTERS = 200


def read_html(source: Source, settings: CorpusSettings, report: FileReport) -> Iterator[Document]:
    """Yield the page as one document."""
    with open_bytes(source, report) as stream:
        text = visible_text(decode(stream, settings, report, declared=declared_encoding), report)
    if text:
        yield Document(text, source.name, source.location)


def declared_encoding(block: bytes) -> str | None:
    """Return the encoding that a page declares as a browser understands it, or None if it declares none."""
    block = block[:4096]
    found = _XML_ENCODING.match(block) or _CHARSET.search(_COMMENT.sub(b"", block) if b"<!--" in block else block)
    return page_encoding(found[1].decode("ascii", "replace")) if found else None


def visible_text(blocks: Iterable[str], report: FileReport | None = None) -> str:
    """Return the text of HTML given in blocks: blank lines between paragraphs, line breaks for <br> and in <pre>.

    report: to count what is dropped.
    """
    page = _Page("".join(blocks))
    if report is not None:
        page.count_dropped(report)
    return page.text


class _Page:
    """The text of a page; dropped: characters that are no part of it, by the name of their element."""

    def __init__(self, html: str) -> None:
        self.dropped: Counter[str] = Counter()
        self._parts: list[str] = []
        self._pre = 0
        # An empty element of XHTML is one that browsers would take for open in HTML.
        if "/>" in html:
            html = _EMPTY_ELEMENT.sub(_closed, html)
        html = _without_deep_nesting(_without_open_elements(html))
        tree = LexborHTMLParser(html)
        self._hidden = {node.mem_id for node in tree.css(_MAY_HIDE) if _is_hidden(node)}
        self._walk(tree.root)
        text = re.sub(r"[ \t]+\n", "\n", "".join(self._parts))
        self.text = re.sub(r"\n{3,}", "\n\n", text).strip()

    def count_dropped(self, report: FileReport) -> None:
        """Add the counts to `report`, and a fault if most of the page is dropped."""
        for name, count in self.dropped.items():
            report.notes[f"characters in {name} were left out"] += count
        total = self.dropped.total()
        if total > _FEW_CHARACTERS and total > _MUCH_DROPPED * (total + len(self.text)):
            name, count = self.dropped.most_common(1)[0]
            report.add_fault(f"{total / (total + len(self.text)):.0%} of its text was left out, most of it in {name}")

    def _walk(self, root: Any) -> None:
        # Without recursion: pages nest thousands of elements.
        node = root
        while node is not None:
            below = None
            if node.is_text_node:
                self._add_text(node.text_content or "")
            elif node.is_element_node:
                name = node.tag
                dropped = self._dropped_as(node, name)
                if dropped is not None:
                    if dropped not in _NO_TEXT:
                        count = len("".join((node.text(deep=True) or "").split()))
                        self.dropped[dropped] += count
                else:
                    self._open(name)
                    below = node.first_child
                    if below is None:
                        self._close(name)
            elif node is root:
                below = node.first_child
            if below is not None:
                node = below
                continue
            while node is not None:
                following = node.next
                if following is not None:
                    node = following
                    break
                node = node.parent
                if node is not None and node.is_element_node:
                    self._close(node.tag)

    def _dropped_as(self, node: Any, name: str) -> str | None:
        """Return the name by which an element is counted if it is dropped: its tag, or 'hidden elements'."""
        if name in _DROPPED:
            return name if name in _NO_TEXT else f"<{name}>"
        return "hidden elements" if self._hidden and node.mem_id in self._hidden else None

    def _open(self, name: str) -> None:
        if name in _BLOCKS:
            self._parts.append("\n\n")
            self._pre += name in _PREFORMATTED
        elif name == "br":
            self._parts.append("\n")
        elif name in ("td", "th"):
            self._add_text(" ")

    def _close(self, name: str) -> None:
        if name in _BLOCKS:
            self._parts.append("\n\n")
            self._pre -= name in _PREFORMATTED

    def _add_text(self, text: str) -> None:
        if not self._pre:
            text = _SPACE.sub(" ", text)
            # White space may continue across a tag.
            if self._parts and self._parts[-1].endswith((" ", "\n")):
                text = text.removeprefix(" ")
        if text:
            self._parts.append(text)


def _is_hidden(node: Any) -> bool:
    if node.tag in ("html", "body"):  # pages hide these until a script has run
        return False
    attributes = node.attributes
    if "hidden" in attributes and attributes["hidden"] != "until-found":
        return True
    return _HIDDEN_STYLE.search(attributes.get("style") or "") is not None


def _closed(empty: re.Match[str]) -> str:
    name = empty[1]
    return empty[0] if name.lower() in _VOID else f"<{name}{empty[2]}></{name}>"


def _without_open_elements(html: str) -> str:
    """Return a page without the tags of elements that are dropped and that it leaves open: they would hold the rest."""
    opened: Counter[str] = Counter()
    for tag in _TAG.finditer(html):
        if tag[2]:
            opened[tag[2].lower()] += -1 if tag[1] else 1
    left_open = {name for name, count in opened.items() if count > 0}
    if not left_open:
        return html
    return _TAG.sub(lambda tag: " " if tag[2] and tag[2].lower() in left_open else tag[0], html)


def _without_deep_nesting(html: str) -> str:
    """Return a page without the tags that it opens thousands of times and never closes, which no browser follows."""
    if html.count("<") - 2 * html.count("</") < _DEEPEST:
        return html
    opened = Counter(name.lower() for _, name in _ANY_TAG.findall(html))
    closed = Counter(name.lower() for end, name in _ANY_TAG.findall(html) if end)
    excess = {name for name, count in opened.items() if count > 2 * closed[name] and name not in _CLOSED_BY_NEXT}
    if sum(opened[name] - 2 * closed[name] for name in excess) < _DEEPEST:
        return html
    return _ANY_TAG.sub(lambda tag: " " if tag[2].lower() in excess else tag[0], html)
