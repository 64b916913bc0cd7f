"""The same command twice, and a run repeated from what its folder records: the same numbers, to the bit.

InceptionV3 and METEOR have stand-ins; the test with another process does without METEOR's.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from processes import Network, shared_words

import cfg
from s2vt import command_line
from s2vt.captioning import java as scoring
from s2vt.captioning.runs import Run
from s2vt.data.files import read_json, write_json
from s2vt.features import descriptors as store
from s2vt.synthetic import writers as synthetic

pytestmark = pytest.mark.slow

SETTINGS = ("training.epochs=2", "model.units=16", "model.embedding_size=8", "text.min_count=1",
            "training.batch_size=16")  # fmt: skip


class Place:
    """A data folder, an experiments folder, and the scripts run on them."""

    def __init__(self, folder):
        self.folder, self.data, self.experiments = folder, folder / "DATA", folder / "experiments"

    def arguments(self, script, *arguments):
        places = ("--data_dir", self.data, "--experiments_dir", self.experiments)
        return [f"{script}.py", *map(str, (*places, *arguments))]

    def run(self, script, *arguments):
        """Exit status of a script, in this process."""
        sys.argv = self.arguments(script, *arguments)
        with pytest.raises(SystemExit) as exit:
            command_line.run(__import__(script).main)
        return exit.value.code

    def train(self, name, *arguments):
        settings = [word for setting in SETTINGS for word in ("--set", setting)]
        return self.run("run_s2vt", "--dataset", "StillShapes", "--train", "--name", name, *settings, *arguments)

    def log(self, name):
        return (self.experiments / name / "log.csv").read_text()

    def weights(self, name):
        return Run(self.experiments / name).captioner("last")[0].get_weights()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """StillShapes, tiny, with descriptors, and a run of two epochs with seed 3."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [])
        patch.setattr(store, "FeatureExtractor", Network)
        patch.setattr(scoring.MeteorScorer, "score", lambda scorer, *captions: shared_words(*captions))
        patch.setattr(scoring, "score", lambda *captions: {"words": shared_words(*captions)})
        place = Place(tmp_path_factory.mktemp("place"))
        patch.setattr(cfg, "ROOT", place.folder)  # where captions are written in COCO's format
        synthetic.write_still_shapes(place.data / "StillShapes", {"train": 6, "val": 2, "test": 2})
        assert place.run("preprocessing", "--dataset", "StillShapes") == 0
        assert place.train("first", "--seed", "3") == 0
        yield place


