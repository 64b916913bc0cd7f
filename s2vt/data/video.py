"""Videos to frames: exact decoding, and frames at a constant rate.

Letters: H, W height and width, pixels.
"""

import contextlib
import itertools
import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.sidedata.sidedata import SideDataContainer
from PIL import Image

from s2vt.data.pictures import MAX_PIXELS, MediaError, check_file, refusal, to_rgb

DEFAULT_RATE = 25  # frames per second of a file of one frame that names no rate
_LENIENT = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}  # PyAV 19's default
NOT_MEDIA = {"tty", "concat", "hls", "dash"}  # FFmpeg would draw a text file, or follow a playlist to other files


# --- decoding -------------------------------------------------------------------------------------------------------


def iterate_frames(path, start=None, end=None) -> Iterator[tuple[float, np.ndarray]]:
    """Every frame of a video in order, one at a time: (seconds since the clip's first frame, (H, W, 3) uint8 RGB).

    Args:
        start, end: seconds since the clip's first frame; frames with start <= time < end. None: no bound.
    Raises:
        MediaError: as `decode`.
    """
    size = None
    for time, frame in decode(path, start, end):
        size = size or (frame.width, frame.height)
        yield time, to_array(frame, size)


def decode(path, start=None, end=None, threads="AUTO"):
    """Every frame of a video in order, as FFmpeg leaves it: (seconds since the clip's first frame, av.VideoFrame).

    `to_array` makes a picture of a frame. An animated WebP is decoded by Pillow, because FFmpeg reads still ones only.

    Args:
        start, end: seconds since the clip's first frame; frames with start <= time < end. None: no bound.
        threads: FFmpeg's type of threading; "NONE" gives the same frames every time where packets are damaged.
    Raises:
        MediaError: if there is no such file or no video in it, it is cut short, most of it cannot be decoded, or no
            frame lies between start and end.
    """
    start, end = _bounds(start, end)
    time, inside = 0.0, False
    frames = _animation_frames(path) if _is_animated_webp(path) else _video_frames(path, start, threads)
    with contextlib.closing(frames):
        for time, frame in frames:
            if time >= end and inside:
                return
            if start <= time < end:
                inside = True
                yield time, frame
    if not inside:
        bounds = [f"from {start:g} s on"] * (start > -math.inf) + [f"before {end:g} s"] * (end < math.inf)
        raise refusal(path, f"no frame {' and '.join(bounds)}; the last one is at {time:.2f} s")


def expected_frames(path, start=None, end=None):
    """The container's own account of a video, read without decoding: nearly always, not always, true.

    Returns:
        number of frames between start and end, at least 1; frames per second, a Fraction, or None.
    Raises:
        MediaError: if there is no such file or no video in it, or it is cut short.
    """
    if _is_animated_webp(path):
        with _open_animation(path) as image:
            return image.n_frames, None
    start, end = _bounds(start, end)
    count, origin = 0, None
    with _open_video(path) as (container, stream):
        rate = stream.average_rate or stream.guessed_rate
        for packet in _packets(container, stream):
            if packet.is_discard:  # outside the container's edit list: decoded, never shown
                continue
            stamp = packet.dts if packet.pts is None else packet.pts
            origin = stamp if origin is None else origin
            time = 0.0 if stamp is None else float((stamp - origin) * stream.time_base)
            count += start <= time < end
    return max(count, 1), rate


def _bounds(start, end):
    return -math.inf if start is None else start, math.inf if end is None else end


def _video_frames(path, start, threads):
    """Yields (seconds since the first frame, frame): all that can be decoded, from `start` or some time before it."""
    num_decoded = num_damaged = 0
    origin, entry = _entry(path, start) if start > 0 else (None, None)
    time = 0.0
    with _open_video(path) as (container, stream):
        stream.thread_type = threads
        if entry is not None:
            container.seek(entry, stream=stream)
        for packet in _packets(container, stream, flush=True):
            try:
                frames = stream.decode(packet)
            except (av.FFmpegError, ValueError):  # ValueError: PyAV 19's, of a codec that could not be opened
                num_damaged += 1  # left out, as players do
                continue
            for frame in frames:
                if frame.pts is not None:
                    origin = frame.pts if origin is None else origin
                    time = float((frame.pts - origin) * stream.time_base)
                elif num_decoded:
                    time += float(1 / (stream.average_rate or DEFAULT_RATE))
                num_decoded += 1
                yield time, frame
    if num_damaged > num_decoded:
        raise refusal(path, f"most of the video cannot be decoded ({num_damaged} damaged packets); get it again")
    if num_decoded == 0:
        raise refusal(path, "no frame of the video can be decoded")


def _entry(path, start):
    """Where decoding can begin so that the frames from `start` seconds on are those of decoding from the beginning.

    A seek lands on a keyframe, or near one. It is used only where it is certainly exact: the frame that it lands on is
    shown at `start` or before, and is the first to come out of the decoder, so no frame needs an earlier one.

    Returns:
        (time stamp of the first frame, one to seek to); (None, None) where only decoding from the beginning is exact.
    """
    with _open_video(path) as (container, stream):
        try:
            origin = next(container.decode(stream)).pts
            entry = origin + math.floor(Fraction(start) / stream.time_base)
            container.seek(entry, stream=stream)
            key = next(_packets(container, stream)).pts
            container.seek(entry, stream=stream)
            first = next(frame for frame in container.decode(stream) if frame.pts >= key)
            exact = origin < key == first.pts <= entry
        except (av.FFmpegError, StopIteration, TypeError, OverflowError):  # no such place, no frame, no time stamps
            exact = False
    return (origin, entry) if exact else (None, None)


