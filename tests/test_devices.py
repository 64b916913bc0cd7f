"""Training on several devices and in several processes gives the losses and weights of one device, on JAX.

JAX splits the CPU into devices when it starts, so this runs in processes of its own. InceptionV3 and METEOR have
stand-ins, and so has TensorBoard, which would load TensorFlow: it takes 4 s, and Keras on JAX does without.
"""

import contextlib
import dataclasses
import importlib.util
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import cfg
import s2vt
from s2vt.captioning.devices import Devices
from s2vt.data.files import read_json, write_json
from s2vt.errors import UserError

ROOT = Path(__file__).parents[1]
needs_jax = pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="needs jax, a test dependency")


def start(call, devices):
    """A process with so many devices that evaluates a call of one of this file's functions."""
    split = f"--xla_force_host_platform_device_count={devices} --xla_cpu_multi_thread_eigen=false"
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import sys; sys.modules['tensorflow'] = None; import test_devices; test_devices.{call}",
        ],
        env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"}
        | {"XLA_FLAGS": f"{split} --xla_backend_optimization_level=0"}  # compiles in half the time
        | {"PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), str(ROOT)])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(*processes):
    """What processes printed, after all ended well."""
    printed = [process.communicate(timeout=600) for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), [text[-3000:] for _, text in printed]
    return [text for text, _ in printed]


# --- losses of a batch ----------------------------------------------------------------------------------------------

N, D = 4, 3
CAPTIONS = [("red dog", "dog runs"), ("blue cat", "the cat"), ("dog sleeps", "a red dog"), ("a blue bird", "bird"),
            ("cat runs",)]  # fmt: skip
LOSSES = {  # all losses that read more than one row, and the running mean of the rewards
    "s2vt": ["model.contrast=0.5", "model.distillation=2"],
    "hard_attention": ["model.doubly_stochastic=0.3", "model.entropy=0.01", "model.soft_share=0.5"],
}


class _Medium:
    def __init__(self, number):
        self.number, self.captions = number, CAPTIONS[number]


class _Store:
    def __init__(self):
        self.read = []

    def v(self, medium):
        self.read.append(medium.number)
        return np.random.default_rng(medium.number).normal(size=(N, D)).astype(np.float16)


def batches_of(config, share=None, readings=()):
    from s2vt.data.batches import CaptionBatches, Source
    from s2vt.data.text import Vocabulary

    media = [_Medium(k) for k in range(5)]
    vocabulary = Vocabulary.from_captions([caption for medium in media for caption in medium.captions], 1)
    return CaptionBatches([Source(media, _Store(), readings)], vocabulary, config, seed=1, share=share), vocabulary


def fitted(config, devices):
    """Losses of an epoch of 3 and 2 media (of 6 and 3 captions), and the weights after it."""
    import keras

    from s2vt.captioning import runs
    from s2vt.captioning.fitting import _precision

    keras.utils.set_random_seed(2)
    network = dataclasses.make_dataclass("Network", ["num_channels"])(D)
    runs.network_of = lambda weights: network
    with _precision(config.training.precision), devices.distributed():
        batches, vocabulary = batches_of(config, devices.share)
        model = runs.new_model(config, vocabulary)
        model.compile(keras.optimizers.SGD(0.5))
        losses = model.fit(batches, shuffle=False, verbose=0).history
    return losses, model.get_weights()


def compare_losses():
    """Losses and weights on four devices are those on one."""
    for name, settings in LOSSES.items():
        sizes = ["model.units=5", "model.embedding_size=4", "model.attention_size=6"]
        batch = ["training.batch_size=6", "training.captions_per_medium=2", f"model.name={name}"]
        config = cfg.FLICKR30K.replace([*sizes, *batch, *settings])
        losses, weights = fitted(config, Devices())
        found, others = fitted(config, Devices(4))
        assert losses.keys() == found.keys() >= {"loss"} and ("contrast" in losses) == (name == "s2vt")
        for key, value in losses.items():
            np.testing.assert_allclose(found[key], value, rtol=1e-5, err_msg=f"{name} {key}")
        for one, other in zip(weights, others, strict=True):
            np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-6, err_msg=name)
    with pytest.raises(UserError, match="--devices 5: a process has 4 of cpu; expected at most that many"):
        fitted(config, Devices(5))


