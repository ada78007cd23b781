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

from maskling.corpus.wikitext import tags
from maskling.corpus.wikitext.frames import (
    DEEPEST,
    EXTERNAL,
    EXTERNALS,
    LINK,
    LINKS,
    PARAMETER,
    RAISED,
    SPLIT,
    STOPS,
    TABLE,
    TABLES,
    TAG,
    TEMPLATE,
    TEMPLATES,
    VARIANT,
    VARIANTS,
    WEAK,
    Frame,
    OpenFrames,
)
from maskling.corpus.wikitext.language_tables import DROP, LanguageTables, normalized
from maskling.corpus.wikitext.lines import begins_heading
from maskling.corpus.wikitext.marks import BOLD, BOTH, GAP, ITALIC, LITERAL
from maskling.corpus.wikitext.templates import fill, superscript
from maskling.corpus.wikitext.variants import chosen_text

_LONGEST_NAME: Final = 60
_MOST_NAMES: Final = 20_000
OTHERS: Final = "other templates"

# The characters of links that need no second look; '&' and apostrophes do.
_PLAIN: Final = r"[^\[\]{}|<>\n&'\ufdd0-\ufdd5]"
# Every alternative begins with a literal character, by which the engine skips plain text ten times as fast.
_TOKEN: Final = re.compile(
    rf"\[\[(?!https?:|//)({_PLAIN}{{1,300}})(?:\|({_PLAIN}{{1,500}}))?\]\](?!\])"
    r"|\[\[?(?:(?:https?|ftps?|irc|gopher|svn|git)://|//|mailto:|news:)[^\s\[\]<>\"{}|]*"
    r"|\[\[+|\]\]*|''+|\{\{+|\}\}+|\||\}-"
    r"|\n(?:[ \t:*#;]{0,20}\{\||[ \t]{0,20}\|\}(?!\})|(?==)|(?=[ \t]{0,20}\n))"
    r"|<!--|<(?:/?[A-Za-z][A-Za-z0-9]{0,20}(?:[\s/][^<>]*)?)>"
    r"|&(?:[A-Za-z][A-Za-z0-9]{1,31}|\#[0-9]{1,7}|\#[xX][0-9A-Fa-f]{1,6});"
    r"|-\{(?!\{)|__\w{3,40}?__"
)
_SIMPLE_TEMPLATE: Final = re.compile(r"\{\{([^{}|\[\]<>\n&']{1,100})(\|[^{}\[\]<>]*)?\}\}(?!\})")
_NAMESPACE_TRAIL: Final = re.compile(r"\s*[(（][^()（）]{0,100}[)）]$")


