"""Jobs: what `prepare`, `pretrain` and `finetune` return."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar, cast

E = TypeVar("E")
R_co = TypeVar("R_co", covariant=True)


class Job(Iterator[E], Generic[E, R_co]):
    """Work that runs while it is iterated over, one event at a time, or to its end by `result()`.

    To stop, leave the loop and `close()` the job; the same call resumes it. A job dropped before its start warns.
    name: the call that made it, for messages. request_stop: lets a run end with a checkpoint after its current step;
    None for a job that keeps all its work when it is closed.
    """

    def __init__(self, name: str, events: Iterator[E], request_stop: Callable[[], object] | None = None) -> None:
        self.name, self.request_stop = name, request_stop
        self._events = events
        self._started = False

    def __iter__(self) -> Job[E, R_co]:
        return self

    def __next__(self) -> E:
        self._started = True
        return next(self._events)

    def close(self) -> None:
        """Stop the work."""
        self._started = True
        cast("Any", self._events).close()

    def result(self) -> R_co:
        """Run to the end and return the last event, which holds the result. Raises whatever the work raises."""
        last: E | None = None
        for last in self:  # noqa: B007
            pass
        if last is None:
            raise RuntimeError(f"{self.name} has ended already; call it again to read its result")
        return cast("R_co", last)

    def __del__(self) -> None:
        if not self._started:
            warnings.warn(
                f"{self.name} was called and nothing was done: iterate over what it returns, or call .result()",
                RuntimeWarning,
                stacklevel=2,
            )