@needs_jax
@pytest.mark.slow
def test_losses_that_couple_a_batch_are_those_of_one_device():
    ended(start("compare_losses()", devices=4))


# Rows of padding, of which the losses of `contrast`, `distillation` and `fitting` count none.
PADDING = {"y": -1, "words": -1, "picture": -1, "query": -1, "asked": -1}


def test_processes_share_the_rows_of_a_batch():
    from s2vt.data.batches import Share

    config = cfg.FLICKR30K.replace(
        ["training.batch_size=6", "training.captions_per_medium=2", "model.contrast=1", "model.distillation=1"]
    )
    whole, _ = batches_of(config)
    parts = [batches_of(config, Share(devices=4, processes=2, process=process))[0] for process in (0, 1)]
    for part in (whole, *parts):
        (source,) = part.sources
        source.store.read.clear()
    for k in range(len(whole)):
        expected, found = whole[k], [part[k] for part in parts]
        assert sorted(found[0]) == ["_", *sorted(expected)]
        for name, values in expected.items():
            joined = np.concatenate([batch[name] for batch in found])
            assert len(joined) % 4 == 0 and len(joined) - len(values) < 4, name
            np.testing.assert_array_equal(joined[: len(values)], values, err_msg=name, strict=True)
            assert set(joined[len(values) :].ravel()) <= {PADDING.get(name, 0)}, name
        # Keras takes the length of the first one, by name, as a batch's weight.
        assert sum(len(batch["_"]) for batch in found) == 4 * len(expected[min(expected)])
    read = [part.sources[0].store.read for part in (whole, *parts)]
    assert sorted(read[0]) == [0, 1, 2, 3, 4]
    assert read[1] + read[2][:1] == read[0][:2] + read[0][3:] + read[0][2:3]  # 2 of 3, then 2 of 2; 1 of 3, then none
    assert read[2][1:] == [read[0][3]]  # read for its shape alone: all rows are padding


def test_processes_read_with_the_random_numbers_of_one():
    from s2vt.data.batches import Share

    config = cfg.FLICKR30K.replace(["training.batch_size=3", "training.captions_per_medium=1"])
    readings = ((1.0, lambda medium, rng: rng.normal(size=(N, D))),)
    whole, _ = batches_of(config, readings=readings)
    parts = [batches_of(config, Share(devices=4, processes=2, process=process), readings)[0] for process in (0, 1)]
    for k in range(len(whole)):
        joined = np.concatenate([part[k]["v"] for part in parts])
        np.testing.assert_array_equal(joined, np.pad(whole[k]["v"], ((0, 4 - len(whole[k]["v"])), (0, 0), (0, 0))))


def test_a_process_has_its_share_of_all_devices():
    from s2vt.data.batches import Share

    assert Devices(3, "host:1", 2, 1).share == Share(devices=6, processes=2, process=1)
    assert Devices(4).share == Share(devices=4) and Devices().share == Share()


# --- what processes tell one another --------------------------------------------------------------------------------


class _Engine:
    """Stands in for `engine`.

    Attributes:
        asked: arguments of all calls.
    """

    def __init__(self, monkeypatch, sent=None, error=None):
        self.asked, self.sent, self.error = [], sent, error
        monkeypatch.setattr(s2vt, "engine", self, raising=False)

    def join(self, *given):
        self.asked.append(given)
        if self.error:
            raise self.error

    def from_first(self, number):
        self.asked.append(number)
        return number if self.sent is None else self.sent

    def data_parallel(self, number):
        self.asked.append(number)
        return self

    @contextlib.contextmanager
    def scope(self):
        self.asked.append("begun")
        yield
        self.asked.append("ended")


