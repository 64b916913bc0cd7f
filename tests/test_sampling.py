"""Sampling a picture or frames of a clip, by the numbers that the frames show."""

import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from painted import damage, numbers, painted, write_clip, write_twenty
from PIL import Image

from s2vt.data import sampling
from s2vt.data.geometry import Geometry, Grid
from s2vt.data.pictures import MediaError
from s2vt.data.sampling import sample_medium, sample_video, together
from s2vt.data.video import iterate_frames
from s2vt.data.video_writer import VideoWriter


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """20 painted frames, 64 x 48, 25 per second, B frames among them, index first."""
    return write_twenty(tmp_path_factory.mktemp("clip") / "clip.mp4")


# --- frames of a clip


def test_eight_of_twenty_frames(clip):
    sampled = sample_video(clip, num_frames=8)
    expected = [0, 3, 5, 8, 11, 14, 16, 19]  # round(0, 2.71, 5.43, 8.14, 10.86, 13.57, 16.29, 19)
    assert sampled.indices.tolist() == expected
    assert numbers(sampled.frames) == expected
    np.testing.assert_allclose(sampled.times, np.array(expected) * 0.04, strict=True)
    assert sampled.frames.shape == (8, 48, 64, 3) and sampled.frames.dtype == np.uint8
    assert (sampled.frame_rate, sampled.num_frames, sampled.size) == (25, 20, (64, 48))
    assert sampled.duration == pytest.approx(0.8)


def test_a_range_counts_its_own_frames(clip):
    sampled = sample_video(clip, num_frames=3, start=0.2, end=0.4)  # frames 5..9
    assert sampled.indices.tolist() == [0, 2, 4] and numbers(sampled.frames) == [5, 7, 9]
    np.testing.assert_allclose(sampled.times, [0.2, 0.28, 0.36])
    assert sampled.num_frames == 5 and sampled.duration == pytest.approx(0.2)


def test_frames_are_repeated_where_the_clip_is_shorter(tmp_path):
    path = tmp_path / "short.mp4"
    with VideoWriter(path, 64, 48, Fraction(30000, 1001)) as video:
        for i in range(3):
            video.write(painted(i))
    sampled = sample_video(path, num_frames=8)
    assert sampled.indices.tolist() == [0, 0, 1, 1, 1, 1, 2, 2]
    assert numbers(sampled.frames) == [0, 0, 1, 1, 1, 1, 2, 2]
    assert sampled.frame_rate == Fraction(30000, 1001)
    distinct, which = sampled.distinct()
    assert which.tolist() == [0, 2, 6] and numbers(distinct.frames) == distinct.indices.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(distinct.times, sampled.times[which], strict=True)
    assert (distinct.num_frames, distinct.duration) == (3, sampled.duration)
    assert sample_video(path, num_frames=1).indices.tolist() == [0]


def test_a_clip_of_one_frame(tmp_path):
    sampled = sample_video(write_clip(tmp_path / "one.mp4", num_frames=1), num_frames=4)
    assert sampled.indices.tolist() == [0] * 4 and sampled.num_frames == 1
    assert sampled.duration == pytest.approx(1 / sampled.frame_rate)


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
    sampled = sample_video(path, num_frames=6)
    np.testing.assert_array_equal(sampled.indices, [0, 4, 8, 11, 15, 19])
    np.testing.assert_array_equal(sampled.frames, np.stack(frames)[sampled.indices], strict=True)
    np.testing.assert_array_equal(sampled.times, np.array(times)[sampled.indices], strict=True)
    stamps = np.array(options.get("stamps", np.arange(20) * 40)) / 1000
    np.testing.assert_allclose(times, stamps - stamps[0], atol=0.0015)


@pytest.mark.parametrize("rate", [None, Fraction(1000)])
def test_a_frame_rate_that_cannot_be_is_measured(clip, monkeypatch, rate):
    monkeypatch.setattr(sampling, "expected_frames", lambda *args: (20, rate))
    sampled = sample_video(clip)
    assert sampled.frame_rate == 25 and sampled.duration == pytest.approx(0.8)


@pytest.mark.parametrize("promised", [1, 19, 21, 500])
def test_a_wrong_number_of_frames_in_the_container_changes_nothing(clip, monkeypatch, promised):
    expected = sample_video(clip, num_frames=6)
    monkeypatch.setattr(sampling, "expected_frames", lambda *args: (promised, Fraction(25)))
    sampled = sample_video(clip, num_frames=6)
    np.testing.assert_array_equal(sampled.indices, expected.indices)
    np.testing.assert_array_equal(sampled.frames, expected.frames)
    assert sampled.num_frames == 20


def test_damaged_packets_are_left_out_of_the_count(tmp_path, clip, capfd):
    path = damage(clip, tmp_path / "damaged.mp4", lambda k: k in (6, 7, 12))
    frames = [frame for _, frame in iterate_frames(path)]
    assert 0 < len(frames) < 20
    sampled = sample_video(path, num_frames=5)
    assert sampled.num_frames == len(frames)
    assert sampled.indices.tolist() == np.round(np.linspace(0, len(frames) - 1, 5)).astype(int).tolist()
    assert numbers(sampled.frames) == numbers(frames[i] for i in sampled.indices)
    for path in (damage(clip, tmp_path / "m.mp4", lambda k: k > 3), damage(clip, tmp_path / "a.mp4", lambda k: True)):
        with pytest.raises(MediaError, match=f"{path.name}.*(most|no frame) of the video can"):
            sample_video(path)
    assert capfd.readouterr().err == ""


