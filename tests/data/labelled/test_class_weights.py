"""Weights of classes are those of scikit-learn and torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from maskling.data.labelled.class_weights import class_weights, loss_scales
from maskling.data.labelled.records import LabelSet, TextRecord
from maskling.errors import SettingsError


def texts(labels: list[object]) -> list[TextRecord]:
    return [TextRecord(f"a:{number}", "t", None, label) for number, label in enumerate(labels)]  # type: ignore[arg-type]


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    labels = ["b"] * 7 + ["a"] * 2 + ["c"]
    found = class_weights("balanced", texts(labels), LabelSet(("a", "b", "c")), several=False)
    expected = compute_class_weight("balanced", classes=np.array(["a", "b", "c"]), y=np.array(labels))
    assert found == pytest.approx(expected)
    truth = np.array([1, 0, 2, 1])
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    weighted = torch.nn.functional.cross_entropy(
        logits, torch.from_numpy(truth), weight=torch.from_numpy(found), reduction="none"
    )
    plain = torch.nn.functional.cross_entropy(logits, torch.from_numpy(truth), reduction="none")
    assert (plain * torch.from_numpy(loss_scales(found, truth, False))).tolist() == pytest.approx(weighted.tolist())


def test_several_labels_are_weighted_as_torch_weights_positives() -> None:
    records = texts([("a", "b"), ("b",), (), ("b",)])
    found = class_weights("balanced", records, LabelSet(("a", "b")), several=True)
    assert found.tolist() == pytest.approx([3, 1 / 3])
    truth = np.array([[1, 1], [0, 1], [0, 0]], np.float32)
    logits = torch.randn(3, 2, generator=torch.Generator().manual_seed(1))
    call = torch.nn.functional.binary_cross_entropy_with_logits
    expected = call(logits, torch.from_numpy(truth), pos_weight=torch.from_numpy(found), reduction="none")
    scales = torch.from_numpy(loss_scales(found, truth, True))
    assert call(logits, torch.from_numpy(truth), weight=scales, reduction="none").tolist() == [
        pytest.approx(row) for row in expected.tolist()
    ]


def test_given_weights_and_mistakes() -> None:
    labels = LabelSet(("ham", "spam", "x=y"))
    records = texts(["ham", "spam", "x=y"])
    assert class_weights("spam=5, x=y=0.5", records, labels, several=False).tolist() == [1, 5, 0.5]
    for setting, said in (("spaM=2", "no label of the data in 'spaM=2'; did you mean 'spam'"), ("spam=-1", "above 0")):
        with pytest.raises(SettingsError, match=said):
            class_weights(setting, records, labels, several=False)
