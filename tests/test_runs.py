"""Runs: training and resuming them, scoring their captions, and repeating their numbers bit for bit.

InceptionV3 and METEOR have stand-ins.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from processes import stand_in
from small_runs import CONFIG, Place

from s2vt import provenance
from s2vt.captioning import coco_format, fitting
from s2vt.captioning.testing import ScoringRequest, score_captions
from s2vt.data import datasets
from s2vt.data.files import read_json, write_json
from s2vt.errors import UserError
from s2vt.features.descriptors import DescriptorStore


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A finished run "first" of two epochs with seed 3, and a copy of it after one epoch, "half"."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [])
        stand_in(patch.setattr)
        place = Place(tmp_path_factory.mktemp("place")).write()
        place.train("half", "training.epochs=1", seed=3, command="python run_s2vt.py --seed 3")
        place.train("first", seed=3)
        yield place


@pytest.fixture
def copy(place, request):
    """Copies a run under the test's name; returns that name."""

    def copied(name):
        new = f"{request.node.name}-{name}"
        shutil.copytree(place.experiments / name, place.experiments / new)
        return new

    return copied


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_equal(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


# --- resuming -------------------------------------------------------------------------------------------------------


def test_more_epochs_continue_a_finished_run(place, copy):
    name = copy("half")
    best = place.train(name, resume=True, command="python run_s2vt.py --resume")
    assert place.log(name) == place.log("first")
    assert_equal(place.weights(name), place.weights("first"))
    record = place.record(name)
    assert record["config"] == place.record("first")["config"] and record["seed"] == 3
    assert record["command"] == "python run_s2vt.py --seed 3"
    assert record["extended"] == [{"epochs": 1, "done": 1, "command": "python run_s2vt.py --resume"}]
    run = place.run(name)
    assert best == (run.checkpoint("best"), run.scores()[run.checkpoint("best")]) and set(run.scores()) == {0, 1}


def test_more_epochs_of_a_cosine_schedule_follow_the_longer_schedule():
    config = CONFIG.replace(["training.decay=cosine", "training.epochs=2", "training.learning_rate=0.5"])
    short = fitting._optimizer(config.training, 10)
    longer = fitting._optimizer(config.replace(["training.epochs=4"]).training, 10)

    def rate(optimizer, step):
        optimizer.iterations.assign(step)
        return float(optimizer.learning_rate)

    assert rate(short, 20) == pytest.approx(0.025)  # a twentieth after 20 steps
    assert rate(longer, 20) == pytest.approx(0.5 * (0.05 + 0.95 / 2))  # half-way through 40 steps
    assert rate(longer, 40) == pytest.approx(0.025)


def test_a_finished_run_is_left_as_it_is(place, copy, capsys):
    name = copy("first")
    before = files(place.experiments / name)
    best = place.train(name, resume=True)
    assert best == (place.run(name).checkpoint("best"), max(place.run(name).scores().values()))
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    assert all(fact in captured.err for fact in (name, "2 epochs", "training.epochs=")), captured.err
    assert files(place.experiments / name) == before


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        (["model.units=12"], ["model.units=16 (now 12)", "--set model.units=16"]),
        (["training.epochs=1"], ["training.epochs=2 (now 1)", "--set training.epochs=2"]),
        (
            ["model.dropout=0.25", "training.learning_rate=0.25", "training.epochs=9"],
            ["model.dropout=0.5 (now 0.25)", "training.learning_rate=0.001 (now 0.25)", "--set model.dropout=0.5"],
        ),
    ],
)
def test_fields_that_differ_are_named(place, change, facts):
    before = files(place.experiments / "first")
    with pytest.raises(UserError) as caught:
        place.train("first", *change, resume=True)
    message = str(caught.value)
    assert all(fact in message for fact in [*facts, "--overwrite"]) and "\n" not in message, message
    assert message.count("(now") == sum("(now" in fact for fact in facts)
    assert files(place.experiments / "first") == before


def test_settings_of_saliency_and_evaluation_may_differ(place, copy):
    assert place.train(copy("first"), "saliency.sigma_cells=2", "evaluation.tolerance=3", resume=True)


