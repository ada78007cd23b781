"""Score texts by their pseudo-log-likelihood: each token masked in turn, and its log-probability added up.

`score_texts` returns a `ScoredText` with the score of every token and word, `total_scores` one number per text, and
`pseudo_perplexity` a number for a corpus. `MaskedCopies` builds the masked copies of the texts with numpy alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskling.arrays import Int64Array, offsets_of
from maskling.console import counted
from maskling.drawing import box, shaded_words, text_line
from maskling.errors import SettingsError
from maskling.infer.forward import ModelRunner, batches_by_length, check_texts, encode_padded, resolve_batch_tokens
from maskling.infer.masks import word_of
from maskling.metrics import entropy
from maskling.tokenizer.encoding import Encoded
from maskling.tokenizer.library import SpecialIds
from maskling.tokenizer.tokenizer import Tokenizer

Method = Literal["original", "within-word-l2r"]
Per = Literal["text", "word", "token"]

# The log-probability, negated, from which on a word has the full colour in a drawing: one in twenty thousand.
_SURPRISING = 10.0

# Logits calculated at once: 16 MB of them, which stay in the processor's cache.
_LOGITS = 1 << 22


class ScoredPiece(NamedTuple):
    """A token or a word of a text, with the natural logarithm of its probability."""

    text: str
    log_probability: float


@dataclass(frozen=True)
class ScoredText:
    """A text with the log-probability of each of its tokens.

    ids: (n,) int32; word_starts: (n,) bool; log_probabilities: (n,) float64, natural logarithms; windows: whether the
    text was longer than the model reads, so that each token was scored in the window around it.
    """

    text: str
    ids: NDArray[np.int32]
    word_starts: NDArray[np.bool_]
    log_probabilities: NDArray[np.float64]
    tokenizer: Tokenizer = field(repr=False)
    windows: bool = False

    @cached_property
    def total(self) -> float:
        """The pseudo-log-likelihood: the sum over all tokens, 0 if there are none."""
        return float(self.log_probabilities.sum())

    @cached_property
    def tokens(self) -> tuple[ScoredPiece, ...]:
        """Each token as the vocabulary spells it, with its log-probability."""
        spelled = map(self.tokenizer.token, self.ids.tolist())
        return tuple(map(ScoredPiece, spelled, self.log_probabilities.tolist()))

    @cached_property
    def words(self) -> tuple[ScoredPiece, ...]:
        """Each word as readable text, with the sum over its tokens."""
        starts = self.word_starts.copy()
        starts[:1] = True
        firsts = np.flatnonzero(starts)
        if not len(firsts):
            return ()
        sums = np.add.reduceat(self.log_probabilities, firsts).tolist()
        spelled = [word_of(pieces.tolist(), self.tokenizer) for pieces in np.split(self.ids, firsts[1:])]
        return tuple(map(ScoredPiece, spelled, sums))

    @property
    def num_words(self) -> int:
        """The number of words."""
        return int(np.count_nonzero(self.word_starts[1:])) + bool(len(self.ids))

    @property
    def unknown(self) -> int:
        """The number of [UNK] tokens; the score is that of [UNK], not of the text it replaces."""
        return int(np.count_nonzero(self.ids == self.tokenizer.special.unk))

    @property
    def perplexity(self) -> float:
        """Pseudo-perplexity per token: exp of minus the mean log-probability; NaN for a text without tokens."""
        return pseudo_perplexity([self])

    def as_dict(self, per: Per = "text") -> dict[str, Any]:
        """Return plain data for JSON. per: "token" or "word" also lists the tokens or words."""
        found: dict[str, Any] = {"text": self.text, "total": self.total, "num_tokens": len(self.ids)}
        found |= {"perplexity": self.perplexity, "unknown": self.unknown, "windows": self.windows}
        if per != "text":
            pieces = self.tokens if per == "token" else self.words
            found[f"{per}s"] = [{per: piece.text, "log_probability": piece.log_probability} for piece in pieces]
        return found

    def _repr_html_(self) -> str:
        if not len(self.ids):
            return box(text_line(self.text), note="no tokens to score")
        # Adding zero turns -0.00 into 0.00.
        words = [(word, -value / _SURPRISING, f"{round(value, 2) + 0.0:.2f}") for word, value in self.words]
        return box(
            shaded_words(words),
            note=f"log-probability {self.total:.2f}, {counted(len(self.ids), 'token')}, perplexity "
            f"{self.perplexity:,.1f} per token; the less probable a word, the stronger its colour",
        )


def score_texts(
    runner: ModelRunner,
    texts: Iterable[str],
    *,
    method: Method = "original",
    batch_tokens: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[ScoredText]:
    """Compute the pseudo-log-likelihood of each text: the sum over its tokens of log P(token | the rest of the text).

    method: original masks one token at a time; [CLS] and [SEP] surround the text and are neither masked nor scored
    (Salazar et al. 2020, Masked Language Model Scoring, section 2). In a word of several pieces the later ones give
    the earlier ones away, so rare words come out too likely. within-word-l2r also masks the later pieces of the same
    word (Kauf and Ivanova 2023, A Better Way to Do Masked Language Model Scoring, section 3).
    batch_tokens: tokens per batch; default: depends on the device. on_progress: called after each batch with the
    tokens that are done and their total, counting every masked copy.

    A text longer than the model reads is scored whole: each token in the window around it that fits. Texts with the
    same tokens are scored once. Rows of similar length run together, and the head is applied to masked positions only,
    a few at a time.
    Raises SettingsError for an unknown method or a batch_tokens below 1, ModelError for a model without a masked-token
    head, and MissingExtra without the dictionary that found the words of the training text, if these texts need it.
    """
    texts = check_texts(texts)
    scores = _score(runner, texts, method, batch_tokens, on_progress)
    bounds, room = scores.encoded.offsets.tolist(), runner.max_length - 2
    scored = []
    for text, which in zip(texts, scores.which.tolist(), strict=True):
        part = slice(bounds[which], bounds[which + 1])
        ids, starts = scores.encoded.ids[part], scores.encoded.word_starts[part]
        scored.append(ScoredText(text, ids, starts, scores.values[part], runner.tokenizer, windows=len(ids) > room))
    return scored


def total_scores(
    runner: ModelRunner,
    texts: Sequence[str],
    *,
    method: Method = "original",
    batch_tokens: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.float64]:
    """Compute only the total of each text, (texts,) float64, 0 for a text without tokens; see `score_texts`."""
    scores = _score(runner, texts, method, batch_tokens, on_progress)
    lengths = np.diff(scores.encoded.offsets)
    # Each text is summed by itself, so that texts of equal values have equal sums, to the last bit.
    text = np.repeat(np.arange(len(lengths)), lengths)
    return np.asarray(np.bincount(text, weights=scores.values, minlength=len(lengths))[scores.which])


@dataclass
class ScoreTotals:
    """Sums over scored texts. log_probability: the sum of their pseudo-log-likelihoods, in nats."""

    texts: int = 0
    tokens: int = 0
    words: int = 0
    unknown: int = 0
    windows: int = 0
    log_probability: float = 0.0

    def add(self, score: ScoredText) -> None:
        """Add one text."""
        self.texts += 1
        self.tokens += len(score.ids)
        self.words += score.num_words
        self.unknown += score.unknown
        self.windows += score.windows
        self.log_probability += score.total

    @property
    def perplexity(self) -> float:
        """Pseudo-perplexity: exp(-log-probability / number of tokens) (Salazar et al. 2020, section 2.3).

        It compares models of one vocabulary only. NaN if there are no tokens.
        """
        return entropy.perplexity(-self.log_probability / self.tokens) if self.tokens else math.nan

    @property
    def word_perplexity(self) -> float:
        """Pseudo-perplexity per word, which compares between vocabularies (best with within-word-l2r)."""
        return entropy.perplexity(-self.log_probability / self.words) if self.words else math.nan


def pseudo_perplexity(scores: Iterable[ScoredText]) -> float:
    """Compute the pseudo-perplexity of a corpus per token; `ScoreTotals` has it per word too."""
    totals = ScoreTotals()
    for score in scores:
        totals.add(score)
    return totals.perplexity


@dataclass(frozen=True)
class _TokenScores:
    """Log-probabilities of the tokens of distinct texts.

    encoded: the distinct texts; which: (texts,) int64, the distinct text of each text; values: (tokens,) float64.
    """

    encoded: Encoded
    which: Int64Array
    values: NDArray[np.float64]


def _score(
    runner: ModelRunner,
    texts: Sequence[str],
    method: Method,
    batch_tokens: int | None,
    on_progress: Callable[[int, int], None] | None,
) -> _TokenScores:
    if method not in get_args(Method):
        raise SettingsError(f"method is {method!r}; choose original or within-word-l2r")
    batch_tokens = resolve_batch_tokens(batch_tokens, runner.compute)
    runner.need_head("scoring")
    encoded, which = _distinct(runner, texts)
    copies = MaskedCopies.of(encoded, method, runner.max_length - 2, runner.tokenizer.special)
    values = np.full(len(encoded.ids), np.nan)
    cost = copies.length + 2
    done, total = 0, int(cost.sum())
    for indices in batches_by_length(cost, batch_tokens):
        rows, lengths, columns = copies.rows(indices)
        hidden = encode_padded(runner.module, runner.compute, rows, lengths)
        states = hidden[torch.arange(len(rows)), torch.from_numpy(columns)]
        values[indices] = _log_probabilities(runner, states, copies.ids[indices])
        done += int(cost[indices].sum())
        if on_progress is not None:
            on_progress(done, total)
    return _TokenScores(encoded, which, values)


@torch.inference_mode()
def _log_probabilities(runner: ModelRunner, states: Tensor, targets: NDArray[np.int64]) -> NDArray[np.float64]:
    """Compute the log-probability of one token per position.

    states: (n, hidden); targets: (n,) int64 ids. Returns (n,) float64.
    """
    ids = torch.from_numpy(targets).to(states.device)[:, None]
    at_once = max(1, _LOGITS // runner.module.config.vocab_size)
    parts = []
    for some, own in zip(torch.split(states, at_once), torch.split(ids, at_once), strict=True):
        with runner.compute.autocast():
            logits = runner.module.predict(some).float()
        parts.append(logits.gather(1, own)[:, 0] - logits.logsumexp(-1))
    found: NDArray[np.float64] = torch.cat(parts).cpu().double().numpy()
    return found


def _distinct(runner: ModelRunner, texts: Sequence[str]) -> tuple[Encoded, Int64Array]:
    """Return the distinct token sequences of the texts, concatenated, and the index of each text's sequence."""
    runner.tokenizer.check_words(texts)
    encoded = runner.tokenizer.encode_flat(texts)
    bounds = encoded.offsets.tolist()
    known: dict[bytes, int] = {}
    which = np.empty(len(texts), dtype=np.int64)
    kept: list[int] = []
    for index, (first, last) in enumerate(pairwise(bounds)):
        key = encoded.ids[first:last].tobytes() + encoded.word_starts[first:last].tobytes()
        which[index] = known.setdefault(key, len(kept))
        if which[index] == len(kept):
            kept.append(index)
    lengths = np.diff(encoded.offsets)
    new = np.zeros(len(texts), dtype=bool)
    new[kept] = True
    tokens = np.repeat(new, lengths)
    return Encoded(encoded.ids[tokens], encoded.word_starts[tokens], offsets_of(lengths[new])), which


