"""Shards that are mapped into memory when they are needed, and let go when too many are.

Each mapped array keeps a file open, so a corpus of hundreds of shards would run into the usual limit
of 1,024 open files. The maps used last stay; making one again costs a fraction of a millisecond.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskling.data.manifest import ShardInfo
from maskling.data.shard_files import SHARDS, ShardArrays, map_shard

_FILES_A_SHARD = 4


@dataclass(frozen=True)
class OnDisk:
    """Where the files of a shard lie, and what must be in them."""

    folder: Path
    shard: ShardInfo
    vocab_size: int


class Mapped:
    """The arrays of some shards, by place. Sent to another process it carries names, not maps."""

    def __init__(self, shards: Sequence[OnDisk | ShardArrays], most: int | None = None) -> None:
        self.shards = tuple(shards)
        self._most = most or _mapped_shards_max()
        self._forget()

    def __len__(self) -> int:
        return len(self.shards)

    def name(self, place: int) -> str:
        """What to call a shard in an error."""
        shard = self.shards[place]
        return str(shard.folder / SHARDS / shard.shard.name) if isinstance(shard, OnDisk) else f"shard {place}"

    def arrays(self, place: int) -> ShardArrays:
        """The four arrays of a shard. Raises DataError if its files are gone or changed."""
        shard = self.shards[place]
        if isinstance(shard, ShardArrays):
            return shard
        with self._lock:
            found = self._maps.get(place)
            if found is None:
                found = self._maps[place] = map_shard(shard.folder, shard.shard, shard.vocab_size)
                if len(self._maps) > self._most:
                    self._maps.popitem(last=False)
            else:
                self._maps.move_to_end(place)
            return found

    def _forget(self) -> None:
        self._maps: OrderedDict[int, ShardArrays] = OrderedDict()
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"shards": self.shards, "_most": self._most}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()


def _mapped_shards_max() -> int:
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return 1 << 16
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if files == resource.RLIM_INFINITY:
        return 1 << 16
    # A quarter of what the process may open: there are two splits, and others need files too.
    return max(4, files // 4 // _FILES_A_SHARD)