def test_a_run_that_exists_is_not_trained_again(place):
    with pytest.raises(UserError) as caught:
        place.train("first")
    assert all(fact in str(caught.value) for fact in ("first exists", "--resume", "--overwrite", "--name"))


def test_a_run_without_its_state_cannot_be_resumed(place, copy):
    name = copy("first")
    (place.experiments / name / "training_state.npz").unlink()
    with pytest.raises(UserError, match="training_state.npz.*--overwrite"):
        place.train(name, resume=True)


def test_weights_of_another_network(place):
    with pytest.raises(UserError, match="other weights"):
        place.train("new", weights="sha256:0")
    assert not (place.experiments / "new").exists()


# --- provenance -----------------------------------------------------------------------------------------------------


def test_the_record_holds_all_that_a_repetition_needs(place, monkeypatch):
    record = place.record("first")
    assert list(record) == ["config", "seed", "command", "weights", "engine", "machine", "versions", "git"]
    assert record["config"]["dataset"] == "StillShapes" and record["config"]["model"]["units"] == 16
    assert record["weights"] == DescriptorStore(CONFIG, place.data).meta()["weights"]
    assert {"python", "keras", "numpy", record["engine"]} <= set(record["versions"])
    monkeypatch.setenv("PATH", "")  # no git
    assert provenance.git_revision() is None


# --- caption scores -------------------------------------------------------------------------------------------------


def scoring_request(place, *names, **request):
    runs = tuple(place.run(name) for name in names)
    return ScoringRequest(runs, tuple(run.config() for run in runs), place.data, checkpoint="last", **request)


def test_caption_scores_of_a_run(place, tmp_path):
    coco = tmp_path / "coco"
    found = score_captions(scoring_request(place, "first", coco_folder=coco))
    record, run = read_json(found.path), place.run("first")
    assert found.path == run.folder / "scores" / "captions_first_test_1.json" and found.num_media == 2
    scores = record.pop("scores")
    assert record.pop("versions").keys() >= {"python", "keras", "numpy"}
    assert record == {**run.identity(1), "dataset": "StillShapes", "split": "test", "beam": 1, "media": 2}
    assert f"| first, checkpoint 1 | {100 * scores['BLEU-1']:.1f} |" in found.table
    references = coco_format.read_annotations(coco / "annotations" / "first_test.json")
    media = datasets.select(datasets.read_media(CONFIG, place.data), "test")
    assert references == {medium.id: list(medium.captions) for medium in media}
    assert set(coco_format.read_results(coco / "results" / "first_test_1.json")) == set(references)


def test_caption_scores_of_two_runs_with_a_beam(place):
    found = score_captions(scoring_request(place, "first", "half", split="val", limit=1, beam=2))
    assert found.path == place.experiments / "first" / "scores" / "captions_first+half_val_beam2.json"
    record = read_json(found.path)
    assert record["dataset"] == "StillShapes" and [row["run"] for row in record["rows"]] == ["first", "half"]
    assert [row["checkpoint"] for row in record["rows"]] == [1, 0] and {row["media"] for row in record["rows"]} == {1}
    assert (place.experiments / "half" / "scores" / "captions_half_val_0_beam2.json").exists()
    assert "| half, checkpoint 0 |" in found.table


def test_media_that_could_not_be_decoded_are_named(place, tmp_path, capsys):
    data = tmp_path / "DATA"
    shutil.copytree(place.data, data)
    store = DescriptorStore(CONFIG, data)
    lost = datasets.select(datasets.read_media(CONFIG, data), "test")[0].id
    store.path(lost).unlink()
    (store.folder / "failed.tsv").write_text(f"{lost}\tbroken\n")
    request = scoring_request(place, "first")
    assert score_captions(ScoringRequest(request.runs, request.configs, data)).num_media == 1
    assert lost in capsys.readouterr().err


# --- repeatability --------------------------------------------------------------------------------------------------


