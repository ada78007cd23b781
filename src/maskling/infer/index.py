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
from pathlib import Path
from typing import Any, Final

import numpy as np

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
        hidden = int(made_from["model"]["hidden_size"])
        names = [f"part-{number:05d}" for number in range(len(parts))]
        self._vectors: list[Vectors] = [
            map_array(folder / f"{name}.vectors.npy", np.dtype("<f4"), part.texts * hidden).reshape(-1, hidden)
            for name, part in zip(names, parts, strict=True)
        ]
        self._offsets = [
            map_array(folder / f"{name}.offsets.npy", np.dtype("<i8"), part.texts + 1)
            for name, part in zip(names, parts, strict=True)
        ]
        self._texts = [
            map_array(folder / f"{name}.texts.npy", np.dtype("u1"), part.bytes)
            for name, part in zip(names, parts, strict=True)
        ]
        self._firsts = np.cumsum([0, *(part.texts for part in parts)])

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
        numbers, scores = nearest(vectors, self._vectors, top_k)
        return [
            [self._hit(number, score) for number, score in zip(row, found, strict=True)]
            for row, found in zip(numbers.tolist(), scores.tolist(), strict=True)
        ]

    def texts(self) -> Iterator[str]:
        """Every text, in order."""
        return (self._hit(number, 0.0).text for number in range(len(self)))

    def _hit(self, number: int, score: float) -> Hit:
        part = int(np.searchsorted(self._firsts, number, side="right")) - 1
        first, end = self._offsets[part][number - self._firsts[part] :][:2].tolist()
        line = json.loads(self._texts[part][first:end].tobytes())
        return Hit(line["id"], line["text"], score)