FIRST, SECOND = (Devices(1, "host:1", 2, process, patience=7) for process in (0, 1))


def test_process_0_decides_and_tells_the_others(monkeypatch):
    engine = _Engine(monkeypatch)
    assert Devices().writes and FIRST.writes and not SECOND.writes
    assert Devices(4).from_first(lambda: 3) == 3 and not engine.asked
    assert FIRST.from_first(lambda: 3) == 3 and engine.asked == [3]
    _Engine(monkeypatch, sent=0)
    assert SECOND.from_first(lambda: pytest.fail("process 0 decides")) == 0


def test_the_others_end_where_process_0_cannot_go_on(monkeypatch):
    engine = _Engine(monkeypatch)

    def refuse():
        raise UserError("the run exists")

    with pytest.raises(UserError, match="the run exists"):
        FIRST.from_first(refuse)
    (told,) = engine.asked  # else they would wait for ever
    _Engine(monkeypatch, sent=told)
    with pytest.raises(UserError, match="process 0 could not go on; its message says why"):
        SECOND.from_first(lambda: 3)


def test_processes_wait_for_one_another(monkeypatch):
    engine = _Engine(monkeypatch)
    Devices(4).join()
    assert not engine.asked
    SECOND.join()
    assert engine.asked == [("host:1", 2, 1, 7)]
    _Engine(monkeypatch, error=RuntimeError("deadline\n exceeded"))
    with pytest.raises(UserError, match=r"^--coordinator host:1: the 2 processes .* within 7 s \(deadline exceeded\)"):
        FIRST.join()


def test_several_processes_of_one_device_are_several_devices(monkeypatch):
    engine = _Engine(monkeypatch)
    with Devices().distributed():
        assert not engine.asked
    with SECOND.distributed():
        assert engine.asked == [1, "begun"]
    assert engine.asked == [1, "begun", "ended"]


# --- whole runs -----------------------------------------------------------------------------------------------------

SETTINGS = ["--dataset", "StillShapes", "--model", "mean_pool", "--set", "model.units=8", "--set", "text.min_count=1",
            "--set", "model.embedding_size=6", "--set", "training.batch_size=20", "--seed", "5",
            "--set", "training.decay=constant", "--set", "training.score_every=1"]  # fmt: skip


def train(folder, name, record, *arguments):
    """run_s2vt.py --train in a folder of the small runs' place; a file says what was read, and written where."""
    import keras
    from processes import stand_in
    from small_runs import Place

    from s2vt.features.descriptors import DescriptorStore

    stand_in()
    keras.callbacks.TensorBoard = lambda *args, **kwargs: keras.callbacks.Callback()
    read, written, load = [], [], DescriptorStore.v
    DescriptorStore.v = lambda store, medium: read.append(medium.id) or load(store, medium)

    def hook(event, details):
        writes = event in ("os.rename", "os.remove", "os.mkdir") or (
            event == "open" and details[2] & (os.O_WRONLY | os.O_RDWR)
        )
        if writes and str(details[0]).startswith(str(folder)):
            written.append(str(details[0]))

    sys.addaudithook(hook)
    place = Place(Path(folder))
    assert place.script("run_s2vt", "--train", *SETTINGS, "--name", name, *arguments) == 0
    sizes = [len(array) for array in place.run(name).captioner("last")[0].get_weights()]
    write_json(Path(folder) / record, {"read": read, "written": written, "variables": sizes})


def first_runs(folder):
    """A run of two epochs on one device, and one epoch of another on four."""
    train(folder, "one", "one.json", "--set", "training.epochs=2")
    train(folder, "many", "many.json", "--set", "training.epochs=1", "--devices", "4")


