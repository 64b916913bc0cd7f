"""Where a medium's frames come from: a file, or arrays in memory. Both are sampled and read in the same way.

Letters: H, W height and width, pixels; F frames of a clip, m sampled ones.
"""

import dataclasses
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from s2vt.data import pictures
from s2vt.data.sampling import SampledMedium, sample_medium, sampled_indices
from s2vt.data.video import DEFAULT_RATE, iterate_frames
from s2vt.errors import UserError


@dataclasses.dataclass(frozen=True)
class File:
    """A picture or video file."""

    path: Path

    @property
    def name(self):
        """The file's name."""
        return self.path.name

    @property
    def is_picture(self):
        """Whether it holds one still picture, judged by its content."""
        return pictures.is_picture(self.path)

    def check(self):
        """Raises UserError unless there is such a file."""
        if self.path.is_dir():
            raise UserError(f"{self.path} is a folder; expected a video or picture file")
        if not self.path.is_file():
            raise UserError(f"{self.path}: no such file; expected a video or picture")

    def sample(self, kind, num_frames, start, end, convert):
        """SampledMedium, as `sampling.sample_medium`; kind: "picture" or "video"."""
        return sample_medium(self.path, kind, num_frames, start, end, convert)

    def frames(self, start=None, end=None):
        """Every frame of a video, (seconds, (H, W, 3) uint8), as `video.iterate_frames`."""
        return iterate_frames(self.path, start, end)

    def __str__(self):
        return str(self.path)


@dataclasses.dataclass(frozen=True)
class Frames:
    """A picture or clip in memory; `source_of` makes and checks it.

    Attributes:
        pictures: (H, W, 3) uint8 of a picture, (F, H, W, 3) uint8 of a clip; anything with `shape` that is read frame
            by frame, so that a memory map stays on disk.
        times: seconds of a clip's frames, (F,), increasing from 0; None for a picture.
    """

    pictures: np.ndarray
    times: np.ndarray | None = None

    @property
    def name(self):
        """What it is called in titles and file names."""
        return "picture" if self.is_picture else "clip"

    @property
    def path(self):
        """A name for a place that no file has."""
        return Path(self.name)

    @property
    def is_picture(self):
        """Whether it is one picture."""
        return self.times is None

    @property
    def rate(self):
        """Frames per second of a clip, a Fraction; the mean where it varies."""
        if len(self.times) == 1:
            return Fraction(DEFAULT_RATE)
        return Fraction((len(self.times) - 1) / float(self.times[-1])).limit_denominator(1001)

    def check(self):
        """An array is checked when it is made."""

    def sample(self, kind, num_frames, start, end, convert):
        """SampledMedium of a picture, or of m frames at `sampling.sampled_indices` of those between start and end."""
        if kind == "picture":
            picture = np.asarray(self.pictures if self.is_picture else self.pictures[0])
            return SampledMedium(np.asarray(convert(picture))[None], picture.shape[1::-1])
        inside = self._inside(start, end)
        indices = sampled_indices(len(inside), num_frames)
        distinct, rows = np.unique(indices, return_inverse=True)
        kept = np.stack([np.asarray(convert(np.asarray(self.pictures[inside[i]]))) for i in distinct])
        times, rate = self.times[inside], self.rate
        return SampledMedium(
            kept[rows],
            self.pictures.shape[2:0:-1],
            indices,
            times[indices],
            rate,
            len(inside),
            float(times[-1] - times[0]) + float(1 / rate),
        )

    def frames(self, start=None, end=None):
        """Every frame of a clip, (seconds, (H, W, 3) uint8)."""
        for i in self._inside(start, end):
            yield float(self.times[i]), np.asarray(self.pictures[i])

    def _inside(self, start, end):
        """Positions of the frames with start <= time < end."""
        low, high = start or 0.0, math.inf if end is None else end
        inside = np.flatnonzero((self.times >= low) & (self.times < high))
        if not len(inside):
            raise UserError(f"no frame from {low:g} s to {high:g} s; the last one is at {self.times[-1]:.2f} s")
        return inside

    def __str__(self):
        return f"the {self.name}"


def source_of(medium, fps=None, times=None):
    """The source of anything that can be explained.

    Args:
        medium: path of a picture or video; a Pillow image (turned as its EXIF orientation says, transparency over
            white); a picture (H, W, 3) uint8; a clip (F, H, W, 3) uint8; or a source, which is returned.
        fps: of a clip in memory, frames per second.   times: its frames' times instead, (F,), seconds, increasing.
    Returns:
        File or Frames.
    Raises:
        UserError: if an array has another shape or type, a clip in memory has neither or both of fps and times, or
            anything else has one.

    Example:
        >>> source_of(np.zeros((3, 48, 64, 3), np.uint8), fps=2).times.tolist()
        [0.0, 0.5, 1.0]
        >>> source_of(np.zeros((48, 64, 3), np.uint8)).is_picture
        True
    """
    if isinstance(medium, Image.Image):
        try:
            medium = pictures.as_array(medium)
        except ValueError as error:
            raise UserError(f"the Pillow image cannot be read: {error}") from None
    clip = len(getattr(medium, "shape", ())) == 4
    if not clip and (fps is not None or times is not None):
        raise UserError("fps and times are of a clip in memory, (m, H, W, 3) uint8; leave them out")
    if isinstance(medium, File | Frames):
        return medium
    if isinstance(medium, str | Path):
        return File(Path(medium))
    shape, dtype = getattr(medium, "shape", None), getattr(medium, "dtype", None)
    if shape is None or len(shape) not in (3, 4) or shape[-1] != 3 or 0 in shape or dtype != np.uint8:
        found = type(medium).__name__ if shape is None else f"{tuple(shape)} {dtype}"
        raise UserError(
            f"cannot explain {found}; expected a path, a Pillow image, a picture (H, W, 3) uint8 or a clip "
            "(m, H, W, 3) uint8 with fps or times"
        )
    return Frames(medium, _times(len(medium), fps, times) if clip else None)


def _times(count, fps, times):
    """The times of a clip's frames, from 0 on."""
    if (fps is None) == (times is None):
        raise UserError("a clip in memory needs fps=, frames per second, or times=, seconds of each frame; one of them")
    if fps is not None:
        if not 0 < fps < math.inf:
            raise UserError(f"fps={fps}: expected frames per second, above 0")
        return np.arange(count) / float(fps)
    times = np.asarray(times, float)
    if times.shape != (count,) or not np.isfinite(times).all() or (np.diff(times) <= 0).any():
        raise UserError(
            f"times of {count} frames: expected {count} increasing numbers, seconds; received {times.shape}"
        )
    return times - times[0]
