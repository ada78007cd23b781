"""Calls in worker processes, or in this process; results are the same either way.

A worker is a plain child process that reads pickled calls from standard input and writes pickled results to standard
output, not a process of `multiprocessing` or a `ProcessPoolExecutor`, for three reasons. `spawn` and `forkserver`
import the main module of the user's script again, which therefore needs an `if __name__ == "__main__"` guard; a worker
here never imports it. A worker starts without importing anything that its calls do not need. And when its parent is
killed, its standard input ends and so does the worker; a worker of an executor would wait forever.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from types import TracebackType
from typing import Any, BinaryIO, ParamSpec, TypeVar, cast

from maskling.errors import DataError

_P = ParamSpec("_P")
_R = TypeVar("_R")

_START = "from maskling.data.prepare.workers import serve_calls; serve_calls()"


def open_workers(num_workers: int) -> Workers:
    """Return a pool of `num_workers` processes, or a substitute in this process for fewer than two."""
    return Pool(num_workers) if num_workers > 1 else InProcess()


def in_order(workers: Workers, function: Callable[..., _R], calls: Iterable[tuple[Any, ...]]) -> Iterator[_R]:
    """Yield the result of `function` for each tuple of arguments, in order; a bounded number of calls is in flight."""
    in_flight: deque[Future[_R]] = deque()
    for arguments in calls:
        in_flight.append(workers.submit(function, *arguments))
        while len(in_flight) >= 2 * workers.num_workers:
            yield in_flight.popleft().result()
    while in_flight:
        yield in_flight.popleft().result()


class InProcess:
    """The interface of `Pool` without processes: each call runs immediately."""

    num_workers = 1

    def submit(self, function: Callable[_P, _R], *arguments: _P.args, **named: _P.kwargs) -> Future[_R]:
        future: Future[_R] = Future()
        try:
            future.set_result(function(*arguments, **named))
        except Exception as error:
            future.set_exception(error)
        return future

    def __enter__(self) -> InProcess:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Pool:
    """Worker processes. Leaving the `with` block stops them and drops calls that no worker has begun."""

    def __init__(self, num_workers: int) -> None:
        self.num_workers = num_workers
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]] | None] = (
            queue.SimpleQueue()
        )
        self._closed = False
        self._processes: list[subprocess.Popen[bytes]] = []
        self._threads: list[threading.Thread] = []

    def submit(self, function: Callable[_P, _R], *arguments: _P.args, **named: _P.kwargs) -> Future[_R]:
        """Schedule a call of a module-level function; arguments and result must be picklable."""
        assert not named, "calls have positional arguments only"
        # Each call starts one process until all are there: a small corpus does not wait for many to start.
        if len(self._processes) < self.num_workers:
            self._start()
        future: Future[_R] = Future()
        self._calls.put((future, function, arguments))
        return future

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: TracebackType | BaseException | None) -> None:
        self._closed = True
        for _process in self._processes:
            self._calls.put(None)
        if kind is not None:
            for process in self._processes:
                process.kill()
        for thread in self._threads:
            thread.join()
        for process in self._processes:
            process.wait()

    def _start(self) -> None:
        # Each worker uses one core: the libraries in it must not start threads of their own.
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"), "1")
        environment = {**os.environ, **threads, "TOKENIZERS_PARALLELISM": "false"}
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        # -P: a file in the current folder must not be imported as a module.
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", _START], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )
        thread = threading.Thread(target=self._serve, args=(process,), daemon=True)
        self._processes.append(process)
        self._threads.append(thread)
        thread.start()

    def _serve(self, process: subprocess.Popen[bytes]) -> None:
        """Send calls to one process, and set their futures, until the pool is closed."""
        calls, results = cast(BinaryIO, process.stdin), cast(BinaryIO, process.stdout)
        # Closing a pipe to a process that died raises once more.
        with contextlib.suppress(OSError), calls, results:
            while (call := self._calls.get()) is not None:
                future, function, arguments = call
                if self._closed:
                    future.cancel()
                    continue
                try:
                    send(calls, (function, arguments))
                    del call, arguments  # text that is not needed here any more
                    done, value = pickle.loads(receive(results))
                except (EOFError, OSError):
                    future.set_exception(_worker_died(process))
                except Exception as error:  # the call cannot be pickled
                    future.set_exception(error)
                else:
                    if done:
                        future.set_result(value)
                    else:
                        future.set_exception(value)


Workers = Pool | InProcess


def _worker_died(process: subprocess.Popen[bytes]) -> DataError:
    code = process.wait()
    how = f"was killed by signal {-code}" if code < 0 else f"exited with code {code}"
    hint = " (often: out of memory)" if code == -9 else ""
    return DataError(
        f"a worker process {how}{hint}; finished work is kept: run the same command again, "
        f"with fewer workers (--system.workers 1) if it happens again"
    )


def serve_calls() -> None:
    """Run calls until the parent closes the pipe or is gone. The main function of a worker process."""
    # Ctrl-C reaches the whole process group; only the parent handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    calls = os.fdopen(os.dup(0), "rb")
    results = os.fdopen(os.dup(1), "wb")
    # Output that a library prints must not mix with the results.
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    while True:
        try:
            send_bytes(results, run_call(receive(calls)))
        except (EOFError, BrokenPipeError):
            return


def run_call(call: bytes) -> bytes:
    """Run a pickled (function, arguments); returns, pickled, (True, result) or (False, error with a note)."""
    try:
        function, arguments = pickle.loads(call)
        return pickle.dumps((True, function(*arguments)), protocol=5)
    except Exception as error:
        error.add_note(f"in a worker process:\n{traceback.format_exc()}")
        try:
            message = pickle.dumps((False, error))
            pickle.loads(message)
        except Exception:  # an error that cannot be pickled
            message = pickle.dumps((False, RuntimeError(f"{type(error).__name__}: {error}\n{traceback.format_exc()}")))
        return message


HEADER_BYTES = 8


def send(stream: BinaryIO, value: Any) -> None:
    """Write one message: its length, then the pickled value."""
    send_bytes(stream, pickle.dumps(value, protocol=5))


def send_bytes(stream: BinaryIO, message: bytes) -> None:
    """Write one message that is pickled already."""
    stream.write(len(message).to_bytes(HEADER_BYTES, "little"))
    stream.write(message)
    stream.flush()


def receive(stream: BinaryIO) -> bytes:
    """Read one message, still pickled. Raises EOFError if the other side is gone."""
    header = stream.read(HEADER_BYTES)
    if len(header) < HEADER_BYTES:
        raise EOFError
    length = int.from_bytes(header, "little")
    message = stream.read(length)
    if len(message) < length:
        raise EOFError
    return message
