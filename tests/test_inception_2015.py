"""The network of 2015: its frozen graph, its conversion and Keras' InceptionV3 give the same numbers."""

import dataclasses
import functools
import hashlib
import io
import pickle
import re
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

import cfg
import preprocessing
from s2vt import command_line
from s2vt.errors import UserError
from s2vt.features import imagenet, inception, inception_2015, networks
from s2vt.features.inception_2015 import AVERAGE, HALVE, MAX, NETWORK, Conv, Mixed
from s2vt.features.label_head import LabelHead

REAL = Path(__file__).resolve().parents[2] / "shared" / "real"
SIZE = 21
# Every kind of step, at sizes that all differ, and a block within a block.
SMALL = [
    Conv(4, 3, 3, 2, "valid"),
    HALVE,
    Mixed(
        [
            [Conv(3, 1, 1)],
            [Conv(2, 1, 1), Mixed([[Conv(3, 1, 3)], [Conv(5, 3, 1)]])],
            [AVERAGE, Conv(6, 1, 1)],
        ]
    ),
    Mixed([[MAX, Conv(7, 1, 1)], [Conv(2, 1, 1)]]),
    Mixed([[Conv(9, 3, 3, 2, "valid")], [HALVE]]),
]


class FrozenGraph:
    """SMALL as a graph with the names and types of nodes of the 2015 graph."""

    def __init__(self, scale_after_normalization=False):
        import tensorflow as tf

        self.tf, self.rng, self.scaled = tf, np.random.default_rng(5), scale_after_normalization
        self.graph = tf.compat.v1.GraphDef()
        self.graph.versions.producer = 8  # later ones have lost BatchNormWithGlobalNormalization
        self.node("ExpandDims", "Placeholder", dtype=tf.float32.as_datatype_enum)
        self.node("Sub", "Sub", "ExpandDims", self.constant("Sub/y", np.float32(128)))
        self.node("Mul", "Mul", "Sub", self.constant("Mul/y", np.float32(1 / 128)))
        self.conv("conv", "Mul", 3, 3, 3, 4, 2, "VALID")
        self.pool("pool", "MaxPool", "conv", 2, "VALID")
        self.conv("mixed/conv", "pool", 1, 1, 4, 3)
        self.conv("mixed/tower/conv", "pool", 1, 1, 4, 2)
        self.conv("mixed/tower/mixed/conv", "mixed/tower/conv", 1, 3, 2, 3)
        self.conv("mixed/tower/mixed/conv_1", "mixed/tower/conv", 3, 1, 2, 5)
        self.pool("mixed/tower_1/pool", "AvgPool", "pool")
        self.conv("mixed/tower_1/conv", "mixed/tower_1/pool", 1, 1, 4, 6)
        self.join(
            "mixed/join", "mixed/conv", "mixed/tower/mixed/conv", "mixed/tower/mixed/conv_1", "mixed/tower_1/conv"
        )
        self.pool("mixed_1/tower/pool", "MaxPool", "mixed/join")
        self.conv("mixed_1/tower/conv", "mixed_1/tower/pool", 1, 1, 17, 7)
        self.conv("mixed_1/conv", "mixed/join", 1, 1, 17, 2)
        self.join("mixed_1/join", "mixed_1/tower/conv", "mixed_1/conv")
        self.conv("mixed_2/conv", "mixed_1/join", 3, 3, 9, 9, 2, "VALID")
        self.pool("mixed_2/pool", "MaxPool", "mixed_1/join", 2, "VALID")
        self.join("mixed_2/join", "mixed_2/conv", "mixed_2/pool")

    def node(self, name, op, *inputs, **attributes):
        node = self.graph.node.add(name=name, op=op, input=inputs)
        if op not in ("Placeholder", "Const"):
            node.attr["T"].type = self.tf.float32.as_datatype_enum
        for key, value in attributes.items():
            attribute = node.attr[key]
            if isinstance(value, list):
                attribute.list.i.extend(value)
            elif isinstance(value, np.ndarray):
                attribute.tensor.CopyFrom(self.tf.make_tensor_proto(value))
            else:
                kind = {bool: "b", float: "f", bytes: "s", int: "type" if "type" in key else "i"}[type(value)]
                setattr(attribute, kind, value)
        return name

    def constant(self, name, value):
        value = np.asarray(value)
        return self.node(name, "Const", value=value, dtype=self.tf.as_dtype(value.dtype).as_datatype_enum)

    def conv(self, scope, x, height, width, channels, filters, stride=1, padding="SAME"):
        random = self.rng.uniform
        kernel = self.constant(
            f"{scope}/conv2d_params", random(-1, 1, (height, width, channels, filters)).astype(np.float32)
        )
        self.node(f"{scope}/Conv2D", "Conv2D", x, kernel, strides=[1, stride, stride, 1], padding=padding.encode())
        ranges = {"moving_mean": (-1, 1), "moving_variance": (0.3, 2), "beta": (-0.5, 1), "gamma": (0.5, 2)}
        vectors = [
            self.constant(f"{scope}/batchnorm/{name}", random(*ends, filters).astype(np.float32))
            for name, ends in ranges.items()
        ]
        self.node(
            f"{scope}/batchnorm", "BatchNormWithGlobalNormalization", f"{scope}/Conv2D", *vectors,
            variance_epsilon=1e-3, scale_after_normalization=self.scaled,
        )  # fmt: skip
        self.node(f"{scope}/CheckNumerics", "CheckNumerics", f"{scope}/batchnorm", message=b"")
        self.node(f"{scope}/control_dependency", "Identity", f"{scope}/batchnorm", f"^{scope}/CheckNumerics")
        self.node(scope, "Relu", f"{scope}/control_dependency")

    def pool(self, name, op, x, stride=1, padding="SAME"):
        self.node(name, op, x, ksize=[1, 3, 3, 1], strides=[1, stride, stride, 1], padding=padding.encode())

    def join(self, name, *inputs):
        axis = self.constant(f"{name}/concat_dim", np.int32(3))
        self.node(name, "Concat", axis, *inputs, N=len(inputs))

    def __call__(self, pictures):
        """What TensorFlow itself makes of the graph."""
        tf = self.tf.compat.v1
        with tf.Graph().as_default(), tf.Session() as session:
            tf.import_graph_def(self.graph, name="")
            return session.run("mixed_2/join:0", {"ExpandDims:0": pictures})


