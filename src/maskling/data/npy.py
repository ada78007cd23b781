"""One-dimensional arrays as `.npy` files: written atomically, and mapped into memory after their header is checked.

numpy's own loader trusts the header about shape and dtype. Here the caller states both, and the header and the length
of the file must agree before a byte is mapped; objects (pickles) are never read.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from maskling.errors import DataError
from maskling.files import atomic_write

PREPARE_AGAIN = "delete the folder and prepare it again, or restore the file"


def write_array(path: Path, array: np.ndarray) -> str:
    """Write a (n,) array as little-endian `.npy`, atomically; returns the xxh3-128 of the file."""
    array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    digest = xxhash.xxh3_128()
    with atomic_write(path) as file:
        for piece in (header_of(array.shape, array.dtype), array.tobytes()):
            digest.update(piece)
            file.write(piece)
    return digest.hexdigest()


def header_of(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    """Return the header of a `.npy` file with an array of this shape and dtype, in C order."""
    header = io.BytesIO()
    described = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, described)
    return header.getvalue()


def map_array(path: Path, dtype: np.dtype[Any], length: int) -> np.ndarray:
    """Map a file that must hold exactly (length,) of `dtype`, read-only; only its header is read.

    Raises DataError if the file is missing, is not such an array or does not have that length.
    """
    offset = _check_header(path, dtype, length)
    if length == 0:
        return np.zeros(0, dtype)
    try:
        return np.memmap(path, dtype, mode="r", offset=offset, shape=(length,)).view(np.ndarray)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be mapped into memory: {error}") from None


def _check_header(path: Path, dtype: np.dtype[Any], length: int) -> int:
    """Return the offset of the data, after comparing header and file size with the expected ones."""
    try:
        if not path.is_file():  # a pipe would block
            raise DataError(f"{path} is missing; {PREPARE_AGAIN}")
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            if version != (1, 0):
                raise ValueError(f"version {version} of the format is not supported")
            shape, fortran, found = np.lib.format.read_array_header_1_0(file, max_header_size=1000)
            offset = file.tell()
        size = path.stat().st_size
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None
    except DataError:
        raise
    except Exception as error:  # the header is a Python literal: hostile ones raise nearly anything
        raise DataError(f"{path} is not a numpy array ({type(error).__name__}: {error}); {PREPARE_AGAIN}") from None
    if found != dtype or fortran or shape != (length,):
        raise DataError(f"{path} holds {found} {shape}, but {dtype} ({length},) was expected; {PREPARE_AGAIN}")
    if size != offset + length * dtype.itemsize:
        raise DataError(
            f"{path} has {size} bytes, but {offset + length * dtype.itemsize} were expected; {PREPARE_AGAIN}"
        )
    return offset
