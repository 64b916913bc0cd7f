"""Cells in 8 bits: as near as said, packed again to the same bytes, read and resumed as float16 cells are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from small_stores import Extractor, picture_config, video_config, write_clips, write_pictures

from s2vt.errors import UserError
from s2vt.features import eight_bit
from s2vt.features.descriptors import DescriptorStore
from s2vt.features.extraction import extract

ACTIVATIONS = arrays.arrays(
    np.float16, arrays.array_shapes(min_dims=2, max_dims=3, max_side=6), elements=st.floats(0, 60_000, width=16)
)


@settings(deadline=None)
@given(ACTIVATIONS)
def test_packing_is_near_and_repeats_itself(descriptors):
    with np.errstate(divide="raise", invalid="raise"):  # a channel may be 0 everywhere
        record = eight_bit.pack(descriptors)
    found = eight_bit.unpack(record)
    greatest = descriptors.reshape(-1, descriptors.shape[-1]).max(axis=0).astype(np.float64)
    rounding = np.maximum(descriptors.astype(np.float64) / 1024, 2.0**-24)  # of float16
    assert (np.abs(found.astype(np.float64) - descriptors) <= greatest / 510 + rounding).all()
    np.testing.assert_array_equal(found.reshape(-1, found.shape[-1]).max(axis=0), greatest)
    assert (found[descriptors == 0] == 0).all()
    np.testing.assert_array_equal(eight_bit.unpack(eight_bit.pack(found)), found, strict=True)


def test_one_frame_alone_is_that_frame_of_all():
    record = eight_bit.pack(np.random.default_rng(0).random((5, 4, 3)))
    np.testing.assert_array_equal(eight_bit.unpack(record, 2), eight_bit.unpack(record)[2], strict=True)


@pytest.mark.parametrize("bad", [-1, np.nan, np.inf])
def test_what_8_bits_cannot_hold_is_refused(bad):
    with pytest.raises(ValueError, match="features.storage=float16"):
        eight_bit.pack([[1, bad]])


def test_a_store_reads_its_8_bit_files_as_float16(tmp_path):
    media = write_pictures(tmp_path)
    plain, small = (DescriptorStore(picture_config(tmp_path, storage=storage), tmp_path / storage)
                    for storage in ("float16", "uint8"))  # fmt: skip
    for store in (plain, small):
        extract(store, media, Extractor())
    for medium in media:
        found = small.load(medium)
        np.testing.assert_allclose(found, plain.load(medium), atol=63 / 510, rtol=1e-3, strict=True)
        np.testing.assert_array_equal(found[:, 0], plain.load(medium)[:, 0])  # the greatest of its channel
        assert small.path(medium.id).stat().st_size < 0.54 * plain.path(medium.id).stat().st_size
    assert small.meta()["storage"] == "uint8" and "--set features.storage=uint8" in small.command()
    assert small.opened(media[0]).dtype.names == ("scale", "levels")


def test_a_clips_frames_are_the_means_of_its_8_bit_cells_made_together_or_later(tmp_path):
    config, media = video_config(tmp_path, storage="uint8"), write_clips(tmp_path)
    together, later = (DescriptorStore(config, tmp_path / name, "mixed_10") for name in ("together", "later"))
    for store in (together, later):
        extract(store, media, Extractor())
    for path in later.of_layer("pool_3").folder.glob("*"):
        path.unlink()
    extract(later.of_layer("pool_3"), media, lambda: pytest.fail("the cells are there"))
    for medium in media:
        cells = together.load(medium).astype(np.float64)
        for store in (together, later):
            pooled = store.of_layer("pool_3")
            assert pooled.dtype.base == np.float16
            np.testing.assert_allclose(pooled.load(medium), cells.mean(axis=1), rtol=1e-3)
        np.testing.assert_array_equal(*(store.of_layer("pool_3").load(medium) for store in (together, later)))
        np.testing.assert_array_equal(together.load(medium, 3), together.load(medium)[3], strict=True)


def test_one_folder_holds_one_sort_of_files_and_readers_take_either(tmp_path):
    media = write_pictures(tmp_path)
    plain, small = (DescriptorStore(picture_config(tmp_path, storage=storage), tmp_path)
                    for storage in ("float16", "uint8"))  # fmt: skip
    extract(small, media[:2], Extractor())
    with pytest.raises(UserError, match="have storage uint8, the config asks for float16; .*--overwrite$"):
        extract(plain, media, Extractor())
    present, left_out = plain.available(media[:2])
    assert len(present) == 2 and not left_out
    np.testing.assert_array_equal(plain.load(media[0]), small.load(media[0]), strict=True)
    extract(plain, media, Extractor(), overwrite=True)
    with pytest.raises(UserError, match="have storage float16, the config asks for uint8; .*--overwrite$"):
        extract(small, media, Extractor())
