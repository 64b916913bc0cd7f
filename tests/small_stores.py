"""Small media and configs for descriptor files, and a stand-in for the network that computes them."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

import cfg
from s2vt.data.datasets import Medium
from s2vt.data.video_writer import VideoWriter

BATCH = 4


class Extractor:
    """Stands in for the network: cell k of a picture is (its mean red, k, 1, ...).

    Attributes:
        batches: number of pictures in each batch so far.
    """

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


def no_network():
    """Stands in for an extractor that must not be called."""
    pytest.fail("nothing is to be computed: no network is wanted")


def picture_config(folder, **features):
    """The config of pictures whose captioner reads mixed_10, with weights of its own in a folder."""
    weights = folder / "small.npz"
    weights.touch()
    base = cfg.FLICKR30K
    features = dataclasses.replace(base.features, weights=str(weights), batch_size=BATCH, **features)
    return dataclasses.replace(base, features=features)


def video_config(folder, **features):
    """The config of videos of 5 frames, whose captioner reads pool_3."""
    features = {"layer": "pool_3", "num_frames": 5, **features}
    config = picture_config(folder)
    return dataclasses.replace(config, media="video", features=dataclasses.replace(config.features, **features))


def write_pictures(folder, number=7):
    """Pictures m0, m1, ..., 40 + k pixels wide, whose red is 10 k."""
    result = []
    for k in range(number):
        path = folder / f"{k}.png"
        Image.new("RGB", (40 + k, 30), (10 * k % 256, 0, 0)).save(path)
        result.append(Medium(f"m{k}", path, "test", ("a",)))
    return result


def write_clip(path, num_frames=21, size=(64, 48), preset="medium"):
    """A clip whose red is 10 f (modulo 256) in frame f."""
    with VideoWriter(path, *size, 10, crf=1, preset=preset) as video:
        frame = np.zeros((size[1], size[0], 3), np.uint8)
        for f in range(num_frames):
            frame[..., 0] = 10 * f % 256
            video.write(frame)
    return path


def write_clips(folder):
    """Four clips c0 ... c3 of 15 + k frames."""
    return [Medium(f"c{k}", write_clip(folder / f"{k}.mp4", 15 + k), "test", ("a",)) for k in range(4)]


def files_of(folder):
    """{name: bytes} of all files of a folder but hidden ones."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name[0] != "."
    }
