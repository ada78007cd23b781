"""Normalization of a new tokenizer: what its text becomes before it is split, as normalizers that are saved with it.

The steps belong to the tokenizer, so that training, use, transformers and transformers.js see the same text, cleaned or
not. Only steps that all of them have are used, and no step whose result depends on the implementation: `Lowercase`
keeps Σ by character in one and by word in another, so Σ is replaced before.

1. Remove invisible characters (those that `corpus.clean` removes). Zero-width joiners stay: they carry meaning in
   Persian, Indic scripts and emoji.
2. White space: every kind of space, and the zero-width space, which separates words in Khmer, Thai and others,
   becomes a space, and several become one (all but WordPiece: as the last step). With `spaces = keep` it is left alone.
3. Lower case. İ becomes i; I becomes ı where `dotless_i` says so; Σ becomes ς at the end of a word.
4. NFC, after lower case, because some letters have a composed form in lower case only (J̌).
5. On request, remove marks of category Mn, as BERT does, and never of category Mc.
6. WordPiece: isolate Chinese characters.
"""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from tokenizers import Regex, normalizers

from maskling.tokenizer.characters import SPACES
from maskling.tokenizer.settings import TokenizerSettings

# Ranges inside [...] of a regular expression, in characters rather than escapes, which differ between engines.
INVISIBLE: Final = (
    "\x01-\x08\x0e-\x1b\x7f\xad\u061c\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff"
    "\ufdd0-\ufdef\ufff9-\ufffb\ufffe\uffff"
)
ZERO_WIDTH_SPACE: Final = "\u200b"
# With control characters that stand between words: U+0000, U+001F, and bytes of windows-1252 decoded as Latin-1.
_SPACES: Final = f"\x00\t\x1f\x80-\x84\x86-\x9f\xa0\u1680\u2000-\u200a{ZERO_WIDTH_SPACE}\u202f\u205f\u3000"  # and " "
_LINE_BREAKS: Final = "\n\x0b\r\x85\u2028"
_PARAGRAPH_BREAKS: Final = "\x0c\x1c-\x1e\u2029"
SPLITS_AT_SPACES: Final = ("wordpiece", "words")
SPACES_ALONE: Final = ("characters", "regex", "kmer")
_MARK: Final = r"\p{M}"
_CASED: Final = r"[\p{Lu}\p{Ll}\p{Lt}\p{M}]"
# Languages whose alphabet has both i and ı, so that I is the capital of ı.
DOTLESS_LANGUAGES: Final = ("tr", "az", "crh", "gag")
_DOTLESS_SHARE: Final = 0.2  # of ı among i and ı: 0.37 in Turkish, 0.25 in text that is half Turkish, half English


class Normalization(NamedTuple):
    """The choices that determine the normalizer of a new tokenizer."""

    kind: str
    lowercase: bool
    dotless_i: bool
    strip_accents: bool
    split_chinese: bool
    keep_spaces: bool = False

    @classmethod
    def of(cls, settings: TokenizerSettings) -> Normalization:
        """Return the choices of settings whose `normalization` is "unicode"."""
        split_chinese = settings.kind == "wordpiece" and settings.split_chinese
        dotless = settings.lowercase and bool(settings.dotless_i)
        keep = settings.spaces == "keep"
        return cls(settings.kind, settings.lowercase, dotless, settings.strips_accents, split_chinese, keep)


def unicode_normalizer(choices: Normalization) -> Any:
    """Return the normalizer of a new tokenizer; see the steps at the top of this module."""
    steps: list[Any] = [_replace(f"[{INVISIBLE}]", "")] if choices.keep_spaces else _first_steps(choices.kind)
    if choices.lowercase:
        steps += _lower_case(choices.dotless_i)
    steps.append(normalizers.NFC())
    if choices.strip_accents:
        first = [space_for_first(r"\p{Mn}")] if choices.kind == "unigram" and not choices.keep_spaces else []
        steps += [normalizers.NFD(), *first, _replace(r"\p{Mn}", ""), normalizers.NFC()]
    if choices.split_chinese:
        steps.append(
            normalizers.BertNormalizer(
                clean_text=False, handle_chinese_chars=True, strip_accents=False, lowercase=False
            )
        )
    return normalizers.Sequence([*steps, *([] if choices.keep_spaces else _last_steps(choices.kind))])


def _first_steps(kind: str) -> list[Any]:
    """Return the steps that remove invisible characters, and make all white space spaces where it is not encoded."""
    invisible = _replace(f"[{INVISIBLE}]", "")
    any_to_space = _replace(f"[{_SPACES}{_LINE_BREAKS}{_PARAGRAPH_BREAKS}]", " ")
    if kind in SPLITS_AT_SPACES or kind in SPACES_ALONE:
        return [invisible, any_to_space]
    if kind == "unigram":
        return [any_to_space, space_for_first(f"[{INVISIBLE}]"), invisible]
    return [invisible]


