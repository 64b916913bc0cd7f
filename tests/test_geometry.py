"""Geometry between source pixels and the network's input, and the resize that follows it."""

import json

import numpy as np
import pytest

from s2vt.data.geometry import Geometry, Grid, resize


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


def test_geometry_survives_json():
    geometry = Geometry.of(333, 217, resize="center_crop", grid=Grid(3, 32, 37, 139))
    assert Geometry.from_json(json.loads(json.dumps(geometry.to_json()))) == geometry


def test_impossible_geometry_is_refused():
    with pytest.raises(ValueError, match='"squash" or "center_crop", not \'fit\''):
        Geometry.of(320, 240, resize="fit")
    with pytest.raises(ValueError, match="at least 1 pixel, not 0, 240"):
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
    small = resize(picture, Geometry.of(400, 400, grid=Grid(1, 32, 20, 40)))
    assert small.min() > 120 and small.max() < 136


def test_resize_refuses_a_picture_of_another_size():
    with pytest.raises(ValueError, match=r"\(240, 320, 3\) uint8, as its geometry says, not \(320, 240, 3\) uint8"):
        resize(np.zeros((320, 240, 3), np.uint8), Geometry.of(320, 240))
