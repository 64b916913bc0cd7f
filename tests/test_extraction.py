"""Extraction of descriptors: what is missing is made once, whatever is killed, damaged or full in between."""

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
from small_stores import (
    BATCH,
    Extractor,
    files_of,
    no_network,
    picture_config,
    video_config,
    write_clip,
    write_clips,
    write_pictures,
)

from s2vt.data.datasets import Medium
from s2vt.data.files import read_json, write_json
from s2vt.data.geometry import Grid, resize
from s2vt.data.sampling import sample_video
from s2vt.errors import UserError
from s2vt.features import extraction, networks
from s2vt.features.descriptors import DescriptorStore
from s2vt.features.extraction import extract, sample_inputs


@pytest.fixture
def config(tmp_path):
    return picture_config(tmp_path)


@pytest.fixture
def media(tmp_path):
    return write_pictures(tmp_path)


@pytest.fixture
def clips(tmp_path):
    return write_clips(tmp_path)


def test_pictures_of_several_media_share_a_batch(config, media, tmp_path):
    store, extractor = DescriptorStore(config, tmp_path), Extractor()
    assert extract(store, media, extractor) == {}
    assert extractor.batches == [4, 3]
    for k, medium in enumerate(media):
        array = store.load(medium)
        assert array.shape == (64, 2048) and array.dtype == np.float16 and array[0, 0] == 10 * k
        geometry, indices, times = store.details(medium)
        assert (geometry.width, geometry.height, indices, times) == (40 + k, 30, [], [])


def test_a_second_run_does_only_what_is_missing(config, media, tmp_path):
    store = DescriptorStore(config, tmp_path)
    extract(store, media, Extractor())
    before = {m.id: store.path(m.id).read_bytes() for m in media}
    store.path("m3").unlink()
    extractor = Extractor()
    extract(store, media, extractor)
    assert extractor.batches == [1]
    assert {m.id: store.path(m.id).read_bytes() for m in media} == before
    extract(store, media, no_network)


def test_a_broken_medium_stops_no_other(config, media, tmp_path):
    media[2].path.write_bytes(b"not a picture")
    media[5].path.unlink()
    store = DescriptorStore(config, tmp_path)
    failed = extract(store, media, Extractor())
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
        extract(store, media, Dying())
    assert [m.id for m in media if m.id in store] == ["m0", "m1", "m2", "m3"]
    assert not [path for path in store.folder.iterdir() if path.name.startswith(".")]


def test_the_sampled_frames_of_a_video_are_recorded(tmp_path):
    medium = Medium("clip", write_clip(tmp_path / "clip.mp4"), "test", ("a",))
    store = DescriptorStore(video_config(tmp_path), tmp_path)
    extract(store, [medium], Extractor())
    assert store.load(medium).shape == (5, 2048)
    np.testing.assert_allclose(np.asarray(store.v(medium), np.float32)[:, 0], [0, 50, 100, 150, 200], atol=6)
    geometry, indices, times = store.details(medium)
    assert (geometry.width, geometry.height) == (64, 48)
    assert indices == [0, 5, 10, 15, 20]
    np.testing.assert_allclose(times, [0, 0.5, 1, 1.5, 2])


def test_pool_3_from_the_network_along_with_mixed_10_or_from_its_files_is_the_same(clips, tmp_path):

    def pooled(folder):
        return DescriptorStore(video_config(tmp_path), tmp_path / folder)

    def cells(folder):
        return DescriptorStore(video_config(tmp_path), tmp_path / folder, "mixed_10")

    extract(pooled("network"), clips, Extractor())
    extractor = Extractor()
    extract(cells("along"), clips, extractor)
    assert sum(extractor.batches) == 4 * 5  # one pass for both layers
    extract(cells("files"), clips, Extractor())
    shutil.rmtree(pooled("files").folder)
    extract(pooled("files"), clips, no_network)
    expected = files_of(pooled("network").folder)
    assert len(expected) == 4 * 2 + 1
    assert files_of(pooled("along").folder) == expected and files_of(pooled("files").folder) == expected
    for medium in clips:
        array = cells("along").load(medium)
        assert array.shape == (5, 64, 2048)
        pool_3 = array.mean(axis=1, dtype=np.float32).astype(np.float16)
        np.testing.assert_array_equal(pool_3, pooled("along").load(medium), strict=True)


