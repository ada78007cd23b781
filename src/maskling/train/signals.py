"""Ctrl-C, SIGTERM and a lost terminal as a question: has someone asked this process to stop?"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType


@contextlib.contextmanager
def stop_asked(heard: Callable[[], object] | None = None) -> Iterator[Callable[[], bool]]:
    """Within the block, the first Ctrl-C, SIGTERM or hang-up is only noted; a second one raises KeyboardInterrupt.

    Yields a function that says whether one has come. heard: is called when the first comes, in between of whatever is
    going on. What is ignored, as a hang-up is under nohup, stays ignored. Outside the main thread, where Python sets
    no handlers, the answer is no for ever.
    """
    asked = threading.Event()

    def note(_signal: int, _frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        if heard is not None:
            with contextlib.suppress(RuntimeError):  # it came in the middle of a line that is being printed
                heard()

    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    names = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    before = {name: signal.signal(name, note) for name in names if signal.getsignal(name) is not signal.SIG_IGN}
    try:
        yield asked.is_set
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
