"""Phrase sums, scaling, and maps in source pixels, against numbers worked out by hand."""

import numpy as np
import pytest
import scipy.ndimage

from s2vt.data.geometry import Geometry
from s2vt.saliency.heatmaps import (
    cell_centres,
    maximum,
    over_time,
    phrase_loss,
    scale,
    temporal_alpha,
    temporal_saliency,
    upsample,
)

GEOMETRIES = {
    "squash": Geometry.of(320, 240),
    "squash, tall": Geometry.of(211, 487),
    "center_crop": Geometry.of(500, 333, resize="center_crop"),
    "center_crop, tall": Geometry.of(300, 451, resize="center_crop"),
}


@pytest.fixture(params=GEOMETRIES.values(), ids=GEOMETRIES.keys())
def geometry(request):
    return request.param


def one_cell(row, column):
    cells = np.zeros((8, 8), "float32")
    cells[row, column] = 1
    return cells


# Eq. 9, Eq. 8 and alpha by hand


def test_phrase_loss_is_the_sum_over_its_words():
    loss = np.array([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0], [100.0, 200.0, 300.0], [0.5, 0.5, 0.5]])
    np.testing.assert_allclose(phrase_loss(loss, [1, 3]), np.array([10.5, 20.5, 30.5]), strict=True)
    maps = np.arange(24.0).reshape(4, 3, 2)
    np.testing.assert_allclose(phrase_loss(maps, (0, 2)), np.array([[12.0, 14], [16, 18], [20, 22]]), strict=True)


@pytest.mark.parametrize("words", [[], [0, 4], [-1]])
def test_phrase_loss_refuses_words_outside_the_sentence(words):
    with pytest.raises(ValueError, match=r"positions 0\.\.3 of the sentence"):
        phrase_loss(np.zeros((4, 3)), words)


def test_scale_over_the_items_of_each_word():
    loss = np.array([[2.0, 6.0, 3.0], [0.0, 1.0, 10.0]])
    np.testing.assert_allclose(scale(loss, axes=-1), np.array([[1.0, 0.0, 0.75], [1.0, 0.9, 0.0]]), strict=True)
    np.testing.assert_allclose(scale(loss), np.array([[0.8, 0.4, 0.7], [1.0, 0.9, 0.0]]), strict=True)


def test_scale_over_all_cells_of_all_frames():
    loss = np.random.default_rng(0).gamma(2, size=(2, 3, 8, 8)).astype("float32")  # (T, m, G, G)
    e = scale(loss, axes=(1, 2, 3))
    assert e.dtype == np.float32
    np.testing.assert_allclose(e.min(axis=(1, 2, 3)), np.zeros(2, "float32"), strict=True)
    np.testing.assert_allclose(e.max(axis=(1, 2, 3)), np.ones(2, "float32"), strict=True)
    np.testing.assert_array_equal(e[1].argmax(), loss[1].argmin())


def test_scale_of_a_constant_loss_is_zero():
    np.testing.assert_allclose(scale(np.full((2, 3), 7.5), axes=1), np.zeros((2, 3)), strict=True)


def test_scaling_after_the_sum_differs_from_summing_scaled_maps():
    loss = np.array([[0.0, 1.0, 1.0], [100.0, 0.0, 50.0]])
    assert scale(phrase_loss(loss, [0, 1])).argmax() == 1
    np.testing.assert_allclose(scale(phrase_loss(loss, [0, 1])), np.array([0.0, 1.0, 49 / 99]), strict=True)


def test_temporal_alpha_sums_to_one():
    loss = np.array([[2.0, 6.0, 3.0, 6.0], [5.0, 5.0, 5.0, 5.0]])
    expected = np.array([[1 / 1.75, 0.0, 0.75 / 1.75, 0.0], [0.25, 0.25, 0.25, 0.25]])
    np.testing.assert_allclose(temporal_alpha(loss, spread=0), expected, strict=True)
    smooth = temporal_alpha(loss)
    np.testing.assert_allclose(smooth.sum(axis=-1), np.ones(2), strict=True)
    np.testing.assert_array_equal(smooth[1], [0.25] * 4)
    np.testing.assert_allclose(smooth / smooth.max(axis=-1, keepdims=True), temporal_saliency(loss) + [[0], [1]])


def test_a_frame_is_the_gaussian_mean_of_its_neighbours():
    values = np.random.default_rng(0).normal(size=(2, 26))
    expected = scipy.ndimage.gaussian_filter1d(values, 0.75, axis=-1, mode="nearest", truncate=6)
    np.testing.assert_allclose(over_time(values), expected, atol=1e-4, strict=True)
    np.testing.assert_allclose(over_time(values, spread=0), values, strict=True)
    np.testing.assert_array_equal(over_time(np.full((1, 1), 7.3)), [[7.3]])
    assert (temporal_saliency(np.full(26, 7.3)) == 0).all()  # no rounding that is scaled up


# The grid in pixels


def test_cell_centres_follow_from_the_layers_of_inception():
    # (kernel, stride) of InceptionV3's unpadded layers on the way to mixed_10; padded layers keep the centre.
    unpadded = [(3, 2), (3, 1), (3, 2), (3, 1), (3, 2), (3, 2), (3, 2)]
    centre, step, size = 0, 1, 299
    for kernel, stride in unpadded:
        centre, step, size = centre + step * (kernel - 1) // 2, step * stride, (size - kernel) // stride + 1
    assert (centre, step, size) == (37, 32, 8)
    np.testing.assert_array_equal(cell_centres(), [37, 69, 101, 133, 165, 197, 229, 261])
    np.testing.assert_allclose((cell_centres() + 0.5).mean(), 299 / 2)


