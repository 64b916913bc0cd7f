"""Encoding frames as a video or an animation, and the rates that the formats take.

Letters: H, W height and width, pixels.
"""

import contextlib
import math
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from s2vt.data.files import atomic_path
from s2vt.errors import UserError

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv")
ANIMATION_SUFFIXES = (".gif", ".webp")
FASTEST = {".gif": Fraction(25, 2)}  # frames per second: a GIF's size grows with its frames, and 8/100 s is exact in it
SMPTE170M = 6  # FFmpeg's number for the colour matrix of BT.601


def output_rate(frame_rate, duration, stride=1, suffix=".mp4"):
    """Frames per second of a video that shows every so many frames of a clip at the clip's speed.

    At most FASTEST of the format; at least one frame in the clip's duration.

    Args:
        frame_rate, duration: of the clip, frames per second and seconds.
        stride: show one frame in so many.   suffix: ending of the video's name.

    Example:
        >>> output_rate(Fraction(30), 2.0, stride=3), output_rate(Fraction(30), 2.0, stride=100_000)
        (Fraction(10, 1), Fraction(1, 2))
    """
    rate = min(Fraction(frame_rate) / stride, FASTEST.get(suffix.lower(), math.inf))
    return max(rate, 1 / Fraction(duration).limit_denominator(10**6))


class VideoWriter:
    """Writes frames as a video or animation; the file appears when it is complete. The ending of its name chooses:

    .mp4, .m4v, .mov, .mkv: H.264 that every player shows (yuv420p, index first).
    .gif: 127 colours a frame, pixels that hardly change left as they are; times are rounded to 1/100 s.
    .webp: lossy; times are rounded to 1/1000 s.

    Args:
        path: ends in one of VIDEO_SUFFIXES or ANIMATION_SUFFIXES.
        width, height: of the frames, pixels. H.264's colour planes need even sizes: an odd one is made even by
            repeating the last column or row.
        frame_rate: frames per second, int, float or Fraction.
        crf: x264's quality, 0 (lossless) to 51; 18 looks like the source.
        threads: of the encoder; 0 takes all cores. The bytes depend on it: 1 for files that are to be reproducible.
        preset: x264's, "ultrafast" to "veryslow": time against size.
        keyframe_interval: frames from one keyframe to the next at most; few make H.264 quick to scrub, and larger.
    Raises:
        UserError: if the file cannot be written.
        ValueError: if a frame has another size, or no frame is written.
    """

    def __init__(self, path, width, height, frame_rate, crf=18, threads=0, preset="medium", keyframe_interval=250):
        self.path, self.width, self.height = Path(path), width, height
        if width < 1 or height < 1 or frame_rate <= 0:
            raise ValueError(f"a video has pixels and frames per second, not {width}x{height} at {frame_rate}")
        suffix = self.path.suffix.lower()
        if suffix not in (*VIDEO_SUFFIXES, *ANIMATION_SUFFIXES):
            endings = ", ".join((*VIDEO_SUFFIXES, *ANIMATION_SUFFIXES))
            raise UserError(f"cannot write {path} as a video: let its name end in {endings}")
        self.suffix, self.frame_rate, self.threads = suffix, _as_fraction(frame_rate), threads
        # x264's macroblock tree gave other bytes for equal frames, by what was in memory
        self.h264 = {"crf": str(crf), "preset": preset, "mbtree": "0", "g": str(keyframe_interval)}
        self._num_frames = 0

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            temporary = stack.enter_context(atomic_path(self.path))
            self._encoder = stack.enter_context(self._make_encoder(temporary))
            self._stack = stack.pop_all()
        return self

    def _make_encoder(self, path):
        if self.suffix == ".gif":
            return GifEncoder(path, self.width, self.height, self.frame_rate)
        if self.suffix == ".webp":
            codec, container_options = "libwebp_anim", {"loop": "0"}
            options = {"quality": "85", "compression_level": "2"}
        else:
            codec, options = "libx264", self.h264
            container_options = {} if self.suffix == ".mkv" else {"movflags": "+faststart"}
        size = (self.width, self.height)
        return _FFmpegEncoder(path, size, self.frame_rate, codec, self.threads, options, container_options)

    def write(self, frame):
        """Adds one frame, (height, width, 3) uint8 RGB."""
        frame = np.asarray(frame)
        if frame.dtype != np.uint8 or frame.shape != (self.height, self.width, 3):
            expected = (self.height, self.width, 3)
            raise ValueError(f"frame is {expected} uint8, not {frame.shape} {frame.dtype}")
        self._encoder.write(frame, self._num_frames)
        self._num_frames += 1

    def __exit__(self, kind, error, trace):
        if error is not None:
            return self._stack.__exit__(kind, error, trace)
        with self._stack:  # closes the file, then renames it, or removes it after all
            if self._num_frames == 0:
                raise ValueError(f"no frame was written to {self.path}")
            self._encoder.finish()


def _as_fraction(frame_rate):
    """Frames per second, or seconds per frame, as a fraction of numbers that all containers can hold."""
    rate = Fraction(frame_rate)
    return rate.limit_denominator(1001) if rate >= 1 else 1 / (1 / rate).limit_denominator(1001)


