"""Extract prose from docstrings: remove reStructuredText markup, code, tables and formulas; keep sentences.

Docstrings are written for people and Sphinx. A language model should learn from their sentences, so examples at the
prompt, literal blocks and grammar rules are dropped, paragraphs are
joined into one line each, and a paragraph that is mostly symbols is left out.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

_UNDERLINE = re.compile(r"^\s*([=\-~^*#+`_.\"'])\1{2,}\s*$")
_TABLE = re.compile(r"^\s*([+|][-=+|]{3,}|={3,}(\s+={3,})+|-{3,}(\s+-{3,})+|\|.*\|\s*$)")
_DIRECTIVE = re.compile(r"^(\s*)\.\. +([\w-]+)(?: *|:[\w-]+)::(.*)$")
_COMMENT = re.compile(r"^\s*\.\.( |$)")
_KEPT_DIRECTIVES = {"note", "warning", "tip", "important", "seealso", "attention", "caution", "hint", "admonition"}
_FIELD = re.compile(
    r"^\s*:(?:param|parameter|arg|argument|key|keyword|raises?|attr|var)\s+(?:[\w.\[\], |]+\s)?\**(\w+):\s*"
)
_RETURNS = re.compile(r"^\s*:returns?:\s*")
_DROPPED_FIELD = re.compile(r"^\s*:(?:type|rtype|ref|meta|members|show-inheritance|undoc-members|vartype)\b[^:]*:")
_ITEM = re.compile(r"^\s*(?:[-*+•]|\(?\d{1,2}[.)]|\(?[a-z]\))\s+")
_NUMPY_PARAMETER = re.compile(r"^(\**\w+(?:, \**\w+)*) : (\S.*)$")
_SIGNATURE = re.compile(r"^[\w.]+\([^()]*(?:\([^()]*\)[^()]*)*\)(?:\s*->\s*[\w.\[\], ()]+)?$")
_SECTION = re.compile(
    r"^(parameters|returns?|yields?|raises?|examples?|notes?|see also|attributes|methods|other parameters|warnings?"
    r"|args|arguments|keyword args|keyword arguments|shape|inputs?|outputs?|references|usage|receives|warns"
    r"|fields):{0,2}$",
    re.IGNORECASE,
)
_INLINE = (
    (re.compile(r":math:`([^`]*)`"), lambda found: _formula(found[1])),
    (re.compile(r":[\w:+-]+:`([^`<]+?)\s*<[^`]*>`"), r"\1"),
    (re.compile(r":[\w:+-]+:`~(?:[\w]+\.)*([\w]+(?:\(\))?)`"), r"\1"),
    (re.compile(r":[\w:+-]+:`[~!]?([^`]+)`"), r"\1"),
    (re.compile(r"``([^`]+)``"), r"\1"),
    (re.compile(r"`([^`<]+?)\s*<[^`]*>`_{0,2}"), r"\1"),
    (re.compile(r"`([^`]+)`_{0,2}"), r"\1"),
    (re.compile(r"(?<![\w*])\*{1,2}(?=[^\s*])([^*]+?)(?<=[^\s*])\*{1,2}(?![\w*])"), r"\1"),
    (re.compile(r"\[#?\w+\]_"), ""),
    (re.compile(r"\{\w*\}"), ""),
    (re.compile(r"https?://\S+?(?=[.,;)>]*(?:\s|$))"), ""),
    (re.compile(r"<\s*>|\(\s*\)(?<!\w\(\))"), ""),
    (re.compile(r"\\(?=[\s*_`|])"), ""),
    (re.compile(r"\s{2,}"), " "),
)
_QUOTED = re.compile(r'"([^"\n]{1,60})"')
_PARAMETER = re.compile(r"^\**[a-z_]\w*(?: ?\([^()]*(?:\([^()]*\)[^()]*)*\))?(?:: +| --? )\S")
_CODE = re.compile(
    r"^(?:from [\w.]+ import|import \w|def \w+\(|class \w+[(:]|print\(|return \w+[(.\[]|@\w|with \w+\(|assert )"
)
_ASSIGNMENT = re.compile(r"^[\w.,\[\] ]+ [-+*/]?= ")
_LEGAL = re.compile(r"copyright|all rights reserved|licensed (?:to|under)|warrant(?:y|ies)|permission", re.IGNORECASE)
_FEWEST_WORDS = 3
_PROSE_SHARE = 0.86


def prose(text: str, quoted_code: bool = False) -> list[str]:
    """Return the paragraphs of a docstring that are prose, one line each.

    quoted_code: double quotes mark code, as in the plain-text form of Python's own manual.
    """
    paragraphs: list[str] = []
    signature = ""
    for lines in _blocks(inspect.cleandoc(text)):
        paragraph = _join(lines)
        if quoted_code:
            paragraph = _QUOTED.sub(r"\1", paragraph)
        for pattern, kept in _INLINE:
            paragraph = pattern.sub(kept, paragraph)
        paragraph = paragraph.strip()
        if _SIGNATURE.match(paragraph) and len(paragraph) <= 100:
            signature = paragraph
        elif _is_prose(paragraph):
            # A signature is joined with its description: 'str.upper(): Return a copy ...'
            paragraphs.append(f"{signature.split('->')[0].strip()}: {paragraph}" if signature else paragraph)
            signature = ""
    return paragraphs


def _blocks(text: str) -> Iterator[list[str]]:
    """Yield runs of lines that belong together, without code, tables and directives."""
    block: list[str] = []
    dropped_below: int | None = None  # lines deeper than this are a literal block or the body of a directive
    prompt = references = False
    for line in text.expandtabs().split("\n"):
        stripped = line.strip()
        indent = len(line) - len(line.lstrip())
        if not stripped:
            prompt = False
            yield block
            block = []
            continue
        if dropped_below is not None:
            if indent > dropped_below:
                continue
            dropped_below = None
        if _SECTION.match(stripped):
            references = stripped.lower().startswith("references")
            yield block
            block = []
            continue
        if stripped.startswith((">>>", "$ ")):
            prompt = True
        if references or prompt or _UNDERLINE.match(line) or _TABLE.match(line) or "::=" in line:
            yield block
            block = []
            continue
        directive = _DIRECTIVE.match(line)
        if directive or _COMMENT.match(line) or _DROPPED_FIELD.match(line):
            yield block
            block = []
            if not directive or directive[2] not in _KEPT_DIRECTIVES:
                dropped_below = indent
            continue
        if _starts_block(line, block):
            yield block
            block = []
        block.append(line)
        if stripped.endswith("::"):
            dropped_below = indent
            yield block
            block = []
    yield block


def _starts_block(line: str, block: list[str]) -> bool:
    if not block:
        return False
    stripped = line.strip()
    if _ITEM.match(line) or _FIELD.match(line) or _RETURNS.match(line):
        return True
    if _NUMPY_PARAMETER.match(stripped) or _PARAMETER.match(stripped):
        return True
    # The text below 'name : type' or 'name (type): ...' is indented; the next name is not.
    indent, first = (len(text) - len(text.lstrip()) for text in (line, block[0]))
    return indent < first or (indent == first and len(block) > 1 and len(block[-1]) - len(block[-1].lstrip()) > indent)


def _join(lines: list[str]) -> str:
    if not lines:
        return ""
    first = lines[0].strip()
    parameter = _NUMPY_PARAMETER.match(first)
    if parameter and len(lines) > 1:
        first = f"{parameter[1]} ({parameter[2]}):"
    elif _FIELD.match(first):
        first = _FIELD.sub(r"\1: ", first)
    else:
        first = _ITEM.sub("", _RETURNS.sub("Returns ", first))
    joined = " ".join([first, *(line.strip() for line in lines[1:])])
    return joined[:-1] if joined.endswith("::") else joined


def _is_prose(paragraph: str) -> bool:
    words = paragraph.split()
    if len(words) < _FEWEST_WORDS or _CODE.match(paragraph) or _ASSIGNMENT.match(paragraph):
        return False
    if paragraph.count(",") > 0.4 * len(words) or _LEGAL.search(paragraph):  # bare lists of names; copyright notices
        return False
    # The share of letters, spaces and punctuation is lower in code (operators), grammar (bars) and formulas (digits).
    plain = sum(character.isalpha() or character in " .,;:'()-_" for character in paragraph)
    lower = sum(word.strip("(),.;:'").islower() for word in words)
    return plain >= _PROSE_SHARE * len(paragraph) and lower >= 0.5 * len(words)


def _formula(text: str) -> str:
    return text if "\\" not in text else re.sub(r"\s+", " ", re.sub(r"\\[a-zA-Z]+|[\\{}]", " ", text)).strip()
