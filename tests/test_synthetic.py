"""The synthetic sets: pictures, boxes and captions agree, are reproducible, and are read as the real sets are."""

import dataclasses
import hashlib
import re

import numpy as np
import pytest

import cfg
from s2vt.data import datasets, entities, tracks
from s2vt.data.sampling import sample_video
from s2vt.synthetic import captions, pretraining, scenes, writers
from s2vt.synthetic.__main__ import main
from s2vt.synthetic.drawing import COLOURS, SHAPES, Renderer
from s2vt.synthetic.scenes import Scene, Shape


def scene_of(*shapes, background="sand"):
    return Scene(background, shapes, 3, (-0.7, -0.7), 1.0)


def still(colour="red", shape="circle", x=0.5, y=0.5, radius=0.2, **changes):
    return dataclasses.replace(Shape(colour, shape, "still", x, y, radius, 0.0, 0.0, 0.5), **changes)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_box_is_that_of_the_drawn_shape(shape):
    scene = scene_of(still("blue", shape, x=0.6, y=0.45))
    picture, boxes, seen = Renderer(scene, 120, 160).frame(0.0)
    ground = Renderer(scene_of(), 120, 160).frame(0.0)[0]
    bluer = (picture[..., 2].astype(int) - picture[..., 0]) - (ground[..., 2].astype(int) - ground[..., 0]) > 60
    rows, columns = np.nonzero(bluer)
    drawn = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    np.testing.assert_allclose(boxes[0], drawn, atol=2)
    assert seen == [1.0]


def test_a_circle_lies_where_it_was_put():
    # Centre (0.6 H, 0.45 H) = (72, 54), radius 0.88 * 0.2 H = 21.1 pixels.
    boxes = Renderer(scene_of(still(x=0.6, y=0.45)), 120, 160).frame(0.0)[1]
    np.testing.assert_allclose(boxes[0], (72 - 21.1, 54 - 21.1, 72 + 21.1, 54 + 21.1), atol=1)


def test_events_move_turn_scale_or_fade_a_shape():
    def at(event, time, **changes):
        return still(event=event, **{"amount": 0.4, **changes}).at(time)

    assert at("left", 1.0)[0] < at("left", 0.0)[0] and at("right", 1.0)[0] > at("right", 0.0)[0]
    assert at("up", 1.0)[1] < at("up", 0.0)[1] and at("down", 1.0)[1] > at("down", 0.0)[1]
    assert at("grow", 1.0)[2] > 1.4 * at("grow", 0.0)[2] and at("shrink", 1.0)[2] < at("shrink", 0.0)[2]
    assert at("spin", 0.5)[3] != at("spin", 0.0)[3]
    assert [at("appear", t)[4] for t in (0.0, 0.5, 1.0)] == [0.0, 0.5, 1.0]
    assert [at("disappear", t)[4] for t in (0.0, 0.5, 1.0)] == [1.0, 0.5, 0.0]


def test_a_hidden_object_is_seen_less():
    below, above = still("red", "circle"), still("green", "square", radius=0.3)
    assert Renderer(scene_of(below, above), 120, 160).frame(0.0)[2] == [pytest.approx(0, abs=0.02), 1.0]
    assert Renderer(scene_of(above, below), 120, 160).frame(0.0)[2][1] == 1.0


def test_captions_name_what_is_there():
    rng = np.random.default_rng(5)
    nouns = {noun: shape for shape in SHAPES for noun in captions.SYNONYMS.get(shape, (shape,))}
    kinds = set()
    for _ in range(60):
        scene = scenes.sample_scene(rng, int(rng.integers(1, 4)), moving=True)
        for text, phrases in captions.captions(scene, rng, 10):
            tokens = text.split()
            for phrase in phrases:
                words = tokens[slice(*phrase["tokens"])]
                kinds.add(phrase["kind"])
                if phrase["kind"] == "object":
                    shape = scene.shapes[phrase["object"]]
                    assert shape.colour in words
                    assert words[-1] == "shape" or nouns[words[-1]] == shape.shape
                elif phrase["kind"] == "event":
                    assert " ".join(words) in captions.VERBS[scene.shapes[phrase["object"]].event]
                else:
                    assert " ".join(words) in captions.GROUNDS[scene.background]
    assert kinds == {"object", "event", "ground"}


