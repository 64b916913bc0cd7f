"""A run copied for shipping: float16 weights that give the same captioner up to rounding; errors."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from s2vt.captioning.export import export, to_float16
from s2vt.captioning.runs import Run
from s2vt.data.files import read_json
from s2vt.errors import UserError

SHIPPED = Path(__file__).resolve().parents[1] / "experiments" / "StillShapes"


@pytest.fixture
def run(tmp_path):
    """A copy of a shipped run, with a file that is not shipped."""
    shutil.copytree(SHIPPED, tmp_path / "run")
    (tmp_path / "run" / "training_state.npz").write_bytes(b"large")
    return Run(tmp_path / "run")


def test_the_copy_is_the_same_captioner_up_to_rounding(run, tmp_path):
    copy = export(run, "best", tmp_path / "shipped" / "Still")
    (model, number), (again, same) = run.captioner("best"), copy.captioner("best")

    assert number == same and copy.scores() == run.scores() and copy.config() == run.config()
    for here, there in zip(model.weights, again.weights, strict=True):
        np.testing.assert_allclose(there.numpy(), here.numpy(), rtol=2**-11, atol=2**-24)
    assert not np.array_equal(model.W_o.numpy(), again.W_o.numpy())  # rounded
    small, large = (r.checkpoint_path(number).stat().st_size for r in (copy, run))
    assert small < 0.55 * large and not (copy.folder / "training_state.npz").exists()
    assert sorted(path.name for path in (tmp_path / "shipped").iterdir()) == ["Still"]


def test_the_copy_names_the_published_weights_of_its_network(run, tmp_path):
    copy, same = (export(run, "best", tmp_path / f"{name}", name) for name in ("inception-2015", None))
    assert copy.config() == run.config().replace(["features.weights=inception-2015"])
    assert same.config() == run.config()
    digests = [read_json(each.folder / "config.json")["weights"] for each in (copy, same, run)]
    assert digests == digests[:1] * 3


def test_an_existing_folder_and_weights_beyond_float16_are_refused(run, tmp_path):
    with pytest.raises(UserError, match="the folder exists"):
        export(run, "best", run.folder)
    with h5py.File(tmp_path / "large.h5", "w") as file:
        file["layer/kernel"] = np.float32([1.0, 7e4])
    with pytest.raises(UserError, match=r"layer/kernel has values beyond the range of float16"):
        to_float16(tmp_path / "large.h5", tmp_path / "small.h5")
    with pytest.raises(UserError, match="no checkpoint"):
        export(run, "77", tmp_path / "other")
    assert not (tmp_path / "other").exists()
