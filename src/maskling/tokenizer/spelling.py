"""Decoded text as a person writes it."""

from __future__ import annotations

import re
from typing import Final

from maskling.tokenizer.chinese import IDEOGRAPHS

_WIDE: Final = f"[{IDEOGRAPHS}、。〈〉《》「」『』【】！（），．：；？]"
_BETWEEN_WIDE: Final = re.compile(f"(?<={_WIDE}) (?={_WIDE})")


def tidy(text: str) -> str:
    """Take out the spaces that decoding puts between Chinese characters and marks."""
    return text if text.isascii() else _BETWEEN_WIDE.sub("", text)
