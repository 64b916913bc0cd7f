"""Encoded videos and animations, decoded again."""

import contextlib
import os
import resource
from fractions import Fraction

import av
import numpy as np
import pytest
from painted import numbers, painted, write_twenty
from PIL import Image

from s2vt.data.files import file_digest, write_json
from s2vt.data.video import iterate_frames
from s2vt.data.video_writer import SMPTE170M, GifEncoder, VideoWriter, output_rate
from s2vt.errors import UserError


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """20 painted frames, 64 x 48, 25 per second."""
    return write_twenty(tmp_path_factory.mktemp("clip") / "clip.mp4")


def decode(path):
    return [frame for _, frame in iterate_frames(path)]


# --- videos


def stream_facts(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return stream.codec_context.name, stream.pix_fmt, (stream.width, stream.height), stream.average_rate


def test_written_video_is_h264_that_every_player_shows(clip):
    assert stream_facts(clip) == ("h264", "yuv420p", (64, 48), 25)
    content = clip.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")  # plays while it loads


def test_odd_sizes_are_made_even_by_repeating_the_edge(tmp_path):
    picture = np.full((45, 67, 3), 60, np.uint8)
    picture[-5:, :], picture[:, -5:] = 200, 200
    with VideoWriter(tmp_path / "odd.mp4", 67, 45, 10) as video:
        video.write(picture)
    frame = decode(tmp_path / "odd.mp4")[0]
    assert frame.shape == (46, 68, 3)
    np.testing.assert_allclose(frame[:, -1].astype(int), 200, atol=8)
    np.testing.assert_allclose(frame[-1].astype(int), 200, atol=8)


@pytest.mark.parametrize("size", [(64, 48), (1280, 720)])
def test_colours_survive(tmp_path, size):
    colour = (220, 40, 120)
    with VideoWriter(tmp_path / "c.mp4", *size, 25, preset="ultrafast") as video:
        video.write(np.full((size[1], size[0], 3), colour, np.uint8))
    np.testing.assert_allclose(decode(tmp_path / "c.mp4")[0].mean((0, 1)), colour, atol=3)
    with av.open(str(tmp_path / "c.mp4")) as container:
        assert next(container.decode(video=0)).colorspace == SMPTE170M


def test_one_thread_writes_the_same_bytes_whatever_was_in_memory(tmp_path, clip):
    for seed in range(3):
        noise = np.random.default_rng(seed).integers(0, 256, (240, 320, 3), dtype=np.uint8)
        with VideoWriter(tmp_path / "noise.mp4", 320, 240, 25, preset="ultrafast") as video:
            for _ in range(4):
                video.write(noise)
        decode(tmp_path / "noise.mp4")
        assert file_digest(write_twenty(tmp_path / "again.mp4")) == file_digest(clip)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".gif", ".webp"])
@pytest.mark.parametrize("rate", [Fraction(359, 1_200_000), 0.03, Fraction(30000, 1001), 25])
def test_any_rate_can_be_written(tmp_path, suffix, rate):
    with VideoWriter(tmp_path / f"a{suffix}", 64, 48, rate) as video:
        video.write(painted(3))
        video.write(painted(5))
    times, frames = zip(*iterate_frames(tmp_path / f"a{suffix}"), strict=True)
    assert numbers(frames) == [3, 5]
    longest = 655.35 if suffix == ".gif" else 2**24 / 1000 if suffix == ".webp" else np.inf
    assert times[1] == pytest.approx(min(float(1 / rate), longest), rel=1e-3, abs=0.006)


def test_the_rate_of_a_drawn_video():
    rate = Fraction(359, 12)
    assert output_rate(rate, 7.0) == rate and output_rate(rate, 7.0, stride=2) == rate / 2
    assert output_rate(rate, 7.0, suffix=".GIF") == Fraction(25, 2)
    assert output_rate(rate, 7.0, stride=100_000) == Fraction(1, 7)  # one frame, shown as long as the clip
    assert output_rate(Fraction(25), 0.04) == 25


# --- animations


