"""Descriptor files: one float16 `.npy` a medium, made once, resumable at any kill.

    DATA/<set>/descriptors/<weights>/<layer>/meta.json      what made them
                                            /failed.tsv     id<TAB>reason of media that could not be decoded
                                            /<id>.npy       pool_3: (m, D); mixed_10 of a video: (m, G*G, D), of a
                                                            picture: (G*G, D)
                                            /<id>.json      geometry; for videos the sampled frames and their times

m frames (1 for a picture), G*G=64 cells row by row from the upper left, D=2048. An `.npy` appears last and whole: its
presence means that the medium is done. pool_3 is the mean of mixed_10's cells as they stand in their file: it is made
along with mixed_10 where the captioner reads it, and without the network where mixed_10 is there.
"""

import collections
import concurrent.futures
import dataclasses
import functools
import itertools
import math
import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from s2vt.config import FeatureConfig
from s2vt.data.files import atomic_path, read_json, write_json
from s2vt.data.geometry import Geometry, resize
from s2vt.data.pictures import MAX_PIXELS, MediaError, read_picture
from s2vt.data.video import read_frames
from s2vt.errors import UserError, listed
from s2vt.features.inception import GRID, INPUT_SIZE, NUM_CHANNELS, FeatureExtractor, weights_digest, weights_tag

NUM_DECODERS = min(8, os.cpu_count() or 1)  # threads; FFmpeg adds its own
FILE_OVERHEAD = 8192  # bytes of a medium's files besides its numbers: header and geometry, rounded up to disk blocks


@dataclasses.dataclass(frozen=True)
class Sampled:
    """The pictures of one medium that the network sees, and where and when they come from.

    Attributes:
        pictures: (m, 299, 299, 3) uint8; m = 1 for a picture.
        geometry: maps input pixels to source pixels.
        indices, times: of the m frames, (m,); times in seconds. Empty for a picture.
        frame_rate: of the source; None for a picture.
    """

    pictures: np.ndarray
    geometry: Geometry
    indices: Sequence[int] = ()
    times: Sequence[float] = ()
    frame_rate: Fraction | None = None

    def to_json(self):
        """All but the pictures."""
        return {
            "geometry": self.geometry.to_json(),
            "indices": [int(i) for i in self.indices],
            "times": [float(t) for t in self.times],
            "frame_rate": str(self.frame_rate) if self.frame_rate is not None else None,
        }


def sample(path, config):
    """Decodes a medium into what the network sees. Each frame is resized as it comes: no source frames are kept.

    Raises:
        MediaError: if it cannot be decoded.
    """

    def geometry_of(width, height):
        return Geometry.of(width, height, config.features.resize, INPUT_SIZE)

    def to_input(picture):
        return resize(picture, geometry_of(picture.shape[1], picture.shape[0]))

    try:
        if config.media == "picture":
            picture = read_picture(path)
            return Sampled(to_input(picture)[None], geometry_of(picture.shape[1], picture.shape[0]))
        clip = read_frames(path, config.features.num_frames, convert=to_input)
    except MediaError:
        raise
    except Exception as error:  # a decoder's surprise about one file is no reason to stop at all the others
        raise MediaError(f"{path}: cannot be decoded: {type(error).__name__}: {error}") from error
    return Sampled(clip.frames, geometry_of(*clip.size), clip.indices, clip.times, clip.frame_rate)


def scan_order(scan):
    """The order in which the encoder reads the cells of a picture, (G*G,), as indices into row-by-row order.

    Example:
        >>> scan_order("snake")[[7, 8, 15]].tolist()
        [7, 15, 8]
    """
    order = np.arange(GRID * GRID).reshape(GRID, GRID)
    if scan == "snake":
        order[1::2] = order[1::2, ::-1]
    return order.reshape(-1)


def v_of(cells, config):
    """The captioner's input v (N, D) of one medium from its cells (m, G*G, D)."""
    if config.features.layer == "pool_3":
        return cells.mean(axis=1, dtype=np.float32)
    if config.media == "picture":
        return cells[0, scan_order(config.features.scan)]
    raise UserError("features.layer=mixed_10 is for pictures; a video's captioner reads pool_3")


def lazy_extractor(config):
    """() -> FeatureExtractor of a config, built at the first call: a run with nothing to do builds no network."""
    return functools.cache(lambda: FeatureExtractor(config.features))


