"""Layers below the last one: those of both InceptionV3 networks, with their grids."""

import pytest

from s2vt.config import FeatureConfig
from s2vt.data.geometry import Grid
from s2vt.errors import UserError
from s2vt.features import inception_2015, middle_layer
from s2vt.features.inception import inception_v3
from s2vt.saliency.excitation_backprop import ExcitationBackprop

EXPECTED = {"17x17": Grid(17, 16, 21, 299), "35x35": Grid(35, 8, 13, 299)}


@pytest.mark.parametrize("make", [inception_v3, inception_2015.network], ids=["Keras", "2015"])
def test_layers_of_inception_v3_go_down_from_the_cells(make, monkeypatch):
    network = make()
    monkeypatch.setattr(middle_layer, "load", lambda weights, precision, input_size: (network, abs))
    middle_layer.middle_layer.cache_clear()
    for where, grid in EXPECTED.items():
        found = middle_layer.middle_layer(FeatureConfig(weights="some.npz"), where)
        assert found.grid == grid and found.network is network and found.preprocess is abs
        assert network.get_layer(found.name).output.shape[1] == grid.side
        ExcitationBackprop(network, found.name)  # refuses a layer that a path goes around
    middle_layer.middle_layer.cache_clear()


def test_a_network_without_rules_is_one_line():
    with pytest.raises(UserError, match="eb_layer=17x17: .* InceptionV3 only; EfficientNet-Lite0 .*=mixed_10$"):
        middle_layer.middle_layer(FeatureConfig(weights="efficientnet-lite0"), "17x17")
    with pytest.raises(UserError, match="eb_layer=35x35: .* those of features.view=mirrored; choose .*=plain$"):
        middle_layer.middle_layer(FeatureConfig(weights="some.npz", view="mirrored"), "35x35")
