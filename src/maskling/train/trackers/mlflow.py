"""MLflow: a database beside the run folder, or the store that MLFLOW_TRACKING_URI names."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Usage statistics would open a connection that nobody asked for.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

from mlflow import MlflowClient
from mlflow.entities import Metric, Param

_LONGEST = 500  # characters of a parameter


class MLflow:
    """A run of MLflow in the experiment 'maskling', or MLFLOW_EXPERIMENT_NAME.

    By default the store is mlflow.db beside the run folder, so that runs of one folder are compared:
    `mlflow ui --backend-store-uri sqlite:///runs/mlflow.db`.
    """

    rewinds = False

    def __init__(self, run_dir: Path, settings: Mapping[str, Any], known: str | None) -> None:
        folder = run_dir.resolve().parent
        self._client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder / 'mlflow.db'}")
        if known is not None:
            self.id = known
            self._client.update_run(known, status="RUNNING")
            return
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "maskling")
        found = self._client.get_experiment_by_name(name)
        experiment = found.experiment_id if found is not None else self._client.create_experiment(name)
        self.id = self._client.create_run(experiment, run_name=run_dir.resolve().name).info.run_id
        self._client.log_batch(self.id, params=[Param(key, str(value)[:_LONGEST]) for key, value in settings.items()])

    def log(self, step: int, values: Mapping[str, float], seconds: float | None) -> None:
        """Log metrics at a step."""
        when = int(1000 * (seconds or time.time()))
        self._client.log_batch(self.id, metrics=[Metric(key, value, when, step) for key, value in values.items()])

    def rewind(self, _step: int) -> None:
        """Do nothing: its steps cannot be taken back."""

    def close(self) -> None:
        """Mark the run as finished; resuming it marks it as running."""
        self._client.set_terminated(self.id)
