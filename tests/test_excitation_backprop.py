"""Excitation Backprop: by hand, against the rule written out in NumPy, and on InceptionV3's layers.

Letters: K words or classes, T=3 words, N=4 descriptors, D=5.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers, ops
from toys import with_random_weights

from s2vt.captioning.s2vt import S2VT
from s2vt.features import inception_2015
from s2vt.features.inception import fold_batch_norm
from s2vt.saliency.excitation_backprop import (
    ExcitationBackprop,
    contrast,
    excitation,
    of_likely_cells,
    on_cells,
)
from s2vt.saliency.gradients import word_weights


def numbers(tensor):
    return np.asarray(ops.convert_to_numpy(tensor))


def small_network(side=7, norm=True):
    """Every kind of layer of InceptionV3, and an addition: (B, side, side, 3) -> (B, 1, 1, 5), random weights."""

    def convolution(x, filters, size, **kwargs):
        if not norm:
            return layers.Conv2D(filters, size, activation="relu", **kwargs)(x)
        x = layers.Conv2D(filters, size, use_bias=False, **kwargs)(x)
        return layers.Activation("relu")(layers.BatchNormalization(scale=False)(x))

    pictures = keras.Input((side, side, 3))
    x = convolution(pictures, 6, 2)
    x = layers.MaxPooling2D(3, 1, padding="same", name="cut")(x)
    branches = [
        convolution(x, 4, (1, 3), padding="same", strides=2),
        convolution(layers.AveragePooling2D(3, 1, padding="same")(x), 5, 2, padding="same", strides=2),
        layers.MaxPooling2D(2, 2)(x),
    ]
    x = layers.Concatenate(name="block")(branches)
    x = layers.Add(name="sum")([convolution(x, 4, 1), convolution(x, 4, 2, padding="same")])
    network = keras.Model(pictures, convolution(x, 5, 2, padding="valid"))
    return with_random_norms(network)


def with_random_norms(network, seed=3):
    """Random weights: kernels of both signs, and batch norms that neither kill nor centre their units."""
    rng = np.random.default_rng(seed)
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):  # beta, mean, variance
            size = layer.beta.shape
            layer.set_weights([rng.uniform(0.2, 1, size), rng.uniform(-0.3, 0.3, size), rng.uniform(0.5, 2, size)])
        elif layer.weights:
            layer.set_weights([rng.normal(0.02, 0.3, value.shape) for value in layer.get_weights()])
    return network


def activations(network, pictures):
    """{layer's name: its output}."""
    every = keras.Model(network.input, {layer.name: layer.output for layer in network.layers})
    return {name: numbers(value) for name, value in every.predict_on_batch(pictures).items()}


# By hand


def test_a_network_of_three_layers_by_hand():
    x = keras.Input((1, 2, 1))
    a = layers.Conv2D(2, 1, activation="relu", name="a")(x)  # a pixel of 2 and one of 3
    b = layers.Conv2D(2, 1, activation="relu", name="b")(a)
    c = layers.AveragePooling2D((1, 2), name="c")(b)
    network = keras.Model(x, c)
    network.get_layer("a").set_weights([np.array([1.0, 2.0]).reshape(1, 1, 1, 2), np.array([0.0, -3.0])])
    network.get_layer("b").set_weights([np.array([[1.0, -1.0], [1.0, 2.0]])[None, None], np.array([0.0, 7.0])])
    pixels = np.array([2.0, 3.0], "float32").reshape(1, 1, 2, 1)
    # a = (2, 1), (3, 3); b: unit 0 is 3, 6; unit 1 is 7 - 2 + 2 = 7, 7 - 3 + 6 = 10; c = (4.5, 8.5)
    top = activations(network, pixels)["c"][0]
    np.testing.assert_allclose(top, [[[4.5, 8.5]]])
    p = excitation(top, np.array([[[[2.0, -1.0]]], [[[2.0, 1.0]]]]))
    np.testing.assert_allclose(p, [[[[1.0, 0.0]]], [[[18 / 35, 17 / 35]]]], rtol=1e-6)

    found = ExcitationBackprop(network, "b").probabilities([[[3.0, 7.0], [6.0, 10.0]]], p[:1])
    np.testing.assert_allclose(found, [[[[1 / 3, 0], [2 / 3, 0]]]], rtol=1e-6)
    found = ExcitationBackprop(network, "a").probabilities([[[2.0, 1.0], [3.0, 3.0]]], p)
    first = np.array([[2 / 9, 1 / 9], [1 / 3, 1 / 3]])
    second = np.array([[0, 7 / 17], [0, 10 / 17]])  # only the second unit of a excites it, and not its bias
    np.testing.assert_allclose(found[0, 0], first, rtol=1e-6)
    np.testing.assert_allclose(found[1, 0], 18 / 35 * first + 17 / 35 * second, rtol=1e-6)
    found = ExcitationBackprop(network, network.layers[0].name).maps(pixels[0], p[:1])
    np.testing.assert_allclose(found, [[[1 / 3, 2 / 3]]], rtol=1e-6)


def test_excitations_by_hand():
    x = np.array([[1.0, 2.0], [0.0, 4.0]], "float32")
    weights = np.array([[[3.0, -1.0]], [[-2.0, 0.5]], [[-1.0, -1.0]]])  # broadcast to both rows
    expected = [[[1, 0], [0, 0]], [[0, 1 / 3], [0, 2 / 3]], [[0, 0], [0, 0]]]  # nothing excites the last one
    np.testing.assert_allclose(excitation(x, weights), np.array(expected, "float32"), strict=True)
    expected = [[[1, -1 / 3], [0, -2 / 3]], [[-1, 1 / 3], [0, 2 / 3]]]
    np.testing.assert_allclose(contrast(x, weights[:2]), np.array(expected, "float32"), rtol=1e-6, strict=True)
    np.testing.assert_array_equal(contrast(x, weights, weights), np.zeros((3, 2, 2), "float32"), strict=True)
    with pytest.raises(ValueError, match=r"activations >= 0; received -2"):
        excitation(-x / 2, weights)


# Two roads: the rule, written out unit by unit


def windows(side, size, stride, padding):
    """For each output place of one axis, the (place in the kernel, input place) inside the picture."""
    count = -(-side // stride) if padding == "same" else (side - size) // stride + 1
    before = max((count - 1) * stride + size - side, 0) // 2 if padding == "same" else 0
    return [[(k, o * stride + k - before) for k in range(size) if 0 <= o * stride + k - before < side]
            for o in range(count)]  # fmt: skip


def handed_down(x, p, size, layer, contributions):
    """P(i) of the units x (h, w, C) below, from p (h', w', C'); contributions(patch (n, C), n kernel places, c')."""
    result = np.zeros_like(x)
    axes = [windows(n, k, s, layer.padding) for n, k, s in zip(x.shape, size, layer.strides, strict=False)]
    for row, rows in enumerate(axes[0]):
        for column, columns in enumerate(axes[1]):
            places = [(i, j, y, z) for i, y in rows for j, z in columns]
            at = tuple(np.array([(y, z) for *_, y, z in places]).T)
            for c in range(p.shape[-1]):
                share = contributions(x[at], [place[:2] for place in places], c)
                total = share.sum()
                result[at] += p[row, column, c] * share / total if total > 0 else 0
    return result


def by_the_rule(layer, below, p):
    """Probabilities of the units of each layer below a layer, list of (h, w, C)."""
    (x, *_) = below
    if isinstance(layer, layers.Concatenate):
        return np.split(p, np.cumsum([each.shape[-1] for each in below])[:-1], axis=-1)
    if isinstance(layer, layers.Add):
        return [np.divide(p * each, sum(below), out=np.zeros_like(p), where=sum(below) > 0) for each in below]
    if isinstance(layer, layers.Conv2D):
        kernel = np.maximum(numbers(layer.kernel), 0)
        share = lambda patch, places, c: patch * np.stack([kernel[i, j, :, c] for i, j in places])  # noqa: E731
        return [handed_down(x, p, layer.kernel_size, layer, share)]
    if isinstance(layer, layers.AveragePooling2D):
        share = lambda patch, places, c: patch * (np.arange(patch.shape[1]) == c)  # noqa: E731
        return [handed_down(x, p, layer.pool_size, layer, share)]
    if isinstance(layer, layers.MaxPooling2D):

        def largest(patch, places, c):
            share = np.zeros_like(patch)
            share[patch[:, c].argmax(), c] = 1
            return share

        return [handed_down(x, p, layer.pool_size, layer, largest)]
    return [p]  # batch norm, ReLU


def reference(network, layer, picture, p):
    """Probabilities of a layer's units by the rule, from p of the network's output."""
    values = {id(network.get_layer(n).output): a[0] for n, a in activations(network, picture[None]).items()}
    found = {key: np.zeros_like(value) for key, value in values.items()}
    found[id(network.output)] = p
    stop = id(network.get_layer(layer).output)
    for each in reversed(network.layers):
        if id(each.output) != stop and not isinstance(each, layers.InputLayer):
            tensors = keras.tree.flatten(each.input)
            shares = by_the_rule(each, [values[id(t)] for t in tensors], found[id(each.output)])
            for tensor, share in zip(tensors, shares, strict=True):
                found[id(tensor)] += share
        elif id(each.output) == stop:
            return found[stop]


@pytest.mark.parametrize("layer", ["sum", "block", "cut"])
@pytest.mark.parametrize("norm", [True, False])
def test_the_surrogates_gradient_is_the_rule(norm, layer):
    network = small_network(norm=norm)
    picture = np.random.default_rng(0).random((7, 7, 3), "float32")
    backprop = ExcitationBackprop(network, layer)
    x, top = (a[0] for a in backprop.activations(picture[None]))
    p = contrast(top, np.random.default_rng(1).normal(size=(2, 1, 1, 5)))
    found = backprop.probabilities(x, p)
    for k in range(2):
        expected = reference(network, layer, picture, p[k])
        assert np.abs(expected).sum() > 0.1
        np.testing.assert_allclose(found[k], expected, rtol=1e-4, atol=1e-6, strict=True)


def test_probabilities_sum_to_1_at_every_layer():
    network = small_network()
    picture = np.random.default_rng(0).random((1, 7, 7, 3), "float32")
    weights = np.random.default_rng(1).uniform(-1, 2, (10, 1, 1, 5))  # more than go down at once
    for layer in ("sum", "block", "cut", network.layers[-1].name):
        backprop = ExcitationBackprop(network, layer)
        x, top = (a[0] for a in backprop.activations(picture))
        p = excitation(top, weights)
        total = backprop.probabilities(x, p).sum(axis=(1, 2, 3))
        np.testing.assert_allclose(total, np.ones(10, "float32"), rtol=1e-5, strict=True)
        np.testing.assert_allclose(backprop.maps(x, p).sum(axis=(1, 2)), total, rtol=1e-5)
        alone = np.stack([backprop.probabilities(x, each[None])[0] for each in p[[0, 9]]])
        np.testing.assert_allclose(backprop.probabilities(x, p)[[0, 9]], alone, rtol=1e-5, atol=1e-7)
        np.testing.assert_array_equal(backprop.maps(x, contrast(top, weights, weights)), 0)


def test_frames_go_down_each_with_its_own_activations():
    network, rng = network_of_2015(), np.random.default_rng(6)
    pictures = rng.random((2, 15, 15, 3), "float32")
    cells = network.predict_on_batch(pictures).reshape(2, 9, 15)
    p = contrast(cells.mean(axis=1), rng.normal(size=(3, 2, 15)))
    backprop = ExcitationBackprop(network, "mixed")
    found = np.stack(
        list(backprop.signed_maps_of_frames(backprop.activations(pictures)[0], on_cells(p, cells))), axis=1
    )
    assert found.shape == (3, 2, 3, 3) and found.min() < 0
    (_, second) = on_cells(p, cells)
    expected = backprop.maps(backprop.activations(pictures)[0][1], second)
    np.testing.assert_allclose(np.maximum(found[:, 1], 0), expected, rtol=1e-5, atol=1e-8)
    top = ExcitationBackprop(network, network.layers[-1].name)
    top = top.signed_maps_of_frames(top.activations(pictures)[0], on_cells(p, cells))
    np.testing.assert_allclose(list(top)[1], second.sum(axis=-1), rtol=1e-5, atol=1e-7)


def test_folded_batch_norm_gives_the_same_probabilities():
    network = small_network()
    folded = fold_batch_norm(network)
    picture = np.random.default_rng(0).random((1, 7, 7, 3), "float32")
    found = []
    for each in (network, folded):
        backprop = ExcitationBackprop(each, "cut")
        x, top = (a[0] for a in backprop.activations(picture))
        p = excitation(top, np.random.default_rng(1).normal(size=(2, 1, 1, 5)))
        found.append(backprop.probabilities(x, p))
    np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-6)


def network_of_2015():
    """A small network as that of 2015 is built: ReLU inside convolutions, a maximum in the last block's pool branch."""
    conv, mixed = inception_2015.Conv, inception_2015.Mixed
    steps = [
        conv(8, 3, 3, 2, "valid"),
        mixed([[inception_2015.HALVE]]),
        mixed([[conv(4, 1, 1)], [inception_2015.AVERAGE], [inception_2015.MAX, conv(3, 1, 1)]]),
    ]
    return with_random_norms(inception_2015.network(steps, input_size=15))


def test_layers_as_the_network_of_2015_has_them():
    network, picture = network_of_2015(), np.random.default_rng(0).random((15, 15, 3), "float32")
    backprop = ExcitationBackprop(network, "mixed")
    x, top = (a[0] for a in backprop.activations(picture[None]))
    p = excitation(top, np.ones((1, 1, 1, 15)))
    found = backprop.probabilities(x, p)[0]
    np.testing.assert_allclose(found, reference(network, "mixed", picture, p[0]), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.sum(), 1, rtol=1e-5)


@pytest.mark.slow
def test_all_of_inception():
    from s2vt.features.inception import inception_v3

    rng = np.random.default_rng(0)
    pictures = rng.uniform(-1, 1, (1, 75, 75, 3)).astype("float32")
    network = inception_v3(input_size=75)
    for norm in network.layers:
        if isinstance(norm, layers.BatchNormalization):
            norm.set_weights([rng.uniform(0.2, 0.5, norm.beta.shape), *norm.get_weights()[1:]])
    folded, found = fold_batch_norm(network), []
    for each in (network, folded):
        at_17 = ExcitationBackprop(each, "mixed7")
        x, top = (a[0] for a in at_17.activations(pictures))
        p = excitation(top, np.ones((1, 1, 1, 2048)))
        found.append(at_17.maps(x, p))
    assert found[0].shape == (1, 3, 3)
    np.testing.assert_allclose(*found, rtol=1e-3)
    at_35 = ExcitationBackprop(folded, "mixed2")
    of_35 = at_35.maps(at_35.activations(pictures)[0][0], p)
    assert of_35.shape == (1, 7, 7)
    np.testing.assert_allclose([found[0].sum(), of_35.sum()], 1, rtol=1e-3)


# From words and classes


def test_a_class_from_pool_3_is_the_class_from_the_cells():
    rng = np.random.default_rng(2)
    cells, weights = rng.random((3, 3, 5)), rng.normal(size=(2, 5))
    of_pool = excitation(cells.mean(axis=(0, 1)), weights)  # (2, 5), handed down in proportion to the cells
    expected = of_pool[:, None, None] * cells / cells.sum(axis=(0, 1))
    np.testing.assert_allclose(excitation(cells, weights[:, None, None]), expected, rtol=1e-5)


def test_likely_cells_share_their_likelihood_by_activation():
    cells = np.random.default_rng(2).random((3, 3, 5))
    likelihood = np.random.default_rng(3).random((2, 3, 3))
    found = of_likely_cells(cells, likelihood)
    np.testing.assert_allclose(found.sum(axis=-1), likelihood / likelihood.sum(axis=(1, 2), keepdims=True))
    np.testing.assert_allclose(found[1, 2, 0, 3] / found[1, 2, 0, 1], cells[2, 0, 3] / cells[2, 0, 1])
    cells[1, 1] = 0  # a dead cell holds nothing
    assert not of_likely_cells(cells, likelihood)[:, 1, 1].any()


def test_frames_hand_down_to_their_cells():
    rng = np.random.default_rng(4)
    cells = rng.random((2, 4, 5), "float32")
    cells[0, :, 3] = 0
    v = cells.mean(axis=1)
    weights = rng.normal(size=(3, 2, 5))  # K, N, D
    found = np.stack(list(on_cells(contrast(v, weights), cells)), axis=1)  # (K, m, G, G, D)
    expected = contrast(cells, weights[:, :, None]).reshape(3, 2, 2, 2, 5)  # the other road: straight to the cells
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7, strict=True)
    with pytest.raises(ValueError, match=r"p must be \(K, 2, D\) for cells \(2, 4, 5\); received \(3, 4, 5\)"):
        next(on_cells(np.zeros((3, 4, 5)), cells))


