"""Weights of classes in the loss: balanced by their frequency in train, or as given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from maskling.data.labelled.records import LabelSet, TaggedRecord, TextRecord, label_names, record_tags
from maskling.errors import SettingsError, suggestion

BALANCED = "balanced"


def class_weights(
    setting: str, records: Sequence[TextRecord] | Sequence[TaggedRecord], labels: LabelSet, several: bool
) -> NDArray[np.float32]:
    """Return a weight per class, or per tag of words: (classes,) float32.

    setting: 'balanced', or 'spam=5,ham=1', where other classes have 1. several: a record may have several labels; then
    the weights are those of records with a label against records without it (torch's pos_weight). Balanced weights are
    n / (classes * count), as in scikit-learn, or (n - count) / count. Raises SettingsError.
    """
    if setting != BALANCED:
        return _given(setting, labels)
    counts = Counter(name for record in records for name in _names(record))
    found = np.array([max(1, counts[name]) for name in labels.names], np.float64)
    total = len(records) if several else counts.total()
    weights = np.maximum(total - found, 1) / found if several else total / (len(labels) * found)
    return weights.astype(np.float32)


def _names(record: TextRecord | TaggedRecord) -> Sequence[str]:
    return record_tags(record) if isinstance(record, TaggedRecord) else label_names(record)


def _given(setting: str, labels: LabelSet) -> NDArray[np.float32]:
    weights = dict.fromkeys(labels.names, 1.0)
    for part in filter(None, map(str.strip, setting.split(","))):
        name, _, value = (piece.strip() for piece in part.rpartition("="))
        if name not in weights:
            raise SettingsError(
                f"task.class_weights has no label of the data in '{part}'{suggestion(name, labels.names)}; give "
                f"'{BALANCED}', or weights as in '{labels.names[0]}=2,{labels.names[-1]}=0.5'"
            )
        try:
            weights[name] = float(value)
        except ValueError:
            weights[name] = 0.0
        if not 0 < weights[name] < float("inf"):
            raise SettingsError(f"task.class_weights has '{part}'; a weight is a number above 0")
    return np.array(list(weights.values()), np.float32)


def loss_scales(
    weights: NDArray[np.float32], truth: NDArray[np.int64] | NDArray[np.float32], several: bool
) -> NDArray[np.float32]:
    """Return the factors of the loss of each record, from its classes: (n,) float32, or (n, classes) if `several`.

    truth: (n,) int64 classes, or (n, classes) zeros and ones.
    """
    if several:
        return np.where(truth > 0, weights, np.float32(1)).astype(np.float32)
    return weights[truth.astype(np.int64)]
