"""Fixtures that several test files share."""

import gzip
import multiprocessing
import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

import cfg

ROOT = Path(cfg.__file__).parent

# The same examples in every run; others with `pytest --hypothesis-profile default`.
settings.register_profile("steady", derandomize=True)
settings.load_profile("steady")

# Of the extra hugging-face: without it, the search for doctests cannot import them.
collect_ignore = ["tiny_transformers.py", "hugging_face/train_still_shapes.py"]

PRELOADED = [
    "keras", "tensorflow", "PIL.Image", "s2vt.captioning.captioners", "s2vt.captioning.fitting",
    "s2vt.captioning.testing", "s2vt.evaluation.localization", "s2vt.explaining.explain",
    "s2vt.saliency.information_loss", "processes",
]  # fmt: skip


@pytest.fixture(scope="session")
def server():
    """Starts processes that have the engine already."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(Path(__file__).parent)]))
        patch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
        patch.setenv("TF_NUM_INTRAOP_THREADS", "1")
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        multiprocessing.forkserver.ensure_running()
        yield context
        multiprocessing.forkserver._forkserver._stop()


@pytest.fixture(scope="session")
def shapes(tmp_path_factory):
    """A folder of data sets with the first 20 test media of StillShapes and of MovingShapes."""
    from s2vt.synthetic.__main__ import main

    folder = tmp_path_factory.mktemp("shapes")
    for dataset in ("StillShapes", "MovingShapes"):
        assert main(["--dataset", dataset, "--split", "test", "--limit", "20", "--data_dir", str(folder)]) == 0
    return folder


@pytest.fixture(scope="session")
def light_meteor_command(tmp_path_factory):
    """METEOR's command with a single paraphrase, in a folder with a space and an accent, instead of 60 MB of them."""
    from s2vt.captioning import java

    paraphrases = tmp_path_factory.mktemp("déjà vu") / "one paraphrase.gz"
    paraphrases.write_bytes(gzip.compress(b"0.5\na couple of\ntwo\n"))
    return [*java._meteor_command()[:-1], str(paraphrases)]


@pytest.fixture(scope="session")
def meteor(light_meteor_command):
    """A running METEOR with a single paraphrase."""
    from s2vt.captioning import java

    with java.MeteorScorer() as scorer:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(java, "_meteor_command", lambda: light_meteor_command)
            scorer.score_tokens({1: ["a"]}, {1: "a"})
        yield scorer


@pytest.fixture(scope="module")
def training_place(tmp_path_factory):
    """A `small_runs.Place` with data and descriptors, where runs can be trained in this process."""
    from processes import stand_in  # these load the engine
    from small_runs import Place

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [])
        stand_in(patch.setattr)
        yield Place(tmp_path_factory.mktemp("place")).write()
