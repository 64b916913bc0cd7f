"""Files in the formats of the COCO caption evaluation."""

import json
import os

import pytest

from s2vt.captioning import coco_format
from s2vt.errors import UserError


def test_round_trip(tmp_path):
    references = {"video7": ["a man", 'a "man"\n', "é 👍 \ud83d"], 3: ["two dogs"]}
    candidates = {"video7": "a man\u2028", 3: ""}
    annotations, results = tmp_path / "new" / "annotations.json", tmp_path / "new" / "results.json"
    coco_format.write_annotations(annotations, references)
    coco_format.write_results(results, candidates)
    assert coco_format.read_annotations(annotations) == references
    assert coco_format.read_results(results) == candidates
    assert sorted(path.name for path in annotations.parent.iterdir()) == ["annotations.json", "results.json"]

    content = json.loads(annotations.read_text())
    assert set(content) == {"info", "licenses", "type", "images", "annotations"}
    assert content["type"] == "captions"
    assert content["images"] == [{"id": "video7"}, {"id": 3}]
    assert content["annotations"][3] == {"image_id": 3, "id": 4, "caption": "two dogs"}
    assert json.loads(results.read_text())[1] == {"image_id": 3, "caption": ""}


def test_an_interrupted_write_keeps_the_old_file(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    path = tmp_path / "results.json"
    coco_format.write_results(path, {1: "old"})
    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        coco_format.write_results(path, {1: "new"})
    assert coco_format.read_results(path) == {1: "old"}
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    for path, name in ((tmp_path / "file" / "results.json", "results.json"), (tmp_path, tmp_path.name)):
        with pytest.raises(UserError, match=name):
            coco_format.write_results(path, {1: "a"})
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("content", "facts"),
    [
        (None, []),
        ("{", []),
        ("[]", ["annotation file", "--results"]),
        ('{"images": []}', ["annotation file"]),
        ('{"images": [{}], "annotations": []}', ["images[0]", '"id"']),
        ('{"images": [{"id": 1}], "annotations": [{"caption": "a"}]}', ["annotations[0]", '"image_id"']),
        (
            '{"images": [{"id": 1}], "annotations": [{"image_id": 1, "caption": 5}]}',
            ["annotations[0]", '"caption"', "5"],
        ),
        ('{"images": [{"id": 1}], "annotations": [{"image_id": 2, "caption": "a"}]}', ["annotations[0]", "image_id 2"]),
        ('{"images": [{"id": 1}], "annotations": []}', ["1 images without a caption", "(1)"]),
    ],
)
def test_bad_annotations(tmp_path, content, facts):
    check_refused(coco_format.read_annotations, tmp_path / "file.json", content, facts)


@pytest.mark.parametrize(
    ("content", "facts"),
    [
        ("{}", ["results file", "--annotations"]),
        ("[1]", ["[0]", '"image_id"']),
        ('[{"image_id": true, "caption": "a"}]', ["[0]", '"image_id"', "True"]),
        ('[{"image_id": 1}]', ["[0]", '"caption"']),
        ('[{"image_id": 1, "caption": "a"}, {"image_id": 1, "caption": "b"}]', ["image_id 1", "two captions"]),
    ],
)
def test_bad_results(tmp_path, content, facts):
    check_refused(coco_format.read_results, tmp_path / "file.json", content, facts)


def check_refused(read, path, content, facts):
    """Reading the content is an error of the user: one line with the file's name and the facts."""
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError) as caught:
        read(path)
    message = str(caught.value)
    assert "\n" not in message and all(fact in message for fact in [path.name, *facts]), message
