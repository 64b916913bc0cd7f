"""The three scripts on tiny synthetic sets, without stand-ins but for METEOR's paraphrases: what they print and write.

Training and resuming in detail: test_runs; localization: test_localized_runs; drawings: test_visualization; damaged
input: test_bad_input; kills: test_kill.
"""

import dataclasses
import json
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cfg
from s2vt import command_line, config
from s2vt.captioning import java
from s2vt.captioning.decoding import caption_media
from s2vt.captioning.runs import Run, new_model
from s2vt.data import datasets
from s2vt.data.files import read_json, write_json
from s2vt.data.sampling import sample_video
from s2vt.features.descriptors import DescriptorStore
from s2vt.synthetic import writers

pytestmark = pytest.mark.slow

ROOT = Path(cfg.__file__).parent
SIZES = {"MovingShapes": {"train": 2, "validate": 1, "test": 2}, "StillShapes": {"train": 4, "val": 2, "test": 2}}
WRITE = {"MovingShapes": writers.write_moving_shapes, "StillShapes": writers.write_still_shapes}
FEATURES = ("--set", "features.num_frames=4")
SETTINGS = ("training.epochs=2", "model.units=16", "model.embedding_size=8", "text.min_count=1",
            "training.batch_size=16", "model.attention_size=8")  # fmt: skip


class Place:
    """A folder of data sets, a folder of runs, and the scripts, run in this process."""

    def __init__(self, folder):
        self.folder, self.data, self.experiments = folder, folder / "DATA", folder / "experiments"

    def arguments(self, script, *arguments, dataset="MovingShapes"):
        places = ("--data_dir", self.data, "--experiments_dir", self.experiments)
        return [f"{script}.py", "--dataset", dataset, *map(str, (*places, *arguments))]

    def run(self, script, *arguments, dataset="MovingShapes"):
        """The exit status of a script."""
        sys.argv = self.arguments(script, *arguments, dataset=dataset)
        with pytest.raises(SystemExit) as exit:
            command_line.run(__import__(script).main)
        return exit.value.code

    def train(self, dataset, *arguments):
        settings = [word for setting in SETTINGS for word in ("--set", setting)]
        return self.run("run_s2vt", "--train", *settings, *FEATURES, *arguments, dataset=dataset)


@pytest.fixture(scope="module")
def place(tmp_path_factory, light_meteor_command):
    """Both sets through preprocessing.py and two epochs of run_s2vt.py --train."""
    import run_s2vt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", sys.argv)
        patch.setattr(java, "_meteor_command", lambda: light_meteor_command)
        place = Place(tmp_path_factory.mktemp("place"))
        patch.setattr(run_s2vt, "COCO_FOLDER", place.folder / "coco-caption")
        for dataset, write in WRITE.items():
            write(place.data / dataset, SIZES[dataset], processes=1)
            assert place.run("preprocessing", "--layer", "mixed_10", *FEATURES, dataset=dataset) == 0
            assert place.train(dataset) == 0
        yield place


def line_of(capsys):
    """The one line that a mistake prints."""
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1, captured.err
    return captured.err


# --- results ----------------------------------------------------------------------------------------------------------


def test_training_leaves_a_run_that_can_be_repeated(place):
    folder = place.experiments / "MovingShapes"
    record = read_json(folder / "config.json")
    assert record["config"]["model"]["units"] == 16 and record["seed"] == 0
    assert record["weights"].startswith("sha256:") and record["versions"]["keras"] and "--train" in record["command"]
    assert read_json(folder / "vocabulary.json")["words"][0] == "."
    rows = (folder / "log.csv").read_text().splitlines()
    assert rows[0].split(",")[:2] == ["epoch", "loss"] and "val_METEOR" in rows[0] and len(rows) == 3
    names = {path.name for path in (folder / "checkpoints").iterdir()}
    assert names == {"0.weights.h5", "1.weights.h5", "scores.json"}
    assert list((folder / "tensorboard").rglob("events*"))
    trained = config.record(folder / "config.json")["config"]
    settings = [setting for setting in (*SETTINGS, FEATURES[1])]
    assert trained == cfg.MOVING_SHAPES.replace(settings)