def test_cells_of_a_picture_go_back_to_their_places():
    order = np.array([0, 1, 3, 2])
    cells = np.random.default_rng(4).random((1, 4, 5), "float32")
    (found,) = on_cells(cells[:, order], cells, order)
    np.testing.assert_array_equal(found, cells.reshape(1, 2, 2, 5), strict=True)
    with pytest.raises(ValueError, match=r"p must be \(K, 4, D\)"):
        next(on_cells(cells[:, :3], cells, order))


Y = [4, 2, 6]


@pytest.fixture(scope="module")
def captioner():
    return with_random_weights(S2VT(vocabulary_size=7, units=6, embedding_size=3), D=5)


@pytest.fixture(scope="module")
def v():
    return np.random.default_rng(5).random((4, 5), "float32") / 4


@pytest.mark.parametrize("score", [None, ops.log_softmax])
def test_word_weights_are_finite_differences(captioner, v, score):
    scores = {} if score is None else {"score": score}
    (weights,) = word_weights(captioner.encode, captioner.step, v, [Y], **scores)
    assert weights.shape == (3, 4, 5) and weights.dtype == np.float32
    step = 1e-2 * np.eye(20, dtype="float32").reshape(20, 4, 5)
    changed = np.concatenate([v + step, v - step])
    logits = numbers(captioner({"v": changed, "y": np.repeat([Y], 40, axis=0)}))  # the other road: teacher forcing
    values = (logits if score is None else numbers(ops.log_softmax(logits)))[:, [0, 1, 2], Y]
    expected = ((values[:20] - values[20:]) / 2e-2).T.reshape(3, 4, 5)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(weights, expected, rtol=2e-2, atol=2e-2 * np.abs(expected).max())


