"""Calls in worker processes, or at once in this one; the caller sees no difference but the time."""

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
from typing import Any, BinaryIO, ParamSpec, Protocol, TypeVar, cast

from maskling.errors import DataError

# FOLDED DOCS
# [worker] What runs in a worker process: take a call from standard input, do it, put the answer on standard output. A worker is a plain child process, not one of `multiprocessing`: it needs no guarded main module, it starts without importing anything it does not need, and when its parent is killed its input ends and so does it.


P = ParamSpec("P")
R = TypeVar("R")

_START = "from maskling.data.prepare.workers import main; main()"


class Engine(Protocol):
    """Something that runs calls."""

    workers: int

    def submit(self, function: Callable[P, R], *arguments: P.args, **none: P.kwargs) -> Future[R]:
        """Ask for a call of a module's function; arguments and answer must be picklable."""


class InProcess:
    """Runs each call at once, in this process."""

    workers = 1

    def submit(self, function: Callable[P, R], *arguments: P.args, **none: P.kwargs) -> Future[R]:
        future: Future[R] = Future()
        try:
            future.set_result(function(*arguments, **none))
        except Exception as error:
            future.set_exception(error)
        return future

    def __enter__(self) -> InProcess:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Pool:
    """Some worker processes. Leaving the block stops them; calls that no worker has begun are dropped."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]] | None] = (
            queue.SimpleQueue()
        )
        self._closed = False
        self._processes: list[subprocess.Popen[bytes]] = []
        self._threads: list[threading.Thread] = []

    def submit(self, function: Callable[P, R], *arguments: P.args, **none: P.kwargs) -> Future[R]:
        assert not none, "calls travel with plain arguments"
        # One more process for each call until all are there: a small corpus does not wait for many to start.
        if len(self._processes) < self.workers:
            self._start()
        future: Future[R] = Future()
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
        # Each worker is one core: the libraries below must not start threads of their own.
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"), "1")
        environment = {**os.environ, **threads, "TOKENIZERS_PARALLELISM": "false"}
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        # -P: a file in the current folder must not pass for a module.
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", _START], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )
        thread = threading.Thread(target=self._serve, args=(process,), daemon=True)
        self._processes.append(process)
        self._threads.append(thread)
        thread.start()

    def _serve(self, process: subprocess.Popen[bytes]) -> None:
        calls, answers = cast(BinaryIO, process.stdin), cast(BinaryIO, process.stdout)
        # Closing a pipe to a process that died complains once more.
        with contextlib.suppress(OSError), calls, answers:
            while (call := self._calls.get()) is not None:
                future, function, arguments = call
                if self._closed:
                    future.cancel()
                    continue
                try:
                    send(calls, (function, arguments))
                    del call, arguments  # text that nobody needs here any more
                    done, value = pickle.loads(receive(answers))
                except (EOFError, OSError):
                    future.set_exception(_lost(process))
                except Exception as error:  # what cannot be pickled
                    future.set_exception(error)
                else:
                    if done:
                        future.set_result(value)
                    else:
                        future.set_exception(value)


def engine(workers: int) -> Pool | InProcess:
    """`workers` processes, or this one alone for fewer than two."""
    return Pool(workers) if workers > 1 else InProcess()


def in_order(engine: Engine, function: Callable[..., R], calls: Iterable[tuple[Any, ...]]) -> Iterator[R]:
    """What `function` makes of each tuple of arguments, in their order; a bounded number is under way."""
    under_way: deque[Future[R]] = deque()
    for arguments in calls:
        under_way.append(engine.submit(function, *arguments))
        while len(under_way) >= 2 * engine.workers:
            yield under_way.popleft().result()
    while under_way:
        yield under_way.popleft().result()


def _lost(process: subprocess.Popen[bytes]) -> DataError:
    code = process.wait()
    how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
    hint = " (often: out of memory)" if code == -9 else ""
    return DataError(
        f"a worker process was ended {how}{hint}; what was finished is kept: run the same command again, "
        f"with fewer workers (--system.workers 1) if it happens once more"
    )


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
    """Read one message, still pickled. Raises EOFError when the other side is gone."""
    header = stream.read(HEADER_BYTES)
    if len(header) < HEADER_BYTES:
        raise EOFError
    length = int.from_bytes(header, "little")
    message = stream.read(length)
    if len(message) < length:
        raise EOFError
    return message


def main() -> None:
    """Serve calls until the parent closes the pipe or is gone."""
    # Ctrl-C goes to the whole group; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    calls = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    # Whatever a library prints must not get between the answers.
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    while True:
        try:
            send_bytes(answers, answer(receive(calls)))
        except (EOFError, BrokenPipeError):
            return


def answer(call: bytes) -> bytes:
    """Do a pickled (function, arguments); returns, pickled, (True, its value) or (False, its error with a note)."""
    try:
        function, arguments = pickle.loads(call)
        return pickle.dumps((True, function(*arguments)), protocol=5)
    except Exception as error:
        error.add_note(f"in a worker process:\n{traceback.format_exc()}")
        try:
            message = pickle.dumps((False, error))
            pickle.loads(message)
        except Exception:  # an error that cannot travel
            message = pickle.dumps((False, RuntimeError(f"{type(error).__name__}: {error}\n{traceback.format_exc()}")))
        return message
