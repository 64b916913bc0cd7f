"""What holds of any bytes, any JSON, any text, any picture's size and any loss, found by hypothesis.

Readers: whatever a file holds, what comes of it is sound, or a UserError on one line. The rest: invariances, and two
roads to one number.
"""

import collections
import json
import re
import xml.etree.ElementTree as ElementTree

import corpus
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import cfg
from s2vt.captioning import java as scoring
from s2vt.data import datasets, entities, tracks
from s2vt.data.files import read_json, write_json
from s2vt.data.geometry import Geometry
from s2vt.data.pictures import is_picture, read_picture
from s2vt.data.sampling import sample_video
from s2vt.data.text import END, Vocabulary, tokenize
from s2vt.errors import UserError
from s2vt.evaluation import pointing
from s2vt.evaluation.mentions import tracks_mentions
from s2vt.saliency import heatmaps

OFTEN = settings(max_examples=150, deadline=None)
ANY_TEXT = st.text() | st.text("ab \n\r\t\0\x1c\x85\u2028\u2029|.,'-\ud83dİßΣ🎈א", max_size=30)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("properties")


def refusal(read, *arguments):
    """What a reader returns, and the line with which it refuses; one of them is None."""
    try:
        return read(*arguments), None
    except UserError as error:
        line = str(error)
        assert line and "\n" not in line
        return None, line


# --- readers


@OFTEN
@given(JSON)
def test_json_there_and_back(folder, value):
    write_json(folder / "there.json", value)
    assert read_json(folder / "there.json") == value == json.loads(json.dumps(value))


@OFTEN
@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()[:-1]))
def test_any_bytes_are_json_or_refused(folder, content):
    (folder / "any.json").write_bytes(content)
    value, line = refusal(read_json, folder / "any.json")
    try:
        expected = json.loads(content)
    except ValueError:
        assert "any.json" in line
    else:
        assert line is None and repr(value) == repr(expected)


MAGIC = [b"", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"\xff\xd8\xff\xe0", b"BM", b"II*\0", b"RIFF0000WEBPVP8 ",
         b"P6 9 9 255\n", b"\0\0\0\x18ftypmp42", b"\x1aE\xdf\xa3", b"RIFF0000AVI LIST", b"G@", b"FLV\1", b"OggS",
         b"\0\0\1\xba"]  # fmt: skip


@OFTEN
@given(st.sampled_from(MAGIC), st.binary(max_size=300))
def test_any_bytes_are_media_or_refused(folder, magic, content):
    path = folder / "medium"
    path.write_bytes(magic + content)
    for read in (read_picture, is_picture, lambda path: sample_video(path, 2)):
        found, line = refusal(read, path)
        assert line is None or line.startswith(f"{path}: ")
        if read is read_picture and found is not None:
            assert found.dtype == np.uint8 and found.ndim == 3 and found.shape[2] == 3


@OFTEN
@given(st.sampled_from(["JPEG", "PNG", "GIF", "WEBP"]), st.data())
def test_a_damaged_picture_is_a_picture_of_its_size_or_refused(folder, kind, data):
    content = bytearray(corpus.saved(corpus.painted(21, 13), kind))
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    (folder / "damaged").write_bytes(content[: data.draw(st.integers(1, len(content)))])
    found, line = refusal(read_picture, folder / "damaged")
    assert (found is None) == (line is not None)


NAMES = st.sampled_from(["video0", "video1", "../x", "a/b", "", ".", "meta", "a\nb", "é"]) | ANY_TEXT
VIDEO = st.fixed_dictionaries({"video_id": NAMES, "split": st.sampled_from(["train", "validate", "test", "x"])})
SENTENCE = st.fixed_dictionaries({"video_id": NAMES, "caption": ANY_TEXT})
NEARLY = st.fixed_dictionaries(
    {"videos": st.lists(VIDEO | JSON, max_size=3), "sentences": st.lists(SENTENCE | JSON, max_size=4)}
)


@OFTEN
@given(NEARLY | JSON)
def test_any_json_is_a_list_of_media_or_refused(folder, value):
    place = folder / "MSR-VTT"
    place.mkdir(exist_ok=True)
    (place / "train_val_videodatainfo.json").write_text(json.dumps(value))
    (place / "test_videodatainfo.json").write_text('{"videos": [], "sentences": []}')
    media, line = refusal(datasets.read_media, cfg.MSR_VTT, folder)
    listed = [video["video_id"] for video in value["videos"]] if media else []
    for name, medium in (media or {}).items():
        assert listed.count(name) == 1 and medium.id == name and medium.path == place / "TrainValVideo" / f"{name}.mp4"
        said = [s["caption"] for s in value["sentences"] if s["video_id"] == name and s["caption"].strip()]
        assert [caption.split() for caption in medium.captions] == [caption.split() for caption in said]
        assert all(caption.splitlines() == [caption] for caption in medium.captions)


