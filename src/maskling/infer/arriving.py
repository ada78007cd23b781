"""Standard input as it comes, so that an answer need not wait for the next question."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from typing import cast

from maskling.data.labelled.lines import LONGEST_LINE
from maskling.errors import DataError

_BLOCK = 1 << 16


def arriving_lines() -> Iterator[list[tuple[int, str]]]:
    """The lines of standard input with their numbers from 1, as many together as have come.

    Raises DataError for a line that is not UTF-8 or has no end.
    """
    if sys.stdin is None:
        raise DataError("standard input is closed; give a file")
    stream, left, number = cast(io.BufferedReader, sys.stdin.buffer), b"", 0
    while True:
        # Not `read`, which would wait until the block is full.
        block = stream.read1(_BLOCK)
        *whole, left = (left + block).split(b"\n") if block else [left, b""]
        some = []
        for raw in whole:
            number += 1
            try:
                some.append((number, raw.decode("utf-8-sig" if number == 1 else "utf-8").removesuffix("\r")))
            except UnicodeDecodeError as error:
                raise DataError(f"standard input, line {number:,}, is not UTF-8 (byte {error.start:,})") from None
        yield some
        if not block:
            return
        if len(left) > LONGEST_LINE:
            raise DataError(f"standard input, line {number + 1:,}, has no end; put one text on each line")
