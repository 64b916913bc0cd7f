"""Descriptor files: whole or absent, made once, refused when they were made otherwise."""

import collections
import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cfg
from s2vt.data.datasets import Medium
from s2vt.data.files import read_json, write_json
from s2vt.data.video import VideoWriter, read_frames
from s2vt.errors import UserError
from s2vt.features import descriptors as store_module
from s2vt.features.descriptors import DescriptorStore, sample, scan_order, v_of

BATCH = 4
NO_NETWORK = lambda: pytest.fail("nothing is to be computed: no network is wanted")  # noqa: E731


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


def write_clip(path, num_frames=21, size=(64, 48), preset="medium"):
    """A clip that turns redder from frame to frame."""
    with VideoWriter(path, *size, 10, crf=1, preset=preset) as video:
        frame = np.zeros((size[1], size[0], 3), np.uint8)
        for f in range(num_frames):
            frame[..., 0] = 10 * f % 256
            video.write(frame)
    return path


def video_config(config, **features):
    """The config of videos of 5 frames, whose captioner reads pool_3."""
    features = {"layer": "pool_3", "num_frames": 5, **features}
    return dataclasses.replace(config, media="video", features=dataclasses.replace(config.features, **features))


@pytest.fixture
def clips(tmp_path):
    return [Medium(f"c{k}", write_clip(tmp_path / f"{k}.mp4", 15 + k), "test", ("a",)) for k in range(4)]


def files_of(folder):
    """{name: bytes} of all files."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


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
    store.extract(media, NO_NETWORK)


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
    medium = Medium("clip", write_clip(tmp_path / "clip.mp4"), "test", ("a",))
    store = DescriptorStore(video_config(config), tmp_path)
    store.extract([medium], Extractor())
    assert store.load(medium).shape == (5, 2048)
    np.testing.assert_allclose(np.asarray(store.v(medium), np.float32)[:, 0], [0, 50, 100, 150, 200], atol=6)
    geometry, indices, times = store.details(medium)
    assert (geometry.width, geometry.height) == (64, 48)
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


def test_the_command_makes_these_descriptors_and_no_others(config, tmp_path):
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


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-4), ("mixed_bfloat16", 0.05)])
def test_folded_batch_norm_changes_nothing_but_the_rounding(precision, tolerance):
    keras = pytest.importorskip("keras")
    from s2vt.features.inception import fold_batch_norm, inception_v3

    rng = np.random.default_rng(1)
    network = inception_v3(input_size=75, precision=precision)
    norms = [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for norm in norms:  # beta, mean, variance
        size = norm.beta.shape
        norm.set_weights([rng.uniform(-0.3, 0.5, size), rng.uniform(-0.3, 0.3, size), rng.uniform(0.5, 2, size)])
    folded = fold_batch_norm(network)
    assert len(norms) == 94 and len(folded.layers) == len(network.layers) - 94
    pictures = rng.uniform(-1, 1, (2, 75, 75, 3)).astype(np.float32)
    expected, found = (np.asarray(n.predict_on_batch(pictures), np.float32) for n in (network, folded))
    np.testing.assert_allclose(found, expected, rtol=10 * tolerance, atol=tolerance * expected.max(), strict=True)


def test_cells_are_the_scaled_pictures_maps_row_by_row():
    pytest.importorskip("keras")
    from s2vt.features.inception import FeatureExtractor, inception_v3, preprocess

    features = dataclasses.replace(cfg.CONFIGS["StillShapes"].features, precision="float32", batch_size=2)
    pictures = np.random.default_rng(0).integers(0, 256, (3, 299, 299, 3), np.uint8)
    network = inception_v3(features.weights)
    maps = network.predict(preprocess(pictures.astype(np.float32)), verbose=0)  # (3, 8, 8, 2048)
    expected = np.stack([maps[:, row, column] for row in range(8) for column in range(8)], axis=1)
    cells = FeatureExtractor(features).cells(pictures)
    np.testing.assert_allclose(cells, expected.astype(np.float16), rtol=2e-3, atol=1e-4 * maps.max(), strict=True)


# --- both layers


def test_one_pass_makes_both_layers(config, clips, tmp_path):
    config = video_config(config)
    pooled, cells = DescriptorStore(config, tmp_path), DescriptorStore(config, tmp_path, "mixed_10")
    extractor = Extractor()
    cells.extract(clips, extractor)
    assert sum(extractor.batches) == 4 * 5
    pooled.extract(clips, NO_NETWORK)
    pooled.check()
    for medium in clips:
        array = cells.load(medium)
        assert array.shape == (5, 64, 2048)
        np.testing.assert_array_equal(
            array.mean(axis=1, dtype=np.float32).astype(np.float16), pooled.load(medium), strict=True
        )
        assert pooled.details(medium) == cells.details(medium)


def test_three_roads_to_pool_3_give_the_same_bytes(config, clips, tmp_path):
    """The network; along with mixed_10; from mixed_10's files."""

    def pooled(folder):
        return DescriptorStore(video_config(config), tmp_path / folder)

    def cells(folder):
        return DescriptorStore(video_config(config), tmp_path / folder, "mixed_10")

    pooled("network").extract(clips, Extractor())
    cells("along").extract(clips, Extractor())
    cells("files").extract(clips, Extractor())
    shutil.rmtree(pooled("files").folder)
    pooled("files").extract(clips, NO_NETWORK)
    expected = files_of(pooled("network").folder)
    assert len(expected) == 4 * 2 + 1
    assert files_of(pooled("along").folder) == expected and files_of(pooled("files").folder) == expected


