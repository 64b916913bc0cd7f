"""A network that sees mean colours, and a captioner that names them, to test scores of maps without training."""

import dataclasses

import numpy as np

import cfg
from s2vt.config import Config
from s2vt.data import datasets
from s2vt.data.files import read_json
from s2vt.data.geometry import Grid
from s2vt.data.text import Vocabulary
from s2vt.features.descriptors import DescriptorStore
from s2vt.features.extraction import extract
from s2vt.synthetic import writers
from s2vt.synthetic.drawing import COLOURS

CONFIG = cfg.STILL_SHAPES.replace(["text.min_count=1"])


class ColourNetwork:
    """In place of InceptionV3: the mean colour about the centre of each cell's receptive field."""

    def cells(self, pictures):
        cells = np.zeros((len(pictures), 8, 8, 2048), np.float32)
        for row, y in enumerate(Grid().centres()):
            for column, x in enumerate(Grid().centres()):
                patch = pictures[:, y - 6 : y + 7, x - 6 : x + 7]
                cells[:, row, column, :3] = patch.mean(axis=(1, 2)) / 255
        return cells.reshape(len(pictures), 64, 2048)


class ColourCaptioner:
    """Says the name of the mean colour of what it reads, and every other word with equal probability."""

    def __init__(self, vocabulary):
        self.colours = np.full((len(vocabulary), 3), 0.5)
        for name, colour in COLOURS.items():
            self.colours[vocabulary.index[name]] = colour

    def encode(self, v):
        return np.asarray(v).mean(axis=1)

    def step(self, state, word):
        colour = np.asarray(state)[:, None, :3]
        return (-40 * ((colour - self.colours) ** 2).sum(axis=-1)).astype("float32"), state


class AttentiveCaptioner(ColourCaptioner):
    def attention(self, batch):
        v, y = batch["v"][..., None, :, :3], self.colours[batch["y"]][..., None, :]
        alpha = np.exp(-40 * ((v - y) ** 2).sum(axis=-1))
        return alpha / alpha.sum(axis=-1, keepdims=True)  # (S, T, N)


@dataclasses.dataclass
class ColourRun:
    """A run whose captioner is not trained, with the methods of `s2vt.captioning.runs.Run` that localization calls."""

    folder: object
    known: Config
    words: Vocabulary
    captioner_class: type = ColourCaptioner

    name = property(lambda self: self.folder.name)

    def config(self):
        return self.known

    def vocabulary(self):
        return self.words

    def captioner(self, which):
        return self.captioner_class(self.words), 7

    def identity(self, number):
        return {"run": self.name, "checkpoint": number, "sha256": f"digest of {self.name}"}


def pictures(folder, number):
    """A folder with so many test pictures of StillShapes and their descriptors."""
    writers.write_still_shapes(
        folder / "StillShapes", {"train": 1, "val": 1, "test": number}, split="test", processes=1
    )
    store = DescriptorStore(CONFIG, folder, "mixed_10")
    assert extract(store, datasets.select(datasets.read_media(CONFIG, folder), "test"), ColourNetwork) == {}
    return folder


def words_of(folder):
    """The Vocabulary of the captions of StillShapes in a folder, and of all colours."""
    captions = (caption for medium in datasets.read_media(CONFIG, folder).values() for caption in medium.captions)
    return Vocabulary.from_captions([*captions, *COLOURS], 1)


def killed_and_resumed(score):
    """The contents of the result file of a whole run, and of one that was killed after its first medium.

    Args:
        score: progress -> [LocalizationScores]; of three media.
    """
    (whole,) = score(iter)
    phrases = whole.path.with_suffix(".phrases.tsv")
    expected, expected_phrases = read_json(whole.path), phrases.read_bytes()
    whole.path.unlink(), phrases.unlink()

    def stop_after_one(media):
        yield media[0]
        raise KeyboardInterrupt

    try:
        score(stop_after_one)
    except KeyboardInterrupt:
        pass
    seen = []
    (resumed,) = score(lambda media: seen.extend(media) or media)
    assert len(seen) == 2 and set(resumed.path.parent.iterdir()) == {resumed.path, phrases}
    assert phrases.read_bytes() == expected_phrases
    return expected, read_json(resumed.path)
