"""Videos in and out: exact decoding, even sampling, encoding.

Letters: m sampled frames, F frames that can be decoded, H and W height and width, pixels.
"""

import contextlib
import dataclasses
import itertools
import math
import warnings
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.sidedata.sidedata import SideDataContainer

from s2vt.data.files import atomic_path
from s2vt.data.pictures import MAX_PIXELS, _check_file, _refusal
from s2vt.errors import UserError

SMPTE170M = 6  # FFmpeg's number for the colour matrix of BT.601
DEFAULT_RATE = 25  # frames per second, where a file of one frame does not say
VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv")
ANIMATION_SUFFIXES = (".gif", ".webp")
HUNDREDTHS = 100  # GIF's clock, ticks a second
FASTEST = {".gif": 50}  # frames a second: browsers slow down GIFs with shorter delays
_LENIENT = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}  # which PyAV 19 always is
NOT_MEDIA = {"tty", "concat", "hls", "dash"}  # FFmpeg would draw a text file, or follow a playlist to other files

# About details that do not change the pixels, and sizes, which are checked. Once for all threads that decode.
warnings.filterwarnings("ignore", module="PIL")


# --- videos in ------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class SampledFrames:
    """m frames spread evenly over a clip of F.

    Args:
        frames: (m, H, W, 3) uint8 RGB, or what `convert` made of each.
        size: (width, height) of the source, pixels, as it is shown.
        indices: (m,) int, which of the F frames each one is; repeated where F < m.
        times: (m,) float, seconds since the clip's first frame (of the whole clip, whatever the range).
        frame_rate: frames per second; the mean, where it varies.
        num_frames: F, the frames of the range that can be decoded.
        duration: seconds from the range's first frame to the end of its last.
    """

    frames: np.ndarray
    size: tuple[int, int]
    indices: np.ndarray
    times: np.ndarray
    frame_rate: Fraction
    num_frames: int
    duration: float


def read_frames(path, num_frames=26, start=None, end=None, convert=lambda frame: frame):
    """m frames of a video at `round(linspace(0, F-1, m))` of the F that can be decoded, as the paper samples them.

    F is known for sure only after the last frame is decoded, and seeking is exact only at keyframes. So: count the
    packets without decoding (fast, nearly always F), decode once in order and keep the frames that this count asks
    for; if it turns out wrong (damaged packets, packed B frames), decode again with the true F. Only m frames are in
    memory, however long the clip, each as `convert` leaves it, however big the source.

    Args:
        num_frames: m, at least 1.
        start, end: seconds since the clip's first frame; frames with start <= time < end count. None: no bound.
        convert: (H, W, 3) uint8 -> what is kept of a frame, an array (a resize to the network's input, for example).
    Raises:
        MediaError: if there is no such file or no video in it, it is cut short, or most of it cannot be decoded.
    """
    if num_frames < 1:
        raise ValueError(f"num_frames is at least 1, not {num_frames}")
    expected, rate = _promise(path, start, end)
    for threads in ("AUTO", "NONE", "NONE"):  # one thread where something is wrong: the same frames every time
        sample = _sample(path, num_frames, expected, rate, start, end, threads, convert)
        if sample.num_frames == expected:
            return sample
        expected, sample = sample.num_frames, None
    raise _refusal(path, "the video decodes differently every time")


def together(**arrays):
    """Several arrays as one that `read_frames` can keep of a frame: read them again by name, `frames["name"]`.

    Example:
        >>> kept = together(small=np.zeros((2, 3), np.uint8), mean=np.float32(7))
        >>> kept.shape, kept["small"].shape, float(kept["mean"])
        ((), (2, 3), 7.0)
    """
    arrays = {name: np.asarray(array) for name, array in arrays.items()}
    return np.array(tuple(arrays.values()), [(name, array.dtype, array.shape) for name, array in arrays.items()])


def iterate_frames(path, start=None, end=None) -> Iterator[tuple[float, np.ndarray]]:
    """Every frame of a video in order, one at a time: (seconds since the first frame, (H, W, 3) uint8 RGB)."""
    size = None
    for time, frame in _decode(path, start, end):
        size = size or (frame.width, frame.height)
        yield time, _to_array(frame, size)


