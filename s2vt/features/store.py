"""Descriptor files: one float16 `.npy` a medium, made once, resumable at any kill.

    DATA/<set>/descriptors/<weights>/<layer>/meta.json      what made them
                                            /<id>.npy       pool_3: (m, D); mixed_10 of a video: (m, G*G, D), of a
                                                            picture: (G*G, D)
                                            /<id>.json      geometry; for videos the sampled frames and their times

m frames, G*G=64 cells row by row from the upper left, D=2048. An `.npy` appears last and whole: its presence means
that the medium is done.
"""

import collections
import concurrent.futures
import dataclasses
import functools
from fractions import Fraction
from pathlib import Path

import numpy as np

from s2vt.data.files import atomic_path, read_json, write_json
from s2vt.data.media import Geometry, MediaError, read_frames, read_picture, resize
from s2vt.errors import UserError
from s2vt.features.inception import GRID, INPUT_SIZE, FeatureExtractor, weights_digest, weights_tag


@dataclasses.dataclass(frozen=True)
class Sampled:
    """The pictures of one medium that the network sees, and where and when they come from.

    Attributes:
        pictures: (m, 299, 299, 3) uint8; m = 1 for a picture.
        geometry: maps input pixels to source pixels.
        indices, times: of the m frames; empty for a picture. Seconds.
        frame_rate: of the source; None for a picture.
    """

    pictures: np.ndarray
    geometry: Geometry
    indices: tuple[int, ...] = ()
    times: tuple[float, ...] = ()
    frame_rate: Fraction | None = None

    def to_json(self):
        """All but the pictures."""
        return {
            "geometry": self.geometry.to_json(),
            "indices": list(self.indices),
            "times": list(self.times),
            "frame_rate": str(self.frame_rate) if self.frame_rate is not None else None,
        }


def sample(path, config):
    """Decodes a medium into what the network sees.

    Raises:
        MediaError: if it cannot be decoded.
    """
    features = config.features
    if config.media == "picture":
        source = read_picture(path)[None]
        details = {}
    else:
        clip = read_frames(path, features.num_frames)
        source = clip.frames
        details = {
            "indices": tuple(int(i) for i in clip.indices),
            "times": tuple(float(t) for t in clip.times),
            "frame_rate": clip.frame_rate,
        }
    geometry = Geometry.of(source.shape[2], source.shape[1], features.resize, INPUT_SIZE)
    return Sampled(np.stack([resize(picture, geometry) for picture in source]), geometry, **details)


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

    def meta(self):
        """What these descriptors are made with; another meta.json means other descriptors."""
        features = self.config.features
        return {
            "weights": weights_digest(features.weights),
            "layer": self.layer,
            "resize": features.resize,
            "input_size": INPUT_SIZE,
            "num_frames": features.num_frames if self.config.media == "video" else 1,
        }

    def command(self, split=None):
        """The command that makes what is missing."""
        parts = ["python preprocessing.py --dataset", self.config.dataset]
        parts += ["--split", split] if split else []
        parts += ["--layer", self.layer] if self.layer != self.config.features.layer else []
        parts += ["--data_dir", str(self.data_dir)] if self.data_dir != Path("DATA") else []
        return " ".join(parts)

    def check(self):
        """Refuses a folder whose descriptors were made otherwise.

        Raises:
            UserError: names what differs.
        """
        path = self.folder / "meta.json"
        if not path.exists():
            raise UserError(f"no descriptors in {self.folder}; run: {self.command()}")
        found, expected = read_json(path), self.meta()
        for key, value in expected.items():
            if found.get(key) != value:
                raise UserError(
                    f"the descriptors in {self.folder} have {key} {found.get(key)}, the config asks for {value}; "
                    f"run: {self.command()} --overwrite"
                )

    def path(self, medium_id):
        """The descriptors' file."""
        return self.folder / f"{medium_id}.npy"

    def __contains__(self, medium_id):
        return self.path(medium_id).exists()

    def load(self, medium):
        """The descriptors of one medium, memory-mapped.

        Raises:
            UserError: if they are missing or not whole.
        """
        try:
            return np.load(self.path(medium.id), mmap_mode="r", allow_pickle=False)
        except FileNotFoundError:
            raise UserError(f"no {self.layer} descriptors of {medium.id}; run: {self.command(medium.split)}") from None
        except (ValueError, EOFError, OSError) as error:
            raise UserError(f"{self.path(medium.id)} is damaged ({error}); delete it, then: {self.command()}") from None

    def v(self, medium):
        """The captioner's input, (N, D)."""
        array = self.load(medium)
        return array[scan_order(self.config.features.scan)] if self.layer == "mixed_10" else np.asarray(array)

    def details(self, medium):
        """Geometry of the medium, and its sampled frames' indices and times in seconds."""
        values = read_json(self.folder / f"{medium.id}.json")
        return Geometry.from_json(values["geometry"]), values["indices"], values["times"]

    def extract(self, media, extractor, overwrite=False, progress=lambda media, total: media):
        """Makes the descriptors that are missing. Decoding runs ahead in threads while the network computes.

        Args:
            media: list of Medium.
            extractor: () -> FeatureExtractor, called only when there is something to do (see `lazy_extractor`).
            overwrite: make all of them again.
            progress: wraps the iterable of media to do, given also its length (tqdm).
        Returns:
            {id: reason} of the media that could not be decoded.
        """
        meta_path = self.folder / "meta.json"
        if meta_path.exists() and not overwrite:
            self.check()
        elif overwrite:
            for path in self.folder.glob("*.npy"):
                path.unlink()
        write_json(meta_path, self.meta())
        todo = [medium for medium in media if medium.id not in self]
        failed, batch = {}, []
        for medium, decoded in progress(self._decoded(todo), len(todo)):
            try:
                batch.append((medium, decoded.result()))
            except MediaError as error:
                failed[medium.id] = str(error)
                continue
            if sum(len(sampled.pictures) for _, sampled in batch) >= self.config.features.batch_size:
                self._write(batch, extractor())
                batch = []
        if batch:
            self._write(batch, extractor())
        return failed

    def _decoded(self, media):
        """Yields (medium, future of its Sampled), decoding a bounded number of media ahead."""
        pictures_each = self.meta()["num_frames"]
        ahead = max(2, 2 * self.config.features.batch_size // pictures_each)
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            queue = collections.deque()
            for medium in media:
                queue.append((medium, pool.submit(sample, medium.path, self.config)))
                if len(queue) > ahead:
                    yield queue.popleft()
            while queue:
                yield queue.popleft()

    def _write(self, batch, extractor):
        """Runs the network once over the pictures of several media and writes each medium's file."""
        cells = extractor.cells(np.concatenate([sampled.pictures for _, sampled in batch]))
        for (medium, sampled), part in zip(
            batch, np.split(cells, np.cumsum([len(s.pictures) for _, s in batch])[:-1]), strict=True
        ):
            array = part.mean(axis=1) if self.layer == "pool_3" else part
            array = array[0] if self.config.media == "picture" else array
            write_json(self.folder / f"{medium.id}.json", sampled.to_json())
            with atomic_path(self.path(medium.id)) as partial, open(partial, "wb") as file:
                np.save(file, array.astype(np.float16), allow_pickle=False)
