"""Descriptors: what the captioner reads of a medium (section 4.2), and the files that keep it.

One `.npy` a medium, made once, float16 or, of cells with `features.storage=uint8`, 8-bit (`eight_bit`):

    DATA/<set>/descriptors/<weights>/<layer>/meta.json      how they were made
                                            /failed.tsv     id<TAB>reason of media without descriptors
                                            /<id>.npy       pool_3: (m, D); mixed_10: (m, G*G, D) of a video,
                                                            (G*G, D) of a picture
                                            /<id>.json      geometry; of a video the sampled frames and their times

An `.npy` is renamed into place when all of a medium's files are written: it is there exactly if the medium is done.
`extraction` writes these files; `shards` packs those of many media into a few (`packed`).

Letters: m frames (1 for a picture), G*G cells row by row from the upper left and D channels of the network, N
descriptors.
"""

import dataclasses
import math
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from s2vt.config import SEEN, FeatureConfig
from s2vt.data.files import atomic_path, read_json, write_json
from s2vt.data.geometry import Geometry
from s2vt.data.pictures import MAX_PIXELS
from s2vt.errors import UserError, listed
from s2vt.features import eight_bit, networks, packed

# --- what the captioner reads ---------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Descriptors:
    """Descriptors of one medium.

    Attributes:
        cells: of each frame, (m, G*G, D), row by row from the upper left; m = 1 for a picture.
        v: what the captioner reads, (N, D): the mean of each frame's cells, or the cells of a picture (of a video that
            is given to a picture's captioner, each cell's mean over the frames).
        order: which cell each v_i is, (N,); None where each v_i is a frame.
        pictures: () -> what the network read, (m, S, S, 3) uint8; None: not to be had.
    """

    cells: np.ndarray
    v: np.ndarray
    order: np.ndarray | None
    pictures: Callable | None = None


def descriptors_of(cells, config):
    """Descriptors of a medium from its cells, as a captioner with this config reads them (section 4.2).

    A video's frame is the mean of its cells, v_i = pool_3 of frame i. A picture's v_i are its cells, in the order of
    `scan_order`. A picture that is given to a video's captioner is a clip of m equal frames; a video that is given to
    a picture's captioner is the picture of its mean cells.

    Args:
        cells: (m, G*G, D), row by row from the upper left.
    Raises:
        UserError: if a captioner of videos would read cells.
    """
    if config.features.layer == "pool_3":
        v = cells.mean(axis=1, dtype=np.float32)
        still = config.media == "video" and len(v) == 1
        return Descriptors(cells, np.repeat(v, config.features.num_frames, axis=0) if still else v, None)
    if config.media == "video":
        raise UserError("features.layer=mixed_10 is for pictures; a video's captioner reads pool_3")
    order = scan_order(config.features.scan, math.isqrt(cells.shape[1]))
    return Descriptors(cells, cells.mean(axis=0, dtype=np.float32)[order].astype(cells.dtype), order)


def scan_order(scan, side):
    """The order in which the encoder reads the cells of a picture, (G*G,), as indices into row-by-row order.

    Args:
        scan: "raster", row by row; "snake", every second row from right to left.
        side: G.

    Example:
        >>> scan_order("snake", 8)[[7, 8, 15]].tolist()
        [7, 15, 8]
    """
    order = np.arange(side * side).reshape(side, side)
    if scan == "snake":
        order[1::2] = order[1::2, ::-1]
    return order.reshape(-1)


# --- descriptor files -----------------------------------------------------------------------------------------------


def _is_unusual(features, name):
    """Whether a field of a FeatureConfig has another value than the default."""
    return getattr(features, name) != getattr(FeatureConfig, name)


def seen_otherwise(features):
    """The values of a FeatureConfig's `input_size` and `view` that are not the default, for names of files and folders.

    Example:
        >>> seen_otherwise(FeatureConfig(input_size=448, view="mirrored")), seen_otherwise(FeatureConfig())
        (['448', 'mirrored'], [])
    """
    return [str(getattr(features, name)) for name in SEEN if _is_unusual(features, name)]


