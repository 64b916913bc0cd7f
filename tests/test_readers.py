"""Readers on damaged and unusual files: each returns a value or raises a UserError of one line that names the file.

The cases are those of `bad_files`; here each is given to the function that reads the file.
"""

import re
from pathlib import Path

import bad_files
import corpus
import numpy as np
import pytest
from bad_files import CHECKPOINT, DATASET, DESCRIPTORS, RECORD, SCORES, STATE, WORDS
from processes import Network, write_balls

import cfg
from s2vt import command_line, config
from s2vt.captioning.runs import Run, new_model
from s2vt.data import datasets
from s2vt.data.datasets import Medium
from s2vt.data.files import write_json
from s2vt.data.sampling import sample_medium
from s2vt.data.text import Vocabulary
from s2vt.errors import UserError
from s2vt.evaluation.mentions import ANNOTATIONS
from s2vt.features.descriptors import DescriptorStore
from s2vt.features.extraction import extract

CLIP3, DOT3 = (Medium(name, Path(name), "test", ("a", "b", "c")[:n]) for name, n in (("clip3", 3), ("dot3", 2)))


class Place:
    """The data sets, with descriptors of Balls, and an untrained run of it."""

    def __init__(self, folder):
        self.folder, self.data = folder, folder / "DATA"
        write_balls(self.data / "Balls")
        bad_files.write_dots(self.data / "Dots")
        bad_files.write_published(folder)
        (self.data / "w.pb").write_bytes(b"weights")
        self.config = config.own(folder / DATASET).with_value("features.weights", str(self.data / "w.pb"), "")
        self.store = DescriptorStore(self.config, self.data, "mixed_10")
        media = datasets.read_media(self.config, self.data)
        assert not extract(self.store, list(media.values()), lambda: Network(self.config.features))

        self.run = Run(folder / bad_files.RUN)
        vocabulary = Vocabulary.from_captions([c for medium in media.values() for c in medium.captions], 1)
        vocabulary.save(self.run.folder / "vocabulary.json")
        write_json(folder / RECORD, {"config": self.config.to_json(), "seed": 0, "weights": None})
        write_json(folder / SCORES, {"0": 0.5})
        new_model(self.config, vocabulary).save_weights(folder / CHECKPOINT)
        np.savez(folder / STATE, epochs=1, **{"0": np.zeros(3)})

    def parse(self, *arguments):
        """The Command of arguments."""
        places = ("--data_dir", str(self.data), "--experiments_dir", str(self.folder / "experiments"))
        return command_line.ScriptParser("x.py", "", cfg.CONFIGS).parse([*places, *arguments])[1]

    def media(self, dataset, data_dir="DATA"):
        """Reads the lists of a data set, and the name of each medium's descriptors."""
        found = datasets.read_media(config.find(dataset, self.folder / data_dir, cfg.CONFIGS), self.folder / data_dir)
        return [self.store.path(medium_id) for medium_id in found]

    def state(self):
        """Reads training_state.npz."""
        with self.run.state() as arrays:
            assert dict(arrays)
        return self.run.epochs_done()

    def entities(self):
        """Reads the phrases and boxes of a picture."""
        return list(ANNOTATIONS["entities"](self.data / "Dots", DOT3, ()))

    def tracks(self):
        """Reads the tracks of a clip."""
        return list(ANNOTATIONS["tracks"](self.data / "Balls", CLIP3, [0, 2, 5]))

    def reader(self, file, command):
        """The function that reads a file."""
        readers = {
            bad_files.TEST_LIST: lambda: self.media("Balls"),
            "DATA/Balls/train_val_videodatainfo.json": lambda: self.media("Balls"),
            bad_files.COCO: lambda: self.media("COCO"),
            bad_files.KARPATHY: lambda: self.media("COCO", "DATA/karpathy"),
            **{text: lambda text=text: self.media(text.split("/")[-2], text.rsplit("/", 2)[0])
               for text in bad_files.TEXTS},
            DATASET: lambda: config.own(self.folder / DATASET),
            RECORD: lambda: self.run.record() and self.parse("--dataset", "Balls").config_of(self.run),
            WORDS: self.run.vocabulary,
            SCORES: lambda: self.run.checkpoint("best"),
            CHECKPOINT: lambda: self.run.captioner("0"),
            STATE: self.state,
            f"{DESCRIPTORS}/clip3.npy": lambda: self.store.load(CLIP3),
            f"{DESCRIPTORS}/clip3.json": lambda: self.store.details(CLIP3),
            f"{DESCRIPTORS}/meta.json": self.store.check,
            f"{DESCRIPTORS}/failed.tsv": self.store.failures,
            "DATA/Balls/truth/clip3.json": self.tracks,
            bad_files.ANNOTATION: self.entities,
            bad_files.SENTENCES: self.entities,
            "DATA/Dots/Entities/UNRELATED_CAPTIONS": self.entities,
        }  # fmt: skip
        return readers.get(file)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return Place(tmp_path_factory.mktemp("readers"))


def cases(*tables):
    """pytest's parameters (files, command, shown), named, of tables of cases that change files."""
    rows = [row for table in tables for row in table if row[1]]
    named = [pytest.param(*row[1:], id=re.sub(r"\W+", "_", row[0])) for row in rows]
    return pytest.mark.parametrize(("files", "command", "shown"), named)


@cases(bad_files.LISTS_OF_MEDIA, bad_files.SETTINGS, bad_files.RUNS, bad_files.ENTITIES)
def test_a_file_is_read_or_refused_in_one_line(place, files, command, shown):
    read = place.reader(next(iter(files)), command)
    with bad_files.replaced_files(place.folder, files):
        try:
            read()
        except UserError as error:
            assert shown is not True, error
            assert "\n" not in str(error)
            assert str(place.folder) in str(error) or "cannot name a descriptor file" in str(error)
        else:
            assert shown is not False, "expected a refusal"
    assert not Path("/tmp/trapped").exists()


# --- media ------------------------------------------------------------------------------------------------------------

MEDIA = [("picture", *item) for item in corpus.pictures().items()]
MEDIA += [("video", *item) for item in corpus.videos().items()]


@pytest.mark.filterwarnings("ignore:::PIL")
@pytest.mark.parametrize(("kind", "name", "case"), [pytest.param(*m, id=f"{m[0]}-{m[1]}") for m in MEDIA])
def test_a_medium_is_read_or_refused_in_one_line(tmp_path, kind, name, case):
    """Every time in the same way, also where bytes were changed at random."""
    content, shown = case
    path = tmp_path / name
    path.write_bytes(content)
    outcomes = [_outcome(path, kind) for _ in range(2)]
    assert type(outcomes[0]) is type(outcomes[1])
    if isinstance(outcomes[0], UserError):
        assert shown is not True, outcomes[0]
        message = str(outcomes[0])
        assert message == str(outcomes[1]) and str(path) in message
        assert message.isprintable() and len(message) < 500 + len(str(path)) and "Error:" not in message
    else:
        first, second = outcomes
        assert shown is not False, "expected a refusal"
        width, height = first.size
        m = 1 if kind == "picture" else 3
        assert first.frames.shape == (m, height, width, 3) and first.frames.dtype == np.uint8
        assert len(first.times) == (0 if kind == "picture" else m)
        assert (np.diff(first.times) >= 0).all() or shown is None  # damaged time stamps
        np.testing.assert_array_equal(first.frames, second.frames)


def _outcome(path, kind):
    try:
        return sample_medium(path, kind, num_frames=3)
    except UserError as error:
        return error
