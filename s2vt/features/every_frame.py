"""Descriptors of every frame of a video, averaged over 3 frames, as the 2017 release's visualisation reads them.

The network runs once for each frame. The averages go to a temporary file, 262 kB a frame, which is mapped into memory
and vanishes with its last reader: memory does not grow with the clip.

Letters: m frames; S input side, G*G cells and D channels of the network.
"""

import dataclasses
import tempfile
from collections.abc import Callable

import numpy as np

from s2vt.data.geometry import Geometry, resize
from s2vt.features.networks import network_for


@dataclasses.dataclass(frozen=True)
class EveryFrame:
    """Every frame of a video, or of an excerpt.

    Attributes:
        cells: averaged descriptors of each frame's cells, (m, G*G, D) float16, a memory map.
        geometry: between the source and the network's input.
        indices: (m,) int, 0, 1, 2, ...
        times: (m,), seconds since the clip's first frame.
        kept: list of what `keep` made of each frame.
    """

    cells: np.ndarray
    geometry: Geometry
    indices: np.ndarray
    times: np.ndarray
    kept: list


def average_frames(frames):
    """Descriptors averaged over 3 neighbouring frames; the first and the last frame are repeated at the ends.

        v'_i = (v_{i-1} + v_i + v_{i+1}) / 3

    The release calls it `temporal_feature_smoothing`.

    Args:
        frames: iterable of m arrays of any one shape, such as the frames of (m, G*G, D), a memory map or a stream from
            the network. Three are held, as copies: a yielded frame may be written in the place of its original.
    Yields:
        m arrays of that shape, float32.

    Example:
        >>> [v.tolist() for v in average_frames(np.array([[0.0], [3.0], [9.0]]))]
        [[1.0], [4.0], [7.0]]
    """
    before = now = None
    for after in frames:
        after = np.array(after, np.float32)
        if now is not None:
            yield (before + now + after) / 3
        before, now = (after if now is None else now), after
    if now is not None:
        yield (before + now + now) / 3


def every_frame(frames, extractor, config, keep: Callable = lambda frame: None):
    """Describes every frame of a video: resized, read by the network and averaged, one batch at a time.

    Args:
        frames: iterable of (seconds, (H, W, 3) uint8), such as `video.iterate_frames(path)`.
        extractor: FeatureExtractor, or anything with `cells(pictures (B, S, S, 3)) -> (B, G*G, D)`.
        config: FeatureConfig; its `weights`, `input_size`, `resize` and `batch_size`.
        keep: (H, W, 3) uint8 -> what is kept of a frame, in `kept`.
    Returns:
        EveryFrame.
    Raises:
        ValueError: if there is no frame.   Others: those of `frames`, such as MediaError.
    """
    geometry, times, kept, grid = None, [], [], network_for(config).grid

    def inputs():
        nonlocal geometry
        for time, frame in frames:
            geometry = Geometry.of(frame.shape[1], frame.shape[0], config.resize, grid)
            times.append(time)
            kept.append(keep(frame))
            yield resize(frame, geometry)

    with tempfile.TemporaryFile() as file:
        for average in average_frames(_cells(inputs(), extractor, config.batch_size)):
            file.write(average.astype(np.float16).tobytes())
        if not times:
            raise ValueError("expected at least one frame, received none")
        file.flush()
        shape = (len(times), *average.shape)
        cells = np.memmap(file, np.float16, mode="r", shape=shape)  # the mapping outlives the file's name
    return EveryFrame(cells, geometry, np.arange(len(times)), np.array(times), kept)


def _cells(inputs, extractor, batch_size):
    """Yields the cells of each input, (G*G, D), computed batch by batch."""
    batch = []
    for picture in inputs:
        batch.append(picture)
        if len(batch) == batch_size:
            yield from extractor.cells(np.stack(batch))
            batch = []
    if batch:
        yield from extractor.cells(np.stack(batch))
