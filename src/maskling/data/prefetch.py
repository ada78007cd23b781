"""Prefetch: build the batches of coming steps in a thread or in worker processes, as a dataloader does."""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from typing import Any, TypeVar

from maskling.errors import DataError

_T = TypeVar("_T")


def prefetch(make: Callable[[int], _T], steps: Iterable[int], workers: int = 0, depth: int = 2) -> Iterator[_T]:
    """Yield make(step) for each of `steps`, in order, while up to `depth` more per worker are prefetched.

    workers: 0 for one thread beside the caller's, which is enough if a step takes longer than its
    data; otherwise that many processes, and `make` and its results must be picklable. They end with this process,
    however it ends.
    An error in `make` is raised where its result would have been yielded. Closing the iterator, or leaving the
    loop over it, waits for the calls in progress and starts no more.
    Raises DataError if a process was killed, as the system does when memory runs out.
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
    except BrokenProcessPool:
        raise DataError(
            "a process that builds batches was killed, probably because memory ran out; run the same command again to "
            "resume, with a smaller system.workers (0 builds them in a thread)"
        ) from None
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
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _make[:] = [make]


def _end_with_parent() -> None:
    """End this process when its parent has ended: killed, it cannot close the queue that this process waits for."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _call_make(step: int) -> Any:
    return _make[0](step)
