"""Phrase sums, scaling, smoothing and maps in source pixels, against numbers worked out by hand."""

import numpy as np
import pytest

from s2vt.data.geometry import Geometry, Grid
from s2vt.saliency.heatmaps import (
    argmax_point,
    interpolation,
    over_time,
    phrase_sum,
    scale,
    temporal_alpha,
    temporal_saliency,
    upsample,
)

SIGMA = 0.75

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


def gaussian_mean(values, position, sigma):
    """Of a row of values whose first and last are repeated 40 times, at one position: the weighted mean, in full."""
    values = np.pad(values, 40, mode="edge")
    weight = np.exp(-((np.arange(len(values)) - 40 - position) ** 2) / (2 * sigma**2))
    return (weight * values).sum() / weight.sum()


# Eq. 9, Eq. 8 and alpha by hand


def test_evidence_of_a_phrase_is_the_sum_over_its_words():
    evidence = np.array([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0], [100.0, 200.0, 300.0], [0.5, 0.5, 0.5]])
    np.testing.assert_allclose(phrase_sum(evidence, [1, 3]), np.array([10.5, 20.5, 30.5]), strict=True)
    maps = np.arange(24.0).reshape(4, 3, 2)
    np.testing.assert_allclose(phrase_sum(maps, (0, 2)), np.array([[12.0, 14], [16, 18], [20, 22]]), strict=True)


@pytest.mark.parametrize("words", [[], [0, 4], [-1]])
def test_a_phrase_outside_the_sentence_is_refused(words):
    with pytest.raises(ValueError, match=r"positions 0\.\.3 of the sentence"):
        phrase_sum(np.zeros((4, 3)), words)


def test_scale_over_the_items_of_each_word():
    loss = np.array([[2.0, 6.0, 3.0], [0.0, 1.0, 10.0]])
    np.testing.assert_allclose(scale(-loss, axes=-1), np.array([[1.0, 0.0, 0.75], [1.0, 0.9, 0.0]]), strict=True)
    np.testing.assert_allclose(scale(-loss), np.array([[0.8, 0.4, 0.7], [1.0, 0.9, 0.0]]), strict=True)


def test_scale_over_all_cells_of_all_frames():
    evidence = -np.random.default_rng(0).gamma(2, size=(2, 3, 8, 8)).astype("float32")  # (T, m, G, G)
    e = scale(evidence, axes=(1, 2, 3))
    assert e.dtype == np.float32
    np.testing.assert_allclose(e.min(axis=(1, 2, 3)), np.zeros(2, "float32"), strict=True)
    np.testing.assert_allclose(e.max(axis=(1, 2, 3)), np.ones(2, "float32"), strict=True)
    np.testing.assert_array_equal(e[1].argmax(), evidence[1].argmax())


def test_scale_of_the_negated_loss_is_equation_8_to_the_bit():
    loss = np.random.default_rng(0).gamma(2, size=(50, 3, 8, 8)).astype("float32")
    largest, smallest = (f(loss, axis=(1, 2, 3), keepdims=True) for f in (np.max, np.min))
    expected = (largest - loss) / (largest - smallest)
    np.testing.assert_array_equal(scale(-loss, axes=(1, 2, 3)), expected, strict=True)


def test_scale_of_equal_evidence_is_zero():
    np.testing.assert_allclose(scale(np.full((2, 3), 7.5), axes=1), np.zeros((2, 3)), strict=True)


def test_scaling_after_the_sum_differs_from_summing_scaled_maps():
    loss = np.array([[0.0, 1.0, 1.0], [100.0, 0.0, 50.0]])
    summed = scale(phrase_sum(-loss, [0, 1]))
    assert summed.argmax() == 1
    np.testing.assert_allclose(summed, np.array([0.0, 1.0, 49 / 99]), strict=True)


# Over time


def test_temporal_alpha_sums_to_one():
    loss = np.array([[2.0, 6.0, 3.0, 6.0], [5.0, 5.0, 5.0, 5.0]])
    expected = np.array([[1 / 1.75, 0.0, 0.75 / 1.75, 0.0], [0.25, 0.25, 0.25, 0.25]])
    np.testing.assert_allclose(temporal_alpha(-loss, sigma=0), expected, strict=True)
    smooth = temporal_alpha(-loss, SIGMA)
    np.testing.assert_allclose(smooth.sum(axis=-1), np.ones(2), strict=True)
    np.testing.assert_array_equal(smooth[1], [0.25] * 4)
    e = temporal_saliency(-loss, SIGMA)
    np.testing.assert_allclose(smooth / smooth.max(axis=-1, keepdims=True), e + [[0], [1]])