@pytest.fixture
def pictures():
    return np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3)).astype(np.float32)


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Keras' folder in the test's own, a download address that fails, and SMALL in place of the network."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(inception_2015, "URL", "http://127.0.0.1:9/inception-2015-12-05.tgz")
    monkeypatch.setattr(inception_2015, "network", functools.partial(inception_2015.network, SMALL, input_size=SIZE))
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def write_archive(folder, content, name="classify_image_graph_def.pb", **others):
    with tarfile.open(folder / "inception-2015-12-05.tgz", "w:gz") as archive:
        for each, its in {name: content, **others}.items():
            member = tarfile.TarInfo(each)
            member.size = len(its)
            archive.addfile(member, io.BytesIO(its))


@pytest.mark.parametrize("scaled", [False, True])
def test_a_frozen_graph_and_its_conversion_give_the_same_numbers(small, pictures, scaled, monkeypatch):
    frozen = FrozenGraph(scaled)
    graph = frozen.graph.SerializeToString()
    monkeypatch.setattr(inception_2015, "GRAPH_DIGEST", hashlib.sha256(graph).hexdigest())
    write_archive(small, graph)
    expected = frozen(pictures)
    assert expected.shape == (2, 1, 1, 18) and 0.2 < np.mean(expected > 0) <= 1
    network, preprocess = networks.load("inception-2015")
    np.testing.assert_allclose(network.predict(preprocess(pictures), verbose=0), expected, rtol=1e-4, atol=1e-5)

    (small / "inception-2015-12-05.tgz").unlink()  # once converted, the archive is not wanted again
    network, _ = networks.load("inception-2015")
    np.testing.assert_allclose(network.predict(preprocess(pictures), verbose=0), expected, rtol=1e-4, atol=1e-5)
    assert sorted(path.name for path in small.iterdir()) == ["inception-2015.npz"]
    with np.load(small / "inception-2015.npz") as arrays:
        assert arrays["graph_sha256"] == inception_2015.GRAPH_DIGEST


