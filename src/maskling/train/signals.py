"""Signal handlers for a graceful stop: Ctrl-C, SIGTERM and hang-up."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType


@contextlib.contextmanager
def stop_requested(on_signal: Callable[[], object] | None = None) -> Iterator[Callable[[], bool]]:
    """Only note the first Ctrl-C, SIGTERM or hang-up in the block; a second one raises KeyboardInterrupt.

    Yields a function that returns whether one has arrived. on_signal: called at the first, between any two bytecodes.
    An ignored signal, such as a hang-up under nohup, stays ignored. Outside the main thread Python sets no handlers,
    and the function always returns False.
    """
    requested = threading.Event()

    def handle(_signal: int, _frame: FrameType | None) -> None:
        if requested.is_set():
            raise KeyboardInterrupt
        requested.set()
        if on_signal is not None:
            with contextlib.suppress(RuntimeError):  # it arrived while a line was being printed
                on_signal()

    if threading.current_thread() is not threading.main_thread():
        yield requested.is_set
        return
    names = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    before = {name: signal.signal(name, handle) for name in names if signal.getsignal(name) is not signal.SIG_IGN}
    try:
        yield requested.is_set
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
