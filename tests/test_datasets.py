"""The readers take the owners' layouts and say what is wrong with others."""

import json
import shutil

import pytest

import cfg
from s2vt.data import datasets
from s2vt.errors import UserError

INFO = {
    "info": {},
    "videos": [
        {"video_id": "video0", "split": "train", "id": 0},
        {"video_id": "video1", "split": "validate", "id": 1},
    ],
    "sentences": [
        {"video_id": "video1", "caption": "a cat", "sen_id": 0},
        {"video_id": "video0", "caption": "a dog", "sen_id": 1},
        {"video_id": "video0", "caption": "the dog", "sen_id": 2},
    ],
}


@pytest.fixture
def msr_vtt(tmp_path):
    folder = tmp_path / "MSR-VTT"
    folder.mkdir()
    (folder / "train_val_videodatainfo.json").write_text(json.dumps(INFO))
    test = {"videos": [{"video_id": "video7", "split": "test"}], "sentences": [{"video_id": "video7", "caption": "x"}]}
    (folder / "test_videodatainfo.json").write_text(json.dumps(test))
    return tmp_path


@pytest.fixture
def flickr30k(tmp_path):
    folder = tmp_path / "Flickr30k"
    folder.mkdir()
    (folder / "results_20130124.token").write_text("1.jpg#0\tA dog .\n1.jpg#1\tDogs .\n2.jpg#0\tA cat\n3.jpg#0\tSea\n")
    for split, names in {"train": "1.jpg\n", "val": "2.jpg\n", "test": "3\n"}.items():
        (folder / f"imgs_{split}.txt").write_text(names)
    return tmp_path


def test_msr_vtt(msr_vtt):
    media = datasets.read_media(cfg.MSR_VTT, msr_vtt)
    assert list(media) == ["video0", "video1", "video7"]
    assert media["video0"].captions == ("a dog", "the dog") and media["video1"].split == "val"
    assert media["video0"].path == msr_vtt / "MSR-VTT" / "TrainValVideo" / "video0.mp4"
    assert media["video7"].path == msr_vtt / "MSR-VTT" / "TestVideo" / "video7.mp4"


def test_flickr30k(flickr30k):
    media = datasets.read_media(cfg.FLICKR30K, flickr30k)
    assert [(m.id, m.split, m.captions) for m in media.values()] == [
        ("1", "train", ("A dog .", "Dogs .")),
        ("2", "val", ("A cat",)),
        ("3", "test", ("Sea",)),
    ]
    assert media["3"].path == flickr30k / "Flickr30k" / "flickr30k-images" / "3.jpg"


def test_select(msr_vtt):
    media = datasets.read_media(cfg.MSR_VTT, msr_vtt)
    assert [m.id for m in datasets.select(media, "test")] == ["video7"]
    assert [m.id for m in datasets.select(media, limit=2)] == ["video0", "video1"]
    with pytest.raises(UserError, match="no media in split 'validate'; there are: test, train, val"):
        datasets.select(media, "validate")


@pytest.mark.parametrize("name", ["train_val_videodatainfo.json", "test_videodatainfo.json"])
def test_a_missing_file_is_named_with_where_to_get_it(msr_vtt, name):
    (msr_vtt / "MSR-VTT" / name).unlink()
    with pytest.raises(UserError, match=f"{name} is missing; get train_val"):
        datasets.read_media(cfg.MSR_VTT, msr_vtt)


def test_a_synthetic_set_says_how_to_make_it(tmp_path):
    with pytest.raises(UserError, match="run: python -m s2vt.data.synthetic --dataset StillShapes"):
        datasets.read_media(cfg.STILL_SHAPES, tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "not in MSR-VTT's layout"),
        ('{"videos": [{"split": "train"}], "sentences": []}', "not in MSR-VTT's layout"),
        ('{"videos": [{"video_id": "../x", "split": "train"}], "sentences": []}', "cannot be a media id"),
        ('{"videos": [{"video_id": "a/b", "split": "train"}], "sentences": []}', "cannot be a media id"),
    ],
)
def test_a_malformed_file_is_one_line(msr_vtt, content, message):
    (msr_vtt / "MSR-VTT" / "test_videodatainfo.json").write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        datasets.read_media(cfg.MSR_VTT, msr_vtt)
    assert "\n" not in str(caught.value)


def test_a_malformed_caption_line_is_named(flickr30k):
    path = flickr30k / "Flickr30k" / "results_20130124.token"
    path.write_text(path.read_text() + "4.jpg A bird\n")
    with pytest.raises(UserError, match="line 5: expected NAME.jpg#K"):
        datasets.read_media(cfg.FLICKR30K, flickr30k)


def test_a_listed_picture_without_captions_is_named(flickr30k):
    (flickr30k / "Flickr30k" / "imgs_val.txt").write_text("9.jpg\n")
    with pytest.raises(UserError, match="no caption of 9.jpg, which imgs_val.txt lists"):
        datasets.read_media(cfg.FLICKR30K, flickr30k)


def test_empty_lists_are_no_data_set(flickr30k):
    shutil.rmtree(flickr30k / "Flickr30k" / "x", ignore_errors=True)
    for split in ("train", "val", "test"):
        (flickr30k / "Flickr30k" / f"imgs_{split}.txt").write_text("")
    with pytest.raises(UserError, match="lists no media"):
        datasets.read_media(cfg.FLICKR30K, flickr30k)