@OFTEN
@given(
    st.binary(max_size=200), st.sampled_from([b"", b"<annotation>", b'<?xml version="1.0" encoding="utf-7"?>', b"<!D"])
)
def test_any_bytes_are_annotations_or_refused(folder, content, head):
    (folder / "any").write_bytes(head + content)
    for read in (entities.read_annotations, entities.read_sentences, entities.read_unrelated_captions):
        refusal(read, folder / "any")


@OFTEN
@given(st.data())
def test_boxes_are_read_as_they_were_written(folder, data):
    """Two roads: ElementTree writes what expat reads."""
    width, height = data.draw(st.integers(1, 900)), data.draw(st.integers(1, 900))
    root, expected = ElementTree.Element("annotation"), collections.defaultdict(list)
    size = ElementTree.SubElement(root, "size")
    for tag, value in (("width", width), ("height", height), ("depth", 3)):
        ElementTree.SubElement(size, tag).text = str(value)
    for _ in range(data.draw(st.integers(0, 4))):
        x1, y1 = data.draw(st.integers(1, width)), data.draw(st.integers(1, height))
        x2, y2 = data.draw(st.integers(x1, width)), data.draw(st.integers(y1, height))
        chain = str(data.draw(st.integers(1, 3)))
        found = ElementTree.SubElement(root, "object")
        ElementTree.SubElement(found, "name").text = chain
        box = ElementTree.SubElement(found, "bndbox")
        for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), (x1, y1, x2, y2), strict=True):
            ElementTree.SubElement(box, tag).text = f" {value}\n"
        expected[chain].append((x1 - 1, y1 - 1, x2, y2))
    (folder / "boxes.xml").write_bytes(ElementTree.tostring(root, data.draw(st.sampled_from(["utf-8", "utf-16"]))))
    read = entities.read_annotations(folder / "boxes.xml")
    assert (read.width, read.height) == (width, height)
    assert {chain: [*boxes] for chain, boxes in read.boxes.items()} == expected


def track_annotations(noise):
    """Objects and captions of a clip of three frames; some numbers are off by one, some values drawn from `noise`."""
    box = st.none() | st.tuples(*[st.integers(0, 9)] * 2, *[st.integers(9, 20)] * 2).map(list) | noise
    track = st.fixed_dictionaries(
        {
            "boxes": st.lists(box, min_size=3, max_size=3),
            "seen": st.lists(st.sampled_from([0, 0.6, 1]) | noise, min_size=3, max_size=3),
            "happens": st.tuples(st.integers(0, 1), st.integers(1, 2)).map(list) | noise,
            "event": st.sampled_from(["appear", "up"]) | noise,
        }
    )
    phrase = st.fixed_dictionaries(
        {
            "tokens": st.tuples(st.integers(0, 1), st.integers(1, 4)).map(list) | noise,
            "kind": st.sampled_from(["object", "event"]) | noise,
            "object": st.integers(0, 1) | noise,
        }
    )
    caption = st.fixed_dictionaries(
        {"caption": st.just("a b c") | noise, "phrases": st.lists(phrase, min_size=1, max_size=3)}
    )
    return st.tuples(st.lists(track, min_size=1, max_size=2), st.lists(caption, min_size=1, max_size=2))


@OFTEN
@given(track_annotations(st.nothing()) | track_annotations(JSON))
def test_annotations_of_a_clip_can_be_scored_or_are_refused(folder, annotations):
    objects, captions = annotations
    place = folder / "tracks" / "truth"
    place.mkdir(parents=True, exist_ok=True)
    (place / "a.json").write_text(json.dumps({"num_frames": 3, "objects": objects, "captions": captions}))
    medium = datasets.Medium("a", place, "test", ())
    _, line = refusal(tracks.read_tracks, place / "a.json")
    found, other_line = refusal(lambda: list(tracks_mentions(place.parent, medium, [0, 2])))
    assert line == other_line
    for caption in found or ():
        for mention in caption.mentions:
            assert mention.phrase.name == " ".join(caption.tokens[k] for k in mention.phrase.words)
            assert len(mention.boxes or mention.happens) == 2 and (mention.boxes is None) != (mention.happens is None)


