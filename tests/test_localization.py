"""The score of maps: perfect maps get everything, blind ones the baselines', and what is left out is counted."""

import shutil
import tracemalloc

import numpy as np
import pytest

import cfg
from s2vt.data import datasets, tracks
from s2vt.data.geometry import Geometry
from s2vt.data.text import Vocabulary
from s2vt.errors import UserError
from s2vt.evaluation import localization, mentions
from s2vt.evaluation.localization import Record, Row
from s2vt.evaluation.protocol import TABLE_1, Protocol, Window
from s2vt.saliency.heatmaps import cell_centres
from s2vt.saliency.maps import AttentionMap, LossMap
from s2vt.synthetic import drawing, writers

INDICES = np.round(np.linspace(0, 74, 26)).astype(int).tolist()
CENTRES = cell_centres() + 0.5


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    writers.write_moving_shapes(folder / "MovingShapes", {"train": 1, "validate": 1, "test": 6}, split="test")
    writers.write_still_shapes(folder / "StillShapes", {"train": 1, "val": 1, "test": 4}, split="test")
    return folder


def cell_of(box, geometry):
    """(row, column) of the cell whose receptive field is centred nearest the middle of a box."""
    x, y = geometry.to_input(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2))
    return np.abs(CENTRES - y).argmin(), np.abs(CENTRES - x).argmin()


def score(config, data, explain, vocabulary=None, protocol=TABLE_1, **options):
    media = datasets.select(datasets.read_media(config, data), "test")
    width, height = writers.CLIP_SIZE if config.media == "video" else datasets.PICTURE_SIZE
    geometry = Geometry.of(width, height)
    vocabulary = vocabulary or Vocabulary.from_captions((c for m in media for c in m.captions), 1)
    details = (geometry, INDICES if config.media == "video" else [], [])

    def maps(medium, sentences):
        return [LossMap(*explain(medium, [vocabulary.words[w] for w in y], geometry)) for y in sentences]

    rows = [Row("information loss", vocabulary, 25, maps)]
    folder = data / config.dataset
    return localization.localize(media, config.truth, folder, lambda medium: details, rows, protocol, **options)


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