def test_relations_hold_in_the_picture():
    left, right, low = still(x=0.3), still("blue", x=1.0), still("green", x=0.3, y=0.8)
    assert captions._relation(left, right) == "to the left of"
    assert captions._relation(right, left) == "to the right of"
    assert captions._relation(left, low) == "above" and captions._relation(low, left) == "below"
    assert captions._relation(left, still(x=0.4)) is None
    crossing = still(event="right", amount=1.2, x=1.0)
    assert captions._relation(left, crossing) is None


def test_shapes_of_a_scene_differ():
    rng = np.random.default_rng(0)
    for _ in range(100):
        scene = scenes.sample_scene(rng, 3, moving=True)
        assert len({(s.colour, s.shape) for s in scene.shapes}) == 3
        assert all(s.colour in COLOURS and s.shape in SHAPES for s in scene.shapes)


# --- scenes and captions of a kind


# Taken when the sets were first rendered: a change of these digests is another data set under the same name.
@pytest.mark.parametrize("kind, sizes, count, expected", [
    ("moving", writers.MOVING_SPLITS, 15, "747d92a424b2e504"),
    ("sequence", writers.SEQUENCE_SPLITS, 15, "c8269a97e13038f1"),
    ("still", writers.STILL_SPLITS, 5, "52d59b19b40f8f35"),
])  # fmt: skip
def test_the_scenes_and_captions_of_a_seed_stay_the_same(kind, sizes, count, expected):
    digest = hashlib.sha256()
    for split in sizes:
        for index in range(4):
            scene, rng = writers._scene(1, split, index, kind)
            numbers = re.sub(r"\d+\.\d+", lambda number: f"{float(number[0]):.9f}", repr(scene))
            digest.update(f"{numbers} {captions.captions(scene, rng, count, kind)}".encode())
    assert digest.hexdigest()[:16] == expected


@pytest.fixture(scope="module")
def sequences():
    """[(scene, its sentences)] of ShapeSequences."""
    made = (writers._scene(1, "train", index, "sequence") for index in range(300))
    return [(scene, [text for text, _ in captions.captions(scene, rng, 15, "sequence")]) for scene, rng in made]


def test_the_events_of_a_sequence_lie_apart(sequences):
    for scene, _ in sequences:
        moments = sorted(shape.moment for shape in scene.shapes)
        assert moments[0] >= scenes.MOMENTS[0] and moments[-1] <= scenes.MOMENTS[1]
        assert np.diff(moments).min() >= scenes.APART
        frames = sorted(writers._frames_of_event(shape) for shape in scene.shapes)
        assert 0 <= frames[0][0] and frames[-1][1] < writers.NUM_CLIP_FRAMES
        assert all(earlier[1] < later[0] for earlier, later in zip(frames, frames[1:], strict=False))
    assert {len(scene.shapes) for scene, _ in sequences} == {2, 3}
    assert {shape.event for scene, _ in sequences for shape in scene.shapes} == {"appear", "disappear"}


# Sentences with E for "a red circle appears" and G for the ground, and the order in time of the events they name.
ORDERS = {
    "E": [0], "there is E": [0], "E and then E": [0, 1], "first E and then E": [0, 1], "E before E": [0, 1],
    "E after E": [1, 0], "after E E": [0, 1], "E and then E on G": [0, 1], "on G E before E": [0, 1],
    "E then E and then E": [0, 1, 2],
}  # fmt: skip


def test_the_captions_of_a_sequence_tell_the_true_order(sequences):
    """The sentences are parsed from their text alone, then compared with the scene."""
    nouns = {shape: {*captions.SYNONYMS.get(shape, (shape,)), "shape"} for shape in SHAPES}
    verbs = {verb: event for event in ("appear", "disappear") for verb in captions.VERBS[event]}
    grounds = {ground: background for background, names in captions.GROUNDS.items() for ground in names}
    event = re.compile(
        rf"\ba (?:big |small )?({'|'.join(COLOURS)}) ({'|'.join(set().union(*nouns.values()))}) "
        rf"(?:that )?({'|'.join(verbs)})\b"
    )
    ground = re.compile(rf"\bon ({'|'.join(grounds)})\b")
    found = set()
    for scene, sentences in sequences:
        for text in sentences:
            form = ground.sub("on G", event.sub("E", text))
            found.add(form)
            assert all(grounds[name] == scene.background for name in ground.findall(text)), text
            moments = []
            for colour, noun, verb in event.findall(text):
                (named,) = (s for s in scene.shapes if s.colour == colour and noun in nouns[s.shape])
                assert named.event == verbs[verb], text
                moments.append(named.moment)
            assert np.argsort(moments).tolist() == ORDERS[form], text
    assert found == ORDERS.keys()