class DescriptorStore:
    """Descriptor files of one data set, from one network, of one layer.

    Attributes:
        config: the data set's Config.   network: the Network that its features come from.
        layer: "pool_3" or "mixed_10".
        folder: of the files.
        num_pictures: m of every medium.
        shape: of one medium's descriptors.
        dtype: of its `.npy` as this config writes it: of an array of `shape`, or of an `eight_bit` record.
    """

    def __init__(self, config, data_dir, layer=None):
        """Args: layer: "pool_3" or "mixed_10"; None: the one that the captioner reads."""
        self.config = config
        self.layer = layer or config.features.layer
        self.data_dir, self.network = Path(data_dir), networks.network_for(config.features)
        self.folder = self.data_dir / config.dataset / "descriptors" / self._tag() / self.layer
        self.num_pictures = config.features.num_frames if config.media == "video" else 1
        frames = (self.num_pictures,) if config.media == "video" or self.layer == "pool_3" else ()
        cells = (self.network.grid.num_cells,) if self.layer == "mixed_10" else ()
        self.shape = (*frames, *cells, self.network.num_channels)
        self._dtypes = {"float16": np.dtype((np.float16, self.shape))}  # of files that can be read
        if self.layer == "mixed_10":
            self._dtypes["uint8"] = eight_bit.record_of(self.shape)
        self.dtype = self._dtypes.get(config.features.storage, self._dtypes["float16"])

    def _tag(self):
        """The name of the folder of all layers: the network's, and how it sees pictures if not as it usually does."""
        return "-".join([self.network.tag, *seen_otherwise(self.config.features)])

    def of_layer(self, layer):
        """The store of another layer of the same network."""
        return self if layer == self.layer else DescriptorStore(self.config, self.data_dir, layer)

    def meta(self):
        """How these descriptors are made; another meta.json means other descriptors."""
        features = self.config.features
        view = {"view": features.view} if _is_unusual(features, "view") else {}  # older descriptors name none
        return {
            "weights": networks.digest(features.weights),
            "layer": self.layer,
            "resize": features.resize,
            "input_size": self.network.grid.input_size,
            **view,
            "num_frames": self.num_pictures,
            "precision": features.precision,
            "storage": features.storage,
        }

    def command(self, split=None):
        """The command that makes these descriptors, of all splits or of one."""
        features = self.config.features
        parts = ["python", "preprocessing.py", "--dataset", self.config.dataset]
        parts += ["--split", split] if split else []
        parts += ["--layer", self.layer, "--weights", features.weights]
        for name in ("resize", *SEEN, "num_frames", "precision", "storage"):
            if _is_unusual(features, name):
                parts += ["--set", f"features.{name}={getattr(features, name)}"]
        parts += ["--data_dir", str(self.data_dir)] if self.data_dir != Path("DATA") else []
        return shlex.join(parts)

    def check(self, rounding=False):
        """Refuses a folder whose descriptors were made with other settings than the config's.

        Args:
            rounding: refuse those made with another precision of the CNN, or stored otherwise, too, where meta.json
                names one. Readers take any, because these differ by rounding only.
        Raises:
            UserError: names the setting and both values.
        """
        path = self.folder / "meta.json"
        if not path.exists():
            raise UserError(f"no descriptors in {self.folder}; run: {self.command()}")
        found, expected = read_json(path), self.meta()
        if not isinstance(found, dict):
            raise UserError(f"{path} does not say what made the descriptors; run: {self.command()} --overwrite")
        found = {"storage": "float16", **found}  # older folders name none
        for key in ("precision", "storage"):
            if not rounding or key not in found:
                del expected[key]
        for key, value in expected.items():
            if found.get(key) != value:
                raise UserError(
                    f"the descriptors in {self.folder} have {key} {found.get(key)}, the config asks for {value}; "
                    f"run: {self.command()} --overwrite"
                )

    def fitting_meta(self):
        """The content of meta.json where these descriptors were made with the config's settings, else None.

        Raises:
            UserError: if the weights are not there, so that nothing can be said.
        """
        networks.digest(self.config.features.weights)
        try:
            self.check(rounding=True)
        except UserError:
            return None
        return read_json(self.folder / "meta.json")

    def path(self, medium_id):
        """The descriptors' file, where they have one of their own.

        Raises:
            UserError: if the id is no plain file name, or that of meta.json.
        """
        if not medium_id.isprintable() or medium_id != Path(medium_id).name or medium_id in ("", "meta"):
            raise UserError(f"{medium_id!r} cannot name a descriptor file; rename the medium to something like video1")
        return self.folder / f"{medium_id}.npy"

    def _place(self, medium_id, kind="npy"):
        """The `packed.Place` of one of a medium's files, or None."""
        return packed.place_of(self.folder, self.path(medium_id).with_suffix(f".{kind}").name)

    def __contains__(self, medium_id):
        return self._place(medium_id) is not None

    def opened(self, medium):
        """The memory-mapped content of one medium's file: its descriptors, float16, or an `eight_bit` record of them.

        Raises:
            UserError: if it is missing or damaged.
        """
        place = self._place(medium.id)
        if place is None:
            raise UserError(f"no {self.layer} descriptors of {medium.id}; run: {self.command(medium.split)}")
        try:
            array = packed.mapped(place)
            if np.dtype((array.dtype, array.shape)) not in self._dtypes.values():
                raise ValueError(f"{array.dtype} {array.shape} instead of float16 {self.shape}")
            return array
        except Exception as error:  # on damaged files NumPy raises nearly anything
            raise self._damaged(medium, place, error) from None

    def _damaged(self, medium, place, error):
        """A UserError about one of a medium's files; it is made again when its `.npy`, or all shards, are deleted."""
        delete = self.path(medium.id) if place.path.parent == self.folder else place.path.parent
        return UserError(f"{place.path} is damaged ({error}); delete {delete}, then: {self.command()}")

    def load(self, medium, frame=...):
        """The descriptors of one medium, float16: memory-mapped, or made from 8-bit cells.

        Args:
            frame: index of the only frame to be read; by default all are.
        Raises:
            UserError: if they are missing or damaged.
        """
        array = self.opened(medium)
        return array[frame] if array.dtype == np.float16 else eight_bit.unpack(array, frame)

    def v(self, medium):
        """What the captioner reads of a medium, (N, D).

        Raises:
            UserError: as `load`.
        """
        return np.asarray(self.load(medium)) if self.layer == "pool_3" else self.descriptors(medium).v

    def descriptors(self, medium):
        """Descriptors of a medium, of a store of mixed_10.

        Raises:
            UserError: as `load`.   ValueError: if this store is of pool_3, which has no cells.
        """
        if self.layer != "mixed_10":
            raise ValueError(f"cells are in a store of mixed_10, not of {self.layer}")
        return descriptors_of(self.load(medium).reshape(self.num_pictures, *self.shape[-2:]), self.config)

    def raw_details(self, medium):
        """The content of the medium's JSON, as `details_of` made it.

        Raises:
            UserError: if it is missing or not JSON.
        """
        return read_json(*self._details_place(medium))

    def _details_place(self, medium):
        return self._place(medium.id, "json") or packed.Place(self.path(medium.id).with_suffix(".json"))

    def details(self, medium):
        """Geometry of the medium, and its sampled frames' indices and times in seconds.

        Raises:
            UserError: if their file is missing or damaged.
        """
        values = self.raw_details(medium)
        try:
            indices, times = np.asarray(values["indices"], int), np.asarray(values["times"], float)
            if indices.shape != times.shape or indices.shape not in ((0,), (self.num_pictures,)) or (indices < 0).any():
                raise ValueError(f"indices {indices.shape}, times {times.shape}")
            geometry = Geometry.from_json(values["geometry"])
            if geometry.width * geometry.height > MAX_PIXELS:
                raise ValueError("a picture too big to have been read")
            if geometry.grid != self.network.grid:
                raise ValueError(f"of another network, {geometry.grid}")
            return geometry, indices.tolist(), times.tolist()
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise self._damaged(medium, self._details_place(medium), error) from None

    def write(self, medium, details, cells, meta):
        """Writes one medium's files.

        Args:
            details: content of <id>.json, as `details_of` makes it.
            cells: m of (G*G, D), or the cells of a picture, (G*G, D).
            meta: content of meta.json, but for the layer.
        Raises:
            UserError: if a file cannot be written.
        """
        cells = np.asarray(cells, np.float16).reshape(self.num_pictures, self.network.grid.num_cells, -1)
        content = cells
        if self.config.features.storage == "uint8":
            content = eight_bit.pack(cells.reshape(self.of_layer("mixed_10").shape))
            cells = eight_bit.unpack(content).reshape(cells.shape)  # as a file of them gives them
        if self.layer == "pool_3":
            content = cells.mean(axis=1, dtype=np.float32).astype(np.float16)
        if not (self.folder / "meta.json").exists():
            write_json(self.folder / "meta.json", {**meta, "layer": self.layer})
        write_json(self.folder / f"{medium.id}.json", details)
        with atomic_path(self.path(medium.id)) as partial, open(partial, "wb") as file:
            np.save(file, content.reshape(self.dtype.shape), allow_pickle=False)

    def failures(self):
        """{id: reason} of the media that were missing or not decodable when they were last tried (failed.tsv)."""
        path = self.folder / "failed.tsv"
        lines = path.read_text("utf-8", "replace").splitlines() if path.exists() else []
        failed = dict(line.partition("\t")[::2] for line in lines)
        return {medium_id: reason for medium_id, reason in failed.items() if medium_id not in self}

    def record_failures(self, failed):
        """Adds {id: reason} to failed.tsv, and takes media out that have descriptors by now."""
        path = self.folder / "failed.tsv"
        lines = [f"{key}\t{reason}\n" for key, reason in {**self.failures(), **failed}.items() if key not in self]
        if lines:
            with atomic_path(path) as partial:
                partial.write_text("".join(lines), encoding="utf-8", errors="backslashreplace")
        else:
            path.unlink(missing_ok=True)

    def available(self, media):
        """The media that have descriptors, without those listed in failed.tsv.

        Returns:
            list of Medium, and {id: reason} of those left out.
        Raises:
            UserError: if the descriptors were made with other settings, a medium's are missing or damaged, or no
                medium is left.
        """
        self.check()
        failed = self.failures()
        left_out = {medium.id: failed[medium.id] for medium in media if medium.id in failed}
        present = [medium for medium in media if medium.id not in left_out]
        for medium in present:
            self.opened(medium)
        if left_out and not present:
            where = self.folder / "failed.tsv"
            raise UserError(f"all of these {len(media)} media are missing or cannot be decoded; see {where}")
        return present, left_out


def details_of(sampled, resize, grid):
    """Content of a medium's <id>.json, which `DescriptorStore.details` reads: all of a SampledMedium but its frames."""
    return {
        "geometry": sampled.geometry(resize, grid).to_json(),
        "indices": sampled.indices.tolist(),
        "times": sampled.times.tolist(),
        "frame_rate": str(sampled.frame_rate) if sampled.frame_rate is not None else None,
    }


def with_descriptors(store, media):
    """The media that have descriptors; ids of those listed in failed.tsv go to stderr. Errors as `available`."""
    present, left_out = store.available(media)
    if left_out:
        where = store.folder / "failed.tsv"
        print(f"left out, missing or not decodable (see {where}): {listed(left_out)}", file=sys.stderr)
    return present
