"""Extraction: media -> descriptor files, resumable after a kill at any moment.

Decoding, the network and writing overlap: threads decode the next media while the network computes a full batch, and
another thread writes the media before. Frames that a short clip repeats are computed once.

pool_3 is the mean of mixed_10's cells as they stand in their file: it is made along with mixed_10 where the captioner
reads it, and without the network where mixed_10's files are there.

Letters: B pictures; m frames of a medium (1 for a picture); S input side, G*G cells and D channels of the network.
"""

import collections
import concurrent.futures
import contextlib
import functools
import math
import os
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s2vt.config import Config
from s2vt.data import datasets
from s2vt.data.files import lock
from s2vt.data.geometry import Geometry, resize
from s2vt.data.pictures import MediaError
from s2vt.data.sampling import sample_medium
from s2vt.errors import UserError
from s2vt.features import networks, packed
from s2vt.features.descriptors import DescriptorStore, details_of
from s2vt.workers import here

NUM_DECODERS = min(8, os.cpu_count() or 1)  # threads; FFmpeg adds its own
SHARE = 8  # batches of pictures that a worker of several takes at a time
FILE_OVERHEAD = 8192  # bytes of a medium's files besides its numbers: header and geometry, rounded up to disk blocks


@dataclass(frozen=True)
class ExtractionRequest:
    """Which descriptors to make.

    Attributes:
        config: the Config of the data set.
        data_dir: the folder of the data sets.
        layer: "pool_3" or "mixed_10"; None: the one that the captioner reads.
        split: train, val or test; None: all.
        limit: the most media; None: all of the split.
        overwrite: make descriptors that exist again.
    """

    config: Config
    data_dir: str | Path
    layer: str | None = None
    split: str | None = None
    limit: int | None = None
    overwrite: bool = False


@dataclass(frozen=True)
class ExtractionResult:
    """The store, the number of media asked for, and {id: reason} of those missing or not decodable."""

    store: DescriptorStore
    num_media: int
    failed: dict[str, str]


def extract_data_set(
    request: ExtractionRequest, progress: Callable = lambda media, total: media, workers: Callable = here
) -> ExtractionResult:
    """Makes the descriptors of a data set that are missing, while no other process makes any of this network.

    Args:
        progress, workers: as for `extract`.
    Raises:
        UserError: as `extract`; if the data set or a folder of its media is missing, or another process makes
            descriptors of this network.
    """
    media = datasets.select(datasets.read_media(request.config, request.data_dir), request.split, request.limit)
    store = DescriptorStore(request.config, request.data_dir, request.layer)
    datasets.require_folders([m for m in media if request.overwrite or m.id not in store], request.config)
    networks.weights_file(request.config.features.weights)  # before a folder is made: there may be no such file
    layers = [store.of_layer(layer).folder for layer in ("pool_3", "mixed_10")]
    with lock(store.folder.parent, "choose another --data_dir", writes=layers):
        failed = extract(store, media, overwrite=request.overwrite, progress=progress, workers=workers)
    return ExtractionResult(store, len(media), failed)