def test_pool_3_of_a_picture_is_one_descriptor(config, media, tmp_path):
    DescriptorStore(config, tmp_path).extract(media[:1], Extractor())
    assert not DescriptorStore(config, tmp_path, "pool_3").folder.exists()  # the captioner reads the cells alone
    config = dataclasses.replace(config, features=dataclasses.replace(config.features, layer="pool_3"))
    store = DescriptorStore(config, tmp_path)
    store.extract(media[:1], NO_NETWORK)
    assert store.v(media[0]).shape == (1, 2048)


def test_mixed_10_that_is_damaged_or_made_otherwise_is_not_averaged(config, clips, tmp_path):
    config = video_config(config)
    pooled, cells = DescriptorStore(config, tmp_path), DescriptorStore(config, tmp_path, "mixed_10")
    cells.extract(clips, Extractor())
    shutil.rmtree(pooled.folder)
    cells.path("c1").write_bytes(cells.path("c1").read_bytes()[:1000])
    extractor = Extractor()
    pooled.extract(clips, extractor)
    assert extractor.batches == [4, 1]  # c1 alone
    cropped = DescriptorStore(video_config(config, resize="center_crop"), tmp_path)
    extractor = Extractor()
    cropped.extract(clips, extractor, overwrite=True)
    assert sum(extractor.batches) == 4 * 5
    with pytest.raises(UserError, match="have resize squash"):
        DescriptorStore(video_config(config, resize="center_crop"), tmp_path, "mixed_10").check()


# --- extraction that can be left alone


