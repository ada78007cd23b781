"""Write vectors to a `.npy` file piece by piece; a stopped job resumes, and the file appears only when complete.

vectors.npy.making/
  begun.json    what determines the vectors: the model, the texts, the pooling
  done.json     the number of vectors on disk, their checksum, and how many of their texts were truncated
  vectors.npy   (texts, hidden) float32 according to its header, incomplete
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import xxhash

from maskling.data.npy import header_of
from maskling.errors import DataError
from maskling.files import flush_folder, lock_folder, read_json, url_refusal, write_json
from maskling.infer.search import Vectors

_BEGUN: Final = "begun.json"
_DONE: Final = "done.json"
_VECTORS: Final = "vectors.npy"
_DTYPE: Final = np.dtype("<f4")


@dataclass(frozen=True)
class Done:
    """How many texts have their vectors, how many of them were truncated, and the xxh3-128 of the vectors' bytes.

    checksum: None in files of earlier versions.
    """

    texts: int = 0
    cut: int = 0
    checksum: str | None = field(default=None, compare=False)


class VectorFile:
    """A `.npy` file that is being written."""

    def __init__(self, folder: Path, file: BinaryIO, done: Done, digest: xxhash.xxh3_128) -> None:
        """digest: of the vectors in `file` so far."""
        self._folder, self._file, self._digest = folder, file, digest
        self.done = done

    def add(self, vectors: Vectors, cut: int) -> None:
        """Append vectors, (n, hidden) float32; once this returns, they survive a crash."""
        content = np.ascontiguousarray(vectors, _DTYPE).tobytes()
        try:
            self._file.write(content)
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:  # a full disk names no file
            error.filename = error.filename or self._file.name
            raise
        self._digest.update(content)
        self.done = Done(self.done.texts + len(vectors), self.done.cut + cut, self._digest.hexdigest())
        write_json(self._folder / _DONE, asdict(self.done))


@contextmanager
def vector_file(path: Path, texts: int, hidden: int, made_from: dict[str, Any]) -> Iterator[VectorFile]:
    """Open a file for the vectors of `texts` texts; it replaces `path` if the block ends without an error.

    The vectors that an earlier call with the same `made_from` has finished are kept, and counted in `done`, unless
    their checksum shows that they have changed. made_from: plain data that determines the vectors.
    Raises DataError if another process is writing the same file.
    """
    aside = path.with_name(f"{path.name}.making")
    if (refusal := url_refusal(path)) is not None:
        raise DataError(refusal)
    aside.mkdir(parents=True, exist_ok=True)
    with lock_folder(aside, DataError, lambda holder: f"{path} is being written by another process ({holder})"):
        header = header_of((texts, hidden), _DTYPE)
        row = hidden * _DTYPE.itemsize
        done, digest = _found(aside, made_from, header, row, texts)
        if not done.texts:
            (aside / _DONE).unlink(missing_ok=True)
            write_json(aside / _BEGUN, made_from)
            (aside / _VECTORS).write_bytes(header)
        with (aside / _VECTORS).open("r+b") as file:
            file.seek(file.truncate(len(header) + done.texts * row))
            yield (vectors := VectorFile(aside, file, done, digest))
        assert vectors.done.texts == texts, "a vector for each text"
        (aside / _VECTORS).replace(path)
        flush_folder(path.parent)
        shutil.rmtree(aside)


def identity_of(texts: Iterable[str]) -> str:
    """Return the xxh3-128 of some texts, in hexadecimal."""
    digest = xxhash.xxh3_128()
    for text in texts:
        digest.update(text.encode(errors="surrogatepass") + b"\0")
    return digest.hexdigest()


def _found(aside: Path, wanted: dict[str, Any], header: bytes, row: int, texts: int) -> tuple[Done, xxhash.xxh3_128]:
    """Return what an earlier call for the same has finished, and the digest of its vectors.

    Nothing if the file is shorter, or holds other bytes, than that call wrote.
    """
    nothing = Done(), xxhash.xxh3_128()
    try:
        if read_json(aside / _BEGUN) != wanted:
            return nothing
        done = Done(**read_json(aside / _DONE))
        if type(done.texts) is not int or type(done.cut) is not int or not 0 <= done.cut <= done.texts <= texts:
            return nothing
        with (aside / _VECTORS).open("rb") as file:
            same = file.read(len(header)) == header
            digest, left = xxhash.xxh3_128(), done.texts * row
            while left and (block := file.read(min(left, 1 << 20))):
                digest.update(block)
                left -= len(block)
    except (OSError, ValueError, TypeError):
        return nothing
    whole = same and not left and done.checksum in (None, digest.hexdigest())
    return (done, digest) if whole else nothing
