"""A search index on disk: texts and their vectors, embedded once and memory-mapped, never read whole.

`build_index` makes it in parts, so that a stopped build resumes, and puts it in place only when it is complete.

texts.index/
  index.json                 what it was made from: model, pooling, files with checksums; the size of each part
  part-00000.vectors.npy     (texts * hidden,) float32, each vector of length 1
  part-00000.texts.npy       (bytes,) uint8, one line of JSON per text
  part-00000.offsets.npy     (texts + 1,) int64, the start of each line
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from maskling.arrays import offsets_of
from maskling.corpus.document import Document
from maskling.corpus.opening import ReadReport
from maskling.corpus.reading import read_documents
from maskling.corpus.settings import CorpusSettings
from maskling.corpus.sources import expand
from maskling.data.npy import map_array, write_array
from maskling.errors import DataError, SettingsError
from maskling.files import (
    LOCK,
    checksum,
    lock_folder,
    read_json,
    recover_folder,
    replace_folder,
    url_refusal,
    write_json,
)
from maskling.grouping import grouped
from maskling.infer.embed import embed_texts
from maskling.infer.model import Model
from maskling.infer.search import Hit, Vectors, nearest
from maskling.model.onnx import find_graph, weight_files
from maskling.model.sentence_transformers import read_pooling

INDEX: Final = "index.json"
INDEX_FORMAT: Final = 1

PART_TEXTS: Final = 4096
# Parts of long texts hold fewer, so that thousands of books are not held in memory.
PART_CHARACTERS: Final = 1 << 23
_BEGUN: Final = "begun.json"
# How files are read: in plain text each line is a text.
_READING: Final = CorpusSettings(plain="line")
# An index names its files and its parts: of ten million texts some 200 kB.
_MAX_BYTES: Final = 64 << 20


@dataclass(frozen=True)
class IndexPart:
    """The size of one part of an index: its texts, and the bytes of their lines."""

    texts: int
    bytes: int


def model_identity(model: Model) -> dict[str, Any]:
    """Return what determines the vectors of a model."""
    return {
        "weights": [[path.name, checksum(path)] for path in _weights(model.folder)],
        "tokenizer": model.tokenizer.fingerprint,
        "pooling": read_pooling(model.folder),
        "max_length": model.max_length,
        "hidden_size": model.module.config.hidden_size,
    }


def _weights(folder: Path) -> list[Path]:
    graph = find_graph(folder)
    return [graph] if graph is not None else weight_files(folder)


class Index:
    """A complete index. `made_from` equals `index_identity` of the same model and files."""

    def __init__(self, folder: Path, made_from: dict[str, Any], parts: Sequence[IndexPart]) -> None:
        self.folder, self.made_from = folder, made_from
        self._hidden = int(made_from["model"]["hidden_size"])
        self._parts = tuple(parts)
        self._firsts = offsets_of([part.texts for part in parts])
        for part in range(len(parts)):  # raises if a file is missing or has another size
            self._vectors(part)
            self._lines(part)

    @classmethod
    def open(cls, folder: Path | str) -> Index:
        """Open the index in a folder. Raises DataError if there is none, it is damaged, or has another format."""
        folder = Path(folder)
        path = folder / INDEX
        try:
            tree = read_json(path, _MAX_BYTES)
            found, made_from = tree["format"], dict(tree["made_from"])
            parts = [_part(part) for part in tree["parts"]]
        except FileNotFoundError:
            raise DataError(
                f"{folder} holds no index; build one with 'maskling search MODEL FILE --index {folder}'"
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} cannot be read ({error}); delete {folder}, and it is built again") from None
        if found != INDEX_FORMAT:
            raise DataError(
                f"{folder} is an index of format {found}, but this version reads {INDEX_FORMAT}; delete it, and it is "
                f"built again"
            )
        try:
            return cls(folder, made_from, parts)
        except (DataError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"the index in {folder} is damaged ({error}); delete it, and it is built again") from None

    def __len__(self) -> int:
        return int(self._firsts[-1])

    def search(self, model: Model, queries: Sequence[str], top_k: int = 5) -> list[list[Hit]]:
        """Return the texts nearest to each query by the cosine of their vectors, the nearest first.

        Raises DataError if the index was built with another model, SettingsError for a `top_k` below 1.
        """
        if model_identity(model) != self.made_from["model"]:
            raise DataError(
                f"the index in {self.folder} was built with another model than {model.folder}, so their vectors do not "
                f"compare; search with that model, or delete the index"
            )
        if top_k < 1:
            raise SettingsError(f"top_k is {top_k}; it must be 1 or more")
        vectors = model.embed(list(queries), pooling=read_pooling(model.folder), normalize=True)
        indices, scores = nearest(vectors, map(self._vectors, range(len(self._parts))), top_k)
        return [
            [self._hit(index, score) for index, score in zip(row, found, strict=True)]
            for row, found in zip(indices.tolist(), scores.tolist(), strict=True)
        ]

    def texts(self) -> Iterator[str]:
        """Yield every text, in order."""
        for part in range(len(self._parts)):
            offsets, lines = self._lines(part)
            for first, end in pairwise(offsets.tolist()):
                yield str(json.loads(lines[first:end].tobytes())["text"])

    def _hit(self, index: int, score: float) -> Hit:
        part = int(np.searchsorted(self._firsts, index, side="right")) - 1
        offsets, lines = self._lines(part)
        first, end = offsets[index - self._firsts[part] :][:2].tolist()
        line = json.loads(lines[first:end].tobytes())
        return Hit(line["id"], line["text"], score)

    # Files are mapped on demand and released again: an index has three files per few thousand texts, and many systems
    # limit a process to about a thousand open files.
    def _vectors(self, part: int) -> Vectors:
        """Map the vectors of a part: (texts, hidden) float32."""
        values = map_array(self._file(part, "vectors"), np.dtype("<f4"), self._parts[part].texts * self._hidden)
        return values.reshape(-1, self._hidden)

    def _lines(self, part: int) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Map the lines of a part: the offset of each, (texts + 1,) int64, and their text, (bytes,) uint8."""
        size = self._parts[part]
        return (
            map_array(self._file(part, "offsets"), np.dtype("<i8"), size.texts + 1),
            map_array(self._file(part, "texts"), np.dtype("u1"), size.bytes),
        )

    def _file(self, part: int, what: str) -> Path:
        return self.folder / f"part-{part:05d}.{what}.npy"


