"""`maskling VERB ...`: parse, call one function, say how it ended.

Exit codes: 0 done, 2 the user can mend it, 1 a fault of ours, 130 stopped by hand.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from cyclopts import App, CycloptsError
from rich.text import Text

from maskling import __version__
from maskling.cli import VERBS
from maskling.cli.settings import split_settings
from maskling.config import suggestion
from maskling.console import Console
from maskling.errors import MasklingError, SettingsError

EXIT_DONE, EXIT_FAULT, EXIT_MENDABLE, EXIT_STOPPED = 0, 1, 2, 130


def main() -> NoReturn:
    """The console script."""
    sys.exit(run(sys.argv[1:]))


def run(words: Sequence[str]) -> int:
    """Run one command line; returns its exit code."""
    console = Console()
    try:
        return _run(list(words))
    except CycloptsError:
        return EXIT_MENDABLE  # cyclopts has said what and suggested a remedy
    except MasklingError as error:
        console.error(str(error))
        return EXIT_MENDABLE
    except KeyboardInterrupt:
        console.error("stopped")
        return EXIT_STOPPED
    except BrokenPipeError:
        # Whoever read our output has left (`maskling fill ... | head`). Python would complain again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_DONE
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        console.error(f"{where}{error.strerror or error}")
        return EXIT_MENDABLE


def application() -> App:
    """Every verb, in the order in which a person meets them."""
    app = App(
        name="maskling",
        help="A masked language model of your own: BERT, from the text you have, on the hardware you have.",
        version=__version__,
        help_format="plaintext",
        help_epilogue="Example: maskling prepare books/ --out data/ && maskling train --data data/ --out runs/mine",
        result_action="return_value",
        suppress_keyboard_interrupt=False,
        error_formatter=lambda error: Text(f"error: {error}"),
    )
    for place, (verb, where) in enumerate(VERBS.items()):
        # Each verb is imported here, for its help; what it needs to do its work it imports when it does it.
        module, function = where.split(":")
        app.command(getattr(import_module(module), function), name=verb, sort_key=place, help_epilogue="")
    return app


def _run(words: list[str]) -> int:
    signal.signal(signal.SIGTERM, _terminate)
    words, pairs = split_settings(words)
    if words and not words[0].startswith("-") and words[0] not in VERBS:
        raise SettingsError(
            f"maskling has no verb '{words[0]}'{suggestion(words[0], list(VERBS))} (the verbs are {', '.join(VERBS)})"
        )
    app = application()
    command, bound, left_out = app.parse_args(words, exit_on_error=False)
    if "settings" in left_out:
        bound.arguments["settings"] = pairs
    elif pairs:
        raise SettingsError(f"'maskling {words[0]}' takes no settings, so --{pairs[0][0]} has no meaning here")
    result = command(*bound.args, **bound.kwargs)
    return result if isinstance(result, int) else EXIT_DONE


def _terminate(*_: object) -> NoReturn:
    raise KeyboardInterrupt
