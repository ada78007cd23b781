"""Texts and their vectors on disk, to be searched by meaning: embedded once, mapped into memory, never read whole.

texts.index/
  index.json                 what it was made of: model, pooling, files with checksums; how many texts each part has
  part-00000.vectors.npy     (texts * hidden,) float32, each vector of length 1
  part-00000.texts.npy       (bytes,) uint8, a line of JSON for each text
  part-00000.offsets.npy     (texts + 1,) int64, where each line begins
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import partial
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
from maskling.files import LOCK, checksum, lock_folder, recover_folder, replace_folder, write_json
from maskling.grouping import grouped
from maskling.infer.embed import embed_texts
from maskling.infer.model import Model
from maskling.infer.search import Hit, Vectors, nearest
from maskling.model.sentence_transformers import read_pooling

# FOLDED DOCS
# [indexing] Making an index of files: in parts, so that a stopped one goes on, and in place only when it is whole.


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
        "pooling": read_pooling(model.folder),
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
        self._firsts = offsets_of([part.texts for part in parts])
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
        vectors = model.embed(list(queries), pooling=read_pooling(model.folder), normalize=True)
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


PART_TEXTS: Final = 4096
# Of longer texts fewer make a part, so that books are not held by the thousand.
PART_CHARACTERS: Final = 1 << 23
_BEGUN: Final = "begun.json"


@dataclass(frozen=True)
class Indexed:
    """texts: how many are done; cut: how many of those made just now were too long for the model and were cut."""

    texts: int
    cut: int


def build_index(
    model: Model,
    files: Sequence[str],
    folder: Path | str,
    part_texts: int = PART_TEXTS,
    report: ReadReport | None = None,
    told: Callable[[int], object] | None = None,
) -> Iterator[Indexed]:
    """Embed the texts of files, and put the index into `folder`; says how far it is after each part.

    files: as `prepare` reads them, but of plain text each line is a text. An index of the same model and files that is
    there stays; any other makes way when the new one is whole. What a stopped call has finished is not done again.
    report: gets what was wrong with which file. told: is called with how many texts are done, within a part too.
    Raises CorpusError if there is no text, DataError if `folder` holds something else than an index or another process
    is making it.
    """
    folder = Path(folder)
    made_from = identity(model, files)
    if folder.exists() and any(folder.iterdir()):
        if not (folder / INDEX).is_file():
            raise DataError(f"{folder} holds other things than an index; give another folder with --index")
        if fits(folder, made_from):
            return
    aside = folder.with_name(f"{folder.name}.making")
    aside.mkdir(parents=True, exist_ok=True)
    with _only_here(aside, folder):
        recover_folder(folder)
        _begin(aside, made_from | {"part_texts": part_texts, "part_characters": PART_CHARACTERS})
        parts: list[Part] = []
        texts = 0
        documents = read_documents(expand(files, report), _reading(), report or ReadReport())
        pooling = read_pooling(model.folder)
        for batch in grouped(
            (document for _, document in documents), lambda document: len(document.text), PART_CHARACTERS, part_texts
        ):
            name = aside / f"part-{len(parts):05d}"
            part, cut = _written(name), 0
            if part is None:
                among = None if told is None else partial(_tell, told, texts)
                found = embed_texts(model, [one.text for one in batch], pooling=pooling, normalize=True, told=among)
                part, cut = _write(name, batch, found.vectors), found.cut
            parts.append(part)
            texts += len(batch)
            yield Indexed(texts, cut)
        write_json(aside / INDEX, {"format": FORMAT, "made_from": made_from, "parts": [asdict(part) for part in parts]})
    replace_folder(aside, folder)
    # Only now: had another process come in between, it would have found all parts made.
    for left in (folder / _BEGUN, folder / LOCK, *folder.glob("part-?????.json")):
        left.unlink(missing_ok=True)


def identity(model: Model, files: Sequence[str]) -> dict[str, Any]:
    """What an index is made of. Raises CorpusError if a file is missing, SettingsError for standard input."""
    if "-" in files:
        raise SettingsError("standard input cannot be searched, as it can be read only once; save it to a file")
    sources = [source.location for source in expand(files)]
    sums = [checksum(Path(source)) if Path(source).is_file() else None for source in sources]
    return {
        "model": model_identity(model),
        "files": [{"name": name, "checksum": sum_} for name, sum_ in zip(sources, sums, strict=True)],
    }


def fits(folder: Path, made_from: dict[str, Any]) -> bool:
    """Whether the index in a folder is of these files, by this model. Names do not count, only what files hold."""
    try:
        found = Index.open(folder).made_from
        sums = [[file["checksum"] or file["name"] for file in one["files"]] for one in (found, made_from)]
    except (DataError, KeyError, TypeError):
        return False
    return bool(found["model"] == made_from["model"] and sums[0] == sums[1])


def _tell(told: Callable[[int], object], before: int, done: int) -> None:
    told(before + done)


def _reading() -> CorpusSettings:
    return CorpusSettings(plain="line")


def _only_here(aside: Path, folder: Path) -> AbstractContextManager[None]:
    return lock_folder(
        aside,
        DataError,
        lambda holder: (
            f"{folder} is being made by another process ({holder}); wait for it, or give another folder with --index"
        ),
    )


def _begin(aside: Path, wanted: dict[str, Any]) -> None:
    """Leave in `aside` what a stopped call has made of the same, or nothing."""
    try:
        same = json.loads((aside / _BEGUN).read_text(encoding="utf-8")) == wanted
    except (OSError, ValueError):
        same = False
    if not same:
        for path in aside.iterdir():
            if path.name != LOCK:
                path.unlink()
        write_json(aside / _BEGUN, wanted)


def _write(name: Path, batch: Sequence[Document], vectors: Vectors) -> Part:
    """Write the three arrays of a part and then, as a sign that it is whole, how large it is."""
    lines = [json.dumps({"id": one.id, "text": one.text.strip()}).encode() for one in batch]
    part = Part(len(lines), sum(map(len, lines)))
    write_array(name.with_suffix(".vectors.npy"), vectors.ravel())
    write_array(name.with_suffix(".offsets.npy"), offsets_of([len(line) for line in lines]))
    write_array(name.with_suffix(".texts.npy"), np.frombuffer(b"".join(lines), dtype=np.uint8))
    write_json(name.with_suffix(".json"), asdict(part))
    return part


def _written(name: Path) -> Part | None:
    """A part that an earlier call has finished."""
    try:
        return Part(**json.loads(name.with_suffix(".json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