@pytest.mark.parametrize("sigma", [0.3, 0.75, 3])
def test_a_frame_is_the_gaussian_mean_of_all_frames(sigma):
    values = np.random.default_rng(0).normal(size=(2, 26))
    expected = np.array([[gaussian_mean(row, i, sigma) for i in range(26)] for row in values])
    np.testing.assert_allclose(over_time(values, sigma), expected, atol=1e-7, strict=True)


@pytest.mark.parametrize("sigma", [0, 1e-200, 0.01])
def test_a_gaussian_narrower_than_a_frame_changes_nothing(sigma):
    values = np.random.default_rng(0).normal(size=(2, 26))
    np.testing.assert_array_equal(over_time(values, sigma), values, strict=True)


def test_equal_frames_stay_equal_to_the_bit():
    np.testing.assert_array_equal(over_time(np.full((1, 1), 7.3), SIGMA), [[7.3]])
    assert (temporal_saliency(np.full(26, 7.3), SIGMA) == 0).all()  # no rounding error scaled to [0, 1]


# The grid in pixels


def test_cell_centres_follow_from_the_layers_of_inception():
    # (kernel, stride) of InceptionV3's unpadded layers on the way to mixed_10; padded layers keep the centre.
    unpadded = [(3, 2), (3, 1), (3, 2), (3, 1), (3, 2), (3, 2), (3, 2)]
    centre, step, size = 0, 1, 299
    for kernel, stride in unpadded:
        centre, step, size = centre + step * (kernel - 1) // 2, step * stride, (size - kernel) // stride + 1
    assert (centre, step, size) == (37, 32, 8)
    np.testing.assert_array_equal(Grid().centres(), [37, 69, 101, 133, 165, 197, 229, 261])
    np.testing.assert_allclose((Grid().centres() + 0.5).mean(), 299 / 2)


