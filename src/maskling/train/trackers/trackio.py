"""Trackio: a local database (TRACKIO_DIR), shown by `trackio show`."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import trackio


class Trackio:
    """A run of Trackio in the project 'maskling', or TRACKIO_PROJECT."""

    rewinds = False

    def __init__(self, run_dir: Path, settings: Mapping[str, Any], known: str | None) -> None:
        self.id = known or f"{run_dir.resolve().name}-{uuid4().hex[:6]}"
        # It prints; standard output belongs to the results of the command.
        with contextlib.redirect_stdout(sys.stderr):
            self._run = trackio.init(
                project=os.environ.get("TRACKIO_PROJECT", "maskling"),
                name=self.id,
                config=dict(settings),
                resume="allow",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )

    def log(self, step: int, values: Mapping[str, float], _seconds: float | None) -> None:
        """Log metrics at a step."""
        self._run.log(dict(values), step=step)

    def rewind(self, _step: int) -> None:
        """Do nothing: its steps cannot be taken back."""

    def close(self) -> None:
        """Write what is pending."""
        with contextlib.redirect_stdout(sys.stderr):
            self._run.finish()
