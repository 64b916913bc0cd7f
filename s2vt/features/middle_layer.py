"""Layers of a network below its last one: where they look, and what makes their units of a picture.

Letters: B pictures, S input side.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from s2vt.data.geometry import Grid
from s2vt.errors import UserError
from s2vt.features.networks import load, network_for
from s2vt.features.receptive_field import receptive_field

# `saliency.eb_layer` -> the last layer of that size in Keras' InceptionV3, and in the network of 2015.
LAYERS = {"17x17": ("mixed7", "mixed_7"), "35x35": ("mixed2", "mixed_2")}


class MiddleLayer(NamedTuple):
    """A layer of a network, with the network itself.

    Attributes:
        network: a Keras model, float32: (B, S, S, 3) -> the last convolutional map.
        preprocess: pictures (B, S, S, 3) of 0 ... 255, float32 -> the network's input.
        name: of the layer in the network.
        grid: the Grid of its units, with the centres of their receptive fields.
    """

    network: Any
    preprocess: Callable
    name: str
    grid: Grid


@functools.lru_cache(1)
def middle_layer(features, where):
    """The layer of a network that a value of `saliency.eb_layer` names; the network is loaded once.

    Args:
        features: a FeatureConfig.   where: a key of LAYERS.
    Raises:
        UserError: if the network has no such layer, its weights cannot be had, or cells are not those that it makes of
            a picture as it is (`features.view`).
    """
    described = network_for(features)
    if features.view != "plain":
        raise UserError(
            f"saliency.eb_layer={where}: Excitation Backprop goes down from the cells of a picture as it is, not from "
            f"those of features.view={features.view}; choose saliency.eb_layer=mixed_10, or features.view=plain"
        )
    if described.title != "InceptionV3":
        raise UserError(
            f"saliency.eb_layer={where}: Excitation Backprop goes down InceptionV3 only; {described.title} has blocks "
            "that end without ReLU, for which it has no rule; choose saliency.eb_layer=mixed_10"
        )
    network, preprocess = load(features.weights, "float32", features.input_size)
    names = {layer.name for layer in network.layers}
    (name,) = names.intersection(LAYERS[where])
    field, side = receptive_field(network, name), network.get_layer(name).output.shape[1]
    return MiddleLayer(network, preprocess, name, Grid(side, field.stride, field.offset, described.grid.input_size))