# --- files


@pytest.fixture(scope="module")
def moving(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    writers.write_moving_shapes(folder / "MovingShapes", {"train": 2, "validate": 1, "test": 2}, processes=1)
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    writers.write_still_shapes(folder / "StillShapes", {"train": 2, "val": 1, "test": 3}, processes=1)
    return folder


def test_moving_shapes_reads_as_msr_vtt(moving):
    media = datasets.read_media(cfg.MOVING_SHAPES, moving)
    assert [medium.split for medium in media.values()] == ["train", "train", "val", "test", "test"]
    assert all(len(medium.captions) == 15 and medium.path.exists() for medium in media.values())
    clip = sample_video(media["video3"].path, 26)
    assert clip.frames.shape == (26, 240, 320, 3)
    assert (clip.num_frames, clip.frame_rate, round(clip.duration, 6)) == (75, 25, 3.0)


def test_shape_sequences_reads_as_msr_vtt(tmp_path, monkeypatch):
    monkeypatch.setattr(writers, "NUM_CLIP_FRAMES", 20)
    monkeypatch.setattr(writers, "CLIP_SIZE", (96, 72))
    folder, sizes = tmp_path / "ShapeSequences", {"train": 1, "validate": 1, "test": 1}
    assert writers.write_shape_sequences(folder, sizes, split="test", processes=1) == 1
    media = datasets.read_media(cfg.SHAPE_SEQUENCES, tmp_path)
    assert [medium.split for medium in media.values()] == ["train", "val", "test"]
    medium = media["video2"]
    assert sample_video(medium.path, 20).frames.shape == (20, 72, 96, 3)
    truth = tracks.read_tracks(folder / "truth" / "video2.json")
    assert [entry["caption"] for entry in truth["captions"]] == list(medium.captions) and len(medium.captions) == 15
    assert len(truth["objects"]) >= 2
    for track in truth["objects"]:
        first, last = track["happens"]
        before, after = track["seen"][first - 1], track["seen"][last + 1]
        absent, present = (before, after) if track["event"] == "appear" else (after, before)
        assert absent < 0.1 and present > 0.8 and 0.1 < track["seen"][(first + last) // 2] < 0.9


def test_the_clip_shows_what_its_annotations_say(moving):
    media = datasets.read_media(cfg.MOVING_SHAPES, moving)
    checked = 0
    for name in ("video2", "video3", "video4"):
        clip = sample_video(media[name].path, 26)
        truth = tracks.read_tracks(moving / "MovingShapes" / "truth" / f"{name}.json")
        assert [entry["caption"] for entry in truth["captions"]] == list(media[name].captions)
        for track in truth["objects"]:
            wanted = np.array(COLOURS[track["colour"]])
            for frame, index in zip(clip.frames, clip.indices, strict=True):
                if track["boxes"][index] and track["seen"][index] > 0.98 and track["shape"] not in ("ring", "moon"):
                    x1, y1, x2, y2 = track["boxes"][index]
                    shown = frame[(y1 + y2) // 2, (x1 + x2) // 2] / 255
                    assert abs(shown / shown.max() - wanted / wanted.max()).max() < 0.25
                    checked += 1
    assert checked > 10


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(moving, tmp_path):
    again = tmp_path / "again"
    writers.write_moving_shapes(again, {"train": 2, "validate": 1, "test": 2}, split="test", limit=1, processes=1)
    first = moving / "MovingShapes" / "TestVideo" / "video3.mp4"
    assert (again / "TestVideo" / "video3.mp4").read_bytes() == first.read_bytes()
    assert not (again / "TestVideo" / "video4.mp4").exists()
    assert (again / "test_videodatainfo.json").read_bytes() == (
        moving / "MovingShapes" / "test_videodatainfo.json"
    ).read_bytes()
    other = tmp_path / "other"
    writers.write_moving_shapes(
        other, {"train": 2, "validate": 1, "test": 2}, split="test", limit=1, seed=2, processes=1
    )
    assert (other / "TestVideo" / "video3.mp4").read_bytes() != first.read_bytes()


def test_still_shapes_reads_as_flickr30k_with_entities(pictures):
    media = datasets.read_media(cfg.STILL_SHAPES, pictures)
    assert [medium.split for medium in media.values()] == ["train"] * 2 + ["val"] + ["test"] * 3
    folder = pictures / "StillShapes"
    for medium in media.values():
        annotations = entities.read_annotations(folder / "Entities" / "Annotations" / f"{medium.id}.xml")
        assert (annotations.width, annotations.height) == writers.PICTURE_SIZE
        sentences = entities.read_sentences(folder / "Entities" / "Sentences" / f"{medium.id}.txt", 5)
        assert [" ".join(sentence.tokens) for sentence in sentences] == list(medium.captions)
        found = [entities.phrases(sentence, annotations, str.split) for sentence in sentences]
        named = [phrase for phrases, _ in found for phrase in phrases]
        assert named and {category for phrase in named for category in phrase.categories} <= {"round", "angular"}
        assert {reason for _, dropped in found for reason in dropped} <= {"scene"}


def test_the_entities_box_is_the_renderers_box(pictures):
    scene, _ = writers._scene(1, "test", 0, "still")
    width, height = writers.PICTURE_SIZE
    boxes = Renderer(scene, height, width).frame(0.0)[1]
    annotations = entities.read_annotations(pictures / "StillShapes" / "Entities" / "Annotations" / "000003.xml")
    assert {chain: b[0] for chain, b in annotations.boxes.items()} == {str(k + 1): b for k, b in enumerate(boxes)}


def test_processes_of_their_own_write_the_same_bytes(pictures, tmp_path):
    writers.write_still_shapes(tmp_path, {"train": 2, "val": 1, "test": 3}, split="test", limit=2, processes=2)
    written = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) == 5 + 2 * 3
    for path in written:
        assert (tmp_path / path).read_bytes() == (pictures / "StillShapes" / path).read_bytes()


# --- training of the backbone


def test_labels_of_a_crop_and_of_its_windows():
    """A red circle in the upper left, a blue one cut by the crop's edge; a window that holds neither."""
    scene = scene_of(still("red", radius=0.13), still("blue", "star"))
    boxes, seen, crop = [(10, 20, 50, 60), (130, 80, 170, 120)], [1.0, 1.0], (0, 0, 139, 139)

    def labels(**window):
        found = pretraining.labels_of(scene, 0.5, boxes, seen, crop, **window)
        values = dict(zip(pretraining.LABELS, found, strict=True))
        return {name for name, value in values.items() if value == 1}, {n for n, v in values.items() if v == -1}

    present, unknown = labels()
    assert present == {"red circle", "red left", "red top", "red small", "any circle", "sand"}
    assert unknown == {"blue star", "blue right", "blue bottom", "blue big", "any star"}
    assert labels(window=(60, 0, 100, 40)) == ({"sand"}, set())


def test_windows_of_cells_cover_the_input():
    assert pretraining.windows(299, 8) == [(0, 0, 299, 299)]
    parts = pretraining.windows(139, 2)  # of a 3 x 3 grid
    assert len(parts) == 4 and parts[0] == (21.5, 21.5, 85.5, 85.5) and parts[-1] == (53.5, 53.5, 117.5, 117.5)


def test_batches_hold_pictures_and_labels_of_their_windows():
    pictures, labels = next(pretraining.batches(139, 2, batch_size=3, seed=0, pool_size=4))
    assert pictures.shape == (3, 139, 139, 3) and labels.shape == (3, 4, len(pretraining.LABELS))
    assert 0 <= pictures.min() < 99 < 128 < pictures.max() <= 255 and set(np.unique(labels)) <= {-1, 0, 1}


def test_labels_of_whole_frames_can_leave_out_where_things_are():
    _, labels = next(pretraining.batches(299, 8, batch_size=3, seed=0, places=False, pool_size=4))
    names = np.array(pretraining.LABELS)[(labels == pretraining.UNKNOWN).all(axis=(0, 1))]
    assert {name.split()[-1] for name in names} == set(pretraining.PLACES) and len(names) == len(pretraining.PLACED)


# --- the command


def test_the_command_refuses_an_unknown_split(capsys):
    with pytest.raises(SystemExit) as exit:
        main(["--dataset", "StillShapes", "--split", "validate"])
    assert exit.value.code == 2 and "it has train, val, test" in capsys.readouterr().err
