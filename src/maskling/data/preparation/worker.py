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
from typing import Any, BinaryIO

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
