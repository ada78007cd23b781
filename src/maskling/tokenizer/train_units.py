"""Train vocabularies of whole units: characters, words, matches of a pattern and k-mers.

Nothing is merged: a vocabulary is the most frequent pieces that the pre-tokenizer makes. For matches and k-mers the
single characters come first. The model is then a BPE without merges: a piece that is in the vocabulary is one token
(`ignore_merges`), any other is the tokens of its characters, so that only characters never seen are unknown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Final
from unicodedata import category

from maskling.errors import TokenizerError

# Characters that occur less often than `min_count` are kept where they are more than this share of the text. In English
# of 100 kB and more and Chinese of 20 MB they are fewer. WordPiece loses whole words by them, hence so little.
_RARE_SHARE: Final = 0.0002


def most_frequent(counts: Mapping[str, int], max_keys: int, min_count: int = 1) -> list[str]:
    """Return the keys with the highest counts, at most `max_keys`, each at least `min_count`; ties in string order."""
    frequent = [key for key, count in counts.items() if count >= min_count]
    return sorted(frequent, key=lambda key: (-counts[key], key))[:max_keys]


def choose_characters(
    counts: Mapping[str, int], max_characters: int, min_count: int, always: Collection[str] = ()
) -> tuple[list[str], list[str]]:
    """Return the characters of an alphabet, at most `max_characters`, the most frequent first, as two lists.

    The first has those of at least `min_count` occurrences. The second has rarer ones, as many as it takes until no
    more than 0.02 % of the text is unknown: in a small corpus of a script with thousands of characters many occur once.
    always: characters that are not rare, whatever their count.
    """
    frequent = {key: count for key, count in counts.items() if count >= min_count or key in always}
    chosen = most_frequent(frequent, max_characters, min_count=0)
    total = sum(counts.values())
    left = total - sum(counts[key] for key in chosen)
    added: list[str] = []
    for key in most_frequent({key: c for key, c in counts.items() if key not in frequent}, max_characters):
        if left <= _RARE_SHARE * total or len(chosen) + len(added) >= max_characters:
            break
        added.append(key)
        left -= counts[key]
    return chosen, added


def rare_letters(counts: Mapping[str, int], known: Collection[str], room: int) -> list[str]:
    """Return the letters and marks that are not `known`, at most `room`, the most frequent first.

    A vocabulary that has room left takes them however rare they are, so that a small corpus loses none. counts: how
    often each character occurs; a "##" before it stays.
    """
    known = set(known)
    letters = {form: n for form, n in counts.items() if form not in known and _is_letter(form[-1])}
    return most_frequent(letters, max(0, room), min_count=0)


def _is_letter(character: str) -> bool:
    """Return whether a character is a letter, a mark, or a joiner, which Persian and Indic scripts spell with."""
    return category(character)[0] in "LM" or character in "\u200c\u200d"


def count_characters(words: Mapping[str, int]) -> Counter[str]:
    """Return how often each character occurs. words: how often each word occurs."""
    characters: Counter[str] = Counter()
    for word, count in words.items():
        for character in word:
            characters[character] += count
    return characters


def character_tokens(words: Mapping[str, int], room: int, min_count: int) -> list[str]:
    """Return the tokens of the kind characters, the most frequent first. words: how often each piece occurs."""
    chosen, rare = choose_characters(count_characters(words), room, min_count)
    return [*chosen, *rare]


def word_tokens(words: Mapping[str, int], room: int, min_count: int) -> list[str]:
    """Return the tokens of the kind words, the most frequent first.

    Raises TokenizerError if no word is frequent enough.
    """
    chosen = most_frequent(words, room, min_count)
    if not chosen:
        raise TokenizerError(
            f"no word occurs {min_count} times or more (tokenizer.min_count); give more text or a smaller "
            f"tokenizer.min_count, or use tokenizer.kind wordpiece, which splits words into subwords"
        )
    return chosen


def unit_tokens(words: Mapping[str, int], room: int, min_count: int, max_alphabet: float) -> list[str]:
    """Return the tokens of the kinds regex and kmer: single characters, then the most frequent longer pieces.

    words: how often each piece occurs; max_alphabet: maximum fraction of `room` for single characters.
    """
    counts = count_characters(words)
    chosen, rare = choose_characters(counts, max(1, int(room * max_alphabet)), min_count)
    alphabet = [*chosen, *rare]
    longer = most_frequent({word: count for word, count in words.items() if len(word) > 1}, room, min_count)
    longer = longer[: room - len(alphabet)]
    others = {letter: count for letter, count in counts.items() if letter not in set(alphabet)}
    return [*alphabet, *longer, *most_frequent(others, room - len(alphabet) - len(longer), min_count)]
