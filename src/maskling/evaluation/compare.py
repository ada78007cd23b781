"""Compare models: losses on the same hidden words, minimal pairs, size, and speed on this machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from maskling.errors import SettingsError
from maskling.evaluation.hidden_words import CommonText, WordLosses, hidden_word_losses
from maskling.evaluation.minimal_pairs import MinimalPair, evaluate_pairs
from maskling.infer.forward import ModelRunner, TokenIds, batches_by_length, default_batch_tokens, encode
from maskling.infer.model import Model

TIMING_ROUNDS = 5
# Texts per round.
ROUND_TEXTS = 64


@dataclass(frozen=True)
class ComparedModel:
    """One model of a comparison. Losses in nats; None if not measured, as the losses of an encoder without a head.

    loss_per_word: mean loss of a hidden word, summed over its pieces; loss_error: the standard error of that mean.
    behind, behind_error: mean difference to the loss of the best model, word by word, and its standard error.
    loss_per_byte: of the hidden words; loss_per_token: per piece, which compares in one vocabulary only. top1, top5:
    fraction of the hidden words with every piece the best guess, or among the best five.
    pieces_per_word: of hidden words; unwritable: fraction of words that the vocabulary cannot write.
    pair_accuracy: mean over the paradigms of minimal pairs. weight_bytes: size of the weight files.
    tokens_per_second, texts_per_second: of encoding passages, on this machine.
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
    """sides: the models, in order; text: a description of the text; too_long: number of passages left out of it."""

    sides: tuple[ComparedModel, ...]
    text: str
    hidden_words: int
    too_long: int
    pairs: int
    device: str

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)


def check_comparison(models: int, passages: int, words: int, rounds: int) -> None:
    """Raise SettingsError for fewer than two models, or sizes that cannot be compared on, before anything is loaded."""
    if models < 2:
        raise SettingsError("give two or more models: maskling compare runs/mine runs/other --text books/")
    for name, value, least in (("passages", passages, 1), ("words", words, 8), ("rounds", rounds, 0)):
        if value < least:
            raise SettingsError(f"--{name} is {value}; it must be {least} or more")


def compare_models(
    models: Sequence[Model],
    names: Sequence[str],
    text: CommonText,
    *,
    pairs: Sequence[MinimalPair] = (),
    rounds: int = TIMING_ROUNDS,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> Compared:
    """Compare models on one text.

    names: the name of each model in the result; pairs: minimal pairs to compare on; rounds: of timing, 0 for none.
    on_progress: called with what is measured, how much of it is done, and its total.
    Encoders without a masked-token head are only weighed and timed. Raises ModelError if no model has such a head.
    """
    if all(model.headless for model in models):
        models[0].need_head("comparing")
    losses = [
        None
        if model.headless
        else hidden_word_losses(model, own, text.hidden, _part(on_progress, f"hidden words, {name}"))
        for model, name, own in zip(models, names, text.sequences, strict=True)
    ]
    accuracies = [
        None
        if model.headless or not pairs
        else evaluate_pairs(model, pairs, on_progress=_part(on_progress, f"minimal pairs, {name}")).macro_average
        for model, name in zip(models, names, strict=True)
    ]
    speeds: Sequence[Speed | None] = [None] * len(models)
    if rounds:
        rows = [[passage.ids for passage in own] for own in text.sequences]
        speeds = measure_speeds(models, rows, rounds, _part(on_progress, "speed"))
    best = min((own for own in losses if own), key=lambda own: float(own.nats.mean()))
    sides = tuple(
        ComparedModel(
            name=name,
            **_loss_metrics(lost, best, text.num_bytes),
            unwritable=unwritable,
            lowercases=model.tokenizer.normalized("A") != "A",
            parameters=model.module.num_parameters(),
            weight_bytes=weight_bytes(model.folder),
            pair_accuracy=accuracy,
            tokens_per_second=speed.tokens_per_second if speed else None,
            texts_per_second=speed.texts_per_second if speed else None,
        )
        for model, name, unwritable, lost, accuracy, speed in zip(
            models, names, text.unwritable, losses, accuracies, speeds, strict=True
        )
    )
    return Compared(sides, text.name, text.num_words, text.too_long, len(pairs), models[0].compute.description)


def short_names(models: tuple[Path, ...]) -> list[str]:
    """Return the last parts of each path, as many as make them distinct; a path given twice is numbered."""
    parts = [model.parent.parts if model.name == "model" and model.parent.name else model.parts for model in models]
    for count in range(1, max(map(len, parts)) + 1):
        names = ["/".join(own[-count:]) or "." for own in parts]
        if len(set(names)) == len(set(models)):
            break
    return [
        name if names.count(name) == 1 else f"{name} ({names[: index + 1].count(name)})"
        for index, name in enumerate(names)
    ]


def _part(on_progress: Callable[[str, int, int], None] | None, part: str) -> Callable[[int, int], None] | None:
    return None if on_progress is None else partial(on_progress, part)


def _loss_metrics(own: WordLosses | None, best: WordLosses, num_bytes: float | None) -> dict[str, float | None]:
    """Return the metrics of a model's losses, compared with those of the best model."""
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
    """Return the size of the weight files in a model folder."""
    for pattern in ("*.safetensors", "*.bin", "onnx/*.onnx"):
        if found := list(folder.glob(pattern)):
            return sum(path.stat().st_size for path in found)
    return 0


@dataclass(frozen=True)
class Speed:
    """Medians over rounds. Tokens are pieces of different sizes in different vocabularies; texts compare."""

    tokens_per_second: float
    texts_per_second: float


def measure_speeds(
    runners: Sequence[ModelRunner],
    rows: Sequence[Sequence[TokenIds]],
    rounds: int = TIMING_ROUNDS,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Speed]:
    """Time the encoding of the same texts by several models in turns, so that other load falls on all alike.

    rows: for each model the ids of the texts, special tokens included; the first `ROUND_TEXTS` are used. A warm-up
    round comes first and is not counted. on_progress: called after each turn with the turns that are done and their
    total.
    """
    rows = [own[:ROUND_TEXTS] for own in rows]
    seconds: list[list[float]] = [[] for _ in runners]
    total = (rounds + 1) * len(runners)
    for turn in range(total):
        round_, index = divmod(turn, len(runners))
        took = _seconds(runners[index], rows[index])
        if round_:
            seconds[index].append(took)
        if on_progress is not None:
            on_progress(turn + 1, total)
    medians = map(statistics.median, seconds)
    return [Speed(sum(map(len, own)) / median, len(own) / median) for own, median in zip(rows, medians, strict=True)]


def _seconds(runner: ModelRunner, rows: Sequence[TokenIds]) -> float:
    begin = time.perf_counter()
    for together in batches_by_length([len(row) for row in rows], default_batch_tokens(runner.compute)):
        hidden, _ = encode(runner.module, runner.compute, [rows[row] for row in together], runner.tokenizer.special.pad)
        hidden[0, 0, 0].item()  # waits until a GPU is done
    return max(time.perf_counter() - begin, 1e-9)
