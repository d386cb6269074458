"""Random numbers by key: a hash of seed, name and index, so that any of them can be had at any time by anyone.

The hash is the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), which passes the usual tests on counters.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_M1, _M2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def key(seed: int, *names: str) -> np.uint64:
    """Key of a stream of numbers."""
    digest = hashlib.blake2b("/".join((str(seed), *names)).encode(), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, "little"))


def uniform(stream: np.uint64, index: Ints) -> Floats:
    """Uniform numbers in (0, 1), one an index."""
    with np.errstate(over="ignore"):
        z = (index.astype(np.uint64) + np.uint64(1)) * _GOLDEN + stream
        z = (z ^ (z >> np.uint64(30))) * _M1
        z = (z ^ (z >> np.uint64(27))) * _M2
        z ^= z >> np.uint64(31)
    return (np.asarray(z >> np.uint64(11), dtype=np.float64) + 0.5) * 2.0**-53


def normal(stream: np.uint64, index: Ints) -> Floats:
    """Standard normal numbers, one an index (Box and Muller)."""
    u, v = uniform(stream, 2 * index), uniform(stream, 2 * index + 1)
    return np.asarray(np.sqrt(-2 * np.log(u)) * np.cos(2 * np.pi * v))


def wander(stream: np.uint64, seconds: Floats, period: float) -> Floats:
    """A smooth random curve of about unit size whose features last about `period` seconds (value noise)."""
    place = seconds / period
    left = np.floor(place).astype(np.int64)
    share = place - left
    share = share * share * share * (share * (share * 6 - 15) + 10)
    return np.asarray(normal(stream, left) * (1 - share) + normal(stream, left + 1) * share)
