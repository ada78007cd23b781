"""The SentencePiece `.model` file: its pieces, and how it normalizes and splits text.

The file is a protocol buffer of three messages (sentencepiece_model.proto). Only a dozen fields are needed and the wire
format is a few lines, so neither `sentencepiece` nor `protobuf` is required.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from maskling.errors import TokenizerError
from maskling.files import read_bounded

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
UNIGRAM, BPE, WORD, CHAR = range(1, 5)
SPACE: Final = "▁"
MODEL_NAMES: Final = ("spm.model", "spiece.model", "sentencepiece.bpe.model", "sentencepiece.model", "tokenizer.model")

_MAX_BYTES: Final = 256 << 20  # the largest published ones have 15 MB
_TIKTOKEN_LINES: Final = 4
_FIXED_BYTES: Final = {1: 8, 5: 4}  # wire types with a fixed size
_BYTES_TYPE: Final = 2


@dataclass(frozen=True, slots=True)
class Piece:
    """An entry of the vocabulary. kind: NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED or BYTE."""

    text: str
    score: float
    kind: int


@dataclass(frozen=True, slots=True)
class SentencePieceModel:
    """The content of a `.model` file; the names of the flags are those of sentencepiece_model.proto."""

    pieces: tuple[Piece, ...]
    model_type: int
    byte_fallback: bool
    treat_whitespace_as_suffix: bool
    precompiled_charsmap: bytes
    add_dummy_prefix: bool
    remove_extra_whitespaces: bool
    escape_whitespaces: bool

    @property
    def unk_id(self) -> int:
        """The index of the unknown piece."""
        return next(index for index, piece in enumerate(self.pieces) if piece.kind == UNKNOWN)


def read_model(file: Path) -> SentencePieceModel:
    """Read a SentencePiece model. Raises TokenizerError if the file is anything else."""
    try:
        data = read_bounded(file, _MAX_BYTES)
    except OSError as error:
        raise TokenizerError(f"{file} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise TokenizerError(f"{file} is not a SentencePiece model: {error}") from None
    _check_other_formats(file, data)
    try:
        return _parse(data)
    except (ValueError, LookupError, StopIteration, TypeError):
        raise TokenizerError(
            f"{file} is not a SentencePiece model, or it is damaged; download it again, or give a tokenizer.json or "
            f"vocab.txt"
        ) from None


def _parse(data: bytes) -> SentencePieceModel:
    pieces: list[Piece] = []
    trainer: dict[int, int | bytes] = {}
    normalizer: dict[int, int | bytes] = {}
    for number, value in _fields(data):
        if number == 1:
            fields = dict(_fields(_as_bytes(value)))
            score = np.frombuffer(_as_bytes(fields.get(2, bytes(4))), "<f4")[0]
            # The shortest decimal that is this float: the library reads back longer ones with an error in the last bit.
            pieces.append(Piece(_as_bytes(fields[1]).decode(), float(str(score)), _as_int(fields.get(3, NORMAL))))
        elif number == 2:
            trainer.update(_fields(_as_bytes(value)))
        elif number == 3:
            normalizer.update(_fields(_as_bytes(value)))
    model = SentencePieceModel(
        pieces=tuple(pieces),
        model_type=_as_int(trainer.get(3, UNIGRAM)),
        byte_fallback=bool(trainer.get(35, 0)),
        treat_whitespace_as_suffix=bool(trainer.get(24, 0)),
        precompiled_charsmap=_as_bytes(normalizer.get(2, b"")),
        add_dummy_prefix=bool(normalizer.get(3, 1)),
        remove_extra_whitespaces=bool(normalizer.get(4, 1)),
        escape_whitespaces=bool(normalizer.get(5, 1)),
    )
    if model.unk_id < 0 or len({piece.text for piece in pieces}) < len(pieces):
        raise ValueError("a piece occurs twice")
    return model


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the number and the value of each field of a message: an integer, or bytes for everything else."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire == _BYTES_TYPE:
            size, at = _varint(data, at)
        elif wire in _FIXED_BYTES:
            size = _FIXED_BYTES[wire]
        else:
            raise ValueError(f"wire type {wire}")
        if number == 0 or at + size > len(data):
            raise ValueError("the message is cut short")
        yield number, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the integer at an offset, and the offset behind it."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return value, at
        if shift > 63:
            raise ValueError("the integer is too long")


def _as_bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise TypeError("an integer where bytes are expected")
    return value


def _as_int(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise TypeError("bytes where an integer is expected")
    return value


def _check_other_formats(file: Path, data: bytes) -> None:
    """Raise TokenizerError naming the format of a file that is known and not SentencePiece."""
    if data.startswith(b"GGUF"):
        raise TokenizerError(
            f"{file} is a GGUF file; the tokenizer inside it is not read: give the tokenizer.json or tokenizer.model "
            f"of the model it was made from"
        )
    lines = data[:4096].split(b"\n")[:_TIKTOKEN_LINES]
    if len(lines) > 1 and all(map(_is_tiktoken, lines[:-1])):
        raise TokenizerError(
            f"{file} is a tiktoken vocabulary (base64 tokens and ranks), which does not hold the rules that split the "
            f"text; give the tokenizer.json of the same model"
        )


def _is_tiktoken(line: bytes) -> bool:
    token, _, rank = line.partition(b" ")
    try:
        return rank.isdigit() and bool(base64.b64decode(token, validate=True))
    except ValueError:
        return False
