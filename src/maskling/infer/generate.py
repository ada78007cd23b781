"""Text written by a masked model: for the masks of a text, behind it, or from nothing."""

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
from maskling.infer.forward import ModelRunner, encode_padded, usual_batch_tokens
from maskling.infer.masks import mask_pattern, word_of
from maskling.randomness import bits, keys, uniforms
from maskling.tokenizer.tokenizer import Tokenizer

# FOLDED DOCS
# [sampling] A token drawn from what a model expects: sharpened, cut to the likeliest, and repeatable.
# [unmasking] Masks filled step by step, each token chosen in view of those before it.
# [repeats] Runs of tokens that would stand in a text twice.


# Tokens that are written where nothing says how many.
LENGTH = 20
# Scores that are drawn from at once, each of which takes some 80 bytes meanwhile.
_SCORES = 1 << 23


@dataclass(frozen=True)
class Generated:
    """A text with what was written in it.

    text: all of it, the given words as they were; written: what was put in for each run of masks; tokens: its pieces;
    log_probability: the sum over them, each given what stood there before it.
    """

    text: str
    written: tuple[str, ...]
    tokens: tuple[str, ...]
    log_probability: float

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self) | {"written": list(self.written), "tokens": list(self.tokens)}


@dataclass(frozen=True)
class Prompt:
    """A text with gaps.

    parts: what stands before, between and after the gaps; gaps: the tokens that each is to hold; at_end: whether the
    last gap was put behind the text, with no mask there to say where.
    """

    parts: tuple[str, ...]
    gaps: tuple[int, ...]
    at_end: bool = False

    @classmethod
    def of(cls, text: str, length: int | None, tokenizer: Tokenizer) -> Prompt:
        """Masks that only white space parts make one gap. Raises SettingsError for a length that has no one place."""
        if length is not None and length < 1:
            raise SettingsError(f"length is {length}; write 1 token or more")
        between = mask_pattern(tokenizer).split(text)
        parts, gaps = [between[0]], list[int]()
        for number, part in enumerate(between[1:]):
            if number and not parts[-1].strip():
                gaps[-1] += 1
                parts[-1] = part
            else:
                gaps.append(1)
                parts.append(part)
        if not gaps:
            return cls((text, ""), (length or LENGTH,), at_end=True)
        if length is None:
            return cls(tuple(parts), tuple(gaps))
        if gaps != [1]:
            raise SettingsError(
                f"the text has {sum(gaps)} masks, and each is one token; leave length out, or write one mask where "
                f"{length} tokens are wanted"
            )
        return cls(tuple(parts), (length,))

    def encoded(self, tokenizer: Tokenizer) -> NDArray[np.int64]:
        """The text with masks in its gaps and special tokens around it, (n,) int64."""
        spelled = self.parts[0] + (" " if self.at_end and self.parts[0] else "")
        for gap, part in zip(self.gaps, self.parts[1:], strict=True):
            spelled += " ".join([tokenizer.mask_token] * gap) + part
        ids = tokenizer.encode(spelled, special_in_text=True).ids
        return np.concatenate([[tokenizer.special.cls], ids, [tokenizer.special.sep]]).astype(np.int64)

    def apart(self, tokenizer: Tokenizer) -> list[bool]:
        """Whether each gap stands apart from what is before it, so that it must not grow a given word."""
        before = ["".join(self.parts[:number]) for number in range(1, len(self.parts))]
        return [self.at_end or text[-1:].isspace() if text.strip() else not space_matters(tokenizer) for text in before]

    def filled(
        self, row: NDArray[np.int64], places: Sequence[NDArray[np.int64]], tokenizer: Tokenizer
    ) -> tuple[str, tuple[str, ...]]:
        """The text with the gaps filled, and what was put in each. row: (n,) ids; places: of each gap's tokens."""
        text = self.parts[0]
        written = []
        for own, part in zip(places, self.parts[1:], strict=True):
            word = word_of(row[own].tolist(), tokenizer)
            before = int(row[own[0] - 1])
            if text.strip() and (self.at_end or text[-1:].isspace()) and before not in tokenizer.special_ids:
                # The tokenizer knows where a space belongs: not before a comma, nor between Chinese characters.
                alone = tokenizer.decode([before])
                text = text.rstrip() + tokenizer.decode([before, *row[own]]).removeprefix(alone)
            else:
                text += (" " if self.at_end and text and not text[-1:].isspace() else "") + word
            text += part
            written.append(word)
        return text, tuple(written)