def equal(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_the_same_command_twice(place):
    assert place.train("second", "--seed", "3") == 0
    assert place.log("second") == place.log("first")
    assert equal(place.weights("second"), place.weights("first"))
    assert place.train("other", "--seed", "4") == 0
    assert place.log("other") != place.log("first")
    assert not equal(place.weights("other"), place.weights("first"))


def test_a_runs_own_config_repeats_it(place):
    config = place.experiments / "first" / "config.json"
    assert place.run("run_s2vt", "--config", config, "--train", "--name", "copy") == 0
    assert place.log("copy") == place.log("first")
    assert equal(place.weights("copy"), place.weights("first"))
    first, copy = (read_json(place.experiments / name / "config.json") for name in ("first", "copy"))
    assert copy["seed"] == 3 and {k: v for k, v in copy.items() if k != "command"} == {
        k: v for k, v in first.items() if k != "command"
    }


def test_another_process_repeats_it(place):
    """Whatever the order of its sets: another hash seed, Java's METEOR instead of the stand-in."""
    config = place.experiments / "first" / "config.json"
    arguments = place.arguments("run_s2vt", "--config", config, "--train", "--name", "elsewhere")
    arguments[0] = str(Path(command_line.__file__).parents[1] / "run_s2vt.py")
    found = subprocess.run([sys.executable, *arguments], env={**os.environ, "PYTHONHASHSEED": "7"}, text=True,
                           stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert equal(place.weights("elsewhere"), place.weights("first"))


def test_settings_and_seed_of_the_config_give_way_to_flags(place):
    config = place.experiments / "first" / "config.json"
    flags = ("--seed", "5", "--set", "model.units=12", "--set", "training.epochs=1")
    assert place.run("run_s2vt", "--config", config, "--train", "--name", "changed", *flags) == 0
    record = read_json(place.experiments / "changed" / "config.json")
    first = read_json(config)["config"]
    assert record["seed"] == 5
    assert record["config"] == {
        **first, "model": {**first["model"], "units": 12}, "training": {**first["training"], "epochs": 1},
    }  # fmt: skip


def test_the_record_names_all_that_a_repetition_needs(place, monkeypatch):
    record = read_json(place.experiments / "first" / "config.json")
    assert list(record) == ["config", "seed", "command", "weights", "engine", "machine", "versions", "git"]
    assert record["config"]["dataset"] == "StillShapes" and record["config"]["model"]["units"] == 16
    assert record["command"].startswith("python run_s2vt.py --data_dir ") and record["command"].endswith("--seed 3")
    assert record["weights"] == store.DescriptorStore(cfg.STILL_SHAPES, place.data).meta()["weights"]
    assert {"python", "keras", "numpy", record["engine"]} <= set(record["versions"])
    from s2vt.captioning import training

    monkeypatch.setenv("PATH", "")  # no git
    assert training._git_revision() is None


def test_captions_scores_and_maps_are_repeated(place):
    medium = (place.data / "StillShapes" / "imgs_test.txt").read_text().split()[0].removesuffix(".jpg")
    maps = ["--dataset", "StillShapes", "--media_id", medium, "--name", "first", "--checkpoint", "last"]
    sentence = " ".join(Run(place.experiments / "first").vocabulary().words[1:4])
    maps += ["--loss", "kl", "--sentence", sentence, "--output"]
    results = []
    for k in range(2):
        for action in ("--test", "--localize"):
            assert place.run("run_s2vt", "--dataset", "StillShapes", action, "--name", "first") == 0
        scores = {p.name: p.read_text() for p in (place.experiments / "first" / "scores").glob("*.json")}
        captions = {p.name: p.read_text() for p in (place.folder / "coco-caption" / "results").iterdir()}
        shutil.rmtree(place.experiments / "first" / "scores")
        picture = place.folder / f"maps{k}.png"
        assert place.run("visualization", *maps, picture, "--save_maps", picture.with_suffix(".npz")) == 0
        with np.load(picture.with_suffix(".npz")) as arrays:
            raw = {name: array.tobytes() for name, array in arrays.items()}
        results.append((scores, captions, raw, picture.read_bytes()))
    assert len(results[0][0]) == 2 and len(results[0][1]) == 1 and {"loss", "kl"} <= set(results[0][2])
    assert results[0] == results[1]


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        (None, (), "no such file"),
        ({"config": 3}, (), "expected the config.json of a run"),
        ({"config": {"dataset": "StillShapes"}}, (), "does not fit the program"),
        ({}, ("--dataset", "MovingShapes"), "is of StillShapes, not MovingShapes; drop --dataset"),
        ({"weights": "sha256:0"}, (), "descriptors of other weights"),
    ],
)
def test_configs_that_cannot_be_repeated(place, tmp_path, capsys, change, arguments, message):
    path = tmp_path / "config.json"
    if change is not None:
        write_json(path, {**read_json(place.experiments / "first" / "config.json"), **change})
    assert place.run("run_s2vt", "--config", path, "--train", "--name", "new", *arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err and len(captured.err.strip().splitlines()) == 1 and not captured.out
    assert not (place.experiments / "new" / "config.json").exists()


def test_neither_a_data_set_nor_a_config(place, capsys):
    assert place.run("run_s2vt", "--train") == 2
    assert "required: --dataset, or --config" in capsys.readouterr().err
