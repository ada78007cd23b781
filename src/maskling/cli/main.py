"""The entry point: `maskling VERB ...` parses the command line, calls the verb's function and returns an exit code.

Exit codes: 0 success, 1 internal error (with a traceback), 2 an error that the user can fix, 130 stopped by Ctrl-C or
SIGTERM.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import io
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import Any, NoReturn

from maskling.cli import EXIT_DONE, EXIT_STOPPED, EXIT_USER_ERROR, FORMER_NAMES, GROUPS, VERBS
from maskling.cli.guidance.help import overview, verb_help
from maskling.console import Console, Verbosity, with_verbosity
from maskling.errors import MasklingError, SettingsError, is_out_of_memory, suggestion
from maskling.version import __version__

ABOUT = "Train and use BERT-like masked language models on your own text and hardware."
EXAMPLE = "maskling prepare books/ --out data/ && maskling train --data data/ --out runs/mine"
# Verbs that keep finished work and resume from it.
RESUMABLE = ("prepare", "train", "finetune", "search")


class Stopped(KeyboardInterrupt):
    """Ctrl-C or SIGTERM.

    A subclass, because Python kills its own process with SIGINT after a plain KeyboardInterrupt has left an exec()
    (any import is one), even if the exception was caught; the exit code would be lost.
    """


def main() -> NoReturn:
    """Run the command line of this process and exit. Entry point of the console script."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # File names may not be valid text, and not every terminal can show every character.
            stream.reconfigure(errors="backslashreplace")
    # The first callback registered is the last to run. After it the interpreter restores the default action of
    # signals, and a second Ctrl-C would end the process with signal 2 instead of its exit code.
    atexit.register(_ignore_stop_signals)
    sys.exit(run(sys.argv[1:], exits=True))


def run(words: Sequence[str], exits: bool = False) -> int:
    """Run one command line and return its exit code.

    exits: the process exits next, so a later Ctrl-C ends it at once, with the same exit code; otherwise the signal
    handlers are restored.
    """
    words, verbosity = split_verbosity(words)
    with _stop_signals_handled(restore=not exits) as stop, with_verbosity(verbosity):
        console = Console()
        try:
            code = _exit_code(words, console)
        except KeyboardInterrupt:
            # Set first: from here on another signal must not raise.
            stop.exit_code = code = EXIT_STOPPED
            console.stopped("; run the same command again to resume" if _resumable(words) else "")
        stop.exit_code = code
    return code


def split_verbosity(words: Sequence[str]) -> tuple[list[str], Verbosity]:
    """Take --quiet and --verbose out of a command line, wherever they stand before a bare `--`."""
    end = list(words).index("--") if "--" in words else len(words)
    quiet = any(word in ("-q", "--quiet") for word in words[:end])
    verbose = any(word in ("-v", "--verbose") for word in words[:end])
    taken = ("-q", "--quiet", "-v", "--verbose")
    rest = [word for index, word in enumerate(words) if index >= end or word not in taken]
    return rest, "quiet" if quiet else "verbose" if verbose else "normal"


def verb_and_rest(words: Sequence[str]) -> tuple[str, list[str]]:
    """Split a command line into its verb, of two words if such a verb exists, and the remaining words."""
    two_words = " ".join(words[:2])
    if len(words) > 1 and two_words in VERBS:
        return two_words, list(words[2:])
    return (FORMER_NAMES.get(words[0], words[0]), list(words[1:])) if words else ("--help", [])


def _exit_code(words: list[str], console: Console) -> int:
    """Run a command line, print the error it ends with, if any, and return the exit code."""
    try:
        return _run(words, console)
    except MasklingError as error:
        console.trace(traceback.format_exc())
        lines = str(error).split("\n") if isinstance(error, SettingsError) else [str(error)]  # one line per setting
        console.error(*lines)
        return EXIT_USER_ERROR
    except BrokenPipeError:
        # The reader of our output has exited (`maskling fill ... | head`). Python would complain again at exit.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_DONE
    except OSError as error:
        console.trace(traceback.format_exc())
        console.error(_os_error_message(error))
        return EXIT_USER_ERROR
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        console.error(_memory_message(error, words))
        return EXIT_USER_ERROR


