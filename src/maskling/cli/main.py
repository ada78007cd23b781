"""`maskling VERB ...`: parse, call one function, say how it ended.

Exit codes: 0 done, 2 the user can mend it, 1 a fault of ours, 130 stopped by hand.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import Any, NoReturn

from maskling.cli import EXIT_DONE, EXIT_MENDABLE, EXIT_STOPPED, VERBS
from maskling.cli.options import bind, overview, verb_help
from maskling.console import Console
from maskling.errors import MasklingError, SettingsError, suggestion
from maskling.version import __version__

ABOUT = "A masked language model of your own: BERT, from the text you have, on the hardware you have."
EXAMPLE = "maskling prepare books/ --out data/ && maskling train --data data/ --out runs/mine"
# Verbs that keep what they have finished.
GO_ON = ("prepare", "train", "finetune", "search")


class Stopped(KeyboardInterrupt):
    """Ctrl-C or SIGTERM.

    A class of its own, as Python ends a process whose exec() was left by KeyboardInterrupt itself with a signal
    instead of our exit code, even if it was caught.
    """


def main() -> NoReturn:
    """The console script."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Names of files need not be text, and not every terminal can show every letter.
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run(sys.argv[1:]))


def run(words: Sequence[str]) -> int:
    """Run one command line; returns its exit code."""
    console = Console()
    try:
        with _stopped_by_signals():
            return _run(list(words), console)
    except SettingsError as error:
        console.error(*str(error).split("\n"))  # one line for each setting
        return EXIT_MENDABLE
    except MasklingError as error:
        console.error(str(error))
        return EXIT_MENDABLE
    except KeyboardInterrupt:
        console.stopped("; the same command goes on from there" if _goes_on(words) else "")
        return EXIT_STOPPED
    except BrokenPipeError:
        # Whoever read our output has left (`maskling fill ... | head`). Python would complain again at exit.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_DONE
    except OSError as error:
        console.error(_said(error))
        return EXIT_MENDABLE


def _goes_on(words: Sequence[str]) -> bool:
    # Vectors are kept in the file that they are for.
    return words[0] in GO_ON or (words[0] == "embed" and any(word.split("=")[0] == "--out" for word in words))


def verbs() -> dict[str, Callable[..., Any]]:
    """Each verb's function. What a verb needs to do its work it imports when it does it, so this is quick."""
    return {verb: _function(verb) for verb in VERBS}


def verb_and_rest(words: Sequence[str]) -> tuple[str, list[str]]:
    """The verb at the front of a command line, of two words where there is one of two, and what follows it."""
    of_two = " ".join(words[:2])
    if len(words) > 1 and of_two in VERBS:
        return of_two, list(words[2:])
    return (words[0], list(words[1:])) if words else ("--help", [])


def _run(words: list[str], console: Console) -> int:
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    first, rest = verb_and_rest(words)
    if first in ("--help", "-h"):
        for line in overview(verbs(), ABOUT, EXAMPLE):
            console.result(line)
        return EXIT_DONE
    if first == "--version":
        console.result(__version__)
        return EXIT_DONE
    if first not in VERBS:
        close = suggestion(first, [*VERBS, "--help", "--version"])
        raise SettingsError(f"maskling has no verb '{first}'{close} (the verbs are {', '.join(VERBS)})")
    function = _function(first)
    options = rest[: rest.index("--")] if "--" in rest else rest
    if "--help" in options or "-h" in options:
        for line in verb_help(first, function):
            console.result(line)
        return EXIT_DONE
    bound = bind(first, function, rest)
    result = function(*bound.args, **bound.kwargs)
    return result if isinstance(result, int) else EXIT_DONE


def _function(verb: str) -> Callable[..., Any]:
    module, name = VERBS[verb].split(":")
    function: Callable[..., Any] = getattr(import_module(module), name)
    return function


@contextlib.contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Within the block Ctrl-C and SIGTERM raise Stopped."""

    def stop(*_: object) -> NoReturn:
        raise Stopped

    if threading.current_thread() is not threading.main_thread():  # signals go elsewhere
        yield
        return
    # Under nohup, or in the background of a script, Ctrl-C is ignored, and stays so.
    heard = [signal.SIGTERM]
    heard += [signal.SIGINT] if signal.getsignal(signal.SIGINT) is signal.default_int_handler else []
    before = {name: signal.signal(name, stop) for name in heard}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def _said(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename is not None else ""
    mend = {
        errno.ENOSPC: "; make room there, or choose another place, and run it again",
        errno.EACCES: "; change who may read or write it, or choose another place",
        errno.EROFS: "; choose another place",
    }
    reason = error.strerror or str(error)
    return f"{where}{reason[:1].lower()}{reason[1:]}{mend.get(error.errno or 0, '')}"
