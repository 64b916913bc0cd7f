"""Frames from a moment on, two roads: sought from a keyframe, and decoded from the beginning; equal to the bit."""

import av
import numpy as np
import pytest
from painted import write_clip

from s2vt.data import pictures, video
from s2vt.data.sampling import sample_video
from s2vt.data.video_writer import VideoWriter

NUM_FRAMES, SIZE = 120, (96, 64)
STEADY = [40 * k for k in range(NUM_FRAMES)]  # ms, 25 frames a second
VARIABLE = np.cumsum(np.random.default_rng(0).choice([17, 33, 40, 250], NUM_FRAMES)).tolist()

# name -> (codec, its options, time stamps, whether seeking is exact there)
CLIPS = {
    "b_frames.mp4": ("libx264", {"g": "12", "bf": "3", "x264-params": "b-pyramid=normal"}, STEADY, True),
    "open_gop.mp4": ("libx264", {"g": "12", "bf": "3", "x264-params": "open-gop=1"}, STEADY, True),
    "variable.mp4": ("libx264", {"g": "10", "bf": "2"}, VARIABLE, True),
    "variable.mkv": ("libx264", {"g": "10", "bf": "2", "x264-params": "open-gop=1"}, VARIABLE, True),
    "late.mkv": ("libx264", {"g": "10", "bf": "2"}, [stamp + 7000 for stamp in STEADY], True),
    "refresh.mkv": ("libx264", {"g": "12", "x264-params": "intra-refresh=1:bframes=0"}, STEADY, None),
    "one_keyframe.mp4": ("libx264", {"g": "1000", "sc_threshold": "0"}, STEADY, False),
    "open_gop.ts": ("mpeg2video", {"g": "12", "bf": "2"}, STEADY, None),
    "packed.avi": ("mpeg4", {"g": "12", "bf": "2"}, STEADY, None),
    "free.webm": ("libvpx-vp9", {"g": "15", "deadline": "realtime", "cpu-used": "8"}, VARIABLE, True),
}  # fmt: skip


def textured(k, *_):
    """A frame of noise that moves: each depends on those before it, and none equals another."""
    noise = np.random.default_rng(7).integers(0, 256, (SIZE[1], 2 * SIZE[0], 3), np.uint8)
    frame = np.roll(noise, 3 * k, axis=1)[:, : SIZE[0]].copy()
    frame[8:24, (5 * k) % 70 : (5 * k) % 70 + 20] = (2 * k, 255 - 2 * k, 128)
    return frame


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """{name: (path, all its frames decoded from the beginning)}"""
    folder, made = tmp_path_factory.mktemp("clips"), {}
    for name, (codec, options, stamps, _) in CLIPS.items():
        stamps = None if stamps is STEADY else stamps
        path = write_clip(folder / name, NUM_FRAMES, codec, stamps, SIZE, options, textured)
        made[name] = path, list(video.iterate_frames(path))
    return made


@pytest.fixture
def read(monkeypatch):
    """(path, start, end) -> (frames, how many packets were decoded for them)."""
    packets, read = video._packets, []

    def counted(container, stream, flush=False):
        for packet in packets(container, stream, flush):
            if flush:
                read.append(packet)
            yield packet

    monkeypatch.setattr(video, "_packets", counted)

    def frames(path, start, end=None):
        read.clear()
        return list(video.iterate_frames(path, start, end)), len(read)

    return frames


@pytest.mark.parametrize("name", CLIPS)
def test_the_same_frames_as_from_the_beginning(clips, read, name):
    path, every = clips[name]
    assert len(every) > 100
    times = [time for time, _ in every]
    frames = np.stack([frame for _, frame in every])
    sought = []
    for k in (1, 12, 13, 60, 61, 95, len(every) - 1):
        for start in (times[k], times[k] - 1e-4, times[k] + 1e-4 if k + 1 < len(every) else times[k]):
            first = next(i for i, time in enumerate(times) if start <= time)
            found, num_packets = read(path, start)
            assert [time for time, _ in found] == times[first:], start
            assert np.array_equal([frame for _, frame in found], frames[first:]), start
            sought.append(num_packets < len(every))
    exact = CLIPS[name][3]
    assert exact is None or (2 * sum(sought) > len(sought) if exact else not any(sought))


def test_little_is_decoded_before_the_start(clips, read):
    path, every = clips["b_frames.mp4"]
    found, num_packets = read(path, every[100][0], every[104][0])
    assert len(found) == 4 and num_packets <= 12 + 4 + 4  # a group of frames, those wanted, B frames' delay


def test_sampling_from_a_start_equals_picking(clips):
    for name in ("open_gop.mp4", "variable.mkv", "packed.avi"):
        path, every = clips[name]
        start, end = every[47][0], every[95][0]
        inside = [(time, frame) for time, frame in every if start <= time < end]
        sample = sample_video(path, 7, start, end)
        assert sample.num_frames == len(inside)
        for k, index in enumerate(sample.indices):
            np.testing.assert_array_equal(sample.frames[k], inside[index][1])
            assert sample.times[k] == inside[index][0]


def test_a_start_after_the_end_is_refused_with_and_without_seeking(clips):
    for name in ("b_frames.mp4", "one_keyframe.mp4"):
        with pytest.raises(pictures.MediaError, match=r"no frame from 99 s on; the last one is at 4\.76 s"):
            list(video.iterate_frames(clips[name][0], 99.0))


@pytest.mark.parametrize(("interval", "suffix"), [(6, ".mp4"), (6, ".mkv"), (250, ".mp4")])
def test_keyframes_at_the_given_interval(tmp_path, interval, suffix):
    path = tmp_path / f"clip{suffix}"
    with VideoWriter(path, *SIZE, 25, keyframe_interval=interval) as writer:
        for _ in range(40):
            writer.write(textured(0))
    with av.open(str(path)) as container:
        keys = [k for k, packet in enumerate(p for p in container.demux(video=0) if p.size) if packet.is_keyframe]
    assert keys == list(range(0, 40, interval))
