"""Two thousand media, one after the other: no more memory, open files or Java programs at the end than after a few."""

import dataclasses
import gc
import os
from pathlib import Path

import av
import numpy as np
import pytest

import cfg
from s2vt.captioning import java, scoring
from s2vt.data import datasets
from s2vt.data import video as media
from s2vt.data.datasets import Medium
from s2vt.data.text import Vocabulary
from s2vt.data.video_writer import VideoWriter
from s2vt.evaluation import localization
from s2vt.evaluation.mentions import entities_mentions
from s2vt.evaluation.protocol import Protocol
from s2vt.evaluation.scorer import MapSource, Scorer
from s2vt.features.descriptors import DescriptorStore
from s2vt.features.extraction import extract
from s2vt.saliency.maps import find_evidence
from s2vt.synthetic import writers as synthetic

pytestmark = pytest.mark.slow

MANY, WARM = 2000, 500  # media; how many of them may still fill caches
MEGABYTES = 64  # that the rest may add, fragments of the heap among them: 43 KB a medium; a picture has 270, a clip 800

linux = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory and files are counted in /proc")


def resident():
    """Memory that this process holds, MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def open_files():
    return len(os.listdir("/proc/self/fd"))


def programs():
    """The child processes of this process, of all its threads, that are still there."""
    return {pid for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()}


class Watch:
    """A `progress` that notes memory, open files and threads at each medium."""

    def __call__(self, items, total=None):
        self.noted = []
        for item in items:
            self.noted.append((resident(), open_files(), len(os.listdir("/proc/self/task"))))
            yield item

    def check(self):
        memory, files, threads = np.array(self.noted).T
        assert len(memory) == MANY
        assert memory[-1] - memory[WARM:].min() < MEGABYTES, memory[:: MANY // 10]
        assert files[-1] <= files[:WARM].max() and threads[-1] <= threads[:WARM].max()


class Network:
    """Stands for the InceptionV3."""

    def cells(self, pictures):
        return np.broadcast_to(pictures[:, :1, :1, :1].reshape(-1, 1, 1), (len(pictures), 64, 2048)).astype("float32")


@linux
@pytest.mark.long
def test_extraction_of_two_thousand_clips(tmp_path):
    path = tmp_path / "clip.mp4"
    with VideoWriter(path, 64, 48, 10) as video:
        for k in range(4):
            video.write(np.full((48, 64, 3), 50 * k, np.uint8))
    weights = tmp_path / "weights.npz"
    weights.write_bytes(b"weights")
    features = dataclasses.replace(cfg.MSVD.features, weights=str(weights), num_frames=3, batch_size=16)
    store, watch = DescriptorStore(dataclasses.replace(cfg.MSVD, features=features), tmp_path), Watch()
    clips = [Medium(f"m{k}", path, "test", ("a",)) for k in range(MANY)]
    assert extract(store, clips, Network, progress=watch) == {}
    watch.check()


def test_decoded_frames_are_freed_without_the_collector(tmp_path):
    """A frame in a reference cycle would wait for it, with its pixels and its scaler's threads."""
    path = tmp_path / "clip.mp4"
    with VideoWriter(path, 64, 48, 10) as video:
        for _ in range(40):
            video.write(np.zeros((48, 64, 3), np.uint8))
    gc.collect()
    gc.disable()
    try:
        assert sum(1 for _ in media.iterate_frames(path)) == 40
        assert not [thing for thing in gc.get_objects() if isinstance(thing, av.VideoFrame)]
    finally:
        gc.enable()


@linux
@pytest.mark.long
def test_localization_of_two_thousand_pictures(tmp_path):
    """Maps of the same 20 pictures 100 times. A graph for each picture would show, too."""
    from s2vt.captioning.s2vt import S2VT

    config = cfg.STILL_SHAPES
    synthetic.write_still_shapes(tmp_path / "StillShapes", {"train": 1, "val": 1, "test": 20})
    pictures = datasets.select(datasets.read_media(config, tmp_path), "test")
    store = DescriptorStore(config, tmp_path, layer="mixed_10")
    extract(store, pictures, Network)
    vocabulary = Vocabulary.from_captions((caption for medium in pictures for caption in medium.captions), 1)
    captioner = S2VT(len(vocabulary), 8, 4)
    captioner.build({"v": (None, None, 2048)})

    def find(medium, sentences):
        return find_evidence(captioner, store.descriptors(medium), sentences, ["nll"], None)

    def annotated(medium, protocol):
        return store.details(medium)[0], entities_mentions(tmp_path / "StillShapes", medium)

    scorer = Scorer([MapSource({"nll": "nll"}, vocabulary, config.text.max_words, find)], "picture", Protocol())
    record, watch = localization.Record(tmp_path / "record.json", {}), Watch()
    localization.score_media(pictures * (MANY // 20), annotated, [scorer], record, watch)
    watch.check()


@linux
def test_scoring_again_and_again_leaves_no_program_behind():
    references, candidates = {1: ["a man runs", "a man is running"]}, {1: "a man runs"}
    scores, before = scoring.score(references, candidates), (programs(), open_files())
    with java.MeteorScorer() as meteor:
        for _ in range(3):
            assert scoring.score(references, candidates, scorer=meteor) == scores
            assert len(programs() - before[0]) == 1
    assert programs() <= before[0] and open_files() <= before[1]