def test_pool_3_of_a_picture_is_one_descriptor(config, media, tmp_path):
    extract(DescriptorStore(config, tmp_path), media[:1], Extractor())
    assert not DescriptorStore(config, tmp_path, "pool_3").folder.exists()  # the captioner reads the cells alone
    config = dataclasses.replace(config, features=dataclasses.replace(config.features, layer="pool_3"))
    store = DescriptorStore(config, tmp_path)
    extract(store, media[:1], no_network)
    assert store.v(media[0]).shape == (1, 2048)


def test_mixed_10_that_is_damaged_or_made_with_other_settings_is_not_averaged(clips, tmp_path):
    config = video_config(tmp_path)
    pooled, cells = DescriptorStore(config, tmp_path), DescriptorStore(config, tmp_path, "mixed_10")
    extract(cells, clips, Extractor())
    shutil.rmtree(pooled.folder)
    cells.path("c1").write_bytes(cells.path("c1").read_bytes()[:1000])
    extractor = Extractor()
    extract(pooled, clips, extractor)
    assert extractor.batches == [4, 1]  # c1 alone
    cropped = DescriptorStore(video_config(tmp_path, resize="center_crop"), tmp_path)
    extractor = Extractor()
    extract(cropped, clips, extractor, overwrite=True)
    assert sum(extractor.batches) == 4 * 5
    with pytest.raises(UserError, match="have resize squash"):
        DescriptorStore(video_config(tmp_path, resize="center_crop"), tmp_path, "mixed_10").check()


def test_frames_that_a_short_clip_repeats_are_computed_once(tmp_path):
    clips = [Medium(f"s{n}", write_clip(tmp_path / f"{n}.mp4", n), "test", ("a",)) for n in (3, 1, 5, 2)]
    store, extractor = DescriptorStore(video_config(tmp_path), tmp_path, "mixed_10"), Extractor()
    extract(store, clips, extractor)
    assert extractor.batches == [4, 4, 3]  # 3 + 1 + 5 + 2 pictures
    for medium, expected in zip(clips, [(0, 0, 1, 2, 2), (0,) * 5, (0, 1, 2, 3, 4), (0, 0, 0, 1, 1)], strict=True):
        assert store.details(medium)[1] == list(expected)  # round(linspace(0, F - 1, 5))
        np.testing.assert_allclose(store.load(medium)[:, 5, 0], 10 * np.array(expected), atol=2)


