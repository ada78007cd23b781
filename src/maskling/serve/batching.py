"""Requests that wait for the model are run together where they ask for the same, and large ones wait for small ones."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Final, TypeVar

T = TypeVar("T")
R = TypeVar("R")

# Characters that run together: some 8,000 tokens, as many as a batch has.
MOST_TOGETHER: Final = 1 << 15
# Later requests that go before the next piece of one that came earlier.
_PUT_OFF: Final = 8
# Texts that may wait.
MOST_WAITING: Final = 8192


Answer = list[Any] | Exception


class BusyError(Exception):
    """Too many texts wait already."""


@dataclass(frozen=True)
class _Piece:
    """A part of a request. turn: the least goes first; kind: those of one may share a call."""

    turn: tuple[int, int]
    kind: Hashable
    call: Callable[[list[Any]], Sequence[Any]]
    items: list[Any]
    size: int
    future: asyncio.Future[list[Any]]


_Answers = list[tuple[_Piece, Answer]]
_Call = tuple[asyncio.AbstractEventLoop, "asyncio.Future[_Answers]", list[_Piece]]


class Batcher:
    """Runs calls on one thread, one after the other.

    A request that finds the thread idle begins at once. Those that come meanwhile wait, and those of one kind among
    them share the next call, so that no request is ever held back to wait for others. A large request is cut into
    pieces, and each lets a few more of the requests that came later go first. So small ones do not wait for all of a
    large one, nor a large one for ever.
    The thread is a daemon: a process may end while the model works.
    """

    def __init__(self, most_together: int = MOST_TOGETHER, most_waiting: int = MOST_WAITING) -> None:
        self._most_together, self._most_waiting = most_together, most_waiting
        self._waiting: list[_Piece] = []
        self._arrived = count()
        self._work: asyncio.Task[None] | None = None
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self.calls = self.items = 0
        self.busy = False
        threading.Thread(target=self._serve, name="model", daemon=True).start()

    @property
    def num_waiting(self) -> int:
        """How many texts wait."""
        return sum(len(one.items) for one in self._waiting if not one.future.done())

    async def run(self, kind: Hashable, call: Callable[[list[T]], Sequence[R]], items: Sequence[T]) -> list[R]:
        """What `call` makes of `items`, texts or tuples of them, in their order.

        call: gives an answer for each item, whatever other items there are; all calls of one kind must do the same.
        Raises BusyError where too many wait, and whatever `call` raises for some of these items.
        """
        if self._waiting and self.num_waiting + len(items) > self._most_waiting:
            raise BusyError(f"{self.num_waiting:,} texts wait already; try again later, or start another server")
        arrived, loop = next(self._arrived), asyncio.get_running_loop()
        pieces = [
            _Piece(
                (arrived + _PUT_OFF * number, arrived), kind, call, some, sum(map(_size, some)), loop.create_future()
            )
            for number, some in enumerate(self._cut(items))
        ]
        self._waiting += pieces
        if self._work is None:
            self._work = asyncio.create_task(self._work_off())
        try:
            answers = await asyncio.gather(*(one.future for one in pieces))
        finally:
            for one in pieces:
                one.future.cancel()
        return [answer for some in answers for answer in some]

    def close(self) -> None:
        """Let the thread end after the call at hand."""
        self._calls.put(None)

    def _cut(self, items: Sequence[T]) -> Iterator[list[T]]:
        piece: list[T] = []
        size = 0
        for item in items:
            if piece and size + _size(item) > self._most_together:
                yield piece
                piece, size = [], 0
            piece.append(item)
            size += _size(item)
        if piece:
            yield piece

    async def _work_off(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while together := self._next():
                done: asyncio.Future[_Answers] = loop.create_future()
                self._calls.put((loop, done, together))
                for one, answer in await done:
                    self._settle(one, answer)
                self.calls += 1
                self.items += sum(len(one.items) for one in together)
        finally:
            self._work = None

    def _next(self) -> list[_Piece]:
        """The piece whose turn it is, and others of its kind; without those that nobody waits for any more."""
        together: list[_Piece] = []
        left: list[_Piece] = []
        size = 0
        for one in sorted(self._waiting, key=lambda piece: piece.turn):
            if one.future.done():
                continue
            fits = not together or (one.kind == together[0].kind and size + one.size <= self._most_together)
            (together if fits else left).append(one)
            size += one.size if fits else 0
        self._waiting = left
        return together

    def _serve(self) -> None:
        """The thread."""
        while (call := self._calls.get()) is not None:
            loop, done, together = call
            self.busy = True
            answers = _done(together)
            self.busy = False
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(_give, done, answers)

    def _settle(self, piece: _Piece, answer: Answer) -> None:
        if isinstance(answer, Exception):
            # Nobody wants the rest of a request that has failed.
            self._waiting = [one for one in self._waiting if one.turn[1] != piece.turn[1]]
        if piece.future.done():  # whoever asked has left
            return
        if isinstance(answer, Exception):
            piece.future.set_exception(answer)
        else:
            piece.future.set_result(answer)


def _size(item: Any) -> int:
    """Characters of a text, or of all texts that are asked about together."""
    return len(item) if isinstance(item, str) else sum(map(_size, item))


def _give(done: asyncio.Future[_Answers], answers: _Answers) -> None:
    if not done.done():
        done.set_result(answers)


def _done(together: list[_Piece]) -> _Answers:
    """Call for all at once; where that fails, for each by itself, so that nobody gets another's error."""
    try:
        answers = iter(together[0].call([item for one in together for item in one.items]))
        return [(one, [next(answers) for _ in one.items]) for one in together]
    except Exception as error:
        if len(together) == 1:
            return [(together[0], error)]
        return [each for one in together for each in _done([one])]
