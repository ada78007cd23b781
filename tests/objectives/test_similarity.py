"""Losses of vectors against slow sums and against sentence-transformers, and two measures against sums by hand."""

from __future__ import annotations

import math
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from maskling.objectives.similarity import alignment, contrastive, cosent, uniformity
from oracles import slow_similarity


def vectors(count: int, seed: int) -> Tensor:
    return torch.randn(count, 7, generator=torch.Generator().manual_seed(seed))


NOTHING = torch.zeros(5, 8, dtype=torch.bool)


def test_contrastive_is_the_sum_over_all_candidates():
    one, all_of_them = vectors(5, 1), vectors(8, 2)
    ours = contrastive(one, all_of_them, NOTHING, 0.05)
    slow = slow_similarity.info_nce(one.tolist(), all_of_them.tolist(), 0.05)
    assert float(ours) == pytest.approx(slow, rel=1e-5)


def test_excluded_candidates_are_no_candidates():
    one, all_of_them, excluded = vectors(5, 1), vectors(8, 2), NOTHING.clone()
    places = {(0, 3), (0, 7), (4, 2)}
    for place in places:
        excluded[place] = True
    slow = slow_similarity.info_nce(one.tolist(), all_of_them.tolist(), 0.2, places)
    assert float(contrastive(one, all_of_them, excluded, 0.2)) == pytest.approx(slow, rel=1e-5)
    all_of_them[[3, 7]] *= -1
    changed = contrastive(one[:1], all_of_them, excluded[:1], 0.2)
    all_of_them[[3, 7]] *= -1
    assert float(changed) == pytest.approx(float(contrastive(one[:1], all_of_them, excluded[:1], 0.2)))


@pytest.mark.parametrize("scores", [[1.0, 4.0, 2.5, 2.5, 0.0], [3.0] * 5])
def test_cosent_is_the_sum_over_all_pairs_in_the_wrong_order(scores: list[float]):
    one, other = vectors(5, 1), vectors(5, 2)
    slow = slow_similarity.cosent(one.tolist(), other.tolist(), scores, 0.05)
    ours = cosent(one, other, torch.tensor(scores), 0.05)
    assert float(ours) == pytest.approx(slow, rel=1e-5, abs=1e-7)


class Given(torch.nn.Module):
    """Stands for an encoder: the vectors are what it is asked for. The losses want the name and similarity of one."""

    similarity_fn_name: ClassVar[str] = "cosine"

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"sentence_embedding": features["vectors"]}


@pytest.mark.parametrize("negatives", [0, 5])
def test_losses_and_gradients_are_those_of_sentence_transformers(negatives: int):
    losses = pytest.importorskip("sentence_transformers.sentence_transformer.losses")
    ours = [value.requires_grad_() for value in (vectors(5, 1), vectors(5, 2), vectors(negatives, 3))]
    theirs = [value.detach().clone().requires_grad_() for value in ours]
    loss = contrastive(ours[0], torch.cat(ours[1:]), torch.zeros(5, 5 + negatives, dtype=torch.bool), 0.05)
    columns = [{"vectors": value} for value in theirs if len(value)]
    wanted = losses.MultipleNegativesRankingLoss(Given(), scale=20.0)(columns, torch.zeros(5))
    torch.testing.assert_close(loss, wanted, atol=1e-5, rtol=1e-5)
    grads = torch.autograd.grad(loss, ours), torch.autograd.grad(wanted, theirs, allow_unused=True)
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, torch.zeros_like(one) if other is None else other, atol=1e-5, rtol=1e-5)


def test_cosent_and_its_gradient_are_those_of_sentence_transformers():
    losses = pytest.importorskip("sentence_transformers.sentence_transformer.losses")
    scores = torch.tensor([1.0, 4.0, 2.5, 2.5, 0.0])
    ours = [value.requires_grad_() for value in (vectors(5, 1), vectors(5, 2))]
    loss = cosent(*ours, scores, 0.05)
    wanted = losses.CoSENTLoss(Given(), scale=20.0)([{"vectors": value} for value in ours], scores)
    torch.testing.assert_close(loss, wanted, atol=1e-5, rtol=1e-5)
    for one, other in zip(torch.autograd.grad(loss, ours), torch.autograd.grad(wanted, ours), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_alignment_and_uniformity_are_sums_that_can_be_done_by_hand():
    axes = torch.eye(3) * torch.tensor([1.0, 5.0, 2.0])
    # Two steps of length 1 at a right angle are the root of 2 apart; one of three is in place.
    assert float(alignment(axes, axes[[0, 2, 1]])) == pytest.approx(2 * 2 / 3)
    assert float(uniformity(axes)) == pytest.approx(-4)
    assert float(uniformity(axes[:1].repeat(3, 1))) == pytest.approx(0, abs=1e-6)
    assert math.isnan(float(uniformity(axes[:1])))
