"""Training on two data sets at once, clips and pictures. InceptionV3 and METEOR have stand-ins."""

import dataclasses
import shutil

import numpy as np
import pytest
from processes import Network, write_balls
from small_runs import CONFIG

import cfg
from s2vt import config as configs
from s2vt.captioning import fitting, training
from s2vt.data import datasets
from s2vt.data.files import read_json, write_json
from s2vt.errors import UserError
from s2vt.features import domain
from s2vt.features.descriptors import DescriptorStore
from s2vt.features.extraction import extract

D, FRAMES = 2048, 3


class Joint:
    """Balls, clips of 3 frames, beside the place's StillShapes."""

    def __init__(self, place):
        self.place = place
        if not (place.data / "Balls").exists():
            write_balls(place.data / "Balls")
            store = DescriptorStore(self.config(), place.data)
            assert not extract(store, self.media(None), lambda: Network(CONFIG.features))

    def config(self, *assignments):
        config = configs.own(self.place.data / "Balls" / "dataset.json")
        features = dataclasses.replace(config.features, weights=CONFIG.features.weights)
        config = dataclasses.replace(config, features=features)
        return config.replace(["training.joint_dataset=StillShapes", "training.epochs=2", *assignments])

    def media(self, split="train", config=None):
        return datasets.select(datasets.read_media(config or self.config(), self.place.data), split)

    def request(self, name, *assignments, data_dir=None, **request):
        data_dir = data_dir or self.place.data
        config, run = self.config(*assignments), self.place.run(name)
        return training.TrainingRequest(config, run, data_dir, data_sets=cfg.CONFIGS, **request)


@pytest.fixture(scope="module")
def joint(training_place):
    return Joint(training_place)


def test_clips_are_read_as_frames_and_pictures_as_cells(joint):
    request = joint.request("data")
    sources = fitting._sources(request.config, training._data(request))
    clips, pictures = joint.media(), joint.media(config=CONFIG)
    assert [source.media for source in sources] == [clips, pictures] and (len(clips), len(pictures)) == (2, 6)
    assert sources[0].store.v(clips[1]).shape == (FRAMES, D)
    v = sources[1].store.v(pictures[3])
    assert v.shape == (64, D)
    np.testing.assert_array_equal(v, DescriptorStore(CONFIG, joint.place.data).v(pictures[3]))


def test_both_data_sets_are_learned_and_one_is_validated(joint, monkeypatch):
    validated = []
    monkeypatch.setattr(
        fitting,
        "caption_media",
        lambda model, words, media, *rest: validated.append(media) or {m.id: "a" for m in media},
    )
    training.train(joint.request("joint", "training.epochs=1"))
    (media,) = validated
    assert [medium.split for medium in media] == ["val"] and media == joint.media("val")
    counts = read_json(joint.place.experiments / "joint" / "vocabulary.json")
    words = set(counts["words"])
    assert {"ball", "rolls"} <= words and {"circle", "square", "ring"} & words
    assert joint.place.record("joint")["config"]["training"]["joint_dataset"] == "StillShapes"


def test_a_joint_training_that_is_resumed_is_the_same(joint):
    place = joint.place
    training.train(joint.request("whole", seed=3))
    training.train(joint.request("parts", "training.epochs=1", seed=3))
    training.train(joint.request("parts", seed=3, resume=True))
    for one, other in zip(place.weights("whole"), place.weights("parts"), strict=True):
        np.testing.assert_array_equal(one, other)
    assert place.log("parts") == place.log("whole")
    with pytest.raises(UserError, match=r"joint_dataset=StillShapes \(now none\); add --set training.joint_data"):
        training.train(joint.request("parts", "training.joint_dataset=none", seed=3, resume=True))


def test_statistics_are_of_the_media_of_both(joint, monkeypatch):
    monkeypatch.setattr(domain, "MIN_MEDIA", 1)
    request = joint.request("statistics")
    data = training._data(request)
    training._write_domain(request.run, data)
    v = [store.v(medium).astype(np.float64).mean(axis=0) for media, store in data.training for medium in media]
    assert len(v) == 2 + 6
    expected = np.mean(v, axis=0).reshape(64, -1).mean(axis=1)
    np.testing.assert_allclose(read_json(request.run.domain_path)["mean"], expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("Balls", ["training.joint_dataset=Balls is the data set itself", "another"]),
        ("Pictures", ["no data set 'Pictures'", "StillShapes", "dataset.json"]),
        ("Flickr30k", ["results_20130124.token is missing", "get results_20130124.token"]),
    ],
)
def test_joint_data_sets_that_are_not_there(joint, name, facts):
    with pytest.raises(UserError) as caught:
        training.train(joint.request("new", f"training.joint_dataset={name}"))
    assert all(fact in str(caught.value) for fact in facts), caught.value
    assert not (joint.place.experiments / "new").exists()


def test_descriptors_of_the_joint_data_set_are_of_the_same_network(joint, tmp_path):
    data = tmp_path / "DATA"
    shutil.copytree(joint.place.data, data)
    folder = DescriptorStore(CONFIG, data).folder
    meta = read_json(folder / "meta.json")
    make = "preprocessing.py --dataset StillShapes --layer mixed_10 --weights inception-shapes"

    def refusal():
        with pytest.raises(UserError) as caught:
            training.train(joint.request("new", data_dir=data))
        assert not (joint.place.experiments / "new").exists()
        return str(caught.value)

    write_json(folder / "meta.json", {**meta, "weights": "sha256:0"})
    message = refusal()
    assert "have weights sha256:0" in message and make in message and "--overwrite" in message
    shutil.rmtree(folder)
    message = refusal()
    assert "no descriptors in" in message and make in message
