"""Maps of a classifier's classes: the head, its training, and the pointing game on a toy network with planted squares.

Each picture has a red or a blue square, or both, and but for the last a purple one that is brighter and has no label:
it excites both classes more than their own squares do, and each class has the other's colour as evidence against it.
"""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from PIL import Image

from s2vt import explain, load
from s2vt.data import datasets
from s2vt.data.files import file_digest, read_json
from s2vt.data.geometry import Geometry, Grid
from s2vt.data.labels import FILE, read_labels
from s2vt.errors import UserError
from s2vt.evaluation import classes
from s2vt.evaluation.question_tables import CLASSES
from s2vt.evaluation.results import read_result
from s2vt.features import middle_layer, networks
from s2vt.features.descriptors import DescriptorStore
from s2vt.features.label_head import LabelHead, file_beside, fit
from s2vt.synthetic import labels
from s2vt.synthetic.drawing import COLOURS, SHAPES

COLOUR = {"red": (150, 0, 0), "blue": (0, 0, 150), "purple": (255, 0, 255)}
PLACES = {"red": (10, 20, 100, 110), "blue": (180, 170, 270, 260), "purple": (180, 20, 290, 130)}
SPLITS = {"train": ("red", "blue", "red blue", "", "red"), "test": ("red", "blue red", "blue"), "val": ("red",)}
DECOY = {"train": ["purple"], "test": ["purple"], "val": []}
WEIGHTS = np.array([[1.0, -3.0], [0.0, 0.0], [-3.0, 1.0]])  # of red, green, blue; classes red and blue


def toy_network():
    """Mean colours of 16 x 16 pixels, "read" (18 x 18); 2048 channels, three of them used, on 8 x 8 cells."""
    pictures = keras.Input((299, 299, 3))
    read = keras.layers.AveragePooling2D(16, name="read")(pictures)
    convolution = keras.layers.Conv2D(2048, 1, activation="relu", use_bias=False)
    network = keras.Model(pictures, keras.layers.AveragePooling2D(4, 2)(convolution(read)))
    convolution.set_weights([np.eye(3, 2048, dtype="float32")[None, None]])
    return network


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """(folder of data sets, weights, network): planted squares in the place of StillShapes, with descriptors."""
    data, network = tmp_path_factory.mktemp("data"), toy_network()
    folder, weights = data / "StillShapes", data / "toy.npz"
    weights.touch()
    captions, objects, pictures = [], {}, {}
    for split, contents in SPLITS.items():
        names = [f"{split}{k}" for k in range(len(contents))]
        for name, content in zip(names, contents, strict=True):
            captions.append(f"{name}.jpg#0\tsquares\n")
            objects[name] = {str(k): [colour] for k, colour in enumerate(content.split(), 1)}
            pictures[name] = write_picture(folder, name, [*content.split(), *DECOY[split]])
        (folder / f"imgs_{split}.txt").write_text("".join(f"{name}.jpg\n" for name in names))
    (folder / "results_20130124.token").write_text("".join(captions))
    record = {"classes": {"colour": ["red", "blue"]}, "objects": objects}
    (folder / FILE).write_text(json.dumps(record))
    store = DescriptorStore(config_of(weights), data)
    for medium in datasets.read_media(store.config, data).values():
        details = {"geometry": Geometry.of(299, 299).to_json(), "indices": [], "times": []}
        cells = network.predict_on_batch(pictures[medium.id][None] / np.float32(255))
        store.write(medium, details, cells.reshape(64, 2048), store.meta())
    return data, weights, network


def write_picture(folder, name, colours):
    """A picture of the squares of these colours, with its annotations; its pixels."""
    for subfolder in ("flickr30k-images", "Entities/Annotations"):
        (folder / subfolder).mkdir(parents=True, exist_ok=True)
    picture, objects = np.zeros((299, 299, 3), np.uint8), ""
    for k, colour in enumerate(colours, 1):
        x1, y1, x2, y2 = PLACES[colour]
        picture[y1:y2, x1:x2] = COLOUR[colour]
        box = f"<xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax>"
        objects += f"<object><name>{k}</name><bndbox>{box}</bndbox></object>"
    size = "<size><width>299</width><height>299</height><depth>3</depth></size>"
    annotation = f"<annotation>{size}{objects}</annotation>"
    (folder / "Entities" / "Annotations" / f"{name}.xml").write_text(annotation)
    Image.fromarray(picture).save(folder / "flickr30k-images" / f"{name}.jpg", quality=100, subsampling=0)
    return picture


def config_of(weights):
    return labels.STILL_SHAPES.with_settings({"features.weights": str(weights)})


def head_of(weights, kernel=WEIGHTS, names=("red", "blue")):
    full = np.zeros((2048, len(names)), np.float32)
    full[: len(kernel)] = kernel
    return LabelHead(full, np.zeros(len(names), np.float32), names, networks.digest(str(weights)), "by hand")


def scores(place, folder, layers, **changes):
    data, weights, _ = place
    request = classes.ClassesRequest(config_of(weights), data, head_of(weights), "toy", "0", folder, layers, **changes)
    return classes.score_classes(request)


