"""Train WordPiece and byte-level BPE vocabularies by merging pairs, with the library's BpeTrainer.

The library's own WordPiece trainer gives different ids on every run (huggingface/tokenizers issue 1794); its BPE
trainer does not. Therefore each word is spelled with its first character unchanged and every later character replaced
by a stand-in from Unicode's private-use planes; BPE is trained on that spelling, and the stand-ins become ## subwords.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

import tokenizers
from tokenizers import models, pre_tokenizers, trainers

from maskling.errors import TokenizerError
from maskling.tokenizer.library import MAX_WORD_CHARACTERS, library_errors
from maskling.tokenizer.segmentation import IDEOGRAPH
from maskling.tokenizer.train_units import choose_characters, most_frequent, rare_letters

# Private-use characters never reach a vocabulary: BERT's normalizer drops them as "other".
_FIRST_STAND_IN: Final = 0xF0000
_MAX_STAND_INS: Final = 0xFFFE
_BOTH_FORMS: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
# The trainer gets each word as often as it occurs, at 0.3 us per occurrence; larger corpora are scaled down to this.
MAX_TRAINING_WORDS: Final = 50_000_000
_WORDS_PER_LINE: Final = 1000


def word_pieces(
    words: Mapping[str, int],
    room: int,
    min_count: int,
    max_alphabet: float,
    split_digits: bool = False,
    may_start: Collection[str] = (),
) -> list[str]:
    """Train a WordPiece vocabulary of at most `room` subwords: characters first, then merges in the order made.

    words: how often each word occurs; min_count: minimum occurrences of a character or a merged pair; max_alphabet:
    maximum fraction of `room` for single characters; split_digits: a digit is always a word; may_start: more
    characters that can start a word and continue one, because long words are cut anywhere. Raises TokenizerError if
    there is no word.
    """
    both_forms = (_BOTH_FORMS.difference("0123456789") if split_digits else _BOTH_FORMS).union(may_start)
    usable = {word: count for word, count in words.items() if len(word) <= MAX_WORD_CHARACTERS}
    first: Counter[str] = Counter()
    later: Counter[str] = Counter()
    for word, count in usable.items():
        first[word[0]] += count
        for character in word[1:]:
            later[character] += count
    # "a" and "##a" are two pieces.
    forms = first + Counter({f"##{character}": count for character, count in later.items()})
    # A letter or digit that occurs in one position may start or continue a word not in the corpus.
    for form in list(forms):
        if form[-1] in both_forms:
            forms[form[-1]] += 0
            forms[f"##{form[-1]}"] += 0
    frequent = {form[-1] for form, count in forms.items() if count >= min_count and form[-1] in both_forms}
    always = [form for form in forms if form[-1] in frequent]
    max_forms = min(max(1, int(room * max_alphabet)), _MAX_STAND_INS)
    chosen, rare = choose_characters(forms, max_forms, min_count, set(always))
    kept = set(chosen)
    if not forms:
        raise TokenizerError(
            f"every word is longer than {MAX_WORD_CHARACTERS} characters, which WordPiece cannot read; use "
            f"tokenizer.kind bpe, unigram, characters or kmer"
        )
    continuations = [form for form in sorted(kept) if len(form) == 3]
    stand_in = {form: chr(_FIRST_STAND_IN + index) for index, form in enumerate(continuations)}
    form_of = {character: form for form, character in stand_in.items()}

    later_characters = {form[2]: character for form, character in stand_in.items()}
    translation = str.maketrans(later_characters)
    # One unknown character makes the whole word [UNK].
    spelled = {
        word[0] + word[1:].translate(translation): count
        for word, count in usable.items()
        if word[0] in kept and later_characters.keys() >= set(word[1:])
    }
    learned, _ = _merge(spelled, room - len(rare), min_count, sorted(stand_in.get(form, form) for form in kept))
    pieces = [
        "".join([form_of.get(piece[0], piece[0]), *(form_of[character][2:] for character in piece[1:])])
        for piece in learned
    ]
    # Characters that max_alphabet left out, where the merges leave room: Chinese has no merges.
    others = {form: count for form, count in forms.items() if form not in kept}
    pieces += [*rare, *most_frequent(others, room - len(pieces) - len(rare), min_count)]
    # A letter of any alphabet may start or continue a word not in the corpus; Chinese characters are words.
    other_forms = {form[2:] if len(form) == 3 else f"##{form}": 0 for form in forms if not IDEOGRAPH.match(form[-1])}
    return [*pieces, *rare_letters(other_forms | forms, pieces, room - len(pieces))]


def byte_level(words: Mapping[str, int], room: int, min_count: int) -> tuple[list[str], list[tuple[str, str]]]:
    """Train byte-level BPE; return at most `room` subwords and the merges.

    The 256 bytes come first, so that nothing is unknown. Raises TokenizerError if `room` is too small for them.
    """
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    if room < len(letters):
        raise TokenizerError(
            f"tokenizer.vocab_size leaves room for {room} subwords, but byte-level BPE needs {len(letters)} for single "
            f"bytes, besides the special tokens; set it to {len(letters) + 5} or more"
        )
    return _merge(words, room, min_count, letters)


def _merge(
    words: Mapping[str, int], room: int, min_count: int, letters: list[str]
) -> tuple[list[str], list[tuple[str, str]]]:
    """Train BPE on words without white space; return the pieces in id order, and the merges."""
    with library_errors("training the vocabulary failed"):
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
    """Yield lines of words, each word as often as it occurs, scaled down to MAX_TRAINING_WORDS in all."""
    total = sum(words.values())
    scale = min(1.0, MAX_TRAINING_WORDS / max(total, 1))
    for word, count in words.items():
        left = count if scale == 1.0 else int(count * scale + 0.5)
        while left > 0:
            now = min(left, _WORDS_PER_LINE)
            yield f"{word} " * now
            left -= now
