"""Generate text with a masked model: for the masks of a text, after it, or from nothing.

`generate_texts` is the entry point. `Prompt` splits a text into given parts and gaps, `Sampling` draws tokens,
`Unmasking` fills masks step by step, and `repeating` finds the tokens that would repeat a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskling.arrays import Int64Array
from maskling.errors import SettingsError
from maskling.infer.fill import space_matters
from maskling.infer.forward import ModelRunner, between_batches, default_batch_tokens, encode_padded
from maskling.infer.masks import mask_pattern, word_of
from maskling.randomness import bits, keys, uniforms
from maskling.tokenizer.tokenizer import Tokenizer

# Tokens to write if no length is given.
DEFAULT_LENGTH = 20
# Scores that are sampled from at once; each takes some 80 bytes meanwhile.
_SCORES = 1 << 23
# Random draws of one text are numbered: a draw of a position has its own number, the token drawn for it in step s that
# number plus (s + 1) times this.
_STEP = 1 << 20

Order = Literal["confidence", "left-to-right", "random"]


@dataclass(frozen=True)
class Generated:
    """A generated text.

    text: the whole text, given words unchanged; written: the text generated for each run of masks; tokens: its pieces;
    log_probability: the sum over the pieces, each given the text when it was drawn. steps: the step that drew each
    piece, from 0; log_probabilities: the log-probability of each piece.
    """

    text: str
    written: tuple[str, ...]
    tokens: tuple[str, ...]
    log_probability: float
    steps: tuple[int, ...] = ()
    log_probabilities: tuple[float, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        lists = ("written", "tokens", "steps", "log_probabilities")
        return asdict(self) | {name: list(getattr(self, name)) for name in lists}


@dataclass(frozen=True)
class Prompt:
    """A text with gaps to fill.

    parts: the text before, between and after the gaps; gaps: the number of tokens of each; at_end: whether the only
    gap was appended to a text without a mask.
    """

    parts: tuple[str, ...]
    gaps: tuple[int, ...]
    at_end: bool = False

    @classmethod
    def of(cls, text: str, length: int | None, tokenizer: Tokenizer) -> Prompt:
        """Split a text at its masks; masks separated only by white space make one gap.

        Raises SettingsError for a length below 1, or one that does not belong to a single gap.
        """
        if length is not None and length < 1:
            raise SettingsError(f"length is {length}; it must be 1 token or more")
        between = mask_pattern(tokenizer).split(text)
        parts, gaps = [between[0]], list[int]()
        for index, part in enumerate(between[1:]):
            if index and not parts[-1].strip():
                gaps[-1] += 1
                parts[-1] = part
            else:
                gaps.append(1)
                parts.append(part)
        if not gaps:
            return cls((text, ""), (length or DEFAULT_LENGTH,), at_end=True)
        if length is None:
            return cls(tuple(parts), tuple(gaps))
        if gaps != [1]:
            raise SettingsError(
                f"the text has {sum(gaps)} masks, and each is one token; leave length out, or use one mask in place of "
                f"the {length} tokens"
            )
        return cls(tuple(parts), (length,))

    def encoded(self, tokenizer: Tokenizer) -> NDArray[np.int64]:
        """Encode the text with masks in its gaps and special tokens around it. Returns (n,) int64."""
        spelled = self.parts[0] + (" " if self.at_end and self.parts[0] else "")
        for gap, part in zip(self.gaps, self.parts[1:], strict=True):
            spelled += " ".join([tokenizer.mask_token] * gap) + part
        ids = tokenizer.encode(spelled, special_in_text=True).ids
        return np.concatenate([[tokenizer.special.cls], ids, [tokenizer.special.sep]]).astype(np.int64)

    def apart(self, tokenizer: Tokenizer) -> list[bool]:
        """Return, for each gap, whether it must start a new word instead of continuing the word before it."""
        before = ["".join(self.parts[:index]) for index in range(1, len(self.parts))]
        return [self.at_end or text[-1:].isspace() if text.strip() else not space_matters(tokenizer) for text in before]

    def filled(
        self, row: NDArray[np.int64], positions: Sequence[NDArray[np.int64]], tokenizer: Tokenizer
    ) -> tuple[str, tuple[str, ...]]:
        """Return the text with its gaps filled, and the text of each gap.

        row: (n,) int64 ids; positions: those of the tokens of each gap.
        """
        text = self.parts[0]
        written = []
        for own, part in zip(positions, self.parts[1:], strict=True):
            word = word_of(row[own].tolist(), tokenizer)
            before = int(row[own[0] - 1])
            if text.strip() and (self.at_end or text[-1:].isspace()) and before not in tokenizer.special_ids:
                # The decoder decides about the space: none before a comma, none between Chinese characters.
                alone = tokenizer.decode([before])
                text = text.rstrip() + tokenizer.decode([before, *row[own]]).removeprefix(alone)
            else:
                text += (" " if self.at_end and text and not text[-1:].isspace() else "") + word
            text += part
            written.append(word)
        return text, tuple(written)


def generate_texts(
    runner: ModelRunner,
    text: str | None,
    unmasking: Unmasking,
    *,
    length: int | None = None,
    count: int = 1,
) -> list[Generated]:
    """Generate `count` texts by filling masks step by step.

    text: each [MASK] in it is one token to generate; one mask with a `length` is that many tokens; without a mask,
    `length` tokens (default: 20) are appended to the text, and without a text they are the whole result. Given text is
    kept exactly. A masked model cannot choose the length of a text: there is no end-of-text token.
    Raises SettingsError for a text that does not fit the model, ModelError for a model without a masked-token head.
    """
    if count < 1:
        raise SettingsError(f"count is {count}; it must be 1 or more")
    runner.need_head("generating")
    tokenizer = runner.tokenizer
    prompt = Prompt.of(text or "", length, tokenizer)
    ids = prompt.encoded(tokenizer)
    if len(ids) > runner.max_length:
        raise SettingsError(
            f"the text with its {sum(prompt.gaps):,} tokens to write takes {len(ids):,} tokens, and this model reads "
            f"{runner.max_length:,} at once; give a shorter text, or lower length"
        )
    masks = np.flatnonzero(ids == tokenizer.special.mask)
    positions = np.split(masks, np.cumsum(prompt.gaps)[:-1])
    starts = [int(own[0]) for own, apart in zip(positions, prompt.apart(tokenizer), strict=True) if apart]
    found = []
    at_once = max(1, _SCORES // (len(masks) * tokenizer.vocab_size))
    for first in range(0, count, at_once):
        samples = np.arange(first, min(first + at_once, count))
        rows, likelihood, drawn_in = unmasking.run(runner, ids, starts, samples)
        for row, logs, steps in zip(rows, likelihood[:, masks], drawn_in[:, masks], strict=True):
            whole, written = prompt.filled(row, positions, tokenizer)
            tokens = tuple(map(tokenizer.token, row[masks].tolist()))
            # Summed in the order of drawing, so that the sum has the same bits however many texts share a batch.
            total = float(sum(logs[np.argsort(steps, kind="stable")].tolist()))
            found.append(Generated(whole, written, tokens, total, tuple(steps.tolist()), tuple(logs.tolist())))
    return found


@dataclass(frozen=True)
class Sampling:
    """How tokens are sampled.

    temperature: divides the logits; 0 takes the most probable token. top_k: sample among this many most probable
    tokens. top_p: sample among the fewest most probable tokens with at least this total probability (Holtzman et al.
    2020, The Curious Case of Neural Text Degeneration, section 3.1). Raises SettingsError for a value out of range.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = 0.9

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise SettingsError(f"temperature is {self.temperature:g}; it must be 0 or more; 1 keeps the probabilities")
        if self.top_k is not None and self.top_k < 1:
            raise SettingsError(f"top_k is {self.top_k}; it must be 1 or more")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise SettingsError(f"top_p is {self.top_p:g}; it must be a probability, above 0 and at most 1")

    def draw(self, scores: Tensor, uniforms: Tensor) -> Tensor:
        """Sample one token per row.

        scores: (n, tokens) logits or log-probabilities, -inf for excluded tokens; uniforms: (n,) float64 in [0, 1),
        the random numbers. Returns (n,) int64.
        """
        if self.temperature == 0:
            return scores.argmax(-1)
        scaled = scores.double() / self.temperature
        if self.top_k is not None:
            values, order = scaled.topk(min(self.top_k, scaled.shape[-1]), dim=-1)
        elif self.top_p is not None:
            values, order = scaled.sort(dim=-1, descending=True, stable=True)
        else:
            values, order = scaled, None
        chances = values.softmax(-1)
        if self.top_p is not None:
            before = chances.cumsum(-1) - chances
            chances = torch.where(before < self.top_p, chances, 0.0)
        total = chances.cumsum(-1)
        index = torch.searchsorted(total, uniforms[:, None] * total[:, -1:], right=True)
        # Rounding may put a draw at the very end, after the last token with a probability above 0.
        last = (chances > 0).int().cumsum(-1).argmax(-1, keepdim=True)
        index = torch.minimum(index, last)
        return (index if order is None else order.gather(-1, index))[:, 0]


