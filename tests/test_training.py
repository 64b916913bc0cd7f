"""Training runs: resuming them, with more epochs or another config, and the provenance they record."""

import shutil

import numpy as np
import pytest
from processes import stand_in
from small_runs import CONFIG, Place

from s2vt.captioning import fitting, training
from s2vt.errors import UserError
from s2vt.features.descriptors import DescriptorStore


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A finished run "first" of two epochs with seed 3, and a copy of it after one epoch, "half"."""
    with pytest.MonkeyPatch.context() as patch:
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


def test_the_record_holds_all_that_a_repetition_needs(place, monkeypatch):
    record = place.record("first")
    assert list(record) == ["config", "seed", "command", "weights", "engine", "machine", "versions", "git"]
    assert record["config"]["dataset"] == "StillShapes" and record["config"]["model"]["units"] == 16
    assert record["weights"] == DescriptorStore(CONFIG, place.data).meta()["weights"]
    assert {"python", "keras", "numpy", record["engine"]} <= set(record["versions"])
    monkeypatch.setenv("PATH", "")  # no git
    assert training.git_revision() is None