def test_upsample_by_hand():
    # Without a resize, source pixel 37 + 32 k is the centre of cell k.
    cells = np.random.default_rng(1).normal(size=(8, 8)).astype("float32")
    pixel_map = upsample(cells, Geometry.of(299, 299), sigma=0)
    assert pixel_map.shape == (299, 299) and pixel_map.dtype == np.float32
    np.testing.assert_allclose(pixel_map[37::32, 37::32][:8, :8], cells, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(pixel_map[69, 101 + 8], 0.75 * cells[1, 2] + 0.25 * cells[1, 3], rtol=1e-5)
    np.testing.assert_allclose(pixel_map[69 + 16, 101], (cells[1, 2] + cells[2, 2]) / 2, rtol=1e-5)
    np.testing.assert_allclose(pixel_map[:38, :38], np.full((38, 38), cells[0, 0]), rtol=1e-6)
    np.testing.assert_allclose(pixel_map[261:, 133], np.full(38, cells[7, 3]), rtol=1e-6)


@pytest.mark.parametrize("sigma", [0, 0.75])
def test_equal_cells_stay_equal_to_the_bit(sigma):
    pixel_map = upsample(np.full((8, 8), 1 / 64), Geometry.of(75, 55), sigma)
    assert (pixel_map == 1 / 64).all() and argmax_point(pixel_map) == (37.5, 27.5)


@pytest.mark.parametrize("sigma", [0.6, 0.75, 3])
def test_upsample_is_a_gaussian_mean_of_all_cells(sigma):
    cells = np.random.default_rng(1).normal(size=(8, 8))
    pixel_map = upsample(cells, Geometry.of(299, 299), sigma)
    for x, y in ((37, 37), (0, 298), (100, 31), (180, 250), (150, 149)):
        column, row = np.clip((np.array([x, y]) - 37) / 32, 0, 7)
        expected = gaussian_mean([gaussian_mean(of_row, column, sigma) for of_row in cells], row, sigma)
        np.testing.assert_allclose(pixel_map[y, x], expected, rtol=1e-5)
    np.testing.assert_allclose(pixel_map[:37, 133], pixel_map[37, 133], rtol=1e-6)


@pytest.mark.parametrize("sigma", [0.01, 1e-4, 1e-200])
def test_a_narrow_gaussian_takes_the_nearest_cell(sigma, geometry):
    cells = np.random.default_rng(1).normal(size=(8, 8)).astype("float32")
    pixel_map = upsample(cells, geometry, sigma)
    points = np.stack(np.meshgrid(np.arange(geometry.width) + 0.5, np.arange(geometry.height) + 0.5), axis=-1)
    position = np.clip((geometry.to_input(points) - 37.5) / 32, 0, 7)
    clear = (np.abs(position % 1 - 0.5) > 0.01).all(axis=-1)  # of the middle between two cells
    column, row = np.moveaxis(position.round().astype(int), -1, 0)
    np.testing.assert_allclose(pixel_map[clear], cells[row, column][clear], rtol=1e-5)
    assert np.isfinite(pixel_map).all()


def test_between_two_cells_a_narrow_gaussian_is_their_mean():
    cells = np.random.default_rng(1).normal(size=(8, 8)).astype("float32")
    pixel_map = upsample(cells, Geometry.of(299, 299), sigma=0.01)  # pixel 53 has its centre between cells 0 and 1
    np.testing.assert_allclose(pixel_map[37, 53], cells[0, :2].mean(), rtol=1e-5)


@pytest.mark.parametrize("sigma", [0, 0.01, 0.75, 3, 100])
def test_interpolation_weights_sum_to_one(sigma, geometry):
    A_x, A_y = interpolation(geometry, 8, sigma)
    assert A_x.shape == (geometry.width, 8) and A_y.shape == (geometry.height, 8)
    for A in (A_x, A_y):
        assert A.dtype == np.float32 and A.min() >= 0
        np.testing.assert_allclose(A.sum(axis=1), 1, rtol=1e-6)


def test_upsample_of_many_maps_is_one_by_one():
    cells = np.random.default_rng(2).normal(size=(2, 3, 8, 8)).astype("float32")
    geometry = GEOMETRIES["center_crop"]
    pixel_maps = upsample(cells, geometry, SIGMA)
    assert pixel_maps.shape == (2, 3, 333, 500)
    np.testing.assert_allclose(pixel_maps[1, 2], upsample(cells[1, 2], geometry, SIGMA), rtol=1e-6, strict=True)


def test_upsample_keeps_constants_and_straight_lines(geometry):
    np.testing.assert_allclose(upsample(np.full((8, 8), 3.0), geometry, SIGMA), 3.0, rtol=1e-6)
    x, y = np.meshgrid(Grid().centres() + 0.5, Grid().centres() + 0.5)
    points = np.stack(np.meshgrid(np.arange(geometry.width) + 0.5, np.arange(geometry.height) + 0.5), axis=-1)
    expected = np.clip(geometry.to_input(points), 37.5, 261.5)  # (H, W, 2): beyond the centres, the edge value
    np.testing.assert_allclose(upsample(x, geometry, sigma=0), expected[..., 0], rtol=1e-5)
    np.testing.assert_allclose(upsample(y, geometry, sigma=0), expected[..., 1], rtol=1e-5)


@pytest.mark.parametrize("row, column", [(0, 0), (2, 5), (6, 1), (3, 7), (7, 4)])
def test_the_maximum_lies_at_the_centre_of_the_receptive_field(geometry, row, column):
    centre = geometry.to_source(np.array([32 * column + 37.5, 32 * row + 37.5]))
    found = argmax_point(upsample(one_cell(row, column), geometry, SIGMA))
    assert np.abs(found - centre).max() < 1


def test_a_lone_cell_falls_to_one_half_at_half_the_pitch(geometry):
    corners = [(32 * 5 + 37.5 - 16, 32 * 2 + 37.5 - 16), (32 * 5 + 37.5 + 16, 32 * 2 + 37.5 + 16)]
    (x1, y1), (x2, y2) = geometry.to_source(np.array(corners))
    pixel_map = upsample(one_cell(2, 5), geometry, sigma=0)
    columns = np.flatnonzero(pixel_map.max(axis=0) > pixel_map.max() / 2)
    rows = np.flatnonzero(pixel_map.max(axis=1) > pixel_map.max() / 2)
    found = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
    assert np.abs(found - [x1, y1, x2, y2]).max() < 1


def test_argmax_point_is_x_then_y_of_a_pixel_centre():
    pixel_map = np.zeros((4, 7))
    pixel_map[1, 5] = 2
    assert argmax_point(pixel_map) == (5.5, 1.5)


def test_argmax_point_of_equal_pixels_is_nearest_the_centre_then_first():
    pixel_map = np.zeros((5, 7))
    pixel_map[1, :3] = 1  # an edge cell's plateau: its receptive field ends it
    assert argmax_point(pixel_map) == (2.5, 1.5)
    pixel_map[3, 2] = 1
    assert argmax_point(pixel_map) == (2.5, 1.5)
