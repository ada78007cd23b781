"""Arrays of shards that are mapped into memory when they are needed, and let go when too many are.

Each mapped array keeps a file open, so a corpus of hundreds of shards would run into the usual limit
of 1,024 open files. The maps used last stay; making one again costs some ten microseconds.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from maskling.data.manifest import ShardInfo
from maskling.data.shard_files import FILES, SHARDS, ShardArrays, map_part


@dataclass(frozen=True)
class OnDisk:
    """Where the files of a shard lie, and what must be in them."""

    folder: Path
    shard: ShardInfo
    vocab_size: int


class Mapped:
    """The arrays of some shards, by place and part. Sent to another process it carries names, not maps."""

    def __init__(self, shards: Sequence[OnDisk | ShardArrays], files_max: int | None = None) -> None:
        """files_max: how many files to keep open; left out, a share of what the system allows."""
        self.shards = tuple(shards)
        self._files_max = files_max or _open_files_max()
        self._forget()

    def __len__(self) -> int:
        return len(self.shards)

    def name(self, place: int) -> str:
        """What to call a shard in an error."""
        shard = self.shards[place]
        return str(shard.folder / SHARDS / shard.shard.name) if isinstance(shard, OnDisk) else f"shard {place}"

    def array(self, place: int, part: str) -> np.ndarray:
        """One of the four arrays of a shard. Raises DataError if its file is gone or changed."""
        shard = self.shards[place]
        if isinstance(shard, ShardArrays):
            array: np.ndarray = getattr(shard, part)
            return array
        key = (place, part)
        with self._lock:
            found = self._maps.get(key)
            if found is None:
                found = self._maps[key] = map_part(shard.folder, shard.shard, shard.vocab_size, part)
                if len(self._maps) > self._files_max:
                    self._maps.popitem(last=False)
            else:
                self._maps.move_to_end(key)
            return found

    def arrays(self, place: int) -> ShardArrays:
        """All four arrays of a shard. Raises DataError if a file is gone or changed."""
        tokens, words, sentences, documents = (self.array(place, part) for part in FILES)
        return ShardArrays(tokens, words, sentences, documents)

    def let_go(self, place: int) -> None:
        """Unmap what nobody holds of a shard: what was read of it no longer counts as memory of this process."""
        with self._lock:
            for part in FILES:
                self._maps.pop((place, part), None)

    def _forget(self) -> None:
        self._maps: OrderedDict[tuple[int, str], np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"shards": self.shards, "_files_max": self._files_max}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()


def _open_files_max() -> int:
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return 1 << 16
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    # A quarter of what the process may open: there are two splits, and others need files too.
    return 1 << 16 if files == resource.RLIM_INFINITY else max(4, min(files // 4, 1 << 16))