def at_rate(frames, rate, source_rate):
    """A constant number of frames a second out of frames at any times, one at a time, their duration kept.

    The k-th is the newest of those that are there k / rate after the first one, half a source frame of jitter
    allowed. Where the source's rate varies, its frames are repeated or left out so that each is shown when it should
    be.

    Args:
        frames: iterable of (seconds, frame), in order.
        rate: frames a second to yield.   source_rate: of the source; its last frame is shown for 1 / source_rate.
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


def count_frames(path, start=None, end=None):
    """F, the number of frames that can be decoded: counted, because headers and indices are often wrong."""
    return sum(1 for _ in _decode(path, start, end))


def _sample(path, num_frames, expected, rate, start, end, threads, convert):
    """The frames that would be right if F were `expected`, and the true F."""
    indices = np.round(np.linspace(0, expected - 1, num_frames)).astype(int)
    frames, times = None, np.zeros(num_frames)
    for index, (time, frame) in enumerate(_decode(path, start, end, threads)):
        if index == 0:
            first, size = time, (frame.width, frame.height)
        rows = np.flatnonzero(indices == index)
        if rows.size:
            picture = _to_array(frame, size)
            shown, picture = picture.shape[1::-1], convert(picture)
            if frames is None:
                frames = np.empty((num_frames, *picture.shape), picture.dtype)
            frames[rows], times[rows] = picture, time
    if rate is None or rate > 240:  # not known, or a container's clock ticks instead of its frames
        rate = Fraction(index / (time - first)).limit_denominator(1001) if time > first else Fraction(DEFAULT_RATE)
    return SampledFrames(frames, shown, indices, times, rate, index + 1, time - first + float(1 / rate))


def _promise(path, start, end):
    """What the container says without decoding: (frames between start and end, at least 1; frame rate or None)."""
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


def _decode(path, start, end, threads="AUTO"):
    """Yields (seconds since the first frame, frame) for each frame that can be decoded, start <= time < end."""
    start, end = _bounds(start, end)
    num_decoded = num_damaged = num_inside = 0
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
                num_damaged += 1  # as players do: leave it out and go on
                continue
            for frame in frames:
                if frame.pts is not None:
                    origin = frame.pts if origin is None else origin
                    time = float((frame.pts - origin) * stream.time_base)
                elif num_decoded:
                    time += float(1 / (stream.average_rate or DEFAULT_RATE))
                num_decoded += 1
                if time >= end and num_inside:
                    return
                if start <= time < end:
                    num_inside += 1
                    yield time, frame
    if num_damaged > num_decoded:
        raise _refusal(path, f"most of the video cannot be decoded ({num_damaged} damaged packets); get it again")
    if num_decoded == 0:
        raise _refusal(path, "no frame of the video can be decoded")
    if num_inside == 0:
        raise _refusal(path, f"no frame between {start:g} s and {end:g} s; the last one is at {time:.2f} s")


def _entry(path, start):
    """Where decoding can begin so that the frames from `start` seconds on are those of decoding from the beginning.

    A seek lands on a keyframe, or somewhere near. It is used only where it is proved exact: what it lands on is shown
    at `start` or before, and comes out of the decoder, which gives nothing that needs an earlier frame.

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


def _bounds(start, end):
    return -math.inf if start is None else start, math.inf if end is None else end


@contextlib.contextmanager
def _open_video(path):
    """Yields (container, stream) of the file's first moving picture."""
    path = Path(path)
    _check_file(path)
    try:  # "file:" and the white list: a name with a colon is not an address, and no file leads to the network
        container = av.open(f"file:{path}", options={"protocol_whitelist": "file"}, **_LENIENT)
    except av.error.InvalidDataError as error:
        raise _refusal(path, "not a video that FFmpeg can read, or only a part of one; get it again") from error
    except (av.FFmpegError, OSError, ValueError) as error:
        raise _refusal(path, f"the video cannot be opened: {getattr(error, 'strerror', None) or error}") from error
    with container:
        kinds = {s: "cover art" if s.disposition & s.disposition.attached_pic else s.type for s in container.streams}
        streams = [s for s in container.streams if kinds[s] == "video"]
        if not NOT_MEDIA.isdisjoint(container.format.name.split(",")):
            raise _refusal(path, "there is no video in it, only text")
        if not streams:
            found = " and ".join(sorted(set(kinds.values()))) or "an empty container"
            raise _refusal(path, f"there is no video in it, only {found}")
        stream = streams[0]
        if stream.codec_context is None:
            raise _refusal(path, "FFmpeg has no decoder for its video")
        if stream.width * stream.height > MAX_PIXELS:
            raise _refusal(path, f"too big: more than {MAX_PIXELS // 10**6} million pixels a frame")
        promised, present = _promised_bytes(path, stream), path.stat().st_size
        if present < promised:
            raise _refusal(path, f"cut short: it promises {promised:,} bytes and has {present:,}; get it again")
        yield container, stream


