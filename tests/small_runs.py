"""Tiny runs on a tiny StillShapes, trained in this process with the stand-ins of `processes`."""

import sys

import numpy as np
import pytest
from processes import Network

import cfg
from s2vt import command_line
from s2vt.captioning import training
from s2vt.captioning.runs import Run
from s2vt.data import datasets
from s2vt.data.files import read_json
from s2vt.features.descriptors import DescriptorStore
from s2vt.features.extraction import extract
from s2vt.synthetic.writers import write_still_shapes

SETTINGS = ("training.epochs=2", "model.units=16", "model.embedding_size=8", "text.min_count=1",
            "training.batch_size=16", "training.decay=constant", "training.score_every=1")  # fmt: skip
SIZES = {"train": 6, "val": 2, "test": 2}
CONFIG = cfg.STILL_SHAPES.replace(SETTINGS)


class Place:
    """A folder of data sets and a folder of runs."""

    def __init__(self, folder):
        self.folder, self.data, self.experiments = folder, folder / "DATA", folder / "experiments"

    def write(self):
        """Renders StillShapes and extracts its descriptors."""
        write_still_shapes(self.data / "StillShapes", SIZES, processes=1)
        media = datasets.select(datasets.read_media(CONFIG, self.data))
        assert not extract(DescriptorStore(CONFIG, self.data), media, lambda: Network(CONFIG.features))
        return self

    def run(self, name):
        """A Run."""
        return Run(self.experiments / name)

    def train(self, name, *assignments, **request):
        """Trains a run with CONFIG and `--set` assignments; further arguments as TrainingRequest."""
        config = CONFIG.replace(assignments)
        return training.train(training.TrainingRequest(config, self.run(name), self.data, **request))

    def train_whole_and_in_parts(self, *assignments):
        """Trains a run "whole" and a run "parts", resumed after an epoch; returns the columns of their logs.

        Their last weights and their logs are the same to the last bit.
        """
        self.train("whole", *assignments, seed=3)
        self.train("parts", *assignments, "training.epochs=1", seed=3)
        self.train("parts", *assignments, seed=3, resume=True)
        for one, other in zip(self.weights("whole"), self.weights("parts"), strict=True):
            np.testing.assert_array_equal(one, other)
        assert self.log("parts") == self.log("whole")
        return self.log("whole").splitlines()[0].split(",")

    def script(self, script, *arguments):
        """The exit status of a script."""
        places = ("--data_dir", self.data, "--experiments_dir", self.experiments)
        sys.argv = [f"{script}.py", *map(str, (*places, *arguments))]
        with pytest.raises(SystemExit) as exit:
            command_line.run(__import__(script).main)
        return exit.value.code

    def log(self, name):
        """The text of log.csv."""
        return (self.experiments / name / "log.csv").read_text()

    def record(self, name):
        """The contents of config.json."""
        return read_json(self.experiments / name / "config.json")

    def weights(self, name):
        """The arrays of the last checkpoint."""
        return self.run(name).captioner("last")[0].get_weights()