@dataclass(frozen=True)
class MaskedCopies:
    """One copy of its text per token of some concatenated texts, with that token masked.

    ids: (tokens,) int64; first, length: (tokens,) int64, the part of `ids` in each copy: the text, or for a text that
    is too long the window with its token in the middle; masked: (tokens,) int64, how many tokens are masked, starting
    with the copy's own.
    """

    ids: Int64Array
    first: Int64Array
    length: Int64Array
    masked: Int64Array
    special: SpecialIds

    @classmethod
    def of(cls, encoded: Encoded, method: Method, room: int, special: SpecialIds) -> MaskedCopies:
        """Plan the copies. room: maximum number of tokens of a text that the model reads at once."""
        begin, size = encoded.offsets[:-1], np.diff(encoded.offsets)
        token = np.arange(len(encoded.ids))
        text_begin, text_size = np.repeat(begin, size), np.repeat(size, size)
        length = np.minimum(text_size, room)
        first = text_begin + np.clip(token - text_begin - room // 2, 0, text_size - length)
        masked = np.ones(len(token), dtype=np.int64)
        if method == "within-word-l2r" and len(token):
            # The rest of the word ends before the next token that starts a word, or at the end of the text.
            starts = encoded.word_starts.copy()
            starts[begin[size > 0]] = True
            masked = np.append(np.flatnonzero(starts), len(token))[np.cumsum(starts)] - token
        return cls(encoded.ids.astype(np.int64), first, length, masked, special)

    def rows(self, tokens: Int64Array) -> tuple[Int64Array, Int64Array, Int64Array]:
        """Collate the copies of some tokens into a padded batch with special tokens.

        tokens: (k,) int64 indices. Returns the input ids (k, longest) int64, the length of each row (k,) and the
        column of each row's own token (k,).
        """
        length = self.length[tokens] + 2
        column = np.arange(int(length.max()))
        source = self.first[tokens, None] + column - 1
        rows = self.ids[np.clip(source, 0, len(self.ids) - 1)]
        own = tokens[:, None]
        rows[(source >= own) & (source < own + self.masked[tokens, None])] = self.special.mask
        rows[:, 0] = self.special.cls
        rows[column >= length[:, None]] = self.special.pad
        rows[np.arange(len(tokens)), length - 1] = self.special.sep
        return rows, length, tokens - self.first[tokens] + 1
