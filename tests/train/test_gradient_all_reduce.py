"""All-reduce overlapped with the backward pass: buckets in one order, and the same sums as at the end."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor, nn

from maskling.train.distributed import Ranks
from maskling.train.step import GradientAllReduce, gradient_buckets


class Model(nn.Module):
    """Three layers of different sizes, a tied weight, and a head that not every batch uses."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.word = nn.Embedding(11, 5)
        self.first, self.second, self.third = nn.Linear(5, 7), nn.Linear(7, 3), nn.Linear(3, 5)
        self.pair = nn.Linear(5, 2)

    def forward(self, ids: Tensor, pairs: bool) -> Tensor:
        hidden = self.third(self.second(torch.tanh(self.first(self.word(ids)))))
        loss = (hidden @ self.word.weight.T).square().mean()
        return loss + self.pair(hidden).square().mean() if pairs else loss


@dataclass
class Answered:
    """All-reduce with a rank that sends twice the values of this one."""

    values: Tensor
    waited: list[int]

    def wait(self) -> None:
        self.waited.append(self.values.numel())
        self.values.mul_(3)


@dataclass(frozen=True)
class Doubled(Ranks):
    sent: list[int] = field(default_factory=list)
    waited: list[int] = field(default_factory=list)

    def all_reduce_async(self, values: Tensor) -> Answered:
        self.sent.append(values.numel())
        return Answered(values, self.waited)


IDS = [torch.tensor([[1, 2, 3]]), torch.tensor([[10, 4, 4]])]


def gradients(model: Model) -> list[Tensor]:
    return [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in model.parameters()]


@pytest.mark.parametrize("bucket_bytes", [1, 150, 1 << 20])
@pytest.mark.parametrize("pairs", [[True, True], [True, False], [False, False]], ids=str)
def test_sums_are_those_of_whole_gradients_whatever_the_buckets(bucket_bytes: int, pairs: list[bool]):
    plain, model = Model(), Model()
    for ids, some in zip(IDS, pairs, strict=True):
        plain(ids, some).backward()
    ranks = Doubled(size=2)
    adding = GradientAllReduce(ranks, model.parameters(), bucket_bytes)
    model(IDS[0], pairs[0]).backward()
    assert not ranks.sent  # gradients of the first micro-batch are not whole
    with adding.last_pass():
        model(IDS[1], pairs[1]).backward()
    in_the_pass = len(ranks.sent)
    adding.finish()
    assert all(torch.equal(3 * one, other) for one, other in zip(gradients(plain), gradients(model), strict=True))
    sizes = [sum(p.numel() for p in bucket) for bucket in gradient_buckets(model.parameters(), bucket_bytes)]
    assert ranks.sent == ranks.waited == sizes[::-1]
    # What comes after a bucket that never gets full waits for the end: the order is the same on every rank.
    assert in_the_pass == (len(sizes) if pairs[1] else 0)


def test_a_rank_with_nothing_to_do_sends_zeros_in_the_same_order():
    model, ranks = Model(), Doubled(size=2)
    GradientAllReduce(ranks, model.parameters(), 150).finish()
    assert ranks.sent == [sum(p.numel() for p in bucket) for bucket in gradient_buckets(model.parameters(), 150)][::-1]
    assert all(torch.equal(p.grad, torch.zeros_like(p)) for p in model.parameters())


def test_one_process_sends_nothing_and_keeps_its_gradients():
    model, ranks = Model(), Doubled(size=1)
    adding = GradientAllReduce(ranks, model.parameters())
    with adding.last_pass():
        model(IDS[0], True).backward()
    before = gradients(model)
    adding.finish()
    assert not ranks.sent
    assert all(torch.equal(one, other) for one, other in zip(before, gradients(model), strict=True))


def test_no_hook_is_left_behind_by_a_pass_that_fails():
    model, ranks = Model(), Doubled(size=2)
    adding = GradientAllReduce(ranks, model.parameters())
    with pytest.raises(RuntimeError, match="grad"), adding.last_pass():
        torch.zeros(1).backward()
    model(IDS[0], True).backward()
    assert not ranks.sent