def _last_steps(kind: str) -> list[Any]:
    """Return the steps that make runs of white space uniform, after the steps that may leave some.

    WordPiece, words and Unigram split at any white space and drop it. For characters, patterns and k-mers a space is a
    token. Byte-level BPE has tokens for all of it, so line breaks stay, and paragraphs remain separated by one blank
    line.
    """
    if kind in SPLITS_AT_SPACES:
        return []
    if kind in SPACES_ALONE:
        return [_replace(" {2,}", " ")]
    if kind == "unigram":
        return single_spaces()
    return [
        # A single " " is not matched, which makes it several times as fast.
        _replace(f" *[{_SPACES}][ {_SPACES}]*| {{2,}}", " "),
        _replace(f" ?[{_PARAGRAPH_BREAKS}] ?", "\n\n"),
        _replace(f" ?(?:\r\n|[{_LINE_BREAKS}]) ?", "\n"),
        _replace("\n{3,}", "\n\n"),
    ]


def space_for_first(characters: str) -> Any:
    """Return the step that replaces a text's first characters by a space, where a later step would remove them.

    Unigram puts "▁" before a text at position 0, which a text without its first characters has no longer.
    """
    return _replace(f"^{characters}+", " ")


def single_spaces() -> list[Any]:
    """Return the last steps of Unigram, which make a run of spaces one and remove spaces at the end.

    The space before a word is part of it; without a word after it, it would be a token by itself.
    """
    return [_replace(" {2,}", " "), _replace(" +$", "")]


def _lower_case(dotless_i: bool) -> list[Any]:
    # A dot is removed by itself: replacing it with its letter would move the position of a first letter (see
    # `space_for_first`).
    first: list[Any] = [normalizers.Replace("İ", "i"), _replace(f"(?<=I)\u0307(?!{_MARK})", "")]
    if dotless_i:
        # Í has one lower case everywhere, and is I and an accent where it is not composed.
        first = [normalizers.NFC(), normalizers.Replace("İ", "i"), normalizers.Replace("I", "ı")]
        first.append(_replace("(?<=i)\u0307", ""))
    return [
        *first,
        _replace(f"(?<={_CASED})Σ(?!{_CASED})", "ς"),
        normalizers.Replace("Σ", "σ"),
        normalizers.Lowercase(),
    ]


def _replace(pattern: str, content: str) -> Any:
    return normalizers.Replace(Regex(pattern), content)


def spaces_only() -> list[Any]:
    """Return the steps that make white space uniform for a Unigram tokenizer and change nothing else."""
    return [_replace(f"[{SPACES}]", " "), *single_spaces()]


def recognize(normalizer: Mapping[str, Any] | None, kind: str) -> Normalization | None:
    """Return the choices that give exactly this normalizer of a tokenizer.json, or None if none do."""
    return _known(kind).get(json.dumps(normalizer, sort_keys=True))


@functools.cache
def _known(kind: str) -> dict[str, Normalization]:
    flags = itertools.product((True, False), repeat=5)
    # Only WordPiece isolates Chinese characters, and only the others keep spaces.
    choices = [Normalization(kind, *some) for some in flags if not some[4 if kind == "wordpiece" else 3]]
    return {json.dumps(as_json(unicode_normalizer(one)), sort_keys=True): one for one in choices}


def as_json(part: Any) -> Any:
    """Return a normalizer or a pre-tokenizer as it is written in tokenizer.json."""
    return json.loads(part.__getstate__())


def for_language(settings: TokenizerSettings, language: str) -> TokenizerSettings:
    """Return the settings with `dotless_i` decided by the language of the corpus; "auto" leaves it to the text."""
    if language == "auto" or settings.dotless_i is not None or not settings.may_fold_dotless:
        return settings
    dotless = language.lower().replace("_", "-").split("-")[0] in DOTLESS_LANGUAGES
    return settings.model_copy(update={"dotless_i": dotless})


def dotless_share(counts: Mapping[str, int], kind: str) -> float:
    """Return the share of ı among i and ı in counted words. kind: "bpe" counts words spelled as bytes."""
    dotless = "ı".encode().decode("latin-1") if kind == "bpe" else "ı"
    with_dot = sum(word.count("i") * count for word, count in counts.items() if "i" in word)
    without = sum(word.count(dotless) * count for word, count in counts.items() if dotless in word)
    return without / max(1, with_dot + without)


def looks_dotless(counts: Mapping[str, int], kind: str) -> bool:
    """Return whether counted words are in a language in which I is the capital of ı."""
    return dotless_share(counts, kind) >= _DOTLESS_SHARE