@pytest.fixture
def toy_layer(place, monkeypatch):
    """The toy network's layer "read" in the place of 17x17."""
    below = middle_layer.MiddleLayer(place[2], lambda x: x / 255, "read", Grid(18, 16, 7.5, 299))
    monkeypatch.setattr(middle_layer, "middle_layer", lambda features, where: below)


# Pointing


def test_contrast_leaves_the_decoy_at_every_layer(place, toy_layer, tmp_path):
    found = scores(place, tmp_path, ("mixed_10", "17x17"))
    for each in found:
        averages = each.tallies[CLASSES].averages()
        assert (averages["eb"][0], averages["ceb"][0], averages["center"][0]) == (0, 1, 0)
        assert averages["random"][0] == pytest.approx(90 * 90 / 299**2, abs=1e-6)
        assert each.tallies[CLASSES].scored == 4
        assert re.search(r"ceb - eb \+1\.000 \[1\.000, 1\.000\]", str(each))


def test_without_the_decoy_both_find_the_square(place, tmp_path):
    (found,) = scores(place, tmp_path, ("mixed_10",), split="val")
    averages = found.tallies[CLASSES].averages()
    assert (averages["eb"][0], averages["ceb"][0]) == (1, 1)


def test_a_result_is_one_that_the_docs_read(place, tmp_path):
    (found,) = scores(place, tmp_path, ("mixed_10",), limit=2)
    assert found.path == tmp_path / "classes_mixed_10.json"
    result = read_result(found.path)
    assert result.value("classes: colour", result.row("toy", "ceb")) == 1 and result.scored("classes") == 3
    assert result.media() == "StillShapes: the first 2 media of test"
    assert read_json(found.path)["layer"] == "mixed_10"


def test_other_classes_than_the_sets_are_refused(place, tmp_path):
    data, weights, _ = place
    request = classes.ClassesRequest(
        config_of(weights), data, head_of(weights, names=("blue", "red")), "toy", "0", tmp_path
    )
    with pytest.raises(UserError, match="classes are blue, red; labels.json has red, blue; fit a head"):
        classes.score_classes(request)


# The command


def test_a_head_that_is_fitted_finds_the_squares(place, tmp_path, capsys):
    data, weights, _ = place
    common = ["--data_dir", str(data), "--weights", str(weights), "--experiments_dir", str(tmp_path)]
    head = tmp_path / "head.npz"
    assert labels.main(["--train", "--head", str(head), *common]) == 0
    assert "2 classes, fitted to 5 pictures of train, 1.000 of labels right" in capsys.readouterr().out
    loaded = LabelHead.load(head, str(weights))
    assert loaded.classes == ("red", "blue") and loaded.made_by == "python -m s2vt.synthetic.labels --train"
    assert labels.main(["--localize", "--head", str(head), "--layers", "mixed_10", *common]) == 0
    printed = capsys.readouterr().out
    assert "head.npz: 1.000 of the labels of 3 pictures of test right" in printed
    assert "| pointing, read at mixed_10 | classes | classes: colour |" in printed
    with pytest.raises(UserError, match="'9x9' is none of mixed_10, 17x17, 35x35"):
        labels.main(["--localize", "--layers", "9x9", "--head", str(head), *common])


# The head


def test_a_fit_is_the_minimum_of_its_objective():
    """One channel and one class, where the minimum is where the slope, written out, is 0."""
    v, present, penalty = np.array([[0.0], [1.0], [2.0], [5.0]]), np.array([[False], [True], [False], [True]]), 0.1
    kernel, bias = fit(v, present, penalty)
    wrong = present - 1 / (1 + np.exp(-(v * kernel + bias)))
    assert abs(wrong.mean()) < 1e-4
    assert (v * wrong).mean() == pytest.approx(penalty * v.var() * kernel[0, 0], abs=1e-4)
    with pytest.raises(UserError, match="class 0 is in all or in none of the 4 pictures; fit to more or to others"):
        fit(v, np.ones((4, 1)), penalty)


def test_a_head_is_what_was_saved(tmp_path):
    (tmp_path / "net.npz").touch()
    weights = str(tmp_path / "net.npz")
    head, path = head_of(weights), file_beside(weights)
    head.save(path)
    assert path == tmp_path / "net.labels.npz"
    loaded = LabelHead.load(path, weights)
    np.testing.assert_array_equal(loaded.kernel, head.kernel, strict=True)
    assert (loaded.classes, loaded.weights, loaded.made_by) == (head.classes, head.weights, head.made_by)
    assert loaded.logits([[1.0] + [0.0] * 2047]).tolist() == [[1.0, -3.0]]
    assert loaded.on_cells(["blue"]).shape == (1, 1, 1, 2048) and loaded.on_cells(["blue"])[0, 0, 0, 2] == 1
    (tmp_path / "other.npz").write_bytes(b"1")
    with pytest.raises(UserError, match="reads the network sha256:.*, not .*other.npz.*; fit one for it with"):
        LabelHead.load(path, str(tmp_path / "other.npz"))
    with pytest.raises(UserError, match="--weights imagenet has no file"):
        file_beside("imagenet")


