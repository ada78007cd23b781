"""Dynamic batching: requests of the same kind share a call of the model, and small requests run inside large ones."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Final, TypeVar

import torch

from maskling.infer.forward import BETWEEN_BATCHES

_T = TypeVar("_T")
_R = TypeVar("_R")

# Cost of a call, in tokens that the model reads: the batches of a call are 2,048 tokens on a CPU.
MAX_CALL_COST: Final = 1 << 13
# Texts that may be queued, and their cost. Small requests are only refused for the first.
MAX_QUEUED: Final = 8192
MAX_QUEUED_COST: Final = 1 << 25
# Later requests that run before the next piece of an earlier one, and small calls that run before a large one.
_YIELDS: Final = 8
# A request is small if a call costs this many times as much; a call may run inside another that does.
_SMALLER: Final = 4
# Seconds that a call runs before it lets others run inside, and about how long it then waits for them.
_SLICE_SECONDS: Final = 0.02
_PAUSE_SECONDS: Final = 0.5


class BusyError(Exception):
    """Too much work is queued already."""


class _Abandoned(BaseException):
    """Every client that waits for the running call has left. Not an Exception, so that no function catches it."""


@dataclass(frozen=True, eq=False)
class _Piece:
    """Part of a request.

    small: whether the whole request is; turn: the least runs first; kind: pieces of the same kind can share a call.
    """

    small: bool
    turn: tuple[int, int]
    kind: Hashable
    call: Callable[[list[Any]], Sequence[Any]]
    items: list[Any]
    cost: int
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[list[Any]]


@dataclass
class _Running:
    """A call in progress. since: when it began or last let others run."""

    pieces: list[_Piece]
    cost: int
    since: float


_Outcome = list[Any] | Exception


class Batcher:
    """Runs calls of the model on one thread.

    A request that finds the thread idle starts at once. Requests that arrive meanwhile are queued, and those of the
    same kind share the next call, so no request is ever delayed to wait for others. A large request is split into
    pieces, which wait for small requests and let a few later large ones go first; one in so many calls is for a large
    request, so it does not wait forever. Between two batches of a call (see `BETWEEN_BATCHES`) calls of a quarter of
    its cost run, and a call whose clients have all left ends there. The thread is a daemon, so the process can exit
    while the model runs.
    """

    def __init__(self, max_call_cost: int = MAX_CALL_COST, max_queued: int = MAX_QUEUED) -> None:
        self._max_call_cost, self._max_queued = max_call_cost, max_queued
        # Guards the queue and whether the thread has work; the other fields belong to the thread.
        self._lock = threading.Lock()
        self._queue: list[_Piece] = []
        self._active = False
        self._arrivals = count()
        self._calls: queue.SimpleQueue[list[_Piece] | None] = queue.SimpleQueue()
        self._running: list[_Running] = []
        self._small_calls = 0  # since the last one for a large request
        self.calls = self.items = 0
        threading.Thread(target=self._run_calls, name="model", daemon=True).start()

    @property
    def busy(self) -> bool:
        """True from the moment a call is handed to the thread until there are no more."""
        return self._active

    @property
    def num_queued(self) -> int:
        """Number of texts in the queue."""
        with self._lock:
            return self._num_queued()

    def _num_queued(self) -> int:
        return sum(len(piece.items) for piece in self._queue if not piece.future.done())

    async def run(
        self,
        kind: Hashable,
        call: Callable[[list[_T]], Sequence[_R]],
        items: Sequence[_T],
        cost: Callable[[_T], int] = len,  # type: ignore[assignment]
    ) -> list[_R]:
        """Return what `call` returns for `items`, in their order.

        call: returns one result per item, whatever the other items are; all calls of one kind must be equivalent.
        cost: of an item, in tokens that the model reads for it, roughly.
        Raises BusyError if too much is queued, and whatever `call` raises for some of these items.
        """
        loop = asyncio.get_running_loop()
        parts = list(self._split(items, cost))
        total = sum(size for _, size in parts)
        with self._lock:
            self._check_room(len(items), total)
            arrival = next(self._arrivals)
            pieces = [
                _Piece(
                    total <= self._max_call_cost // _SMALLER,
                    (arrival + _YIELDS * index, arrival),
                    kind,
                    call,
                    part,
                    size,
                    loop,
                    loop.create_future(),
                )
                for index, (part, size) in enumerate(parts)
            ]
            self._queue += pieces
            if not self._active and (taken := self._take()):
                self._active = True
                self._calls.put(taken)
        try:
            results = await asyncio.gather(*(piece.future for piece in pieces))
        finally:
            for piece in pieces:
                piece.future.cancel()
        return [result for part in results for result in part]

    def close(self) -> None:
        """Let the thread end after the current call."""
        self._calls.put(None)

    def _check_room(self, items: int, cost: int) -> None:
        queued = self._num_queued()
        if queued and queued + items > self._max_queued:
            raise BusyError(f"{queued:,} texts are queued already; try again later, or start another server")
        waiting = sum(piece.cost for piece in self._queue if not piece.future.done())
        if waiting and cost > self._max_call_cost and waiting + cost > MAX_QUEUED_COST:
            raise BusyError("too many large requests are queued already; try again later, or start another server")

    def _split(self, items: Sequence[_T], cost: Callable[[_T], int]) -> Iterator[tuple[list[_T], int]]:
        part: list[_T] = []
        size = 0
        for item in items:
            own = cost(item)
            if part and size + own > self._max_call_cost:
                yield part, size
                part, size = [], 0
            part.append(item)
            size += own
        if part:
            yield part, size

    def _take(self, max_cost: int | None = None) -> list[_Piece]:
        """Take the next piece and others of its kind from the queue; drop those whose client has left.

        max_cost: of a call. Call with the lock held.
        """
        waiting = sorted((piece for piece in self._queue if not piece.future.done()), key=lambda piece: piece.turn)
        most = self._max_call_cost if max_cost is None else min(max_cost, self._max_call_cost)
        first = self._next(waiting if max_cost is None else [piece for piece in waiting if piece.cost <= max_cost])
        if first is None:
            self._queue = waiting
            return []
        taken, cost = [first], first.cost
        left: list[_Piece] = []
        for piece in waiting:
            if piece is first:
                continue
            fits = piece.kind == first.kind and cost + piece.cost <= most
            (taken if fits else left).append(piece)
            cost += piece.cost if fits else 0
        self._queue = left
        return taken

    def _next(self, waiting: list[_Piece]) -> _Piece | None:
        """Return the piece to run next. waiting: by turn."""
        small = next((piece for piece in waiting if piece.small), None)
        large = next((piece for piece in waiting if not piece.small), None)
        if small is None or (large is not None and self._small_calls >= _YIELDS):
            self._small_calls = 0
            return large
        self._small_calls += 1
        return small

    def _run_calls(self) -> None:
        """Run calls until `close`. Body of the thread."""
        BETWEEN_BATCHES.set(self._between_batches)
        while (pieces := self._calls.get()) is not None:
            while pieces:
                self._run(pieces)
                with self._lock:
                    pieces = self._take()
                    self._active = bool(pieces)

    def _run(self, pieces: list[_Piece]) -> None:
        self._running.append(_Running(pieces, sum(piece.cost for piece in pieces), time.perf_counter()))
        outcomes: list[tuple[_Piece, _Outcome]] = []
        with contextlib.suppress(_Abandoned):
            outcomes = _outcomes(pieces)
        self._running.pop()
        self.calls += 1
        self.items += sum(len(piece.items) for piece in pieces)
        for piece, outcome in outcomes:
            if isinstance(outcome, Exception):
                # The rest of a failed request is not needed.
                with self._lock:
                    self._queue = [queued for queued in self._queue if queued.turn[1] != piece.turn[1]]
            with contextlib.suppress(RuntimeError):  # the event loop has ended
                piece.loop.call_soon_threadsafe(_settle, piece.future, outcome)

    def _between_batches(self) -> None:
        """Run smaller calls that wait, unless a call has just begun; end a call that nobody waits for."""
        running = self._running[-1]
        if all(piece.future.done() for piece in running.pieces):
            raise _Abandoned
        began = time.perf_counter()
        if began - running.since < _SLICE_SECONDS:
            return
        while time.perf_counter() - began < _PAUSE_SECONDS:
            with self._lock:
                pieces = self._take(running.cost // _SMALLER)
            if not pieces:
                break
            with _without_autocast():
                self._run(pieces)
            if not pieces[0].small:
                break
        running.since = time.perf_counter()


@contextlib.contextmanager
def _without_autocast() -> Iterator[None]:
    """Run a call inside another as if it ran by itself."""
    with contextlib.ExitStack() as stack:
        for device in ("cpu", "cuda", "mps"):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        yield


def _settle(future: asyncio.Future[list[Any]], outcome: _Outcome) -> None:
    if future.done():  # the client has left
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


def _outcomes(pieces: list[_Piece]) -> list[tuple[_Piece, _Outcome]]:
    """Call once for all pieces; if that fails, once per piece, so that no client gets another's error."""
    try:
        results = iter(pieces[0].call([item for piece in pieces for item in piece.items]))
        return [(piece, [next(results) for _ in piece.items]) for piece in pieces]
    except Exception as error:
        if len(pieces) == 1:
            return [(pieces[0], error)]
        return [outcome for piece in pieces for outcome in _outcomes([piece])]