@pytest.mark.parametrize(("num_frames", "batch_size"), [(5, 4), (5, 13), (3, 64), (7, 7)])
def test_batches_are_full_whatever_the_media(clips, tmp_path, num_frames, batch_size):
    config = video_config(tmp_path, num_frames=num_frames, batch_size=batch_size)
    extractor = Extractor()
    extract(DescriptorStore(config, tmp_path), clips, extractor)
    total = num_frames * len(clips)
    assert extractor.batches == [batch_size] * (total // batch_size) + [total % batch_size] * (total % batch_size > 0)


def test_decoding_runs_ahead_but_is_bounded(config, media, tmp_path, monkeypatch):
    """While the network computes, the next media are decoded; no more than two batches of pictures wait."""
    decoded, seen = [], []
    monkeypatch.setattr(extraction, "NUM_DECODERS", 2)
    monkeypatch.setattr(extraction, "sample_inputs", lambda *args: decoded.append(1) or sample_inputs(*args))

    class Slow(Extractor):
        def cells(self, pictures):
            time.sleep(0.1)
            seen.append(len(decoded))
            return super().cells(pictures)

    many = [Medium(f"{k}", media[k % 7].path, "test", ("a",)) for k in range(30)]
    extract(DescriptorStore(config, tmp_path), many, Slow())
    assert seen[0] > BATCH
    assert all(now <= BATCH * (k + 1) + 2 * BATCH + 1 for k, now in enumerate(seen))


def test_the_network_does_not_wait_for_the_disk(config, media, tmp_path, monkeypatch):
    events = []
    write = DescriptorStore.write

    def slow_write(self, *arguments):
        time.sleep(0.05)
        write(self, *arguments)
        events.append("written")

    class Network(Extractor):
        def cells(self, pictures):
            events.append("computed")
            return super().cells(pictures)

    monkeypatch.setattr(DescriptorStore, "write", slow_write)
    extract(DescriptorStore(config, tmp_path), media, Network())
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
    config, clips = saved_place(Path(folder))
    extract(DescriptorStore(config, folder, "mixed_10"), clips, Extractor())


def saved_place(folder):
    """The config and the clips that `video_config` and `write_clips` made in a folder."""
    return video_config(folder), [Medium(f"c{k}", folder / f"{k}.mp4", "test", ("a",)) for k in range(4)]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
@pytest.mark.parametrize("num_whole", [0, 1, 4, 7])
def test_a_killed_run_goes_on_and_gives_the_same_bytes(clips, tmp_path, num_whole):
    here = Path(__file__)
    code = f"import sys; sys.path[:0] = [{str(here.parents[1])!r}, {str(here.parent)!r}]; import {here.stem} as test\n"
    code += f"test.killed_while_saving({str(tmp_path)!r}, {num_whole})"
    result = subprocess.run([sys.executable, "-c", code], check=False, cwd=tmp_path)
    assert result.returncode == -signal.SIGKILL
    config, clips = saved_place(tmp_path)
    stores = [DescriptorStore(config, tmp_path, layer) for layer in ("mixed_10", "pool_3")]
    assert sum(medium.id in store for medium in clips for store in stores) == num_whole
    before = {path: path.stat().st_mtime_ns for store in stores for path in store.folder.glob("c*.npy")}
    extractor = Extractor()
    assert extract(stores[0], clips, extractor) == {}
    assert sum(extractor.batches) == 5 * (4 - -(-num_whole // 2))  # mixed_10 comes first, and is enough for both
    assert {path: path.stat().st_mtime_ns for path in before} == before
    whole = [DescriptorStore(config, tmp_path / "clean", layer) for layer in ("mixed_10", "pool_3")]
    extract(whole[0], clips, Extractor())
    for ours, theirs in zip(stores, whole, strict=True):
        assert files_of(ours.folder) == files_of(theirs.folder)


def test_failures_are_listed_until_they_succeed(clips, tmp_path):
    good = clips[1].path.read_bytes()
    clips[1].path.write_bytes(good[: len(good) // 2])
    clips[2].path.unlink()
    config = video_config(tmp_path)
    store = DescriptorStore(config, tmp_path)
    failed = extract(store, clips, Extractor())
    assert sorted(failed) == ["c1", "c2"] and "cut short" in failed["c1"] and "missing" in failed["c2"]
    lines = (store.folder / "failed.tsv").read_text("utf-8").splitlines()
    assert lines == [f"c1\t{failed['c1']}", f"c2\t{failed['c2']}"]
    assert [medium.id for medium in clips if medium.id in store] == ["c0", "c3"]

    clips[1].path.write_bytes(good)
    extractor = Extractor()
    assert list(extract(store, clips, extractor)) == ["c2"] and sum(extractor.batches) == 5
    assert list(store.failures()) == ["c2"]
    extract(store, clips[:1], no_network)  # says nothing about c2
    assert list(store.failures()) == ["c2"]
    write_clip(clips[2].path)
    assert extract(store, clips, Extractor()) == {} and not (store.folder / "failed.tsv").exists()


def test_a_small_disk_is_refused_before_anything_is_written(config, media, tmp_path, monkeypatch):
    store = DescriptorStore(config, tmp_path)
    each = 64 * 2048 * 2 + extraction.FILE_OVERHEAD
    usage = collections.namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 0, 7 * each - 1))
    with pytest.raises(UserError, match=r"would take 1\.9 MB, 1\.9 MB are free; make room"):
        extract(store, media, no_network)
    assert not (tmp_path / "Flickr30k").exists()
    extract(store, media[:6], Extractor())
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 0, each))
    extract(store, media, Extractor())  # one is missing, and one has room
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 0, 7 * extraction.FILE_OVERHEAD))
    extractor = Extractor()
    extract(store, media, extractor, overwrite=True)  # what goes makes room
    assert extractor.batches == [4, 3]


def test_progress_counts_media_whose_files_are_written(config, media, clips, tmp_path):
    """Of pictures, of a medium that fails, of clips, and of pool_3 that is made without the network."""

    def watched(store, media, **options):
        noted = []

        def progress(done, total):
            assert total == len(media)
            for medium in done:
                noted.append((medium.id, medium.id in store))
                yield medium

        failed = extract(store, media, progress=progress, **options)
        assert sorted(noted) == sorted((medium.id, medium.id not in failed) for medium in media)
        return len(failed)

    media[1].path.write_bytes(b"not a picture")
    assert watched(DescriptorStore(config, tmp_path), media, extractor=Extractor()) == 1
    assert watched(DescriptorStore(config, tmp_path), media, extractor=Extractor(), overwrite=True) == 1
    cells = DescriptorStore(video_config(tmp_path), tmp_path / "clips", "mixed_10")
    assert watched(cells, clips, extractor=Extractor()) == 0
    assert watched(cells.of_layer("pool_3"), clips, extractor=no_network, overwrite=True) == 0