def test_the_classes_of_the_published_archive(small, monkeypatch, capsys):
    """The columns of outputs that have a name, in the order of the outputs."""
    frozen = FrozenGraph()
    kernel, bias = np.random.default_rng(1).normal(size=(18, 6)).astype(np.float32), np.arange(6, dtype=np.float32)
    frozen.constant("softmax/weights", kernel)
    frozen.constant("softmax/biases", bias)
    graph = frozen.graph.SerializeToString()
    monkeypatch.setattr(inception_2015, "GRAPH_DIGEST", hashlib.sha256(graph).hexdigest())
    entries = {4: "n03", 1: "n01", 2: "n02"}
    synsets = "".join(f'entry {{\n  target_class: {k}\n  target_class_string: "{n}"\n}}\n' for k, n in entries.items())
    names = "n01\tcrane\nn02\tblack-and-tan coonhound\nn03\tcrane, tower\nn09\tunused\n"
    write_archive(small, graph, **{imagenet.SYNSETS: synsets.encode(), imagenet.NAMES: names.encode()})
    assert imagenet.main([]) == 0
    assert "inception-2015.labels.npz: 3 classes" in capsys.readouterr().out
    head = LabelHead.load(small / "inception-2015.labels.npz", "inception-2015")
    assert head.classes == ("crane", "black_and_tan_coonhound", "crane_2")
    np.testing.assert_allclose(head.kernel, kernel[:, [1, 2, 4]], atol=2e-3)
    np.testing.assert_array_equal(head.bias, bias[[1, 2, 4]])
    write_archive(small, graph, **{imagenet.SYNSETS: b"", imagenet.NAMES: b""})
    with pytest.raises(UserError, match="no readable classes: none is named"):
        imagenet.head()
    write_archive(small, graph)
    with pytest.raises(UserError, match="does not hold imagenet_2012_challenge_label_map_proto.pbtxt"):
        imagenet.head()


def test_another_graph_is_refused_by_name_and_read_as_a_file(small, pictures):
    frozen = FrozenGraph()
    graph = frozen.graph.SerializeToString()
    write_archive(small, graph)
    with pytest.raises(UserError, match="another graph .SHA-256 [0-9a-f]{64}, expected 009d6814.*give it to --weights"):
        networks.load("inception-2015")
    path = small / "classify_image_graph_def.pb"
    path.write_bytes(graph)
    network, preprocess = inception.load(str(path))
    np.testing.assert_allclose(network.predict(preprocess(pictures), verbose=0), frozen(pictures), rtol=1e-4, atol=1e-5)
    path.write_bytes(b"no graph")
    with pytest.raises(UserError, match="does not hold this InceptionV3 .not the frozen graph"):
        inception.load(str(path))


def test_tag_and_digest_of_2015_need_no_file(small):
    assert networks.network_of("inception-2015").tag == "inception-2015"
    assert networks.digest("inception-2015") == f"sha256:{inception_2015.GRAPH_DIGEST}"