def test_test_scores_the_captions_and_writes_cocos_formats(place, capsys):
    assert place.run("run_s2vt", "--test", "--checkpoint", "last", "--beam", 2) == 0
    out = capsys.readouterr().out
    path = place.experiments / "MovingShapes" / "scores" / "captions_MovingShapes_test_1_beam2.json"
    scores = read_json(path)["scores"]
    assert set(scores) == {"BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr"}
    row = next(line for line in out.splitlines() if line.startswith("| MovingShapes, checkpoint 1 |"))
    assert f"| {100 * scores['METEOR']:.1f} |" in row and f"2 media of test, beam 2; {path}" in out
    folder = place.folder / "coco-caption"
    annotations = read_json(folder / "annotations" / "MovingShapes_test.json")
    results = read_json(folder / "results" / "MovingShapes_test_1_beam2.json")
    assert [r["image_id"] for r in results] == [i["id"] for i in annotations["images"]] == ["video3", "video4"]


@pytest.mark.parametrize(
    ("dataset", "tables"),
    [
        ("MovingShapes", {"space": "center", "time: object": "middle", "time: event": "middle"}),
        (
            "StillShapes",
            {
                "space": "center",
                "attention correctness": "uniform",
                "attention correctness, mean of words": "uniform",
                "attention correctness, phrase": "uniform",
            },
        ),
    ],
)
def test_localize_prints_the_scores_that_it_writes(place, capsys, dataset, tables):
    """Each printed average is that of the JSON file; the baselines' are those that geometry allows."""
    assert place.run("run_s2vt", "--localize", "--checkpoint", 1, dataset=dataset) == 0
    out = capsys.readouterr().out
    path = place.experiments / dataset / "scores" / f"localization_{dataset}_test_1_ours.json"
    assert f"Protocol ours; all 2 media of test, {dataset} checkpoint 1; {path}" in out
    found = read_json(path)["tables"]
    assert set(found) == set(tables)
    printed = [line.split("|")[1:-1] for line in out.splitlines() if line.startswith("| ")]
    averages = {(row[0].strip(), cell.strip()) for row in printed for cell in row[1:]}
    for name, baseline in tables.items():
        table = found[name]
        assert {"nll", baseline} <= set(table["rows"])
        if table["scored"]:
            for row, values in table["rows"].items():
                assert 0 <= values["average"] <= 1 and (row, f"{values['average']:.3f}") in averages
    assert found["space"]["scored"] > 5 and 0.02 < found["space"]["rows"]["random"]["average"] < 0.5


def test_one_command_compares_captioners_and_maps(place, capsys):
    """A trained S2VT, and an untrained captioner with attention."""
    untrained(place.experiments / "StillShapes", place.experiments / "StillShapes-soft_attention", "soft_attention")
    names = "StillShapes", "StillShapes-soft_attention"
    of_losses = ("nll", "kl", "likelihood", "logit", "contrast", "banzhaf", "gradient", "ceb")
    maps = ",".join([*of_losses, "attention"])
    arguments = ("--localize", "--name", ",".join(names), "--map", maps, "--tolerance", 15, "--average", "class")
    assert place.run("run_s2vt", *arguments, "--center_crop", dataset="StillShapes") == 0
    out = capsys.readouterr().out
    rows = [f"{name}: {kind}" for name in names for kind in of_losses] + [f"{names[1]}: attention"]
    assert all(f"| {row} |" in out for row in rows)
    (path,) = (place.experiments / names[0] / "scores").glob("localization_*+*.json")
    record = read_json(path)
    assert [(row["model"], row["map"]) for row in record["rows"]] == [
        *(("s2vt", kind) for kind in of_losses), *(("soft_attention", kind) for kind in (*of_losses, "attention")),
    ]  # fmt: skip
    evaluation = config.EvaluationConfig(tolerance=15.0, average="class", region="center_crop")
    of_maps = dataclasses.asdict(evaluation)
    del of_maps["faithfulness"]
    assert of_maps.items() <= record["protocol"].items()


def untrained(folder, new, model):
    """A run like that in `folder`, of another captioner with its initial weights."""
    record = read_json(folder / "config.json")
    record["config"]["model"]["name"] = model
    write_json(new / "config.json", record)
    shutil.copy(folder / "vocabulary.json", new)
    write_json(new / "checkpoints" / "scores.json", {"0": 0.5})
    new_model(Run(new).config(), Run(new).vocabulary()).save_weights(new / "checkpoints" / "0.weights.h5")


