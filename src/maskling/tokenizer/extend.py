"""Extend an existing vocabulary with new words as ordinary tokens, so that all other text keeps its ids.

The words are added to the model's own vocabulary, not as "added tokens": those are cut out of the text before it is
normalized, lose the space before them in decoding, and are kept apart from the vocabulary by every tool.

- WordPiece takes the longest token that a word begins with, so a whole word in its vocabulary is found; longer words
  that begin with it become its token and a continuation ("fibroblast", "##s").
- Byte-level BPE gets `ignore_merges` (as in Llama 3): a piece of text that is a token is taken as that token before
  anything is merged, so only that exact piece changes.
- Unigram takes the most likely segmentation. A new token is exactly as likely as the subwords it replaces, plus a small
  margin, so it wins wherever those were the best segmentation and nowhere else.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from maskling.errors import TokenizerError
from maskling.tokenizer.encoding import Encoded
from maskling.tokenizer.library import TokenizerJson
from maskling.tokenizer.tokenizer import Tokenizer

Subwords = tuple[int, ...]  # the token ids of one word

# Maximum number of distinct split words to count; beyond it the rarest are dropped. About 300 MB.
_MAX_SPLIT_WORDS: Final = 2_000_000
_MARGIN: Final = 1e-6  # Unigram scores have six decimals


@dataclass
class SplitWords:
    """Token counts of a text, and counts of its words that take two or more tokens (subwords).

    token_counts: (vocab_size,) int64, how often each token occurs; counts: how often each split word occurs.
    """

    token_counts: NDArray[np.int64]
    counts: Counter[Subwords] = field(default_factory=Counter)

    @property
    def num_tokens(self) -> int:
        """Number of tokens of the whole text."""
        return int(self.token_counts.sum())

    def by_tokens_saved(self, min_count: int) -> Iterator[tuple[Subwords, int]]:
        """Yield the split words that occur at least `min_count` times, with their counts.

        Those that would save the most tokens as one token come first.
        """
        frequent = [(subwords, count) for subwords, count in self.counts.items() if count >= min_count]
        yield from sorted(frequent, key=lambda item: (-item[1] * (len(item[0]) - 1), item[0]))


def count_split_words(
    tokenizer: Tokenizer, batches: Iterable[list[str]], max_words: int = _MAX_SPLIT_WORDS
) -> SplitWords:
    """Count the words of texts that take more than one token. max_words: maximum number of distinct ones."""
    fragments = SplitWords(np.zeros(tokenizer.vocab_size, dtype=np.int64))
    for texts in batches:
        encoded = tokenizer.encode_flat(texts)
        fragments.token_counts += np.bincount(encoded.ids, minlength=tokenizer.vocab_size)
        fragments.counts.update(_split_words(encoded))
        rarest = 1
        while len(fragments.counts) > max_words:
            fragments.counts = Counter({word: count for word, count in fragments.counts.items() if count > rarest})
            rarest += 1
    return fragments


@dataclass(frozen=True, slots=True)
class NewWord:
    """A word to add as one token.

    text: as written in a text, with the space before it if the token includes that; token: as spelled in the
    vocabulary; pieces: ids of the tokens that spelled it so far; count: how often it occurs, 0 if no text was counted;
    is_special: a special token instead of an ordinary one.
    """

    text: str
    token: str
    pieces: Subwords
    count: int = 0
    is_special: bool = False


def choose_words(tokenizer: Tokenizer, fragments: SplitWords, count: int, min_count: int) -> list[NewWord]:
    """Choose the words of a text that save the most tokens: occurrences times (pieces - 1); at most `count` words.

    Only whole words with a letter in them, and only those that the extended tokenizer does encode as one token. Raises
    TokenizerError if there is none.
    """
    chosen: list[NewWord] = []
    candidates: list[NewWord] = []
    unk = tokenizer.special.unk
    for subwords, occurrences in fragments.by_tokens_saved(min_count):
        text = tokenizer.decode(subwords)
        if unk in subwords or not any(character.isalpha() for character in text) or "\ufffd" in text:
            continue
        candidates.append(NewWord(text, _spelled(tokenizer, subwords), subwords, occurrences))
        # A quarter more than wanted, because not all will be one token, and each check builds a tokenizer.
        if len(candidates) >= 1.25 * (count - len(chosen)) + 16:
            chosen, candidates = _encoded_as_one(tokenizer, [*chosen, *candidates]), []
            if len(chosen) >= count:
                break
    chosen = _encoded_as_one(tokenizer, [*chosen, *candidates])[:count]
    while chosen and (harmful := recount_tokens(tokenizer, extend_tokenizer(tokenizer, chosen), fragments)[1]):
        chosen = [word for word in chosen if word.token not in harmful]
    if not chosen:
        raise TokenizerError(
            f"no word of this text that occurs {min_count} times is split into pieces and could be one token; give "
            f"more text, a smaller --min-count, or the words themselves"
        )
    return chosen


@dataclass(frozen=True)
class GivenWords:
    """Words of a user, sorted.

    usable: the new tokens, in every form that the vocabulary distinguishes (with a space before it, and without);
    unusable: the other words, each with the reason; folded: words that the tokenizer changes (case, accents), each with
    what is added instead.
    """

    usable: tuple[NewWord, ...]
    unusable: Mapping[str, str]
    folded: Mapping[str, str] = field(default_factory=dict)


def check_words(tokenizer: Tokenizer, words: Iterable[str], fragments: SplitWords | None = None) -> GivenWords:
    """Find out which words can become one ordinary token each. fragments: of a text, for the counts of the words.

    Words are normalized as the tokenizer does it with text. Raises TokenizerError if there are none at all.
    """
    chosen: dict[str, NewWord] = {}
    word_of: dict[str, str] = {}
    unusable: dict[str, str] = {}
    folded: dict[str, str] = {}
    given = list(dict.fromkeys(word.strip() for word in words if word.strip()))
    if not given:
        raise TokenizerError("there is no word to add; give one word per line")
    for word in given:
        normal = tokenizer.normalized(word).replace("▁", " ").strip()
        if not normal:
            unusable[word] = "nothing is left of it when this tokenizer normalizes it"
            continue
        if normal != word and " " not in normal:
            folded[word] = normal
        text = folded.get(word, word)
        try:
            forms = _forms(tokenizer, text)
        except TokenizerError as error:
            unusable[word] = str(error)
            continue
        new = [form for form in forms if len(form.pieces) > 1 or _is_unknown(tokenizer, form)]
        if not new:
            unusable[word] = "one token already"
        for form in new:
            occurrences = fragments.counts[form.pieces] if fragments else 0
            chosen.setdefault(form.token, NewWord(form.text, form.token, form.pieces, occurrences))
            word_of.setdefault(form.token, word)
    usable = _encoded_as_one(tokenizer, list(chosen.values()))
    for form in chosen.values():
        if form not in usable:
            unusable.setdefault(word_of[form.token], "this tokenizer splits the text there first")
    return GivenWords(tuple(usable), unusable, {word: to for word, to in folded.items() if word not in unusable})


def check_special(tokenizer: Tokenizer, tokens: Iterable[str]) -> GivenWords:
    """Find out which strings can become special tokens: kept whole wherever they are written, and never masked.

    Raises TokenizerError if there are none at all.
    """
    given = list(dict.fromkeys(token.strip() for token in tokens if token.strip()))
    if not given:
        raise TokenizerError("there is no special token to add; give one per line")
    unusable = {token: "one token already" for token in given if tokenizer.id(token) is not None}
    new = [token for token in given if token not in unusable]
    pieces = tokenizer.encode_batch(new)
    unk = tokenizer.special.unk
    usable = (
        NewWord(token, token, tuple(tokens.ids.tolist()) or (unk,), is_special=True)
        for token, tokens in zip(new, pieces, strict=True)
    )
    return GivenWords(tuple(usable), unusable)


def unusable_message(unusable: Mapping[str, str], usable: int) -> str:
    """Return the text of an error that names every word that cannot be added, by reason."""
    by_reason: dict[str, list[str]] = {}
    for word, reason in unusable.items():
        by_reason.setdefault(reason, []).append(repr(word))
    reasons = "; ".join(f"{', '.join(words)} ({reason})" for reason, words in by_reason.items())
    return (
        f"{len(unusable):,} of {len(unusable) + usable:,} cannot be added as a word: {reasons}. Nothing was written: "
        f"leave them out, add the others alone with --skip-unusable, or add those that are split as special tokens "
        f"with --special FILE"
    )


def extend_tokenizer(tokenizer: Tokenizer, words: Sequence[NewWord]) -> Tokenizer:
    """Return the tokenizer with more words, whose ids follow the existing ones. Special tokens must be the last.

    Raises TokenizerError for a kind of tokenizer that cannot be extended so that other text keeps its ids.
    """
    tokenizer_json = copy.deepcopy(tokenizer.tokenizer_json)
    ordinary = [word for word in words if not word.is_special]
    if ordinary:
        kind = tokenizer_json["model"]["type"]
        if kind not in _ADD_WORDS:
            raise TokenizerError(f"a {kind} tokenizer cannot be extended, only {', '.join(_ADD_WORDS)}")
        _add_missing_tokens(tokenizer_json)
        _ADD_WORDS[kind](tokenizer_json, ordinary, tokenizer)
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    first = tokenizer.vocab_size + len(ordinary)
    special = (word.token for word in words if word.is_special)
    tokenizer_json["added_tokens"] += [
        {"id": id_, "content": token, **flags} for id_, token in enumerate(special, start=first)
    ]
    return tokenizer.with_json(tokenizer_json)


def recount_tokens(before: Tokenizer, after: Tokenizer, fragments: SplitWords) -> tuple[int, dict[str, str]]:
    """Count the tokens of the counted text with the extended tokenizer, and find new tokens that break other words.

    A new WordPiece token at the front of a longer word may leave a rest that has no pieces, if the vocabulary lacks
    single characters. Returns the number of tokens, and for each harmful token a word that can no longer be spelled.
    """
    texts = [before.decode(subwords) for subwords in fragments.counts]
    total, unk = fragments.num_tokens, before.special.unk
    new = [after.token(id_) for id_ in range(before.vocab_size, after.vocab_size)]
    harmful: dict[str, str] = {}
    encoded = zip(fragments.counts.items(), texts, before.encode_batch(texts), after.encode_batch(texts), strict=True)
    for (subwords, count), text, old_tokens, new_tokens in encoded:
        # Out of context a word may be encoded differently (after "(" a Unigram model has no "▁"): leave its count.
        if old_tokens.ids.tolist() != list(subwords):
            continue
        if unk in new_tokens.ids and unk not in subwords:
            prefixes = [token for token in new if text.startswith(token)]
            harmful[max(prefixes, key=len)] = text
        total += count * (len(new_tokens) - len(subwords))
    return total, harmful


def _split_words(encoded: Encoded) -> Iterator[Subwords]:
    """Yield the token ids of each word that has more than one token."""
    starts = encoded.word_starts.copy()
    starts[encoded.offsets[:-1][np.diff(encoded.offsets) > 0]] = True
    begins = np.flatnonzero(starts)
    ends = np.append(begins[1:], len(encoded.ids))
    several = ends - begins > 1
    ids = encoded.ids.tolist()
    for begin, end in zip(begins[several].tolist(), ends[several].tolist(), strict=True):
        yield tuple(ids[begin:end])


def _encoded_as_one(tokenizer: Tokenizer, words: list[NewWord]) -> list[NewWord]:
    """Return the words that are encoded as one token after all of `words` are added."""
    new = {word.token: word for word in words if tokenizer.id(word.token) is None}
    if not new:
        return []
    after = extend_tokenizer(tokenizer, list(new.values()))
    encoded = after.encode_batch([word.text for word in new.values()])
    ids = map(after.id_of, new)
    return [word for word, tokens, id_ in zip(new.values(), encoded, ids, strict=True) if tokens.ids.tolist() == [id_]]


def _spelled(tokenizer: Tokenizer, subwords: Subwords) -> str:
    """Return the token that joins some subwords, as the vocabulary spells it."""
    first, *rest = (tokenizer.token(id_) for id_ in subwords)
    prefix = tokenizer.tokenizer_json["model"].get("continuing_subword_prefix") or ""
    return first + "".join(piece.removeprefix(prefix) for piece in rest)


def _forms(tokenizer: Tokenizer, word: str) -> list[NewWord]:
    """Return the forms of a word: some models have one token with the space before it and one without.

    Raises TokenizerError with the reason if the tokenizer splits the word.
    """
    alone, after_another = tokenizer.pre_tokens(word), tokenizer.pre_tokens(f"a {word}")
    with_space = not alone[0].startswith("▁") and after_another[-1:] != alone[-1:]
    forms = []
    for text in [f" {word}", word] if with_space else [word]:
        parts = tokenizer.pre_tokens(text)
        if len(parts) != 1:
            raise TokenizerError(f"split into {' '.join(parts)} first")
        forms.append(NewWord(text, parts[0], tuple(tokenizer.encode(text).ids.tolist())))
    return forms


def _is_unknown(tokenizer: Tokenizer, form: NewWord) -> bool:
    return form.pieces == (tokenizer.special.unk,)


def _add_missing_tokens(tokenizer_json: TokenizerJson) -> None:
    """Write added tokens that are not in the model's vocabulary (often <mask>) into it, with their present ids.

    Otherwise the library would give them new ids, after the extended vocabulary, when it opens the file.
    """
    model = tokenizer_json["model"]
    for token in sorted(tokenizer_json["added_tokens"], key=lambda token: token["id"]):
        if isinstance(model["vocab"], dict):
            model["vocab"].setdefault(token["content"], token["id"])
        elif token["id"] >= len(model["vocab"]):
            model["vocab"].append([token["content"], min(score for _, score in model["vocab"])])


def _add_entries(tokenizer_json: TokenizerJson, words: Sequence[NewWord], tokenizer: Tokenizer) -> None:
    """Add words to a WordPiece or word-level model: each is one more entry of its vocabulary."""
    for id_, word in enumerate(words, start=tokenizer.vocab_size):
        tokenizer_json["model"]["vocab"][word.token] = id_


def _add_unmerged(tokenizer_json: TokenizerJson, words: Sequence[NewWord], tokenizer: Tokenizer) -> None:
    """Add words to a byte-level BPE model: with `ignore_merges` a piece of text that is a token is taken whole."""
    if len(tokenizer.pre_tokens("a a")) < 2:
        raise TokenizerError(
            "this BPE tokenizer does not split text at spaces, so a new word would be found in no text; add the words "
            "as special tokens with --special FILE"
        )
    if not tokenizer_json["model"].get("ignore_merges"):
        tokenizer_json["model"]["ignore_merges"] = True
        added = {token["content"] for token in tokenizer_json["added_tokens"]}
        if stray := next((token for token in _unreachable(tokenizer) if token not in added), None):
            raise TokenizerError(
                f"this vocabulary cannot be extended: it has the token {stray!r}, which its own merges never make but "
                f"the extended tokenizer would, so that other text would get different ids"
            )
    _add_entries(tokenizer_json, words, tokenizer)


def _unreachable(tokenizer: Tokenizer) -> list[str]:
    """Return the tokens that can be a whole piece of a text but are spelled with other tokens by the merges."""
    tokens = [tokenizer.token(id_) for id_ in tokenizer.ordinary_ids.tolist()]
    texts = [tokenizer.decode([id_]) for id_ in tokenizer.ordinary_ids.tolist()]
    encoded = zip(tokens, texts, tokenizer.encode_batch(texts), strict=True)
    several = [(token, text) for token, text, found in encoded if len(found) > 1]
    return [token for token, text in several if tokenizer.pre_tokens(text) == [token]]


def _add_scored(tokenizer_json: TokenizerJson, words: Sequence[NewWord], _: Tokenizer) -> None:
    """Add words to a Unigram model: each as likely as its pieces, plus a margin for each piece saved."""
    vocabulary = tokenizer_json["model"]["vocab"]
    lowest = min(score for _, score in vocabulary)
    unk = tokenizer_json["model"]["unk_id"]
    scores = [lowest if id_ == unk else score for id_, (_, score) in enumerate(vocabulary)]
    for word in words:
        score = sum(scores[piece] for piece in word.pieces) + _MARGIN * max(1, len(word.pieces) - 1)
        # A piece less likely than all others would also make unknown characters less likely, which are scored by it.
        vocabulary.append([word.token, max(score, lowest) if unk in word.pieces else score])


_ADD_WORDS: Final[dict[str, Callable[[TokenizerJson, Sequence[NewWord], Tokenizer], None]]] = {
    "WordPiece": _add_entries,
    "WordLevel": _add_entries,
    "BPE": _add_unmerged,
    "Unigram": _add_scored,
}
