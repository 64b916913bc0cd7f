"""Pictures, videos and geometry on real small files, which the tests write with Pillow and PyAV themselves."""

import contextlib
import json
import os
import pickle
import resource
import stat
import tracemalloc
import wave
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from s2vt.data import pictures, video
from s2vt.data.files import atomic_path, file_digest, read_json, write_json
from s2vt.data.geometry import Geometry, resize
from s2vt.data.pictures import MediaError, read_picture
from s2vt.data.video import VideoWriter, count_frames, iterate_frames, read_frames
from s2vt.errors import UserError

NUM_BITS = 8


def painted(index, width=64, height=48):
    """A frame that says its own number: one vertical stripe per bit, the highest on the left."""
    bits = [index >> k & 1 for k in reversed(range(NUM_BITS))]
    stripes = np.repeat(np.array(bits, np.uint8) * 255, -(-width // NUM_BITS))[:width]
    return np.ascontiguousarray(np.broadcast_to(stripes[None, :, None], (height, width, 3)))


def number_of(frame):
    """The number that `painted` wrote."""
    starts = np.arange(NUM_BITS) * -(-frame.shape[1] // NUM_BITS)
    return int("".join(str(int(value > 127)) for value in frame[frame.shape[0] // 2, starts + 3, 1]), 2)


def numbers(frames):
    return [number_of(frame) for frame in frames]


def write_clip(path, num_frames=20, codec="libx264", stamps=None, size=(64, 48)):
    """A clip straight through PyAV: other codecs, containers and timestamps (ms) than `VideoWriter` writes."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        time_base = Fraction(1, 1000 if stamps else 25)
        stream.codec_context.time_base = time_base
        for i in range(num_frames):
            frame = av.VideoFrame.from_ndarray(painted(i, *size), format="rgb24")
            frame.pts, frame.time_base = stamps[i] if stamps else i, time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """20 painted frames, 64 x 48, 25 per second, B frames among them, index first."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with VideoWriter(path, 64, 48, 25, threads=1) as video:
        for i in range(20):
            video.write(painted(i))
    return path


# --- geometry -------------------------------------------------------------------------------------------------------


def test_squash_takes_the_whole_picture():
    geometry = Geometry.of(320, 240)
    assert geometry.crop == (0, 0, 320, 240)
    points = np.array([[0, 0], [160, 60], [320, 240]])
    expected = np.array([[0, 0], [149.5, 74.75], [299, 299]])
    np.testing.assert_allclose(geometry.to_input(points), expected, strict=True)
    np.testing.assert_allclose(geometry.to_source(expected), points.astype(float), strict=True)


def test_center_crop_takes_seven_eighths_of_the_shorter_side():
    # 400 x 300: 300 -> 256 pixels, so 224 of them are 262.5 source pixels around (200, 150); 299 / 262.5 = 1.13904...
    geometry = Geometry.of(400, 300, resize="center_crop")
    assert geometry.crop == (68.75, 18.75, 331.25, 281.25)
    points = np.array([[200, 150], [68.75, 18.75], [331.25, 281.25], [0, 150]])
    expected = np.array([[149.5, 149.5], [0, 0], [299, 299], [149.5 - 200 * 299 / 262.5, 149.5]])
    np.testing.assert_allclose(geometry.to_input(points), expected, atol=1e-12, strict=True)
    np.testing.assert_allclose(geometry.to_source(expected), points, atol=1e-12, strict=True)
    assert Geometry.of(300, 400, resize="center_crop").crop == (18.75, 68.75, 281.25, 331.25)


def test_boxes_keep_their_order_and_leading_axes():
    geometry = Geometry.of(320, 240)
    boxes = np.array([[[0, 0, 320, 240], [32, 48, 64, 120]]])
    expected = np.array([[[0, 0, 299, 299], [29.9, 59.8, 59.8, 149.5]]])
    np.testing.assert_allclose(geometry.boxes_to_input(boxes), expected, strict=True)
    np.testing.assert_allclose(geometry.boxes_to_source(expected), boxes.astype(float), atol=1e-12, strict=True)
    assert geometry.boxes_to_input([1, 2, 3, 4]).shape == (4,)


def test_geometry_survives_json():
    geometry = Geometry.of(333, 217, resize="center_crop", size=139)
    assert Geometry.from_json(json.loads(json.dumps(geometry.to_json()))) == geometry


def test_geometry_refuses_what_cannot_be():
    with pytest.raises(ValueError, match='"squash" or "center_crop", not \'fit\''):
        Geometry.of(320, 240, resize="fit")
    with pytest.raises(ValueError, match="at least 1 pixel, not 0, 240, 299"):
        Geometry.of(0, 240)
    with pytest.raises(ValueError, match=r"inside 320x240, not \(0.0, 0.0, 321.0, 240.0\)"):
        Geometry(320, 240, (0, 0, 321, 240))


@pytest.mark.parametrize("protocol", ["squash", "center_crop"])
def test_resize_puts_a_dot_where_the_geometry_says(protocol):
    picture = np.zeros((300, 400, 3), np.uint8)
    picture[98:103, 248:253] = 255  # centred on (250.5, 100.5)
    geometry = Geometry.of(400, 300, resize=protocol)
    small = resize(picture, geometry)
    assert small.shape == (299, 299, 3) and small.dtype == np.uint8
    weight = small[..., 0].astype(float)
    rows, columns = np.mgrid[:299, :299] + 0.5
    centre = np.array([(columns * weight).sum(), (rows * weight).sum()]) / weight.sum()
    np.testing.assert_allclose(centre, geometry.to_input((250.5, 100.5)), atol=0.05)


def test_resize_does_not_alias():
    # Every other row white, 10 times smaller: grey everywhere. Four nearest pixels alone would give stripes.
    picture = np.zeros((400, 400, 3), np.uint8)
    picture[::2] = 255
    small = resize(picture, Geometry.of(400, 400, size=40))
    assert small.min() > 120 and small.max() < 136


def test_resize_refuses_a_picture_of_another_size():
    with pytest.raises(ValueError, match=r"\(240, 320, 3\) uint8, as its geometry says, not \(320, 240, 3\) uint8"):
        resize(np.zeros((320, 240, 3), np.uint8), Geometry.of(320, 240))


# --- pictures -------------------------------------------------------------------------------------------------------


def save_picture(path, values, mode=None, **options):
    image = Image.fromarray(np.asarray(values))
    (image.convert(mode) if mode else image).save(path, **options)
    return path


@pytest.mark.parametrize(
    ("orientation", "corner"),  # where the stored picture's upper left corner is shown: (row, column)
    [(1, (0, 0)), (2, (0, -1)), (3, (-1, -1)), (4, (-1, 0)), (5, (0, 0)), (6, (0, -1)), (7, (-1, -1)), (8, (-1, 0))],
)
def test_exif_orientation_is_applied(tmp_path, orientation, corner):
    values = np.zeros((3, 5, 3), np.uint8)
    values[0, 0] = 250
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = read_picture(save_picture(tmp_path / "turned.png", values, exif=exif))
    assert picture.shape == ((3, 5, 3) if orientation < 5 else (5, 3, 3))
    assert picture.sum() == 750 and picture[corner].tolist() == [250, 250, 250]


def test_damaged_exif_does_not_lose_the_picture(tmp_path):
    path = save_picture(tmp_path / "p.jpg", np.full((8, 8, 3), 90, np.uint8), exif=b"Exif\0\0garbage-not-tiff")
    np.testing.assert_allclose(read_picture(path), 90, atol=2)


def test_transparency_is_laid_over_white(tmp_path):
    values = np.array([[[200, 0, 0, 255], [200, 0, 0, 0], [200, 0, 0, 51]]], np.uint8)
    picture = read_picture(save_picture(tmp_path / "p.png", values))
    np.testing.assert_array_equal(picture, [[[200, 0, 0], [255, 255, 255], [244, 204, 204]]])  # 0.2 c + 0.8 255
    grey = np.array([[[100, 255], [100, 0]]], np.uint8)
    np.testing.assert_array_equal(read_picture(save_picture(tmp_path / "g.png", grey))[0, :, 0], [100, 255])


def test_palette_with_a_transparent_entry(tmp_path):
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8), mode="P")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    image.save(tmp_path / "p.png", transparency=1)
    np.testing.assert_array_equal(read_picture(tmp_path / "p.png"), [[[10, 20, 30], [255, 255, 255], [70, 80, 90]]])


def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path):
    values = np.array([[0, 100 * 257, 65535]], np.uint16)
    for name in ("p.png", "p.tif"):
        picture = read_picture(save_picture(tmp_path / name, values))
        np.testing.assert_array_equal(picture, [[[0] * 3, [100] * 3, [255] * 3]], strict=False)


def test_grey_one_bit_and_cmyk(tmp_path):
    grey = save_picture(tmp_path / "l.png", np.array([[7, 8]], np.uint8))
    assert read_picture(grey)[0].tolist() == [[7] * 3, [8] * 3]
    one_bit = save_picture(tmp_path / "1.png", np.array([[0, 255]], np.uint8), mode="1")
    assert read_picture(one_bit)[0].tolist() == [[0] * 3, [255] * 3]
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 255
    cmyk = read_picture(save_picture(tmp_path / "c.jpg", red, mode="CMYK", quality=95))
    np.testing.assert_allclose(cmyk, red, atol=3)


def test_floating_point_pictures_are_refused(tmp_path):
    path = save_picture(tmp_path / "f.tif", np.zeros((2, 3), np.float32))
    with pytest.raises(MediaError, match="f.tif: the picture cannot be decoded: its floating-point values"):
        read_picture(path)


def test_pictures_that_cannot_be_read(tmp_path, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 256, (60, 70, 3), dtype=np.uint8)
    whole = save_picture(tmp_path / "whole.jpg", noise)
    (tmp_path / "cut.jpg").write_bytes(whole.read_bytes()[:-500])
    (tmp_path / "text.jpg").write_text("not a picture\n")
    (tmp_path / "empty.jpg").write_bytes(b"")
    reasons = {
        "cut.jpg": "decoded: image file is truncated",
        "text.jpg": "not a picture in a format",
        "empty.jpg": "the file is empty",
        "none.jpg": "no such file",
        ".": "a folder, not a picture",
    }
    for name, reason in reasons.items():
        with pytest.raises(MediaError, match=reason) as error:
            read_picture(tmp_path / name)
        assert str(error.value).startswith(str(tmp_path / name)) and "\n" not in str(error.value)
    for limit in (4199, 2000):  # Pillow warns over the limit and refuses over twice the limit; here both are refused
        monkeypatch.setattr(pictures, "MAX_PIXELS", limit)
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(MediaError, match="whole.jpg: too big: more than"):
            read_picture(whole)


def test_media_error_passes_between_processes():
    error = pickle.loads(pickle.dumps(pictures._refusal("a.mp4", "no\nsuch file")))
    assert isinstance(error, MediaError) and isinstance(error, UserError) and str(error) == "a.mp4: no such file"


# --- videos ---------------------------------------------------------------------------------------------------------


def test_eight_of_twenty_frames(clip):
    sample = read_frames(clip, num_frames=8)
    expected = [0, 3, 5, 8, 11, 14, 16, 19]  # round(0, 2.71, 5.43, 8.14, 10.86, 13.57, 16.29, 19)
    assert sample.indices.tolist() == expected
    assert numbers(sample.frames) == expected
    np.testing.assert_allclose(sample.times, np.array(expected) * 0.04, strict=True)
    assert sample.frames.shape == (8, 48, 64, 3) and sample.frames.dtype == np.uint8
    assert (sample.frame_rate, sample.num_frames) == (25, 20)
    assert sample.duration == pytest.approx(0.8)


def test_frames_are_repeated_where_the_clip_is_shorter(tmp_path):
    path = tmp_path / "short.mp4"
    with VideoWriter(path, 64, 48, Fraction(30000, 1001)) as video:
        for i in range(3):
            video.write(painted(i))
    sample = read_frames(path, num_frames=8)
    assert sample.indices.tolist() == [0, 0, 1, 1, 1, 1, 2, 2]
    assert numbers(sample.frames) == [0, 0, 1, 1, 1, 1, 2, 2]
    assert sample.frame_rate == Fraction(30000, 1001)
    assert read_frames(path, num_frames=1).indices.tolist() == [0]


def test_one_frame_is_a_video_too(tmp_path):
    sample = read_frames(write_clip(tmp_path / "one.mp4", num_frames=1), num_frames=4)
    assert sample.indices.tolist() == [0] * 4 and sample.num_frames == 1
    assert sample.duration == pytest.approx(1 / sample.frame_rate)


def test_range_in_seconds_counts_its_own_frames(clip):
    sample = read_frames(clip, num_frames=3, start=0.2, end=0.4)  # frames 5..9
    assert sample.indices.tolist() == [0, 2, 4] and numbers(sample.frames) == [5, 7, 9]
    np.testing.assert_allclose(sample.times, [0.2, 0.28, 0.36])
    assert sample.num_frames == count_frames(clip, 0.2, 0.4) == 5
    assert sample.duration == pytest.approx(0.2)
    assert [number_of(frame) for _, frame in iterate_frames(clip, start=0.7)] == [18, 19]
    assert count_frames(clip, end=0.1) == 3
    with pytest.raises(MediaError, match=r"no frame between 9 s and inf s; the last one is at 0.76 s"):
        read_frames(clip, start=9)


def test_iterate_gives_every_frame_in_order(clip):
    times, frames = zip(*iterate_frames(clip), strict=True)
    assert numbers(frames) == list(range(20))
    np.testing.assert_allclose(times, np.arange(20) * 0.04)
    assert count_frames(clip) == 20


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("uneven.mp4", {"stamps": [7 * i * i for i in range(20)]}),  # variable frame rate
        ("uneven.mkv", {"stamps": [7 * i * i for i in range(20)]}),
        ("early.mkv", {"stamps": [40 * i - 200 for i in range(20)]}),  # negative timestamps
        ("late.mp4", {"stamps": [40 * i + 5000 for i in range(20)]}),
        ("plain.ts", {}),  # its clock starts at 1.4 s
        ("bare.h264", {}),  # no timestamps at all
        ("old.avi", {"codec": "mpeg4"}),
        ("odd.mkv", {"codec": "ffv1", "size": (67, 45)}),
    ],
)
def test_sampling_equals_picking_from_all_frames(tmp_path, name, options):
    path = write_clip(tmp_path / name, **options)
    times, frames = zip(*iterate_frames(path), strict=True)
    assert numbers(frames) == list(range(20))
    sample = read_frames(path, num_frames=6)
    np.testing.assert_array_equal(sample.indices, [0, 4, 8, 11, 15, 19])
    np.testing.assert_array_equal(sample.frames, np.stack(frames)[sample.indices], strict=True)
    np.testing.assert_array_equal(sample.times, np.array(times)[sample.indices], strict=True)
    stamps = np.array(options.get("stamps", np.arange(20) * 40)) / 1000
    np.testing.assert_allclose(times, stamps - stamps[0], atol=0.0015)


@pytest.mark.parametrize("rate", [None, Fraction(1000)])
def test_a_rate_that_cannot_be_is_measured(clip, monkeypatch, rate):
    monkeypatch.setattr(video, "_promise", lambda *args: (20, rate))
    sample = read_frames(clip)
    assert sample.frame_rate == 25 and sample.duration == pytest.approx(0.8)


@pytest.mark.parametrize("promised", [1, 7, 19, 21, 500])
def test_a_wrong_promise_of_the_container_changes_nothing(clip, monkeypatch, promised):
    expected = read_frames(clip, num_frames=6)
    monkeypatch.setattr(video, "_promise", lambda *args: (promised, Fraction(25)))
    sample = read_frames(clip, num_frames=6)
    np.testing.assert_array_equal(sample.indices, expected.indices)
    np.testing.assert_array_equal(sample.frames, expected.frames)
    assert sample.num_frames == 20


def packet_places(path):
    """(position, size) of each packet of a video file, in bytes."""
    with av.open(str(path)) as container:
        return [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]


def damage(source, target, which):
    """A copy in which the packets that `which` names, by their place, are overwritten."""
    content = bytearray(source.read_bytes())
    for k, (position, size) in enumerate(packet_places(source)):
        if which(k):
            content[position : position + size] = b"\xff" * size
    target.write_bytes(content)
    return target


def test_damaged_packets_are_left_out_of_the_count(tmp_path, clip, capfd):
    path = damage(clip, tmp_path / "damaged.mp4", lambda k: k in (6, 7, 12))
    frames = [frame for _, frame in iterate_frames(path)]
    assert 0 < len(frames) < 20
    sample = read_frames(path, num_frames=5)
    assert sample.num_frames == count_frames(path) == len(frames)
    assert sample.indices.tolist() == np.round(np.linspace(0, len(frames) - 1, 5)).astype(int).tolist()
    assert numbers(sample.frames) == [number_of(frames[i]) for i in sample.indices]
    for path in (damage(clip, tmp_path / "m.mp4", lambda k: k > 3), damage(clip, tmp_path / "a.mp4", lambda k: True)):
        with pytest.raises(MediaError, match=r"(most|no frame) of the video can"):
            read_frames(path)
    assert capfd.readouterr().err == ""


def test_only_the_sampled_frames_are_kept(tmp_path, monkeypatch):
    path = write_clip(tmp_path / "long.mp4", num_frames=200, size=(160, 120))
    conversions = []
    convert = video._to_array
    monkeypatch.setattr(video, "_to_array", lambda *args: conversions.append(1) or convert(*args))
    tracemalloc.start()
    try:
        read_frames(path, num_frames=4)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    frame = 160 * 120 * 3
    assert len(conversions) == 4 and peak < 8 * frame  # all 200 would be 11.5 MB


@pytest.mark.parametrize(
    ("matrix", "corner"),  # (degrees counter-clockwise, then mirrored); where the upper left corner is shown
    [
        ((0, True), (0, -1)),
        ((90, False), (-1, 0)),
        ((180, False), (-1, -1)),
        ((270, False), (0, -1)),
        ((90, True), (-1, -1)),
    ],
)
def test_rotation_is_applied(tmp_path, matrix, corner):
    path = tmp_path / "turned.mp4"
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:16, :16] = 255
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.set_display_rotation(*matrix)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    frame = read_frames(path, num_frames=1).frames[0]
    assert frame.shape == ((64, 48, 3) if matrix[0] in (90, 270) else (48, 64, 3))
    corners = {(row, column): int(frame[row, column, 0]) for row in (0, -1) for column in (0, -1)}
    assert corners.pop(corner) > 240 and max(corners.values()) < 15
    np.testing.assert_array_equal(next(iterate_frames(path))[1], frame)