def test_a_video_is_explained(place, capsys, tmp_path):
    maps, output = tmp_path / "maps.npz", tmp_path / "out" / "clip.mp4"
    words = read_json(place.experiments / "MovingShapes" / "vocabulary.json")["words"][1:6]
    arguments = ("--media_id", "video3", "--sentence", " ".join(words), "--output", output, "--save_maps", maps)
    assert place.run("visualization", *arguments, "--map", "kl", "--size", "640x480", "--stride", 5) == 0
    assert capsys.readouterr().out.split() == [str(output), str(output.with_name("clip_storyboard.png")), str(maps)]
    clip = sample_video(output, 4)
    assert (clip.num_frames, clip.frame_rate) == (15, Fraction(5))
    assert Image.open(output.with_name("clip_storyboard.png")).width > 600
    with np.load(maps, allow_pickle=False) as arrays:
        assert arrays["words"].tolist() == words
        assert arrays["kl"].shape == (5, 4, 8, 8) and arrays["frame_kl"].shape == (5, 4)
        assert (arrays["kl"] >= 0).all() and arrays["kl"].std() > 0
        np.testing.assert_allclose(arrays["frame_times"][[0, -1]], [0, 2.96], atol=1e-6)
        assert json.loads(str(arrays["geometry"]))["width"] == 320


def test_ones_own_file_gives_the_same_maps_as_the_data_sets(place, tmp_path):
    """Descriptor files, and the network on the spot."""
    sentence = " ".join(read_json(place.experiments / "StillShapes" / "vocabulary.json")["words"][1:4])
    copy = tmp_path / "my picture.jpg"
    shutil.copy(place.data / "StillShapes" / "flickr30k-images" / "000006.jpg", copy)
    for name, source in {"a": ("--media_id", "000006"), "b": ("--media", copy)}.items():
        arguments = (*source, "--sentence", sentence, "--output", tmp_path / f"{name}.png", "--save_maps")
        assert place.run("visualization", *arguments, tmp_path / f"{name}.npz", dataset="StillShapes") == 0
    with np.load(tmp_path / "a.npz") as a, np.load(tmp_path / "b.npz") as b:
        assert a["nll"].shape == (3, 1, 8, 8) and a["nll"].std() > 0
        np.testing.assert_allclose(a["nll"], b["nll"], atol=0.02)


def test_without_a_sentence_the_captioners_own_caption_is_explained(place, capsys, tmp_path):
    """With the shipped captioner, whose caption is that of `--test`."""
    run, maps = Run(ROOT / "experiments" / "StillShapes"), tmp_path / "m.npz"
    arguments = ("--experiments_dir", run.folder.parent, "--media_id", "000007", "--output", tmp_path / "o.png")
    assert place.run("visualization", *arguments, "--save_maps", maps, dataset="StillShapes") == 0
    medium = datasets.read_media(run.config(), place.data)["000007"]
    store = DescriptorStore(run.config(), place.data)
    captions = caption_media(run.captioner("best")[0], run.vocabulary(), [medium], store, run.config())
    with np.load(maps) as arrays:
        words = arrays["words"].tolist()
    assert " ".join(words) == captions["000007"] and len(words) > 4
    assert set(words) & set(" ".join(medium.captions).split()) > {"a"}
    assert capsys.readouterr().out.split() == [str(tmp_path / "o.png"), str(maps)]


def test_extraction_computes_what_is_missing(place, capsys):
    folder = place.data / "MovingShapes" / "descriptors" / "inception-shapes" / "pool_3"
    before = (folder / "video3.npy").read_bytes()
    (folder / "video3.npy").unlink()
    assert place.run("preprocessing", *FEATURES) == 0
    assert "5 of 5 media have pool_3 descriptors" in capsys.readouterr().out
    assert (folder / "video3.npy").read_bytes() == before


# --- from the shell ---------------------------------------------------------------------------------------------------


