"""Reader of Markdown: the plain text without markup."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from maskling.corpus.decoding import decode, split_into_lines
from maskling.corpus.document import Document, Source
from maskling.corpus.opening import FileReport, open_bytes
from maskling.corpus.readers.html import visible_text
from maskling.corpus.settings import CorpusSettings

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_QUOTE = re.compile(r"^(?: {0,3}> ?)+")
_HEADING = re.compile(r"^ {0,3}#{1,6}\s+(.*?)(?:\s+#+)?\s*$")
_UNDERLINE = re.compile(r"^ {0,3}(?:=+|-{2,}|(?:[-*_]\s*){3,})\s*$")
_ITEM = re.compile(r"^\s*(?:[-*+]|\d{1,9}[.)])\s+(?:\[[ xX]\]\s+)?")
_TABLE_RULE = re.compile(r"^\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)+\|?\s*$")
_DEFINITION = re.compile(r"^ {0,3}\[[^\]]+\]:\s*\S+")
_FOOTNOTE = re.compile(r"^ {0,3}\[\^[^\]]+\]:\s*")
_HTML = re.compile(r"</?[a-zA-Z][^<>]*>|<!--")
# Applied in order. Bounded repeats keep the time linear on hostile input.
_INLINE = (
    (re.compile(r"!\[([^\[\]]{0,1000})\]\([^()\s]{0,2000}(?:\s[^()]{0,500})?\)"), r"\1"),
    (re.compile(r"\[\^[^\[\]]{1,100}\]"), ""),
    (re.compile(r"\[([^\[\]]{1,1000})\]\((?:[^()]|\([^()]{0,500}\)){0,2000}\)"), r"\1"),
    (re.compile(r"\[([^\[\]]{1,1000})\] ?\[[^\[\]]{0,200}\]"), r"\1"),
    (re.compile(r"<((?:https?|mailto):[^<>\s]{1,2000})>"), r"\1"),
    (re.compile(r"\*{1,3}(?=\S)([^*\n]{1,2000}?)(?<=\S)\*{1,3}"), r"\1"),
    (re.compile(r"(?<!\w)_{1,3}(?=\S)([^_\n]{1,2000}?)(?<=\S)_{1,3}(?!\w)"), r"\1"),
    (re.compile(r"~~(?=\S)([^~\n]{1,2000}?)(?<=\S)~~"), r"\1"),
)
_CODE = re.compile(r"(`{1,3})(?!`)([^\n]{1,2000}?)(?<!`)\1(?!`)")
_ESCAPE = re.compile(r"\\([!-/:-@\[-`{-~])")


def read_markdown(source: Source, settings: CorpusSettings, report: FileReport) -> Iterator[Document]:
    """Yield the file as one document."""
    with open_bytes(source, report) as stream:
        text = strip_markdown(split_into_lines(decode(stream, settings, report), settings.max_document_characters))
    if text:
        yield Document(text, source.name, source.location)


def strip_markdown(lines: Iterable[str]) -> str:
    """Return Markdown without markup: one line per paragraph, list item and table row.

    The text of code blocks is kept, line by line, as part of the content; front
    matter, link targets, image URLs and HTML tags are removed.
    """
    out: list[str] = []
    paragraph: list[str] = []

    def end_paragraph() -> None:
        if paragraph:
            out.append(_inline(" ".join(paragraph)))
            paragraph.clear()

    fence = ""
    for line in _without_front_matter(lines):
        line = line.rstrip("\n")
        mark = _FENCE.match(line)
        if fence:
            if mark and mark[1].startswith(fence) and not line.strip(" `~"):
                fence = ""
                out.append("")
            else:
                out.append(line)
            continue
        line = _QUOTE.sub("", line)
        mark = _FENCE.match(line)
        heading = _HEADING.match(line)
        if mark:
            end_paragraph()
            fence = mark[1]
            out.append("")
        elif not line.strip() or _UNDERLINE.match(line):
            end_paragraph()
            out.append("")
        elif heading:
            end_paragraph()
            out.extend(("", _inline(heading[1]), ""))
        elif _TABLE_RULE.match(line) or (_DEFINITION.match(line) and not _FOOTNOTE.match(line)):
            end_paragraph()
        elif line.lstrip().startswith("|"):
            end_paragraph()
            out.append(_inline(" ".join(cell.strip() for cell in line.strip().strip("|").split("|"))))
        else:
            item = _ITEM.match(line)
            if item:
                end_paragraph()
                line = line[item.end() :]
            paragraph.append(_FOOTNOTE.sub("", line).strip())
    end_paragraph()
    return re.sub(r"\n{3,}", "\n\n", "\n".join(out)).strip()


def _without_front_matter(lines: Iterable[str]) -> Iterator[str]:
    """Yield the lines without a block between '---' lines at the very top (or '+++', as in Hugo)."""
    held: list[str] = []
    rest = iter(lines)
    first = next(rest, None)
    if first is None:
        return
    rule = first.rstrip()
    if rule in ("---", "+++"):
        for line in rest:
            held.append(line)
            if line.rstrip() in (rule, "..." if rule == "---" else rule):
                held.clear()
                first = ""
                break
            if len(held) > 200:
                break
    if first:
        yield first
    yield from held
    yield from rest


def _inline(text: str) -> str:
    """Remove the inline markup of a line, except inside `code`."""
    parts: list[str] = []
    start = 0
    for code in _CODE.finditer(text):
        parts.extend((_without_marks(text[start : code.start()]), code[2].strip()))
        start = code.end()
    parts.append(_without_marks(text[start:]))
    return "".join(parts).strip()


def _without_marks(text: str) -> str:
    for pattern, kept in _INLINE:
        text = pattern.sub(kept, text)
    if _HTML.search(text) or "&" in text:
        # The HTML parser strips the ends, which here are the spaces around inline code.
        front, back = text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :]
        text = front + visible_text([text]) + back
    return _ESCAPE.sub(r"\1", text)