def test_another_process_repeats_a_run(place):
    """With another hash seed, so that no number depends on the order of a set."""
    code = "from pathlib import Path; from processes import stand_in; from small_runs import Place; stand_in()\n"
    code += f"Place(Path({str(place.folder)!r})).train('elsewhere', seed=3)"
    tests = Path(__file__).parent
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(map(str, [tests, tests.parent]))}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, timeout=240)
    assert place.log("elsewhere") == place.log("first")
    assert_equal(place.weights("elsewhere"), place.weights("first"))


def test_another_seed_gives_other_weights(place):
    place.train("other", "training.epochs=1", seed=4)
    assert place.log("other").splitlines()[1] != place.log("first").splitlines()[1]


def test_the_config_of_a_run_repeats_it(place):
    config = place.experiments / "first" / "config.json"
    assert place.script("run_s2vt", "--config", config, "--train", "--name", "copy") == 0
    assert place.log("copy") == place.log("first")
    assert_equal(place.weights("copy"), place.weights("first"))
    first, copy = place.record("first"), place.record("copy")
    assert copy["command"].startswith("python run_s2vt.py --data_dir ") and copy["command"].endswith("--name copy")
    assert copy["seed"] == 3 and {**copy, "command": ""} == {**first, "command": ""}


def test_flags_override_the_seed_and_settings_of_a_config(place):
    flags = ["--seed", "5", "--set", "model.units=12", "--set", "training.epochs=1"]
    config = place.experiments / "first" / "config.json"
    assert place.script("run_s2vt", "--config", config, "--train", "--name", "changed", *flags) == 0
    record, first = place.record("changed"), read_json(config)["config"]
    assert record["seed"] == 5
    assert record["config"] == {
        **first, "model": {**first["model"], "units": 12}, "training": {**first["training"], "epochs": 1},
    }  # fmt: skip


@pytest.mark.slow
def test_captions_scores_and_maps_are_repeated(place):
    medium = (place.data / "StillShapes" / "imgs_test.txt").read_text().split()[0].removesuffix(".jpg")
    sentence = " ".join(place.run("first").vocabulary().words[1:4])
    run = ["--dataset", "StillShapes", "--name", "first", "--checkpoint", "last"]
    explain = [*run, "--media_id", medium, "--map", "kl", "--sentence", sentence]
    folder, results = place.experiments / "first" / "scores", []
    shutil.rmtree(folder, ignore_errors=True)
    for k in range(2):
        score_captions(scoring_request(place, "first"))
        assert place.script("run_s2vt", *run, "--localize") == 0
        scores = {path.name: path.read_text() for path in folder.glob("*.json")}
        shutil.rmtree(folder)
        picture = place.folder / f"maps{k}.png"
        maps = picture.with_suffix(".npz")
        assert place.script("visualization", *explain, "--output", picture, "--save_maps", maps) == 0
        with np.load(maps) as arrays:
            raw = {name: array.tobytes() for name, array in arrays.items()}
        results.append((scores, raw, picture.read_bytes()))
    assert len(results[0][0]) == 2 and "kl" in results[0][1]
    assert results[0] == results[1]


@pytest.mark.parametrize(
    ("change", "arguments", "facts"),
    [
        (None, (), ["config.json", "no such file"]),
        ({"config": 3}, (), ["config.json of a run"]),
        ({"config": {"dataset": "StillShapes"}}, (), ["does not fit the program"]),
        ({}, ("--dataset", "MovingShapes"), ["StillShapes", "MovingShapes", "--dataset"]),
        ({"weights": "sha256:0"}, (), ["other weights"]),
    ],
)
def test_configs_that_cannot_be_repeated(place, tmp_path, capsys, change, arguments, facts):
    path = tmp_path / "config.json"
    if change is not None:
        write_json(path, {**place.record("first"), **change})
    assert place.script("run_s2vt", "--config", path, "--train", "--name", "new", *arguments) == 2
    captured = capsys.readouterr()
    assert not captured.out and captured.err.count("\n") == 1
    assert all(fact in captured.err for fact in facts), captured.err
    assert not (place.experiments / "new" / "config.json").exists()


def test_neither_a_data_set_nor_a_config(place, capsys):
    assert place.script("run_s2vt", "--train") == 2
    assert "--dataset" in capsys.readouterr().err
