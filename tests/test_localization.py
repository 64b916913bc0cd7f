"""The score of maps: perfect maps get everything, blind ones the baselines', and what is left out is counted."""

import numpy as np
import pytest

import cfg
from s2vt.data import datasets, synthetic
from s2vt.data.media import Geometry
from s2vt.data.text import Vocabulary
from s2vt.errors import UserError
from s2vt.evaluation import localization, tracks
from s2vt.saliency.heatmaps import cell_centres

INDICES = np.round(np.linspace(0, 74, 26)).astype(int).tolist()
CENTRES = cell_centres() + 0.5


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    synthetic.write_moving_shapes(folder / "MovingShapes", {"train": 1, "validate": 1, "test": 6}, split="test")
    synthetic.write_still_shapes(folder / "StillShapes", {"train": 1, "val": 1, "test": 4}, split="test")
    return folder


def cell_of(box, geometry):
    """(row, column) of the cell whose receptive field is centred nearest the middle of a box."""
    x, y = geometry.to_input(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2))
    return np.abs(CENTRES - y).argmin(), np.abs(CENTRES - x).argmin()


def score(config, data, explain, vocabulary=None):
    media = datasets.select(datasets.read_media(config, data), "test")
    width, height = synthetic.CLIP_SIZE if config.media == "video" else synthetic.PICTURE_SIZE
    geometry = Geometry.of(width, height)
    vocabulary = vocabulary or Vocabulary.from_captions((c for m in media for c in m.captions), 1)
    details = (geometry, INDICES if config.media == "video" else [], [])
    return localization.localize(
        media, config.truth, data / config.dataset, lambda medium: details, vocabulary, 25,
        lambda medium, y: explain(medium, [vocabulary.words[w] for w in y], geometry),
    )  # fmt: skip


def all_knowing(folder, wrong=False):
    """A map whose loss is 0 at the object that each word names, in the frames where it is in view, and 1 elsewhere."""

    def explain(medium, words, geometry):
        truth = tracks.read_tracks(folder / "MovingShapes" / "truth" / f"{medium.id}.json")
        entry = next(e for e in truth["captions"] if e["caption"] == " ".join(words))
        loss, pooled = np.ones((len(words), 26, 8, 8)), np.ones((len(words), 26))
        for phrase in entry["phrases"]:
            if phrase["object"] is None:
                continue
            track = truth["objects"][phrase["object"]]
            there = tracks.boxes_at(track, INDICES)
            marks = tracks.happens_at(track, INDICES) if phrase["kind"] == "event" else [bool(b) for b in there]
            for i, boxes in enumerate(there):
                for t in range(*phrase["tokens"]):
                    pooled[t, i] = float(marks[i] == wrong)
                    if boxes:
                        row, column = cell_of(boxes[0], geometry)
                        loss[t, i, 7 - row if wrong else row, 7 - column if wrong else column] = 0
        return loss, pooled

    return explain


def test_an_all_knowing_map_gets_everything(data):
    tallies = score(cfg.MOVING_SHAPES, data, all_knowing(data))
    assert set(tallies) >= {"space", "time: object"}
    for tally in tallies.values():
        averages = tally.averages()
        assert tally.scored > 5
        assert averages["information loss"][0] > 0.97, tally.metric
        assert averages["random"][0] < 0.9


def test_a_map_that_points_elsewhere_gets_nothing(data):
    tallies = score(cfg.MOVING_SHAPES, data, all_knowing(data, wrong=True))
    assert tallies["time: object"].averages()["information loss"][0] == 0
    assert tallies["space"].averages()["information loss"][0] < 0.3


def test_a_blind_map_is_the_centre_and_the_first_frame(data):
    tallies = score(
        cfg.MOVING_SHAPES, data, lambda m, words, g: (np.ones((len(words), 26, 8, 8)), np.ones((len(words), 26)))
    )
    averages = tallies["space"].averages()
    assert averages["information loss"][0] == pytest.approx(averages["center"][0], abs=0.05)


def test_pictures_get_attention_correctness_too(data):
    tallies = score(cfg.STILL_SHAPES, data, lambda m, words, g: (np.ones((len(words), 1, 8, 8)), None))
    assert set(tallies) == {"space", "attention correctness"}
    averages = tallies["attention correctness"].averages()
    assert averages["information loss"][0] == pytest.approx(averages["uniform"][0])


def test_unknown_words_are_left_out_and_counted(data):
    media = datasets.select(datasets.read_media(cfg.STILL_SHAPES, data), "test")
    known = Vocabulary.from_captions((c for m in media for c in m.captions), 1)
    colours = [w for w in known.words if w in synthetic.COLOURS]
    few = Vocabulary([".", *colours], np.ones(len(colours) + 1))
    asked = []

    def explain(medium, words, geometry):
        asked.append(words)
        return np.ones((len(words), 1, 8, 8)), None

    tallies = score(cfg.STILL_SHAPES, data, explain, few)
    assert all(set(words) <= set(colours) for words in asked)
    whole = score(cfg.STILL_SHAPES, data, lambda m, words, g: (np.ones((len(words), 1, 8, 8)), None))["space"]
    assert tallies["space"].scored == whole.scored  # each phrase still has its colour
    none = Vocabulary([".", "there"], [1, 1])
    tally = score(cfg.STILL_SHAPES, data, explain, none)["space"]
    assert tally.scored == 0 and tally.dropped["not in the vocabulary"] == whole.scored


def test_an_event_between_two_sampled_frames_marks_the_nearest():
    track = {"happens": [31, 32]}
    assert tracks.happens_at(track, [0, 10, 20, 30, 40]) == [False, False, False, True, False]
    assert tracks.happens_at({"happens": [9, 21]}, [0, 10, 20, 30]) == [False, True, True, False]


def test_a_damaged_truth_file_is_one_line(tmp_path):
    path = tmp_path / "video0.json"
    path.write_text('{"num_frames": 2, "objects": [{"boxes": [null], "seen": [0], "event": "up"}], "captions": []}')
    with pytest.raises(UserError, match="is not a truth file"):
        tracks.read_tracks(path)
