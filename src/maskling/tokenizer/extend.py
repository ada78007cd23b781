"""New words for a vocabulary that exists, as ordinary tokens, so that all other text keeps its ids.

Each kind of model gets them where its own rules find them, not as "added tokens": those are cut out of the text
before it is normalized, lose the space before them when decoded, and stand apart from the vocabulary in every tool.

WordPiece takes the longest token that a word begins with, so a whole word in its vocabulary is found; longer words
that begin with it are its token and a continuation ("fibroblast", "##s"). Byte-level BPE is told to take a piece of
text that is a token as that token (`ignore_merges`, as Llama 3 does) before it merges anything, so only that very
piece changes. A unigram model takes the likeliest spelling: a new piece is exactly as likely as the pieces it
stands for, plus a hair, so it wins wherever those were the best spelling and nowhere else.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from maskling.errors import TokenizerError
from maskling.tokenizer.encoding import Encoded
from maskling.tokenizer.library import Tree
from maskling.tokenizer.tokenizer import Tokenizer

# FOLDED DOCS
# [fragments] Words that a tokenizer cuts into pieces: how often each occurs in a text, and what one token for it would save.


Run = tuple[int, ...]

# Distinct words in pieces that are remembered; beyond them the rarest are forgotten. About 300 MB.
_MOST_RUNS: Final = 2_000_000


@dataclass
class Fragments:
    """What the words of a text are cut into.

    runs: how often each sequence of two or more tokens spells a word; token_counts: (vocab_size,) int64, how often
    each token occurs.
    """

    token_counts: NDArray[np.int64]
    runs: Counter[Run] = field(default_factory=Counter)

    @property
    def num_tokens(self) -> int:
        """Tokens of the whole text."""
        return int(self.token_counts.sum())

    def by_saving(self, min_count: int) -> Iterator[tuple[Run, int]]:
        """The runs that occur `min_count` times, those first whose being one token would save the most tokens."""
        often = [(run, count) for run, count in self.runs.items() if count >= min_count]
        yield from sorted(often, key=lambda item: (-item[1] * (len(item[0]) - 1), item[0]))


def count_fragments(tokenizer: Tokenizer, batches: Iterable[list[str]], most: int = _MOST_RUNS) -> Fragments:
    """Count the words of texts that take more than one token. most: distinct ones to remember."""
    found = Fragments(np.zeros(tokenizer.vocab_size, dtype=np.int64))
    for texts in batches:
        encoded = tokenizer.encode_flat(texts)
        found.token_counts += np.bincount(encoded.ids, minlength=tokenizer.vocab_size)
        found.runs.update(_runs(encoded))
        rarest = 1
        while len(found.runs) > most:
            found.runs = Counter({run: count for run, count in found.runs.items() if count > rarest})
            rarest += 1
    return found


def _runs(encoded: Encoded) -> Iterator[Run]:
    starts = encoded.word_starts.copy()
    firsts = encoded.offsets[:-1][np.diff(encoded.offsets) > 0]
    starts[firsts] = True
    begins = np.flatnonzero(starts)
    ends = np.append(begins[1:], len(encoded.ids))
    several = ends - begins > 1
    ids = encoded.ids.tolist()
    for begin, end in zip(begins[several].tolist(), ends[several].tolist(), strict=True):
        yield tuple(ids[begin:end])


_HAIR: Final = 1e-6  # scores have six decimals


@dataclass(frozen=True, slots=True)
class NewWord:
    """A word that is to be one token.

    text: as it stands in a text, with the space before it where the token holds that; token: as the vocabulary spells
    it; pieces: ids of the tokens that spelled it so far; count: how often it occurs, 0 where no text was looked at.
    """

    text: str
    token: str
    pieces: Run
    count: int = 0


def choose_words(tokenizer: Tokenizer, fragments: Fragments, count: int, min_count: int) -> list[NewWord]:
    """The words of a text that save most tokens (occurrences times pieces less one), at most `count` of them.

    Only whole words with a letter in them, and only what the tokenizer then does read as one token. Raises
    TokenizerError if there is none.
    """
    chosen: list[NewWord] = []
    waiting: list[NewWord] = []
    unk = tokenizer.special.unk
    for run, occurrences in fragments.by_saving(min_count):
        text = tokenizer.decode(run)
        if unk in run or not any(character.isalpha() for character in text) or "\ufffd" in text:
            continue
        waiting.append(NewWord(text, _spelled(tokenizer, run), run, occurrences))
        # A quarter more than are wanted, for the tokenizer will not take them all and is slow to ask.
        if len(waiting) >= 1.25 * (count - len(chosen)) + 16:
            chosen, waiting = _understood(tokenizer, [*chosen, *waiting]), []
            if len(chosen) >= count:
                break
    chosen = _understood(tokenizer, [*chosen, *waiting])[:count]
    while chosen and (spoilt := recount_tokens(tokenizer, extend_tokenizer(tokenizer, chosen), fragments)[1]):
        chosen = [word for word in chosen if word.token not in spoilt]
    if not chosen:
        raise TokenizerError(
            f"no word of this text occurs {min_count} times in more than one piece and could be one token; give more "
            f"text, a smaller --min-count, or the words themselves"
        )
    return chosen


def given_words(tokenizer: Tokenizer, words: Iterable[str], fragments: Fragments | None = None) -> list[NewWord]:
    """Words that a person names, each in the forms that the vocabulary tells apart: with a space before it, or none.

    Raises TokenizerError for words that are one token already, that the tokenizer would change or cut, or if there
    are none.
    """
    chosen: dict[str, NewWord] = {}
    known: list[str] = []
    for word in dict.fromkeys(word.strip() for word in words if word.strip()):
        forms = [form for form in _forms(tokenizer, word) if len(form.pieces) > 1 or _is_unknown(tokenizer, form)]
        known += [] if forms else [word]
        for form in forms:
            occurrences = fragments.runs[form.pieces] if fragments else 0
            chosen.setdefault(form.token, NewWord(form.text, form.token, form.pieces, occurrences))
    if known:
        several = len(known) > 1
        raise TokenizerError(
            f"{_some(known)} {'are' if several else 'is'} one token already; leave {'them' if several else 'it'} out"
        )
    if not chosen:
        raise TokenizerError("there is no word to add; put one on each line")
    understood = _understood(tokenizer, list(chosen.values()))
    if lost := [form.text.strip() for form in chosen.values() if form not in understood]:
        raise TokenizerError(f"{_some(lost)} cannot be one token: this tokenizer cuts text there first; leave it out")
    return understood


def extend_tokenizer(tokenizer: Tokenizer, words: Sequence[NewWord]) -> Tokenizer:
    """The same tokenizer with more words, whose ids follow those that are there.

    Raises TokenizerError for a kind of tokenizer that cannot be extended so that other text keeps its ids.
    """
    tree = copy.deepcopy(tokenizer.tree)
    kind = tree["model"]["type"]
    if kind not in _MECHANISMS:
        raise TokenizerError(f"a tokenizer of the kind {kind} cannot be extended, only {', '.join(_MECHANISMS)}")
    _own_all_tokens(tree)
    _MECHANISMS[kind](tree, words, tokenizer)
    return tokenizer.with_tree(tree)


def recount_tokens(before: Tokenizer, after: Tokenizer, fragments: Fragments) -> tuple[int, dict[str, str]]:
    """How many tokens the counted text takes with the extended tokenizer, and which new words spoil others.

    A new WordPiece token at the front of a longer word may leave a rest that has no pieces, where the vocabulary lacks
    single characters. Returns the number, and for each such token a word that could not be spelled any more.
    """
    texts = [before.decode(run) for run in fragments.runs]
    total, unk = fragments.num_tokens, before.special.unk
    new = [after.token(id_) for id_ in range(before.vocab_size, after.vocab_size)]
    spoilt: dict[str, str] = {}
    read = zip(fragments.runs.items(), texts, before.encode_batch(texts), after.encode_batch(texts), strict=True)
    for (run, count), text, same, tokens in read:
        # Out of its place a run may be read otherwise (after "(" a unigram model has no "▁"): it stays as it was.
        if same.ids.tolist() != list(run):
            continue
        if unk in tokens.ids and unk not in run:
            fronts = [token for token in new if text.startswith(token)]
            spoilt[max(fronts, key=len)] = text
        total += count * (len(tokens) - len(run))
    return total, spoilt


def _understood(tokenizer: Tokenizer, words: list[NewWord]) -> list[NewWord]:
    """Those of some words that the tokenizer with all of them reads as one token."""
    new = {word.token: word for word in words if tokenizer.id(word.token) is None}
    if not new:
        return []
    after = extend_tokenizer(tokenizer, list(new.values()))
    read = after.encode_batch([word.text for word in new.values()])
    ids = map(after.id_of, new)
    return [word for word, tokens, id_ in zip(new.values(), read, ids, strict=True) if tokens.ids.tolist() == [id_]]


def _spelled(tokenizer: Tokenizer, run: Run) -> str:
    """The token that some pieces would make."""
    first, *rest = (tokenizer.token(piece) for piece in run)
    prefix = tokenizer.tree["model"].get("continuing_subword_prefix") or ""
    return first + "".join(piece.removeprefix(prefix) for piece in rest)


def _forms(tokenizer: Tokenizer, word: str) -> list[NewWord]:
    """A word as the vocabulary tells it apart: byte-level models have one token with the space and one without."""
    normal = tokenizer.normalized(word).strip(" ▁")
    if normal != word and " " not in normal:
        raise TokenizerError(f"{word!r} is read as {normal!r} by this tokenizer, which changes it; write it so")
    pre = tokenizer.tree["pre_tokenizer"] or {}
    with_space = pre.get("type") == "ByteLevel" and not pre["add_prefix_space"]
    forms = []
    for text in [f" {word}", word] if with_space else [word]:
        parts = tokenizer.pre_tokens(text)
        if len(parts) != 1:
            raise TokenizerError(
                f"{word!r} cannot be one token: this tokenizer cuts it into {' '.join(parts)} first; leave it out"
            )
        forms.append(NewWord(text, parts[0], tuple(tokenizer.encode(text).ids.tolist())))
    return forms


def _is_unknown(tokenizer: Tokenizer, form: NewWord) -> bool:
    return form.pieces == (tokenizer.special.unk,)


def _own_all_tokens(tree: Tree) -> None:
    """Write tokens that stand beside the vocabulary (<mask> often does) into it, under the ids that they have.

    The library numbers them anew when it opens the file, after whatever the vocabulary then holds.
    """
    model = tree["model"]
    for token in sorted(tree["added_tokens"], key=lambda token: token["id"]):
        if isinstance(model["vocab"], dict):
            model["vocab"].setdefault(token["content"], token["id"])
        elif token["id"] >= len(model["vocab"]):
            model["vocab"].append([token["content"], min(score for _, score in model["vocab"])])


def _into_table(tree: Tree, words: Sequence[NewWord], tokenizer: Tokenizer) -> None:
    """WordPiece and word-level models: another entry of the table."""
    for id_, word in enumerate(words, start=tokenizer.vocab_size):
        tree["model"]["vocab"][word.token] = id_


def _before_merging(tree: Tree, words: Sequence[NewWord], tokenizer: Tokenizer) -> None:
    """Byte-level BPE: a piece of text that is a token is taken whole."""
    if not tree["model"].get("ignore_merges"):
        tree["model"]["ignore_merges"] = True
        named = {token["content"] for token in tree["added_tokens"]}
        if stray := next((token for token in _unmerged(tokenizer) if token not in named), None):
            raise TokenizerError(
                f"this tokenizer has the token {stray!r}, which its own merges never make; it would be made from now "
                f"on, and text with it would get other ids: this vocabulary cannot be extended"
            )
    _into_table(tree, words, tokenizer)


def _unmerged(tokenizer: Tokenizer) -> list[str]:
    """Tokens that a text may hold as a piece of its own, and that the merges spell with others."""
    tokens = [tokenizer.token(id_) for id_ in tokenizer.ordinary_ids.tolist()]
    texts = [tokenizer.decode([id_]) for id_ in tokenizer.ordinary_ids.tolist()]
    read = zip(tokens, texts, tokenizer.encode_batch(texts), strict=True)
    several = [(token, text) for token, text, found in read if len(found) > 1]
    return [token for token, text in several if tokenizer.pre_tokens(text) == [token]]


def _by_likelihood(tree: Tree, words: Sequence[NewWord], _: Tokenizer) -> None:
    """Unigram: as likely as the pieces it stands for, and a hair for each piece saved."""
    vocabulary = tree["model"]["vocab"]
    lowest = min(score for _, score in vocabulary)
    unk = tree["model"]["unk_id"]
    scores = [lowest if id_ == unk else score for id_, (_, score) in enumerate(vocabulary)]
    for word in words:
        score = sum(scores[piece] for piece in word.pieces) + _HAIR * max(1, len(word.pieces) - 1)
        # A piece less likely than all others would make unknown characters, which are measured by it, less likely too.
        vocabulary.append([word.token, max(score, lowest) if unk in word.pieces else score])


def _some(words: Sequence[str], most: int = 5) -> str:
    shown = ", ".join(repr(word) for word in words[:most])
    return shown if len(words) <= most else f"{shown} and {len(words) - most:,} more"


_MECHANISMS: Final[dict[str, Callable[[Tree, Sequence[NewWord], Tokenizer], None]]] = {
    "WordPiece": _into_table,
    "WordLevel": _into_table,
    "BPE": _before_merging,
    "Unigram": _by_likelihood,
}