def test_a_folded_batch_norm_by_hand():
    # (k x - mean) / sqrt(var + eps) + beta, with sqrt(3.999 + .001) = 2: (6 x - 1) / 2 + 4 = 3 x + 3.5
    kernel, bias = inception_2015.fold(np.full((1, 1, 1, 1), 6.0), np.ones(1), np.full(1, 3.999), np.full(1, 4.0))
    np.testing.assert_allclose((kernel.item(), bias.item()), (3, 3.5), rtol=1e-6)


def test_the_two_preprocessings():
    pixels = np.array([0, 127.5, 128, 255], np.float32)
    np.testing.assert_allclose(inception.preprocess(pixels), [-1, 0, 1 / 255, 1], atol=1e-6)
    np.testing.assert_allclose(inception_2015.preprocess(pixels), [-1, -1 / 256, 0, 127 / 128], atol=1e-6)


# The scopes of the published graph, in the order in which Keras' InceptionV3 makes the same convolutions.
GRID_35 = "conv tower_conv tower_conv_1 tower_1_conv tower_1_conv_1 tower_1_conv_2 tower_2_conv"
GRID_17 = (
    "conv tower_conv tower_conv_1 tower_conv_2 "
    "tower_1_conv tower_1_conv_1 tower_1_conv_2 tower_1_conv_3 tower_1_conv_4 tower_2_conv"
)
GRID_8 = (
    "conv tower_conv tower_mixed_conv tower_mixed_conv_1 "
    "tower_1_conv tower_1_conv_1 tower_1_mixed_conv tower_1_mixed_conv_1 tower_2_conv"
)
SCOPES = ["conv", *(f"conv_{k}" for k in range(1, 5))] + [
    f"{block}_{scope}"
    for block, scopes in {
        "mixed": GRID_35,
        "mixed_1": GRID_35,
        "mixed_2": GRID_35,
        "mixed_3": "conv tower_conv tower_conv_1 tower_conv_2",
        **{f"mixed_{k}": GRID_17 for k in range(4, 8)},
        "mixed_8": "tower_conv tower_conv_1 tower_1_conv tower_1_conv_1 tower_1_conv_2 tower_1_conv_3",
        **{f"mixed_{k}": GRID_8 for k in (9, 10)},
    }.items()
    for scope in scopes.split()
]


def test_the_2015_table_is_keras_inception_v3_but_for_one_maximum():
    size, rng = 139, np.random.default_rng(1)  # G = 3
    keras_network = inception.inception_v3(input_size=size)
    layers = {"Conv2D": [], "BatchNormalization": []}
    for layer in keras_network.layers:
        layers.get(type(layer).__name__, []).append(layer)
    for made in layers.values():  # conv2d, conv2d_1, ...: numbered as they were made
        made.sort(key=lambda layer: int(re.search(r"(?:_(\d+))?$", layer.name)[1] or 0))
    arrays = {}
    for scope, conv, norm in zip(SCOPES, *layers.values(), strict=True):
        mean, variance, beta = (rng.uniform(*ends, conv.filters) for ends in ((-0.3, 0.3), (0.5, 2), (-0.3, 0.5)))
        norm.set_weights([beta, mean, variance])
        folded = inception_2015.fold(conv.get_weights()[0], mean, variance, beta)
        arrays[f"{scope}/kernel"], arrays[f"{scope}/bias"] = folded

    pictures = rng.uniform(-1, 1, (2, size, size, 3)).astype(np.float32)
    expected = keras_network.predict(pictures, verbose=0)

    def run(steps):
        network = inception_2015.network(steps, input_size=size)
        variables = dict(inception_2015.named_variables(network))
        assert variables.keys() == arrays.keys()
        for name, variable in variables.items():
            variable.assign(arrays[name])
        return network.predict(pictures, verbose=0)

    *trunk, last = NETWORK
    averaged, maximum = run([*trunk, Mixed([*last.branches[:3], [AVERAGE, Conv(192, 1, 1)]])]), run(NETWORK)
    tolerance = {"rtol": 1e-3, "atol": 1e-4 * expected.max()}
    np.testing.assert_allclose(averaged, expected, strict=True, **tolerance)
    np.testing.assert_allclose(maximum[..., :1856], expected[..., :1856], **tolerance)  # all but the pool branch
    assert np.abs(maximum - expected)[..., 1856:].mean() > 0.1 * expected[..., 1856:].mean()


