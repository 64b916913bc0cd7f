"""Every frame of a video, averaged over 3, beside SciPy's convolution; its memory."""

import numpy as np
import pytest
from scipy.ndimage import convolve1d

import cfg
from s2vt.data.geometry import Geometry, resize
from s2vt.data.video import iterate_frames
from s2vt.features.every_frame import average_frames, every_frame

CONFIG = cfg.MOVING_SHAPES.replace(["features.batch_size=3", "features.resize=center_crop"]).features


class Colour:
    """A network that gives every cell its picture's mean colour, and notes the number of pictures of each call."""

    def __init__(self):
        self.calls = []

    def cells(self, pictures):
        self.calls.append(len(pictures))
        colours = pictures.mean(axis=(1, 2))[:, None]
        return np.broadcast_to(colours, (len(pictures), 64, 3)).astype(np.float16)


@pytest.mark.parametrize("m", [1, 2, 3, 6])
def test_descriptors_are_convolved_over_frames(m):
    cells = np.random.default_rng(m).normal(size=(m, 4, 5)).astype("float16")
    expected = convolve1d(cells.astype("float32"), np.ones(3) / 3, axis=0)
    found = np.stack(list(average_frames(cells)))
    np.testing.assert_allclose(found, expected, atol=1e-6, strict=True)


def test_averages_may_replace_their_originals():
    cells = np.random.default_rng(0).normal(size=(6, 4, 5)).astype("float32")
    expected = np.stack(list(average_frames(cells.copy())))
    for k, average in enumerate(average_frames(cells)):
        cells[k] = average
    np.testing.assert_array_equal(cells, expected)
    assert list(average_frames([])) == []


@pytest.mark.parametrize("num_frames", [1, 2, 7])
def test_every_frame_is_described_and_averaged(num_frames):
    random = np.random.default_rng(num_frames)
    frames = [(k / 10, random.integers(0, 256, (20, 30, 3), np.uint8)) for k in range(num_frames)]
    network, geometry = Colour(), Geometry.of(30, 20, "center_crop")
    every = every_frame(iter(frames), network, CONFIG, keep=lambda frame: int(frame[0, 0, 0]))
    raw = Colour().cells(np.stack([resize(frame, geometry) for _, frame in frames]))
    expected = convolve1d(raw.astype("float32"), np.ones(3) / 3, axis=0)
    assert every.cells.dtype == np.float16 and every.geometry == geometry
    np.testing.assert_allclose(every.cells, expected, rtol=1e-3)
    assert every.indices.tolist() == list(range(num_frames))
    assert every.times.tolist() == [k / 10 for k in range(num_frames)]
    assert every.kept == [int(frame[0, 0, 0]) for _, frame in frames]
    assert network.calls == [3] * (num_frames // 3) + [num_frames % 3] * (num_frames % 3 > 0)


def test_frames_come_from_a_file_and_stay_out_of_memory(tmp_path):
    from painted import write_twenty

    every = every_frame(iterate_frames(write_twenty(tmp_path / "clip.mp4"), 0.2, 0.6), Colour(), CONFIG)
    assert every.cells.shape == (10, 64, 3) and every.kept == [None] * 10
    np.testing.assert_allclose(every.times, np.arange(5, 15) / 25)
    assert isinstance(every.cells, np.memmap) and not every.cells.flags.writeable


def test_a_video_without_frames_is_refused():
    with pytest.raises(ValueError, match="at least one frame"):
        every_frame([], Colour(), CONFIG)
