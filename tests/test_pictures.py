"""Picture files of all kinds, written here with Pillow, and files that are no pictures."""

import pickle

import numpy as np
import pytest
from PIL import Image

from s2vt.data import pictures
from s2vt.data.pictures import MediaError, read_picture
from s2vt.errors import UserError


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


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
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
        "none.jpg": "missing",
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
    error = pickle.loads(pickle.dumps(pictures.refusal("a.mp4", "no\nsuch file")))
    assert isinstance(error, MediaError) and isinstance(error, UserError) and str(error) == "a.mp4: no such file"
