"""One picture, or m frames spread evenly over a clip.

Letters: m sampled frames, F frames that can be decoded, H and W height and width, pixels.
"""

import dataclasses
from fractions import Fraction

import numpy as np

from s2vt.data.geometry import Geometry
from s2vt.data.pictures import MediaError, is_picture, read_picture, refusal
from s2vt.data.video import DEFAULT_RATE, decode, expected_frames, to_array


@dataclasses.dataclass(frozen=True)
class SampledMedium:
    """m frames of a medium, and which frames of it they are.

    Attributes:
        frames: (m, ...), what `convert` made of each frame; m = 1 for a picture.
        size: (width, height) of the source as it is shown, pixels.
        indices: (m,) int, which of the F frames each one is; repeated where F < m. Empty for a picture.
        times: (m,) float, seconds since the clip's first frame, whatever the range. Empty for a picture.
        frame_rate: frames per second, a Fraction; the mean where it varies. None for a picture.
        num_frames: F, the frames of the range that can be decoded; 1 for a picture.
        duration: seconds from the range's first frame to the end of its last; 0 for a picture.
    """

    frames: np.ndarray
    size: tuple[int, int]
    indices: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, int))
    times: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0))
    frame_rate: Fraction | None = None
    num_frames: int = 1
    duration: float = 0.0

    def geometry(self, resize, grid):
        """Geometry between the source and a network's input.

        Args:
            resize: "squash" or "center_crop", as for `Geometry.of`.   grid: the network's Grid.
        """
        return Geometry.of(*self.size, resize, grid)

    @property
    def first_of_each(self):
        """Which of the m frames are not repetitions of the one before, (m',): 0, 1, ..., m - 1 if F >= m."""
        if self.frame_rate is None:
            return np.arange(len(self.frames))
        return np.flatnonzero(np.diff(self.indices, prepend=-1))

    def distinct(self):
        """The medium without the repeated frames that a clip of fewer than m frames has.

        Returns:
            SampledMedium of m' <= m frames, and which of the m frames they are, (m',).
        """
        first = self.first_of_each
        if self.frame_rate is None:
            return self, first
        kept = {name: getattr(self, name)[first] for name in ("frames", "indices", "times")}
        return dataclasses.replace(self, **kept), first


def sample_medium(path, media=None, num_frames=26, start=None, end=None, convert=lambda frame: frame):
    """A picture, or m frames of a video.

    Args:
        media: "picture" (of an animation its first frame) or "video"; None: which of them the file holds.
        num_frames, start, end: of a video, as for `sample_video`.
        convert: (H, W, 3) uint8 -> what is kept of a frame, an array; see `together` for more than one.
    Raises:
        MediaError: if there is no such file or it cannot be decoded.
    """
    try:
        if (media or ("picture" if is_picture(path) else "video")) == "picture":
            picture = read_picture(path)
            return SampledMedium(np.asarray(convert(picture))[None], picture.shape[1::-1])
        return sample_video(path, num_frames, start, end, convert)
    except MediaError:
        raise
    except Exception as error:  # a decoder's unforeseen error about one file must not stop the work on all others
        raise refusal(path, f"cannot be decoded: {type(error).__name__}: {error}") from error


def sampled_indices(available, num_frames):
    """The sampled frames of a clip, `round(linspace(0, F-1, m))`, (m,) int.

    Args:
        available: F.   num_frames: m.
    """
    return np.round(np.linspace(0, available - 1, num_frames)).astype(int)


def sample_video(path, num_frames=26, start=None, end=None, convert=lambda frame: frame):
    """m frames of a video at `round(linspace(0, F-1, m))` of the F that can be decoded, as the paper samples them.

    F is certain only after the last frame is decoded, and seeking is exact only at keyframes. So: count the packets
    without decoding (nearly always F), decode once in order and keep the frames that this count asks for; if it turns
    out wrong (damaged packets, packed B frames), decode again with the true F. Only m frames are in memory, however
    long the clip, each as `convert` leaves it.

    Args:
        num_frames: m, at least 1.
        start, end: seconds since the clip's first frame; frames with start <= time < end count. None: no bound.
        convert: (H, W, 3) uint8 -> what is kept of a frame, an array (a resize to the network's input, for example).
    Returns:
        SampledMedium.
    Raises:
        MediaError: if there is no such file or no video in it, it is cut short, or most of it cannot be decoded.
    """
    if num_frames < 1:
        raise ValueError(f"num_frames is at least 1, not {num_frames}")
    expected, rate = expected_frames(path, start, end)
    for threads in ("AUTO", "NONE", "NONE"):  # one thread where something is wrong: the same frames every time
        frames = decode(path, start, end, threads)
        sampled = _pick(frames, sampled_indices(expected, num_frames), rate, convert)
        if sampled.num_frames == expected:
            return sampled
        expected, sampled = sampled.num_frames, None
    raise refusal(path, "the video decodes differently every time")


def _pick(decoded, indices, rate, convert):
    """SampledMedium of the frames at `indices`, (m,), and the true number of frames."""
    frames, times = None, np.zeros(len(indices))
    for index, (time, frame) in enumerate(decoded):
        if index == 0:
            first, stored = time, (frame.width, frame.height)
        rows = np.flatnonzero(indices == index)
        if rows.size:
            picture = to_array(frame, stored)
            size, kept = picture.shape[1::-1], np.asarray(convert(picture))
            if frames is None:
                frames = np.empty((len(indices), *kept.shape), kept.dtype)
            frames[rows], times[rows] = kept, time
    if rate is None or rate > 240:  # not known, or a container's clock ticks instead of its frames
        rate = Fraction(index / (time - first)).limit_denominator(1001) if time > first else Fraction(DEFAULT_RATE)
    return SampledMedium(frames, size, indices, times, rate, index + 1, time - first + float(1 / rate))


def together(**arrays):
    """Several arrays as one that `sample_medium` can keep of a frame; `frames["name"]` reads them again.

    Example:
        >>> kept = together(small=np.zeros((2, 3), np.uint8), mean=np.float32(7))
        >>> kept.shape, kept["small"].shape, float(kept["mean"])
        ((), (2, 3), 7.0)
    """
    arrays = {name: np.asarray(array) for name, array in arrays.items()}
    return np.array(tuple(arrays.values()), [(name, array.dtype, array.shape) for name, array in arrays.items()])
