"""Localization scores: perfect maps score 1, uniform maps like the baselines; phrases left out are counted."""

import shutil
import tracemalloc

import numpy as np
import pytest

import cfg
from s2vt.config import PROTOCOLS, EvaluationConfig, SaliencyConfig
from s2vt.data import datasets, tracks
from s2vt.data.files import write_json
from s2vt.data.geometry import Geometry, Grid
from s2vt.data.phrases import Phrase
from s2vt.data.text import Vocabulary
from s2vt.errors import UserError
from s2vt.evaluation import localization, scorer, tables
from s2vt.evaluation.localization import Record
from s2vt.evaluation.mentions import ANNOTATIONS, AnnotatedCaption, Mention, entities_mentions, named_boxes
from s2vt.evaluation.protocol import Protocol, Window
from s2vt.evaluation.scorer import PARTLY_READ, MapSource, Scorer
from s2vt.saliency.maps import Evidence
from s2vt.synthetic import drawing, writers

INDICES = np.round(np.linspace(0, 74, 26)).astype(int).tolist()
CORRECTNESS = tuple(f"attention correctness{how}" for how in ("", ", mean of words", ", phrase"))
CENTRES = Grid().centres() + 0.5


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    writers.write_moving_shapes(folder / "MovingShapes", {"train": 1, "validate": 1, "test": 3}, split="test")
    writers.write_still_shapes(folder / "StillShapes", {"train": 1, "val": 1, "test": 4}, split="test")
    return folder


def media_of(config, data):
    return datasets.select(datasets.read_media(config, data), "test")


def vocabulary_of(media):
    return Vocabulary.from_captions((caption for medium in media for caption in medium.captions), 1)


def annotated(config, data):
    """Medium -> (Geometry, its annotated captions)."""
    size = writers.CLIP_SIZE if config.media == "video" else writers.PICTURE_SIZE
    geometry, indices = Geometry.of(*size), INDICES if config.media == "video" else []
    return lambda medium, protocol: (geometry, ANNOTATIONS[config.annotations](data / config.dataset, medium, indices))


def source(explain, vocabulary, name="nll", kind="nll", max_words=25):
    """A MapSource of one row. explain: (Medium, words) -> losses or shares by cell and by frame."""
    sign = -1 if kind == "nll" else 1

    def find(medium, sentences):
        found = [explain(medium, [vocabulary.words[w] for w in y]) for y in sentences]
        return [{kind: Evidence(kind, *(None if x is None else sign * x for x in values))} for values in found]

    return MapSource({kind: name}, vocabulary, max_words, find)


def score(config, data, *sources, protocol=None, **options):
    """{name of a table: Tally} over the test media."""
    tally = Scorer(sources, config.media, protocol or Protocol())
    localization.score_media(media_of(config, data), annotated(config, data), [tally], **options)
    return tally.ordered_tallies()


def uniform(medium, words):
    """The losses of a picture that are the same everywhere."""
    return np.ones((len(words), 1, 8, 8)), None


def uniform_clip(medium, words):
    return np.ones((len(words), 26, 8, 8)), np.ones((len(words), 26))


def cell_of(box, geometry):
    """(row, column) of the cell whose receptive field is centred nearest the middle of a box."""
    x, y = geometry.to_input(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2))
    return np.abs(CENTRES - y).argmin(), np.abs(CENTRES - x).argmin()


def perfect(folder, wrong=False):
    """A loss of 0 at the object that each word names, in the frames where it is in view, and 1 elsewhere."""
    geometry = Geometry.of(*writers.CLIP_SIZE)

    def explain(medium, words):
        annotations = tracks.read_tracks(folder / "MovingShapes" / "truth" / f"{medium.id}.json")
        entry = next(e for e in annotations["captions"] if e["caption"] == " ".join(words))
        loss, frame_loss = np.ones((len(words), 26, 8, 8)), np.ones((len(words), 26))
        for phrase in entry["phrases"]:
            if phrase["object"] is None:
                continue
            track = annotations["objects"][phrase["object"]]
            there = tracks.boxes_at(track, INDICES)
            marks = tracks.happens_at(track, INDICES) if phrase["kind"] == "event" else [bool(b) for b in there]
            for i, boxes in enumerate(there):
                for t in range(*phrase["tokens"]):
                    frame_loss[t, i] = float(marks[i] == wrong)
                    if boxes:
                        row, column = cell_of(boxes[0], geometry)
                        loss[t, i, 7 - row if wrong else row, 7 - column if wrong else column] = 0
        return loss, frame_loss

    return explain


