"""Run `prepare` in child processes that kill themselves on the way: python killed_prepare.py SOURCE FOLDER POINT...

Each point counts changes to the disk (a rename, a removal): the child for point p kills itself just before
change p, in FOLDER/p. Prints one line of JSON each: {"point": p, "killed": true, "changes": n}.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tiny_corpus import prepared, settings

KEEP_TEXT = {"keep_text": True}


def main() -> None:
    source, folder, *points = sys.argv[1:]
    for point in map(int, points):
        child = os.fork()
        if child == 0:
            changes = die_before_change(point)
            prepared(Path(source), Path(folder) / str(point), settings(shards=KEEP_TEXT))
            print(json.dumps({"point": point, "killed": False, "changes": changes()}), flush=True)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            assert os.WTERMSIG(status) == signal.SIGKILL
            print(json.dumps({"point": point, "killed": True, "changes": point}), flush=True)
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0


def die_before_change(point: int) -> Callable[[], int]:
    """Count renames, removals and new folders; kill this process just before change `point`."""
    count = 0

    def counted(change: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*arguments: Any, **named: Any) -> Any:
            nonlocal count
            if count == point:
                os.kill(os.getpid(), signal.SIGKILL)
            count += 1
            return change(*arguments, **named)

        return wrapper

    for name in ("replace", "rename", "unlink", "mkdir"):
        setattr(Path, name, counted(getattr(Path, name)))
    return lambda: count


if __name__ == "__main__":
    main()
