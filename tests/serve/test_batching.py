"""Queued requests share a call, and each gets its own result or error."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence

import pytest
import torch

from maskling.infer.forward import between_batches
from maskling.serve.batching import Batcher, BusyError


class Slow:
    """Doubles texts once it is let go; notes with which it was called. One that holds a ! is a mistake."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.goes = threading.Event()

    def __call__(self, items: list[str]) -> list[str]:
        assert self.goes.wait(10)
        self.calls.append(list(items))
        for item in items:
            if "!" in item:
                raise ValueError(f"what is {item}")
        return [2 * item for item in items]


async def turns() -> None:
    """Let whatever can go on do so."""
    for _ in range(5):
        await asyncio.sleep(0)


async def all_of(batcher: Batcher, slow: Slow, asked: Sequence[tuple[str, list[str]]]) -> list[object]:
    """The answers and errors to requests that come while the first is being answered."""
    tasks = []
    for kind, items in asked:
        tasks.append(asyncio.create_task(batcher.run(kind, slow, items)))
        await turns()
    slow.goes.set()
    return await asyncio.gather(*tasks, return_exceptions=True)


def test_the_first_request_starts_at_once_and_queued_ones_share_a_call() -> None:
    batcher, slow = Batcher(), Slow()
    asked = [("a", ["1"]), ("a", ["2", "3"]), ("b", ["4"]), ("a", ["5"])]
    assert asyncio.run(all_of(batcher, slow, asked)) == [["11"], ["22", "33"], ["44"], ["55"]]
    assert slow.calls == [["1"], ["2", "3", "5"], ["4"]]
    assert (batcher.calls, batcher.items, batcher.num_queued) == (3, 5, 0)


def test_an_error_reaches_only_its_own_request() -> None:
    batcher, slow = Batcher(), Slow()
    found = asyncio.run(all_of(batcher, slow, [("a", ["1"]), ("a", ["2"]), ("a", ["3!"]), ("a", ["4"])]))
    assert [found[0], found[1], found[3]] == [["11"], ["22"], ["44"]]
    assert isinstance(found[2], ValueError)
    assert str(found[2]) == "what is 3!"


def test_small_requests_do_not_wait_for_all_of_a_large_one() -> None:
    batcher, slow = Batcher(max_call_cost=4), Slow()
    large = ["aa", "bb", "cc", "dd", "ee", "ff", "ggggg", "h"]
    found = asyncio.run(all_of(batcher, slow, [("a", large), ("a", ["x"]), ("b", ["y"]), ("a", ["zz"])]))
    assert found == [[2 * item for item in large], ["xx"], ["yy"], ["zzzz"]]
    # The last piece fills up what the small ones leave.
    assert slow.calls == [["aa", "bb"], ["x", "zz", "h"], ["y"], ["cc", "dd"], ["ee", "ff"], ["ggggg"]]


def test_the_rest_of_a_failed_large_request_is_dropped() -> None:
    batcher, slow = Batcher(max_call_cost=2), Slow()
    found = asyncio.run(all_of(batcher, slow, [("a", ["a", "b", "c!", "d", "e", "f", "g"]), ("a", ["x"])]))
    assert str(found[0]) == "what is c!"
    assert found[1] == ["xx"]
    assert slow.calls == [["a", "b"], ["x"], ["c!"]]
    assert batcher.num_queued == 0


def test_a_full_queue_refuses_requests_and_answers_the_others() -> None:
    batcher, slow = Batcher(max_queued=3), Slow()
    found = asyncio.run(all_of(batcher, slow, [("a", ["0"]), ("a", ["1", "2"]), ("a", ["3", "4"]), ("a", ["5"])]))
    assert isinstance(found[2], BusyError)
    assert [found[0], found[1], found[3]] == [["00"], ["11", "22"], ["55"]]


def test_a_cancelled_request_is_not_run() -> None:
    batcher, slow = Batcher(), Slow()

    async def run() -> object:
        first = asyncio.create_task(batcher.run("a", slow, ["1"]))
        await turns()
        left = asyncio.create_task(batcher.run("a", slow, ["2"]))
        await turns()
        left.cancel()
        await turns()
        slow.goes.set()
        return await first

    assert asyncio.run(run()) == ["11"]
    assert slow.calls == [["1"]]


