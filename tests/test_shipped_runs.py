"""Shipped runs: they find what words name, in synthetic media and in a photograph; their files are fit to ship."""

import itertools
import re
import shutil
import sys

import h5py
import numpy as np
import pytest
from conftest import ROOT

import cfg
from s2vt import command_line
from s2vt.captioning.runs import Run, portable
from s2vt.data import datasets
from s2vt.data.files import read_json
from s2vt.evaluation.localization import ANNOTATIONS, LocalizationRequest, localize
from s2vt.features.descriptors import DescriptorStore
from s2vt.features.extraction import extract

pytestmark = pytest.mark.slow

LISTED = re.findall(r"^!/experiments/(.+)/$", (ROOT / ".gitignore").read_text(), re.MULTILINE)
SHIPPED = [run for run in (Run(ROOT / "experiments" / name) for name in LISTED) if run.exists()]
OF_REAL_MEDIA = [run for run in SHIPPED if run.config().features.weights != "inception-shapes"]
WITH_PIP = [run for run in OF_REAL_MEDIA if run.config().features.weights == "efficientnet-lite0"]

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


# --- the files ------------------------------------------------------------------------------------------------------


def size_of(run):
    """Bytes of the files of a run that are shipped."""
    names = ("README.md", "config.json", "vocabulary.json", "descriptor_statistics.json", "log.csv", "checkpoints/*")
    return sum(path.stat().st_size for name in names for path in run.folder.glob(name))


def weights_of(run):
    """The arrays of a run's best checkpoint."""
    arrays = []
    with h5py.File(run.checkpoint_path(run.checkpoint("best"))) as file:
        file.visititems(lambda name, item: arrays.append(item[()]) if isinstance(item, h5py.Dataset) else None)
    return arrays


@pytest.mark.parametrize("run", SHIPPED, ids=lambda run: run.name)
def test_a_shipped_run_is_whole_and_names_no_place_of_a_machine(run):
    record = read_json(run.folder / "config.json")
    assert portable(record)["config"] == record["config"] and portable(record)["command"] == record["command"]
    for path in run.folder.glob("**/*.[jcm][sd]*"):
        assert not re.search(r"(?<![\w:/.<])/(root|home|work|tmp|mnt|var|opt|Users)/", path.read_text()), path
    assert not (run.folder / "training_state.npz").exists()
    assert (len(run.vocabulary()),) in {array.shape for array in weights_of(run)}  # the bias of W_o
    run.captioner("best")  # its shapes are those of config.json and vocabulary.json
    assert size_of(run) <= 25e6


def test_the_captioners_of_real_media_are_in_half_precision_and_have_at_most_45_mb():
    for run in OF_REAL_MEDIA:
        assert {str(array.dtype) for array in weights_of(run) if array.dtype.kind == "f"} == {"float16"}, run.folder
    assert sum(map(size_of, OF_REAL_MEDIA)) <= 45e6


@pytest.mark.parametrize("run", OF_REAL_MEDIA, ids=lambda run: run.name)
def test_a_captioner_of_real_media_has_a_model_card(run):
    card = (run.folder / "README.md").read_text()
    headings = re.findall("^## (.*)$", card, re.MULTILINE)
    assert headings == ["Data", "Network", "Training", "Scores", "Limits"]
    num_words = len(run.vocabulary()) - 1  # END is none
    assert f"{num_words:,} words" in card and "Terms of use" in card
    assert "to be filled in" not in card.lower()


# --- a photograph ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "run", [run for run in OF_REAL_MEDIA if run.name == "Flickr30k-light"], ids=lambda run: run.name
)
def test_a_photograph_is_explained_without_a_data_set(run, tmp_path, monkeypatch, capsys):
    """The flag of scikit-image's astronaut is at the left edge, her face in the middle of the upper half."""
    from PIL import Image
    from skimage import data

    import visualization

    monkeypatch.chdir(tmp_path)
    Image.fromarray(data.astronaut()).save("photo.png")
    sys.argv = ["visualization.py", "--media", "photo.png", "--name", run.name, "--experiments_dir",
                str(run.folder.parent), "--sentence", "a woman in front of a flag", "--map", "alignment",
                "--output", "o.png", "--save_maps", "m.npz"]  # fmt: skip
    with pytest.raises(SystemExit) as exit:
        command_line.run(visualization.main)
    assert (exit.value.code, *capsys.readouterr()) == (0, "o.png\nm.npz\n", "")
    with np.load("m.npz") as maps:
        words, found = maps["words"].tolist(), maps["alignment"][:, 0]
    row, column = np.unravel_index(found[words.index("flag")].argmax(), found.shape[1:])
    assert column < 2
    row, column = np.unravel_index(found[words.index("woman")].argmax(), found.shape[1:])
    assert 2 <= column <= 5 and row <= 4
