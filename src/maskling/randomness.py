"""Stateless random numbers: every draw is a function of (seed, purpose, numbers).

Two ways to draw, for two needs. `stream` gives a numpy generator, for draws made one after
another. `keys` and `uniforms` give draw number c of key k directly, for whole arrays at once:
example 7 of epoch 2 gets the same masks whichever batch, worker or rank builds it. `Shuffle`
is a permutation that can be read at any index without being stored.
"""

from __future__ import annotations

import hashlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

from maskling.arrays import UInt64Array

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX_1: Final = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2: Final = np.uint64(0x94D049BB133111EB)


def stream(seed: int, purpose: str, *numbers: int) -> np.random.Generator:
    """Return a new generator for (seed, purpose, numbers); equal arguments give equal draws."""
    digest = hashlib.blake2b(repr((seed, purpose, *map(int, numbers))).encode(), digest_size=16)
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest.digest(), "little")))


def integer(seed: int, purpose: str, *numbers: int) -> int:
    """Return an integer in [0, 2**63) for (seed, purpose, numbers), to seed another library's generator."""
    digest = hashlib.blake2b(repr((seed, purpose, *map(int, numbers))).encode(), digest_size=8)
    return int.from_bytes(digest.digest(), "little") >> 1


def keys(seed: int, purpose: str, epoch: NDArray[np.integer] | int, index: NDArray[np.integer]) -> UInt64Array:
    """Return one key per (epoch, index).

    epoch: (n,) integers or one integer; index: (n,) integers. Returns (n,) uint64.
    """
    base = np.uint64(integer(seed, purpose))
    with np.errstate(over="ignore"):
        mixed = _mix(base + np.asarray(epoch).astype(np.uint64) * _GOLDEN)
        return _mix(mixed ^ _mix(np.asarray(index).astype(np.uint64) + _GOLDEN))


def bits(key: UInt64Array, counter: NDArray[np.integer] | int) -> UInt64Array:
    """Return draw number `counter` of each key, broadcast together: uint64, uniform over all 64 bits."""
    with np.errstate(over="ignore"):
        return _mix(key + (np.asarray(counter).astype(np.uint64) + np.uint64(1)) * _GOLDEN)


def uniforms(key: UInt64Array, counter: NDArray[np.integer] | int) -> NDArray[np.float64]:
    """Return draw number `counter` of each key as float64 in [0, 1)."""
    return (bits(key, counter) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def below(key: UInt64Array, counter: NDArray[np.integer] | int, limit: NDArray[np.integer] | int) -> NDArray[np.int64]:
    """Return draw number `counter` of each key as an integer in [0, limit); 0 where limit is 0.

    The bias of taking a 53-bit fraction of `limit` is below limit / 2**53.
    """
    return np.asarray(uniforms(key, counter) * np.asarray(limit)).astype(np.int64)


class Shuffle:
    """A random permutation of [0, size), readable at any index in constant time and memory.

    A four-round Feistel network on the smallest even number of bits that holds `size`; a value
    outside is encrypted again until it falls inside (cycle walking), at most four times on
    average. Black and Rogaway 2002, "Ciphers with arbitrary finite domains", section 3.
    """

    def __init__(self, size: int, seed: int, purpose: str, *numbers: int) -> None:
        self.size = size
        half = max(1, (max(size - 1, 1).bit_length() + 1) // 2)
        self._half = np.uint64(half)
        self._mask = np.uint64((1 << half) - 1)
        self._rounds = stream(seed, purpose, *numbers).integers(0, 2**63, 4).astype(np.uint64)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, indices: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return the permuted values. indices: (n,) integers in [0, size). Returns (n,) int64."""
        value = np.asarray(indices).astype(np.uint64)
        if value.size and int(value.max()) >= self.size:
            raise IndexError(f"index {int(value.max())} of a shuffle of {self.size}")
        value = self._once(value)
        outside = np.flatnonzero(value >= self.size)
        while outside.size:
            value[outside] = self._once(value[outside])
            outside = outside[value[outside] >= self.size]
        return value.astype(np.int64)

    def _once(self, value: UInt64Array) -> UInt64Array:
        left, right = value >> self._half, value & self._mask
        with np.errstate(over="ignore"):
            for key in self._rounds:
                left, right = right, left ^ (_mix(right + key) & self._mask)
        return (left << self._half) | right


def _mix(value: UInt64Array) -> UInt64Array:
    """Apply the finaliser of SplitMix64 (Steele, Lea and Flood 2014), a bijection of 64-bit words."""
    value = (value ^ (value >> np.uint64(30))) * _MIX_1
    value = (value ^ (value >> np.uint64(27))) * _MIX_2
    return value ^ (value >> np.uint64(31))