def _memory_message(error: BaseException, words: Sequence[str]) -> str:
    wanted = re.search(r"[Tt]ried to allocate (?:an array of )?([0-9.]+ [KMGT]i?B|[0-9]+ bytes)", str(error))
    size = re.search(r"Unable to allocate ([0-9.]+ [KMGTP]i?B)", str(error)) or wanted
    lacking = f" for another {size[1]}" if size else ""
    remedy = "close other programs, or give fewer and shorter texts at once"
    if words[:1] and words[0] in ("train", "finetune"):
        remedy = "lower system.micro_batch_tokens, train.batch_size or the size of the model, and run it again"
    return f"there is not enough memory{lacking}; {remedy}"


def _run(words: list[str], console: Console) -> int:
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    first, rest = verb_and_rest(words)
    if first in ("--help", "-h"):
        for line in overview(GROUPS, ABOUT, EXAMPLE):
            console.result(line)
        return EXIT_DONE
    if first in ("--version", "-V"):
        console.result(__version__)
        return EXIT_DONE
    if first not in VERBS:
        close = suggestion(first, [*VERBS, *FORMER_NAMES, "--help", "--version"])
        raise SettingsError(f"maskling has no verb '{first}'" + (close or "; 'maskling --help' lists the verbs"))
    function = verb_function(first)
    options = rest[: rest.index("--")] if "--" in rest else rest
    if "--help" in options or "-h" in options:
        for line in verb_help(first, function):
            console.result(line)
        return EXIT_DONE
    from maskling.cli.options import bind

    bound = bind(first, function, rest)
    result = function(*bound.args, **bound.kwargs)
    return result if isinstance(result, int) else EXIT_DONE


def verb_function(verb: str) -> Callable[..., Any]:
    """Return the function of a verb. Quick, because verbs import what they need only when they run."""
    module, name = VERBS[verb].split(":")
    function: Callable[..., Any] = getattr(import_module(module), name)
    return function


def _resumable(words: Sequence[str]) -> bool:
    # 'embed' resumes from its output file.
    return bool(words) and (
        words[0] in RESUMABLE or (words[0] == "embed" and any(word.split("=")[0] == "--out" for word in words))
    )


class _StopHandler:
    """Signal handler: raises Stopped until `exit_code` is set, then ends the process with that code."""

    exit_code: int | None = None

    def __call__(self, *_: object) -> NoReturn:
        if self.exit_code is not None:
            os._exit(self.exit_code)
        raise Stopped


@contextlib.contextmanager
def _stop_signals_handled(restore: bool) -> Iterator[_StopHandler]:
    """Handle Ctrl-C and SIGTERM with the yielded handler, within the block only if `restore`."""
    stop = _StopHandler()
    if threading.current_thread() is not threading.main_thread():  # only the main thread receives signals
        yield stop
        return
    handled = [signal.SIGTERM]
    # Under nohup, or in the background of a script, Ctrl-C is ignored, and stays ignored.
    handled += [signal.SIGINT] if signal.getsignal(signal.SIGINT) is signal.default_int_handler else []
    before = {name: signal.signal(name, stop) for name in handled}
    try:
        yield stop
    finally:
        if restore:
            for name, handler in before.items():
                signal.signal(name, handler)


def _ignore_stop_signals() -> None:
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)


def _os_error_message(error: OSError) -> str:
    path = f"{error.filename}: " if error.filename is not None else ""
    remedies = {
        errno.ENOSPC: "; free some space or choose another location, and run it again",
        errno.EACCES: "; change its permissions, or choose another location",
        errno.EROFS: "; choose another location",
    }
    reason = error.strerror or str(error)
    return f"{path}{reason[:1].lower()}{reason[1:]}{remedies.get(error.errno or 0, '')}"