@dataclass(frozen=True)
class Indexed:
    """The result of `build_index`: texts in the new index, and how many of those embedded now were truncated."""

    texts: int
    cut: int


def build_index(
    model: Model,
    files: Sequence[str],
    folder: Path | str,
    part_texts: int = PART_TEXTS,
    reading: CorpusSettings = _READING,
    report: ReadReport | None = None,
    on_progress: Callable[[int, int | None], None] | None = None,
) -> Indexed:
    """Embed the texts of files and write the index to `folder`.

    files: read as in `prepare`; reading: how, by default with each line of plain text as a text. An existing index of
    the same model and files is kept, and the result is empty; any other index is replaced when the new one is complete.
    Parts that a stopped call has finished are not embedded again.
    report: collects the problems of the files. on_progress: called after each batch and each part with the texts that
    are done and, as their total is not known, None.
    Raises CorpusError if there is no text, DataError if `folder` holds anything but an index or another process is
    building it.
    """
    folder = Path(folder)
    made_from = index_identity(model, files, reading)
    if folder.exists() and any(folder.iterdir()):
        if not (folder / INDEX).is_file():
            raise DataError(f"{folder} holds other things than an index; give another folder with --index")
        if is_current(folder, made_from):
            return Indexed(0, 0)
    aside = folder.with_name(f"{folder.name}.making")
    if (refusal := url_refusal(folder)) is not None:
        raise DataError(refusal)
    aside.mkdir(parents=True, exist_ok=True)
    parts: list[IndexPart] = []
    texts = cut = 0

    def on_batch(done_of_part: int, _: int = 0) -> None:
        if on_progress is not None:
            on_progress(texts + done_of_part, None)

    with _locked(aside, folder):
        recover_folder(folder)
        _begin(aside, made_from | {"part_texts": part_texts, "part_characters": PART_CHARACTERS})
        documents = read_documents(expand(files, report), reading, report or ReadReport())
        pooling = read_pooling(model.folder)
        for batch in grouped(
            (document for _, document in documents), lambda document: len(document.text), PART_CHARACTERS, part_texts
        ):
            name = aside / f"part-{len(parts):05d}"
            part = _finished_part(name)
            if part is None:
                found = embed_texts(
                    model, [one.text for one in batch], pooling=pooling, normalize=True, on_progress=on_batch
                )
                part = _write_part(name, batch, found.vectors)
                cut += found.cut
            parts.append(part)
            texts += len(batch)
            on_batch(0)
        write_json(
            aside / INDEX, {"format": INDEX_FORMAT, "made_from": made_from, "parts": [asdict(part) for part in parts]}
        )
    replace_folder(aside, folder)
    # Only now: another process that came in between would have found all parts finished.
    for left in (folder / _BEGUN, folder / LOCK, *folder.glob("part-?????.json")):
        left.unlink(missing_ok=True)
    return Indexed(texts, cut)


