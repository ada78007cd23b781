"""Chinese characters, and the words they make (for whole-word masking; ids never depend on it)."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from importlib.util import find_spec
from typing import Final, Literal

from maskling.errors import MissingExtra
from maskling.tokenizer.settings import ChineseWords

# What BertNormalizer puts spaces around. Its second-last range starts at 2B920 where Google's BERT has 2B820;
# we follow the library, because ids must be the library's.
IDEOGRAPHS: Final = (
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0002a6df\U0002a700-\U0002b81f\U0002b920-\U0002ceaf\U0002f800-\U0002fa1f"
)
IDEOGRAPH: Final = re.compile(f"[{IDEOGRAPHS}]")
RUN: Final = re.compile(f"[{IDEOGRAPHS}]+")

Segment = Callable[[str], list[str]]


def looks_chinese(text: str) -> bool:
    """A fast guess whether a text has Chinese characters; decides how fast it is encoded, never what comes out."""
    # One of these is in every Chinese or Japanese text of a sentence or more.
    return not text.isascii() and (
        "，" in text or "。" in text or "、" in text or "的" in text or "の" in text or "一" in text
    )


def resolve_words(wanted: ChineseWords) -> Literal["jieba", "characters"]:
    """'auto' as 'jieba' where rjieba is installed, else 'characters'. Raises MissingExtra for 'jieba' without it."""
    if wanted == "characters":
        return "characters"
    # Only looked for: to import it takes as long as to open a model.
    if _installed():
        return "jieba"
    if wanted == "jieba":
        raise MissingExtra("rjieba", "data", "tokenizer.chinese_words = 'jieba'")
    return "characters"


def segment(run: str) -> list[str]:
    """The words of a run of Chinese characters by jieba's dictionary: pieces that join to `run`."""
    words = _segmenter()(run)
    return words if sum(map(len, words)) == len(run) else list(run)


def _installed() -> bool:
    return find_spec("rjieba") is not None


@functools.cache
def _segmenter() -> Segment:
    import rjieba

    cut: Segment = rjieba.cut
    return cut
