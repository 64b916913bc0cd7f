"""What the captioner reads of a medium, and descriptor files: whole or absent, refused where settings differ."""

import dataclasses

import numpy as np
import pytest
from small_stores import Extractor, no_network, picture_config, video_config, write_clips, write_pictures

import cfg
from s2vt.errors import UserError
from s2vt.features.descriptors import DescriptorStore, descriptors_of, scan_order
from s2vt.features.extraction import extract


@pytest.fixture
def pictures(tmp_path):
    """The config of pictures, and seven of them."""
    return picture_config(tmp_path), write_pictures(tmp_path)


# --- what the captioner reads


def test_the_snake_turns_round_in_every_second_row():
    order = scan_order("snake", 8).reshape(8, 8)
    assert order[0].tolist() == list(range(8)) and order[1].tolist() == list(range(15, 7, -1))
    assert order[2].tolist() == list(range(16, 24))
    assert scan_order("raster", 8).tolist() == list(range(64))


def test_a_picture_is_read_cell_by_cell(pictures, tmp_path):
    config, media = pictures[0].replace(["features.scan=snake"]), pictures[1]
    store = DescriptorStore(config, tmp_path)
    extract(store, media[:1], Extractor())
    np.testing.assert_array_equal(store.load(media[0])[:, 1], np.arange(64, dtype=np.float16), strict=True)
    found = store.descriptors(media[0])
    np.testing.assert_array_equal(found.order, scan_order("snake", 8), strict=True)
    np.testing.assert_array_equal(found.cells, store.load(media[0])[None], strict=True)
    np.testing.assert_array_equal(found.v[:, 1], found.order.astype(np.float16), strict=True)
    np.testing.assert_array_equal(store.v(media[0]), found.v, strict=True)


def test_a_video_is_read_frame_by_frame(tmp_path):
    (medium, *_), config = write_clips(tmp_path), video_config(tmp_path)
    store = DescriptorStore(config, tmp_path, "mixed_10")
    extract(store, [medium], Extractor())
    found, pooled = store.descriptors(medium), store.of_layer("pool_3")
    assert found.cells.shape == (5, 64, 2048) and found.order is None
    np.testing.assert_allclose(found.v, store.load(medium).mean(axis=1, dtype=np.float32), strict=True)
    np.testing.assert_array_equal(pooled.v(medium), found.v.astype(np.float16), strict=True)
    with pytest.raises(ValueError, match="a store of mixed_10, not of pool_3"):
        pooled.descriptors(medium)


def test_a_picture_given_to_a_videos_captioner_is_a_clip_of_equal_frames(tmp_path):
    cells = np.random.default_rng(0).random((1, 64, 3), np.float32)
    found = descriptors_of(cells, video_config(tmp_path))
    np.testing.assert_allclose(found.v, np.repeat(cells.mean(axis=1), 5, axis=0), strict=True, rtol=1e-6)
    assert found.cells is cells and found.order is None


def test_a_captioner_does_not_read_the_cells_of_a_video(tmp_path):
    with pytest.raises(UserError, match="a video's captioner reads pool_3"):
        descriptors_of(np.zeros((5, 64, 3)), video_config(tmp_path, layer="mixed_10"))


# --- descriptor files


@pytest.mark.parametrize("setting", ["resize", "weights"])
def test_descriptors_made_with_other_settings_are_refused(pictures, tmp_path, setting):
    config, media = pictures
    extract(DescriptorStore(config, tmp_path), media[:1], Extractor())
    if setting == "weights":  # another network of the same name
        (tmp_path / "small.npz").write_bytes(b"other weights")
    else:
        config = config.replace(["features.resize=center_crop"])
    with pytest.raises(UserError, match=f"have {setting} .*--overwrite"):
        DescriptorStore(config, tmp_path).check()
    extractor = Extractor()
    extract(DescriptorStore(config, tmp_path), media[:1], extractor, overwrite=True)
    assert extractor.batches == [1]
    DescriptorStore(config, tmp_path).check()


def test_missing_descriptors_name_the_command(pictures, tmp_path):
    config, media = pictures
    store = DescriptorStore(config, tmp_path)
    with pytest.raises(UserError, match="run: python preprocessing.py --dataset Flickr30k"):
        store.check()
    with pytest.raises(UserError, match="no mixed_10 descriptors of m0; run: python preprocessing.py"):
        store.load(media[0])


def test_the_command_makes_these_descriptors_and_no_others(tmp_path):
    config = picture_config(tmp_path)
    features = dataclasses.replace(config.features, resize="center_crop", num_frames=7)
    store = DescriptorStore(dataclasses.replace(config, features=features), tmp_path, "pool_3")
    assert store.command("val") == (
        f"python preprocessing.py --dataset Flickr30k --split val --layer pool_3 --weights {config.features.weights} "
        f"--set features.resize=center_crop --set features.num_frames=7 --data_dir {tmp_path}"
    )
    store = DescriptorStore(cfg.CONFIGS["StillShapes"], "DATA")
    assert store.command() == (
        "python preprocessing.py --dataset StillShapes --layer mixed_10 --weights inception-shapes"
    )


@pytest.mark.parametrize("storage", ["float16", "uint8"])
def test_a_cut_file_is_refused(pictures, tmp_path, storage):
    config, media = pictures[0].replace([f"features.storage={storage}"]), pictures[1]
    store = DescriptorStore(config, tmp_path)
    extract(store, media[:1], Extractor())
    data = store.path("m0").read_bytes()
    for length in (0, 5, 100, len(data) - 1):
        store.path("m0").write_bytes(data[:length])
        with pytest.raises(UserError, match="is damaged"):
            store.load(media[0])


def test_failed_media_are_left_out_and_missing_descriptors_are_an_error(pictures, tmp_path):
    config, media = pictures
    media[2].path.write_bytes(b"not a picture")
    store = DescriptorStore(config, tmp_path)
    extract(store, media[:5], Extractor())
    present, left_out = store.available(media[:5])
    assert [medium.id for medium in present] == ["m0", "m1", "m3", "m4"] and list(left_out) == ["m2"]
    with pytest.raises(UserError, match="no mixed_10 descriptors of m5; run: python preprocessing.py"):
        store.available(media)
    with pytest.raises(UserError, match="all of these 1 media are missing or cannot be decoded; see .*failed.tsv"):
        store.available(media[2:3])


@pytest.mark.parametrize("name", ["../m0", "a/b", "", "meta", "a\tb", "a\nb"])
def test_ids_are_plain_names(pictures, tmp_path, name):
    config, media = pictures
    store = DescriptorStore(config, tmp_path)
    with pytest.raises(UserError, match="cannot name a descriptor file"):
        extract(store, [dataclasses.replace(media[0], id=name)], no_network)
    assert not (tmp_path / "Flickr30k").exists()
