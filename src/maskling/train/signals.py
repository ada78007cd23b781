"""Ctrl-C and SIGTERM as a question: has someone asked this process to stop?"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType


@contextlib.contextmanager
def stop_asked() -> Iterator[Callable[[], bool]]:
    """Within the block, the first Ctrl-C or SIGTERM is only noted; a second one raises KeyboardInterrupt.

    Yields a function that says whether one has come. Outside the main thread, where Python sets no
    handlers, it says no for ever.
    """
    asked = threading.Event()

    def note(_signal: int, _frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    before = {name: signal.signal(name, note) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
