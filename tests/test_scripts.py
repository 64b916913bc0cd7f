"""The three scripts, run for real on tiny data: what they write, and how they tell a user's mistake."""

import dataclasses
import json
import shutil
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

import cfg
from s2vt import command_line
from s2vt.data.files import read_json
from s2vt.data.sampling import sample_video
from s2vt.synthetic import writers as synthetic

pytestmark = pytest.mark.slow

SIZES = {"train": 4, "validate": 2, "test": 2}
STILL_SIZES = {"train": 4, "val": 2, "test": 2}


class Place:
    """A data folder, an experiments folder, and the scripts run on them in this process."""

    def __init__(self, folder):
        self.data, self.experiments = folder / "DATA", folder / "experiments"

    def run(self, script, *arguments, dataset="MovingShapes"):
        """Exit status of a script; the engine is loaded once for all of them."""
        module = __import__(script)
        sys.argv = [f"{script}.py", "--dataset", dataset, "--data_dir", str(self.data),
                    "--experiments_dir", str(self.experiments), *map(str, arguments)]  # fmt: skip
        with pytest.raises(SystemExit) as exit:
            command_line.run(module.main)
        return exit.value.code


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Both synthetic sets, tiny, through preprocessing.py and two epochs of run_s2vt.py --train."""
    argv = sys.argv
    place = Place(tmp_path_factory.mktemp("place"))
    synthetic.write_moving_shapes(place.data / "MovingShapes", SIZES)
    synthetic.write_still_shapes(place.data / "StillShapes", STILL_SIZES)
    assert place.run("preprocessing", "--split", "train", "--layer", "mixed_10") == 0  # training reads single cells
    for dataset in ("MovingShapes", "StillShapes"):
        assert place.run("preprocessing", dataset=dataset) == 0
        settings = ("training.epochs=2", "model.units=16", "text.min_count=1", "training.batch_size=16")
        assert place.run("run_s2vt", "--train", *(x for s in settings for x in ("--set", s)), dataset=dataset) == 0
    assert place.run("preprocessing", "--split", "test", "--layer", "mixed_10") == 0
    yield place
    sys.argv = argv


@pytest.fixture(autouse=True)
def argv(monkeypatch):
    monkeypatch.setattr(sys, "argv", sys.argv)


def line_of(capsys):
    """The one line that a mistake prints."""
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = [line for line in captured.err.splitlines() if line.strip()]
    assert len(lines) == 1 and "Traceback" not in lines[0], captured.err
    return lines[0]


# --- results


def test_training_leaves_a_run_that_can_be_repeated(place):
    folder = place.experiments / "MovingShapes"
    record = read_json(folder / "config.json")
    assert record["config"]["model"]["units"] == 16 and record["seed"] == 0
    assert record["weights"].startswith("sha256:") and record["versions"]["keras"] and "--train" in record["command"]
    assert read_json(folder / "vocabulary.json")["words"][0] == "."
    rows = (folder / "log.csv").read_text().splitlines()
    assert rows[0].split(",")[:2] == ["epoch", "loss"] and "val_METEOR" in rows[0] and len(rows) == 3
    assert sorted(p.name for p in (folder / "checkpoints").iterdir()) == [
        "0.weights.h5", "1.weights.h5", "scores.json",
    ]  # fmt: skip
    assert list((folder / "tensorboard").rglob("events*"))


def test_training_goes_on_where_it_stopped(place, tmp_path):
    whole = place.experiments / "MovingShapes"
    half = Place(tmp_path)
    half.data = place.data
    shutil.copytree(whole, half.experiments / "MovingShapes")
    folder = half.experiments / "MovingShapes"
    settings = ("training.epochs=2", "model.units=16", "text.min_count=1", "training.batch_size=16")
    settings = [x for s in settings for x in ("--set", s)]

    # Start again, and kill it in the second epoch.
    class Killed(Exception):
        pass

    from s2vt.captioning import training

    def die(self, epoch, logs=None):
        if epoch == 1:
            raise Killed

    begin = training._Progress.on_epoch_begin
    try:
        training._Progress.on_epoch_begin = lambda self, epoch, logs=None: (die(self, epoch), begin(self, epoch))
        with pytest.raises(Killed):
            half.run("run_s2vt", "--train", "--overwrite", *settings)
    finally:
        training._Progress.on_epoch_begin = begin
    assert sorted(p.name for p in (folder / "checkpoints").glob("*.h5")) == ["0.weights.h5"]
    assert half.run("run_s2vt", "--train", "--resume", *settings) == 0
    expected = np.genfromtxt(whole / "log.csv", delimiter=",", names=True)
    resumed = np.genfromtxt(folder / "log.csv", delimiter=",", names=True)
    np.testing.assert_allclose(resumed["loss"], expected["loss"], rtol=1e-4)
    np.testing.assert_allclose(resumed["val_loss"], expected["val_loss"], rtol=1e-4)


def test_test_scores_the_captions_in_cocos_formats(place, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(cfg, "ROOT", tmp_path)
    assert place.run("run_s2vt", "--test", "--checkpoint", "last", "--beam", 2) == 0
    out = capsys.readouterr().out
    assert "METEOR" in out and "CIDEr" in out and "2 media of test, beam 2" in out
    annotations = read_json(tmp_path / "coco-caption" / "annotations" / "MovingShapes_test.json")
    results = read_json(tmp_path / "coco-caption" / "results" / "MovingShapes_test_1_beam2.json")
    assert [r["image_id"] for r in results] == [i["id"] for i in annotations["images"]] == ["video6", "video7"]
    assert len(annotations["annotations"]) == 30
    scores = read_json(place.experiments / "MovingShapes" / "scores" / "captions_MovingShapes_test_1_beam2.json")
    assert set(scores["scores"]) == {"BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr"}


@pytest.mark.parametrize(
    ("dataset", "tables"), [("MovingShapes", {"space"}), ("StillShapes", {"space", "attention correctness"})]
)
def test_localize_prints_ours_beside_the_baselines(place, capsys, dataset, tables):
    assert place.run("run_s2vt", "--localize", dataset=dataset) == 0
    out = capsys.readouterr().out
    assert "| information loss |" in out and "| random |" in out and "| center |" in out and "Protocol: " in out
    best = cfg.ROOT and sorted((place.experiments / dataset / "scores").glob("localization_*_test_*.json"))[-1]
    found = read_json(best)["tables"]
    assert tables <= set(found)
    for table in found.values():
        assert table["scored"] > 0 or table["dropped"]
        for row in table["rows"].values():
            assert 0 <= row["average"] <= 1


@pytest.fixture(scope="module")
def attention_run(place):
    """A soft attention captioner of both sets, beside the two of `place`."""
    settings = ("training.epochs=1", "model.units=16", "model.attention_size=8", "text.min_count=1")
    settings = [x for s in settings for x in ("--set", s)]
    for dataset in ("MovingShapes", "StillShapes"):
        arguments = ("--train", "--model", "soft_attention", "--set", "training.batch_size=16", *settings)
        assert place.run("run_s2vt", *arguments, dataset=dataset) == 0
    return "soft_attention"


@pytest.mark.parametrize("dataset", ["MovingShapes", "StillShapes"])
def test_one_command_prints_a_table_of_all_captioners_and_maps(place, attention_run, capsys, dataset):
    names = dataset, f"{dataset}-{attention_run}"
    arguments = ("--localize", "--name", ",".join(names), "--map", "all", "--tolerance", 15, "--average", "class")
    assert place.run("run_s2vt", *arguments, "--center_crop", dataset=dataset) == 0
    out = capsys.readouterr().out
    for row in [f"{name}: {kind}" for name in names for kind in ("information loss", "kl")]:
        assert f"| {row} |" in out
    assert "tolerance 15 px" in out and "centre crop" in out and "unweighted mean" in out
    (path,) = (place.experiments / dataset / "scores").glob("localization_*+*.json")
    record = read_json(path)
    assert [row["map"] for row in record["rows"]] == ["information_loss", "kl"] * 2 + ["attention"]
    assert {row["model"] for row in record["rows"]} == {"s2vt", "soft_attention"}
    frame = "cells" if dataset == "MovingShapes" else "pooled"  # as training was
    expected = {"tolerance": 15, "average": "class", "resize": "center_crop", "spread": 0.75, "frame": frame}
    assert record["protocol"] == expected
    assert all(len(row["sha256"]) == 64 for row in record["rows"])
    attention = f"{names[1]}: attention"
    assert (attention in record["tables"]["space"]["rows"]) == (dataset == "StillShapes")
    assert (f"{attention}: not in the table of 'pointing game'" in out) == (dataset == "MovingShapes")
    assert not list(path.parent.glob("*.partial.json"))


def test_one_command_prints_the_captions_scores_of_all_captioners(place, attention_run, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(cfg, "ROOT", tmp_path)
    assert (
        place.run("run_s2vt", "--test", "--name", f"StillShapes,StillShapes-{attention_run}", dataset="StillShapes")
        == 0
    )
    out = capsys.readouterr().out
    assert "| StillShapes, checkpoint " in out and f"| StillShapes-{attention_run}, checkpoint " in out
    (path,) = (place.experiments / "StillShapes" / "scores").glob("captions_*+*.json")
    rows = read_json(path)["rows"]
    assert [row["model"] for row in rows] == ["s2vt", attention_run] and all("METEOR" in row["scores"] for row in rows)


def test_localize_goes_on_after_a_kill(place, capsys, monkeypatch):
    from s2vt.evaluation import localization

    class Killed(Exception):
        pass

    kept, done = localization.Record.save, []

    def save(self, number, medium, tallies):
        kept(self, number, medium, tallies)
        done.append(medium.id)
        if len(done) == 1:
            raise Killed

    monkeypatch.setattr(localization.Record, "save", save)
    with pytest.raises(Killed):
        place.run("run_s2vt", "--localize", "--map", "kl", dataset="StillShapes")
    folder = place.experiments / "StillShapes" / "scores"
    assert len(list(folder.glob("*_kl.partial.json"))) == 1
    assert place.run("run_s2vt", "--localize", "--map", "kl", dataset="StillShapes") == 0
    assert done == ["000006", "000007"]
    assert len(list(folder.glob("*_kl.json"))) == 1 and not list(folder.glob("*.partial.json"))
    assert "2 media of test" in capsys.readouterr().out


def test_a_video_is_explained(place, capsys, tmp_path):
    maps = tmp_path / "maps.npz"
    sentence = "a red circle moves to the left"
    words = read_json(place.experiments / "MovingShapes" / "vocabulary.json")["words"]
    sentence = " ".join(words[1:6])
    output = tmp_path / "out" / "clip.mp4"
    arguments = ("--media_id", "video6", "--sentence", sentence, "--output", output, "--save_maps", maps)
    assert place.run("visualization", *arguments, "--loss", "kl") == 0
    assert capsys.readouterr().out.split() == [str(output), str(output.with_name("clip_storyboard.png")), str(maps)]
    clip = sample_video(output, 75)
    assert (clip.num_frames, clip.frame_rate) == (75, Fraction(25))
    assert Image.open(output.with_name("clip_storyboard.png")).width > 600
    with np.load(maps, allow_pickle=False) as arrays:
        assert arrays["words"].tolist() == words[1:6]
        assert arrays["loss"].shape == (5, 26, 8, 8) and arrays["loss_pooled"].shape == (5, 26)
        assert arrays["kl"].shape == (26, 5) and (arrays["kl"] >= 0).all() and (arrays["loss"] >= 0).all()
        np.testing.assert_allclose(arrays["frame_times"][[0, -1]], [0, 2.96], atol=1e-6)
        assert json.loads(str(arrays["geometry"]))["width"] == 320


def test_ones_own_file_gives_the_same_maps_as_the_data_sets(place, capsys, tmp_path):
    """Two roads: cached descriptors, and the network on the spot."""
    sentence = " ".join(read_json(place.experiments / "StillShapes" / "vocabulary.json")["words"][1:4])
    copy = tmp_path / "my picture.jpg"
    shutil.copy(place.data / "StillShapes" / "flickr30k-images" / "000006.jpg", copy)
    for name, source in {"a": ("--media_id", "000006"), "b": ("--media", copy)}.items():
        arguments = (*source, "--sentence", sentence, "--output", tmp_path / f"{name}.png", "--save_maps")
        assert place.run("visualization", *arguments, tmp_path / f"{name}.npz", dataset="StillShapes") == 0
    with np.load(tmp_path / "a.npz") as a, np.load(tmp_path / "b.npz") as b:
        assert a["loss"].shape == (3, 1, 8, 8)
        np.testing.assert_allclose(a["loss"], b["loss"], atol=0.02)


def test_without_a_sentence_the_models_own_caption_is_explained(place, capsys):
    status = place.run("visualization", "--media_id", "000007", dataset="StillShapes")
    captured = capsys.readouterr()
    if status == 2:  # two epochs may not have taught it to say anything
        assert "own caption of this medium is empty" in captured.err
    else:
        path = place.experiments / "StillShapes" / "saliency" / "000007.png"
        assert captured.out.strip() == str(path) and Image.open(path).width > 300


def test_an_interrupted_extraction_goes_on(place, capsys):
    folder = place.data / "MovingShapes" / "descriptors" / "inception-shapes" / "pool_3"
    before = (folder / "video6.npy").read_bytes()
    (folder / "video6.npy").unlink()
    assert place.run("preprocessing") == 0
    assert "8 of 8 media have pool_3 descriptors" in capsys.readouterr().out
    assert (folder / "video6.npy").read_bytes() == before


def test_media_that_cannot_be_decoded_are_listed_and_the_rest_is_done(place, capsys, tmp_path):
    other = Place(tmp_path)
    shutil.copytree(place.data / "StillShapes", other.data / "StillShapes")
    images = other.data / "StillShapes" / "flickr30k-images"
    shutil.rmtree(other.data / "StillShapes" / "descriptors")
    (images / "000006.jpg").write_bytes((images / "000006.jpg").read_bytes()[:300])
    assert other.run("preprocessing", "--split", "test", dataset="StillShapes") == 1
    captured = capsys.readouterr()
    assert "1 of 2 media have mixed_10 descriptors" in captured.out
    assert captured.err.splitlines()[-1].startswith("000006: ")


# --- mistakes of the user


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        ("run_s2vt", ("--test", "--checkpoint", "7"), "no checkpoint '7'.*there are: 0, 1"),
        ("run_s2vt", ("--test", "--checkpoint", "-1"), "no checkpoint"),
        ("run_s2vt", ("--test", "--name", "other"), "no run 'other'.*there are: MovingShapes"),
        ("run_s2vt", ("--test", "--name", "../x"), "not a plain name"),
        ("run_s2vt", ("--test", "--split", "validate"), "no media in split 'validate'; there are: test, train, val"),
        ("run_s2vt", ("--train",), "exists; add --resume"),
        ("run_s2vt", ("--train", "--resume"), "trained with another config"),
        ("run_s2vt", ("--train", "--set", "model.units=x"), "expected int"),
        ("run_s2vt", ("--train", "--name", "new", "--weights", "imagenet"), "no descriptors in .*run: python prepro"),
        ("run_s2vt", ("--localize", "--split", "val"), "no mixed_10 descriptors of video4; run: .*--split val --layer"),
        ("run_s2vt", ("--test", "--beam", "0"), "expected 1 or more"),
        (
            "run_s2vt",
            ("--localize", "--map", "attention"),
            "has no attention maps, .* s2vt; it can give information_loss",
        ),
        ("run_s2vt", ("--localize", "--map", "kl,gradient"), "expected all, or some of information_loss, kl, att"),
        ("run_s2vt", ("--localize", "--map", "kl,kl"), "each once"),
        ("run_s2vt", ("--localize", "--tolerance", "-1"), "expected source pixels, 0 or more"),
        ("run_s2vt", ("--localize", "--name", "MovingShapes,MovingShapes"), "expected each run once"),
        ("run_s2vt", ("--train", "--name", "a,b"), "expected one run"),
        ("run_s2vt", ("--test", "--model", "mean_pool"), "no run 'MovingShapes-mean_pool' in .*; there are: "),
        (
            "run_s2vt",
            ("--test", "--model", "mean_pool", "--name", "MovingShapes"),
            "was trained as s2vt, not mean_pool",
        ),
        ("run_s2vt", ("--train", "--model", "transformer"), "invalid choice: 'transformer'"),
        ("run_s2vt", ("--train", "--set", "model.gate=open"), "expected one of none, beta"),
        ("run_s2vt", (), "one of the arguments --train --test --localize is required"),
        ("preprocessing", ("--weights", "no.npz"), "no weights 'no.npz'; expected imagenet, inception-2015"),
        ("preprocessing", ("--batch_size", "0"), "expected a positive number"),
        ("preprocessing", ("--split", "tset"), "there are: test, train, val"),
        ("visualization", ("--media_id", "video66"), "no medium 'video66'; nearest: video6.*there are 8"),
        ("visualization", ("--media_id", "video6", "--sentence", ""), "the sentence has no words"),
        ("visualization", ("--media_id", "video6", "--sentence", "a " * 26), "at most 25"),
        ("visualization", ("--media_id", "video6", "--sentence", "a rde zebra"), r"'rde' \(nearest: "),
        ("visualization", ("--media_id", "video6", "--output", f"{cfg.ROOT}/cfg.py/y.mp4"), "cannot be written"),
        ("visualization", ("--media_id", "video6", "--output", "y.avi"), "ends in .mp4"),
        ("visualization", ("--media_id", "video6", "--save_maps", "y.txt"), "ends in .npz"),
        ("visualization", ("--media", "nowhere.mp4"), "nowhere.mp4"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(place, capsys, script, arguments, message):
    import re

    before = sorted(str(path) for path in place.experiments.rglob("*"))
    assert place.run(script, *arguments) == 2
    assert re.search(message, line_of(capsys))
    assert sorted(str(path) for path in place.experiments.rglob("*")) == before


@pytest.mark.parametrize("content", [b"", b"this is no video", None])
def test_a_corrupt_clip_is_one_line_and_nothing_is_written(place, capsys, tmp_path, content):
    path = tmp_path / "broken.mp4"
    whole = (place.data / "MovingShapes" / "TestVideo" / "video6.mp4").read_bytes()
    path.write_bytes(whole[: len(whole) // 3] if content is None else content)
    assert place.run("visualization", "--media", path, "--output", tmp_path / "out.mp4") == 2
    assert "broken.mp4" in line_of(capsys)
    assert not (tmp_path / "out.mp4").exists()


def test_an_unknown_data_set_lists_those_there_are(place, capsys):
    assert place.run("preprocessing", dataset="MSRVTT") == 2
    assert "no data set 'MSRVTT'; expected one of MSR-VTT, Flickr30k" in line_of(capsys)


def test_descriptors_of_other_weights_are_refused(place, capsys, monkeypatch, tmp_path):
    other = tmp_path / "inception-shapes.npz"
    other.write_bytes(b"another network")
    monkeypatch.setitem(cfg.SHIPPED_WEIGHTS, "inception-shapes", other)
    assert place.run("run_s2vt", "--test") == 2
    assert "the config asks for sha256:" in line_of(capsys)


def test_weights_other_than_the_runs_are_refused(place, capsys):
    assert place.run("run_s2vt", "--test", "--weights", "imagenet") == 2
    assert "was trained with weights inception-shapes, not imagenet" in line_of(capsys)


@pytest.mark.parametrize("script", ["preprocessing", "run_s2vt", "visualization"])
def test_help_imports_no_engine(script):
    code = (
        "import sys, runpy; sys.argv = ['x', '--help']; heavy = {'numpy', 'keras', 'tensorflow', 'av', 'PIL'}\n"
        f"try: runpy.run_path('{cfg.ROOT / script}.py', run_name='__main__')\n"
        "except SystemExit as e: print(e.code, sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=cfg.ROOT, check=False)
    assert result.stdout.splitlines()[-1] == "0 []", result.stderr
    assert "--dataset" in result.stdout


def test_a_script_run_from_the_shell(place):
    """The exit status and the one line as a shell sees them."""
    command = [sys.executable, str(cfg.ROOT / "visualization.py"), "--dataset", "MovingShapes", "--media_id", "none",
               "--data_dir", str(place.data), "--experiments_dir", str(place.experiments)]  # fmt: skip
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    lines = [line for line in result.stderr.splitlines() if "absl" not in line and line[:1] not in "IWE"]
    assert len(lines) == 1 and lines[0].startswith("visualization.py: no medium 'none'")


def test_the_config_of_a_run_is_its_own(place):
    run_config = cfg.load(place.experiments / "StillShapes" / "config.json")
    assert run_config == dataclasses.replace(
        cfg.STILL_SHAPES,
        model=dataclasses.replace(cfg.STILL_SHAPES.model, units=16),
        text=dataclasses.replace(cfg.STILL_SHAPES.text, min_count=1),
        training=dataclasses.replace(cfg.STILL_SHAPES.training, epochs=2, batch_size=16),
    )