def extract(store, media, extractor=None, overwrite=False, progress=lambda media, total: media, workers=here):
    """Makes the descriptors that are missing, and pool_3's along with mixed_10's if the captioner reads those.

    Memory holds a few batches of pictures and cells, however many and however long the media are.

    Args:
        store: the DescriptorStore to fill.
        media: list of Medium.
        extractor: () -> FeatureExtractor, called once in a worker, when there is something to compute; None: that of
            the config.
        overwrite: make these media's descriptors again. Where the folder's were made with other settings, all of them
            are deleted, also those of other media.
        progress: wraps an iterable of the media that are done, given also their number (tqdm).
        workers: who does the work, `here` or a `Cluster` (`s2vt.workers`).
    Returns:
        {id: reason} of the media that are missing or cannot be decoded; also added to failed.tsv.
    Raises:
        UserError: before anything is written or deleted, if descriptors there were made with other settings, the disk
            is too small, or the network's weights are missing or cannot be read; later if a file cannot be written.
    """
    cells, pooled = store.of_layer("mixed_10"), store.of_layer("pool_3")
    stores = [cells] if store.layer == "mixed_10" else []
    stores += [pooled] if "pool_3" in (store.layer, store.config.features.layer) else []
    stale = dict.fromkeys(path for each in stores for path in _stale_files(each, media, overwrite))
    missing = {
        medium.id: [each for each in stores if medium.id not in each or each.path(medium.id) in stale]
        for medium in media
    }
    _check_room(store.folder, [each for lacking in missing.values() for each in lacking], stale)
    todo = [medium for medium in media if missing[medium.id]]
    work = _Extraction(stores, cells, extractor or functools.partial(networks.FeatureExtractor, store.config.features))
    if stale and not _all_averaged(cells, todo, stale):
        work.extractor()  # before anything is deleted: its weights may be missing or damaged
    for path in stale:
        path.unlink()
    failed = {}

    def done():
        for medium, reason in workers(work, todo, _share(store)):
            if reason is not None:
                failed[medium.id] = reason
            yield medium

    try:
        with contextlib.closing(done()) as media_done:
            collections.deque(progress(media_done, len(todo)), maxlen=0)
    finally:
        for each in stores:
            each.record_failures(failed)
    return failed


def _share(store):
    """How many media a worker of several takes at a time: whole batches, as one worker alone would make them."""
    size = store.config.features.batch_size
    whole = size // math.gcd(size, store.num_pictures)  # media
    return whole * math.ceil(SHARE * size / (whole * store.num_pictures))


def sample_inputs(path, config):
    """A medium as the network sees it: SampledMedium whose frames are (m, S, S, 3) uint8.

    Each frame is resized as it is decoded, so that no source frames are kept.

    Raises:
        MediaError: if it cannot be decoded.
    """

    grid = networks.network_for(config.features).grid

    def to_input(frame):
        geometry = Geometry.of(frame.shape[1], frame.shape[0], config.features.resize, grid)
        return resize(frame, geometry)

    return sample_medium(path, config.media, config.features.num_frames, convert=to_input)


# --- before anything is written -------------------------------------------------------------------------------------


def _stale_files(store, media, overwrite):
    """The files to delete: with `overwrite` these media's, or all of them if they were made with other settings.

    Raises:
        UserError: without `overwrite`, if they were made with other settings; with it, if they are packed.
    """
    if overwrite and packed.index_of(store.folder) is not None:
        unpack = shlex.join(["python", "-m", "s2vt.features.shards", str(store.folder), "--unpack"])
        raise UserError(f"the descriptors in {store.folder} are packed and cannot be made again; first run: {unpack}")
    if not overwrite:
        if (store.folder / "meta.json").exists():
            store.check(rounding=True)
        return []
    if store.fitting_meta():
        return [store.path(medium.id) for medium in media if medium.id in store]
    return [*store.folder.glob("*.npy"), *store.folder.glob("meta.json")]  # in this order, in case of a kill


def _all_averaged(cells, media, stale):
    """Whether whole files of mixed_10 that stay are enough for pool_3 of all media, so that no network is needed."""
    if not cells.fitting_meta() or any(cells.path(medium.id) in stale for medium in media):
        return False
    try:
        return all(cells.opened(medium) is not None for medium in media)
    except UserError:  # missing or damaged
        return False


def _check_room(folder, stores, stale):
    """Refuses to start what the disk cannot hold.

    Args:
        stores: one for each file to be written.   stale: files to be deleted first.
    """
    sizes = [store.dtype.itemsize + FILE_OVERHEAD for store in stores]
    needed = sum(sizes) - sum(path.stat().st_size for path in stale)
    free = shutil.disk_usage(next(place for place in (folder, *folder.parents) if place.exists())).free
    if needed > free:
        raise UserError(
            f"{folder} would take {needed / 1e6:,.1f} MB, {free / 1e6:,.1f} MB are free; make room, "
            "choose another --data_dir, or do fewer media (--split, --limit)"
        )


# --- decode ahead, compute, write behind ----------------------------------------------------------------------------


