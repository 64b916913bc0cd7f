"""Where a medium's descriptor files lie: in a folder, each by itself, or in shards.

    <folder>/shards/<k>.tar      pairs <id>.npy, <id>.json, uncompressed, as WebDataset reads them
                    index.npy    where each pair lies, sorted by id; what it does not name is not there

`s2vt.features.shards` writes them. The index is memory-mapped and searched by halving, and a file is read or mapped in
place within its tar, so that a medium costs the same whatever their number. A file of its own precedes one in a shard.
"""

import bisect
import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np

from s2vt.errors import UserError

FILES = ("npy", "json")  # of a medium; it is there if the first is
SHARDS = "shards"  # the folder's name
INDEX = "index.npy"


class Place(NamedTuple):
    """A file, or a part of one: the bytes from `start` on, `size` of them (-1: to its end)."""

    path: Path
    start: int = 0
    size: int = -1


def row_of(longest):
    """The dtype of an index: an id of up to `longest` bytes, its shard, and where in it its files' bytes start, and
    how many they are."""
    places = [(f"{kind}{field}", "<u8") for kind in FILES for field in ("", "_size")]
    return np.dtype([("id", f"S{longest}"), ("shard", "<u4"), *places])


def place_of(folder, name):
    """The Place of a file of a folder of descriptors, or None.

    Args:
        name: `<id>.npy` or `<id>.json`.
    Raises:
        UserError: if there are shards whose index cannot be read.
    """
    path = folder / name
    if path.exists():
        return Place(path)
    index = index_of(folder)
    if index is None:
        return None
    medium_id, _, kind = name.rpartition(".")
    key = medium_id.encode()
    k = bisect.bisect_left(index["id"], key)
    if k == len(index) or index["id"][k] != key:
        return None
    found = index[k]
    return Place(shard_path(folder, found["shard"]), int(found[kind]), int(found[f"{kind}_size"]))


def shard_path(folder, k):
    """The file of the k-th shard."""
    return folder / SHARDS / f"{k:06d}.tar"


def index_of(folder):
    """The index of a folder's shards, memory-mapped, (n,); None where nothing is packed.

    Raises:
        UserError: if it cannot be read.
    """
    path = folder / SHARDS / INDEX
    try:
        return _mapped_index(path, path.stat().st_mtime_ns)
    except FileNotFoundError:
        return None


@functools.lru_cache(maxsize=8)
def _mapped_index(path, changed):
    """changed: when, so that an index that was written again is read again."""
    try:
        index = np.lib.format.open_memmap(path, mode="r")
        if index.ndim != 1 or index.dtype != row_of(index.dtype["id"].itemsize):
            raise ValueError(f"{index.dtype} {index.shape}")
        return index
    except FileNotFoundError:
        raise
    except Exception as error:  # on damaged files NumPy raises nearly anything
        raise UserError(f"{path} is damaged ({error}); delete {path.parent} and make the descriptors again") from None


def mapped(place):
    """The array of an `.npy` at a Place, memory-mapped.

    Raises:
        ValueError, OSError or another error of NumPy: if it is damaged.
    """
    with open(place.path, "rb") as file:
        file.seek(place.start)
        version = np.lib.format.read_magic(file)
        if version != (1, 0):
            raise ValueError(f"format {version} instead of (1, 0)")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
        if dtype.hasobject:
            raise ValueError("Python objects instead of numbers")
        start = file.tell()
        size = start + dtype.itemsize * int(np.prod(shape, dtype=np.int64)) - place.start
        if place.size not in (-1, size):
            raise ValueError(f"{place.size} bytes instead of {size}")
    return np.memmap(place.path, dtype, "r", start, shape, "F" if fortran else "C")