def test_a_words_weights_do_not_depend_on_later_words(captioner, v):
    (weights,) = word_weights(captioner.encode, captioner.step, v, [Y])
    (first,) = word_weights(captioner.encode, captioner.step, v, [Y[:1]])
    np.testing.assert_allclose(weights[:1], first, rtol=1e-4, atol=1e-5)


# Another engine

SCRIPT = """
import sys
import numpy as np
import test_excitation_backprop as tests
np.savez(sys.argv[2], engine=tests.keras.backend.backend(), **tests.found_by_this_engine(sys.argv[1]))
"""


def found_by_this_engine(weights):
    captioner = S2VT(vocabulary_size=7, units=6, embedding_size=3)
    captioner.build({"v": (None, None, 5)})
    captioner.load_weights(weights)
    v = np.random.default_rng(5).random((4, 5), "float32")
    backprop = ExcitationBackprop(network_of_2015(), "mixed")
    x, top = (a[0] for a in backprop.activations(np.random.default_rng(0).random((1, 15, 15, 3), "float32")))
    p = contrast(top, np.random.default_rng(1).normal(size=(2, 1, 1, 15)))
    found = {"weights": word_weights(captioner.encode, captioner.step, v, [Y])[0], "x": x}
    return found | {"probabilities": backprop.probabilities(x, p)}


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="needs jax, a test dependency")
def test_tensorflow_and_jax_agree(captioner, tmp_path):
    captioner.save_weights(tmp_path / "s2vt.weights.h5")
    other = {"tensorflow": "jax", "jax": "tensorflow"}.get(keras.backend.backend(), "tensorflow")
    paths = os.pathsep.join(map(str, [Path(__file__).parent, Path(__file__).parents[1]]))
    subprocess.run(
        [sys.executable, "-c", SCRIPT, tmp_path / "s2vt.weights.h5", tmp_path / "found.npz"],
        env={**os.environ, "KERAS_BACKEND": other, "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"}
        | {"PYTHONPATH": paths},
        check=True,
        timeout=240,
    )
    found, expected = np.load(tmp_path / "found.npz"), found_by_this_engine(tmp_path / "s2vt.weights.h5")
    assert found["engine"] == other and set(found) == {*expected, "engine"}
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-3, atol=1e-5, err_msg=name)