class _Extraction:
    """The work on media that lack descriptors (`s2vt.workers`): makes those that are not there when it comes to them.

    Args:
        stores: a DescriptorStore of each layer to make.   cells: that of mixed_10.
        extractor: () -> FeatureExtractor.
    """

    def __init__(self, stores, cells, extractor):
        self.arguments = stores, cells, extractor
        self.stores, self.cells, self.config = stores, cells, cells.config
        self.extractor = functools.cache(extractor)
        self.batch_size = self.config.features.batch_size
        self.ahead = max(NUM_DECODERS, 2 * self.batch_size // cells.num_pictures)  # media

    def __reduce__(self):
        return type(self), self.arguments

    @functools.cached_property
    def cells_meta(self):
        """meta.json of mixed_10; None: its files, if any, are not to be averaged."""
        return self.cells.fitting_meta()

    @functools.cached_property
    def meta(self):
        return self.cells_meta or self.cells.meta()  # a digest takes as long as two pictures

    def __call__(self, media):
        """Does the work; yields each medium, when its files are written, with None, or with why it failed."""
        self.of_medium, self.writes = [], collections.deque()  # cells of the medium under way; writing under way
        _ = self.cells_meta  # before threads ask for it
        decoders, self.writer = (concurrent.futures.ThreadPoolExecutor(n) for n in (NUM_DECODERS, 1))
        batch = []
        try:
            for medium, sampled, i in self._pictures(_submit_ahead(decoders, self._sample, media, self.ahead)):
                if i is None:
                    yield medium, sampled
                    continue
                batch.append((medium, sampled, i))
                if len(batch) == self.batch_size:
                    self._compute(batch)
                    batch = []
                    yield from self._written(self.ahead)
            if batch:
                self._compute(batch)
            yield from self._written(0)
        finally:
            decoders.shutdown(cancel_futures=True)
            self.writer.shutdown()

    def _lacking(self, medium):
        """The stores that lack a medium."""
        return [store for store in self.stores if medium.id not in store]

    def _sample(self, medium):
        """What the network is to see of a medium; None if nothing: all is there, or mixed_10's file was averaged."""
        if not self._lacking(medium):  # by a worker that died
            return None
        array = None
        if self.cells_meta:
            with contextlib.suppress(UserError):  # missing or damaged
                array = self.cells.load(medium)
        if array is None:
            return sample_inputs(medium.path, self.config)
        self._save(medium, self.cells.raw_details(medium), array)

    def _pictures(self, decoded):
        """Yields (medium, SampledMedium, i) for each distinct picture i, or (medium, why it failed, None) without any.

        The reason is None if there is nothing to compute.
        """
        for medium, future in decoded:
            try:
                sampled = future.result()
            except MediaError as error:
                yield medium, " ".join(str(error).split()), None
                continue
            pictures = sampled.first_of_each if sampled else [None]
            yield from ((medium, sampled, i) for i in pictures)

    def _compute(self, batch):
        """Cells of a batch of pictures; media that are complete are given to the writer."""
        found = self.extractor().cells(np.stack([sampled.frames[i] for _, sampled, i in batch]))
        for (medium, sampled, i), of_picture in zip(batch, found, strict=True):
            self.of_medium.append(of_picture)
            first = sampled.first_of_each
            if i == first[-1]:
                cells = np.repeat(self.of_medium, np.diff([*first, len(sampled.frames)]), axis=0)
                details = details_of(sampled, self.config.features.resize, self.cells.network.grid)
                self.writes.append(self.writer.submit(self._save, medium, details, cells))
                self.of_medium = []

    def _save(self, medium, details, cells):
        for store in self._lacking(medium):
            store.write(medium, details, cells, self.meta)
        return medium

    def _written(self, waiting):
        """Yields the media that are written, each with None, until at most `waiting` are under way."""
        while self.writes and (len(self.writes) > waiting or self.writes[0].done()):
            yield self.writes.popleft().result(), None


def _submit_ahead(pool, function, items, ahead):
    """Yields (item, future of function(item)) in order, with at most `ahead` more under way or waiting."""
    queue = collections.deque()
    for item in items:
        queue.append((item, pool.submit(function, item)))
        if len(queue) > ahead:
            yield queue.popleft()
    while queue:
        yield queue.popleft()
