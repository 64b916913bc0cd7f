"""Decoding: every frame in order, upright, and files that hold no video; frames at a constant rate."""

import wave

import av
import numpy as np
import pytest
from painted import numbers, packet_places, painted, write_clip, write_twenty

from s2vt.data.pictures import MediaError
from s2vt.data.video import at_rate, expected_frames, iterate_frames


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """20 painted frames, 64 x 48, 25 per second."""
    return write_twenty(tmp_path_factory.mktemp("clip") / "clip.mp4")


def test_every_frame_in_order(clip):
    times, frames = zip(*iterate_frames(clip), strict=True)
    assert numbers(frames) == list(range(20))
    np.testing.assert_allclose(times, np.arange(20) * 0.04)
    assert expected_frames(clip) == (20, 25)


def test_frames_of_a_range(clip):
    assert numbers(frame for _, frame in iterate_frames(clip, start=0.7)) == [18, 19]
    assert numbers(frame for _, frame in iterate_frames(clip, end=0.1)) == [0, 1, 2]
    assert numbers(frame for _, frame in iterate_frames(clip, 0.2, 0.4)) == [5, 6, 7, 8, 9]
    assert expected_frames(clip, 0.2, 0.4)[0] == 5


@pytest.mark.parametrize(
    ("start", "end", "named"),
    [(9, None, "from 9 s on"), (9, 9.5, "from 9 s on and before 9.5 s"), (None, -1, "before -1 s")],
)
def test_a_range_without_frames_is_named(clip, start, end, named):
    with pytest.raises(MediaError, match=f"no frame {named}; the last one is at 0.76 s"):
        list(iterate_frames(clip, start, end))


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
    frame = next(iterate_frames(path))[1]
    assert frame.shape == ((64, 48, 3) if matrix[0] in (90, 270) else (48, 64, 3))
    corners = {(row, column): int(frame[row, column, 0]) for row in (0, -1) for column in (0, -1)}
    assert corners.pop(corner) > 240 and max(corners.values()) < 15


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
        "none.mp4": "missing",
        ".": "a folder",
    }
    for name, reason in reasons.items():
        with pytest.raises(MediaError, match=reason) as error:
            next(iterate_frames(tmp_path / name))
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
        expected_frames(tmp_path / "song.mp4")


def test_a_name_with_a_colon_is_no_address(tmp_path, clip, monkeypatch):
    (tmp_path / "http:clip.mp4").write_bytes(clip.read_bytes())
    monkeypatch.chdir(tmp_path)
    assert len(list(iterate_frames("http:clip.mp4"))) == 20


# --- a constant rate


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (10, [0, 1, 2, 3, 4]),
        (15, [0, 1, 1, 2, 3, 3, 4]),
        (5, [0, 2, 4]),
        (2, [0]),
        (1e-4, [0]),
    ],
)
def test_frames_are_repeated_or_left_out_and_the_duration_is_kept(rate, expected):
    frames = [(3 + k / 10, k) for k in range(5)]
    found = list(at_rate(frames, rate, source_rate=10))
    assert [frame for _, frame in found] == expected
    np.testing.assert_allclose([time for time, _ in found], 3 + np.arange(len(expected)) / rate)


def test_no_frames_at_any_rate():
    assert list(at_rate([], 10, 10)) == []
