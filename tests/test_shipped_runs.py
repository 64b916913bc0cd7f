"""The shipped captioners and backbone find what the words name in the first test media of the synthetic sets."""

import itertools
import shutil

import pytest
from conftest import ROOT

import cfg
from s2vt.captioning.runs import Run
from s2vt.data import datasets
from s2vt.evaluation.localization import ANNOTATIONS, LocalizationRequest, localize
from s2vt.features.descriptors import DescriptorStore
from s2vt.features.extraction import extract

pytestmark = pytest.mark.slow

NUM_CAPTIONS = 5  # of each medium: all of a picture, a third of a clip's


@pytest.mark.parametrize(("dataset", "num_media", "least"), [("StillShapes", 20, 0.85), ("MovingShapes", 20, 0.75)])
def test_the_shipped_captioner_finds_the_objects(shapes, tmp_path, monkeypatch, dataset, num_media, least):
    shutil.copytree(ROOT / "experiments" / dataset, tmp_path / dataset)  # scores are written into a run's folder
    run = Run(tmp_path / dataset)
    config = run.config()
    read = ANNOTATIONS[config.annotations]
    monkeypatch.setitem(ANNOTATIONS, config.annotations, lambda *medium: itertools.islice(read(*medium), NUM_CAPTIONS))

    media = datasets.select(datasets.read_media(config, shapes), "test", num_media)
    assert extract(DescriptorStore(config, shapes, "mixed_10"), media) == {}
    (scores,) = localize(LocalizationRequest((run,), (config,), shapes, ("nll",), limit=num_media))
    assert scores.media.startswith(f"{num_media} of ") and config.saliency == cfg.CONFIGS[dataset].saliency
    pointing = {row: average for row, (average, _) in scores.tallies["space"].averages().items()}
    assert pointing["nll"] > least > 0.3 > pointing["center"] > pointing["random"], pointing
    if dataset == "MovingShapes":
        moment, _ = scores.tallies["time: object"].averages()["nll"]
        assert moment > 0.85, moment