# --- maps of known quality ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clip_vocabulary(data):
    return vocabulary_of(media_of(cfg.MOVING_SHAPES, data))


@pytest.fixture(scope="module")
def picture_vocabulary(data):
    return vocabulary_of(media_of(cfg.STILL_SHAPES, data))


def test_perfect_maps_score_one(data, clip_vocabulary):
    tallies = score(cfg.MOVING_SHAPES, data, source(perfect(data), clip_vocabulary))
    assert set(tallies) == {"space", "time: object", "time: event"}
    for tally in tallies.values():
        averages = tally.averages()
        assert tally.scored > 5
        assert averages["nll"][0] > 0.97, tally.metric
        assert averages["random"][0] < 0.9


def test_maps_that_point_elsewhere_score_zero(data, clip_vocabulary):
    tallies = score(cfg.MOVING_SHAPES, data, source(perfect(data, wrong=True), clip_vocabulary))
    assert tallies["time: object"].averages()["nll"][0] == 0
    assert tallies["time: event"].averages()["nll"][0] == 0
    assert tallies["space"].averages()["nll"][0] < 0.3


def test_smoothing_over_time_removes_an_outlier(data, clip_vocabulary):
    known = perfect(data)

    def explain(medium, words):
        loss, frame_loss = known(medium, words)
        for of_word in frame_loss:  # 0 where the object is, else 1
            there = np.flatnonzero(of_word == 0)
            far = [i for i in range(26) if len(there) and np.abs(there - i).min() > 2]
            of_word[far[len(far) // 2 :][:1]] = -0.5
        return loss, frame_loss

    def found(sigma):
        protocol = Protocol(SaliencyConfig(sigma_frames=sigma))
        return score(cfg.MOVING_SHAPES, data, source(explain, clip_vocabulary), protocol=protocol)["time: object"]

    raw, smooth = found(0), found(0.75)
    assert raw.averages()["nll"][0] < 0.2
    assert smooth.averages()["nll"][0] > 0.97
    assert "Gaussian of sigma 0.75 sampled frames" in smooth.protocol and "Gaussian" not in raw.protocol
    assert "pooled descriptor" in raw.protocol and "64 cells" in Protocol(SaliencyConfig("nll", "cells")).time_text()


def test_a_protocol_says_how_evidence_is_asked_for():
    asked = Protocol.of(
        cfg.STILL_SHAPES.replace(["saliency.reads=4", "saliency.words=content"]), usual=cfg.STILL_SHAPES
    )
    assert asked.name == "ours, words=content, reads=4"
    for text in (asked.space_text(), asked.time_text()):
        assert "leaves out its function words" in text and "in isolation 4 times" in text
    assert "function words" not in Protocol().space_text() and "times" not in Protocol().time_text()
    pure = cfg.STILL_SHAPES.replace(["saliency.reads=4", "saliency.words=content"]).with_settings(PROTOCOLS["paper"])
    assert (pure.saliency.reads, pure.saliency.words) == (1, "all")


def test_a_uniform_map_points_at_the_centre(data, clip_vocabulary):
    averages = score(cfg.MOVING_SHAPES, data, source(uniform_clip, clip_vocabulary))["space"].averages()
    assert averages["nll"][0] == pytest.approx(averages["center"][0], abs=0.05)


def test_pictures_have_attention_correctness(data, picture_vocabulary):
    tallies = score(cfg.STILL_SHAPES, data, source(uniform, picture_vocabulary))
    assert set(tallies) == {"space", *CORRECTNESS}
    averages = tallies["attention correctness"].averages()
    assert averages["nll"][0] == pytest.approx(averages["uniform"][0])


def test_a_new_table_is_one_entry(data, picture_vocabulary, monkeypatch):
    size = tables.Table(
        "size", "share of the picture", "space", ("picture",), lambda mention: mention.phrase.categories == ("round",),
        lambda maps, mention, protocol: maps.shape[-1], lambda mention, window, protocol: {"height": window.height},
        lambda protocol: "the width of the map.",
    )  # fmt: skip
    monkeypatch.setattr(scorer, "TABLES", (*tables.TABLES, size))
    tallies = score(cfg.STILL_SHAPES, data, source(uniform, picture_vocabulary))
    assert list(tallies) == ["space", *CORRECTNESS, "size"]
    width, height = writers.PICTURE_SIZE
    assert tallies["size"].averages() == {"nll": (width, {"round": width}), "height": (height, {"round": height})}
    assert tallies["size"].protocol.startswith("ours; the width of the map. Interpolation between cells: a Gaussian")
    assert 0 < tallies["size"].scored == tallies["space"].to_json()["categories"]["round"]


# --- annotations ----------------------------------------------------------------------------------------------------


def test_an_event_between_two_sampled_frames_marks_the_nearest():
    track = {"happens": [31, 32]}
    assert tracks.happens_at(track, [0, 10, 20, 30, 40]) == [False, False, False, True, False]
    assert tracks.happens_at({"happens": [9, 21]}, [0, 10, 20, 30]) == [False, True, True, False]


def test_a_damaged_annotation_file_is_named(tmp_path):
    path = tmp_path / "video0.json"
    path.write_text('{"num_frames": 2, "objects": [{"boxes": [null], "seen": [0], "event": "up"}], "captions": []}')
    with pytest.raises(UserError, match="video0.json"):
        tracks.read_tracks(path)


def test_mentions_of_a_clip_by_hand(tmp_path):
    (tmp_path / "truth").mkdir()
    (tmp_path / "truth" / "v.json").write_text(
        """{"num_frames": 4, "objects": [
            {"event": "appear", "boxes": [null, [1, 2, 3, 4], [1, 2, 3, 4], [2, 2, 4, 4]], "seen": [0, 0.4, 0.9, 1],
             "happens": [1, 2]},
            {"event": "spin", "boxes": [null, null, null, null], "seen": [0, 0, 0, 0], "happens": [0, 3]}],
        "captions": [{"caption": "a ball appears on grass", "phrases": [
            {"tokens": [0, 2], "kind": "object", "object": 0}, {"tokens": [2, 3], "kind": "event", "object": 0},
            {"tokens": [4, 5], "kind": "ground", "object": null}, {"tokens": [0, 1], "kind": "object", "object": 1},
            {"tokens": [2, 3], "kind": "event", "object": 1}]}]}"""
    )
    medium = datasets.Medium("v", tmp_path, "test", ())
    (caption,) = ANNOTATIONS["tracks"](tmp_path, medium, [0, 1, 3])
    assert caption.tokens == ["a", "ball", "appears", "on", "grass"]
    assert caption.dropped == {"ground": 1, "never in view": 1}
    appears = Phrase("appears", (2,), ("appear",))
    assert caption.mentions == [
        Mention(Phrase("a ball", (0, 1), ("appear",)), ([], [], [(2, 2, 4, 4)]), in_view=(False, False, True)),
        Mention(appears, happens=(False, True, False)),
        Mention(Phrase("appears", (2,), ("spin",)), happens=(True, True, True), unscorable="event that lasts"),
    ]


@pytest.mark.parametrize("objects, expected", [
    ([("appear", 0, 1), ("disappear", 3, 4)], ["000110", "110000"]),
    ([("appear", 0, 1), ("spin", 0, 5), ("disappear", 3, 4)], ["000110", None, "110000"]),  # an event that lasts
    ([("appear", 0, 0), ("appear", 2, 3), ("disappear", 5, 5)], ["001101", "100001", "101100"]),
    ([("appear", 1, 3), ("disappear", 2, 4)], ["000010", "010000"]),  # they overlap
    ([("appear", 1, 3), ("disappear", 2, 2)], [None, "010100"]),  # one happens during the other
    ([("appear", 1, 3), ("left", 0, 5)], [None, None]),
    ([("appear", 1, 3)], [None]),
])  # fmt: skip
def test_the_frames_of_other_events_by_hand(tmp_path, objects, expected):
    """A caption that names the event of every object, in a clip of six frames that are all sampled."""
    tracks_of = [
        {"event": event, "happens": [first, last], "boxes": [[1, 2, 3, 4]] * 6, "seen": [1] * 6}
        for event, first, last in objects
    ]
    phrases = [{"tokens": [k, k + 1], "kind": "event", "object": k} for k in range(len(objects))]
    caption = {"caption": "w " * len(objects), "phrases": phrases}
    write_json(tmp_path / "truth" / "v.json", {"num_frames": 6, "objects": tracks_of, "captions": [caption]})
    ((_, mentions, _),) = ANNOTATIONS["tracks"](tmp_path, datasets.Medium("v", tmp_path, "test", ()), range(6))
    found = [mention.elsewhere and "".join("01"[there] for there in mention.elsewhere) for mention in mentions]
    assert found == expected


def test_captions_on_the_unrelated_list_are_dropped(data, picture_vocabulary, tmp_path):
    folder = tmp_path / "StillShapes"
    shutil.copytree(data / "StillShapes", folder)
    (first, *_) = media_of(cfg.STILL_SHAPES, data)
    before = score(cfg.STILL_SHAPES, tmp_path, source(uniform, picture_vocabulary))["space"]
    (folder / "Entities" / "UNRELATED_CAPTIONS").write_text(f"# format\n{first.id} 2\n")
    after = score(cfg.STILL_SHAPES, tmp_path, source(uniform, picture_vocabulary))["space"]
    found = list(entities_mentions(folder, first))
    assert found[1].mentions == [] and list(found[1].dropped) == ["unrelated caption"] and found[0].mentions
    count = after.dropped["unrelated caption"]
    assert count > 0 and after.scored < before.scored
    assert after.scored + sum(after.dropped.values()) == before.scored + sum(before.dropped.values())


def test_boxes_of_what_the_captions_of_a_picture_name(data):
    folder, (first, *_) = data / "StillShapes", media_of(cfg.STILL_SHAPES, data)
    boxes = named_boxes("entities", folder, first)
    assert boxes and all(name in " / ".join(first.captions) and len(found) for name, found in boxes.items())
    assert named_boxes("none", folder, first) == named_boxes("tracks", folder, first) == {}
    assert named_boxes("entities", folder, datasets.Medium("unknown", folder, "test", ())) == {}


# --- which event of several -----------------------------------------------------------------------------------------

WHICH_EVENT = tuple(f"time: {which} event" for which in ("right", "wrong", "no"))


def which_event(tmp_path, curve, happens, elsewhere):
    """{row: (right, wrong, no event)} of the evidence over time for one word, which names an event."""
    mention = Mention(Phrase("w", (0,), ("appear",)), happens=happens, elsewhere=elsewhere)
    told = source(lambda medium, words: (None, curve[None]), Vocabulary([".", "w"], [1, 1]), "ours", "attention")
    tally = Scorer([told], "video", Protocol(SaliencyConfig(sigma_frames=0)))
    medium = datasets.Medium("m", tmp_path, "test", ("w",))
    tally.add(medium, Geometry.of(*writers.CLIP_SIZE), [AnnotatedCaption(["w"], [mention], {})])
    tallies = tally.ordered_tallies()
    averages = [tallies[name].averages() for name in WHICH_EVENT]
    return {row: tuple(average[row][0] for average in averages) for row in averages[0]}


@pytest.mark.parametrize("peak, expected", [(1, (1, 0, 0)), (4, (0, 1, 0)), (3, (0, 0, 1))])
def test_a_curve_finds_the_event_named_or_another_or_none(tmp_path, peak, expected):
    """Seven frames: two of the event named, one of another, four of none; the middle one has none."""
    happens, elsewhere = ([bit == "1" for bit in bits] for bits in ("0110000", "0000100"))
    found = which_event(tmp_path, np.eye(7)[peak], happens, elsewhere)
    assert found["ours"] == expected
    assert found["random"] == pytest.approx((2 / 7, 1 / 7, 4 / 7)) and found["middle"] == (0, 0, 1)


def test_right_wrong_and_no_event_sum_to_one(tmp_path):
    rng = np.random.default_rng(7)
    for m in (1, 5, 26):
        for _ in range(10):
            here, there = rng.random((2, m)) < 0.4
            found = which_event(tmp_path, rng.random(m), here, there & ~here)
            assert found.keys() == {"ours", "random", "middle"}
            assert [sum(scores) for scores in found.values()] == pytest.approx([1, 1, 1], abs=1e-5)  # rounded


# --- the literal way: every mention by loops over pixels ------------------------------------------------------------


def literal_upsample(grid, geometry):
    """A map over the source's pixels, one pixel at a time."""
    found = np.zeros((geometry.height, geometry.width))
    for y in range(geometry.height):
        for x in range(geometry.width):
            at = geometry.to_input((x + 0.5, y + 0.5))
            k, share = [], []
            for position in at:
                position = min(max((position - 37.5) / 32, 0), 7)
                k.append(min(int(position), 6))
                share.append(position - k[-1])
            (i, j), (a, b) = k, share  # column, row
            found[y, x] = (1 - b) * ((1 - a) * grid[j, i] + a * grid[j, i + 1]) + b * (
                (1 - a) * grid[j + 1, i] + a * grid[j + 1, i + 1]
            )
    return found


def literal_scores(pixel_map, boxes, region, tolerance):
    """(hit, attention correctness) of one map, and of a random point and a uniform map, by loops over pixels."""
    best, points, inside, total, near, within, pixels = -1.0, [], 0.0, 0.0, 0, 0, 0
    left, top, right, bottom = region
    for y in range(pixel_map.shape[0]):
        for x in range(pixel_map.shape[1]):
            px, py = x + 0.5, y + 0.5
            if not (left <= px < right and top <= py < bottom):
                continue
            distance = np.inf
            for x1, y1, x2, y2 in boxes:
                x1, y1, x2, y2 = max(x1, left), max(y1, top), min(x2, right), min(y2, bottom)
                if x1 < x2 and y1 < y2:
                    dx, dy = max(x1 - px, 0, px - x2), max(y1 - py, 0, py - y2)
                    outside = 0 if x1 <= px < x2 and y1 <= py < y2 else 1e-12  # the right edge is outside
                    distance = min(distance, max(np.hypot(dx, dy), outside))
            value = float(pixel_map[y, x])
            pixels, total = pixels + 1, total + value
            near += distance <= max(tolerance, 0)
            if distance == 0:
                inside, within = inside + value, within + 1
            if value > best:
                best, points = value, [(px, py, distance)]
            elif value == best:
                points.append((px, py, distance))
    middle = (left + right) / 2, (top + bottom) / 2
    distance = min(points, key=lambda p: (p[0] - middle[0]) ** 2 + (p[1] - middle[1]) ** 2)[2]
    return distance <= tolerance, inside / total, near / pixels, within / pixels


@pytest.mark.parametrize("tolerance, region", [(0.0, "picture"), (4.0, "picture"), (0.0, "center_crop")])
def test_scores_equal_loops_over_pixels(tmp_path, tolerance, region):
    """Random maps and boxes, two words' maps for each mention, as attention has them."""
    rng = np.random.default_rng(3)
    geometry = Geometry.of(53, 40)
    resize = "squash" if region == "picture" else "center_crop"
    left, top, right, bottom = (np.ceil(e - 0.5) for e in Geometry.of(53, 40, resize).crop)
    grids = rng.random((24, 1, 8, 8))  # 12 mentions of two words
    boxes = []
    for k in range(12):
        x, y = rng.integers(0, 53, (1 + k % 3, 2)), rng.integers(0, 40, (1 + k % 3, 2))
        boxes.append([(x[i].min(), y[i].min(), x[i].max() + 1, y[i].max() + 1) for i in range(len(x))])
    mentions = [Mention(Phrase("w w", (2 * k, 2 * k + 1), ("a",)), (boxes[k],)) for k in range(12)]
    medium = datasets.Medium("m", tmp_path, "test", ("w",))
    told = source(lambda medium, words: (grids, None), Vocabulary([".", "w"], [1, 1]), "ours", "attention")
    protocol = Protocol(SaliencyConfig(sigma_cells=0), EvaluationConfig(tolerance=tolerance, region=region))
    tally = Scorer([told], "picture", protocol)
    tally.add(medium, geometry, [AnnotatedCaption(["w"] * 24, mentions, {})])
    tallies = tally.ordered_tallies()

    literal, dropped = [], 0
    for k in range(12):
        if not any(min(b[2], right) > max(b[0], left) and min(b[3], bottom) > max(b[1], top) for b in boxes[k]):
            dropped += 1
            continue
        first, second = (literal_upsample(grid[0], geometry) for grid in grids[2 * k : 2 * k + 2])
        edges = left, top, right, bottom
        hits, _, near, within = literal_scores(first + second, boxes[k], edges, tolerance)
        correct = [literal_scores(each, boxes[k], edges, 0)[1] for each in (first, second, first + second)]
        literal.append((hits, near, max(correct[:2]), np.mean(correct[:2]), correct[2], within))
    expected = np.mean(literal, axis=0)
    space, correctness = tallies["space"].averages(), [tallies[name].averages() for name in CORRECTNESS]
    found = [space["ours"][0], space["random"][0], *(table["ours"][0] for table in correctness)]
    found.append(correctness[0]["uniform"][0])
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert tallies["space"].scored == 12 - dropped
    assert tallies["space"].dropped == ({"outside the crop": dropped} if dropped else {})
    assert ("centre crop" in tallies["space"].protocol) == (region == "center_crop")
    assert f"tolerance {tolerance:g} px" in tallies["space"].protocol and "bilinear" in tallies["space"].protocol


# --- protocol -------------------------------------------------------------------------------------------------------


def test_a_window_has_its_own_pixels_and_cuts_boxes():
    window = Window.of(Geometry.of(320, 240, "center_crop"), "center_crop")  # 210 x 210 about (160, 120)
    assert (window.left, window.top, window.width, window.height) == (55, 15, 210, 210)
    np.testing.assert_allclose(window.to_input((0, 0)), [0, 0], atol=1e-9)
    np.testing.assert_allclose(window.to_input((210, 105)), [299, 149.5])
    assert window.cut([(50, 10, 60, 20), (0, 0, 55, 240), (100, 100, 110, 300)]).tolist() == [
        [0, 0, 5, 5], [45, 85, 55, 210],
    ]  # fmt: skip
    whole = Window.of(Geometry.of(320, 240), "picture")
    assert (whole.left, whole.top, whole.width, whole.height) == (0, 0, 320, 240)


def test_descriptors_of_the_centre_crop_are_scored_in_it():
    assert Protocol.of(cfg.STILL_SHAPES) == Protocol()
    cropped = Protocol.of(cfg.STILL_SHAPES.replace(["features.resize=center_crop"]))
    inside = Protocol.of(cfg.STILL_SHAPES.replace(["evaluation.region=center_crop"]))
    assert cropped.evaluation == inside.evaluation and (cropped.resize, inside.resize) == ("center_crop", "squash")
    assert "saw no more" in cropped.space_text() and "saw the whole picture" in inside.space_text()


def test_every_setting_of_a_protocol_is_recorded_and_told_apart():
    changes = {
        "saliency.frame_input": "cells", "saliency.sigma_cells": "2", "saliency.sigma_frames": "0.5",
        "saliency.normalize": "frame", "saliency.words": "content", "saliency.reads": "4", "saliency.subsets": "64",
        "saliency.subset_share": "0.3", "saliency.precision": "bfloat16", "saliency.integration_steps": "16",
        "saliency.eb_layer": "17x17",
        "evaluation.tolerance": "15", "evaluation.average": "class", "evaluation.region": "center_crop",
        "evaluation.unknown": "miss",
    }  # fmt: skip
    usual = cfg.STILL_SHAPES
    changed = usual.replace([f"{key}={value}" for key, value in changes.items()])
    protocol = Protocol.of(changed, "ours", usual)
    assert protocol.name == (
        "ours, frame_input=cells, sigma_cells=2.0, sigma_frames=0.5, normalize=frame, words=content, "
        "precision=bfloat16, reads=4, subsets=64, subset_share=0.3, integration_steps=16, eb_layer=17x17, "
        "tolerance=15.0, average=class, region=center_crop, unknown=miss"
    )
    assert protocol.to_json() == {
        "name": protocol.name, "tolerance": 15.0, "sigma_cells": 2.0, "sigma_frames": 0.5, "frame_input": "cells",
        "average": "class", "region": "center_crop", "unknown": "miss", "resize": "squash", "normalize": "frame",
        "words": "content", "reads": 4, "subsets": 64, "subset_share": 0.3, "precision": "bfloat16",
        "integration_steps": 16, "eb_layer": "17x17",
    }  # fmt: skip
    assert Protocol.of(usual, "ours", usual).name == "ours"
    fields = {**vars(SaliencyConfig()), **vars(EvaluationConfig())}
    assert fields.keys() - {"map", "faithfulness"} == protocol.to_json().keys() - {"name", "resize"}


def test_a_table_is_called_after_the_papers_only_under_its_protocol():
    """Table 1 is of squashed pictures; Table 2 of descriptors of the centre crop, not of a score inside the crop."""
    pure = Protocol(SaliencyConfig(sigma_cells=0, sigma_frames=0), name="paper")
    assert pure.heading("space") == "paper (the paper's Table 1)" and pure.heading("attention correctness") == "paper"
    inside = Protocol(pure.saliency, EvaluationConfig(region="center_crop"), "paper, region=center_crop")
    assert "Table" not in inside.heading("space") + inside.heading("attention correctness")
    cropped = Protocol(pure.saliency, EvaluationConfig(region="center_crop"), "paper", "center_crop")
    assert cropped.heading("attention correctness") == "paper (the paper's Table 2)"
    assert "Table" not in cropped.heading("space") + Protocol().heading("space")


# --- rows and words -------------------------------------------------------------------------------------------------


def test_all_rows_are_scored_on_the_same_phrases(data, picture_vocabulary):
    """A second captioner knows few words: its unknown phrases are dropped for the first one, too."""
    colour = next(word for word in picture_vocabulary.words if word in drawing.COLOURS)
    read = {"all": 0, "few": 0}

    def row(name, vocabulary):
        def explain(medium, words):
            read[name] += len(words)
            return uniform(medium, words)

        return source(explain, vocabulary, name)

    few = Vocabulary([".", colour], [1, 1])
    tallies = score(cfg.STILL_SHAPES, data, row("all", picture_vocabulary), row("few", few))
    alone = score(cfg.STILL_SHAPES, data, row("few", few))
    whole = score(cfg.STILL_SHAPES, data, source(uniform, picture_vocabulary))
    assert 0 < tallies["space"].scored == alone["space"].scored < whole["space"].scored
    assert list(tallies["space"].averages()) == ["all", "few", "random", "center"]
    assert tallies["space"].dropped == tallies["attention correctness"].dropped == alone["space"].dropped
    assert tallies["space"].noted == {PARTLY_READ: tallies["space"].scored}
    assert read["all"] > read["few"]


def test_unknown_words_are_left_out_and_counted(data, picture_vocabulary):
    colours = [word for word in picture_vocabulary.words if word in drawing.COLOURS]
    asked = []

    def explain(medium, words):
        asked.append(words)
        return uniform(medium, words)

    few = score(cfg.STILL_SHAPES, data, source(explain, Vocabulary([".", *colours], np.ones(len(colours) + 1))))
    assert asked and all(set(words) <= set(colours) for words in asked)
    whole = score(cfg.STILL_SHAPES, data, source(uniform, picture_vocabulary))["space"]
    assert few["space"].scored == whole.scored  # every phrase has a colour
    none = score(cfg.STILL_SHAPES, data, source(uniform, Vocabulary([".", "there"], [1, 1])))["space"]
    assert none.scored == 0 and none.dropped["not in the vocabulary"] == whole.scored


def test_words_beyond_the_decoders_steps_are_counted(data, picture_vocabulary):
    space = score(cfg.STILL_SHAPES, data, source(uniform, picture_vocabulary, max_words=4))["space"]
    assert space.dropped["beyond the decoder's steps"] > 0 and "not in the vocabulary" not in space.dropped


def test_the_map_of_a_phrase_is_that_of_its_words(data, picture_vocabulary):
    """Unknown words before a phrase shift its positions in the sentence that is read."""
    words = [word for word in picture_vocabulary.words if word != "a"]
    known = Vocabulary(words, np.ones(len(words)))

    def explain(medium, words):
        found = np.ones((len(words), 1, 8, 8))
        boxes = named_boxes("entities", data / "StillShapes", medium)
        for t, pair in enumerate(zip(words, words[1:], strict=False)):
            for name, (box, *_) in boxes.items():
                if pair == tuple(name.split()[1:]):  # "a red circle" without its article
                    found[t : t + 2, 0, *cell_of(box, Geometry.of(*writers.PICTURE_SIZE))] = 0
        return found, None

    tally = score(cfg.STILL_SHAPES, data, source(explain, known))["space"]
    assert "a" not in known.index and tally.noted[PARTLY_READ] > 5
    assert tally.averages()["nll"][0] > 0.9


def test_a_map_without_values_in_space_is_reported_as_absent(data, clip_vocabulary):
    def over_frames(medium, words):
        return None, np.full((len(words), 26), 1 / 26)

    tallies = score(cfg.MOVING_SHAPES, data, source(over_frames, clip_vocabulary, "attention", "attention"))
    assert set(tallies["space"].averages()) == {"random", "center"}
    assert "attention" in tallies["time: object"].averages()
    assert tallies["time: event"].dropped.get("event that lasts", 0) > 0
    (line,) = scorer.absent_rows(tallies, [{"row": "attention"}])
    assert line.startswith("attention: not in the table of 'pointing game'")


# --- streaming and resuming -----------------------------------------------------------------------------------------


class Killed(Exception):
    pass


def test_a_killed_run_resumes_and_ends_in_the_same_tables(data, picture_vocabulary, tmp_path):
    rng = np.random.default_rng(0)
    kept = {}

    def random_map(medium, words):
        explained.append(medium.id)
        if len(dict.fromkeys(explained)) == stop:
            raise Killed
        return kept.setdefault((medium.id, tuple(words)), rng.random((len(words), 1, 8, 8))), None

    def run(record=None):
        return score(cfg.STILL_SHAPES, data, source(random_map, picture_vocabulary), record=record)

    path, key = tmp_path / "scores" / "x.partial.jsonl", {"run": "a", "sha256": "1"}
    explained, stop = [], None
    whole = run()
    ids = list(dict.fromkeys(explained))
    assert len(ids) == 4
    explained, stop = [], 3
    with pytest.raises(Killed):
        run(Record(path, key))
    explained, stop = [], None
    record = Record(path, key)
    resumed = run(record)
    assert list(dict.fromkeys(explained)) == ids[2:]
    assert {n: t.to_json() for n, t in resumed.items()} == {n: t.to_json() for n, t in whole.items()}

    # The same command again has nothing left to do; another checkpoint, or other media, start again.
    explained = []
    assert run(Record(path, key))["space"].scored == whole["space"].scored
    assert explained == []
    run(Record(path, key | {"sha256": "2"}))
    assert list(dict.fromkeys(explained)) == ids
    media, lines = media_of(cfg.STILL_SHAPES, data), path.read_bytes()
    for asked, done in ((media, 4), (media[:3], 0), (media[::-1], 0)):
        path.write_bytes(lines)
        assert Record(path, key | {"sha256": "2"}).resume(asked, []) == done
    path.write_bytes(lines[:-5])  # killed while it wrote the last line
    assert Record(path, key | {"sha256": "2"}).resume(media, []) == 3
    record.remove()
    assert not path.exists()


def test_memory_does_not_grow_with_the_number_of_pictures(data, tmp_path):
    (medium, *_) = media_of(cfg.STILL_SHAPES, data)
    reader = annotated(cfg.STILL_SHAPES, data)
    peaks = []
    for count in (3, 3, 20):
        tally = Scorer([source(uniform, vocabulary_of([medium]))], "picture", Protocol())
        record = Record(tmp_path / f"{len(peaks)}.json", {})
        tracemalloc.start()
        localization.score_media([medium] * count, reader, [tally], record)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    maps = 17 * 8 * np.prod(writers.PICTURE_SIZE)  # bytes of a map of each of the further pictures
    assert peaks[2] < peaks[1] + maps / 4  # garbage of the readers', not yet collected, may lie about