class _FFmpegEncoder:
    """A video file that FFmpeg writes, frame by frame."""

    def __init__(self, path, size, frame_rate, codec, threads, options, container_options):
        self.path, self.frame_rate, self.codec, self.threads = path, frame_rate, codec, threads
        self.options, self.container_options = options, container_options
        self.padding = tuple(side % 2 * (codec == "libx264") for side in size)
        self.size = tuple(side + more for side, more in zip(size, self.padding, strict=True))

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            stack.enter_context(_ffmpeg_as_os_errors())
            container = av.open(f"file:{self.path}", "w", container_options=self.container_options)
            self._container = stack.enter_context(container)
            stream = container.add_stream(self.codec, rate=self.frame_rate, options=self.options)
            stream.width, stream.height = self.size
            stream.pix_fmt = "yuv420p"
            stream.codec_context.thread_count = self.threads
            stream.codec_context.colorspace = SMPTE170M  # named, because players guess by the size
            self._stream, self._stack = stream, stack.pop_all()
        return self

    def write(self, frame, number):
        if any(self.padding):
            columns, rows = self.padding
            frame = np.pad(frame, ((0, rows), (0, columns), (0, 0)), mode="edge")
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        picture.pts, picture.time_base = number, 1 / self.frame_rate
        self._container.mux(self._stream.encode(picture.reformat(format="yuv420p", dst_colorspace="ITU601")))

    def finish(self):
        self._container.mux(self._stream.encode(None))

    def __exit__(self, *error):
        return self._stack.__exit__(*error)


@contextlib.contextmanager
def _ffmpeg_as_os_errors():
    """Turns FFmpeg's errors into OSError, which `atomic_path` tells the user about (a full disk)."""
    try:
        yield
    except av.FFmpegError as error:
        raise OSError(error.errno, error.strerror) from error


class GifEncoder:
    """An animated GIF, written frame by frame: only what changes of a frame, with a palette of its own.

    A pixel is drawn where a channel has changed by more than TOLERANCE since the pixel was last drawn; elsewhere the
    frame is transparent. Saliency over a real clip at FASTEST takes a fifth of the bytes of all its frames in full.

    Args:
        path: the file to write.   width, height: pixels.   frame_rate: frames per second, a Fraction.
    """

    BITS = 7  # of a pixel; the last of the 2^BITS colours is "transparent"
    TOLERANCE = 10  # levels of 255
    MOST_PIXELS = 100_000  # that a palette is made from

    def __init__(self, path, width, height, frame_rate):
        self.path, self.frame_rate = path, frame_rate
        self.transparent = 2**self.BITS - 1
        self.drawn = np.full((height, width, 3), -256, np.int16)  # colours when last drawn; at first, none

    def __enter__(self):
        self._file = open(self.path, "wb")
        height, width, _ = self.drawn.shape
        self._file.write(b"GIF89a" + struct.pack("<HHBBB", width, height, 0x70, 0, 0))
        self._file.write(b"!\xff\x0bNETSCAPE2.0\x03\x01\0\0\0")  # repeat for ever
        return self

    def write(self, frame, number):
        changed = np.abs(frame - self.drawn).max(axis=-1) > self.TOLERANCE
        rows, columns = (np.flatnonzero(changed.any(axis=axis)) for axis in (1, 0))
        box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)) if len(rows) else (slice(1), slice(1))
        indices, palette = self._quantize(frame[box], changed[box])
        self.drawn[changed] = frame[changed]
        indices[~changed[box]] = self.transparent

        start, end = (round(k * 100 / self.frame_rate) for k in (number, number + 1))
        keep, with_transparency, local_palette = 1 << 2, 1, 0x80
        height, width = indices.shape
        self._file.write(
            b"!\xf9\x04"
            + struct.pack("<BHBB", keep | with_transparency, min(end - start, 2**16 - 1), self.transparent, 0)
            + b","
            + struct.pack("<HHHHB", box[1].start or 0, box[0].start or 0, width, height, local_palette | self.BITS - 1)
            + palette.tobytes()
            + bytes([self.BITS])
            + Image.fromarray(indices).tobytes("gif", "L", self.BITS, 0)
            + b"\0"
        )

    def _quantize(self, part, changed):
        """Indices (h, w) uint8 into a palette (2^BITS, 3) uint8 that suits the pixels that changed."""
        pixels = part[changed] if changed.any() else part.reshape(-1, 3)
        pixels = np.ascontiguousarray(pixels[:: 1 + len(pixels) // self.MOST_PIXELS])
        how = {"method": Image.Quantize.MEDIANCUT, "dither": Image.Dither.NONE}
        fitted = Image.fromarray(pixels[None]).quantize(self.transparent, **how)
        colours = np.array(fitted.getpalette(), np.uint8).reshape(-1, 3)[: self.transparent]
        palette = np.zeros((2**self.BITS, 3), np.uint8)
        palette[: len(colours)] = colours
        indices = np.array(Image.fromarray(np.ascontiguousarray(part)).quantize(palette=fitted, dither=how["dither"]))
        indices[indices >= len(colours)] = 0
        return indices, palette

    def finish(self):
        self._file.write(b";")

    def __exit__(self, *error):
        self._file.close()
