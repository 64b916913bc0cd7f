"""The benchmarks at tiny sizes. The release's procedures give this project's numbers, before they are timed."""

import dataclasses
import itertools
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from explanations import explanation
from PIL import Image
from toys import with_random_weights

import cfg
from benchmarks import __main__ as benchmarks
from benchmarks import (
    ablations,
    every_map,
    extraction,
    grouping,
    maps,
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
from s2vt.captioning.s2vt import S2VT
from s2vt.config import SaliencyConfig
from s2vt.data.files import write_json
from s2vt.data.geometry import Geometry
from s2vt.data.phrases import Phrase
from s2vt.data.text import Vocabulary
from s2vt.data.video_writer import VideoWriter
from s2vt.errors import UserError
from s2vt.evaluation.mentions import AnnotatedCaption, Mention
from s2vt.saliency.maps import Asking, Evidence

TINY = {"V": 11, "H": 5, "E": 4, "D": 3}


@pytest.fixture(scope="module")
def captioner():
    return with_random_weights(S2VT(11, 5, 4), 3, seed=1)


# The release's procedures


def test_the_releases_query_losses_are_ours(captioner):
    clip, y = saliency.random_clip(m=2, D=3), [4, 1, 10, 4]
    (found,) = saliency.losses(captioner, clip, [y])
    theirs = release.query_losses(captioner, *clip, y, max_words=6)
    assert theirs.shape == (4, 2 * 64 + 2)
    np.testing.assert_allclose(theirs[:, :128].reshape(4, 2, 8, 8), found.cells["nll"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(theirs[:, 128:], found.frames["nll"], rtol=1e-4, atol=1e-5)


def test_the_releases_maps_are_ours(captioner):
    (cells, _), y = saliency.random_clip(m=4, D=3), [4, 1, 10]
    theirs = release.maps(captioner, cells, y, max_words=6)
    assert theirs.shape == (3, 4, 8, 8) and theirs.max() > 0.1
    np.testing.assert_allclose(theirs, saliency.release_maps(captioner, cells, y), atol=1e-4)


def test_the_releases_captions_are_ours():
    captioner = with_random_weights(S2VT(7, 5, 4), 3, seed=20)
    v = 3 * np.random.default_rng(4).normal(size=(5, 6, 3)).astype("float32")
    found = release.captions(captioner, v, max_words=9)
    assert found == greedy(captioner, v, 9)
    assert len({len(words) for words in found}) > 1


def test_the_releases_logits_are_ours(captioner):
    v = np.random.default_rng(2).normal(size=(2, 6, 3)).astype("float32")
    y = np.array([[4, 10, 5, 0], [2, 0, 0, 0]], "int32")
    found = np.asarray(release.caption_logits(captioner, v, y))
    np.testing.assert_allclose(found, np.asarray(captioner({"v": v, "y": y})), rtol=1e-4, atol=1e-5)


class Colour:
    """A network that gives every cell its picture's mean colour, and notes the number of pictures of each call."""

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
    every = release.averaged(release.cells(tmp_path / "clip.mp4", colour, num_frames=None))
    expected = [25 / 3, *range(25, 200, 25), 575 / 3]
    np.testing.assert_allclose(255 * every[:, 0, 1], expected, atol=4)
    Image.fromarray(np.full((30, 40, 3), 77, np.uint8)).save(tmp_path / "picture.png")
    np.testing.assert_allclose(255 * release.cells(tmp_path / "picture.png", colour), 77, atol=2)


# Stages


def test_training_states_each_set(monkeypatch):
    monkeypatch.setattr(training, "gemm", lambda: lambda: None)
    monkeypatch.setattr(training, "SETS", {"tiny": (4, 11, (5.0, 2.0))})
    monkeypatch.setattr(training, "MAX_WORDS", 7)
    (row,) = training.measure(repeats=1, captions=6, captions_per_medium=3, H=5, E=4, D=3).values()
    assert row["captions/s"] == pytest.approx(6 / row["seconds"]) and row["times the release"] > 0


def test_a_training_batch_is_of_the_size_asked_for():
    batch = training.random_batch(training.Sizes(N=4, V=1000, words=(9.4, 4.4), captions=200, D=3))
    assert batch["v"].shape == (40, 4, 3) and len(batch["y"]) == 200
    lengths = (batch["words"] >= 0).sum() / 200 - 1
    assert abs(lengths - 9.4) < 0.8


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


def ablated(media, evidence, mention):
    """The rows of the ablations, on one caption, "a red car", of one medium."""
    base = cfg.STILL_SHAPES if media == "picture" else cfg.MOVING_SHAPES
    vocabulary = Vocabulary([".", "a", "red", "car"], counts=[1] * 4)
    inputs = []

    def find(asking):
        inputs.append(asking.frames)
        likelihood = dataclasses.replace(evidence, kind="likelihood")
        return lambda medium, sentences: [{"nll": evidence, "likelihood": likelihood} for _ in sentences]

    scorers = ablations.scorers_of(base, vocabulary, find)
    for scorer in scorers:
        caption = AnnotatedCaption("a red car".split(), [mention], {})
        scorer.add(SimpleNamespace(id="m"), Geometry.of(299, 299), [caption])
    return ablations.rows_of(scorers), inputs


def test_ablations_of_a_picture_vary_sigma_and_likelihood():
    cells = np.full((3, 1, 8, 8), -9.0)
    cells[1, 0, 2, 5] = -1  # one cell alone is the largest, four together are larger
    cells[1, 0, 5:7, 1:3] = -1.5
    box = (32 * 5 + 21, 32 * 2 + 21, 32 * 5 + 53, 32 * 2 + 53)  # the receptive field's middle of that cell
    rows, inputs = ablated("picture", Evidence("nll", cells, None), Mention(Phrase("red", (1,)), ((box,),)))
    assert rows["sigma_cells=0"]["pointing game"] == 1 and rows["sigma_cells=0.9"]["pointing game"] == 0
    assert (
        rows["sigma_cells=0.75, likelihood"]["attention correctness, phrase"]
        > rows["sigma_cells=0.75"]["attention correctness, phrase"]
    )
    assert rows["phrases"] == {"pointing game": 1, "attention correctness, phrase": 1}
    assert list(rows)[-4:] == ["random", "center", "uniform", "phrases"] and set(inputs) == {None}


def test_ablations_of_a_video_vary_space_and_time_apart():
    cells = np.zeros((3, 6, 8, 8))
    frames = np.array([[0.0] * 6, [0, 1, 0, 0.8, 0.9, 0.8], [0] * 6])  # the largest frame is alone
    box = (0.0, 0.0, 299.0, 299.0)
    mention = Mention(Phrase("red", (1,)), ((),) * 3 + ((box,),) * 3, in_view=(False,) * 3 + (True,) * 3)
    rows, inputs = ablated("video", Evidence("nll", cells, frames), mention)
    column = "right moment, objects that come or go"
    assert rows["frame_input=cells, sigma_frames=0"] == {column: 0}
    assert rows["frame_input=pooled, sigma_frames=1.5"] == {column: 1}
    assert rows["sigma_cells=0"] == {"pointing game": 1} and rows["phrases"][column] == 1
    assert set(inputs) == {"cells", "pooled"}


def test_rows_of_the_ablations_share_their_evidence(captioner):
    class Store:
        asked = []

        def descriptors(self, medium):
            self.asked.append(medium)
            return SimpleNamespace(cells=np.ones((2, 4, 3), "float32"), v=np.ones((2, 3), "float32"), order=None)

    find = ablations.finder(captioner, Store())
    sentences = [np.array([4, 1])]
    found = [
        find(Asking("video", SaliencyConfig(frame_input=how)))("m", sentences)[0]
        for how in ("pooled", "cells", "pooled")
    ]
    assert Store.asked == ["m", "m"] and found[0]["nll"] is found[2]["nll"]
    np.testing.assert_allclose(found[0]["likelihood"].space([0, 1]).sum(axis=(-2, -1)), 1, rtol=1e-6)


@pytest.mark.long
def test_scores_are_pycocoevalcaps():
    rows = scoring.measure(media=4, references=3, vocabulary=50, repeats=1)
    parts = ("tokenizer", "BLEU", "METEOR", "ROUGE-L", "CIDEr")
    assert list(rows) == ["all scores", *(f"release's {part}" for part in parts)]


def test_scoring_states_each_part_if_the_scores_are_equal(monkeypatch):
    monkeypatch.setattr("s2vt.captioning.scoring.score", lambda references, candidates: {"BLEU-1": 0.5, "CIDEr": 1.0})
    monkeypatch.setattr(scoring, "pycocoevalcap", lambda *captions: ({"BLEU": 3.0, "CIDEr": 4.0}, {"BLEU-1": 0.5}))
    rows = scoring.measure(media=4, references=3, vocabulary=50, repeats=1)
    assert list(rows) == ["all scores", "release's BLEU", "release's CIDEr"]
    assert rows["all scores"]["times the release"] == pytest.approx(7 / rows["all scores"]["seconds"])
    monkeypatch.setattr(scoring, "pycocoevalcap", lambda *captions: ({}, {"CIDEr": 1.1}))
    with pytest.raises(AssertionError, match="CIDEr"):
        scoring.measure(media=4, references=3, vocabulary=50, repeats=1)


def test_saliency_states_each_size(monkeypatch):
    monkeypatch.setattr(saliency, "gemm", lambda: lambda: None)
    rows = saliency.measure(repeats=1, frames=2, long_frames=3, n=2, **TINY)
    assert list(rows) == ["130 descriptors", "195 descriptors", "release's maps, 2 frames"]
    first, second, maps = rows.values()
    assert first["times the release"] > 0 and second["times the release"] is None and maps["times the release"] > 0
    assert first["descriptors/s"] == pytest.approx(130 / first["seconds"])


def test_maps_are_compared_with_passes_one_by_one():
    rows = maps.measure(repeats=1, n=2, N=4, subsets=5, steps=3, **TINY)
    assert list(rows) == ["banzhaf, rise", "leave_one_out", "gradient, gradcam", "integrated", "eb, ceb"]
    for name, row in rows.items():
        words = 5 * 2 if name in ("gradient, gradcam", "integrated", "eb, ceb") else 2  # of five captions, or of one
        assert row["times the plain way"] > 0 and row["words/s"] == pytest.approx(words / row["seconds"])


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


def test_every_map_is_drawn_at_its_place_with_its_maximum(tmp_path):
    cells = np.zeros((2, 1, 8, 8))
    cells[1, 0, 2, 5] = 1  # of the second word; x = 32 * 5 + 37.5, y = 32 * 2 + 37.5 of 299 pixels
    found = explanation(("a", "cup"), {"eb": (cells, None)}, Geometry.of(299, 299))
    panel, phrase = ("eb", found, SaliencyConfig(map="eb")), Phrase("cup", (1,))
    picture = np.full((299, 299, 3), (200, 0, 0), np.uint8)
    every_map.draw(picture, ([panel] * 2, [panel]), phrase, ("a cup", "cup"), 2, tmp_path / "new" / "maps.jpg")
    drawn = np.asarray(Image.open(tmp_path / "new" / "maps.jpg").convert("RGB")).astype(int)
    side, step = every_map.PANEL, (every_map.PANEL + every_map.GAP, every_map.PANEL + every_map.LABEL)
    coloured = {}
    for column, row in itertools.product(range(2), range(3)):  # picture and map; map; map of the second list
        x, y = every_map.MARGIN + column * step[0], every_map.MARGIN + every_map.LABEL + row * step[1]
        place = drawn[y : y + side, x : x + side]
        star = place[int(101.5 / 299 * side), int(197.5 / 299 * side)]
        coloured[column, row] = "blank" if place.min() > 250 else "map" if star.min() > 240 else "picture"
    maps = dict.fromkeys([(1, 0), (0, 1), (0, 2)], "map")
    assert coloured == maps | {(0, 0): "picture", (1, 1): "blank", (1, 2): "blank"}


def test_median_seconds_takes_turns():
    order = []
    timing.median_seconds(lambda: order.append("a"), lambda: order.append("b"), repeats=2)
    assert "".join(order) == "ab" + "abab"


def test_peak_memory_is_what_a_call_takes():
    found = timing.peak_memory(*(lambda n=n: np.ones(n * 2**17).sum() for n in (40, 80)))
    np.testing.assert_allclose(np.array(found) / 2**20, [40, 80], atol=8)


# The command


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
