"""Requests that wait for the model are run together where they ask for the same."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, TypeVar

T = TypeVar("T")
R = TypeVar("R")

# Texts that run together, and texts that may wait.
MOST_TOGETHER: Final = 512
MOST_WAITING: Final = 8192


class BusyError(Exception):
    """Too many texts wait already."""


@dataclass(frozen=True)
class _Waiting:
    """A request. kind: requests of one kind may share a call."""

    kind: Hashable
    call: Callable[[list[Any]], Sequence[Any]]
    items: list[Any]
    future: asyncio.Future[list[Any]]


class Batcher:
    """Runs calls on one thread, one after the other.

    A request that finds the thread idle begins at once. Those that come meanwhile wait, and those of one kind among
    them share the next call, so that no request is ever held back to wait for others.
    """

    def __init__(self, most_together: int = MOST_TOGETHER, most_waiting: int = MOST_WAITING) -> None:
        self._most_together, self._most_waiting = most_together, most_waiting
        self._waiting: deque[_Waiting] = deque()
        self._thread = ThreadPoolExecutor(1, "model")
        self._work: asyncio.Task[None] | None = None
        self.calls = self.items = 0

    @property
    def num_waiting(self) -> int:
        """How many texts wait."""
        return sum(len(one.items) for one in self._waiting)

    async def run(self, kind: Hashable, call: Callable[[list[T]], Sequence[R]], items: Sequence[T]) -> list[R]:
        """What `call` makes of `items`, in their order.

        call: gives an answer for each item, whatever other items there are; all calls of one kind must do the same.
        Raises BusyError where too many wait, and whatever `call` raises for these items alone.
        """
        if self._waiting and self.num_waiting + len(items) > self._most_waiting:
            raise BusyError(f"{self.num_waiting:,} texts wait already; try again later, or start another server")
        future: asyncio.Future[list[R]] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(kind, call, list(items), future))
        if self._work is None:
            self._work = asyncio.create_task(self._work_off())
        return await future

    def close(self) -> None:
        """Let the thread end after the call at hand."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _work_off(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                together = self._next()
                if together:
                    for one, answer in await loop.run_in_executor(self._thread, _done, together):
                        _settle(one.future, answer)
                    self.calls += 1
                    self.items += sum(len(one.items) for one in together)
        finally:
            self._work = None

    def _next(self) -> list[_Waiting]:
        """The request that waits longest, and others of its kind; without those that nobody waits for any more."""
        together: list[_Waiting] = []
        left: deque[_Waiting] = deque()
        size = 0
        for one in self._waiting:
            if one.future.done():
                continue
            fits = not together or (one.kind == together[0].kind and size + len(one.items) <= self._most_together)
            (together if fits else left).append(one)
            size += len(one.items) if fits else 0
        self._waiting = left
        return together


Answer = list[Any] | Exception


def _done(together: list[_Waiting]) -> list[tuple[_Waiting, Answer]]:
    """Call for all at once; where that fails, for each by itself, so that nobody gets another's error."""
    try:
        answers = iter(together[0].call([item for one in together for item in one.items]))
        return [(one, [next(answers) for _ in one.items]) for one in together]
    except Exception as error:
        if len(together) == 1:
            return [(together[0], error)]
        return [each for one in together for each in _done([one])]


def _settle(future: asyncio.Future[list[Any]], answer: Answer) -> None:
    if future.done():  # nobody waits any more
        return
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)
