"""The first pass over wikitext: one regular expression finds the next token, a stack holds what is open.

Every token is looked at once and no pattern can backtrack over more than the stretch to the next bracket, so the time
grows with the length of the page whatever is in it. The depth of the stack is bounded, and for each kind of closing
tag the position of the next one is remembered, so that a thousand openings without an end cost one search.

Nothing that is opened and not closed swallows text: a heading closes all that is open, and what was inside comes back
as text, without the lines of arguments and cells.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from typing import Final

from maskling.corpus.wikitext.language_tables import DROP, LanguageTables, normalized
from maskling.corpus.wikitext.marks import BOLD, BOTH, GAP, ITALIC, LITERAL
from maskling.corpus.wikitext.tags import (
    ANY_TAG,
    BLOCK_TAGS,
    HIDDEN_STYLE,
    PAIRED,
    RAW_TAGS,
    TABLE_TAGS,
    ClosingTags,
)
from maskling.corpus.wikitext.templates import fill, superscript
from maskling.corpus.wikitext.variants import chosen_text

DEEPEST: Final = 60
_LONGEST_NAME: Final = 60
_MOST_NAMES: Final = 20_000
OTHERS: Final = "other templates"

# The characters of links that need no second look; '&' and apostrophes do.
_PLAIN: Final = r"[^\[\]{}|<>\n&'\ufdd0-\ufdd5]"
# Every alternative begins with a literal character, by which the engine skips plain text ten times as fast.
_TOKEN: Final = re.compile(
    rf"\[\[({_PLAIN}{{1,300}})(?:\|({_PLAIN}{{1,500}}))?\]\](?!\])"
    r"|\[\[?(?:(?:https?|ftps?|irc|gopher|svn|git)://|//|mailto:|news:)[^\s\[\]<>\"{}|]*"
    r"|\[\[+|\]\]*|''+|\{\{+|\}\}+|\||\}-"
    r"|\n(?:[ \t:*#;]{0,20}\{\||[ \t]{0,20}\|\}(?!\})|(?==)|(?=[ \t]{0,20}\n))"
    r"|<!--|<(?:/?[A-Za-z][A-Za-z0-9]{0,20}(?:[\s/][^<>]*)?)>"
    r"|&(?:[A-Za-z][A-Za-z0-9]{1,31}|\#[0-9]{1,7}|\#[xX][0-9A-Fa-f]{1,6});"
    r"|-\{(?!\{)|__\w{3,40}?__"
)
_SIMPLE_TEMPLATE: Final = re.compile(r"\{\{([^{}|\[\]<>\n&']{1,100})(\|[^{}\[\]<>]*)?\}\}(?!\})")
_NAMESPACE_TRAIL: Final = re.compile(r"\s*[(（][^()（）]{0,100}[)）]$")
_TEMPLATE, _PARAMETER, _LINK, _EXTERNAL, _TABLE, _VARIANT, _RAISED, _TAG = range(8)
_TEMPLATES: Final = frozenset((_TEMPLATE, _PARAMETER))
_TABLES: Final = frozenset((_TABLE,))
_LINKS: Final = frozenset((_LINK,))
_EXTERNALS: Final = frozenset((_EXTERNAL,))
_VARIANTS: Final = frozenset((_VARIANT,))
_WEAK: Final = frozenset((_EXTERNAL, _RAISED))
_SPLIT: Final = frozenset((_TEMPLATE, _PARAMETER, _LINK, _VARIANT))
# What a closing token does not look through.
_STOPS: Final = {
    _LINK: frozenset((_TEMPLATE, _PARAMETER, _TABLE, _VARIANT, _TAG)),
    _EXTERNAL: frozenset((_TEMPLATE, _PARAMETER, _TABLE, _VARIANT, _TAG, _LINK)),
    _TABLE: frozenset((_TEMPLATE, _PARAMETER)),
    _VARIANT: frozenset((_TEMPLATE, _PARAMETER, _TABLE)),
    _TAG: frozenset((_TEMPLATE, _PARAMETER)),
    _RAISED: frozenset((_TEMPLATE, _PARAMETER, _TABLE, _LINK)),
}


class _Frame:
    """Something open: the arguments that are complete, and the parts of the current one.

    begin: where it began; name: of a tag; is_file: whether a link is known to be that of a file.
    """

    __slots__ = ("arguments", "begin", "is_file", "kind", "name", "parts")

    def __init__(self, kind: int, begin: int, name: str = "") -> None:
        self.kind, self.begin, self.name = kind, begin, name
        self.arguments: list[str] = []
        self.parts: list[str] = []
        self.is_file = False

    def content(self) -> list[str]:
        """Return all arguments."""
        return [*self.arguments, "".join(self.parts)]


class Scanner:
    """A page that is being scanned. dropped: unknown templates that stood within text, by name."""

    def __init__(self, text: str, tables: LanguageTables, variant: str, formulas: bool) -> None:
        self._text, self._tables, self._variant, self._formulas = text, tables, variant, formulas
        self._stack: list[_Frame] = []
        self._top: list[str] = []
        self._parts = self._top
        self._closing = ClosingTags(text)
        self.dropped: Counter[str] = Counter()
        self.is_disambiguation = False

    def scan(self) -> str:
        """Return the text with marks where markup was; headings and lists are still marked up."""
        text, search = self._text, _TOKEN.search
        position = 0
        while (found := search(text, position)) is not None:
            start, end = found.span()
            if start > position:
                self._parts.append(text[position:start])
            first = text[start]
            if found[1] is not None:
                self._emit_link(found[1], found[2])
                position = end
            elif first == "{":
                position = self._open_braces(start, end)
            elif first == "}":
                position = self._close_braces(start, end)
            elif first == "'":
                self._parts.append({2: ITALIC, 3: BOLD, 4: f"'{BOLD}"}.get(end - start, BOTH))
                position = end
            elif first == "|":
                self._split()
                position = end
            elif first == "[":
                self._open_brackets(start, end)
                position = end
            elif first == "]":
                self._close_brackets(end - start)
                position = end
            elif first == "<":
                position = self._tag(start, end)
            elif first == "&":
                # A bracket that is written as an entity is no markup.
                self._parts.append(html.unescape(found[0]))
                position = end
            elif first == "\n":
                self._line(start, end)
                position = end
            elif first == "-":
                if not self._push(_VARIANT, start):
                    self._parts.append(GAP)
                position = end
            else:
                position = self._magic_word(start, end)
        self._parts.append(text[position:])
        self._unwind_to(0)
        return "".join(self._top)

    def _push(self, kind: int, begin: int, name: str = "") -> bool:
        """Open a frame, unless too many are open: then its markup is dropped, and what is inside is text."""
        if len(self._stack) >= DEEPEST:
            return False
        frame = _Frame(kind, begin, name)
        self._stack.append(frame)
        self._parts = frame.parts
        return True

    def _pop(self) -> _Frame:
        frame = self._stack.pop()
        self._parts = self._stack[-1].parts if self._stack else self._top
        return frame

    def _unwind_to(self, depth: int) -> None:
        """Give up the frames above a depth, and return what is in them as text."""
        while len(self._stack) > depth:
            frame = self._pop()
            self._parts.append(GAP + _given_up(frame))

    def _find(self, kinds: frozenset[int], stops: frozenset[int], name: str = "") -> int | None:
        """Return the index of the innermost frame of a kind that nothing in `stops` hides."""
        for index in range(len(self._stack) - 1, -1, -1):
            frame = self._stack[index]
            if frame.kind in kinds and (not name or frame.name == name):
                return index
            if frame.kind in stops:
                return None
        return None

    def _split(self) -> None:
        """End an argument at a '|', if it belongs to a template, a link or a variant."""
        stack = self._stack
        while stack and stack[-1].kind in _WEAK and any(frame.kind in _SPLIT for frame in stack):
            self._unwind_to(len(stack) - 1)
        if not stack or stack[-1].kind not in _SPLIT:
            self._parts.append("|")
            return
        frame = stack[-1]
        frame.arguments.append("".join(frame.parts))
        frame.parts.clear()
        if frame.kind == _LINK and len(frame.arguments) == 1:
            frame.is_file = self._namespace(frame.arguments[0]) in self._tables.file

    def _line(self, start: int, end: int) -> None:
        """Handle a line break before a heading, a table or its end, or a blank line."""
        token = self._text[start:end]
        stack = self._stack
        if token.endswith("{|"):
            self._parts.append("\n")
            self._push(_TABLE, start)
        elif token.endswith("|}"):
            index = self._find(_TABLES, _STOPS[_TABLE])
            if index is not None:
                self._unwind_to(index + 1)
                self._pop()
            self._parts.append("\n\n")
        elif end < len(self._text) and self._text[end] == "=":
            if stack and self._begins_heading(end):
                self._unwind_to(0)
            self._parts.append("\n")
        else:
            while stack and (stack[-1].kind in _WEAK or (stack[-1].kind == _LINK and not stack[-1].is_file)):
                self._unwind_to(len(stack) - 1)
            self._parts.append("\n")

    def _begins_heading(self, start: int) -> bool:
        end = self._text.find("\n", start)
        line = self._text[start : end if end >= 0 else len(self._text)].rstrip()
        for _ in range(3):
            if line.endswith("-->"):
                line = line[: max(0, line.rfind("<!--"))].rstrip()
        return len(line) > 2 and line.endswith("=")

    def _open_braces(self, start: int, end: int) -> int:
        text, count = self._text, end - start
        if count == 2:
            simple = _SIMPLE_TEMPLATE.match(text, start)
            if simple is not None:
                name = normalized(simple[1])
                pattern = self._pattern(name)
                if not pattern:
                    self._drop(name, pattern, start, simple.end())
                    return simple.end()
            if text.startswith("{{!}}", start):
                self._split()
                return start + 5
        # '{{{' is a parameter; of longer runs, pairs are templates.
        pairs, odd = divmod(count, 2)
        if odd:
            pairs -= 1
            if not self._push(_PARAMETER, start):
                self._parts.append(GAP)
        for _ in range(min(pairs, DEEPEST)):
            if not self._push(_TEMPLATE, start):
                self._parts.append(GAP)
                break
        return end

    def _close_braces(self, start: int, end: int) -> int:
        text, left = self._text, end - start
        if text[end - 1] == "-":
            index = self._find(_VARIANTS, _STOPS[_VARIANT])
            if index is not None:
                return self._close_variant(index, end)
            self._parts.append("}")
            return start + 1
        while left >= 2:
            index = self._find(_TEMPLATES, frozenset())
            if index is None:
                self._parts.append(GAP)
                left = 0
                break
            self._unwind_to(index + 1)
            frame = self._pop()
            if frame.kind == _PARAMETER:
                left -= 3 if left >= 3 else 2
                self._parts.append(GAP)
            else:
                left -= 2
                self._template(frame, end - left)
        if left and text.startswith("-", end):
            index = self._find(_VARIANTS, _STOPS[_VARIANT])
            if index is not None:
                return self._close_variant(index, end + 1)
        if left:
            self._parts.append("}")
        return end

    def _close_variant(self, index: int, end: int) -> int:
        self._unwind_to(index + 1)
        arguments = self._pop().content()
        flags = arguments[0] if len(arguments) > 1 else None
        body = "|".join(arguments[1:]) if len(arguments) > 1 else arguments[0]
        self._parts.append(chosen_text(flags, body, self._variant) or GAP)
        return end

    def _pattern(self, name: str) -> str | None:
        """Return the pattern of a template, `DROP`, or None. Magic words are known, and have no text here."""
        found = self._tables.pattern(name)
        if name in self._tables.disambiguation:
            self.is_disambiguation = True
        if found is None and (name.startswith("#") or (":" in name and not name.startswith("template:"))):
            return self._tables.pattern(name.partition(":")[0] + ":") or DROP
        return found

    def _drop(self, name: str, pattern: str | None, begin: int, end: int) -> None:
        """Leave a template out, and count it if it is not known and stood within a line of text."""
        text = self._text
        if pattern is None and not self._stack and name:
            alone = text[begin - 1 : begin] in ("", "\n") and text[end : end + 1] in ("", "\n")
            if not alone:
                shown = name[:_LONGEST_NAME]
                self.dropped[shown if shown in self.dropped or len(self.dropped) < _MOST_NAMES else OTHERS] += 1
        self._parts.append(GAP)

    def _template(self, frame: _Frame, end: int) -> None:
        """Put the text of a template that is closed in its place."""
        arguments = frame.arguments
        whole = arguments[0] if arguments else "".join(frame.parts)
        name = normalized(whole[:200].replace(GAP, ""))
        pattern = self._pattern(name)
        if not pattern:
            self._drop(name, pattern, frame.begin, end)
            return
        head, colon, rest = whole.partition(":")
        before = [rest] if colon and self._tables.pattern(normalized(head) + ":") == pattern else []
        arguments = [*before, *frame.content()[1:]]
        filled = fill(pattern, arguments)
        self._parts.append(filled or GAP)

    def _open_brackets(self, start: int, end: int) -> None:
        text = self._text
        if text[end - 1] != "[":
            if not self._push(_EXTERNAL, start, text[start : start + 2]):
                self._parts.append(GAP)
            return
        pairs, odd = divmod(end - start, 2)
        if odd:
            self._parts.append("[")
        for _ in range(min(pairs, DEEPEST)):
            if not self._push(_LINK, start):
                self._parts.append(GAP)
                break

    def _close_brackets(self, left: int) -> None:
        whole = left
        while left:
            top = self._stack[-1] if self._stack else None
            if top is not None and top.kind == _EXTERNAL:
                left -= 2 if top.name == "[[" and left > 1 else 1
                self._parts_of_external(self._pop())
                continue
            if left == 1:
                index = self._find(_EXTERNALS, _STOPS[_EXTERNAL])
                if index is not None and whole == 1:
                    self._unwind_to(index + 1)
                    self._parts_of_external(self._pop())
                else:
                    self._parts.append("]" if whole != 2 else "")
                return
            index = self._find(_LINKS, _STOPS[_LINK])
            if index is None:
                self._parts.append(GAP)
                return
            self._unwind_to(index + 1)
            frame = self._pop()
            left -= 2
            arguments = frame.content()
            self._emit_link(arguments[0], "|".join(arguments[1:]) if len(arguments) > 1 else None)

    def _parts_of_external(self, frame: _Frame) -> None:
        self._parts.append("".join(frame.parts).strip(" \t") or GAP)

    def _namespace(self, target: str) -> str:
        prefix, colon, _ = target[:200].partition(":")
        return normalized(prefix) if colon else ""

    def _emit_link(self, target: str, label: str | None) -> None:
        """Put the text of a link in its place: its label, else its target; nothing for files and categories."""
        tables = self._tables
        if ":" in target:
            stripped = target.lstrip(f" \t\n{GAP}")
            if stripped.startswith(":"):
                target = stripped[1:]
            else:
                space = self._namespace(stripped)
                if space in tables.file or space in tables.category or space in tables.interlanguage:
                    self._parts.append(GAP)
                    return
        if label is not None and not label.strip():
            # '[[Mercury (planet)|]]' is short for a label without what is in brackets.
            label = _NAMESPACE_TRAIL.sub("", target[-200:].rpartition(":")[2])
        text = target.strip().removeprefix("#") if label is None else label
        self._parts.append(text or GAP)

    def _tag(self, start: int, end: int) -> int:
        text = self._text
        if text.startswith("<!--", start):
            close = self._closing.find("-->", end)
            if close is None:
                self._parts.append(GAP)
                return end
            alone = text[start - 1 : start] in ("", "\n") and text[close[1] : close[1] + 1] == "\n"
            if not alone:
                self._parts.append(GAP)
            # A comment on a line of its own takes the line with it; the next break may belong to a heading.
            elif start:
                self._drop_break()
            return close[1]
        found = ANY_TAG.match(text, start)
        name = found[2].lower() if found is not None else ""
        if found is None or name not in PAIRED:
            self._parts.append("<")
            return start + 1
        closes, attributes = bool(found[1]), found[3]
        if name in RAW_TAGS and not closes:
            return self._raw(name, attributes, end)
        if name in TABLE_TAGS or name in ("sup", "rt", "rp", "span", "div"):
            self._paired(name, closes, attributes, start)
        elif name == "br":
            self._parts.append("\n")
        elif name in BLOCK_TAGS:
            self._parts.append("\n\n")
        elif name in RAW_TAGS:
            self._parts.append(GAP)
        return end

    def _drop_break(self) -> None:
        """Take back the line break before a comment that has its line to itself."""
        parts = self._parts
        while parts and not parts[-1]:
            parts.pop()
        if parts and parts[-1].endswith("\n"):
            parts[-1] = parts[-1][:-1]

    def _raw(self, name: str, attributes: str, end: int) -> int:
        """Pass an element whose content is not wikitext, and keep it where it is text."""
        if attributes.rstrip().endswith("/"):
            self._parts.append(GAP)
            return end
        close = self._closing.find(name, end)
        if close is None:
            self._parts.append(GAP)
            return end
        content = self._text[end : close[0]] if name == "nowiki" or (self._formulas and name in ("math", "ce")) else ""
        self._parts.append(LITERAL + html.unescape(content) if content else GAP)
        return close[1]

    def _paired(self, name: str, closes: bool, attributes: str, start: int) -> None:
        """Open or close an element whose content is raised, hidden or a table."""
        raised = name == "sup"
        if closes:
            kind = _RAISED if raised else _TAG
            index = self._find(frozenset((kind,)), _STOPS[kind], name)
            if index is not None:
                self._unwind_to(index + 1)
                frame = self._pop()
                self._parts.append(superscript("".join(frame.parts)) if raised else GAP)
            elif name == "div":
                self._parts.append("\n\n")
            return
        within = bool(self._stack) and self._stack[-1].kind == _TAG and self._stack[-1].name == name
        hides = name in ("table", "rt", "rp") or within or HIDDEN_STYLE.search(attributes) is not None
        if attributes.rstrip().endswith("/") or name in TABLE_TAGS - {"table"}:
            return
        if raised or hides:
            self._push(_RAISED if raised else _TAG, start, name)
        elif name == "div":
            self._parts.append("\n\n")

    def _magic_word(self, start: int, end: int) -> int:
        inner = self._text[start + 2 : end - 2]
        if inner != inner.upper() or any(map(str.isdigit, inner)) or not inner.strip("_"):
            self._parts.append("__")
            return start + 2
        if inner == "DISAMBIG":
            self.is_disambiguation = True
        self._parts.append(GAP)
        return end


def _given_up(frame: _Frame) -> str:
    """Return what was in a frame that is not closed as text, without the lines of arguments and cells."""
    content = frame.content()
    if frame.kind == _LINK:
        return content[-1] if frame.is_file or len(content) > 1 else content[0]
    if frame.kind in (_EXTERNAL, _RAISED, _TAG):
        return "".join(content)
    lines = "|".join(content).split("\n")
    kept = [line for line in lines[1:] if not line.lstrip().startswith(("|", "!"))]
    if frame.kind != _TABLE and "|" not in lines[0]:
        kept.insert(0, lines[0])
    elif kept:
        kept.insert(0, "")
    return "\n".join(kept)