class Scanner(OpenFrames):
    """A page that is being scanned. dropped: unknown templates that stood within text, by name."""

    def __init__(self, text: str, tables: LanguageTables, variant: str, formulas: bool) -> None:
        self._text, self._tables, self._variant, self._formulas = text, tables, variant, formulas
        super().__init__()
        self._closing = tags.ClosingTags(text)
        self.dropped: Counter[str] = Counter()
        self.is_disambiguation = False

    def scan(self) -> str:
        """Return the text with marks where markup was; headings and lists are still marked up."""
        text, search = self._text, _TOKEN.search
        position = 0
        while (found := search(text, position)) is not None:
            start, end = found.span()
            if start > position:
                self.parts.append(text[position:start])
            first = text[start]
            if found[1] is not None:
                self._emit_link(found[1], found[2])
                position = end
            elif first == "{":
                position = self._open_braces(start, end)
            elif first == "}":
                position = self._close_braces(start, end)
            elif first == "'":
                self.parts.append({2: ITALIC, 3: BOLD, 4: f"'{BOLD}"}.get(end - start, BOTH))
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
                self.parts.append(html.unescape(found[0]))
                position = end
            elif first == "\n":
                self._line(start, end)
                position = end
            elif first == "-":
                if not self.push(VARIANT, start):
                    self.parts.append(GAP)
                position = end
            else:
                position = self._magic_word(start, end)
        self.parts.append(text[position:])
        self.unwind_to(0)
        return "".join(self.top)

    def _split(self) -> None:
        """End an argument at a '|', if it belongs to a template, a link or a variant."""
        stack = self.stack
        while stack and stack[-1].kind in WEAK and any(frame.kind in SPLIT for frame in stack):
            self.unwind_to(len(stack) - 1)
        if not stack or stack[-1].kind not in SPLIT:
            self.parts.append("|")
            return
        frame = stack[-1]
        frame.arguments.append("".join(frame.parts))
        frame.parts.clear()
        if frame.kind == LINK and len(frame.arguments) == 1:
            frame.is_file = _namespace(frame.arguments[0]) in self._tables.file

    def _line(self, start: int, end: int) -> None:
        """Handle a line break before a heading, a table or its end, or a blank line."""
        text, stack = self._text, self.stack
        token = text[start:end]
        if token.endswith("{|"):
            self.parts.append("\n")
            self.push(TABLE, start)
        elif token.endswith("|}"):
            if (index := self.find(TABLES, STOPS[TABLE])) is not None:
                self.unwind_to(index + 1)
                self.pop()
            self.parts.append("\n\n")
        elif text.startswith("=", end):
            if stack and begins_heading(text, end):
                self.unwind_to(0)
            self.parts.append("\n")
        else:
            while stack and (stack[-1].kind in WEAK or (stack[-1].kind == LINK and not stack[-1].is_file)):
                self.unwind_to(len(stack) - 1)
            self.parts.append("\n")

    def _open_braces(self, start: int, end: int) -> int:
        text, count = self._text, end - start
        if count == 2:
            simple = _SIMPLE_TEMPLATE.match(text, start)
            if simple is not None:
                name = normalized(simple[1])
                if not (pattern := self._pattern(name)):
                    self._drop(name, pattern, start, simple.end())
                    return simple.end()
            if text.startswith("{{!}}", start):
                self._split()
                return start + 5
        # '{{{' is a parameter; of longer runs, pairs are templates.
        pairs, odd = divmod(count, 2)
        if odd:
            pairs -= 1
            if not self.push(PARAMETER, start):
                self.parts.append(GAP)
        for _ in range(min(pairs, DEEPEST)):
            if not self.push(TEMPLATE, start):
                self.parts.append(GAP)
                break
        return end

    def _close_braces(self, start: int, end: int) -> int:
        text, left = self._text, end - start
        if text[end - 1] == "-":
            if (index := self.find(VARIANTS, STOPS[VARIANT])) is not None:
                return self._close_variant(index, end)
            self.parts.append("}")
            return start + 1
        while left >= 2:
            index = self.find(TEMPLATES, frozenset())
            if index is None:
                self.parts.append(GAP)
                left = 0
                break
            self.unwind_to(index + 1)
            frame = self.pop()
            if frame.kind == PARAMETER:
                left -= 3 if left >= 3 else 2
                self.parts.append(GAP)
            else:
                left -= 2
                self._template(frame, end - left)
        ends = bool(left) and text.startswith("-", end)
        if ends and (index := self.find(VARIANTS, STOPS[VARIANT])) is not None:
            return self._close_variant(index, end + 1)
        if left:
            self.parts.append("}")
        return end

    def _close_variant(self, index: int, end: int) -> int:
        self.unwind_to(index + 1)
        arguments = self.pop().content()
        flags = arguments[0] if len(arguments) > 1 else None
        body = "|".join(arguments[1:]) if len(arguments) > 1 else arguments[0]
        self.parts.append(chosen_text(flags, body, self._variant) or GAP)
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
        if pattern is None and not self.stack and name:
            alone = text[begin - 1 : begin] in ("", "\n") and text[end : end + 1] in ("", "\n")
            if not alone:
                shown = name[:_LONGEST_NAME]
                self.dropped[shown if shown in self.dropped or len(self.dropped) < _MOST_NAMES else OTHERS] += 1
        self.parts.append(GAP)

    def _template(self, frame: Frame, end: int) -> None:
        """Put the text of a template that is closed in its place."""
        arguments = frame.arguments
        whole = arguments[0] if arguments else "".join(frame.parts)
        name = normalized(whole[:200].replace(GAP, ""))
        if not (pattern := self._pattern(name)):
            self._drop(name, pattern, frame.begin, end)
            return
        head, colon, rest = whole.partition(":")
        before = [rest] if colon and self._tables.pattern(normalized(head) + ":") == pattern else []
        self.parts.append(fill(pattern, [*before, *frame.content()[1:]]) or GAP)

    def _open_brackets(self, start: int, end: int) -> None:
        text = self._text
        if text[end - 1] != "[":
            if not self.push(EXTERNAL, start, text[start : start + 2]):
                self.parts.append(GAP)
            return
        pairs, odd = divmod(end - start, 2)
        if odd:
            self.parts.append("[")
        for _ in range(min(pairs, DEEPEST)):
            if not self.push(LINK, start):
                self.parts.append(GAP)
                break

    def _close_brackets(self, left: int) -> None:
        whole = left
        while left:
            top = self.stack[-1] if self.stack else None
            if top is not None and top.kind == EXTERNAL:
                left -= 2 if top.name == "[[" and left > 1 else 1
                self._close_external()
                continue
            if left == 1:
                index = self.find(EXTERNALS, STOPS[EXTERNAL])
                if index is not None and whole == 1:
                    self.unwind_to(index + 1)
                    self._close_external()
                else:
                    self.parts.append("]" if whole != 2 else "")
                return
            index = self.find(LINKS, STOPS[LINK])
            if index is None:
                self.parts.append(GAP)
                return
            self.unwind_to(index + 1)
            frame = self.pop()
            left -= 2
            arguments = frame.content()
            self._emit_link(arguments[0], "|".join(arguments[1:]) if len(arguments) > 1 else None)

    def _close_external(self) -> None:
        label = "".join(self.pop().parts).strip(" \t")
        self.parts.append(label or GAP)

    def _emit_link(self, target: str, label: str | None) -> None:
        """Put the text of a link in its place: its label, else its target; nothing for files and categories."""
        tables = self._tables
        if ":" in target:
            stripped = target.lstrip(f" \t\n{GAP}")
            if stripped.startswith(":"):
                target = stripped[1:]
            else:
                space = _namespace(stripped)
                if space in tables.file or space in tables.category or space in tables.interlanguage:
                    self.parts.append(GAP)
                    return
        if label is not None and not label.strip():
            # '[[Mercury (planet)|]]' is short for a label without what is in brackets.
            label = _NAMESPACE_TRAIL.sub("", target[-200:].rpartition(":")[2])
        text = target.strip().removeprefix("#") if label is None else label
        self.parts.append(text or GAP)

    def _tag(self, start: int, end: int) -> int:
        text = self._text
        if text.startswith("<!--", start):
            close = self._closing.find("-->", end)
            if close is None:
                self.parts.append(GAP)
                return end
            alone = text[start - 1 : start] in ("", "\n") and text[close[1] : close[1] + 1] == "\n"
            if not alone:
                self.parts.append(GAP)
            # A comment on a line of its own takes the line with it; the next break may belong to a heading.
            elif start:
                self._drop_break()
            return close[1]
        found = tags.ANY_TAG.match(text, start)
        name = found[2].lower() if found is not None else ""
        if found is None or name not in tags.PAIRED:
            self.parts.append("<")
            return start + 1
        closes, attributes = bool(found[1]), found[3]
        if name in tags.RAW_TAGS and not closes:
            return self._raw(name, attributes, end)
        if name in tags.TABLE_TAGS or name in ("sup", "rt", "rp", "span", "div"):
            self._paired(name, closes, attributes, start)
        elif name == "br":
            self.parts.append("\n")
        elif name in tags.BLOCK_TAGS:
            self.parts.append("\n\n")
        elif name in tags.RAW_TAGS:
            self.parts.append(GAP)
        return end

    def _drop_break(self) -> None:
        """Take back the line break before a comment that has its line to itself."""
        parts = self.parts
        while parts and not parts[-1]:
            parts.pop()
        if parts and parts[-1].endswith("\n"):
            parts[-1] = parts[-1][:-1]

    def _raw(self, name: str, attributes: str, end: int) -> int:
        """Pass an element whose content is not wikitext, and keep it where it is text."""
        if attributes.rstrip().endswith("/"):
            self.parts.append(GAP)
            return end
        close = self._closing.find(name, end)
        if close is None:
            self.parts.append(GAP)
            return end
        content = self._text[end : close[0]] if name == "nowiki" or (self._formulas and name in ("math", "ce")) else ""
        self.parts.append(LITERAL + html.unescape(content) if content else GAP)
        return close[1]

    def _paired(self, name: str, closes: bool, attributes: str, start: int) -> None:
        """Open or close an element whose content is raised, hidden or a table."""
        raised = name == "sup"
        if closes:
            kind = RAISED if raised else TAG
            index = self.find(frozenset((kind,)), STOPS[kind], name)
            if index is not None:
                self.unwind_to(index + 1)
                frame = self.pop()
                self.parts.append(superscript("".join(frame.parts)) if raised else GAP)
            elif name == "div":
                self.parts.append("\n\n")
            return
        within = bool(self.stack) and self.stack[-1].kind == TAG and self.stack[-1].name == name
        hides = name in ("table", "rt", "rp") or within or tags.HIDDEN_STYLE.search(attributes) is not None
        if attributes.rstrip().endswith("/") or name in tags.TABLE_TAGS - {"table"}:
            return
        if raised or hides:
            self.push(RAISED if raised else TAG, start, name)
        elif name == "div":
            self.parts.append("\n\n")

    def _magic_word(self, start: int, end: int) -> int:
        inner = self._text[start + 2 : end - 2]
        if inner != inner.upper() or any(map(str.isdigit, inner)) or not inner.strip("_"):
            self.parts.append("__")
            return start + 2
        if inner == "DISAMBIG":
            self.is_disambiguation = True
        self.parts.append(GAP)
        return end


def _namespace(target: str) -> str:
    prefix, colon, _ = target[:200].partition(":")
    return normalized(prefix) if colon else ""
