"""Descriptor files: whole or absent, made once, refused when they were made otherwise."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

import cfg
from s2vt.data.datasets import Medium
from s2vt.data.media import VideoWriter
from s2vt.errors import UserError
from s2vt.features.store import DescriptorStore, scan_order, v_of

BATCH = 4


class Extractor:
    """Stands for the network: cell k of a picture is (mean red, k, 1, ...), so that files tell where they come from."""

    def __init__(self):
        self.batches = []

    def __call__(self):
        return self

    def cells(self, pictures):
        self.batches.append(len(pictures))
        cells = np.ones((len(pictures), 64, 2048), np.float32)
        cells[..., 0] = pictures[..., 0].mean(axis=(1, 2))[:, None]
        cells[..., 1] = np.arange(64)
        return cells


@pytest.fixture
def config(tmp_path):
    weights = tmp_path / "small.npz"
    weights.write_bytes(b"weights")
    features = dataclasses.replace(cfg.FLICKR30K.features, weights=str(weights), batch_size=BATCH)
    return dataclasses.replace(cfg.FLICKR30K, features=features)


@pytest.fixture
def media(tmp_path):
    result = []
    for k in range(7):
        path = tmp_path / f"{k}.png"
        Image.new("RGB", (40 + k, 30), (10 * k, 0, 0)).save(path)
        result.append(Medium(f"m{k}", path, "test", ("a",)))
    return result


def test_pictures_of_several_media_share_a_batch(config, media, tmp_path):
    store, extractor = DescriptorStore(config, tmp_path), Extractor()
    assert store.extract(media, extractor) == {}
    assert extractor.batches == [4, 3]
    for k, medium in enumerate(media):
        array = store.load(medium)
        assert array.shape == (64, 2048) and array.dtype == np.float16 and array[0, 0] == 10 * k
        geometry, indices, times = store.details(medium)
        assert (geometry.width, geometry.height, indices, times) == (40 + k, 30, [], [])


def test_a_second_run_does_only_what_is_missing(config, media, tmp_path):
    store = DescriptorStore(config, tmp_path)
    store.extract(media, Extractor())
    before = {m.id: store.path(m.id).read_bytes() for m in media}
    store.path("m3").unlink()
    extractor = Extractor()
    store.extract(media, extractor)
    assert extractor.batches == [1]
    assert {m.id: store.path(m.id).read_bytes() for m in media} == before
    store.extract(media, lambda: pytest.fail("nothing is to be done: no network is wanted"))


def test_a_broken_medium_stops_no_other(config, media, tmp_path):
    media[2].path.write_bytes(b"not a picture")
    media[5].path.unlink()
    store = DescriptorStore(config, tmp_path)
    failed = store.extract(media, Extractor())
    assert sorted(failed) == ["m2", "m5"] and str(media[2].path) in failed["m2"]
    assert [m.id for m in media if m.id in store] == ["m0", "m1", "m3", "m4", "m6"]


def test_a_crash_in_the_network_leaves_what_was_done(config, media, tmp_path):
    class Dying(Extractor):
        def cells(self, pictures):
            if self.batches:
                raise KeyboardInterrupt
            return super().cells(pictures)

    store = DescriptorStore(config, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        store.extract(media, Dying())
    assert [m.id for m in media if m.id in store] == ["m0", "m1", "m2", "m3"]
    assert not [path for path in store.folder.iterdir() if path.name.startswith(".")]


def test_videos_keep_their_frames_and_times(config, tmp_path):
    config = dataclasses.replace(
        config, media="video", features=dataclasses.replace(config.features, layer="pool_3", num_frames=5)
    )
    path = tmp_path / "clip.mp4"
    with VideoWriter(path, 64, 48, 10, crf=1) as video:
        for f in range(21):
            video.write(np.full((48, 64, 3), 10 * f, np.uint8))
    medium = Medium("clip", path, "test", ("a",))
    pooled, cells = DescriptorStore(config, tmp_path), DescriptorStore(config, tmp_path, "mixed_10")
    pooled.extract([medium], Extractor())
    cells.extract([medium], Extractor())
    assert pooled.load(medium).shape == (5, 2048) and cells.load(medium).shape == (5, 64, 2048)
    np.testing.assert_allclose(np.asarray(pooled.v(medium), np.float32)[:, 0], [0, 50, 100, 150, 200], atol=6)
    np.testing.assert_allclose(np.asarray(cells.load(medium), np.float32).mean(axis=1), pooled.load(medium), rtol=1e-3)
    _, indices, times = pooled.details(medium)
    assert indices == [0, 5, 10, 15, 20]
    np.testing.assert_allclose(times, [0, 0.5, 1, 1.5, 2])


@pytest.mark.parametrize(
    ("section", "change", "word"),
    [("features", {"resize": "center_crop"}, "resize"), ("features", {"weights": "other"}, "weights")],
)
def test_descriptors_made_otherwise_are_refused(config, media, tmp_path, section, change, word):
    DescriptorStore(config, tmp_path).extract(media[:1], Extractor())
    if word == "weights":  # the same name, another network
        (tmp_path / "small.npz").write_bytes(b"other weights")
        changed = config
    else:
        changed = dataclasses.replace(config, features=dataclasses.replace(config.features, **change))
    with pytest.raises(UserError, match=f"have {word} .*--overwrite"):
        DescriptorStore(changed, tmp_path).check()
    extractor = Extractor()
    DescriptorStore(changed, tmp_path).extract(media[:1], extractor, overwrite=True)
    assert extractor.batches == [1]
    DescriptorStore(changed, tmp_path).check()


def test_missing_descriptors_name_the_command(config, media, tmp_path):
    store = DescriptorStore(config, tmp_path)
    with pytest.raises(UserError, match="run: python preprocessing.py --dataset Flickr30k"):
        store.check()
    with pytest.raises(UserError, match="no mixed_10 descriptors of m0; run: python preprocessing.py"):
        store.load(media[0])


def test_a_cut_file_is_refused(config, media, tmp_path):
    store = DescriptorStore(config, tmp_path)
    store.extract(media[:1], Extractor())
    data = store.path("m0").read_bytes()
    for length in (0, 5, 100, len(data) - 1):
        store.path("m0").write_bytes(data[:length])
        with pytest.raises(UserError, match="is damaged"):
            store.load(media[0])


def test_the_snake_turns_round_in_every_second_row():
    order = scan_order("snake").reshape(8, 8)
    assert order[0].tolist() == list(range(8)) and order[1].tolist() == list(range(15, 7, -1))
    assert order[2].tolist() == list(range(16, 24))
    assert scan_order("raster").tolist() == list(range(64))


def test_the_captioners_input_is_scanned_and_the_files_are_not(config, media, tmp_path):
    config = dataclasses.replace(config, features=dataclasses.replace(config.features, scan="snake"))
    store = DescriptorStore(config, tmp_path)
    store.extract(media[:1], Extractor())
    np.testing.assert_array_equal(store.load(media[0])[:, 1], np.arange(64, dtype=np.float16), strict=True)
    np.testing.assert_array_equal(store.v(media[0])[:, 1], scan_order("snake").astype(np.float16), strict=True)
    np.testing.assert_array_equal(v_of(store.load(media[0])[None], config), store.v(media[0]), strict=True)


def test_a_network_keeps_its_numbers_through_its_file(tmp_path):
    pytest.importorskip("keras")
    from s2vt.features.inception import inception_v3, save_weights

    first = inception_v3(input_size=75)
    save_weights(first, tmp_path / "w.npz")
    second = inception_v3(str(tmp_path / "w.npz"), input_size=75)
    picture = np.random.default_rng(0).uniform(-1, 1, (1, 75, 75, 3)).astype(np.float32)
    a, b = first.predict(picture, verbose=0), second.predict(picture, verbose=0)
    np.testing.assert_allclose(a, b, rtol=0.05, atol=0.02 * a.max())  # kernels are kept as float16
    (tmp_path / "w.npz").write_bytes(b"PK\x05\x06" + bytes(18))
    with pytest.raises(UserError, match="does not hold this InceptionV3"):
        inception_v3(str(tmp_path / "w.npz"), input_size=75)