@contextlib.contextmanager
def _open_video(path):
    """Yields (container, stream) of the file's first moving picture."""
    path = Path(path)
    check_file(path)
    try:  # "file:" and the white list: a name with a colon is not an address, and no file leads to the network
        container = av.open(f"file:{path}", options={"protocol_whitelist": "file"}, **_LENIENT)
    except av.error.InvalidDataError as error:
        raise refusal(path, "not a video that FFmpeg can read, or only a part of one; get it again") from error
    except (av.FFmpegError, OSError, ValueError) as error:
        raise refusal(path, f"the video cannot be opened: {getattr(error, 'strerror', None) or error}") from error
    with container:
        kinds = {s: "cover art" if s.disposition & s.disposition.attached_pic else s.type for s in container.streams}
        streams = [s for s in container.streams if kinds[s] == "video"]
        if not NOT_MEDIA.isdisjoint(container.format.name.split(",")):
            raise refusal(path, "there is no video in it, only text")
        if not streams:
            found = " and ".join(sorted(set(kinds.values()))) or "an empty container"
            raise refusal(path, f"there is no video in it, only {found}")
        stream = streams[0]
        if stream.codec_context is None:
            raise refusal(path, "FFmpeg has no decoder for its video")
        _check_size(path, stream.width, stream.height)
        _check_whole(path, max((entry.pos + entry.size for entry in stream.index_entries), default=0))
        yield container, stream


def _check_size(path, width, height):
    if width * height > MAX_PIXELS:
        raise refusal(path, f"too big: more than {MAX_PIXELS // 10**6} million pixels a frame")


def _check_whole(path, indexed=0):
    """Refuses a file that is shorter than its index (MP4's says all, `indexed` bytes) or its RIFF header promises."""
    with open(path, "rb") as file:
        start = file.read(8)
    length = int.from_bytes(start[4:], "little") if start[:4] == b"RIFF" else 0
    riff = 8 + length if length < 2**32 - 1 else 0  # all ones: written to a pipe, the length was not known
    promised, present = max(riff, indexed), Path(path).stat().st_size
    if present < promised:
        raise refusal(path, f"cut short: it promises {promised:,} bytes and has {present:,}; get it again")


def _packets(container, stream, flush=False):
    """Yields the stream's packets up to its end or to where reading fails, then None if `flush`."""
    try:
        for packet in container.demux(stream):
            if packet.size:
                yield packet
    except av.FFmpegError:
        pass  # what was read is kept; `_video_frames` judges by what could be decoded
    if flush:
        yield None


def _is_animated_webp(path):
    check_file(Path(path))
    with open(path, "rb") as file:
        start = file.read(21)
    return start[:4] == b"RIFF" and start[8:16] == b"WEBPVP8X" and bool(start[20:] and start[20] & 2)


@contextlib.contextmanager
def _open_animation(path):
    """Yields an animated WebP as a Pillow image; what is wrong with it becomes a MediaError."""
    _check_whole(path)
    try:
        with Image.open(path) as image:
            _check_size(path, *image.size)
            yield image
    except MediaError:
        raise
    except Image.DecompressionBombError:
        _check_size(path, MAX_PIXELS, 2)
    except Exception as error:  # on damaged files Pillow raises nearly anything
        raise refusal(path, f"the animation cannot be decoded: {error or type(error).__name__}") from error


def _animation_frames(path):
    """Yields (seconds since the first frame, frame) of an animated WebP; transparency is laid over white."""
    with _open_animation(path) as image:
        for k in range(image.n_frames):
            image.seek(k)
            image.load()
            yield image.info["timestamp"] / 1000, av.VideoFrame.from_image(to_rgb(image))


def to_array(frame, size):
    """A decoded frame as (H, W, 3) uint8 RGB: scaled to `size` (w, h), then turned as its display matrix says."""
    picture = frame.to_ndarray(format="rgb24", width=size[0], height=size[1])
    matrix = SideDataContainer(frame).get("DISPLAYMATRIX")  # frame.side_data would keep the frame until the next gc
    if matrix is None:
        return picture
    # A pixel (x, y) is shown at (a x + c y, b x + d y): a quarter turn swaps the axes, a negative factor mirrors one.
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].astype(float)
    if abs(b) + abs(c) > abs(a) + abs(d):
        picture, a, d = picture.transpose(1, 0, 2), c, b
    return np.ascontiguousarray(picture[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])


# --- frames at a constant rate --------------------------------------------------------------------------------------


def at_rate(frames, rate, source_rate):
    """Frames at a constant rate, one at a time, from frames at any times; the duration is kept.

    The k-th frame is the newest one whose time is at most k / rate after the first frame's, give or take half a source
    frame. Frames of a source whose rate varies are repeated or left out, so that each is shown at its time.

    Args:
        frames: iterable of (seconds, frame), in order.
        rate: frames per second to yield.   source_rate: of the source; its last frame is shown for 1 / source_rate.
    Yields:
        (seconds, frame), at the first one's time, 1 / rate later, 2 / rate later, ...

    Example:
        >>> list(at_rate([(0.0, "a"), (0.1, "b"), (0.4, "c")], rate=5, source_rate=10))
        [(0.0, 'a'), (0.2, 'b'), (0.4, 'c')]
    """
    frames = iter(frames)
    first, newest = next(frames, (None, None))
    if newest is None:
        return
    k, last, jitter = 0, first, float(0.5 / source_rate)
    for time, frame in itertools.chain(frames, [(math.inf, None)]):
        end = last + 2 * jitter if frame is None else time
        while (now := first + float(k / rate)) < end - jitter:
            yield now, newest
            k += 1
        last, newest = time, frame