class DescriptorStore:
    """The descriptors of one data set, from one network, one layer."""

    def __init__(self, config, data_dir, layer=None):
        """Args: layer: "pool_3" or "mixed_10"; by default what the captioner reads."""
        self.config = config
        self.layer = layer or config.features.layer
        self.data_dir = Path(data_dir)
        tag = weights_tag(config.features.weights)
        self.folder = self.data_dir / config.dataset / "descriptors" / tag / self.layer
        self.num_pictures = config.features.num_frames if config.media == "video" else 1  # m, of each medium

    def meta(self):
        """What these descriptors are made with; another meta.json means other descriptors."""
        features = self.config.features
        return {
            "weights": weights_digest(features.weights),
            "layer": self.layer,
            "resize": features.resize,
            "input_size": INPUT_SIZE,
            "num_frames": self.num_pictures,
            "precision": features.precision,
        }

    def command(self, split=None):
        """The command that makes these descriptors, of all splits or of one."""
        features = self.config.features
        parts = ["python", "preprocessing.py", "--dataset", self.config.dataset]
        parts += ["--split", split] if split else []
        parts += ["--layer", self.layer, "--weights", features.weights]
        for name in ("resize", "num_frames", "precision"):
            if (value := getattr(features, name)) != getattr(FeatureConfig, name):
                parts += ["--set", f"features.{name}={value}"]
        parts += ["--data_dir", str(self.data_dir)] if self.data_dir != Path("DATA") else []
        return shlex.join(parts)

    def check(self, precision=False):
        """Refuses a folder whose descriptors were made otherwise.

        Args:
            precision: refuse those made with another precision of the CNN too, where meta.json says which. Readers
                take any: it is a matter of rounding, and which one a captioner was trained on stands in its config.
        Raises:
            UserError: names what differs.
        """
        path = self.folder / "meta.json"
        if not path.exists():
            raise UserError(f"no descriptors in {self.folder}; run: {self.command()}")
        found, expected = read_json(path), self.meta()
        if not isinstance(found, dict):
            raise UserError(f"{path} does not say what made the descriptors; run: {self.command()} --overwrite")
        if not precision or "precision" not in found:
            del expected["precision"]
        for key, value in expected.items():
            if found.get(key) != value:
                raise UserError(
                    f"the descriptors in {self.folder} have {key} {found.get(key)}, the config asks for {value}; "
                    f"run: {self.command()} --overwrite"
                )

    def path(self, medium_id):
        """The descriptors' file.

        Raises:
            UserError: if the id is no plain name, or that of meta.json.
        """
        if not medium_id.isprintable() or medium_id != Path(medium_id).name or medium_id in ("", "meta"):
            raise UserError(f"{medium_id!r} cannot name a descriptor file; rename the medium to something like video1")
        return self.folder / f"{medium_id}.npy"

    def __contains__(self, medium_id):
        return self.path(medium_id).exists()

    def load(self, medium):
        """The descriptors of one medium, memory-mapped.

        Raises:
            UserError: if they are missing or not whole.
        """
        path = self.path(medium.id)
        if not path.exists():
            raise UserError(f"no {self.layer} descriptors of {medium.id}; run: {self.command(medium.split)}")
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
            if (array.dtype, array.shape) != (np.float16, self._shape):
                raise ValueError(f"{array.dtype} {array.shape} instead of float16 {self._shape}")
            return array
        except Exception as error:  # on damaged files NumPy raises nearly anything
            raise UserError(f"{path} is damaged ({error}); delete it, then: {self.command()}") from None

    def v(self, medium):
        """The captioner's input, (N, D)."""
        array = self.load(medium)
        return array[scan_order(self.config.features.scan)] if self.layer == "mixed_10" else np.asarray(array)

    def details(self, medium):
        """Geometry of the medium, and its sampled frames' indices and times in seconds."""
        path = self.folder / f"{medium.id}.json"
        values = read_json(path)
        try:
            indices, times = np.asarray(values["indices"], int), np.asarray(values["times"], float)
            if indices.shape != times.shape or indices.shape not in ((0,), (self.num_pictures,)) or (indices < 0).any():
                raise ValueError(f"indices {indices.shape}, times {times.shape}")
            geometry = Geometry.from_json(values["geometry"])
            if geometry.width * geometry.height > MAX_PIXELS:
                raise ValueError("a picture too big to have been read")
            return geometry, indices.tolist(), times.tolist()
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise UserError(f"{path} is damaged ({error}); delete {medium.id}.npy, then: {self.command()}") from None

    def failures(self):
        """{id: reason} of the media that could not be decoded when they were last tried (failed.tsv)."""
        path = self.folder / "failed.tsv"
        lines = path.read_text("utf-8", "replace").splitlines() if path.exists() else []
        failed = dict(line.partition("\t")[::2] for line in lines)
        return {medium_id: reason for medium_id, reason in failed.items() if medium_id not in self}

    def available(self, media):
        """The media that have descriptors, without those that could not be decoded.

        Returns:
            list of Medium, and {id: reason} of those left out.
        Raises:
            UserError: if the descriptors were made otherwise, a medium's were never made or are not whole, or none
                is left.
        """
        self.check()
        failed = self.failures()
        left_out = {medium.id: failed[medium.id] for medium in media if medium.id in failed}
        present = [medium for medium in media if medium.id not in left_out]
        for medium in present:
            self.load(medium)
        if left_out and not present:
            raise UserError(f"none of these {len(media)} media could be decoded; see {self.folder / 'failed.tsv'}")
        return present, left_out

    def extract(self, media, extractor, overwrite=False, progress=lambda media, total: media):
        """Makes the descriptors that are missing, and pool_3's along with mixed_10's if the captioner reads those.

        Threads decode ahead and one writes behind while the network computes full batches, whatever the media's
        lengths. Memory holds a few batches of pictures and cells, however many and however long the media are.

        Args:
            media: list of Medium.
            extractor: () -> FeatureExtractor, called only when there is something to compute (see `lazy_extractor`).
            overwrite: make these media's again; where other settings made the folder's, those go, whosever they are.
            progress: wraps the iterable of media to do, given also its length (tqdm).
        Returns:
            {id: reason} of the media that could not be decoded; they stand in failed.tsv too.
        Raises:
            UserError: before anything is written, if descriptors there were made otherwise or the disk is too small.
        """
        cells, pooled = (self._of_layer(layer) for layer in ("mixed_10", "pool_3"))
        stores = [cells] if self.layer == "mixed_10" else []
        stores += [pooled] if "pool_3" in (self.layer, self.config.features.layer) else []
        stale = dict.fromkeys(path for store in stores for path in store._stale(media, overwrite))
        missing = {  # id -> the stores that lack it
            medium.id: [s for s in stores if medium.id not in s or s.path(medium.id) in stale] for medium in media
        }
        todo = [medium for medium in media if missing[medium.id]]
        _check_room(self.folder, [s for lacking in missing.values() for s in lacking], stale)
        for path in stale:
            path.unlink()
        source = cells._fitting_meta()

        @functools.cache  # the weights' digest takes as long as two pictures
        def meta():
            return source or self.meta()

        def save(medium, details, of_medium):
            for store in missing[medium.id]:
                store._write(medium, details, of_medium, meta())

        def read(medium):
            """What the network is to see of a medium; None where mixed_10's file was enough."""
            try:
                array = cells.load(medium) if source else None
            except UserError:  # missing or damaged
                array = None
            if array is None:
                return sample(medium.path, self.config)
            save(medium, read_json(cells.folder / f"{medium.id}.json"), array)

        batch_size = self.config.features.batch_size
        ahead = max(NUM_DECODERS, 2 * batch_size // self.num_pictures)  # media
        failed, writes, of_medium = {}, collections.deque(), []
        decoders, writer = (concurrent.futures.ThreadPoolExecutor(n) for n in (NUM_DECODERS, 1))
        pictures = _pictures(progress(_submit_ahead(decoders, read, todo, ahead), len(todo)), failed)
        try:
            while batch := list(itertools.islice(pictures, batch_size)):
                found = extractor().cells(np.stack([sampled.pictures[i] for _, sampled, i in batch]))
                for (medium, sampled, i), of_picture in zip(batch, found, strict=True):
                    of_medium.append(of_picture)
                    if i == len(sampled.pictures) - 1:
                        writes.append(writer.submit(save, medium, sampled.to_json(), of_medium))
                        of_medium = []
                while len(writes) > ahead:
                    writes.popleft().result()
            for write in writes:
                write.result()
        finally:
            decoders.shutdown(cancel_futures=True)
            writer.shutdown()
            for store in stores:
                store._record(failed)
        return failed

    def _of_layer(self, layer):
        return self if layer == self.layer else DescriptorStore(self.config, self.data_dir, layer)

    def _fitting_meta(self):
        """What meta.json says where these descriptors are the config's, else None."""
        try:
            self.check(precision=True)
        except UserError:
            return None
        return read_json(self.folder / "meta.json")

    def _stale(self, media, overwrite):
        """The files that are to go: with `overwrite` these media's, or all where they were made otherwise."""
        if not overwrite:
            if (self.folder / "meta.json").exists():
                self.check(precision=True)
            return []
        if self._fitting_meta():
            return [self.path(medium.id) for medium in media if medium.id in self]
        return [*self.folder.glob("*.npy"), *self.folder.glob("meta.json")]  # in this order, in case of a kill

    @property
    def _shape(self):
        """Of one medium's descriptors."""
        m = (self.num_pictures,) if self.config.media == "video" or self.layer == "pool_3" else ()
        return (*m, *((GRID * GRID,) if self.layer == "mixed_10" else ()), NUM_CHANNELS)

    def _num_bytes(self):
        """What one medium takes on disk."""
        return math.prod(self._shape) * np.dtype(np.float16).itemsize + FILE_OVERHEAD

    def _write(self, medium, details, cells, meta):
        """Writes one medium's files from its cells, m of (G*G, D) or, of a picture, (G*G, D)."""
        cells = np.asarray(cells, np.float16).reshape(self.num_pictures, GRID * GRID, -1)
        if self.layer == "pool_3":
            array = cells.mean(axis=1, dtype=np.float32).astype(np.float16)
        else:
            array = cells if self.config.media == "video" else cells[0]
        if not (self.folder / "meta.json").exists():
            write_json(self.folder / "meta.json", {**meta, "layer": self.layer})
        write_json(self.folder / f"{medium.id}.json", details)
        with atomic_path(self.path(medium.id)) as partial, open(partial, "wb") as file:
            np.save(file, array, allow_pickle=False)

    def _record(self, failed):
        """Brings failed.tsv up to date: what has descriptors by now leaves it."""
        path = self.folder / "failed.tsv"
        lines = [f"{key}\t{reason}\n" for key, reason in {**self.failures(), **failed}.items() if key not in self]
        if lines:
            with atomic_path(path) as partial:
                partial.write_text("".join(lines), encoding="utf-8", errors="backslashreplace")
        else:
            path.unlink(missing_ok=True)


def with_descriptors(store, media):
    """The media that have descriptors; names those that could not be decoded on stderr. Errors as `available`."""
    present, left_out = store.available(media)
    if left_out:
        where = store.folder / "failed.tsv"
        print(f"left out, could not be decoded (see {where}): {listed(left_out)}", file=sys.stderr)
    return present


def _check_room(folder, stores, stale):
    """Refuses to start what the disk cannot hold. stores: one for each medium to be written. stale: files to go."""
    needed = sum(store._num_bytes() for store in stores) - sum(path.stat().st_size for path in stale)
    free = shutil.disk_usage(next(place for place in (folder, *folder.parents) if place.exists())).free
    if needed > free:
        raise UserError(
            f"{folder} would take {needed / 1e6:,.1f} MB, {free / 1e6:,.1f} MB are free; make room, "
            "choose another --data_dir, or do fewer media (--split, --limit)"
        )


def _submit_ahead(pool, function, items, ahead):
    """Yields (item, future of function(item)) in order, with at most `ahead` more under way or waiting."""
    queue = collections.deque()
    for item in items:
        queue.append((item, pool.submit(function, item)))
        if len(queue) > ahead:
            yield queue.popleft()
    while queue:
        yield queue.popleft()


def _pictures(decoded, failed):
    """Yields (medium, its Sampled, i) for each picture i of media that are decoded; notes the others in `failed`."""
    for medium, future in decoded:
        try:
            sampled = future.result()
        except MediaError as error:
            failed[medium.id] = " ".join(str(error).split())
            continue
        for i in range(len(sampled.pictures) if sampled else 0):
            yield medium, sampled, i
