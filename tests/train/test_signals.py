"""Ctrl-C once is a question, twice an order."""

from __future__ import annotations

import signal
import threading

import pytest

from maskling.train.signals import stop_asked


@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_is_noted_and_the_second_interrupts(which: signal.Signals):
    before = signal.getsignal(which)
    with stop_asked() as asked:
        assert not asked()
        signal.raise_signal(which)
        assert asked()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(which)
    assert signal.getsignal(which) is before


def test_the_first_is_answered_at_once_and_what_is_ignored_stays_so():
    said: list[str] = []
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_asked(lambda: said.append("heard")) as asked:
            signal.raise_signal(signal.SIGHUP)
            assert not asked()
            signal.raise_signal(signal.SIGTERM)
            assert said == ["heard"]
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGTERM)
        assert said == ["heard"]
    finally:
        signal.signal(signal.SIGHUP, before)


def test_outside_the_main_thread_it_says_no():
    said = []

    def ask() -> None:
        with stop_asked() as asked:
            said.append(asked())

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert said == [False]
