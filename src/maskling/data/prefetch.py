"""Work done ahead of the moment it is needed."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from itertools import islice
from multiprocessing import get_context
from typing import Any, TypeVar

T = TypeVar("T")


def prefetch(make: Callable[[int], T], steps: Iterable[int], workers: int = 0, depth: int = 2) -> Iterator[T]:
    """make(step) for each of `steps`, in order, while up to `depth` more for each worker are being made.

    workers: 0 for one thread beside the caller's, which is enough where a step takes longer than its
    data; else that many processes, to which `make` and what it returns must travel.
    An error in `make` comes up where its step would have; closing the iterator, or leaving the
    loop over it, waits for what is being made and starts no more.
    """
    pool, call = _pool(make, workers)
    upcoming = iter(steps)
    pending: deque[Future[T]] = deque()
    try:
        pending.extend(pool.submit(call, step) for step in islice(upcoming, depth * max(1, workers)))
        while pending:
            made = pending.popleft().result()
            pending.extend(pool.submit(call, step) for step in islice(upcoming, 1))
            yield made
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _pool(make: Callable[[int], T], workers: int) -> tuple[Executor, Callable[[int], T]]:
    if workers == 0:
        return ThreadPoolExecutor(1, thread_name_prefix="ahead"), make
    # A fork would copy the locks of torch's threads as they happen to stand, so each process starts afresh;
    # `make` travels once, not with every step.
    return ProcessPoolExecutor(workers, get_context("spawn"), _remember, (make,)), _remembered


_make: list[Callable[[int], Any]] = []


def _remember(make: Callable[[int], Any]) -> None:
    # Ctrl-C reaches every process of a terminal; only the one that trains decides what to do about it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _make[:] = [make]


def _remembered(step: int) -> Any:
    return _make[0](step)