def test_upsample_by_hand():
    # Without a resize, source pixel 37 + 32 k is the centre of cell k.
    cells = np.random.default_rng(1).normal(size=(8, 8)).astype("float32")
    pixel_map = upsample(cells, Geometry.of(299, 299), spread=0)
    assert pixel_map.shape == (299, 299) and pixel_map.dtype == np.float32
    np.testing.assert_allclose(pixel_map[37::32, 37::32][:8, :8], cells, rtol=1e-6)
    np.testing.assert_allclose(pixel_map[69, 101 + 8], 0.75 * cells[1, 2] + 0.25 * cells[1, 3], rtol=1e-5)
    np.testing.assert_allclose(pixel_map[69 + 16, 101], (cells[1, 2] + cells[2, 2]) / 2, rtol=1e-5)
    np.testing.assert_allclose(pixel_map[:38, :38], np.full((38, 38), cells[0, 0]), rtol=1e-6)
    np.testing.assert_allclose(pixel_map[261:, 133], np.full(38, cells[7, 3]), rtol=1e-6)


def test_upsample_is_a_gaussian_mean_of_all_cells():
    # The slow road: every pixel its own weighted mean over a grid whose edge values go on for ever.
    cells = np.random.default_rng(1).normal(size=(8, 8))
    pixel_map = upsample(cells, Geometry.of(299, 299), spread=0.6)
    wide = np.pad(cells, 20, mode="edge")
    k = np.arange(-20, 28)
    for x, y in ((37, 37), (0, 298), (100, 31), (180, 250), (150, 149)):
        column, row = np.clip((np.array([x, y]) - 37) / 32, 0, 7)
        weight = np.exp(-((row - k[:, None]) ** 2 + (column - k) ** 2) / (2 * 0.6**2))
        np.testing.assert_allclose(pixel_map[y, x], (weight * wide).sum() / weight.sum(), rtol=1e-5)
    np.testing.assert_allclose(pixel_map[:37, 133], pixel_map[37, 133], rtol=1e-6)


def test_a_narrow_gaussian_takes_the_nearest_cell():
    cells = np.random.default_rng(1).normal(size=(8, 8)).astype("float32")
    pixel_map = upsample(cells, Geometry.of(299, 299), spread=0.05)
    np.testing.assert_allclose(pixel_map[69 + 12, 101 - 12], cells[1, 2], rtol=1e-5)


def test_upsample_of_many_maps_is_one_by_one():
    cells = np.random.default_rng(2).normal(size=(2, 3, 8, 8)).astype("float32")
    geometry = GEOMETRIES["center_crop"]
    pixel_maps = upsample(cells, geometry)
    assert pixel_maps.shape == (2, 3, 333, 500)
    np.testing.assert_allclose(pixel_maps[1, 2], upsample(cells[1, 2], geometry), rtol=1e-6, strict=True)


def test_upsample_keeps_constants_and_straight_lines(geometry):
    np.testing.assert_allclose(upsample(np.full((8, 8), 3.0), geometry), 3.0, rtol=1e-6)
    x, y = np.meshgrid(cell_centres() + 0.5, cell_centres() + 0.5)
    points = np.stack(np.meshgrid(np.arange(geometry.width) + 0.5, np.arange(geometry.height) + 0.5), axis=-1)
    expected = np.clip(geometry.to_input(points), 37.5, 261.5)  # (H, W, 2): beyond the centres, the edge value
    np.testing.assert_allclose(upsample(x, geometry, spread=0), expected[..., 0], rtol=1e-5)
    np.testing.assert_allclose(upsample(y, geometry, spread=0), expected[..., 1], rtol=1e-5)


@pytest.mark.parametrize("row, column", [(0, 0), (2, 5), (6, 1), (3, 7), (7, 4)])
def test_the_maximum_lies_where_the_cell_looks(geometry, row, column):
    # The network's input is a square of 40 pixels round the receptive field's centre; where is it in the source?
    x, y = 32 * column + 37.5, 32 * row + 37.5
    x1, y1, x2, y2 = geometry.boxes_to_source((x - 20, y - 20, x + 20, y + 20))
    found = maximum(upsample(one_cell(row, column), geometry))
    assert np.abs(np.subtract(found, ((x1 + x2) / 2, (y1 + y2) / 2))).max() < 1


def test_half_height_box_of_a_cell_is_its_pitch(geometry):
    # Between centres 32 input pixels apart, a lone cell falls to one half 16 pixels from its own.
    x, y = 32 * 5 + 37.5, 32 * 2 + 37.5
    expected = geometry.boxes_to_source((x - 16, y - 16, x + 16, y + 16))
    pixel_map = upsample(one_cell(2, 5), geometry, spread=0)
    columns = np.flatnonzero(pixel_map.max(axis=0) > pixel_map.max() / 2)
    rows = np.flatnonzero(pixel_map.max(axis=1) > pixel_map.max() / 2)
    found = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    assert np.abs(found - expected).max() < 1


def test_maximum_is_x_then_y_of_a_pixel_centre():
    pixel_map = np.zeros((4, 7))
    pixel_map[1, 5] = 2
    assert maximum(pixel_map) == (5.5, 1.5)


def test_maximum_of_equal_pixels_is_nearest_the_centre_then_first():
    pixel_map = np.zeros((5, 7))
    pixel_map[1, :3] = 1  # an edge cell's plateau: its receptive field ends it
    assert maximum(pixel_map) == (2.5, 1.5)
    pixel_map[3, 2] = 1
    assert maximum(pixel_map) == (2.5, 1.5)