# --- text


@OFTEN
@given(ANY_TEXT)
def test_words_are_words(caption):
    tokens = tokenize(caption)
    assert tokenize(" ".join(tokens)) == tokens and all(token.split() == [token] for token in tokens)
    assert tokenize(f" {caption}\n") == tokens


@OFTEN
@given(st.lists(ANY_TEXT, max_size=6), st.integers(1, 3))
def test_a_vocabulary_counts_encodes_and_comes_back(folder, captions, min_count):
    vocabulary = Vocabulary.from_captions(captions, min_count)
    counts = collections.Counter(word for caption in captions for word in tokenize(caption))
    found = dict(zip(vocabulary.words, vocabulary.counts.tolist(), strict=True))
    assert found == {".": len(captions)} | {word: n for word, n in counts.items() if n >= min_count}
    assert vocabulary.words[1:] == sorted(vocabulary.words[1:], key=lambda word: (-counts[word], word))
    for caption in captions:
        known = vocabulary.known(caption)
        assert END not in known
        assert vocabulary.decode(known) == " ".join(word for word in tokenize(caption) if word in found)
        encoded, line = refusal(vocabulary.encode, caption, 25)
        if line is None:
            assert encoded.tolist() == known and 0 < len(known) <= 24
        else:
            assert not tokenize(caption) or len(tokenize(caption)) > 24 or len(known) < len(tokenize(caption))
    vocabulary.save(folder / "vocabulary.json")
    again = Vocabulary.load(folder / "vocabulary.json")
    assert again.words == vocabulary.words and again.counts.tolist() == vocabulary.counts.tolist()


# --- the scorer


@OFTEN
@given(st.lists(ANY_TEXT, max_size=8))
def test_cleaned_captions_keep_their_lines(captions):
    """Python ends a line at more places than Java or METEOR do."""
    cleaned = [scoring.clean(caption) for caption in captions]
    text = "".join(f"{number} {caption}\n" for number, caption in enumerate(cleaned))
    assert [line.split(" ", 1)[0] for line in text.splitlines()] == [str(number) for number in range(len(captions))]
    for caption, clean in zip(captions, cleaned, strict=True):
        assert "|||" not in clean and clean == clean.strip() == scoring.clean(clean)
        assert clean.encode() and clean or not re.sub(r"[\s\x00-\x1f\x7f-\x9f\ud800-\udfff]|\|{3,}", "", caption)
        kept = re.sub(r"[\s|\x00-\x1f\x7f-\x9f\ud800-\udfff]", "", caption)
        assert re.sub(r"[\s|]", "", clean) == kept  # nothing but blanks and bars is lost


@pytest.mark.slow
@settings(max_examples=3, deadline=None)
@given(st.lists(ANY_TEXT, min_size=100, max_size=300))
def test_tokens_belong_to_their_caption(captions):
    """The real tokenizer: among captions of any kind, numbered ones stay where they are."""
    numbered = [f"caption number {k}" for k in range(len(captions))]
    tokens = scoring.tokenize([text for pair in zip(captions, numbered, strict=True) for text in pair])
    assert tokens[1::2] == numbered


# --- geometry

SIZES = st.integers(1, 20_000)
PROTOCOLS = st.sampled_from(["squash", "center_crop"])
POINTS = arrays.arrays(float, (3, 4), elements=st.floats(-1e5, 1e5))


@OFTEN
@given(SIZES, SIZES, PROTOCOLS, POINTS)
def test_points_come_back(width, height, protocol, values):
    geometry, points = Geometry.of(width, height, protocol), values.reshape(6, 2)
    for there, back in ((geometry.to_input, geometry.to_source), (geometry.to_source, geometry.to_input)):
        tolerance = 1e-9 * (np.abs(points).max() + width + height) * max(1, *geometry.scale, *(1 / geometry.scale))
        np.testing.assert_allclose(back(there(points)), points, rtol=1e-9, atol=tolerance, strict=True)
    x1, y1, x2, y2 = geometry.crop
    inside = np.stack([np.linspace(x1, x2, 5), np.linspace(y1, y2, 5)], axis=1)
    expected = np.linspace(0, geometry.size, 5)  # the second road: the crop's edges are the input's, evenly between
    np.testing.assert_allclose(
        geometry.to_input(inside), np.stack([expected] * 2, axis=1), atol=1e-8 * (width + height)
    )


# --- heat maps and pointing

