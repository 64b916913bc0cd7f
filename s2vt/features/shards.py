"""Packs a folder of descriptor files into a few large ones, or unpacks them.

    python -m s2vt.features.shards DATA/MSR-VTT/descriptors/inception-2015/mixed_10

For sets of so many media that two small files of each are too many for a file system. All commands read either;
descriptors that are made later are files of their own until they are packed, too. The format: `s2vt.features.packed`.
"""

import shutil
import tarfile
from pathlib import Path

import numpy as np

from s2vt import command_line
from s2vt.data.files import atomic_path, lock
from s2vt.errors import UserError
from s2vt.features.packed import FILES, INDEX, SHARDS, index_of, place_of, row_of, shard_path

GIGABYTE = 1_000_000_000


def pack(folder, size=GIGABYTE, progress=lambda ids, total: ids):
    """Packs what lies in a folder as files of its own. Those are removed once the index names their copies.

    A killed command leaves the files, or their copies, or both; the same command goes on after the last whole shard.

    Args:
        folder: DATA/<set>/descriptors/<weights>/<layer>.
        size: bytes after which a shard is full.
        progress: wraps an iterable of ids, given also their number (tqdm).
    Returns:
        the number of media that were packed.
    Raises:
        UserError: if there are no descriptors, another process writes there, or a file cannot be written.
    """
    folder = _checked(folder)
    with lock(folder.parent, "pack them afterwards", writes=[folder, folder / SHARDS]):
        ids = sorted(path.stem for path in folder.glob("*.npy"))
        old = index_of(folder)
        rows = {} if old is None else {row[0]: row for row in old.tolist()}
        shards = sorted((folder / SHARDS).glob("*.tar"))
        first = int(shards[-1].stem) + 1 if shards else 0
        for of_shard in _written(folder, iter(progress(ids, len(ids))), first, size):
            rows |= {row[0]: row for row in of_shard}
            index = np.array(sorted(rows.values()), row_of(max(map(len, rows))))
            with atomic_path(folder / SHARDS / INDEX) as partial, open(partial, "wb") as file:
                np.save(file, index, allow_pickle=False)
            for row in of_shard:
                (folder / f"{row[0].decode()}.npy").unlink()
        for path in folder.glob("*.json"):  # those that a killed command left, too
            if path.stem.encode() in rows:
                path.unlink()
    return len(ids)


def _written(folder, ids, k, size):
    """Writes shards k, k + 1, ... of media; yields the rows of an index of each one when it is there."""
    waiting = next(ids, None)
    while waiting is not None:
        rows = []
        with (
            atomic_path(shard_path(folder, k)) as partial,
            tarfile.open(partial, "w", format=tarfile.GNU_FORMAT) as tar,
        ):
            while waiting is not None and tar.offset < size:
                places = [_added(tar, folder / f"{waiting}.{kind}") for kind in FILES]
                rows.append((waiting.encode(), k, *places[0], *places[1]))
                waiting = next(ids, None)
        yield rows
        k += 1


def _added(tar, path):
    """Adds a file to an open tar; (where its bytes start, how many)."""
    member = tarfile.TarInfo(path.name)
    member.size = path.stat().st_size
    with open(path, "rb") as file:
        tar.addfile(member, file)
    blocks = -(-member.size // tarfile.BLOCKSIZE)
    return tar.offset - blocks * tarfile.BLOCKSIZE, member.size


def unpack(folder, progress=lambda ids, total: ids):
    """Gives every packed medium files of its own again and removes the shards; arguments and errors as `pack`."""
    folder = _checked(folder)
    with lock(folder.parent, "unpack them afterwards", writes=[folder, folder / SHARDS]):
        index = index_of(folder)
        if index is None:
            return 0
        for row in progress(iter(index), len(index)):
            for kind in reversed(FILES):  # a medium is done when its .npy is there
                name = f"{row['id'].decode()}.{kind}"
                place = place_of(folder, name)
                if place.path == folder / name:
                    continue
                with open(place.path, "rb") as shard, atomic_path(folder / name) as partial:
                    shard.seek(place.start)
                    partial.write_bytes(shard.read(place.size))
        shutil.rmtree(folder / SHARDS)
    return len(index)


def _checked(folder):
    """The folder as a Path.

    Raises:
        UserError: if it is none of descriptors.
    """
    folder = Path(folder)
    if not (folder / "meta.json").is_file():
        raise UserError(f"{folder} holds no descriptors; name a folder such as DATA/<set>/descriptors/<weights>/pool_3")
    return folder


def main(arguments=None):
    parser = command_line.Parser("python -m s2vt.features.shards", __doc__.split("\n")[0])
    parser.add_argument("folder", help="DATA/<set>/descriptors/<weights>/<layer>")
    parser.add_argument("--size", type=float, default=1, metavar="GB", help="of a shard, about (default: 1)")
    parser.add_argument("--unpack", action="store_true", help="give each medium files of its own again")
    options = parser.parse_args(arguments)
    if not options.size > 0:
        parser.error(f"--size {options.size:g}: expected a number above 0")
    progress = command_line.progress("medium")
    if options.unpack:
        print(f"{unpack(options.folder, progress)} media of {options.folder} have files of their own again")
    else:
        number = pack(options.folder, options.size * GIGABYTE, progress)
        print(f"{number} media of {options.folder} packed into {Path(options.folder) / SHARDS}")
    return 0


if __name__ == "__main__":
    command_line.run(main)