def _promised_bytes(path, stream):
    """How long the file must at least be: by its index (MP4 has it whole), or by its RIFF header (AVI)."""
    with open(path, "rb") as file:
        start = file.read(8)
    length = int.from_bytes(start[4:], "little") if start[:4] == b"RIFF" else 0
    riff = 8 + length if length < 2**32 - 1 else 0  # all ones: written to a pipe, the length was not known
    return max(riff, max((entry.pos + entry.size for entry in stream.index_entries), default=0))


def _packets(container, stream, flush=False):
    """The stream's packets up to its end or to where reading fails, then None if `flush`."""
    try:
        for packet in container.demux(stream):
            if packet.size:
                yield packet
    except av.FFmpegError:
        pass  # what was read is kept; `_decode` judges by what could be decoded
    if flush:
        yield None


def _to_array(frame, size):
    """A decoded frame as (H, W, 3) uint8, at `size` (w, h) as stored, turned as its display matrix says."""
    picture = frame.to_ndarray(format="rgb24", width=size[0], height=size[1])
    matrix = SideDataContainer(frame).get("DISPLAYMATRIX")  # frame.side_data would keep the frame until the next gc
    if matrix is None:
        return picture
    # A pixel (x, y) is shown at (a x + c y, b x + d y): a quarter turn swaps the axes, a negative factor mirrors one.
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].astype(float)
    if abs(b) + abs(c) > abs(a) + abs(d):
        picture, a, d = picture.transpose(1, 0, 2), c, b
    return np.ascontiguousarray(picture[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])


# --- videos out -----------------------------------------------------------------------------------------------------