def test_one_frame_that_stands_out_is_outweighed_by_its_neighbours(data):
    know = all_knowing(data)

    def explain(medium, words, geometry):
        loss, pooled = know(medium, words, geometry)
        for of_word in pooled:  # 0 where the object is, else 1
            there = np.flatnonzero(of_word == 0)
            far = [i for i in range(26) if len(there) and np.abs(there - i).min() > 2]
            of_word[far[len(far) // 2 :][:1]] = -0.5
        return loss, pooled

    def found(protocol):
        return score(cfg.MOVING_SHAPES, data, explain, protocol=protocol)["time: object"]

    own, smooth = found(Protocol(spread=0)), found(TABLE_1)
    assert own.averages()["information loss"][0] < 0.2
    assert smooth.averages()["information loss"][0] > 0.97
    assert "a Gaussian mean of 0.75 sampled frames" in smooth.protocol and "Gaussian" not in own.protocol
    assert "its cells, read like a picture's" in found(Protocol(frame="cells")).protocol


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
    colours = [w for w in known.words if w in drawing.COLOURS]
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


# --- an independent road: every mention by loops over pixels ---------------------------------------------------------


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
    """(hit, attention correctness) of one map, and of a point and a map chosen blindly, by loops over pixels."""
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


@pytest.mark.parametrize("tolerance, resize", [(0.0, "squash"), (4.0, "squash"), (0.0, "center_crop")])
def test_scores_are_those_of_loops_over_pixels(monkeypatch, tmp_path, tolerance, resize):
    """Random maps and boxes through `localize`, and the literal road, agree to the last phrase."""
    rng = np.random.default_rng(3)
    geometry = Geometry.of(53, 40)
    left, top, right, bottom = (np.ceil(e - 0.5) for e in Geometry.of(53, 40, resize).crop)
    grids = rng.random((12, 2, 1, 8, 8))  # 12 mentions, two tokens' maps each
    boxes = []
    for k in range(12):
        x, y = rng.integers(0, 53, (1 + k % 3, 2)), rng.integers(0, 40, (1 + k % 3, 2))
        boxes.append([(x[i].min(), y[i].min(), x[i].max() + 1, y[i].max() + 1) for i in range(len(x))])

    class Told:
        def space(self, words):
            return grids[words[0]]

    def mentions(folder, medium, indices):
        yield ["w"] * 12, [mentions.Mention((k,), ("a",), (boxes[k],)) for k in range(12)], {}

    monkeypatch.setitem(mentions.TRUTHS, "told", mentions)
    medium = datasets.Medium("m", tmp_path, "test", ("w",))
    row = Row("ours", Vocabulary([".", "w"], [1, 1]), 25, lambda medium, sentences: [Told() for _ in sentences])
    protocol = Protocol(tolerance, "phrase", resize, spread=0)
    tallies = localization.localize([medium], "told", tmp_path, lambda m: (geometry, [], []), [row], protocol)

    literal, dropped = [], 0
    for k in range(12):
        if not any(min(b[2], right) > max(b[0], left) and min(b[3], bottom) > max(b[1], top) for b in boxes[k]):
            dropped += 1
            continue
        first, second = (literal_upsample(grid[0], geometry) for grid in grids[k])
        region = left, top, right, bottom
        hits, _, near, within = literal_scores(first + second, boxes[k], region, tolerance)
        correct = np.mean([literal_scores(each, boxes[k], region, 0)[1] for each in (first, second)])
        literal.append((hits, near, correct, within))
    expected = np.mean(literal, axis=0)
    space, correctness = tallies["space"].averages(), tallies["attention correctness"].averages()
    found = [space["ours"][0], space["random"][0], correctness["ours"][0], correctness["uniform"][0]]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert tallies["space"].scored == 12 - dropped
    assert tallies["space"].dropped == ({"outside the crop": dropped} if dropped else {})
    assert ("centre crop" in tallies["space"].protocol) == (resize == "center_crop")
    assert f"tolerance {tolerance:g} px" in tallies["space"].protocol and "bilinear" in tallies["space"].protocol


def test_a_window_is_the_picture_and_cuts_boxes():
    window = Window.of(Geometry.of(320, 240, "center_crop"), "center_crop")  # 210 x 210 about (160, 120)
    assert (window.left, window.top, window.width, window.height) == (55, 15, 210, 210)
    np.testing.assert_allclose(window.to_input((0, 0)), [0, 0], atol=1e-9)
    np.testing.assert_allclose(window.to_input((210, 105)), [299, 149.5])
    assert window.cut([(50, 10, 60, 20), (0, 0, 55, 240), (100, 100, 110, 300)]).tolist() == [
        [0, 0, 5, 5], [45, 85, 55, 210],
    ]  # fmt: skip
    whole = Window.of(Geometry.of(320, 240), "squash")
    assert (whole.left, whole.top, whole.width, whole.height) == (0, 0, 320, 240)


# --- rows, words, captions that do not count


def blind(medium, words, geometry):
    return np.ones((len(words), 1, 8, 8)), None


def test_all_rows_are_scored_on_the_same_phrases(data):
    """A second captioner that lacks words: its phrases are dropped for the first one, too."""
    media = datasets.select(datasets.read_media(cfg.STILL_SHAPES, data), "test")
    known = Vocabulary.from_captions((c for m in media for c in m.captions), 1)
    colour = next(word for word in known.words if word in drawing.COLOURS)
    few = Vocabulary([".", colour], [1, 1])
    seen = {"all": 0, "few": 0}

    def row(name, vocabulary):
        def maps(medium, sentences):
            seen[name] += sum(map(len, sentences))
            return [LossMap(np.ones((len(y), 1, 8, 8)), None) for y in sentences]

        return Row(name, vocabulary, 25, maps)

    details = (Geometry.of(*writers.PICTURE_SIZE), [], [])
    folder = data / "StillShapes"
    tallies = localization.localize(media, "entities", folder, lambda m: details, [row("all", known), row("few", few)])
    alone = localization.localize(media, "entities", folder, lambda m: details, [row("few", few)])
    assert 0 < tallies["space"].scored == alone["space"].scored < score(cfg.STILL_SHAPES, data, blind)["space"].scored
    assert set(tallies["space"].averages()) == {"all", "few", "random", "center"}
    assert tallies["space"].dropped == tallies["attention correctness"].dropped == alone["space"].dropped
    assert tallies["space"].noted == {"without some of its words, unknown to a captioner or beyond its steps":
                                      tallies["space"].scored}  # fmt: skip
    assert seen["all"] > seen["few"]


def test_words_beyond_the_decoders_steps_are_counted_as_such(data):
    media = datasets.select(datasets.read_media(cfg.STILL_SHAPES, data), "test")
    vocabulary = Vocabulary.from_captions((c for m in media for c in m.captions), 1)
    row = Row("ours", vocabulary, 4, lambda m, ys: [LossMap(np.ones((len(y), 1, 8, 8)), None) for y in ys])
    details = (Geometry.of(*writers.PICTURE_SIZE), [], [])
    space = localization.localize(media, "entities", data / "StillShapes", lambda m: details, [row])["space"]
    assert space.dropped["beyond the decoder's steps"] > 0 and "not in the vocabulary" not in space.dropped


def test_a_map_that_is_not_defined_in_space_is_said_to_be_absent(data):
    media = datasets.select(datasets.read_media(cfg.MOVING_SHAPES, data), "test")
    vocabulary = Vocabulary.from_captions((c for m in media for c in m.captions), 1)
    row = Row("attention", vocabulary, 25, lambda m, ys: [AttentionMap(np.full((len(y), 26), 1 / 26)) for y in ys])
    details = (Geometry.of(*writers.CLIP_SIZE), INDICES, [])
    tallies = localization.localize(media, "tracks", data / "MovingShapes", lambda m: details, [row])
    assert set(tallies["space"].averages()) == {"random", "center"}
    assert "attention" in tallies["time: object"].averages()
    assert tallies["time: event"].dropped.get("event that lasts", 0) > 0
    (line,) = localization.absent(tallies, [row])
    assert line.startswith("attention: not in the table of 'pointing game'")


def test_captions_on_the_unrelated_list_are_dropped(data, tmp_path):
    folder = tmp_path / "StillShapes"
    shutil.copytree(data / "StillShapes", folder)
    media = datasets.select(datasets.read_media(cfg.STILL_SHAPES, data), "test")
    before = score(cfg.STILL_SHAPES, tmp_path, blind)["space"]
    (folder / "Entities" / "UNRELATED_CAPTIONS").write_text(f"# format\n{media[0].id} 2\n")
    after = score(cfg.STILL_SHAPES, tmp_path, blind)["space"]
    found = list(mentions.entities_mentions(folder, media[0], ()))
    assert found[1][1] == [] and list(found[1][2]) == ["unrelated caption"] and found[0][1]
    count = after.dropped["unrelated caption"]
    assert count > 0 and after.scored < before.scored
    assert after.scored + sum(after.dropped.values()) == before.scored + sum(before.dropped.values())


# --- streaming and resuming


class Killed(Exception):
    pass


def test_a_killed_run_goes_on_and_comes_to_the_same_tables(data, tmp_path):
    rng = np.random.default_rng(0)
    chance = {}

    def random_map(medium, words, geometry):
        explained.append(medium.id)
        key = medium.id, tuple(words)
        chance.setdefault(key, rng.random((len(words), 1, 8, 8)))
        if len(dict.fromkeys(explained)) == stop:
            raise Killed
        return chance[key], None

    path, key = tmp_path / "scores" / "x.partial.json", {"run": "a", "sha256": "1"}
    explained, stop = [], None
    whole = score(cfg.STILL_SHAPES, data, random_map)
    ids = list(dict.fromkeys(explained))
    assert len(ids) == 4
    explained, stop = [], 3
    with pytest.raises(Killed):
        score(cfg.STILL_SHAPES, data, random_map, record=Record(path, key))
    explained, stop = [], None
    record = Record(path, key)
    resumed = score(cfg.STILL_SHAPES, data, random_map, record=record)
    assert list(dict.fromkeys(explained)) == ids[2:]
    assert {n: t.to_json() for n, t in resumed.items()} == {n: t.to_json() for n, t in whole.items()}

    # The same again has nothing left to do; another checkpoint, or other media, start again.
    explained = []
    assert score(cfg.STILL_SHAPES, data, random_map, record=Record(path, key))["space"].scored == whole["space"].scored
    assert explained == []
    score(cfg.STILL_SHAPES, data, random_map, record=Record(path, key | {"sha256": "2"}))
    assert list(dict.fromkeys(explained)) == ids
    media = datasets.select(datasets.read_media(cfg.STILL_SHAPES, data), "test")
    assert Record(path, key | {"sha256": "2"}).resume(media)[0] == 4
    assert Record(path, key | {"sha256": "2"}).resume(media[:3])[0] == 0
    assert Record(path, key | {"sha256": "2"}).resume(media[::-1])[0] == 0
    record.remove()
    assert not path.exists()


def test_memory_does_not_grow_with_the_number_of_pictures(data, tmp_path):
    medium = datasets.select(datasets.read_media(cfg.STILL_SHAPES, data), "test")[0]
    vocabulary = Vocabulary.from_captions(medium.captions, 1)
    row = Row("ours", vocabulary, 25, lambda m, ys: [LossMap(np.zeros((len(y), 1, 8, 8)), None) for y in ys])
    details = (Geometry.of(*writers.PICTURE_SIZE), [], [])
    peaks = []
    for count in (3, 3, 20):
        record = Record(tmp_path / f"{len(peaks)}.json", {})
        tracemalloc.start()
        localization.localize(
            [medium] * count, "entities", data / "StillShapes", lambda m: details, [row], record=record
        )
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    maps = 17 * 8 * np.prod(writers.PICTURE_SIZE)  # bytes of a map of each of the further pictures
    assert peaks[2] < peaks[1] + maps / 4  # garbage of the readers', not yet collected, may lie about
