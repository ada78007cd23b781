"""Labels and numbers for texts and pairs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from maskling.data.labelled.records import TextRecord
from maskling.data.labelled.text_windows import encode_texts
from maskling.data.labelled.windows import Windows
from maskling.infer.judge import Float32Array, Judge
from maskling.infer.predictions import Label, Labels, Number, Predicted
from maskling.infer.rows import BATCH_TOKENS
from maskling.tokenizer.tokenizer import Tokenizer


def predict_texts(
    judge: Judge,
    tokenizer: Tokenizer,
    max_length: int,
    records: Sequence[TextRecord],
    *,
    threshold: float = 0.5,
    batch_tokens: int = BATCH_TOKENS,
) -> Predicted:
    """Judge texts and pairs; a text longer than the model sees by the mean of the logits of its windows.

    threshold: what the probability of a label must reach, where a text may have several.
    """
    encoded = encode_texts(records, tokenizer, max_length)
    logits = pooled(judge.texts(encoded.windows, batch_tokens), encoded.windows, len(records))
    names = judge.head_config.labels
    if judge.head_config.kind == "regress":
        return Predicted([Number(value) for value in logits[:, 0].tolist()], encoded.cut)
    if judge.head_config.kind == "multi-label":
        ranked = [_ranked(names, row) for row in 1 / (1 + np.exp(-logits))]
        chosen = [tuple(name for name, score in scores.items() if score >= threshold) for scores in ranked]
        return Predicted([Labels(*both) for both in zip(chosen, ranked, strict=True)], encoded.cut)
    ranked = [_ranked(names, row) for row in softmax(logits)]
    return Predicted([Label(*next(iter(scores.items())), scores) for scores in ranked], encoded.cut)


def pooled(logits: Float32Array, windows: Windows, records: int) -> NDArray[np.float64]:
    """The mean over the windows of each record, each weighted by its part of the tokens, as its loss is in training.

    logits: (w, labels); records: how many, each with at least one window. Returns (records, labels).
    """
    total = np.zeros((records, logits.shape[1]))
    np.add.at(total, windows.record, logits * windows.shares[:, None].astype(np.float64))
    return total


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Probabilities over the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True).astype(np.float64))
    shares: NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def _ranked(names: Sequence[str], scores: NDArray[np.float64]) -> dict[str, float]:
    order = np.argsort(-scores, kind="stable").tolist()
    return {names[index]: float(scores[index]) for index in order}
