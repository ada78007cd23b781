"""The first Ctrl-C asks to stop, the second stops at once."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from maskling.cli.run_report import stop_requested


@contextlib.contextmanager
def handled(which: signal.Signals, how: Any) -> Iterator[None]:
    """Set the handler of a signal, which is ignored if the tests run in the background."""
    before = signal.signal(which, how)
    try:
        yield
    finally:
        signal.signal(which, before)


@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_is_noted_and_the_second_interrupts(which: signal.Signals):
    with handled(which, signal.default_int_handler):
        with stop_requested() as asked:
            assert not asked()
            signal.raise_signal(which)
            assert asked()
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(which)
        assert signal.getsignal(which) is signal.default_int_handler


def test_the_first_is_answered_at_once_and_what_is_ignored_stays_so():
    said: list[str] = []
    with handled(signal.SIGHUP, signal.SIG_IGN), handled(signal.SIGTERM, signal.SIG_DFL):
        with stop_requested(lambda: said.append("heard")) as asked:
            signal.raise_signal(signal.SIGHUP)
            assert not asked()
            signal.raise_signal(signal.SIGTERM)
            assert said == ["heard"]
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGTERM)
        assert said == ["heard"]


def test_outside_the_main_thread_it_says_no():
    said = []

    def ask() -> None:
        with stop_requested() as asked:
            said.append(asked())

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert said == [False]
