"""The steps of the 2017 release's visualisation, beside its literal procedures of `benchmarks.release`."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from benchmarks import release as literal
from s2vt.data.geometry import Geometry
from s2vt.evaluation.protocol import Window
from s2vt.saliency import release
from s2vt.saliency.heatmaps import argmax_point
from s2vt.saliency.maps import Evidence


@pytest.fixture
def loss():
    return np.random.default_rng(0).gamma(2, size=(3, 7, 8, 8))


# Saliency


def test_both_normalizations_by_hand():
    evidence = -np.array([[3.0, 1.0], [2.0, 2.0]]).reshape(1, 2, 1, 2)  # one word, two frames of 1 x 2 cells
    above = release.time_normalization(evidence)  # (0, 1), (.5, .5), mean .5
    assert above.reshape(2, 2).tolist() == [[0.0, 0.5], [0.0, 0.0]]
    assert release.sentence_normalization(above).reshape(2, 2).tolist() == [[0.0, 1.0], [0.0, 0.0]]
    two_words = np.array([[0.2, 0.4], [0.6, 0.3]]).reshape(2, 1, 1, 2)
    expected = np.array([[0.0, 0.5], [1.0, 0.25]]).reshape(2, 1, 1, 2)
    np.testing.assert_allclose(release.sentence_normalization(two_words), expected, atol=1e-12)


def test_saliency_is_the_literal_procedure(loss):
    np.testing.assert_allclose(release.saliency(-loss), literal.saliency(loss), rtol=1e-10, strict=True)


def test_equal_evidence_has_no_saliency(loss):
    loss[1] = 7.3
    e = release.saliency(-loss)
    assert (e[1] == 0).all() and np.isfinite(e).all() and e[0].max() > 0.1
    assert (release.saliency(np.full((3, 4, 8, 8), 2.0)) == 0).all()


def test_a_picture_has_no_steps_in_time(loss):
    of_picture = release.time_normalization(-loss[:, :1])
    expected = [gaussian_filter(e, 1) for e in release.sentence_normalization(of_picture)[:, 0]]
    np.testing.assert_allclose(release.saliency(-loss[:, :1])[:, 0], expected, atol=1e-12)


def test_a_phrase_takes_the_place_of_its_words(loss):
    together = np.stack([loss[0] + loss[2], loss[1]])
    np.testing.assert_allclose(
        Evidence("nll", -loss, None).of_release([0, 2]), literal.saliency(together)[0], rtol=1e-10
    )
    np.testing.assert_allclose(Evidence("nll", -loss, None).of_release([1]), literal.saliency(loss)[1], rtol=1e-10)
    with pytest.raises(ValueError, match=r"positions 0\.\.2 of the sentence"):
        Evidence("nll", -loss, None).of_release([])


def test_over_time_is_the_mean_of_the_cells():
    e = np.arange(12.0).reshape(1, 3, 2, 2)
    assert release.over_time(e).tolist() == [[1.5, 5.5, 9.5]]
    assert release.over_time(e[0]).tolist() == [1.5, 5.5, 9.5]


# Pixels


@pytest.mark.parametrize("seed", range(5))
def test_upsample_is_the_literal_resizes(seed):
    e = gaussian_filter(np.random.default_rng(seed).random((8, 8)), 1)
    found, expected = release.upsample(e, Geometry.of(300, 300)), literal.saliency_map(e)
    np.testing.assert_allclose(found, expected, atol=0.012)  # 8 bits are cut off twice, not rounded
    level = expected[tuple(int(c) for c in argmax_point(found)[::-1])]
    assert level >= expected.max() - 1 / 255  # 8 bits leave a plateau about the maximum


@pytest.mark.parametrize(("row", "column"), [(0, 0), (3, 5), (7, 2), (7, 7)])
def test_a_single_cell_stands_in_the_releases_place(row, column):
    e = np.zeros((8, 8))
    e[row, column] = 1
    x, y = argmax_point(release.upsample(e, Geometry.of(300, 300)))
    assert abs(x - 300 * (0.02 + 0.12 * (column + 0.5))) <= 0.5 + 1e-9
    assert abs(y - 300 * (0.02 + 0.12 * (row + 0.5))) <= 0.5 + 1e-9
    literal_x, literal_y = argmax_point(literal.saliency_map(e))
    assert abs(x - literal_x) <= 1 and abs(y - literal_y) <= 1


def test_a_sharp_map_overshoots_where_pillow_cuts_it_off():
    e = np.full((8, 8), 0.25)
    e[2:5, 3] = 1
    found = release.upsample(e, Geometry.of(300, 300))
    np.testing.assert_allclose(
        np.minimum(found, 1), literal.saliency_map(e), atol=0.035
    )  # the second resize of a steep slope
    one_cell = np.eye(8)[[0] * 8] * np.eye(8)[0][:, None]
    assert release.upsample(one_cell, Geometry.of(300, 300)).min() == 0  # the kernel's negative lobes


def test_equal_cells_stay_equal_at_the_ring():
    np.testing.assert_array_equal(release.upsample(np.full((2, 8, 8), 0.3), Geometry.of(64, 48)), np.float32(0.3))


def test_upsample_follows_the_geometry():
    e = gaussian_filter(np.random.default_rng(2).random((2, 3, 8, 8)), (0, 0, 1, 1))
    whole = release.upsample(e, Geometry.of(40, 30))
    assert whole.shape == (2, 3, 30, 40) and whole.dtype == np.float32
    np.testing.assert_allclose(whole[1, 2], release.upsample(e[1, 2], Geometry.of(40, 30)), atol=1e-6)
    cropped = Geometry(60, 50, (10, 10, 50, 40))  # the same 40 x 30 pixels inside a larger source
    found = release.upsample(e, cropped)
    np.testing.assert_allclose(found[..., 10:40, 10:50], whole, atol=1e-5)
    edge = release.upsample(e, Geometry(60, 50, (0.5, 0.5, 59.5, 49.5)))  # pixel 0's centre is the crop's edge
    np.testing.assert_allclose(found[..., 0, 0], edge[..., 0, 0], atol=1e-5)  # constant beyond
    window = Window.of(Geometry.of(300, 200, "center_crop"), "center_crop")
    inside = release.upsample(e, Geometry.of(300, 200, "center_crop"))[..., 12:187, 62:237]
    np.testing.assert_allclose(release.upsample(e, window), inside, atol=1e-6)