@pytest.fixture
def folded_file(small):
    """A file as the conversion writes it, with a name of its own."""
    frozen = FrozenGraph()
    path = small.parent / "mine.npz"
    np.savez(path, **inception_2015.convert(frozen.graph.SerializeToString()))
    return path


def test_a_files_content_decides_which_network_it_is(folded_file, tmp_path):
    assert inception.load(str(folded_file))[1] is inception_2015.preprocess
    network = inception.inception_v3(input_size=75)
    inception.save_weights(network, tmp_path / "keras.npz")
    _, preprocess = inception.load(str(tmp_path / "keras.npz"))
    assert preprocess is inception.preprocess


def test_a_network_of_2015_can_be_trained_on_and_saved(folded_file, tmp_path, pictures):
    network, preprocess = inception.trainable(str(folded_file))
    bias = network.layers[1].bias
    bias.assign(bias + 1.0)
    inception.save_weights(network, tmp_path / "trained.npz")
    again, preprocess_again = inception.load(str(tmp_path / "trained.npz"))
    assert preprocess_again is preprocess
    expected, before = (n.predict(preprocess(pictures), verbose=0) for n in (network, inception.load(folded_file)[0]))
    np.testing.assert_allclose(again.predict(preprocess(pictures), verbose=0), expected, atol=1e-2 * expected.max())
    assert np.abs(expected - before).max() > 0.1


def test_half_precision_weights_and_arithmetic(folded_file, pictures):
    network, preprocess = inception.load(str(folded_file))
    expected = network.predict(preprocess(pictures), verbose=0)
    with np.load(folded_file) as arrays:
        halved = {name: array.astype(np.float16) for name, array in arrays.items()}
    np.savez(folded_file, **halved)
    network, preprocess = inception.load(str(folded_file), "mixed_bfloat16")
    found = np.asarray(network.predict(preprocess(pictures), verbose=0), np.float32)
    np.testing.assert_allclose(found, expected, atol=0.05 * expected.max())