def test_only_the_sampled_frames_are_converted_and_kept(tmp_path, monkeypatch):
    path = write_clip(tmp_path / "long.mp4", num_frames=200, size=(160, 120))
    conversions, convert = [], sampling.to_array
    monkeypatch.setattr(sampling, "to_array", lambda *args: conversions.append(1) or convert(*args))
    tracemalloc.start()
    try:
        sample_video(path, num_frames=4)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    frame = 160 * 120 * 3
    assert len(conversions) == 4 and peak < 8 * frame  # all 200 would be 11.5 MB


def test_at_least_one_frame_is_sampled(clip):
    with pytest.raises(ValueError, match="num_frames is at least 1, not 0"):
        sample_video(clip, num_frames=0)


# --- animated WebP, which FFmpeg does not read


@pytest.mark.parametrize("lossless", [True, False])
def test_an_animated_webp_is_read_frame_by_frame(tmp_path, lossless):
    path, durations = tmp_path / "a.webp", [80, 40, 200, 80, 100]
    first, *others = (Image.fromarray(painted(k)) for k in range(5))
    first.save(path, save_all=True, append_images=others, duration=durations, lossless=lossless)
    times, frames = zip(*iterate_frames(path), strict=True)
    assert numbers(frames) == list(range(5))
    np.testing.assert_allclose(times, [0, 0.08, 0.12, 0.32, 0.4])
    sampled = sample_medium(path, num_frames=3)
    assert sampled.indices.tolist() == numbers(sampled.frames) == [0, 2, 4]
    assert sampled.frame_rate == 10  # 4 frames in 0.4 s
    inside = sample_video(path, 2, start=0.1, end=0.35)
    assert numbers(inside.frames) == [2, 3] and inside.num_frames == 2


def test_a_transparent_animation_is_laid_over_white(tmp_path):
    frames = [Image.new("RGBA", (16, 8), (200, 0, 0, alpha)) for alpha in (255, 0)]
    frames[0].save(tmp_path / "t.webp", save_all=True, append_images=frames[1:], duration=50, lossless=True)
    sampled = sample_video(tmp_path / "t.webp", 2)
    assert sampled.frames[:, 0, 0].tolist() == [[200, 0, 0], [255, 255, 255]]


def test_a_damaged_animated_webp_is_refused(tmp_path):
    first, *others = (Image.fromarray(painted(k)) for k in range(5))
    first.save(tmp_path / "a.webp", save_all=True, append_images=others)
    content = (tmp_path / "a.webp").read_bytes()
    (tmp_path / "cut.webp").write_bytes(content[: len(content) // 2])
    (tmp_path / "zeros.webp").write_bytes(content[:60] + bytes(len(content) - 60))
    for name, reason in (("cut.webp", "cut short"), ("zeros.webp", "cannot be decoded")):
        with pytest.raises(MediaError, match=f"{name}: .*{reason}") as error:
            sample_medium(tmp_path / name, "video")
        assert "\n" not in str(error.value)


# --- pictures and videos alike


def test_the_content_decides_whether_a_file_is_a_picture(clip, tmp_path):
    Image.fromarray(painted(5)).save(tmp_path / "picture.mp4", "PNG")
    picture = sample_medium(tmp_path / "picture.mp4")
    assert numbers(picture.frames) == [5] and picture.frames.shape == (1, 48, 64, 3)
    assert (picture.size, picture.num_frames, picture.duration, picture.frame_rate) == ((64, 48), 1, 0, None)
    assert picture.indices.shape == picture.times.shape == (0,)
    same, which = picture.distinct()
    assert same is picture and which.tolist() == [0]
    assert len(sample_medium(clip, num_frames=4).frames) == 4
    assert len(sample_medium(tmp_path / "picture.mp4", "video", num_frames=4).frames) == 4


def test_the_first_frame_of_an_animation_as_a_picture(tmp_path):
    first, *others = (Image.fromarray(painted(k)) for k in range(3))
    first.save(tmp_path / "a.gif", save_all=True, append_images=others)
    assert numbers(sample_medium(tmp_path / "a.gif", "picture").frames) == [0]
    assert numbers(sample_medium(tmp_path / "a.gif", num_frames=3).frames) == [0, 1, 2]


@pytest.mark.parametrize("resize", ["squash", "center_crop"])
def test_several_things_are_kept_of_a_frame_and_the_sources_geometry(clip, resize):
    def convert(frame):
        return together(corner=frame[:2, :3], mean=np.float32(frame.mean()))

    sampled = sample_medium(clip, "video", 4, convert=convert)
    assert sampled.frames["corner"].shape == (4, 2, 3, 3) and sampled.frames["mean"].dtype == np.float32
    assert sampled.geometry(resize, Grid()) == Geometry.of(64, 48, resize)


def test_an_unforeseen_error_of_a_decoder_is_the_mediums(clip):
    with pytest.raises(MediaError, match=r"clip.mp4: cannot be decoded: KeyError: 'a\\nb'") as error:
        sample_medium(clip, "video", convert=lambda frame: {}["a\nb"])
    assert "\n" not in str(error.value)
