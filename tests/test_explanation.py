"""The raw numbers of an explanation as a file."""

import json

import numpy as np
from explanations import each, look

from s2vt.config import SaliencyConfig
from s2vt.data.geometry import Geometry, Grid
from s2vt.evaluation.protocol import Window
from s2vt.evaluation.tables import PhraseMap
from s2vt.rendering import drawing, figure
from s2vt.rendering.drawing import Shown
from s2vt.saliency.explanation import Explanation
from s2vt.saliency.heatmaps import argmax_point
from s2vt.saliency.maps import Evidence

GEOMETRY = Geometry.of(320, 240)


def test_losses_of_a_clip_come_back_as_losses(tmp_path):
    rng = np.random.default_rng(0)
    nll, frame_nll, kl, frame_kl = (rng.gamma(2, size=s).astype("float32") for s in [(2, 3, 8, 8), (2, 3)] * 2)
    maps = {"nll": Evidence("nll", -nll, -frame_nll), "kl": Evidence("kl", -kl, -frame_kl)}
    Explanation(("red", "car"), maps, GEOMETRY, np.array([0, 5, 9]), np.array([0, 0.2, 0.36])).save(tmp_path / "a.npz")
    found = np.load(tmp_path / "a.npz")
    expected = {"nll": nll, "frame_nll": frame_nll, "kl": kl, "frame_kl": frame_kl}
    assert set(found) == {*expected, "words", "frame_indices", "frame_times", "geometry"}
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, strict=True)
    assert found["words"].tolist() == ["red", "car"]
    assert found["frame_indices"].tolist() == [0, 5, 9] and found["frame_times"].tolist() == [0, 0.2, 0.36]
    assert Geometry.from_json(json.loads(str(found["geometry"]))) == GEOMETRY


def test_attention_is_saved_as_it_is_and_only_where_there_is_any(tmp_path):
    alpha = np.full((1, 1, 8, 8), 1 / 64, "float32")
    Explanation(("dog",), {"attention": Evidence("attention", alpha, None)}, GEOMETRY).save(tmp_path / "a.npz")
    found = np.load(tmp_path / "a.npz")
    np.testing.assert_array_equal(found["attention"], alpha, strict=True)
    assert "frame_attention" not in found and found["frame_times"].shape == (0,)


def test_a_map_on_another_grid_is_saved_drawn_and_scored_there(tmp_path):
    """One unit of a 17x17 layer, centred on input pixel 16 k + 21 of 299."""
    grid = Grid(side=17, stride=16, offset=21)
    cells = np.zeros((1, 1, 17, 17), "float32")
    cells[0, 0, 4, 9] = 1  # at input pixels (165, 85)
    evidence = {"eb": Evidence("eb", cells, None, grid=grid), "nll": Evidence("nll", -np.ones((1, 1, 8, 8)), None)}
    found = Explanation(("dog",), evidence, GEOMETRY)
    assert found.geometry_of("nll") == GEOMETRY and found.geometry_of("eb").grid == grid
    expected = GEOMETRY.to_source([165.5, 85.5])
    map_of = PhraseMap(evidence["eb"], [0], Window.of(GEOMETRY, "picture"), SaliencyConfig()).space[0]
    assert np.abs(np.subtract(argmax_point(map_of), expected)).max() < 1
    drawn = drawing.e_to_draw(cells[0][None], found.geometry_of("eb"), look("eb"))[0, 0]
    point = argmax_point(look("eb").upsample(drawn, found.geometry_of("eb")))
    assert np.abs(np.subtract(point, expected)).max() < 1
    picture = np.full((240, 320, 3), 90, np.uint8)
    figure.picture_figure(tmp_path / "a.png", picture, [Shown(found, each(("dog",)), look("eb"))])
    found.save(tmp_path / "a.npz")
    arrays = np.load(tmp_path / "a.npz")
    assert Geometry.from_json(json.loads(str(arrays["eb_geometry"]))) == found.geometry_of("eb")
    assert "nll_geometry" not in arrays and Geometry.from_json(json.loads(str(arrays["geometry"]))) == GEOMETRY