@dataclass(frozen=True)
class Unmasking:
    """How masks are filled, step by step.

    order: which positions are filled first: those whose drawn token is most probable (as in the mask-predict decoding
    of Ghazvininejad et al. 2019 and MaskGIT, Chang et al. 2022, except that filled positions stay), from left to right,
    or in random order. steps: the number of forward passes; with fewer steps than masks several positions are filled
    at once, independently of each other. no_repeat: no run of this many tokens occurs twice in a text; 0 allows all.
    Raises SettingsError for a value out of range.
    """

    sampling: Sampling
    order: Order = "confidence"
    steps: int | None = None
    no_repeat: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        orders = get_args(Order)
        if self.order not in orders:
            raise SettingsError(f"order is {self.order!r}; choose {', '.join(orders[:-1])} or {orders[-1]}")
        if self.steps is not None and self.steps < 1:
            raise SettingsError(f"steps is {self.steps}; it must be 1 or more")
        if self.no_repeat < 0:
            raise SettingsError(
                f"no_repeat is {self.no_repeat}; it must be a number of tokens, or 0 to allow all repeats"
            )

    def run(
        self, runner: ModelRunner, ids: Int64Array, starts: Sequence[int], samples: Int64Array
    ) -> tuple[Int64Array, NDArray[np.float64], Int64Array]:
        """Fill the masks of one text several times.

        ids: (n,) int64, with special tokens; samples: (count,) int64, the index of each sample; starts: positions
        where a word must start. Only ordinary tokens are drawn, never special or unused ones.
        Returns (count, n) int64 ids, (count, n) float64 the log-probability of each drawn token over the ordinary
        tokens, given the text before it was drawn, and (count, n) int64 the step that drew it; 0 and -1 for given
        tokens. Sample i depends only on the seed and i.
        """
        special, ordinary = runner.tokenizer.special, runner.tokenizer.ordinary_ids
        device = runner.compute.device
        if device.type == "mps":
            device = torch.device("cpu")  # Apple GPUs have no float64
        allowed = torch.from_numpy(ordinary).to(device)
        inside = torch.from_numpy(~runner.tokenizer.starts_word[ordinary]).to(device)
        count = len(samples)
        rows = np.tile(ids, (count, 1))
        unfilled = rows == special.mask
        likelihood, drawn_in = np.zeros(rows.shape), np.full(rows.shape, -1, dtype=np.int64)
        key = keys(self.seed, "generate", 0, samples)
        masks = int(unfilled[0].sum())
        steps = min(self.steps or masks, masks)
        step = 0
        while unfilled.any():
            between_batches()
            left = unfilled.sum(1)
            wanted = -(-left // max(1, steps - step))
            row, position = self._candidates(unfilled, wanted, key)
            scores = _scores(runner, rows, row, position).to(device)[:, allowed]
            scores[torch.from_numpy(np.isin(position, starts)).to(scores.device)[:, None] & inside] = -torch.inf
            self._exclude_repeats(scores, rows, unfilled, row, position, ordinary)
            draws = torch.from_numpy(uniforms(key[row], position + _STEP * (step + 1))).to(scores.device)
            drawn = self.sampling.draw(scores, draws)
            log = scores.log_softmax(-1).gather(1, drawn[:, None])[:, 0].cpu().double().numpy()
            tokens = allowed[drawn].cpu().numpy()
            for index in np.argsort(-log, kind="stable") if self.order == "confidence" else range(len(row)):
                which, where = row[index], position[index]
                # Tokens of the same step were drawn independently, so the later ones are checked against the earlier.
                first = unfilled[which].sum() == left[which]
                if wanted[which] and (first or tokens[index] not in self._repeats(rows, unfilled, which, where)):
                    rows[which, where], unfilled[which, where] = tokens[index], False
                    likelihood[which, where], drawn_in[which, where] = log[index], step
                    wanted[which] -= 1
            step += 1
        return rows, likelihood, drawn_in

    def _candidates(
        self, unfilled: NDArray[np.bool_], wanted: Int64Array, key: NDArray[np.uint64]
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return the rows and positions to draw tokens for: all open ones by confidence, else the next ones."""
        row, position = np.nonzero(unfilled)
        if self.order == "confidence":
            return row, position
        if self.order == "random":
            shuffled = np.lexsort((bits(key[row], position), row))
            row, position = row[shuffled], position[shuffled]
        rank = np.arange(len(row)) - np.searchsorted(row, row)
        return row[rank < wanted[row]], position[rank < wanted[row]]

    def _exclude_repeats(
        self,
        scores: Tensor,
        rows: Int64Array,
        unfilled: NDArray[np.bool_],
        row: NDArray[np.intp],
        position: NDArray[np.intp],
        ordinary: Int64Array,
    ) -> None:
        """Set the scores of tokens that would repeat a run to -inf, unless none is left. scores: (n, ordinary)."""
        for index, (which, where) in enumerate(zip(row, position, strict=True)):
            out = self._repeats(rows, unfilled, which, where)
            columns = np.flatnonzero(np.isin(ordinary, out)) if len(out) else out
            if 0 < len(columns) < len(ordinary):
                scores[index, torch.from_numpy(columns).to(scores.device)] = -torch.inf

    def _repeats(self, rows: Int64Array, unfilled: NDArray[np.bool_], which: int, where: int) -> Int64Array:
        return repeating(rows[which], unfilled[which], where, self.no_repeat)


@torch.inference_mode()
def _scores(runner: ModelRunner, rows: Int64Array, row: NDArray[np.intp], position: NDArray[np.intp]) -> Tensor:
    """Compute the logits at some positions of some rows, applying the head nowhere else.

    Returns (positions, vocab) float32.
    """
    at_once = max(1, default_batch_tokens(runner.compute) // rows.shape[1])
    parts = []
    for first in range(0, len(rows), at_once):
        here = (row >= first) & (row < first + at_once)
        some = rows[first : first + at_once]
        hidden = encode_padded(runner.module, runner.compute, some, np.full(len(some), rows.shape[1]))
        with runner.compute.autocast():
            parts.append(runner.module.predict(hidden[row[here] - first, position[here]]).float())
    return torch.cat(parts)


def repeating(ids: NDArray[np.int64], unfilled: NDArray[np.bool_], position: int, length: int) -> NDArray[np.int64]:
    """Return the tokens that, put at `position`, would complete a run of `length` tokens that is in the text already.

    ids: (n,) int64; unfilled: (n,) bool, open positions, `position` among them. Runs may overlap, so with 3 no token
    occurs four times in a row. Returns (k,) int64, empty for a length below 1.
    """
    if not 1 <= length <= len(ids):
        return ids[:0]
    runs = np.lib.stride_tricks.sliding_window_view(ids, length)
    num_open = np.lib.stride_tricks.sliding_window_view(unfilled, length).sum(1)
    whole = num_open == 0
    # The runs whose only open position is `position`.
    first = np.arange(max(0, position - length + 1), min(position, len(ids) - length) + 1)
    first = first[num_open[first] == 1]
    found = [ids[:0]]
    for run in first.tolist():
        offset = position - run
        others = np.arange(length) != offset
        found.append(runs[whole & (runs[:, others] == runs[run, others]).all(1), offset])
        # Two of these runs may become equal: with length 2, "a" between two "a" would make "a a" twice.
        for later in first[first > run].tolist():
            filled = ids.copy()
            filled[position] = ids[later + offset]
            if np.array_equal(filled[run : run + length], filled[later : later + length]):
                found.append(filled[position : position + 1])
    return np.concatenate(found)
