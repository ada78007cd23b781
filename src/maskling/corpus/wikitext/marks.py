"""Non-characters that stand for markup between the two passes; `strip_marks` removes them from the input first."""

from __future__ import annotations

import re
from typing import Final

# Something without text stood here: brackets and spaces around it may be left empty.
GAP: Final = "\ufdd0"
# What follows is literal: it begins no list and no heading.
LITERAL: Final = "\ufdd1"
# Runs of two, three and five apostrophes.
ITALIC: Final = "\ufdd2"
BOLD: Final = "\ufdd3"
BOTH: Final = "\ufdd5"

ANY_MARK: Final = re.compile("[\ufdd0-\ufdd5]")


def strip_marks(text: str) -> str:
    """Return a text without the non-characters that are used as marks here."""
    return ANY_MARK.sub("", text) if ANY_MARK.search(text) else text