@pytest.mark.parametrize(("num_frames", "batch_size"), [(5, 4), (5, 13), (3, 64), (7, 7)])
def test_batches_are_full_whatever_the_media(config, clips, tmp_path, num_frames, batch_size):
    config = video_config(config, num_frames=num_frames, batch_size=batch_size)
    extractor = Extractor()
    DescriptorStore(config, tmp_path).extract(clips, extractor)
    total = num_frames * len(clips)
    assert extractor.batches == [batch_size] * (total // batch_size) + [total % batch_size] * (total % batch_size > 0)


def test_decoding_runs_ahead_but_is_bounded(config, media, tmp_path, monkeypatch):
    """While the network computes, the next media are decoded; no more than two batches of pictures wait."""
    decoded, seen = [], []
    monkeypatch.setattr(store_module, "NUM_DECODERS", 2)
    monkeypatch.setattr(store_module, "sample", lambda path, config: decoded.append(path) or sample(path, config))

    class Slow(Extractor):
        def cells(self, pictures):
            time.sleep(0.2)
            seen.append(len(decoded))
            return super().cells(pictures)

    many = [Medium(f"{k}", media[k % 7].path, "test", ("a",)) for k in range(30)]
    DescriptorStore(config, tmp_path).extract(many, Slow())
    assert seen[0] > BATCH
    assert all(now <= BATCH * (k + 1) + 2 * BATCH + 1 for k, now in enumerate(seen))


def test_the_network_does_not_wait_for_the_disk(config, media, tmp_path, monkeypatch):
    events = []
    write = DescriptorStore._write

    def slow_write(self, *arguments):
        time.sleep(0.05)
        write(self, *arguments)
        events.append("written")

    class Network(Extractor):
        def cells(self, pictures):
            events.append("computed")
            return super().cells(pictures)

    monkeypatch.setattr(DescriptorStore, "_write", slow_write)
    DescriptorStore(config, tmp_path).extract(media, Network())
    assert collections.Counter(events) == {"computed": 2, "written": 7}
    assert events.index("computed", 1) < 4  # the second batch, before the first one's 4 media were written


def killed_while_saving(folder, num_whole):
    """Extracts the clips of a folder and dies of SIGKILL amid the file that follows the first `num_whole`."""
    save, count = np.save, iter(range(num_whole + 1))

    def dying_save(file, array, **options):
        if next(count) < num_whole:
            return save(file, array, **options)
        file.write(array.tobytes()[:1000])
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)

    np.save = dying_save
    config, clips = saved_place(folder)
    DescriptorStore(config, folder, "mixed_10").extract(clips, Extractor())


