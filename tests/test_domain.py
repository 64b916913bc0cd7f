"""Distance of a medium's descriptors from those of the training media, and a run's warning."""

from pathlib import Path

import numpy as np
import pytest

from s2vt.captioning.runs import Run
from s2vt.data.files import read_json, write_json
from s2vt.errors import UserError
from s2vt.features import domain
from s2vt.features.domain import Domain

M, N, D = 300, 5, 6  # D: gcd(6, 64) = 2 groups of 3 channels
SCALES = np.array([1.0, 10.0])


def medium(z):
    """Descriptors (N, D) whose averages over rows and groups are z (2,)."""
    rows = np.linspace(-1, 1, N)[:, None] + np.repeat(z, D // 2)
    return rows + np.tile([-1.0, 0, 1], 2)


@pytest.fixture(scope="module")
def z():
    return np.random.default_rng(3).normal(size=(M, 2)) * SCALES + 4


@pytest.fixture(scope="module")
def found(z):
    return Domain.of(z[:200], z[200:], medium)


def test_distance_by_hand():
    """Means 0, variances 2 and 8, covariance 0; shrinkage adds 0.01 of their mean, 5."""
    corners = [[2, 0], [-2, 0], [0, 4], [0, -4]] * 5
    found = Domain.of(np.array(corners, float), np.array([[2.0, 0]] * 20), medium)
    distance = np.sqrt(2**2 / (2 + 0.05) / 2)  # K = 2
    assert found.distance(medium(np.array([2.0, 0]))) == pytest.approx(distance)
    assert found.distance(medium(np.array([0, 4.0]))) == pytest.approx(np.sqrt(4**2 / (8 + 0.05) / 2))
    assert found.limit == pytest.approx(domain.MARGIN * distance)


def test_directions_that_vary_little_count_more(found):
    assert found.distance(medium(np.array([4.0 + 8, 4]))) > found.limit  # eight standard deviations
    assert found.distance(medium(np.array([4.0, 4 + 8]))) < found.limit  # less than one


def test_no_validation_medium_is_beyond_the_limit(found, z):
    distances = [found.distance(medium(row)) for row in z[200:]]
    assert max(distances) * domain.MARGIN == pytest.approx(found.limit)
    assert 0.8 < np.mean(np.square([found.distance(medium(row)) for row in z[:200]])) < 1  # less by shrinkage


def test_too_few_media_give_no_domain(z):
    few = domain.MIN_MEDIA - 1
    assert Domain.of(z[:few], z, medium) is None and Domain.of(z, z[:few], medium) is None


def test_media_that_are_all_equal():
    found = Domain.of([np.ones(2)] * 20, [np.ones(2)] * 20, medium)
    assert np.isfinite(found.limit) and found.distance(medium(np.array([2.0, 2]))) > found.limit


def test_only_some_training_media_are_read(z, monkeypatch):
    monkeypatch.setattr(domain, "MAX_TRAINING_MEDIA", 20)
    read = []
    Domain.of(range(200), range(200, 240), lambda i: read.append(i) or medium(z[i]))
    assert len(read) == 60 and read[0] == 0 and read[19] == 199


def test_a_run_warns_of_unlike_media(found, tmp_path):
    run = Run(tmp_path / "shapes")
    unlike, like = medium(np.array([40.0, 4])), medium(np.array([4.0, 4]))
    assert run.warning("photo.jpg", unlike) is None  # without the file
    write_json(run.domain_path, found.to_json())
    line = run.warning("photo.jpg", unlike)
    assert all(fact in line for fact in ("photo.jpg", "shapes", f"{found.limit:.2f}")) and "\n" not in line
    assert run.warning("photo.jpg", like) is None


@pytest.mark.parametrize("values", [3, {"mean": [0.0]}, {"mean": [0.0], "whitening": [1, 2], "limit": 3}])
def test_a_damaged_file_is_named(tmp_path, values):
    run = Run(tmp_path)
    write_json(run.domain_path, values)
    with pytest.raises(UserError, match="descriptor_statistics.json"):
        run.warning("photo.jpg", medium(np.zeros(2)))


@pytest.mark.parametrize("name", ["MovingShapes", "StillShapes"])
def test_the_shipped_runs_have_statistics(name):
    run = Run(Path(__file__).parents[1] / "experiments" / name)
    mean = np.repeat(read_json(run.domain_path)["mean"], 2048 // domain.NUM_GROUPS)[None]
    assert run.warning("the mean", mean) is None
    assert run.warning("zeros", np.zeros((1, 2048))) is not None
