"""TensorBoard: event files in RUN/tensorboard, for `tensorboard --logdir runs`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter


class TensorBoard:
    """Event files. Each start of the run adds a file; one that rewinds tells TensorBoard to drop the later steps."""

    rewinds = True

    def __init__(self, run_dir: Path, _settings: Mapping[str, Any], _known: str | None) -> None:
        self.id = "tensorboard"
        self._writer = EventFileWriter(str(run_dir / "tensorboard"))

    def log(self, step: int, values: Mapping[str, float], seconds: float | None) -> None:
        """Write an event."""
        found = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._writer.add_event(Event(wall_time=seconds or time.time(), step=step, summary=Summary(value=found)))
        self._writer.flush()

    def rewind(self, step: int) -> None:
        """Write the event that makes TensorBoard drop the steps after `step`."""
        start = SessionLog(status=SessionLog.START)
        self._writer.add_event(Event(wall_time=time.time(), step=step + 1, session_log=start))

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()