def saved_place(folder):
    weights = Path(folder) / "small.npz"
    features = dataclasses.replace(cfg.MSR_VTT.features, weights=str(weights), batch_size=BATCH, num_frames=5)
    clips = [Medium(f"c{k}", Path(folder) / f"{k}.mp4", "test", ("a",)) for k in range(4)]
    return dataclasses.replace(cfg.MSR_VTT, features=features), clips


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
@pytest.mark.parametrize("num_whole", [0, 1, 4, 7])
def test_a_killed_run_goes_on_and_gives_the_same_bytes(config, clips, tmp_path, num_whole):
    here = Path(__file__)
    code = f"import sys; sys.path[:0] = [{str(cfg.ROOT)!r}, {str(here.parent)!r}]; import {here.stem} as test\n"
    code += f"test.killed_while_saving({str(tmp_path)!r}, {num_whole})"
    result = subprocess.run([sys.executable, "-c", code], check=False, cwd=tmp_path)
    assert result.returncode == -signal.SIGKILL
    config, clips = saved_place(tmp_path)
    stores = [DescriptorStore(config, tmp_path, layer) for layer in ("mixed_10", "pool_3")]
    assert sum(medium.id in store for medium in clips for store in stores) == num_whole
    before = {path: path.stat().st_mtime_ns for store in stores for path in store.folder.glob("c*.npy")}
    extractor = Extractor()
    assert stores[0].extract(clips, extractor) == {}
    assert sum(extractor.batches) == 5 * (4 - -(-num_whole // 2))  # mixed_10 comes first, and is enough for both
    assert {path: path.stat().st_mtime_ns for path in before} == before
    whole = [DescriptorStore(config, tmp_path / "clean", layer) for layer in ("mixed_10", "pool_3")]
    whole[0].extract(clips, Extractor())
    for ours, theirs in zip(stores, whole, strict=True):
        found = {name: data for name, data in files_of(ours.folder).items() if not name.startswith(".")}
        assert found == files_of(theirs.folder)


def test_failures_are_listed_until_they_succeed(config, clips, tmp_path):
    good = clips[1].path.read_bytes()
    clips[1].path.write_bytes(good[: len(good) // 2])
    clips[2].path.unlink()
    config = video_config(config)
    store = DescriptorStore(config, tmp_path)
    failed = store.extract(clips, Extractor())
    assert sorted(failed) == ["c1", "c2"] and "cut short" in failed["c1"] and "no such file" in failed["c2"]
    lines = (store.folder / "failed.tsv").read_text("utf-8").splitlines()
    assert lines == [f"c1\t{failed['c1']}", f"c2\t{failed['c2']}"]
    assert [medium.id for medium in clips if medium.id in store] == ["c0", "c3"]

    clips[1].path.write_bytes(good)
    extractor = Extractor()
    assert list(store.extract(clips, extractor)) == ["c2"] and sum(extractor.batches) == 5
    assert list(store.failures()) == ["c2"]
    store.extract(clips[:1], NO_NETWORK)  # says nothing about c2
    assert list(store.failures()) == ["c2"]
    write_clip(clips[2].path)
    assert store.extract(clips, Extractor()) == {} and not (store.folder / "failed.tsv").exists()


def test_what_could_not_be_decoded_is_left_out_and_what_was_never_made_is_an_error(config, media, tmp_path):
    media[2].path.write_bytes(b"not a picture")
    store = DescriptorStore(config, tmp_path)
    store.extract(media[:5], Extractor())
    present, left_out = store.available(media[:5])
    assert [medium.id for medium in present] == ["m0", "m1", "m3", "m4"] and list(left_out) == ["m2"]
    with pytest.raises(UserError, match="no mixed_10 descriptors of m5; run: python preprocessing.py"):
        store.available(media)
    with pytest.raises(UserError, match="none of these 1 media could be decoded; see .*failed.tsv"):
        store.available(media[2:3])


def test_a_decoders_surprise_is_the_mediums_failure(config, media, tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "read_picture", lambda path: {}["a\tb\nc"])
    failed = DescriptorStore(config, tmp_path).extract(media[:1], Extractor())
    assert failed == {"m0": f"{media[0].path}: cannot be decoded: KeyError: 'a\\tb\\nc'"}


def test_a_small_disk_is_refused_before_anything_is_written(config, media, tmp_path, monkeypatch):
    store = DescriptorStore(config, tmp_path)
    each = 64 * 2048 * 2 + store_module.FILE_OVERHEAD
    usage = collections.namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 0, 7 * each - 1))
    with pytest.raises(UserError, match=r"would take 1\.9 MB, 1\.9 MB are free; make room"):
        store.extract(media, NO_NETWORK)
    assert not (tmp_path / "Flickr30k").exists()
    store.extract(media[:6], Extractor())
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 0, each))
    store.extract(media, Extractor())  # one is missing, and one has room
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 0, 7 * store_module.FILE_OVERHEAD))
    extractor = Extractor()
    store.extract(media, extractor, overwrite=True)  # what goes makes room
    assert extractor.batches == [4, 3]


def test_overwriting_a_part_keeps_the_rest(config, media, tmp_path):
    store = DescriptorStore(config, tmp_path)
    store.extract(media, Extractor())
    extractor = Extractor()
    store.extract(media[:2], extractor, overwrite=True)
    assert extractor.batches == [2] and all(medium.id in store for medium in media)