@pytest.mark.parametrize("content, message", [
    (None, "no such file; fit a head with"), (b"no archive", "not an .npz file"), ({"kernel": np.eye(3)}, "bias"),
    ({"kernel": np.eye(3), "bias": np.zeros(2), "classes": ["a", "b"], "weights": "w", "made_by": ""}, "2 classes"),
    ({"kernel": np.eye(2), "bias": [0, np.inf], "classes": ["a", "b"], "weights": "", "made_by": ""}, "finite"),
    ({"kernel": np.array([object()]), "bias": np.zeros(2)}, "[Oo]bject"),
])  # fmt: skip
def test_a_file_that_is_no_head_is_one_line(tmp_path, content, message):
    path = tmp_path / "head.npz"
    if isinstance(content, dict):
        np.savez(path, **content)
    elif content:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        LabelHead.load(path)


def test_the_shipped_head_reads_the_shipped_backbone_and_has_the_scenes_classes():
    path = file_beside(networks.SHIPPED)
    head = LabelHead.load(path, networks.SHIPPED)
    assert head.classes == (*COLOURS, *SHAPES) and head.kernel.shape == (2048, 14)
    assert head.made_by.startswith("python -m s2vt.synthetic.labels --train")
    assert path.stat().st_size < 100_000 and len(file_digest(path)) == 64
    assert (head.kernel > 0).any(axis=0).all() and (head.kernel < 0).any(axis=0).all()  # both sides of a contrast


def test_the_committed_scores_are_of_the_shipped_head():
    results = sorted((Path(__file__).resolve().parents[1] / "docs" / "results").glob(f"{networks.SHIPPED}_*.json"))
    digest = file_digest(file_beside(networks.SHIPPED))
    assert "mixed_10" in {path.stem.partition("_")[2] for path in results} <= set(classes.LAYERS)
    assert {row["sha256"] for path in results for row in read_json(path)["rows"]} == {digest}


# The file of labels


@pytest.mark.parametrize("record, message", [
    (None, "labels.json is missing.*python -m s2vt.synthetic --dataset StillShapes --data_dir"),
    ({"classes": {"a": ["x"]}}, "KeyError: 'objects'"), ([], "expected {"),
    ({"classes": {"a": ["x"]}, "objects": {"p": {"1": ["y"]}}}, "'y' is not among the classes"),
    ({"classes": {"a": ["x"], "b": ["x"]}, "objects": {}}, "a class is named twice"),
    ({"classes": {"a": ["x"]}, "objects": {}}, "has no objects of p; make the set again"),
])  # fmt: skip
def test_labels_that_are_wrong_are_one_line(tmp_path, record, message):
    if record is not None:
        (tmp_path / FILE).write_text(json.dumps(record))
    with pytest.raises(UserError, match=message):
        read_labels(tmp_path, ["p"])


# A classifier in the place of a captioner


def test_a_classifier_is_explained_by_its_classes(place, toy_layer, tmp_path):
    """Maps that the library draws are those that the pointing game scores, at the cells and below them."""
    data, weights, network = place
    head = head_of(weights)
    head.save(file_beside(str(weights)))
    classifier = load(file_beside(str(weights)))
    classifier.network = SimpleNamespace(
        cells=lambda p: network.predict_on_batch(p / np.float32(255)).reshape(-1, 64, 2048)
    )
    config = config_of(weights)
    store, (medium,) = DescriptorStore(config, data), datasets.select(datasets.read_media(config, data), "val")
    picture = write_picture(tmp_path, "again", ["red"])  # as its descriptors saw it, without JPEG's traces of blue
    for layer in ("mixed_10", "17x17"):
        maps, _ = classes._maps_at(layer, config, store)(medium, head.on_cells(("red", "blue")))
        for kind in ("ceb", "eb"):
            explained = explain(classifier, picture, "blue red", map=kind, settings={"saliency.eb_layer": layer})
            assert explained.words == ("blue", "red")
            (finding,) = explained.findings
            drawn = finding.explanation.maps[kind].cells[::-1, 0]
            np.testing.assert_allclose(np.maximum(drawn, 0), maps[kind], atol=1e-4)
            y, x = np.unravel_index(finding.map("red").argmax(), picture.shape[:2])
            assert 10 <= x < 100 and 20 <= y < 110
    with pytest.raises(UserError, match="nll.* is a classifier, which gives ceb, eb"):
        explain(classifier, medium.path, "red", map="nll")
    with pytest.raises(UserError, match="not in the vocabulary of 2 words: .green"):
        explain(classifier, medium.path, "green", map="eb")


def test_a_classifier_reads_the_network_that_it_was_fitted_to(place, tmp_path):
    _, weights, _ = place
    path = tmp_path / "other.labels.npz"
    head_of(weights).save(path)
    assert load(path, weights=str(weights)).config.features.weights == str(weights)
    (tmp_path / "other.npz").write_bytes(b"another network")
    with pytest.raises(UserError, match="reads the network .*, not .*other.npz"):
        load(path)
    with pytest.raises(UserError, match="no such file; fit a head"):
        load(tmp_path / "none.labels.npz", weights=str(weights))
