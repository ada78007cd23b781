"""Dynamic batching: queued requests of the same kind share one call of the model, and large requests yield to small."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Final, TypeVar

_T = TypeVar("_T")
_R = TypeVar("_R")

# Characters per call: about 8,000 tokens, as many as a batch has.
MAX_CALL_CHARACTERS: Final = 1 << 15
# Texts that may be queued.
MAX_QUEUED: Final = 8192
# Later requests that run before the next piece of an earlier one.
_YIELDS: Final = 8


class BusyError(Exception):
    """Too many texts are queued already."""


@dataclass(frozen=True)
class _Piece:
    """Part of a request. turn: the smallest runs first; kind: pieces of the same kind can share a call."""

    turn: tuple[int, int]
    kind: Hashable
    call: Callable[[list[Any]], Sequence[Any]]
    items: list[Any]
    size: int
    future: asyncio.Future[list[Any]]


_Outcome = list[Any] | Exception
_Outcomes = list[tuple[_Piece, _Outcome]]
_Call = tuple[asyncio.AbstractEventLoop, "asyncio.Future[_Outcomes]", list[_Piece]]


class Batcher:
    """Runs calls of the model on one thread, one after another.

    A request that finds the thread idle starts at once. Requests that arrive meanwhile are queued, and those of the
    same kind share the next call, so no request is ever delayed to wait for others. A large request is split into
    pieces, and each piece lets a few later requests go first: small requests do not wait for all of a large one, and a
    large one does not wait forever.
    The thread is a daemon, so the process can exit while the model runs.
    """

    def __init__(self, max_call_characters: int = MAX_CALL_CHARACTERS, max_queued: int = MAX_QUEUED) -> None:
        self._max_call_characters, self._max_queued = max_call_characters, max_queued
        self._queue: list[_Piece] = []
        self._arrivals = count()
        self._drain_task: asyncio.Task[None] | None = None
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self.calls = self.items = 0
        # True from the moment a call is handed to the thread until the call returns.
        self.busy = False
        threading.Thread(target=self._run_calls, name="model", daemon=True).start()

    @property
    def num_queued(self) -> int:
        """Number of texts in the queue."""
        return sum(len(piece.items) for piece in self._queue if not piece.future.done())

    async def run(self, kind: Hashable, call: Callable[[list[_T]], Sequence[_R]], items: Sequence[_T]) -> list[_R]:
        """Return what `call` returns for `items` (texts or tuples of texts), in their order.

        call: returns one result per item, whatever the other items are; all calls of one kind must be equivalent.
        Raises BusyError if too many texts are queued, and whatever `call` raises for some of these items.
        """
        if self._queue and self.num_queued + len(items) > self._max_queued:
            raise BusyError(f"{self.num_queued:,} texts are queued already; try again later, or start another server")
        arrival, loop = next(self._arrivals), asyncio.get_running_loop()
        pieces = [
            _Piece((arrival + _YIELDS * index, arrival), kind, call, part, sum(map(_size, part)), loop.create_future())
            for index, part in enumerate(self._split(items))
        ]
        self._queue += pieces
        if self._drain_task is None:
            self._drain_task = asyncio.create_task(self._drain())
        try:
            results = await asyncio.gather(*(piece.future for piece in pieces))
        finally:
            for piece in pieces:
                piece.future.cancel()
        return [result for part in results for result in part]

    def close(self) -> None:
        """Let the thread end after the current call."""
        self._calls.put(None)

    def _split(self, items: Sequence[_T]) -> Iterator[list[_T]]:
        part: list[_T] = []
        size = 0
        for item in items:
            if part and size + _size(item) > self._max_call_characters:
                yield part
                part, size = [], 0
            part.append(item)
            size += _size(item)
        if part:
            yield part

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while pieces := self._next_pieces():
                done: asyncio.Future[_Outcomes] = loop.create_future()
                self.busy = True
                self._calls.put((loop, done, pieces))
                for piece, outcome in await done:
                    self._settle(piece, outcome)
                self.calls += 1
                self.items += sum(len(piece.items) for piece in pieces)
        finally:
            self._drain_task = None

    def _next_pieces(self) -> list[_Piece]:
        """Take the next piece and others of its kind from the queue; drop those whose client has left."""
        taken: list[_Piece] = []
        left: list[_Piece] = []
        size = 0
        for piece in sorted(self._queue, key=lambda queued: queued.turn):
            if piece.future.done():
                continue
            fits = not taken or (piece.kind == taken[0].kind and size + piece.size <= self._max_call_characters)
            (taken if fits else left).append(piece)
            size += piece.size if fits else 0
        self._queue = left
        return taken

    def _run_calls(self) -> None:
        """Run calls until `close`. Body of the thread."""
        while (call := self._calls.get()) is not None:
            loop, done, pieces = call
            outcomes = _outcomes(pieces)
            self.busy = False
            with contextlib.suppress(RuntimeError):  # the event loop has ended
                loop.call_soon_threadsafe(_set_result, done, outcomes)

    def _settle(self, piece: _Piece, outcome: _Outcome) -> None:
        if isinstance(outcome, Exception):
            # The rest of a failed request is not needed.
            self._queue = [queued for queued in self._queue if queued.turn[1] != piece.turn[1]]
        if piece.future.done():  # the client has left
            return
        if isinstance(outcome, Exception):
            piece.future.set_exception(outcome)
        else:
            piece.future.set_result(outcome)


def _size(item: Any) -> int:
    """Return the number of characters of a text, or of all texts in a tuple."""
    return len(item) if isinstance(item, str) else sum(map(_size, item))


def _set_result(done: asyncio.Future[_Outcomes], outcomes: _Outcomes) -> None:
    if not done.done():
        done.set_result(outcomes)


def _outcomes(pieces: list[_Piece]) -> _Outcomes:
    """Call once for all pieces; if that fails, once per piece, so that no client gets another's error."""
    try:
        results = iter(pieces[0].call([item for piece in pieces for item in piece.items]))
        return [(piece, [next(results) for _ in piece.items]) for piece in pieces]
    except Exception as error:
        if len(pieces) == 1:
            return [(pieces[0], error)]
        return [outcome for piece in pieces for outcome in _outcomes([piece])]
