"""What runs in a worker process: take a call from standard input, do it, put the answer on standard output.

A worker is a plain child process, not one of `multiprocessing`: it needs no guarded main module, it
starts without importing anything it does not need, and when its parent is killed its input ends and so
does it.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any, BinaryIO

HEADER_BYTES = 8


def send(stream: BinaryIO, value: Any) -> None:
    """Write one message: its length, then the pickled value."""
    message = pickle.dumps(value, protocol=5)
    stream.write(len(message).to_bytes(HEADER_BYTES, "little"))
    stream.write(message)
    stream.flush()


def receive(stream: BinaryIO) -> Any:
    """Read one message. Raises EOFError when the other side is gone."""
    header = stream.read(HEADER_BYTES)
    if len(header) < HEADER_BYTES:
        raise EOFError
    length = int.from_bytes(header, "little")
    message = stream.read(length)
    if len(message) < length:
        raise EOFError
    return pickle.loads(message)


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
            function, arguments = receive(calls)
        except EOFError:
            return
        try:
            send(answers, answer(function, arguments))
        except BrokenPipeError:
            return


def answer(function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[bool, Any]:
    """(True, what the function returns) or (False, the error it raises, with the place as a note)."""
    try:
        return True, function(*arguments)
    except Exception as error:
        error.add_note(f"in a worker process:\n{traceback.format_exc()}")
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:  # an error that cannot travel
            return False, RuntimeError(f"{type(error).__name__}: {error}\n{traceback.format_exc()}")
        return False, error