# Errors


def test_what_has_no_rule_is_an_error(captioner, v):
    network = small_network()
    with pytest.raises(ValueError, match=r"has no layer mixed7; its layers are .*'cut'"):
        ExcitationBackprop(network, "mixed7")
    inside = next(layer.name for layer in network.layers if isinstance(layer, layers.AveragePooling2D))
    with pytest.raises(ValueError, match=f"a path from the input to the output goes around layer {inside}"):
        ExcitationBackprop(network, inside)

    def refused(*above):
        y = x = keras.Input((5, 5, 3), name="pixels")
        for layer in above:
            y = layer(y)
        return ExcitationBackprop(keras.Model(x, y), "pixels")

    relu, convolution = layers.ReLU(), layers.Conv2D(2, 1, name="linear")
    with pytest.raises(ValueError, match="activations >= 0, from ReLU; layer second reads others"):
        refused(convolution, layers.Conv2D(2, 1, name="second"), relu)
    with pytest.raises(ValueError, match="the output's competition reads others"):
        refused(layers.Conv2D(2, 1, activation="tanh"))
    with pytest.raises(ValueError, match="no rule of Excitation Backprop for layer up, a UpSampling2D"):
        refused(layers.UpSampling2D(name="up"))
    with pytest.raises(ValueError, match="float32 network; layer half is bfloat16"):
        refused(layers.Conv2D(2, 1, activation="relu", dtype="mixed_bfloat16", name="half"))
    encode, step = captioner.encode, captioner.step
    with pytest.raises(ValueError, match=r"v must be \(N, D\) and y \(T,\), not empty; received \(4, 5\) and \(0,\)"):
        word_weights(encode, step, v, [Y, []])
    with pytest.raises(ValueError, match=r"word indices must be 0..6; received \[4, 7\]"):
        word_weights(encode, step, v, [[4, 7]])