def weights(place, name):
    import h5py

    found = {}
    with h5py.File(place.run(name).checkpoint_path(1)) as file:
        file.visititems(lambda path, item: found.update({path: item[()]} if isinstance(item, h5py.Dataset) else {}))
    return found


@needs_jax
@pytest.mark.slow
def test_a_run_goes_on_in_two_processes_as_on_one_device(training_place):
    folder = training_place.folder
    ended(start(f"first_runs({str(folder)!r})", devices=4))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    together = ["--devices", "2", "--coordinator", address, "--processes", "2", "--process"]
    resumed = ["--set", "training.epochs=2", "--resume", *together]
    calls = [f"train({str(folder)!r}, 'many', 'process{k}.json', *{[*resumed, str(k)]!r})" for k in (0, 1)]
    told = ended(*(start(call, devices=2) for call in calls))

    def log(name):
        header, *rows = training_place.log(name).splitlines()
        return header, np.array([row.split(",") for row in rows], float)

    (header, expected), (found_header, found) = log("one"), log("many")
    assert header == found_header and len(found) == 2
    np.testing.assert_allclose(found, expected, rtol=1e-5, strict=True)
    one, many = weights(training_place, "one"), weights(training_place, "many")
    assert one.keys() == many.keys() and len(one) > 5
    for path, value in one.items():  # Adam makes much of a gradient that is rounding alone
        np.testing.assert_allclose(many[path], value, atol=1e-4, err_msg=path)
    assert training_place.record("many")["extended"][0]["epochs"] == 1

    first, other = (read_json(folder / f"process{k}.json") for k in (0, 1))
    assert first["written"] and not other["written"]
    assert "epoch 1 of 2" in told[0] and "epoch" not in told[1] and "best checkpoint" in told[1]
    training = {medium.id for medium in _training_media(training_place)}
    read = [[medium for medium in record["read"] if medium in training] for record in (first, other)]
    assert set(read[0] + read[1]) == training
    assert [len(each) for each in read] == [4, 3]  # of a batch of 4 and one of 2, which is read again for its shape


def _training_media(place):
    from small_runs import CONFIG

    from s2vt.data import datasets

    return datasets.select(datasets.read_media(CONFIG, place.data), "train")


# --- mistakes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("devices", "message"),
    [
        (Devices(0), "--devices 0, --processes 1: expected 1 or more"),
        (Devices(processes=0), "--devices 1, --processes 0: expected 1 or more"),
        (Devices(processes=2, coordinator="a:1", process=2), "--process 2: expected 0 to 1"),
        (Devices(processes=2, coordinator="a:1", process=-1), "--process -1: expected 0 to 1"),
        (Devices(processes=2), "--processes 2 --coordinator None: several processes need both"),
        (Devices(coordinator="a:1"), "--processes 1 --coordinator a:1: several processes need both"),
        (Devices(processes=2, coordinator="a"), "--coordinator a: expected HOST:PORT of process 0"),
        (Devices(processes=2, coordinator="a:123456"), "--coordinator a:123456: expected HOST:PORT of process 0"),
        (Devices(processes=2, coordinator="a b:1"), "--coordinator a b:1: expected HOST:PORT of process 0"),
    ],
)
def test_flags_that_make_no_sense(devices, message, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    with pytest.raises(UserError, match=f"^{re.escape(message)}"):
        devices.check()


@pytest.mark.parametrize("engine", ["tensorflow", "torch", None])
def test_other_engines_say_which_one_is_needed(engine, monkeypatch):
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    if engine:
        monkeypatch.setenv("KERAS_BACKEND", engine)
    Devices().check()
    with pytest.raises(
        UserError, match=f"^training on 6 devices needs .* is {engine or 'tensorflow'}.*KERAS_BACKEND=jax"
    ):
        Devices(3, "host:1", 2, 1).check()
    with pytest.raises(UserError, match="^training on 2 devices"):
        SECOND.check()


def test_keras_on_jax_without_jax_says_so(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install jax"):
        Devices(2).check()