def from_shell(place, *arguments):
    command = [sys.executable, *place.arguments(*arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_nothing_but_the_programs_words_reach_the_terminal(place, tmp_path):
    sentence = read_json(place.experiments / "MovingShapes" / "vocabulary.json")["words"][1]
    output = tmp_path / "o.png"
    result = from_shell(place, "visualization", "--media_id", "video3", "--sentence", sentence, "--output", output)
    assert (result.returncode, result.stdout, result.stderr) == (0, f"{output}\n", "")


def test_a_mistake_is_one_line_and_status_2_in_the_shell(place):
    result = from_shell(place, "visualization", "--media_id", "none")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("visualization.py: no medium 'none'") and result.stderr.count("\n") == 1


# --- mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "arguments", "facts"),
    [
        ("run_s2vt", ["--test", "--checkpoint", "7"], ["'7'", "0, 1"]),
        ("run_s2vt", ["--test", "--checkpoint", "-1"], ["'-1'"]),
        ("run_s2vt", ["--test", "--name", "other"], ["'other'", "MovingShapes"]),
        ("run_s2vt", ["--test", "--name", "../x"], ["'../x'", "plain name"]),
        ("run_s2vt", ["--test", "--split", "validate"], ["'validate'", "test, train, val"]),
        ("run_s2vt", ["--test", "--beam", "0"], ["--beam 0", "1 or more"]),
        ("run_s2vt", ["--test", "--model", "mean_pool"], ["'MovingShapes-mean_pool'"]),
        ("run_s2vt", ["--test", "--model", "mean_pool", "--name", "MovingShapes"], ["model.name=s2vt", "mean_pool"]),
        ("run_s2vt", ["--test", "--weights", "efficientnet-lite0"], ["inception-shapes", "2048", "1280"]),
        ("run_s2vt", ["--train"], ["exists", "--resume", "--overwrite", "--name"]),
        ("run_s2vt", ["--train", "--resume"], ["model.units=16", "256"]),
        ("run_s2vt", ["--train", "--name", "a,b"], ["a,b", "one run"]),
        ("run_s2vt", ["--train", "--name", "new", "--weights", "imagenet"], ["no descriptors", "preprocessing.py"]),
        ("run_s2vt", ["--train", "--model", "gru"], ["gru", "soft_attention"]),
        ("run_s2vt", ["--localize", "--map", "attention"], ["attention", "s2vt", "nll, kl"]),
        ("run_s2vt", ["--localize", "--map", "kl,heat"], ["kl,heat", "nll, kl, likelihood"]),
        ("run_s2vt", ["--localize", "--map", "kl,kl"], ["each once"]),
        ("run_s2vt", ["--localize", "--protocol", "theirs"], ["--protocol theirs", "paper, ours, release, torchray"]),
        ("run_s2vt", ["--train", "--baselines_only"], ["--baselines_only is for --localize"]),
        ("run_s2vt", ["--localize", "--baselines_only", "--name", "MovingShapes"], ["has no --name"]),
        ("run_s2vt", ["--localize", "--pixels"], ["--pixels is for --faithfulness and --sanity"]),
        ("run_s2vt", ["--sanity", "--set", "saliency.eb_layer=17x17"], ["--sanity", "eb_layer=17x17", "mixed_10"]),
        ("run_s2vt", ["--faithfulness", "--protocol", "release"], ["--protocol release", "ours, paper or torchray"]),
        ("run_s2vt", ["--sanity", "--map", "attention"], ["attention", "s2vt", "nll, kl"]),
        ("run_s2vt", ["--localize", "--tolerance", "-1"], ["--tolerance -1", "0 or more"]),
        ("run_s2vt", ["--localize", "--average", "picture"], ["--average picture", "phrase, class"]),
        ("run_s2vt", ["--localize", "--name", "MovingShapes,MovingShapes"], ["each run once"]),
        ("run_s2vt", [], ["--train --test --localize"]),
        ("preprocessing", ["--weights", "no.npz"], ["'no.npz'", "imagenet, inception-2015"]),
        ("preprocessing", ["--batch_size", "0"], ["--batch_size 0", "1 or more"]),
        ("preprocessing", ["--split", "tset"], ["'tset'", "test, train, val"]),
        ("preprocessing", ["--limit", "-3"], ["--limit -3", "1 or more"]),
        ("preprocessing", ["--set", "features.num_frames=5"], ["num_frames 4", "--overwrite"]),
        ("visualization", ["--media_id", "video33"], ["'video33'", "video3"]),
        ("visualization", [], ["--media_id", "--media"]),
    ],
)
def test_a_mistake_is_one_line_and_status_2(place, capsys, script, arguments, facts):
    before = sorted(str(path) for path in place.folder.rglob("*"))
    assert place.run(script, *arguments) == 2
    line = line_of(capsys)
    assert all(fact in line for fact in facts), line
    assert sorted(str(path) for path in place.folder.rglob("*")) == before


def test_an_unknown_data_set_lists_those_there_are(place, capsys):
    assert place.run("preprocessing", dataset="MSRVTT") == 2
    line = line_of(capsys)
    assert "'MSRVTT'" in line and "MSR-VTT, Flickr30k" in line
