"""Texts and their vectors on disk, to be searched by meaning: embedded once, mapped into memory, never read whole.

texts.index/
  index.json                 what it was made of: model, pooling, files with checksums; how many texts each part has
  part-00000.vectors.npy     (texts * hidden,) float32, each vector of length 1
  part-00000.texts.npy       (bytes,) uint8, a line of JSON for each text
  part-00000.offsets.npy     (texts + 1,) int64, where each line begins
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from maskling.data.array_files import map_array
from maskling.errors import DataError, SettingsError
from maskling.export.sentence_transformers import own_pooling
from maskling.files import checksum
from maskling.infer.load import Model
from maskling.infer.nearest import Vectors, nearest
from maskling.infer.search import Hit

INDEX: Final = "index.json"
FORMAT: Final = 1


@dataclass(frozen=True)
class Part:
    """A run of texts of an index: how many, in how many bytes."""

    texts: int
    bytes: int


def model_identity(model: Model) -> dict[str, Any]:
    """What decides the vectors that a model gives."""
    return {
        "weights": [[path.name, checksum(path)] for path in _weights(model.folder)],
        "tokenizer": model.tokenizer.fingerprint,
        "pooling": own_pooling(model.folder),
        "max_length": model.max_length,
        "hidden_size": model.module.config.hidden_size,
    }


def _weights(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix in (".safetensors", ".bin", ".onnx"))


class Index:
    """An index that is whole. `made_from` is what `indexing.identity` gives for the same model and files."""

    def __init__(self, folder: Path, made_from: dict[str, Any], parts: Sequence[Part]) -> None:
        self.folder, self.made_from = folder, made_from
        self._hidden = int(made_from["model"]["hidden_size"])
        self._parts = tuple(parts)
        self._firsts = np.cumsum([0, *(part.texts for part in parts)])
        for number in range(len(parts)):  # no file is missing or of another size
            self._vectors(number)
            self._lines(number)

    @classmethod
    def open(cls, folder: Path | str) -> Index:
        """Raises DataError if there is no index, it is damaged, or of another format."""
        folder = Path(folder)
        path = folder / INDEX
        try:
            tree = json.loads(path.read_text(encoding="utf-8"))
            found, made_from, parts = tree["format"], dict(tree["made_from"]), [Part(**part) for part in tree["parts"]]
        except FileNotFoundError:
            raise DataError(
                f"{folder} holds no index; make one with 'maskling search MODEL FILE --index {folder}'"
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} cannot be read ({error}); delete {folder}, and it is made again") from None
        if found != FORMAT:
            raise DataError(
                f"{folder} is an index of format {found}, and this is {FORMAT}; delete it, and it is made again"
            )
        try:
            return cls(folder, made_from, parts)
        except (DataError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"the index in {folder} is damaged ({error}); delete it, and it is made again") from None

    def __len__(self) -> int:
        return int(self._firsts[-1])

    def search(self, model: Model, queries: Sequence[str], top_k: int = 5) -> list[list[Hit]]:
        """The texts nearest in meaning to each query, the nearest first: by the cosine of their vectors.

        Raises DataError if another model made the index, SettingsError for a `top_k` that is none.
        """
        if model_identity(model) != self.made_from["model"]:
            raise DataError(
                f"the index in {self.folder} was made with another model than {model.folder}, so their vectors do not "
                f"compare; search with that one, or delete the index"
            )
        if top_k < 1:
            raise SettingsError(f"top_k is {top_k}; ask for 1 text or more")
        vectors = model.embed(list(queries), pooling=own_pooling(model.folder), normalize=True)
        numbers, scores = nearest(vectors, map(self._vectors, range(len(self._parts))), top_k)
        return [
            [self._hit(number, score) for number, score in zip(row, found, strict=True)]
            for row, found in zip(numbers.tolist(), scores.tolist(), strict=True)
        ]

    def texts(self) -> Iterator[str]:
        """Every text, in order."""
        for number in range(len(self._parts)):
            offsets, lines = self._lines(number)
            for first, end in pairwise(offsets.tolist()):
                yield str(json.loads(lines[first:end].tobytes())["text"])

    def _hit(self, number: int, score: float) -> Hit:
        part = int(np.searchsorted(self._firsts, number, side="right")) - 1
        offsets, lines = self._lines(part)
        first, end = offsets[number - self._firsts[part] :][:2].tolist()
        line = json.loads(lines[first:end].tobytes())
        return Hit(line["id"], line["text"], score)

    # Mapped when they are asked for and let go again: an index has three files for some thousand texts, and a process
    # may often hold no more than a thousand.
    def _vectors(self, number: int) -> Vectors:
        """Of part `number`: (texts, hidden)."""
        values = map_array(self._file(number, "vectors"), np.dtype("<f4"), self._parts[number].texts * self._hidden)
        return values.reshape(-1, self._hidden)

    def _lines(self, number: int) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Where the lines of part `number` begin, (texts + 1,), and the lines, (bytes,)."""
        part = self._parts[number]
        return (
            map_array(self._file(number, "offsets"), np.dtype("<i8"), part.texts + 1),
            map_array(self._file(number, "texts"), np.dtype("u1"), part.bytes),
        )

    def _file(self, number: int, what: str) -> Path:
        return self.folder / f"part-{number:05d}.{what}.npy"
