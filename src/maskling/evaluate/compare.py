"""Models side by side: what they lose on the same hidden words, what they weigh, and how fast they are."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from maskling.evaluate.hidden_words import CommonText, HiddenWords, Losses
from maskling.evaluate.minimal_pairs import MinimalPair, PairScoring
from maskling.infer.forward import ModelRunner, Row, batches_by_length, encode, usual_batch_tokens
from maskling.infer.model import Model

# FOLDED DOCS
# [speed] How fast models read, on this machine, now.


ROUNDS = 5
# Texts that are read in a round.
TEXTS = 64


@dataclass(frozen=True)
class Speed:
    """Medians over rounds. A token is a different piece of text in each vocabulary; texts compare."""

    tokens_per_second: float
    texts_per_second: float


class Race:
    """Models reading the same texts in turns, so that whatever else the machine does falls on all alike."""

    def __init__(self, readers: Sequence[ModelRunner], rows: Sequence[Sequence[Row]], rounds: int = ROUNDS) -> None:
        """rows: for each model the texts as its ids, special tokens included."""
        self._readers, self._rows, self._rounds = readers, [own[:TEXTS] for own in rows], rounds
        self._seconds: list[list[float]] = [[] for _ in readers]

    def run(self) -> Iterator[float]:
        """Read, and yield the part that is done, from 0 to 1."""
        turns = self._rounds + 1
        for turn in range(turns):
            for place, (reader, rows) in enumerate(zip(self._readers, self._rows, strict=True)):
                seconds = _seconds(reader, rows)
                if turn:  # the first is to warm up
                    self._seconds[place].append(seconds)
                yield (turn * len(self._readers) + place + 1) / (turns * len(self._readers))

    def speeds(self) -> list[Speed]:
        """The speed of each model; once `run` has ended."""
        medians = map(statistics.median, self._seconds)
        return [
            Speed(sum(map(len, rows)) / seconds, len(rows) / seconds)
            for rows, seconds in zip(self._rows, medians, strict=True)
        ]


def _seconds(reader: ModelRunner, rows: Sequence[Row]) -> float:
    begin = time.perf_counter()
    for together in batches_by_length([len(row) for row in rows], usual_batch_tokens(reader.compute)):
        hidden, _ = encode(reader.module, reader.compute, [rows[row] for row in together], reader.tokenizer.special.pad)
        hidden[0, 0, 0].item()  # a GPU is done only when asked
    return max(time.perf_counter() - begin, 1e-9)


@dataclass(frozen=True)
class Side:
    """One model of a comparison. Losses in nats; what was not measured is None: for an encoder without a head, losses.

    loss_per_word: mean loss of a hidden word, all its pieces together; loss_error: the standard error of that mean.
    behind, behind_error: how much more a word loses than with the best model, word by word, and its standard error.
    loss_per_byte: of the hidden words; loss_per_token: of a piece, which compares in one vocabulary only. top1, top5:
    share of the hidden words of which every piece was the best guess, or among the best five.
    pieces_per_word: of hidden words; unwritable: share of words that the vocabulary cannot write.
    pair_accuracy: the mean over the kinds of minimal pairs. weight_bytes: of the files that hold the weights.
    tokens_per_second, texts_per_second: of reading passages, on this machine.
    """

    name: str
    loss_per_word: float | None
    loss_error: float | None
    behind: float | None
    behind_error: float | None
    loss_per_byte: float | None
    loss_per_token: float | None
    top1: float | None
    top5: float | None
    pieces_per_word: float | None
    unwritable: float
    lowercases: bool
    parameters: int
    weight_bytes: int
    pair_accuracy: float | None = None
    tokens_per_second: float | None = None
    texts_per_second: float | None = None


@dataclass(frozen=True)
class Compared:
    """sides: the models in their order; text: what they were measured on; too_long: passages left out of it."""

    sides: tuple[Side, ...]
    text: str
    hidden_words: int
    too_long: int
    pairs: int
    device: str

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


class Comparison:
    """Models being compared."""

    def __init__(
        self,
        models: Sequence[Model],
        names: Sequence[str],
        text: CommonText,
        *,
        pairs: Sequence[MinimalPair] = (),
        rounds: int = ROUNDS,
    ) -> None:
        """names: what each model is called in the result; pairs: minimal pairs to judge; rounds: of timing, 0 for none.

        Raises ModelError if no model has a masked-token head.
        """
        self._models, self._names, self._text, self._pairs = models, names, text, pairs
        # Encoders without a head can still be weighed and timed beside the others.
        if all(model.headless for model in models):
            models[0].need_head("comparing")
        self._askings = [
            None if model.headless else HiddenWords(model, laid, text.hidden)
            for model, laid in zip(models, text.laid, strict=True)
        ]
        self._judging = [None if model.headless or not pairs else PairScoring(model, pairs) for model in models]
        rows = [[passage.ids for passage in laid] for laid in text.laid]
        self._race = Race(models, rows, rounds) if rounds else None

    def run(self) -> Iterator[tuple[str, float]]:
        """Measure, and yield what is measured and the part of it that is done, from 0 to 1."""
        for name, asking in zip(self._names, self._askings, strict=True):
            for done in asking.run() if asking else ():
                yield f"hidden words, {name}", done
        for name, judging in zip(self._names, self._judging, strict=True):
            for done in judging.run() if judging else ():
                yield f"minimal pairs, {name}", done
        for done in self._race.run() if self._race else ():
            yield "speed", done

    def compared(self) -> Compared:
        """The numbers; once `run` has ended."""
        losses = [asking.losses() if asking else None for asking in self._askings]
        best = min((own for own in losses if own), key=lambda own: float(own.nats.mean()))
        speeds: Sequence[Speed | None] = self._race.speeds() if self._race else [None] * len(losses)
        sides = [
            self._side(place, own, best, speed) for place, (own, speed) in enumerate(zip(losses, speeds, strict=True))
        ]
        text = self._text
        device = self._models[0].compute.description
        return Compared(tuple(sides), text.name, text.num_words, text.too_long, len(self._pairs), device)

    def _side(self, place: int, own: Losses | None, best: Losses, speed: Speed | None) -> Side:
        model, judging = self._models[place], self._judging[place]
        return Side(
            name=self._names[place],
            **_numbers(own, best, self._text.num_bytes),
            unwritable=self._text.unwritable[place],
            lowercases=model.tokenizer.normalized("A") != "A",
            parameters=model.module.num_parameters(),
            weight_bytes=weight_bytes(model.folder),
            pair_accuracy=judging.results().macro_average if judging else None,
            tokens_per_second=speed.tokens_per_second if speed else None,
            texts_per_second=speed.texts_per_second if speed else None,
        )


def _numbers(own: Losses | None, best: Losses, num_bytes: float | None) -> dict[str, float | None]:
    """What a model lost, beside the best one."""
    names = ("loss_per_word", "loss_error", "behind", "behind_error", "loss_per_token", "top1", "top5")
    if own is None:
        return dict.fromkeys((*names, "loss_per_byte", "pieces_per_word"))
    total, words = float(own.nats.sum()), len(own.nats)
    more = own.nats - best.nats
    return {
        "loss_per_word": total / words,
        "loss_error": float(own.nats.std() / np.sqrt(words)),
        "behind": float(more.mean()),
        "behind_error": float(more.std() / np.sqrt(words)),
        "loss_per_byte": total / num_bytes if num_bytes else None,
        "loss_per_token": total / int(own.pieces.sum()),
        "top1": float(own.top1.mean()),
        "top5": float(own.top5.mean()),
        "pieces_per_word": float(own.pieces.mean()),
    }


def weight_bytes(folder: Path) -> int:
    """The size of the files in a model folder that its weights are read from."""
    for pattern in ("*.safetensors", "*.bin", "onnx/*.onnx"):
        if found := list(folder.glob(pattern)):
            return sum(path.stat().st_size for path in found)
    return 0
