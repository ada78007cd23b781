"""Weights & Biases. Offline unless WANDB_MODE says otherwise: RUN/wandb, for `wandb sync`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

# Reports of its own errors would be sent even offline.
os.environ.setdefault("WANDB_ERROR_REPORTING", "false")

import wandb


class WeightsAndBiases:
    """A run of Weights & Biases. WANDB_PROJECT, WANDB_ENTITY and others apply as its documentation says."""

    rewinds = False

    def __init__(self, run_dir: Path, settings: Mapping[str, Any], known: str | None) -> None:
        self.id = known or uuid4().hex[:8]
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "maskling"),
            id=self.id,
            name=run_dir.resolve().name,
            dir=str(run_dir),
            config=dict(settings),
            resume="allow",
            mode=os.environ.get("WANDB_MODE", "offline"),
            settings=wandb.Settings(console="off", silent=True, disable_git=True, disable_code=True),
        )

    def log(self, step: int, values: Mapping[str, float], _seconds: float | None) -> None:
        """Log metrics; those of one step are joined."""
        self._run.log(dict(values), step=step)

    def rewind(self, _step: int) -> None:
        """Do nothing: its steps cannot be taken back."""

    def close(self) -> None:
        """Finish the run."""
        self._run.finish()
