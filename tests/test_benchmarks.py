"""The benchmarks at tiny sizes: every stage runs, and both procedures give the same numbers before they are timed."""

import json
import sys

import numpy as np
import pytest

from benchmarks import __main__ as benchmarks
from benchmarks import release, rendering, saliency, scaling, sentences, timing
from s2vt.data.files import write_json
from s2vt.errors import UserError
from s2vt.saliency.information_loss import video_saliency

TINY = {"V": 11, "H": 5, "E": 4, "D": 3}


def test_the_releases_procedure_gives_the_same_numbers():
    captioner = saliency.random_captioner(**TINY)
    rng = np.random.default_rng(1)
    for variable in captioner.trainable_variables:
        variable.assign(rng.normal(size=variable.shape))
    cells, pooled = saliency.random_clip(m=2, D=3)
    y = [4, 1, 10, 4]
    (found,) = video_saliency(captioner.encode, captioner.step, cells, pooled, [y])
    theirs = release.video_saliency(captioner, cells, pooled, y, max_words=6)
    assert theirs.shape == (4, 2 * 64 + 2)
    np.testing.assert_allclose(theirs[:, :128].reshape(4, 2, 8, 8), found.loss, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(theirs[:, 128:], found.loss_pooled, rtol=1e-4, atol=1e-5)


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


def test_scaling_draws_its_lines(monkeypatch, tmp_path):
    monkeypatch.setattr(scaling, "RESULTS", tmp_path)
    rows = scaling.measure(repeats=1, frames=1, n=1, steps=3, **TINY)
    assert list(rows) == [f"{k} {name}" for name in ("frames", "words", "captions") for k in (1, 2, 3)]
    assert (tmp_path / "scaling.png").stat().st_size > 1000


def test_rendering_runs():
    rows = rendering.measure(num_frames=2, n=2, width=64, height=48, pyplot_frames=1)
    assert list(rows) == ["drawing", "drawing and encoding"]


def test_median_seconds_takes_turns():
    order = []
    timing.median_seconds(lambda: order.append("a"), lambda: order.append("b"), repeats=2)
    assert "".join(order) == "ab" + "abab"


def test_peak_memory_is_what_a_call_takes():
    found = [timing.peak_memory(lambda: np.ones(n * 2**17).sum()) / 2**20 for n in (40, 80)]  # noqa: B023
    np.testing.assert_allclose(found, [40, 80], atol=8)


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