def test_files_that_are_no_video(tmp_path, clip, capfd):
    content = clip.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(content[: len(content) * 2 // 3])
    late_index = write_clip(tmp_path / "late.mp4").read_bytes()
    (tmp_path / "headless.mp4").write_bytes(late_index[: len(late_index) // 2])
    old = write_clip(tmp_path / "old.avi", codec="mpeg4")
    position, size = packet_places(old)[15]
    (tmp_path / "cut.avi").write_bytes(old.read_bytes()[: position + size // 2])
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "zeros.mp4").write_bytes(bytes(5000))
    (tmp_path / "text.mp4").write_text("This is a text.\n" * 50)
    (tmp_path / "text.txt").write_text("This is a text.\n" * 50)
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile late.mp4\n")
    with wave.open(str(tmp_path / "sound.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(16000))
    (tmp_path / "sound.wav").rename(tmp_path / "sound.mp4")
    reasons = {
        "cut.mp4": "cut short: it promises [0-9,]+ bytes and has [0-9,]+; get it again",
        "headless.mp4": "not a video that FFmpeg can read, or only a part of one",
        "cut.avi": "cut short",
        "empty.mp4": "the file is empty",
        "zeros.mp4": "not a video",
        "text.mp4": "not a video",
        "text.txt": "there is no video in it, only text",
        "list.mp4": "there is no video in it, only text",
        "sound.mp4": "there is no video in it, only audio",
        "none.mp4": "no such file",
        ".": "a folder",
    }
    for name, reason in reasons.items():
        for read in (read_frames, count_frames):
            with pytest.raises(MediaError, match=reason) as error:
                read(tmp_path / name)
            assert str(error.value).startswith(str(tmp_path / name)) and "\n" not in str(error.value)
    assert capfd.readouterr().err == ""


def test_cover_art_of_a_song_is_no_video(tmp_path):
    with av.open(str(tmp_path / "song.mp4"), "w") as container:
        sound, cover = container.add_stream("aac", rate=8000), container.add_stream("png", rate=25)
        sound.layout = "mono"
        cover.width, cover.height, cover.pix_fmt = 64, 48, "rgb24"
        cover.disposition = cover.disposition.attached_pic
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        samples.rate = 8000
        container.mux(sound.encode(samples))
        container.mux(cover.encode(av.VideoFrame.from_ndarray(painted(1), format="rgb24")))
        container.mux(sound.encode(None))
    with pytest.raises(MediaError, match="there is no video in it, only audio and cover art"):
        read_frames(tmp_path / "song.mp4")


def test_a_name_with_a_colon_is_no_address(tmp_path, clip, monkeypatch):
    (tmp_path / "http:clip.mp4").write_bytes(clip.read_bytes())
    monkeypatch.chdir(tmp_path)
    assert read_frames("http:clip.mp4", num_frames=2).num_frames == 20


def test_read_frames_wants_at_least_one(clip):
    with pytest.raises(ValueError, match="num_frames is at least 1, not 0"):
        read_frames(clip, num_frames=0)


# --- writing videos -------------------------------------------------------------------------------------------------


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
    frame = read_frames(tmp_path / "odd.mp4", num_frames=1).frames[0]
    assert frame.shape == (46, 68, 3)
    np.testing.assert_allclose(frame[:, -1].astype(int), 200, atol=8)
    np.testing.assert_allclose(frame[-1].astype(int), 200, atol=8)


@pytest.mark.parametrize("size", [(64, 48), (1280, 720)])
def test_colours_survive(tmp_path, size):
    colour = (220, 40, 120)
    with VideoWriter(tmp_path / "c.mp4", *size, 25, preset="ultrafast") as video:
        video.write(np.full((size[1], size[0], 3), colour, np.uint8))
    np.testing.assert_allclose(read_frames(tmp_path / "c.mp4", 1).frames[0].mean((0, 1)), colour, atol=3)
    with av.open(str(tmp_path / "c.mp4")) as container:
        assert next(container.decode(video=0)).colorspace == video.SMPTE170M


def test_one_thread_writes_the_same_bytes_whatever_was_in_memory(tmp_path, clip):
    for seed in range(4):
        noise = np.random.default_rng(seed).integers(0, 256, (240, 320, 3), dtype=np.uint8)
        with VideoWriter(tmp_path / "noise.mp4", 320, 240, 25, preset="ultrafast") as video:
            for _ in range(4):
                video.write(noise)
        count_frames(tmp_path / "noise.mp4")
        with VideoWriter(tmp_path / "again.mp4", 64, 48, 25, threads=1) as video:
            for i in range(20):
                video.write(painted(i))
        assert file_digest(tmp_path / "again.mp4") == file_digest(clip)


def test_a_failure_leaves_the_old_video_and_nothing_else(tmp_path):
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


def test_a_full_disk_is_told_in_one_line(tmp_path, capfd):
    with small_disk(), pytest.raises(UserError, match="cannot write .*noise.mp4: File too large"):
        with VideoWriter(tmp_path / "noise.mp4", 320, 240, 25) as video:
            for i in range(5):
                video.write(np.random.default_rng(i).integers(0, 256, (240, 320, 3), dtype=np.uint8))
    with small_disk(), pytest.raises(UserError, match="cannot write .*long.json: File too large"):
        write_json(tmp_path / "long.json", list(range(5000)))
    assert os.listdir(tmp_path) == [] and capfd.readouterr().err == ""


def test_a_video_wants_a_name_size_and_rate_that_can_be(tmp_path):
    with pytest.raises(UserError, match="as a video: let its name end in .mp4, "):
        VideoWriter(tmp_path / "video.png", 64, 48, 25)
    with pytest.raises(ValueError, match="not 64x48 at 0"):
        VideoWriter(tmp_path / "video.mp4", 64, 48, 0)


# --- files ----------------------------------------------------------------------------------------------------------


def test_atomic_path_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "folder" / "x.npy"
    with atomic_path(path) as temporary:
        assert temporary.parent == path.parent and temporary.suffix == ".npy" and temporary.name.startswith(".")
        np.save(temporary, np.arange(3))
        assert not path.exists()
    assert np.load(path).tolist() == [0, 1, 2]
    with pytest.raises(KeyboardInterrupt), atomic_path(path) as temporary:
        temporary.write_bytes(b"half")
        raise KeyboardInterrupt
    assert np.load(path).tolist() == [0, 1, 2] and os.listdir(path.parent) == ["x.npy"]
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask


def test_places_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for name, reason in (("file/x.json", "exists|Not a directory"), ("folder", "a folder has this name")):
        with pytest.raises(UserError, match=f"cannot write {tmp_path / name}: .*({reason})"):
            write_json(tmp_path / name, {})
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_errors_about_other_files_stay_what_they_are(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "x"):
        open(tmp_path / "other")
    assert os.listdir(tmp_path) == []


def test_json_there_and_back(tmp_path):
    value = {"ä": [1, 2.5, None], "loss": np.float32(0.5), "boxes": np.array([[1, 2]])}
    write_json(tmp_path / "x.json", value)
    text = (tmp_path / "x.json").read_text(encoding="utf-8")
    assert text.startswith('{\n "ä": [\n  1,') and text.endswith("}\n")
    assert read_json(tmp_path / "x.json") == {"ä": [1, 2.5, None], "loss": 0.5, "boxes": [[1, 2]]}
    with pytest.raises(TypeError, match="set cannot be written as JSON"):
        write_json(tmp_path / "y.json", {1, 2})
    assert os.listdir(tmp_path) == ["x.json"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": 1,\n "b" 2}', "Expecting ':' delimiter at line 2, column 6"),
        (b"", "Expecting value at line 1, column 1"),
        (b'["a",\n  "\xff"]', "not UTF-8 at line 2, column 4"),
    ],
)
def test_malformed_json_is_told_by_line_and_column(tmp_path, content, message):
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(UserError, match=f"x.json is not valid JSON: {message}; mend it"):
        read_json(tmp_path / "x.json")


def test_missing_files_are_named(tmp_path):
    for read in (read_json, file_digest):
        with pytest.raises(UserError, match="none.json: no such file"):
            read(tmp_path / "none.json")
        with pytest.raises(UserError, match="cannot be read: Is a directory"):
            read(tmp_path)


def test_file_digest_is_sha256(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert file_digest(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
