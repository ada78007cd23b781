"""However and whenever a command is stopped, the exit code is 130, without a traceback."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest

from commands import Command
from maskling.cli import main

# Ctrl-C in the middle of a command, and {later} again.
PROGRAM = """
import atexit, signal, sys, threading, time
from maskling.cli import main

signal.signal(signal.SIGINT, signal.default_int_handler)  # tests may run in the background of a script
again = lambda: signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
main.overview = lambda *_: again()
{later}
sys.argv = ["maskling"]
main.main()
"""
LATER = {
    "nothing": "",
    "while the interpreter ends": "atexit.register(again)",
    "while a thread is waited for": """
def press():
    ended.wait()
    while True:  # one that comes just before a lock is waited for is handled at the next
        again()
        time.sleep(0.01)

def stopped(console, text="", stopped=main.Console.stopped):
    stopped(console, text)
    ended.set()

ended = threading.Event()
main.Console.stopped = stopped
threading.Thread(target=press).start()
""",
}


@pytest.mark.parametrize("raised", [KeyboardInterrupt, main.Stopped])
def test_help_without_words_can_be_stopped(
    maskling: Command, monkeypatch: pytest.MonkeyPatch, raised: type[BaseException]
) -> None:
    def stopped(*_: object) -> None:
        raise raised

    monkeypatch.setattr(main, "overview", stopped)
    said = maskling()
    assert (said.code, said.out, said.err) == (130, "", "stopped\n")


@pytest.mark.parametrize("later", LATER.values(), ids=LATER)
def test_another_ctrl_c_on_the_way_out_keeps_the_exit_code(later: str) -> None:
    code = PROGRAM.format(later=later)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=50)
    assert (done.returncode, done.stderr) == (130, "stopped\n")


def test_signal_handlers_are_restored_after_a_command_in_this_process(maskling: Command) -> None:
    assert threading.current_thread() is threading.main_thread()
    before = [signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM)]
    maskling("--version")
    assert [signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM)] == before
