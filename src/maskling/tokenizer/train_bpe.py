"""Vocabularies learned by merging: WordPiece and byte-level BPE, on the library's BpeTrainer.

The library's own WordPiece trainer gives other ids on every run (huggingface/tokenizers issue 1794); its
BPE trainer does not. So a word is spelled with its first character as it is and every later one replaced by
a 'shadow' from Unicode's private planes; BPE is trained on that, and the shadows become ##.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

import tokenizers
from tokenizers import models, pre_tokenizers, trainers

from maskling.errors import TokenizerError
from maskling.tokenizer.library import MAX_WORD_CHARACTERS, guarded

# Private-use characters never reach a vocabulary: BERT's normalizer drops them as "other".
_FIRST_SHADOW: Final = 0xF0000
_SHADOWS: Final = 0xFFFE
_BOTH_FORMS: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
# The trainer is fed each word as often as it occurs, 0.3 us a time; larger corpora are scaled down to this many.
MOST_WORDS: Final = 50_000_000
_WORDS_A_LINE: Final = 1000


def word_pieces(words: Mapping[str, int], room: int, min_count: int, max_alphabet: float) -> list[str]:
    """WordPiece's vocabulary, at most `room` pieces: characters first, then the merges in the order they were made."""
    usable = {word: count for word, count in words.items() if len(word) <= MAX_WORD_CHARACTERS}
    first: Counter[str] = Counter()
    later: Counter[str] = Counter()
    for word, count in usable.items():
        first[word[0]] += count
        for character in word[1:]:
            later[character] += count
    # "a" and "##a" are two pieces.
    forms = first + Counter({f"##{character}": count for character, count in later.items()})
    # A letter or digit seen in one place may start or continue a word not seen yet.
    for form in list(forms):
        if form[-1] in _BOTH_FORMS:
            forms[form[-1]] += 0
            forms[f"##{form[-1]}"] += 0
    seen = {form[-1] for form, count in forms.items() if count >= min_count and form[-1] in _BOTH_FORMS}
    kept = _most_frequent(
        {form: count for form, count in forms.items() if count >= min_count or form[-1] in seen},
        min(int(room * max_alphabet), _SHADOWS),
    )
    if not kept:
        raise TokenizerError(
            "no character occurs often enough to enter the vocabulary; give more text, a smaller tokenizer.min_count "
            "or a larger tokenizer.vocab_size"
        )
    shadow = {form: chr(_FIRST_SHADOW + number) for number, form in enumerate(f for f in sorted(kept) if len(f) == 3)}
    light = {dark: form for form, dark in shadow.items()}

    shades = {form[2]: dark for form, dark in shadow.items()}
    darken = str.maketrans(shades)
    # One unknown character makes the whole word [UNK].
    spelled = {
        word[0] + word[1:].translate(darken): count
        for word, count in usable.items()
        if word[0] in kept and shades.keys() >= set(word[1:])
    }
    learned, _ = _merge(spelled, room, min_count, sorted(shadow.get(form, form) for form in kept))
    return ["".join([light.get(piece[0], piece[0]), *(light[dark][2:] for dark in piece[1:])]) for piece in learned]


def byte_level(words: Mapping[str, int], room: int, min_count: int) -> tuple[list[str], list[tuple[str, str]]]:
    """Byte-level BPE: at most `room` pieces (the 256 bytes first, so that nothing is unknown) and the merges."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    if room < len(letters):
        raise TokenizerError(
            f"tokenizer.vocab_size leaves room for {room} pieces, but byte-level BPE needs the {len(letters)} bytes "
            f"besides the special tokens; set it to {len(letters) + 5} or more"
        )
    return _merge(words, room, min_count, letters)


def alphabet(words: Mapping[str, int], most: int, min_count: int) -> set[str]:
    """The most frequent characters: at most `most`, each occurring at least `min_count` times."""
    characters: Counter[str] = Counter()
    for word, count in words.items():
        for character in word:
            characters[character] += count
    return _most_frequent({c: count for c, count in characters.items() if count >= min_count}, most)


def _most_frequent(counts: Mapping[str, int], most: int) -> set[str]:
    """The `most` keys with the highest counts; among equals the first in the order of code points."""
    return set(sorted(counts, key=lambda key: (-counts[key], key))[:most])


def _merge(
    words: Mapping[str, int], room: int, min_count: int, letters: list[str]
) -> tuple[list[str], list[tuple[str, str]]]:
    """Train BPE on words without white space; returns the pieces in the order of their ids, and the merges."""
    with guarded("training the vocabulary failed"):
        library = tokenizers.Tokenizer(models.BPE())
        library.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        trainer = trainers.BpeTrainer(
            vocab_size=room, min_frequency=min_count, initial_alphabet=letters, show_progress=False, special_tokens=[]
        )
        library.train_from_iterator(_lines(words), trainer)
        model: dict[str, Any] = json.loads(library.to_str())["model"]
    pieces = sorted(model["vocab"], key=model["vocab"].__getitem__)
    return pieces, [(left, right) for left, right in model["merges"]]


def _lines(words: Mapping[str, int]) -> Iterator[str]:
    """Each word as often as it occurs (scaled down when that is too often), many on a line."""
    total = sum(words.values())
    scale = min(1.0, MOST_WORDS / max(total, 1))
    for word, count in words.items():
        left = count if scale == 1.0 else int(count * scale + 0.5)
        while left > 0:
            now = min(left, _WORDS_A_LINE)
            yield f"{word} " * now
            left -= now
