"""Keras' InceptionV3 and its files."""

import dataclasses

import numpy as np
import pytest

import cfg
from s2vt.errors import UserError


def test_a_network_keeps_its_numbers_through_its_file(tmp_path):
    pytest.importorskip("keras")
    from s2vt.features.inception import inception_v3, save_weights

    first = inception_v3(input_size=75)
    save_weights(first, tmp_path / "w.npz")
    second = inception_v3(str(tmp_path / "w.npz"), input_size=75)
    picture = np.random.default_rng(0).uniform(-1, 1, (1, 75, 75, 3)).astype(np.float32)
    a, b = first.predict(picture, verbose=0), second.predict(picture, verbose=0)
    np.testing.assert_allclose(a, b, rtol=0.05, atol=0.02 * a.max())  # kernels are kept as float16
    (tmp_path / "w.npz").write_bytes(b"PK\x05\x06" + bytes(18))
    with pytest.raises(UserError, match="does not hold this InceptionV3"):
        inception_v3(str(tmp_path / "w.npz"), input_size=75)


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-4), ("mixed_bfloat16", 0.05)])
def test_folded_batch_norm_changes_nothing_but_the_rounding(precision, tolerance):
    keras = pytest.importorskip("keras")
    from s2vt.features.inception import fold_batch_norm, inception_v3

    rng = np.random.default_rng(1)
    network = inception_v3(input_size=75, precision=precision)
    norms = [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for norm in norms:  # beta, mean, variance
        size = norm.beta.shape
        norm.set_weights([rng.uniform(-0.3, 0.5, size), rng.uniform(-0.3, 0.3, size), rng.uniform(0.5, 2, size)])
    folded = fold_batch_norm(network)
    assert len(norms) == 94 and len(folded.layers) == len(network.layers) - 94
    pictures = rng.uniform(-1, 1, (2, 75, 75, 3)).astype(np.float32)
    expected, found = (np.asarray(n.predict_on_batch(pictures), np.float32) for n in (network, folded))
    np.testing.assert_allclose(found, expected, rtol=10 * tolerance, atol=tolerance * expected.max(), strict=True)


def test_cells_are_the_scaled_pictures_maps_row_by_row():
    pytest.importorskip("keras")
    from s2vt.features.inception import inception_v3, preprocess
    from s2vt.features.networks import FeatureExtractor, weights_file

    features = dataclasses.replace(cfg.CONFIGS["StillShapes"].features, precision="float32", batch_size=2)
    pictures = np.random.default_rng(0).integers(0, 256, (3, 299, 299, 3), np.uint8)
    network = inception_v3(weights_file(features.weights))
    maps = network.predict(preprocess(pictures.astype(np.float32)), verbose=0)  # (3, 8, 8, 2048)
    expected = np.stack([maps[:, row, column] for row in range(8) for column in range(8)], axis=1)
    cells = FeatureExtractor(features).cells(pictures)
    np.testing.assert_allclose(cells, expected.astype(np.float16), rtol=2e-3, atol=1e-4 * maps.max(), strict=True)
