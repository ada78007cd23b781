"""Prefetch: build the batches of coming steps in a thread or in worker processes, as a dataloader does."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from itertools import islice
from multiprocessing import get_context
from typing import Any, TypeVar

_T = TypeVar("_T")


def prefetch(make: Callable[[int], _T], steps: Iterable[int], workers: int = 0, depth: int = 2) -> Iterator[_T]:
    """Yield make(step) for each of `steps`, in order, while up to `depth` more per worker are prefetched.

    workers: 0 for one thread beside the caller's, which is enough if a step takes longer than its
    data; otherwise that many processes, and `make` and its results must be picklable.
    An error in `make` is raised where its result would have been yielded. Closing the iterator, or leaving the
    loop over it, waits for the calls in progress and starts no more.
    """
    pool, call = _pool(make, workers)
    upcoming = iter(steps)
    pending: deque[Future[_T]] = deque()
    try:
        pending.extend(pool.submit(call, step) for step in islice(upcoming, depth * max(1, workers)))
        while pending:
            made = pending.popleft().result()
            pending.extend(pool.submit(call, step) for step in islice(upcoming, 1))
            yield made
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _pool(make: Callable[[int], _T], workers: int) -> tuple[Executor, Callable[[int], _T]]:
    if workers == 0:
        return ThreadPoolExecutor(1, thread_name_prefix="ahead"), make
    # A fork would copy the locks of torch's threads in whatever state they are in, so processes are spawned;
    # `make` is sent once per process, not with every step.
    return ProcessPoolExecutor(workers, get_context("spawn"), _set_make, (make,)), _call_make


_make: list[Callable[[int], Any]] = []


def _set_make(make: Callable[[int], Any]) -> None:
    # Ctrl-C reaches every process of a terminal; only the training process handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _make[:] = [make]


def _call_make(step: int) -> Any:
    return _make[0](step)
