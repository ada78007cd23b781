"""Words of scripts that write no spaces between them: Chinese, Japanese, Thai, Lao, Khmer and Burmese.

Dictionaries of two libraries find them: rjieba for Chinese, and ICU (icu4py) for the others. Words are for masking and
scoring of whole words only; token ids never depend on them.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any, Final, Literal

import numpy as np

from maskling.arrays import Int64Array, offsets_of
from maskling.errors import MissingExtra
from maskling.tokenizer.settings import ChineseWords, OtherWords

# The ranges that BertNormalizer puts spaces around. Its second-last range starts at 2B920, Google's BERT has 2B820;
# we follow the library, because ids must be the library's.
IDEOGRAPHS: Final = (
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0002a6df\U0002a700-\U0002b81f\U0002b920-\U0002ceaf\U0002f800-\U0002fa1f"
)
IDEOGRAPH: Final = re.compile(f"[{IDEOGRAPHS}]")
IDEOGRAPH_RUN: Final = re.compile(f"[{IDEOGRAPHS}]+")
# Letters, marks and digits, without punctuation; the joiners mean something inside Burmese and Khmer words.
_KANA: Final = "\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9f"
_JOINERS: Final = "\u200c\u200d"
_SPACELESS: Final = {
    "Thai": "\u0e01-\u0e2e\u0e30-\u0e3a\u0e40-\u0e4e\u0e50-\u0e59",
    "Lao": "\u0e81-\u0edf",
    "Khmer": f"\u1780-\u17d3\u17d7\u17dc\u17dd\u17e0-\u17e9{_JOINERS}",
    "Burmese": f"\u1000-\u1049\u1050-\u109f\ua9e0-\ua9fe\uaa60-\uaa7f{_JOINERS}",
}
_OTHER: Final = re.compile(f"[{_KANA}{''.join(_SPACELESS.values()).replace(_JOINERS, '')}]")
_RUN: Final = re.compile(
    "|".join(
        [
            *(f"[{letters.replace(_JOINERS, '')}][{letters}]*" for letters in _SPACELESS.values()),
            f"[{IDEOGRAPHS}{_KANA}\u3005-\u3007]+",
        ]
    )
)
_HAS_KANA: Final = re.compile(f"[{_KANA}]")
_JAPANESE_OR_CHINESE: Final = re.compile(f"[{IDEOGRAPHS}{_KANA}\u3005-\u3007]")
_LONG: Final = 500  # characters
CHINESE: Final = "Chinese"
_PACKAGES: Final = {"jieba": "rjieba", "icu": "icu4py"}
_CONFIG_KEY: Final = "maskling_words"
# Scripts that are counted; Japanese by its kana.
SCRIPTS: Final = (CHINESE, "Japanese", *_SPACELESS)


@dataclass(frozen=True, slots=True)
class WordRules:
    """How words are found in scripts without spaces.

    chinese: dictionary of Chinese, or "characters": every character is a word; others: "icu", or "spaces": a word is
    what white space and punctuation leave.
    """

    chinese: Literal["jieba", "icu", "characters"] = "characters"
    others: Literal["icu", "spaces"] = "spaces"

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> WordRules | None:
        """Return the rules that `as_config` wrote into a tokenizer_config.json, or None if there are none."""
        found = config.get(_CONFIG_KEY)
        if not isinstance(found, Mapping):
            return None
        chinese, others = found.get("chinese_words"), found.get("words")
        if chinese not in ("jieba", "icu", "characters") or others not in ("icu", "spaces"):
            return None
        return cls(chinese, others)

    def as_config(self) -> dict[str, Any]:
        """Return the entry of tokenizer_config.json that records the rules."""
        return {_CONFIG_KEY: {"chinese_words": self.chinese, "words": self.others}}

    def where_installed(self) -> WordRules:
        """Return the rules without the dictionaries that are not installed."""
        return WordRules(
            self.chinese if self.chinese == "characters" or _installed(_PACKAGES[self.chinese]) else "characters",
            self.others if self.others == "spaces" or _installed(_PACKAGES[self.others]) else "spaces",
        )

    def apply_to(self, text: str) -> bool:
        """Return whether any word of a text comes from a dictionary."""
        if text.isascii():
            return False
        return (self.chinese != "characters" and IDEOGRAPH.search(text) is not None) or self.need_offsets(text)

    def need_offsets(self, text: str) -> bool:
        """Return whether words of a text come from a dictionary of another script than Chinese."""
        if self.others != "icu" or text.isascii():
            return False
        if len(text) < _LONG:
            return _OTHER.search(text) is not None
        # Ten times as fast on long texts.
        return bool((_script_table()[_codes(text)] > 1 + SCRIPTS.index(CHINESE)).any())

    def words(self, text: str) -> Iterator[tuple[int, int, Int64Array]]:
        """Yield the stretches of a text that a dictionary segments: begin, end, and (words,) int64 where words begin.

        Lines are independent, so many texts may be joined, which is several times as fast. Chinese characters in a line
        that has kana are Japanese. Raises MissingExtra if the library is not installed.
        """
        if self.others == "icu":
            for_icu = [run for run in _runs(text) if run.script != CHINESE]
            begins = _icu_begins([run.text for run in for_icu])
            yield from ((run.begin, run.end, run.begin + begin) for run, begin in zip(for_icu, begins, strict=True))
        if self.chinese != "characters":
            runs = (run for run in _runs(text) if run.script == CHINESE or self.others != "icu")
            for run in runs:
                for part in IDEOGRAPH_RUN.finditer(run.text):
                    first = run.begin + part.start()
                    yield first, run.begin + part.end(), first + _begins(self.segment_chinese(part.group()))

    def segment_chinese(self, run: str) -> list[str]:
        """Segment a run of Chinese characters into words; the words concatenate to `run`."""
        if self.chinese == "icu":
            begins = [*_icu_begins([run])[0].tolist(), len(run)]
            return [run[begin:end] for begin, end in itertools.pairwise(begins)]
        words = _jieba()(run)
        return words if sum(map(len, words)) == len(run) else list(run)

    def segmenter(self, script: str) -> str | None:
        """Return the library and version that finds the words of a script, or None if none does."""
        kind = self.chinese if script == CHINESE else self.others
        if kind == "jieba":
            return f"rjieba {_version('rjieba')}"
        return f"icu4py {_version('icu4py')} (ICU {_icu_version()})" if kind == "icu" else None


NO_DICTIONARIES: Final = WordRules()


def resolve_words(chinese: ChineseWords, others: OtherWords) -> WordRules:
    """Replace 'auto' by what is installed.

    Raises MissingExtra for a library that is asked for by name and not installed.
    """
    # Only look for the packages: importing one takes as long as opening a model.
    icu, jieba = _installed("icu4py"), _installed("rjieba")
    for asked, there in (("jieba", jieba), ("icu", icu)):
        if not there and asked in (chinese, others):
            setting = "chinese_words" if asked == chinese else "words"
            raise MissingExtra(_PACKAGES[asked], "words", f"tokenizer.{setting} = '{asked}'")
    if chinese == "auto":
        chinese = "jieba" if jieba else "icu" if icu else "characters"
    if others == "auto":
        others = "icu" if icu else "spaces"
    return WordRules(chinese, others)


def count_scripts(texts: list[str]) -> dict[str, int]:
    """Return the characters of each script without spaces; Japanese is counted by its kana."""
    text = "".join(text for text in texts if not text.isascii())
    if not text:
        return {}
    counts = np.bincount(_script_table()[_codes(text)], minlength=len(SCRIPTS) + 1)[1:].tolist()
    return {script: count for script, count in zip(SCRIPTS, counts, strict=True) if count}


def _codes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)


@functools.cache
def _script_table() -> np.ndarray:
    table = np.zeros(0x110000, dtype=np.uint8)
    letters = [IDEOGRAPHS, _KANA, *(each.replace(_JOINERS, "") for each in _SPACELESS.values())]
    for number, ranges in enumerate(letters, start=1):
        for first, last in re.findall("(.)-(.)", ranges):
            table[ord(first) : ord(last) + 1] = number
    return table


def _begins(words: list[str]) -> Int64Array:
    return np.fromiter(itertools.accumulate(map(len, words[:-1]), initial=0), dtype=np.int64, count=len(words))


@dataclass(frozen=True, slots=True)
class _Run:
    """Adjacent letters of one script without spaces; Chinese characters in a line with kana are Japanese."""

    begin: int
    end: int
    text: str
    script: str


def _runs(text: str) -> Iterator[_Run]:
    begin = 0
    for line in text.split("\n"):
        if not line.isascii():
            chinese = "Japanese" if _HAS_KANA.search(line) else CHINESE
            for found in _RUN.finditer(line):
                script = chinese if _JAPANESE_OR_CHINESE.match(found[0]) else ""
                yield _Run(begin + found.start(), begin + found.end(), found[0], script)
        begin += len(line) + 1


def _icu_begins(runs: Sequence[str]) -> list[Int64Array]:
    """Return where words begin in each run, counted from its start: (words,) int64. The runs go to ICU together."""
    if not runs:
        return []
    text = "\n".join(runs)
    # ICU's dictionaries are chosen by script, whatever the locale.
    spans = np.array(list(_icu()(text, "en").segments()), dtype=np.int64).reshape(-1, 2)
    begins = spans[:, 0]
    if spans[-1, 1] != len(text):
        # icu4py 1.2 counts UTF-16 units: characters above U+FFFF are two.
        begins = np.searchsorted(offsets_of(1 + (_codes(text) > 0xFFFF).astype(np.int64)), begins)
    first = offsets_of([len(run) + 1 for run in runs])
    bounds = np.searchsorted(begins, [*first[:-1], len(text)])
    # The last word of each run but the last is the line break.
    parts = [begins[a:b] for a, b in itertools.pairwise(bounds.tolist())]
    return [part[part < end - 1] - begin for part, begin, end in zip(parts, first[:-1], first[1:], strict=True)]


def _installed(package: str) -> bool:
    return find_spec(package) is not None


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "of unknown version"


def _icu_version() -> str:
    _icu()
    from icu4py import _version

    return str(_version.icu_version)


@functools.cache
def _icu() -> Callable[..., Any]:
    try:
        from icu4py.breakers import WordBreaker
    except ImportError:
        raise MissingExtra("icu4py", "words", "finding words of Thai, Lao, Khmer, Burmese and Japanese") from None
    breaker: Callable[..., Any] = WordBreaker
    return breaker


@functools.cache
def _jieba() -> Callable[[str], list[str]]:
    try:
        import rjieba
    except ImportError:
        raise MissingExtra("rjieba", "words", "finding words of Chinese") from None
    cut: Callable[[str], list[str]] = rjieba.cut
    return cut