EVIDENCE = arrays.arrays(float, (2, 5, 3, 3), elements=st.floats(-20, 0).map(lambda x: round(x, 3)))
CONTENT = (1, 2, 3)  # the axes of frames and cells


@OFTEN
@given(EVIDENCE, st.floats(0.1, 50), st.floats(-50, 50), st.permutations(range(5)))
def test_saliency_does_not_depend_on_unit_offset_or_order(evidence, factor, offset, order):
    e = heatmaps.scale(evidence, axes=CONTENT)
    assert e.min() >= 0 and e.max() <= 1
    for of_word, word_evidence in zip(e, evidence, strict=True):
        constant = np.ptp(word_evidence) == 0
        assert of_word.max() == (0 if constant else 1) and of_word.flat[word_evidence.argmin()] == 0
        assert constant or of_word.flat[word_evidence.argmax()] == 1
    np.testing.assert_allclose(heatmaps.scale(factor * evidence + offset, axes=CONTENT), e, atol=1e-5)
    np.testing.assert_array_equal(heatmaps.scale(evidence[:, order], axes=CONTENT), e[:, order])
    np.testing.assert_array_equal(e, np.stack([heatmaps.scale(of_word) for of_word in evidence]))


@OFTEN
@given(EVIDENCE, st.sampled_from([0, 0.75, 3]), st.floats(0.1, 50), st.floats(-50, 50))
def test_alpha_is_a_distribution_whatever_the_unit(evidence, sigma, factor, offset):
    frames = evidence[..., 0, 0]
    alpha = heatmaps.temporal_alpha(frames, sigma)
    assert alpha.min() >= 0
    np.testing.assert_allclose(alpha.sum(axis=-1), 1, rtol=1e-9)
    if np.ptp(heatmaps.over_time(frames, sigma), axis=-1).min() > 0.01:
        np.testing.assert_allclose(heatmaps.temporal_alpha(factor * frames + offset, sigma), alpha, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    arrays.arrays(float, (2, 8, 8), elements=st.floats(-5, 5)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    PROTOCOLS,
    st.sampled_from([0, 0.01, 0.3, 0.75, 2, 20]),
    st.floats(-3, 3),
)
def test_maps_are_weighted_means_of_the_cells(grids, size, protocol, sigma, factor):
    geometry = Geometry.of(*size, protocol)
    maps = heatmaps.upsample(grids, geometry, sigma)
    assert maps.shape == (2, size[1], size[0])
    for grid, pixels in zip(grids, maps, strict=True):
        assert grid.min() - 1e-5 <= pixels.min() and pixels.max() <= grid.max() + 1e-5
    together = heatmaps.upsample(grids[0] + factor * grids[1], geometry, sigma)
    np.testing.assert_allclose(together, maps[0] + factor * maps[1], atol=1e-5)


@OFTEN
@given(
    arrays.arrays(float, (6, 9), elements=st.floats(0, 1).map(lambda x: round(x, 4))),
    st.lists(st.tuples(*[st.integers(0, 4)] * 2, *[st.integers(4, 9)] * 2), min_size=1, max_size=3),
    st.integers(-3, 3), st.integers(-3, 3), st.floats(0, 3),
)  # fmt: skip
def test_scores_do_not_depend_on_shift_axes_or_repeated_boxes(pixel_map, boxes, dx, dy, tolerance):
    x, y = heatmaps.argmax_point(pixel_map)
    assert pixel_map[int(y), int(x)] == pixel_map.max() and (x % 1, y % 1) == (0.5, 0.5)
    moved = [(x1 + dx, y1 + dy, x2 + dx, y2 + dy) for x1, y1, x2, y2 in boxes]
    found = pointing.hit((x, y), boxes, tolerance)
    assert found == pointing.hit((x + dx, y + dy), moved, tolerance) == pointing.hit((x, y), boxes[::-1] * 2, tolerance)
    assert pointing.hit((y, x), [(y1, x1, y2, x2) for x1, y1, x2, y2 in boxes], tolerance) == found
    on_the_object = pointing.attention_correctness(pixel_map, boxes)
    inside = np.zeros(pixel_map.shape, bool)  # by slices instead of distances
    for x1, y1, x2, y2 in boxes:
        inside[y1:y2, x1:x2] = True
    share = pixel_map[inside].sum() / pixel_map.sum() if pixel_map.any() else inside.mean()
    np.testing.assert_allclose(on_the_object, share, atol=1e-12)
    np.testing.assert_allclose(
        pointing.attention_correctness(7 * pixel_map, boxes[::-1] * 2), on_the_object, atol=1e-12
    )