@pytest.mark.parametrize("seed", range(5))
def test_many_concurrent_requests_each_get_their_own_results(seed: int) -> None:
    batcher = Batcher(max_call_cost=20)

    def call(times: int) -> Callable[[list[str]], list[str]]:
        return lambda items: [times * item for item in items]

    async def run() -> None:
        async def one(number: int) -> None:
            await asyncio.sleep((number * 7 + seed) % 5 / 1000)
            items = [f"{number}.{item}" for item in range(number % 5)]
            times = number % 3
            assert await batcher.run(times, call(times), items) == [times * item for item in items]

        await asyncio.gather(*map(one, range(60)))

    asyncio.run(run())
    assert batcher.num_queued == 0
    assert batcher.items == sum(number % 5 for number in range(60))
    assert 0 < batcher.calls < 48  # requests that have something to ask


def test_a_large_request_does_not_wait_forever() -> None:
    batcher = Batcher(max_call_cost=4)
    done: list[str] = []

    def call(items: list[str]) -> list[str]:
        return items

    async def small(kind: str) -> None:
        # Always one of each kind waits, whenever a piece of the large one could be taken.
        while "large" not in done:
            await batcher.run(kind, call, ["x"])
            done.append(kind)

    async def large() -> None:
        await batcher.run("large", call, ["1234"] * 5)
        done.append("large")

    async def run() -> None:
        await asyncio.wait_for(asyncio.gather(*(small(str(kind)) for kind in range(4)), large()), 20)

    asyncio.run(run())
    assert done.index("large") < 60


def test_small_calls_run_between_the_batches_of_a_large_one() -> None:
    order: list[str] = []
    begun, small_sent = threading.Event(), threading.Event()

    def large(items: list[str]) -> list[str]:
        for batch in range(3):
            begun.set()
            assert small_sent.wait(10)
            time.sleep(0.03)  # longer than the calls that nothing interrupts
            between_batches()
            order.append(f"batch {batch}")
        return items

    def small(items: list[str]) -> list[str]:
        order.append("small")
        return items

    async def run() -> list[list[str]]:
        batcher = Batcher()
        first = asyncio.create_task(batcher.run("large", large, ["a"], lambda _: 1_000_000))
        await asyncio.to_thread(begun.wait, 10)
        second = asyncio.create_task(batcher.run("small", small, ["b"]))
        await turns()
        small_sent.set()
        return list(await asyncio.gather(first, second))

    assert asyncio.run(run()) == [["a"], ["b"]]
    assert order == ["small", "batch 0", "batch 1", "batch 2"]


def test_a_call_ends_at_its_next_batch_when_its_client_has_left() -> None:
    batches: list[int] = []
    begun, left = threading.Event(), threading.Event()

    def large(items: list[str]) -> list[str]:
        for batch in range(1000):
            between_batches()
            batches.append(batch)
            begun.set()
            assert left.wait(10)
        return items

    async def run() -> list[str]:
        batcher = Batcher()
        first = asyncio.create_task(batcher.run("large", large, ["a"]))
        await asyncio.to_thread(begun.wait, 10)
        first.cancel()
        await turns()
        left.set()
        return await batcher.run("next", lambda items: items, ["b"])

    assert asyncio.run(run()) == ["b"]
    assert batches == [0]


def test_small_requests_go_before_the_pieces_of_many_large_ones() -> None:
    batcher, slow = Batcher(max_call_cost=4), Slow()
    larges = [(f"large {index}", ["aaaa", "bbbb"]) for index in range(5)]
    asyncio.run(all_of(batcher, slow, [*larges, ("small", ["x"])]))
    assert slow.calls[:2] == [["aaaa"], ["x"]]


def test_a_call_inside_another_runs_without_its_autocast() -> None:
    enabled: list[bool] = []
    begun, sent = threading.Event(), threading.Event()

    def large(items: list[str]) -> list[str]:
        with torch.autocast("cpu", torch.bfloat16):
            begun.set()
            assert sent.wait(10)
            time.sleep(0.03)
            between_batches()
            enabled.append(torch.is_autocast_enabled("cpu"))
        return items

    def small(items: list[str]) -> list[str]:
        enabled.append(torch.is_autocast_enabled("cpu"))
        return items

    async def run() -> None:
        batcher = Batcher()
        first = asyncio.create_task(batcher.run("large", large, ["a"], lambda _: 1000))
        await asyncio.to_thread(begun.wait, 10)
        second = asyncio.create_task(batcher.run("small", small, ["b"]))
        await turns()
        sent.set()
        await asyncio.gather(first, second)

    asyncio.run(run())
    assert enabled == [False, True]
