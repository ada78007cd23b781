"""Requests that wait share a call, and nobody gets another's answer or another's error."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence

import pytest

from maskling.serve.batching import Batcher, BusyError


class Slow:
    """Doubles numbers once it is let go; notes with which it was called."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.goes = threading.Event()

    def __call__(self, items: list[int]) -> list[int]:
        assert self.goes.wait(10)
        self.calls.append(list(items))
        if any(item < 0 for item in items):
            raise ValueError(f"negative: {min(items)}")
        return [2 * item for item in items]


async def all_of(batcher: Batcher, slow: Slow, asked: Sequence[tuple[str, list[int]]]) -> list[object]:
    """The answers and errors to requests that come while the first is being answered."""
    tasks = []
    for kind, items in asked:
        tasks.append(asyncio.create_task(batcher.run(kind, slow, items)))
        await asyncio.sleep(0.01)
    slow.goes.set()
    return await asyncio.gather(*tasks, return_exceptions=True)


def test_the_first_is_not_held_back_and_those_that_wait_share_a_call() -> None:
    batcher, slow = Batcher(), Slow()
    asked = [("a", [1]), ("a", [2, 3]), ("b", [4]), ("a", [5])]
    assert asyncio.run(all_of(batcher, slow, asked)) == [[2], [4, 6], [8], [10]]
    assert slow.calls == [[1], [2, 3, 5], [4]]
    assert (batcher.calls, batcher.items, batcher.num_waiting) == (3, 5, 0)


def test_a_mistake_is_its_own() -> None:
    batcher, slow = Batcher(), Slow()
    found = asyncio.run(all_of(batcher, slow, [("a", [1]), ("a", [2]), ("a", [-3]), ("a", [4])]))
    assert found[:2] == [[2], [4]]
    assert found[3] == [8]
    assert isinstance(found[2], ValueError)
    assert str(found[2]) == "negative: -3"


def test_calls_are_of_a_bounded_size_and_a_large_request_stays_whole() -> None:
    batcher, slow = Batcher(most_together=4), Slow()
    asked = [("a", [0]), ("a", [1, 2, 3]), ("a", [4, 5]), ("a", [6]), ("a", list(range(7, 17)))]
    found = asyncio.run(all_of(batcher, slow, asked))
    assert found == [[2 * item for item in items] for _, items in asked]
    assert slow.calls == [[0], [1, 2, 3, 6], [4, 5], list(range(7, 17))]


def test_too_many_that_wait_are_refused_and_the_others_answered() -> None:
    batcher, slow = Batcher(most_waiting=3), Slow()
    found = asyncio.run(all_of(batcher, slow, [("a", [0]), ("a", [1, 2]), ("a", [3, 4]), ("a", [5])]))
    assert isinstance(found[2], BusyError)
    assert [found[0], found[1], found[3]] == [[0], [2, 4], [10]]


def test_nobody_is_asked_for_what_nobody_waits_for() -> None:
    batcher, slow = Batcher(), Slow()

    async def run() -> object:
        first = asyncio.create_task(batcher.run("a", slow, [1]))
        await asyncio.sleep(0.01)
        left = asyncio.create_task(batcher.run("a", slow, [2]))
        await asyncio.sleep(0.01)
        left.cancel()
        await asyncio.sleep(0.01)
        slow.goes.set()
        return await first

    assert asyncio.run(run()) == [2]
    assert slow.calls == [[1]]


@pytest.mark.parametrize("seed", range(5))
def test_many_at_once_each_get_their_own(seed: int) -> None:
    batcher = Batcher(most_together=7)

    def call(factor: int) -> Callable[[list[int]], list[int]]:
        return lambda items: [factor * item for item in items]

    async def run() -> None:
        async def one(number: int) -> None:
            await asyncio.sleep((number * 7 + seed) % 5 / 1000)
            items = list(range(number % 4))
            factor = number % 3
            assert await batcher.run(factor, call(factor), items) == [factor * item for item in items]

        await asyncio.gather(*map(one, range(60)))

    asyncio.run(run())
    assert batcher.num_waiting == 0
    assert batcher.calls < 60