def drifting(k):
    """A frame of grey noise on which a square moves; the noise differs a little from frame to frame."""
    noise = np.random.default_rng(0).integers(30, 220, (48, 64, 1))
    frame = np.repeat(noise + np.random.default_rng(k).integers(-4, 5, noise.shape), 3, axis=2).astype(np.uint8)
    frame[10:20, 3 * k : 3 * k + 10] = (250, 20, 20)
    return frame


def test_a_gif_draws_only_what_changes(tmp_path):
    sizes = []
    for num_frames in (1, 11):
        with VideoWriter(tmp_path / "a.gif", 64, 48, Fraction(25, 2)) as video:
            for k in range(num_frames):
                video.write(drifting(k))
        sizes.append((tmp_path / "a.gif").stat().st_size)
    assert sizes[1] - sizes[0] < 10 * sizes[0] / 2  # half of a small file is its palette
    found, by_pillow = decode(tmp_path / "a.gif"), Image.open(tmp_path / "a.gif")
    assert len(found) == by_pillow.n_frames == 11 and by_pillow.info["loop"] == 0
    for k, frame in enumerate(found):
        by_pillow.seek(k)
        np.testing.assert_array_equal(frame, np.asarray(by_pillow.convert("RGB")))
        assert by_pillow.info["duration"] == 80
        error = np.abs(frame.astype(int) - drifting(k))
        assert error.max() <= GifEncoder.TOLERANCE + 2 and error.mean() < 4


def test_a_gif_whose_frames_do_not_change(tmp_path):
    with VideoWriter(tmp_path / "a.gif", 64, 48, 10) as video:
        for _ in range(4):
            video.write(painted(3))
    assert numbers(decode(tmp_path / "a.gif")) == [3] * 4
    assert (tmp_path / "a.gif").stat().st_size < 4000


def test_few_colours_are_exact_in_a_gif(tmp_path):
    frames = [np.full((48, 64, 3), colour, np.uint8) for colour in ((0, 0, 0), (255, 255, 255), (7, 100, 33))]
    frames[2][5, 5] = GifEncoder.TOLERANCE + 1
    with VideoWriter(tmp_path / "a.gif", 64, 48, 10) as video:
        for frame in frames:
            video.write(frame)
    np.testing.assert_array_equal(decode(tmp_path / "a.gif"), frames)


# --- what cannot be written


def test_after_an_error_only_the_old_video_is_there(tmp_path):
    path = tmp_path / "video.mp4"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), VideoWriter(path, 64, 48, 25) as video:
        video.write(painted(0))
        raise KeyboardInterrupt
    with pytest.raises(ValueError, match=r"frame is \(48, 64, 3\) uint8, not \(64, 48, 3\) uint8"):
        with VideoWriter(path, 64, 48, 25) as video:
            video.write(np.zeros((64, 48, 3), np.uint8))
    with pytest.raises(ValueError, match="no frame was written"), VideoWriter(path, 64, 48, 25):
        pass
    assert os.listdir(tmp_path) == ["video.mp4"] and path.read_bytes() == b"old"


@contextlib.contextmanager
def small_disk():
    """No file can grow over 4,096 bytes, as on a full disk. Not a fixture: pytest's own log must still grow."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("name", ["noise.mp4", "noise.gif", "noise.webp"])
def test_a_full_disk_is_one_line(tmp_path, capfd, name):
    with small_disk(), pytest.raises(UserError, match=f"cannot write .*{name}: File too large"):
        with VideoWriter(tmp_path / name, 320, 240, 25) as video:
            for i in range(5):
                video.write(np.random.default_rng(i).integers(0, 256, (240, 320, 3), dtype=np.uint8))
    with small_disk(), pytest.raises(UserError, match="cannot write .*long.json: File too large"):
        write_json(tmp_path / "long.json", list(range(5000)))
    assert os.listdir(tmp_path) == [] and capfd.readouterr().err == ""


def test_impossible_names_sizes_and_rates_are_refused(tmp_path):
    with pytest.raises(UserError, match="as a video: let its name end in .mp4, "):
        VideoWriter(tmp_path / "video.png", 64, 48, 25)
    with pytest.raises(ValueError, match="not 64x48 at 0"):
        VideoWriter(tmp_path / "video.mp4", 64, 48, 0)