def generate_texts(
    reader: ModelRunner,
    text: str | None,
    unmasking: Unmasking,
    *,
    length: int | None = None,
    count: int = 1,
) -> list[Generated]:
    """Write `count` texts by filling masks step by step.

    text: each [MASK] in it is one token to write; one mask with a `length` is that many tokens; without a mask `length`
    tokens (20 if left out) are written behind it, and without a text they stand alone. What was given is kept to the
    letter. A masked model cannot decide how long a text is to be, and nothing tells it to stop.
    Raises SettingsError for what does not fit, ModelError for a model without a head.
    """
    if count < 1:
        raise SettingsError(f"count is {count}; ask for 1 text or more")
    reader.need_head("generating")
    tokenizer = reader.tokenizer
    prompt = Prompt.of(text or "", length, tokenizer)
    ids = prompt.encoded(tokenizer)
    if len(ids) > reader.max_length:
        raise SettingsError(
            f"the text with its {sum(prompt.gaps):,} tokens to write takes {len(ids):,} tokens, and this model sees "
            f"{reader.max_length:,} at once; give a shorter text, or ask for fewer"
        )
    masks = np.flatnonzero(ids == tokenizer.special.mask)
    places = np.split(masks, np.cumsum(prompt.gaps)[:-1])
    starts = [int(own[0]) for own, apart in zip(places, prompt.apart(tokenizer), strict=True) if apart]
    found = []
    at_once = max(1, _SCORES // (len(masks) * tokenizer.vocab_size))
    for first in range(0, count, at_once):
        ways = np.arange(first, min(first + at_once, count))
        for row, log_probability in zip(*unmasking.run(reader, ids, starts, ways), strict=True):
            whole, written = prompt.filled(row, places, tokenizer)
            tokens = tuple(map(tokenizer.token, row[masks].tolist()))
            found.append(Generated(whole, written, tokens, float(log_probability)))
    return found


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn.

    temperature: probabilities to the power of one over it; 0 takes the likeliest token. top_k: draw among so many
    likeliest tokens. top_p: among the fewest likeliest that hold this much probability (Holtzman et al. 2020, The
    Curious Case of Neural Text Degeneration, section 3.1). Raises SettingsError for a value out of range.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = 0.9

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise SettingsError(f"temperature is {self.temperature:g}; it is 0 or more, 1 leaves probabilities alone")
        if self.top_k is not None and self.top_k < 1:
            raise SettingsError(f"top_k is {self.top_k}; draw among 1 token or more")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise SettingsError(f"top_p is {self.top_p:g}; it is a probability, above 0 and up to 1")

    def draw(self, scores: Tensor, uniforms: Tensor) -> Tensor:
        """One token for each row.

        scores: (n, tokens), logits or log-probabilities, -inf where a token is ruled out; uniforms: (n,) float64 in
        [0, 1), which decide. Returns (n,) int64.
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
        place = torch.searchsorted(total, uniforms[:, None] * total[:, -1:], right=True)
        # Rounding may put a draw on the very end, behind the last token that has a chance.
        last = (chances > 0).int().cumsum(-1).argmax(-1, keepdim=True)
        place = torch.minimum(place, last)
        return (place if order is None else order.gather(-1, place))[:, 0]


Order = Literal["confidence", "left-to-right", "random"]

# Counters of the draws of one text: places are drawn at their positions, tokens of step s above s times this.
_STEP = 1 << 20


@dataclass(frozen=True)
class Unmasking:
    """How masks become words.

    order: which places are filled first: where the drawn token is likeliest (as in the mask-predict decoding of
    Ghazvininejad et al. 2019 and MaskGIT, Chang et al. 2022, but what is filled stays), from the left, or at random.
    steps: how often the model looks at the text; fewer than masks, and several places are filled at once, which do
    not know of each other. no_repeat: no run of so many tokens occurs twice in a text; 0 allows all.
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
            raise SettingsError(f"steps is {self.steps}; the model looks at the text once or more")
        if self.no_repeat < 0:
            raise SettingsError(f"no_repeat is {self.no_repeat}; it is a number of tokens, 0 allows all repeats")

    def run(
        self, reader: ModelRunner, ids: Int64Array, starts: Sequence[int], ways: Int64Array
    ) -> tuple[Int64Array, NDArray[np.float64]]:
        """Fill the masks of one text in several ways.

        ids: (n,) int64, special tokens around it; ways: (count,) int64, the numbers of the ways; starts: places where
        a word must start. Only ordinary tokens are put in, never special or unused ones.
        Returns (count, n) int64, and (count,) the sum of the log-probabilities of what was put in, each among ordinary
        tokens and given what stood there before it. Way number i is a function of the seed and i.
        """
        special, ordinary = reader.tokenizer.special, reader.tokenizer.ordinary_ids
        device = reader.compute.device
        if device.type == "mps":
            device = torch.device("cpu")  # Apple's GPUs have no float64
        allowed = torch.from_numpy(ordinary).to(device)
        inside = torch.from_numpy(~reader.tokenizer.starts_word[ordinary]).to(device)
        count = len(ways)
        rows = np.tile(ids, (count, 1))
        unfilled = rows == special.mask
        likelihood = np.zeros(count)
        key = keys(self.seed, "generate", 0, ways)
        masks = int(unfilled[0].sum())
        steps = min(self.steps or masks, masks)
        step = 0
        while unfilled.any():
            left = unfilled.sum(1)
            wanted = -(-left // max(1, steps - step))
            row, place = self._candidates(unfilled, wanted, key)
            scores = _scores(reader, rows, row, place).to(device)[:, allowed]
            scores[torch.from_numpy(np.isin(place, starts)).to(scores.device)[:, None] & inside] = -torch.inf
            self._rule_out(scores, rows, unfilled, row, place, ordinary)
            draws = torch.from_numpy(uniforms(key[row], place + _STEP * (step + 1))).to(scores.device)
            drawn = self.sampling.draw(scores, draws)
            log = scores.log_softmax(-1).gather(1, drawn[:, None])[:, 0].cpu().double().numpy()
            tokens = allowed[drawn].cpu().numpy()
            for number in np.argsort(-log, kind="stable") if self.order == "confidence" else range(len(row)):
                which, where = row[number], place[number]
                # Places filled in this same step were drawn without a look at each other.
                first = unfilled[which].sum() == left[which]
                if wanted[which] and (first or tokens[number] not in self._ruled_out(rows, unfilled, which, where)):
                    rows[which, where], unfilled[which, where] = tokens[number], False
                    likelihood[which] += log[number]
                    wanted[which] -= 1
            step += 1
        return rows, likelihood

    def _candidates(
        self, unfilled: NDArray[np.bool_], wanted: Int64Array, key: NDArray[np.uint64]
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows and places where a token is drawn: all that are open if the likeliest go first, else the next ones."""
        row, place = np.nonzero(unfilled)
        if self.order == "confidence":
            return row, place
        if self.order == "random":
            by_chance = np.lexsort((bits(key[row], place), row))
            row, place = row[by_chance], place[by_chance]
        rank = np.arange(len(row)) - np.searchsorted(row, row)
        return row[rank < wanted[row]], place[rank < wanted[row]]

    def _rule_out(
        self,
        scores: Tensor,
        rows: Int64Array,
        unfilled: NDArray[np.bool_],
        row: NDArray[np.intp],
        place: NDArray[np.intp],
        ordinary: Int64Array,
    ) -> None:
        """Set the scores of tokens that would repeat a run to -inf, unless that leaves none. scores: (n, ordinary)."""
        for number, (which, where) in enumerate(zip(row, place, strict=True)):
            out = self._ruled_out(rows, unfilled, which, where)
            columns = np.flatnonzero(np.isin(ordinary, out)) if len(out) else out
            if 0 < len(columns) < len(ordinary):
                scores[number, torch.from_numpy(columns).to(scores.device)] = -torch.inf

    def _ruled_out(self, rows: Int64Array, unfilled: NDArray[np.bool_], which: int, where: int) -> Int64Array:
        return repeating(rows[which], unfilled[which], where, self.no_repeat)


@torch.inference_mode()
def _scores(reader: ModelRunner, rows: Int64Array, row: NDArray[np.intp], place: NDArray[np.intp]) -> Tensor:
    """The logits at some places of some rows. Returns (places, vocab) float32; the head runs nowhere else."""
    at_once = max(1, usual_batch_tokens(reader.compute) // rows.shape[1])
    parts = []
    for first in range(0, len(rows), at_once):
        here = (row >= first) & (row < first + at_once)
        some = rows[first : first + at_once]
        hidden = encode_padded(reader.module, reader.compute, some, np.full(len(some), rows.shape[1]))
        with reader.compute.autocast():
            parts.append(reader.module.predict(hidden[row[here] - first, place[here]]).float())
    return torch.cat(parts)


def repeating(ids: NDArray[np.int64], unfilled: NDArray[np.bool_], place: int, length: int) -> NDArray[np.int64]:
    """The tokens that, put in `place`, would make a run of `length` tokens that stands elsewhere in the text already.

    ids: (n,) int64; unfilled: (n,) bool, places that hold nothing yet, `place` among them. Runs may overlap, so that
    with 3 no token stands four times in a row. Returns (k,) int64, none for a length below 1.
    """
    if not 1 <= length <= len(ids):
        return ids[:0]
    runs = np.lib.stride_tricks.sliding_window_view(ids, length)
    open_places = np.lib.stride_tricks.sliding_window_view(unfilled, length).sum(1)
    whole = open_places == 0
    # The runs that `place` alone keeps from being whole.
    first = np.arange(max(0, place - length + 1), min(place, len(ids) - length) + 1)
    first = first[open_places[first] == 1]
    found = [ids[:0]]
    for run in first.tolist():
        offset = place - run
        others = np.arange(length) != offset
        found.append(runs[whole & (runs[:, others] == runs[run, others]).all(1), offset])
        # Two of them may become equal: with 2, "a" between two "a" would be "a a" twice.
        for later in first[first > run].tolist():
            filled = ids.copy()
            filled[place] = ids[later + offset]
            if np.array_equal(filled[run : run + length], filled[later : later + length]):
                found.append(filled[place : place + 1])
    return np.concatenate(found)