class VideoWriter:
    """Writes frames as a video or animation; the file appears when it is complete. The name's ending chooses:

    .mp4, .m4v, .mov, .mkv: H.264 that every player shows (yuv420p, index first).
    .gif: a palette for every frame; times are rounded to 1/100 s, so at most 50 frames a second.
    .webp: lossy; times are rounded to 1/1000 s.

    Args:
        path: ends in one of VIDEO_SUFFIXES or ANIMATION_SUFFIXES.
        width, height: of the frames, pixels. H.264's colour planes want even sizes: an odd one is made even by
            repeating the last column or row.
        frame_rate: frames per second, int, float or Fraction.
        crf: x264's quality, 0 (lossless) to 51; 18 looks like the source.
        threads: of the encoder; 0 takes all cores. The bytes depend on it: 1 for files that can be made again.
        preset: x264's, "ultrafast" to "veryslow": time against size.
        keyframe_interval: frames from one keyframe to the next at most; few make H.264 quick to scrub, and larger.
    Raises:
        UserError: if the file cannot be written.
    """

    def __init__(self, path, width, height, frame_rate, crf=18, threads=0, preset="medium", keyframe_interval=250):
        self.path, self.width, self.height = Path(path), width, height
        self.frame_rate = Fraction(frame_rate).limit_denominator(1001)
        if width < 1 or height < 1 or self.frame_rate <= 0:
            raise ValueError(f"a video has pixels and frames per second, not {width}x{height} at {frame_rate}")
        suffix = self.path.suffix.lower()
        if suffix not in (*VIDEO_SUFFIXES, *ANIMATION_SUFFIXES):
            endings = ", ".join((*VIDEO_SUFFIXES, *ANIMATION_SUFFIXES))
            raise UserError(f"cannot write {path} as a video: let its name end in {endings}")
        # x264's macroblock tree gave other bytes for equal frames, by what was in memory
        options = {"crf": str(crf), "preset": preset, "mbtree": "0", "g": str(keyframe_interval)}
        h264 = ("libx264", "yuv420p", options, {"movflags": "+faststart"})
        self._encoding = {
            ".gif": ("gif", "pal8", {}, {"loop": "0"}),
            ".webp": ("libwebp_anim", "yuv420p", {"quality": "85", "compression_level": "2"}, {"loop": "0"}),
            ".mkv": (*h264[:3], {}),
        }.get(suffix, h264)
        self._even = int(self._encoding[0] == "libx264")
        self._threads, self._num_frames = threads, 0

    def __enter__(self):
        codec, pixels, options, container_options = self._encoding
        with contextlib.ExitStack() as stack:
            temporary = stack.enter_context(atomic_path(self.path))
            stack.enter_context(_ffmpeg_as_os_errors())
            self._container = stack.enter_context(
                av.open(f"file:{temporary}", "w", container_options=container_options)
            )
            rate = HUNDREDTHS if codec == "gif" else self.frame_rate
            stream = self._container.add_stream(codec, rate=rate, options=options)
            stream.width, stream.height = (side + side % 2 * self._even for side in (self.width, self.height))
            stream.pix_fmt = pixels
            stream.codec_context.thread_count = self._threads
            stream.codec_context.colorspace = SMPTE170M  # said, because players guess by the size
            self._graph = _palette_graph(stream.width, stream.height) if pixels == "pal8" else None
            self._stream, self._stack = stream, stack.pop_all()
        return self

    def write(self, frame):
        """Adds one frame, (height, width, 3) uint8 RGB."""
        frame = np.asarray(frame)
        if frame.dtype != np.uint8 or frame.shape != (self.height, self.width, 3):
            expected = (self.height, self.width, 3)
            raise ValueError(f"frame is {expected} uint8, not {frame.shape} {frame.dtype}")
        odd = self.height % 2 * self._even, self.width % 2 * self._even
        if any(odd):
            frame = np.pad(frame, ((0, odd[0]), (0, odd[1]), (0, 0)), mode="edge")
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        if self._graph:
            picture.pts = round(self._num_frames * HUNDREDTHS / self.frame_rate)
            picture.time_base = Fraction(1, HUNDREDTHS)
            picture = _with_palette(self._graph, picture)
        else:
            picture.pts, picture.time_base = self._num_frames, 1 / self.frame_rate
            picture = picture.reformat(format="yuv420p", dst_colorspace="ITU601")
        self._num_frames += 1
        self._container.mux(self._stream.encode(picture))

    def __exit__(self, kind, error, trace):
        if error is not None:
            return self._stack.__exit__(kind, error, trace)
        with self._stack:  # closes the file, then renames it, or removes it after all
            if self._num_frames == 0:
                raise ValueError(f"no frame was written to {self.path}")
            self._container.mux(self._stream.encode(None))


def _palette_graph(width, height):
    """Filters that give each frame the 256 colours that suit it best."""
    graph = av.filter.Graph()
    source = graph.add_buffer(width=width, height=height, format="rgb24", time_base=Fraction(1, HUNDREDTHS))
    split, generate = graph.add("split"), graph.add("palettegen", "stats_mode=single")
    use, sink = graph.add("paletteuse", "new=1:dither=bayer:bayer_scale=4"), graph.add("buffersink")
    source.link_to(split)
    split.link_to(use, 0, 0)
    split.link_to(generate, 1, 0)
    generate.link_to(use, 0, 1)
    use.link_to(sink)
    graph.configure()
    return graph, source, sink


def _with_palette(filters, picture):
    _, source, sink = filters
    source.push(picture)
    picture = sink.pull()
    picture.time_base = Fraction(1, HUNDREDTHS)
    return picture


@contextlib.contextmanager
def _ffmpeg_as_os_errors():
    """Lets `atomic_path` tell the user about a full disk that FFmpeg has met."""
    try:
        yield
    except av.FFmpegError as error:
        raise OSError(error.errno, error.strerror) from error