def test_precision_is_recorded_and_not_mixed(config, media, tmp_path):
    store = DescriptorStore(config, tmp_path)
    store.extract(media[:1], Extractor())
    path = store.folder / "meta.json"
    assert read_json(path)["precision"] == "float32"
    halved = dataclasses.replace(config, features=dataclasses.replace(config.features, precision="mixed_bfloat16"))
    halved = DescriptorStore(halved, tmp_path)
    halved.check()  # a reader takes either
    with pytest.raises(UserError, match="have precision float32, the config asks for mixed_bfloat16; run: .*overwrite"):
        halved.extract(media, NO_NETWORK)
    old = {key: value for key, value in read_json(path).items() if key != "precision"}
    write_json(path, old)  # made before it was recorded: not known, and it stays so
    before = path.read_bytes()
    assert halved.extract(media, Extractor()) == {} and path.read_bytes() == before


@pytest.mark.parametrize("name", ["../m0", "a/b", "", "meta", "a\tb", "a\nb"])
def test_ids_are_plain_names(config, media, tmp_path, name):
    store = DescriptorStore(config, tmp_path)
    with pytest.raises(UserError, match="cannot name a descriptor file"):
        store.extract([dataclasses.replace(media[0], id=name)], NO_NETWORK)
    assert not (tmp_path / "Flickr30k").exists()


# --- memory


def test_frames_are_resized_as_they_come(config, tmp_path):
    path = write_clip(tmp_path / "big.mp4", 12, (1280, 720), "ultrafast")
    config = video_config(config, num_frames=12)
    one_frame, one_input = 1280 * 720 * 3, 299 * 299 * 3
    tracemalloc.start()
    try:
        sampled = sample(path, config)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sampled.pictures.shape == (12, 299, 299, 3) and sampled.geometry.width == 1280
    assert peak < 12 * one_input + 3 * one_frame
    whole = read_frames(path, 12)
    assert whole.size == (1280, 720)
    expected = np.stack([store_module.resize(frame, sampled.geometry) for frame in whole.frames])
    np.testing.assert_array_equal(sampled.pictures, expected, strict=True)


def test_memory_does_not_grow_with_the_clips_length(config, tmp_path):
    """The peak of a process that samples 10 s and of one that samples 8 minutes (345 MB, were all its frames kept)."""
    peaks = []
    for num_frames in (100, 5_000):
        path = write_clip(tmp_path / f"{num_frames}.mp4", num_frames, (160, 144), "ultrafast")
        code = f"import resource, sys; sys.path.insert(0, {str(cfg.ROOT)!r})\nimport cfg\n"
        code += f"from s2vt.features.descriptors import sample\nsample({str(path)!r}, cfg.MSR_VTT)\n"
        code += "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        peaks.append(int(result.stdout) / 1024)
    assert peaks[1] < peaks[0] + 16  # MiB


def test_training_batches_hold_no_copy_of_the_set(config, media, tmp_path):
    """An epoch over 131 MB of descriptors allocates what a few of its batches of 5 media take."""
    pytest.importorskip("keras")
    from s2vt.data.batches import CaptionBatches
    from s2vt.data.text import Vocabulary

    store = DescriptorStore(config, tmp_path)
    store.extract(media[:1], Extractor())
    many = [dataclasses.replace(media[0], id=f"k{k}") for k in range(500)]
    for medium in many:
        os.link(store.path("m0"), store.path(medium.id))
    each = store.load(media[0]).nbytes
    config = dataclasses.replace(config, training=dataclasses.replace(config.training, batch_size=5))
    batches = CaptionBatches(many, store, Vocabulary.from_captions(["a"], 1), config)
    batches[0]
    tracemalloc.start()
    try:
        for k in range(len(batches)):
            batches[k]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(store.load(many[0]), np.memmap) and peak < 5 * 5 * 2 * each < 500 * each


def test_the_weights_are_digested_once_however_many_media_there_are(config, media, tmp_path, monkeypatch):
    digested = []
    monkeypatch.setattr(store_module, "weights_digest", lambda weights: digested.append(weights) or "sha256:0")
    assert len(media) > 2 and not DescriptorStore(config, tmp_path).extract(media, Extractor)
    assert len(digested) <= 2  # to look whether descriptors are there, and to write them