def damage(path, how):
    with np.load(path) as found:
        arrays = dict(found)
    whole = path.read_bytes()
    match how:
        case "cut":
            path.write_bytes(whole[: len(whole) // 2])
        case "a picture":
            path.write_bytes(b"\xff\xd8\xff\xe0 and so on")
        case "empty":
            path.write_bytes(b"")
        case "a pickle":
            path.write_bytes(pickle.dumps(arrays))
        case "one array":
            with open(path, "wb") as file:
                np.save(file, np.zeros(3))
        case "Python objects":
            np.savez(path, **arrays | {"conv/bias": np.array([None], object)})
        case "a scope is missing":
            np.savez(path, **{name: array for name, array in arrays.items() if name != "mixed_conv/kernel"})
        case "another shape":
            np.savez(path, **arrays | {"mixed_conv/kernel": arrays["mixed_conv/kernel"][..., :1]})


@pytest.mark.parametrize(
    "how",
    ["cut", "a picture", "empty", "a pickle", "one array", "Python objects", "a scope is missing", "another shape"],
)
def test_a_damaged_file_is_one_line(folded_file, how):
    damage(folded_file, how)
    with pytest.raises(UserError, match="mine.npz does not hold this InceptionV3") as caught:
        inception.load(str(folded_file))
    assert "\n" not in str(caught.value) and "pickle" not in str(caught.value)


def test_the_shipped_weights_are_found_beside_the_package_or_here(tmp_path, monkeypatch):
    shipped = Path("DATA/weights/inception-shapes.npz")
    monkeypatch.chdir(tmp_path)
    assert networks.weights_file("inception-shapes") == Path(networks.__file__).parents[2] / shipped
    monkeypatch.setattr(networks, "__file__", str(tmp_path / "site-packages/s2vt/features/networks.py"))
    with pytest.raises(UserError, match=f"inception-shapes .*{shipped}.*repository.*--weights") as caught:
        networks.weights_file("inception-shapes")
    assert "\n" not in str(caught.value)
    shipped.parent.mkdir(parents=True)
    shipped.touch()
    assert networks.weights_file("inception-shapes") == tmp_path / shipped


def test_unknown_weights_list_what_there_is():
    with pytest.raises(
        UserError, match="no weights 'inception'; expected imagenet, inception-2015, inception-shapes, efficientnet"
    ):
        networks.digest("inception")


def test_a_download_that_fails_says_what_to_fetch_and_where_to_put_it(small):
    with pytest.raises(UserError, match="fetch http.*tgz by hand, put it into .*models and run again"):
        networks.load("inception-2015")
    assert list(small.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (None, None, "is damaged .*delete it and run again"),
        (b"", "other.pb", "does not hold classify_image_graph_def.pb"),
        (b"no graph", "./imagenet/classify_image_graph_def.pb", "holds another graph"),
    ],
)
def test_a_wrong_archive_is_one_line_and_leaves_no_conversion(small, content, name, message):
    if content is None:
        write_archive(small, np.random.default_rng(0).bytes(10_000))
        archive = small / "inception-2015-12-05.tgz"
        archive.write_bytes(archive.read_bytes()[:5_000])
    else:
        write_archive(small, content, name)
    with pytest.raises(UserError, match=message) as caught:
        networks.load("inception-2015")
    assert "\n" not in str(caught.value)
    assert [path.name for path in small.iterdir()] == ["inception-2015-12-05.tgz"]


def test_a_failed_download_is_exit_status_2(small, tmp_path, monkeypatch, capsys):
    from PIL import Image

    folder = tmp_path / "Flickr30k"
    (folder / "flickr30k-images").mkdir(parents=True)
    Image.new("RGB", (40, 30)).save(folder / "flickr30k-images" / "1.jpg")
    (folder / "results_20130124.token").write_text("".join(f"1.jpg#{k}\ta grey picture .\n" for k in range(5)))
    for split in ("train", "val", "test"):
        (folder / f"imgs_{split}.txt").write_text("1.jpg\n" if split == "test" else "")
    arguments = ["--dataset", "Flickr30k", "--data_dir", str(tmp_path), "--weights", "inception-2015"]
    monkeypatch.setattr(sys, "argv", ["preprocessing.py", *arguments])
    with pytest.raises(SystemExit) as caught:
        command_line.run(preprocessing.main)
    error = capsys.readouterr().err.strip()
    assert caught.value.code == 2 and "inception-2015-12-05.tgz could not be downloaded" in error
    assert not list(folder.rglob("*.npy"))


@pytest.mark.slow
@pytest.mark.skipif(not (REAL / "inception-2015-folded.npz").exists(), reason=f"needs the real media in {REAL}")
def test_the_real_network_sees_real_pictures():
    """The cells are ReLU outputs, mostly zero, with a mean of 0.3 to 0.5."""
    from PIL import Image

    features = dataclasses.replace(
        cfg.FLICKR30K.features, weights=str(REAL / "inception-2015-folded.npz"), batch_size=4
    )
    paths = sorted((REAL / "Flickr30k" / "flickr30k-images").iterdir())[:4]
    pictures = np.stack([np.asarray(Image.open(path).convert("RGB").resize((299, 299))) for path in paths])
    cells = networks.FeatureExtractor(features).cells(pictures)
    assert cells.shape == (4, 64, 2048) and cells.min() == 0
    assert 0.2 < cells.mean() < 0.5 and 0.5 < np.mean(cells == 0) < 0.8