@pytest.mark.parametrize("settings", ["equal", "other"])
def test_overwriting_without_a_network_loses_nothing(config, media, tmp_path, settings):
    store = DescriptorStore(config, tmp_path)
    extract(store, media, Extractor())
    before, weights = files_of(store.folder), Path(config.features.weights)
    if settings == "other":
        weights.write_bytes(b"no network")  # as a cut download

    def unreadable():
        raise UserError("does not hold this InceptionV3")

    with pytest.raises(UserError, match="does not hold"):
        extract(store, media[:2], unreadable, overwrite=True)
    assert files_of(store.folder) == before
    weights.unlink()
    with pytest.raises(UserError, match="no weights '.*small.npz'"):
        extract(store, media[:2], no_network, overwrite=True)
    assert files_of(store.folder) == before


def test_overwriting_a_part_keeps_the_rest(config, media, tmp_path):
    store = DescriptorStore(config, tmp_path)
    extract(store, media, Extractor())
    extractor = Extractor()
    extract(store, media[:2], extractor, overwrite=True)
    assert extractor.batches == [2] and all(medium.id in store for medium in media)


def test_precision_is_recorded_and_not_mixed(config, media, tmp_path):
    store = DescriptorStore(config, tmp_path)
    extract(store, media[:1], Extractor())
    path = store.folder / "meta.json"
    assert read_json(path)["precision"] == "float32"
    halved = dataclasses.replace(config, features=dataclasses.replace(config.features, precision="mixed_bfloat16"))
    halved = DescriptorStore(halved, tmp_path)
    halved.check()  # a reader takes either
    with pytest.raises(UserError, match="have precision float32, the config asks for mixed_bfloat16; run: .*overwrite"):
        extract(halved, media, no_network)
    old = {key: value for key, value in read_json(path).items() if key != "precision"}
    write_json(path, old)  # made before it was recorded: not known, and it stays so
    before = path.read_bytes()
    assert extract(halved, media, Extractor()) == {} and path.read_bytes() == before


def test_frames_are_resized_as_they_are_decoded(tmp_path):
    path = write_clip(tmp_path / "big.mp4", 12, (1280, 720), "ultrafast")
    config = video_config(tmp_path, num_frames=12, resize="center_crop")
    one_frame, one_input = 1280 * 720 * 3, 299 * 299 * 3
    tracemalloc.start()
    try:
        sampled = sample_inputs(path, config)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sampled.frames.shape == (12, 299, 299, 3) and sampled.size == (1280, 720)
    assert peak < 12 * one_input + 3 * one_frame
    geometry = sampled.geometry("center_crop", Grid())
    expected = np.stack([resize(frame, geometry) for frame in sample_video(path, 12).frames])
    np.testing.assert_array_equal(sampled.frames, expected, strict=True)


def test_memory_does_not_grow_with_the_clips_length(tmp_path):
    """Peak memory of a process that samples 100 frames, and of one that samples 2,500, which would take 173 MB."""
    peaks = []
    for num_frames in (100, 2_500):
        path = write_clip(tmp_path / f"{num_frames}.mp4", num_frames, (160, 144), "ultrafast")
        code = f"import resource, sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r})\nimport cfg\n"
        code += f"from s2vt.features.extraction import sample_inputs\nsample_inputs({str(path)!r}, cfg.MSR_VTT)\n"
        code += "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        peaks.append(int(result.stdout) / 1024)
    assert peaks[1] < peaks[0] + 16  # MiB


def test_the_weights_are_digested_once_however_many_media_there_are(config, media, tmp_path, monkeypatch):
    digested = []
    monkeypatch.setattr(networks, "digest", lambda weights: digested.append(weights) or "sha256:0")
    assert len(media) > 2 and not extract(DescriptorStore(config, tmp_path), media, Extractor)
    assert len(digested) <= 2  # to look whether descriptors are there, and to write them
