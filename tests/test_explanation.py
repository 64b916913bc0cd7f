"""The raw numbers of an explanation as a file."""

import json

import numpy as np

from s2vt.data.geometry import Geometry
from s2vt.saliency.explanation import Explanation
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
