"""Receptive fields: InceptionV3's, and those of small networks measured by changing single input pixels."""

import itertools

import keras
import numpy as np
import pytest
from keras import layers

from s2vt.features import efficientnet_lite0, inception_2015
from s2vt.features.inception import inception_v3
from s2vt.features.receptive_field import ReceptiveField, blocks_from_the_top, receptive_field


def test_layers_of_inception():
    network = inception_v3()
    centres = {"mixed10": (32, 37), "mixed7": (16, 21), "mixed2": (8, 13)}
    for layer, expected in centres.items():
        assert receptive_field(network, layer)[:2] == expected
        # The fields lie symmetrically in the picture.
        stride, offset = expected
        side = network.get_layer(layer).output.shape[1]
        assert offset + (side - 1) * stride / 2 == (299 - 1) / 2
    stem = 3 + 2 * (2 + 2 + 2) + 4 * (2 + 2)  # 3x3 convolutions and poolings in steps of 1, 2 and 4 pixels
    assert receptive_field(network, "mixed2").size == stem + 3 * 4 * 8  # three blocks with a 5x5, or two 3x3


@pytest.mark.parametrize(
    ("make", "sides"),
    [
        (inception_v3, [8, 17, 35, 71, 147]),
        (inception_2015.network, [8, 17, 35, 71, 147]),
        (efficientnet_lite0.network, [8, 16, 32, 64, 128]),
    ],
    ids=["Keras' InceptionV3", "InceptionV3 of 2015", "EfficientNet-Lite0"],
)
def test_blocks_of_the_networks_go_down_from_the_cells_and_leave_nothing_out(make, sides):
    network = make()
    blocks = blocks_from_the_top(network)
    assert list(blocks) == [f"{side}x{side}" for side in sides]
    owner = {id(variable): layer for layer in network.layers for variable in layer.weights}
    assert sorted(owner) == sorted(id(variable) for variables in blocks.values() for variable in variables)
    # No layer of a block is below one of a later block: its outputs are no larger than theirs.
    heights = [[owner[id(variable)].output.shape[1] for variable in variables] for variables in blocks.values()]
    assert all(max(above) < min(below) for above, below in itertools.pairwise(heights))


def test_a_block_changes_nothing_below_it():
    network = branched(23)
    network = keras.Model(network.input, [network.get_layer(name).output for name in ("stem", "block", "top")])
    blocks, picture = blocks_from_the_top(network), np.ones((1, 23, 23, 1), "float32")
    assert {name: len(variables) for name, variables in blocks.items()} == {"4x4": 2, "13x13": 4}
    before = network.predict_on_batch(picture)
    for name, unchanged in (("4x4", [True, True, False]), ("13x13", [False, False, False])):
        for variable in blocks[name]:
            variable.assign(2 * variable + 1)
        after = network.predict_on_batch(picture)
        assert [np.array_equal(a, b) for a, b in zip(before, after, strict=True)] == unchanged


def branched(side):
    """Unlike branches of odd and even kernels, strides, padding, and dilation; every weight 1."""
    x = y = keras.Input((side, side, 1))
    y = layers.Conv2D(1, 3, strides=2, padding="same", kernel_initializer="ones", name="stem")(y)
    y = layers.ZeroPadding2D(((1, 0), (1, 0)))(y)
    a = layers.Conv2D(1, 3, padding="same", dilation_rate=2, kernel_initializer="ones", name="a")(y)
    b = layers.AveragePooling2D(2, 1, padding="same")(y)
    y = layers.Concatenate(name="block")([a, layers.Activation("relu")(b)])
    return keras.Model(x, layers.Conv2D(1, 2, strides=3, kernel_initializer="ones", name="top")(y))


@pytest.mark.parametrize("side", [40, 41])  # "same" pads the stem by 0 or 1 pixel in front
def test_a_unit_changes_exactly_with_the_pixels_of_its_field(side):
    network = branched(side)
    for layer, k in (("stem", 8), ("block", 9), ("top", 3)):
        stride, offset, size = receptive_field(network, layer)
        find = keras.Model(network.input, network.get_layer(layer).output)
        pixels = np.zeros((side, side, side, 1), "float32")  # one picture for each row, which is bright
        pixels[np.arange(side), np.arange(side)] = 1
        seen = find.predict_on_batch(pixels)[:, k, k].sum(axis=-1) > 0
        first, last = np.flatnonzero(seen)[[0, -1]]
        assert ((first + last) / 2, last - first + 1) == (stride * k + offset, size)


def test_what_has_no_receptive_field_is_an_error():
    x = keras.Input((9, 9, 3))
    y = layers.Conv2D(2, (1, 3), name="wide")(x)
    pooled = layers.GlobalAveragePooling2D(name="pooled")(y)
    network = keras.Model(x, pooled)
    for layer in ("wide", "pooled"):
        with pytest.raises(ValueError, match=f"layer {layer} has no receptive field with equal sides"):
            receptive_field(network, layer)
    dense = keras.Model(x, layers.Dense(2, name="dense")(pooled))
    with pytest.raises(ValueError, match="layer dense has no receptive field: it mixes all positions"):
        blocks_from_the_top(dense)
    with pytest.raises(ValueError, match=r"has no layer mixed; its layers are \['.*', 'wide', 'pooled'\]"):
        receptive_field(network, "mixed")
    branches = [layers.MaxPooling2D(3, s, "same")(layers.ZeroPadding2D(p)(x)) for s, p in ((1, 0), (3, 9))]
    with pytest.raises(ValueError, match="branches with different strides meet in layer both"):
        receptive_field(keras.Model(x, layers.Concatenate(name="both")(branches)), "both")
    assert receptive_field(keras.Model(x, x), network.layers[0].name) == ReceptiveField(1, 0, 1)