def index_identity(model: Model, files: Sequence[str], reading: CorpusSettings = _READING) -> dict[str, Any]:
    """Return what an index is made from: the model, the checksums of the files, and how they are read if not as usual.

    Raises CorpusError if a file is missing, SettingsError for standard input.
    """
    if "-" in files:
        raise SettingsError("standard input cannot be searched, because it can be read only once; save it to a file")
    sources = [source.location for source in expand(files)]
    sums = [checksum(Path(source)) if Path(source).is_file() else None for source in sources]
    usual, read = _READING.model_dump(mode="json"), reading.model_dump(mode="json")
    changed = {name: value for name, value in read.items() if value != usual[name]}
    return {
        "model": model_identity(model),
        "files": [{"name": name, "checksum": sum_} for name, sum_ in zip(sources, sums, strict=True)],
        **({"reading": changed} if changed else {}),
    }


def is_current(folder: Path, made_from: dict[str, Any]) -> bool:
    """Return whether a folder holds the index of these files and this model; contents are compared, not names."""
    try:
        found = Index.open(folder).made_from
        sums = [[file["checksum"] or file["name"] for file in one["files"]] for one in (found, made_from)]
    except (DataError, KeyError, TypeError):
        return False
    same_reading = found.get("reading") == made_from.get("reading")
    return bool(same_reading and found["model"] == made_from["model"] and sums[0] == sums[1])


def _locked(aside: Path, folder: Path) -> AbstractContextManager[None]:
    return lock_folder(
        aside,
        DataError,
        lambda holder: (
            f"{folder} is being built by another process ({holder}); wait for it, or give another folder with --index"
        ),
    )


def _begin(aside: Path, wanted: dict[str, Any]) -> None:
    """Keep in `aside` what a stopped call for the same index has finished, or delete everything."""
    try:
        same = read_json(aside / _BEGUN, _MAX_BYTES) == wanted
    except (OSError, ValueError):
        same = False
    if not same:
        for path in aside.iterdir():
            if path.name != LOCK:
                path.unlink()
        write_json(aside / _BEGUN, wanted)


def _write_part(name: Path, batch: Sequence[Document], vectors: Vectors) -> IndexPart:
    """Write the three arrays of a part, and then its size, which marks it as complete."""
    lines = [json.dumps({"id": one.id, "text": one.text.strip()}).encode() for one in batch]
    part = IndexPart(len(lines), sum(map(len, lines)))
    write_array(name.with_suffix(".vectors.npy"), vectors.ravel())
    write_array(name.with_suffix(".offsets.npy"), offsets_of([len(line) for line in lines]))
    write_array(name.with_suffix(".texts.npy"), np.frombuffer(b"".join(lines), dtype=np.uint8))
    write_json(name.with_suffix(".json"), asdict(part))
    return part


def _finished_part(name: Path) -> IndexPart | None:
    """Return the size of a part that an earlier call has finished, or None."""
    try:
        return _part(read_json(name.with_suffix(".json")))
    except (OSError, ValueError, TypeError):
        return None


def _part(tree: Any) -> IndexPart:
    """Return the size of a part from JSON. Raises ValueError or TypeError for anything else."""
    part = IndexPart(**tree)
    if type(part.texts) is not int or type(part.bytes) is not int or min(part.texts, part.bytes) < 0:
        raise ValueError(f"{part} is not the size of a part")
    return part
