"""JSON values read one after the other from blocks of text, so that a list of any length fits in memory.

The rows of a file are the items of a list at its top, its objects one after the other, or the items of a list in an
object at its top.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

_SPACE: Final = " \t\r\n\ufeff"
_BLOCK: Final = 1 << 16
# An error this close to the end of what is there may come from what is missing: '\u00e' or 'fals'.
_NEAR_END: Final = 12


class JsonError(Exception):
    """The text is not JSON; the message names the line."""


def read_rows(blocks: Iterator[str], lead: str | None, longest: int) -> Iterator[tuple[int, Any, bool]]:
    """Yield the line on which a row begins, the row, and whether it is an item of the list under the key `lead`.

    longest: characters of the longest row.
    Raises JsonError where the text is not JSON: what follows cannot be told apart any more.
    """
    reader = _Reader(blocks, longest)
    while mark := reader.peek():
        if mark == "[":
            yield from ((line, item, False) for line, item in reader.items())
        elif mark == "{" and lead is not None:
            yield from _read_object(reader, lead)
        else:
            yield reader.line, reader.value(), False
        # Some programs write a comma after each row, as in a list.
        if reader.peek() == ",":
            reader.step()


def _read_object(reader: _Reader, lead: str) -> Iterator[tuple[int, Any, bool]]:
    """Yield the items of the list under the key `lead` of an object, or the object if there is no such list."""
    line, others, found = reader.line, {}, False
    reader.step()
    while reader.peek() != "}":
        key = reader.value()
        if reader.peek() != ":":
            raise reader.broken("an object has no ':' after a key")
        reader.step()
        if key == lead and reader.peek() == "[":
            found = True
            yield from ((at, item, True) for at, item in reader.items())
        else:
            others[key] = reader.value()
        if reader.peek() == ",":
            reader.step()
        elif reader.peek() != "}":
            raise reader.broken("an object has no ',' between its fields")
    reader.step()
    if not found:
        yield line, others, False


class _Reader:
    """The text that was read and not parsed yet. line: the number of the current line, from 1."""

    def __init__(self, blocks: Iterator[str], longest: int) -> None:
        self._blocks, self._longest = blocks, longest
        self._text, self._at = "", 0
        self._decoder = json.JSONDecoder(strict=False)
        self.line = 1

    def peek(self) -> str:
        """Return the next character that is not white space, empty at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in _SPACE:
                self._move(self._at + 1)
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._fill(_BLOCK):
                return ""

    def step(self) -> None:
        """Pass the character that `peek` returned."""
        self._move(self._at + 1)

    def items(self) -> Iterator[tuple[int, Any]]:
        """Yield the line and value of each item of the list that begins here."""
        self.step()
        while self.peek() != "]":
            line = self.line
            yield line, self.value()
            if self.peek() == ",":
                self.step()
            elif self.peek() != "]":
                raise self.broken("a list has no ',' between its items")
        self.step()

    def value(self) -> Any:
        """Return the value that begins here, and pass it."""
        if not self.peek():
            raise self.broken("")
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except RecursionError:
                raise JsonError(f"line {self.line:,} is nested too deeply") from None
            except json.JSONDecodeError as error:
                whole = error.pos < len(self._text) - _NEAR_END and not error.msg.startswith("Unterminated string")
                if whole or not self._fill(len(self._text) - self._at):
                    cut = not whole and error.pos >= len(self._text.rstrip())
                    lines = self._text.count("\n", self._at, error.pos)
                    raise self.broken("" if cut else error.msg, lines) from None
            else:
                # A number may go on in the next block.
                if end < len(self._text) or not self._fill(_BLOCK):
                    self._move(end)
                    return value
            if len(self._text) - self._at > self._longest:
                raise JsonError(
                    f"line {self.line:,} begins a value of more than {self._longest:,} characters; if the rows are in "
                    "a list within it, name the list in corpus.text_field, as in data.text"
                )

    def broken(self, message: str, lines: int = 0) -> JsonError:
        """Return the error for the current position."""
        if not message or not self.peek() or message.startswith("Unterminated"):
            return JsonError(f"line {self.line + lines:,} is cut off: the JSON does not end")
        return JsonError(f"line {self.line + lines:,} is not JSON ({message}); what follows it is not read")

    def _move(self, to: int) -> None:
        self.line += self._text.count("\n", self._at, to)
        self._at = to

    def _fill(self, least: int) -> bool:
        """Read at least so many more characters, if there are any; return whether there were."""
        parts, size = [self._text[self._at :]], 0
        while size < max(least, _BLOCK):
            block = next(self._blocks, None)
            if block is None:
                break
            parts.append(block)
            size += len(block)
        self._text, self._at = "".join(parts), 0
        return size > 0
