"""The benchmarks at tiny sizes: every stage runs, and both procedures give the same numbers before they are timed."""

import json
import sys

import numpy as np
import pytest
from PIL import Image

from benchmarks import __main__ as benchmarks
from benchmarks import (
    extraction,
    grouping,
    release,
    rendering,
    rounding,
    saliency,
    scaling,
    scoring,
    sentences,
    timing,
    training,
)
from s2vt.captioning.decoding import greedy
from s2vt.data.files import write_json
from s2vt.data.video_writer import VideoWriter
from s2vt.errors import UserError
from s2vt.saliency.information_loss import video_saliency

TINY = {"V": 11, "H": 5, "E": 4, "D": 3}


def captioner_of_large_weights(seed, **sizes):
    captioner = saliency.random_captioner(**sizes)
    rng = np.random.default_rng(seed)
    for variable in captioner.trainable_variables:
        variable.assign(rng.normal(size=variable.shape))
    return captioner


@pytest.fixture(scope="module")
def captioner():
    return captioner_of_large_weights(1, **TINY)


def test_the_releases_procedure_gives_the_same_numbers(captioner):
    cells, pooled = saliency.random_clip(m=2, D=3)
    y = [4, 1, 10, 4]
    (found,) = video_saliency(captioner.encode, captioner.step, cells, pooled, [y])
    theirs = release.video_saliency(captioner, cells, pooled, y, max_words=6)
    assert theirs.shape == (4, 2 * 64 + 2)
    np.testing.assert_allclose(theirs[:, :128].reshape(4, 2, 8, 8), found.loss, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(theirs[:, 128:], found.loss_pooled, rtol=1e-4, atol=1e-5)


def test_the_releases_captions_are_ours():
    captioner = captioner_of_large_weights(20, **{**TINY, "V": 7})
    v = 3 * np.random.default_rng(4).normal(size=(5, 6, 3)).astype("float32")
    found = release.captions(captioner, v, max_words=9)
    assert found == greedy(captioner, v, 9)
    assert len({len(words) for words in found}) > 1


def test_the_releases_logits_are_ours(captioner):
    v = np.random.default_rng(2).normal(size=(2, 6, 3)).astype("float32")
    y = np.array([[4, 10, 5, 0], [2, 0, 0, 0]], "int32")
    found = np.asarray(release.caption_logits(captioner, v, y))
    np.testing.assert_allclose(found, np.asarray(captioner({"v": v, "y": y})), rtol=1e-4, atol=1e-5)


def test_training_states_each_set(monkeypatch):
    monkeypatch.setattr(training, "gemm", lambda: lambda: None)
    monkeypatch.setattr(training, "SETS", {"tiny": (4, 11, (5.0, 2.0))})
    (row,) = training.measure(repeats=1, captions=6, captions_per_medium=3, H=5, E=4, D=3).values()
    assert row["captions/s"] == pytest.approx(6 / row["seconds"]) and row["times the release"] > 0


def test_a_training_batch_is_of_the_size_asked_for():
    batch = training.random_batch(200, 5, N=4, V=1000, D=3, words=(9.4, 4.4))
    assert batch["v"].shape == (40, 4, 3) and len(batch["y"]) == 200
    lengths = (batch["words"] >= 0).sum() / 200 - 1
    assert abs(lengths - 9.4) < 0.8


class Colour:
    """A network that gives every cell its picture's mean colour; counts the pictures of each of its calls."""

    def __init__(self):
        self.network, self.calls = self, []

    def predict_on_batch(self, pictures):
        self.calls.append(len(pictures))
        return np.broadcast_to(pictures.mean(axis=(1, 2))[:, None] / 255, (len(pictures), 64, 3))


def test_the_releases_extraction_is_one_picture_a_call(tmp_path):
    with VideoWriter(tmp_path / "clip.mp4", 64, 48, 25) as video:
        for k in range(9):
            video.write(np.full((48, 64, 3), 25 * k, np.uint8))
    colour = Colour()
    found = release.cells(tmp_path / "clip.mp4", colour, num_frames=3)
    assert found.shape == (3, 64, 3) and colour.calls == [1, 1, 1]
    np.testing.assert_allclose(255 * found[:, 0, 1], [0, 100, 200], atol=4)
    Image.fromarray(np.full((30, 40, 3), 77, np.uint8)).save(tmp_path / "picture.png")
    np.testing.assert_allclose(255 * release.cells(tmp_path / "picture.png", colour), 77, atol=2)


def test_errors_by_hand():
    found, expected = np.array([[3.0, 4.0], [0.0, 2.0]]), np.array([[3.0, 4.5], [0.0, 1.0]])
    largest, rms = extraction.errors(found, expected)
    assert largest == 1 and rms == pytest.approx(np.sqrt((0.25 / 29.25 + 1) / 2))


def test_rounding_by_hand():
    e = np.array([[1.0, 0.0, 0.5], [0.9, 0.0, 1.0]])
    row = rounding.compare(e, np.array([[1.0, 0.0, 0.2], [1.0, 0.0, 0.9]]))
    assert row["words"] == 2 and row["unchanged maxima"] == 0.5
    assert row["change of e, largest"] == pytest.approx(0.3) and row["change of e, mean"] == pytest.approx(0.5 / 6)


def test_saliency_of_descriptors_is_scaled_over_all_cells():
    captioner = saliency.random_captioner(V=11, H=5, E=4, D=3)
    e = rounding.saliency(captioner, saliency.random_clip(2, 3)[0], np.array([3, 1]))
    assert e.shape == (2, 2 * 64) and e.min(axis=1).tolist() == [0, 0] and e.max(axis=1).tolist() == [1, 1]


def test_grouping_by_hand():
    rows = grouping.compare([[5.0, 3.0], [5.2, 3.4]], [[5.0, 3.2], [5.4, 3.6]])
    assert list(rows) == ["epoch 0", "epoch 1"]
    row = rows["epoch 1"]
    assert row["difference"] == pytest.approx(0.2) and row["groups"] == pytest.approx(3.4)
    assert row["its deviation"] == pytest.approx(0.2 * np.sqrt(2))
    assert row["in standard errors"] == pytest.approx(0.2 / np.sqrt((0.08 + 0.08) / 2))


@pytest.mark.slow
def test_scores_are_pycocoevalcaps():
    rows = scoring.measure(media=4, references=3, vocabulary=50)
    parts = ("tokenizer", "BLEU", "METEOR", "ROUGE-L", "CIDEr")
    assert list(rows) == ["all scores", *(f"release's {part}" for part in parts)]


def test_saliency_states_each_size(monkeypatch):
    monkeypatch.setattr(saliency, "gemm", lambda: lambda: None)
    rows = saliency.measure(repeats=1, frames=2, long_frames=3, n=2, **TINY)
    assert list(rows) == ["130 descriptors", "195 descriptors"]
    first, second = rows.values()
    assert first["times the release"] > 0 and second["times the release"] is None
    assert first["descriptors/s"] == pytest.approx(130 / first["seconds"])


def test_sentences_counts_prefixes(tmp_path):
    captions = ["A dog runs.", "a dog sits", "a cat", "a dog runs"]  # (), a, a dog, a cat is the last word of all
    folder = tmp_path / "MSR-VTT"
    write_json(folder / "train_val_videodatainfo.json", {"videos": [], "sentences": []})
    videos = {"videos": [{"video_id": "video9", "split": "test"}]}
    write_json(
        folder / "test_videodatainfo.json",
        videos | {"sentences": [{"video_id": "video9", "caption": caption} for caption in captions]},
    )
    row = sentences.measure("MSR-VTT", tmp_path, frames=1, **TINY)["video9"]
    assert (row["captions"], row["words in a caption"], row["distinct prefixes"]) == (4, 2.75, 3)
    assert row["limit"] == pytest.approx(3 / 3.75)
    assert row["cost over one caption's"] == pytest.approx(4 / row["times one by one"])


def test_scaling_draws_its_lines(monkeypatch, tmp_path):
    monkeypatch.setattr(scaling, "RESULTS", tmp_path)
    rows = scaling.measure(repeats=1, frames=1, n=1, steps=3, **TINY)
    names = [f"{k} {name}" for name in ("frames", "words", "captions") for k in (1, 2, 3)]
    assert list(rows) == names + [f"{k} frames not asked for" for k in (225, 475, 725)]
    assert len(scaling._last_second(tmp_path / "clip.mp4", 30)()) == 25
    assert (tmp_path / "scaling.png").stat().st_size > 1000


def test_rendering_runs():
    rows = rendering.measure(num_frames=2, n=2, width=64, height=48, pyplot_frames=1)
    assert list(rows) == ["drawing", "drawing and encoding"]
    drawn, encoded = rows.values()
    assert encoded["of the encoder alone"] > 0
    assert encoded["release's ms a frame"] > drawn["release's ms a frame"]


def test_median_seconds_takes_turns():
    order = []
    timing.median_seconds(lambda: order.append("a"), lambda: order.append("b"), repeats=2)
    assert "".join(order) == "ab" + "abab"


def test_peak_memory_is_what_a_call_takes():
    found = timing.peak_memory(*(lambda n=n: np.ones(n * 2**17).sum() for n in (40, 80)))
    np.testing.assert_allclose(np.array(found) / 2**20, [40, 80], atol=8)


def test_a_stage_prints_a_table_and_writes_json(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(benchmarks, "RESULTS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["benchmarks", "start", "--set", "repeats=1"])
    assert benchmarks.main() == 0
    printed, record = capsys.readouterr().out, json.loads((tmp_path / "start.json").read_text())
    assert "\n| start | seconds |\n|---|---|\n| preprocessing.py | " in printed
    assert record["machine"]["engine"] in printed and record["set"] == {"repeats": 1}
    assert list(record["rows"]) == ["preprocessing.py", "run_s2vt.py", "visualization.py"]
    assert all(0 < row["seconds"] for row in record["rows"].values())


@pytest.mark.parametrize("arguments, message", [
    (["salience"], "no stage 'salience'; expected some of saliency, "),
    (["start", "--set", "m=2"], "start has no 'm'; expected some of repeats"),
    (["start", "--set", "repeats=two"], "expected a int"),
])  # fmt: skip
def test_mistakes_are_named(monkeypatch, arguments, message):
    monkeypatch.setattr(sys, "argv", ["benchmarks", *arguments])
    with pytest.raises(UserError, match=message):
        benchmarks.main()


def test_a_table_in_markdown():
    rows = {"a": {"seconds": 0.25, "items": 1200}, "b": {"seconds": 12.5, "other": None}}
    assert benchmarks.table("stage", rows).splitlines() == [
        "| stage | seconds | items | other |", "|---|---|---|---|", "| a | 0.250 | 1,200 |  |", "| b | 12.5 |  |  |",
    ]  # fmt: skip
