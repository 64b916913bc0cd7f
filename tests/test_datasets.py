"""Readers of the owners' layouts, and what they refuse."""

import dataclasses
import json
import os
import re
from pathlib import Path

import pytest

import cfg
from s2vt import config as configs
from s2vt.data import datasets
from s2vt.errors import UserError

REAL = Path(os.environ.get("S2VT_REAL", Path(__file__).resolve().parents[1] / ".." / "shared" / "real"))

MSR_VTT = {
    "train_val_videodatainfo.json": {
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
    },
    "test_videodatainfo.json": {
        "videos": [{"video_id": "video7", "split": "test"}],
        "sentences": [{"video_id": "video7", "caption": "a\nbird \u2028 flies"}],
    },
}
FLICKR30K = {
    "results_20130124.token": "1.jpg#0\tA dog .\n1.jpg#1\tDogs .\n2.jpg#0\tA cat\n3.jpg#0\tSea\n4.jpg#0\tNobody's\n",
    "imgs_train.txt": "1.jpg\n",
    "imgs_val.txt": "2.jpg\n",
    "imgs_test.txt": "3",
}
KARPATHY_FLICKR30K = {
    "dataset": "flickr30k",
    "images": [
        {"filename": "3.jpg", "split": "train", "sentences": [{"raw": "The sea."}]},
        {"filename": "1.jpg", "split": "val", "sentences": [{"raw": "A dog."}, {"raw": "Dogs."}]},
        {"filename": "2.jpg", "split": "test", "sentences": [{"raw": "A cat."}]},
    ],
}
MAPPING = "-b_0_9 vid1\n0a_5_9 vid1200\n0a_9_12 vid1201\nZ_1_2 vid1300\n_q_1_2 vid1301\na_1_2 vid1970\n"
MSVD_LISTS = {
    "youtube_mapping.txt": MAPPING,
    "sents_train_lc_nopunc.txt": "vid1200\ta man rides\nvid1\ta cat\nvid1200\ta rider\n",
    "sents_val_lc_nopunc.txt": "vid1300\ta zebra\n",
    "sents_test_lc_nopunc.txt": "vid1970\tan ape\n",
}
MSVD_CSV = {
    "MSR Video Description Corpus.csv": "VideoID,Start,End,WorkerID,Source,AnnotationTime,Language,Description\r\n"
    "a,1,2,7,clean,30,English,An ape.\r\n"
    '0a,5,9,7,clean,30,English,"A man,\nriding."\r\n'
    "0a,5,9,8,clean,30,German,Ein Mann reitet.\r\n"
    "-b,0,9,8,clean,30,English,\r\n"
    "-b,0,9,8,clean,30,English,A cat\r\n"
    "gone,1,2,8,clean,30,English,No such clip\r\n"
    "0a,9,12,8,clean,30,English,A wheel\r\n"
    "Z,1,2,8,clean,30,English,A zebra\r\n"
    "_q,1,2,8,clean,30,Slovene,Opica\r\n",
}
MSVD_CORPUS = [
    ("-b_0_9", "train", ("A cat",)),
    ("0a_5_9", "train", ("A man, riding.",)),
    ("0a_9_12", "val", ("A wheel",)),
    ("Z_1_2", "val", ("A zebra",)),
    ("a_1_2", "test", ("An ape.",)),
]
COCO = {
    "annotations/captions_train2014.json": {
        "images": [{"id": 9, "file_name": "COCO_train2014_000000000009.jpg"}],
        "annotations": [
            {"id": 1, "image_id": 9, "caption": "Two bowls"},
            {"id": 2, "image_id": 42, "caption": "Not ours"},
            {"id": 3, "image_id": 9, "caption": "Food"},
        ],
    },
    "annotations/captions_val2014.json": {
        "images": [{"id": 42, "file_name": "COCO_val2014_000000000042.jpg"}],
        "annotations": [{"id": 4, "image_id": 42, "caption": "Shoes"}],
    },
}
KARPATHY_COCO = {
    "images": [
        {
            "filepath": folder,
            "filename": f"COCO_{folder}_{k:012d}.jpg",
            "split": split,
            "sentences": [{"raw": f"no {k}"}],
        }
        for k, folder, split in (
            (1, "val2014", "test"),
            (2, "val2014", "restval"),
            (3, "train2014", "train"),
            (4, "val2014", "val"),
        )
    ]
}


def write(folder, files):
    """Writes {name: text, bytes or what becomes JSON} into a folder; gives the folder that holds it."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8", newline="")
    return folder.parent


def rows(media):
    return [(medium.id, medium.split, medium.captions) for medium in media.values()]


def error_of(config, data_dir):
    """The one line that a reader refuses with."""
    with pytest.raises(UserError) as caught:
        datasets.read_media(config, data_dir)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- the layouts


def test_msr_vtt(tmp_path):
    media = datasets.read_media(cfg.MSR_VTT, write(tmp_path / "MSR-VTT", MSR_VTT))
    assert rows(media) == [
        ("video0", "train", ("a dog", "the dog")),
        ("video1", "val", ("a cat",)),
        ("video7", "test", ("a bird flies",)),
    ]
    assert media["video1"].path == tmp_path / "MSR-VTT" / "TrainValVideo" / "video1.mp4"
    assert media["video7"].path == tmp_path / "MSR-VTT" / "TestVideo" / "video7.mp4"


def test_flickr30k_by_its_lists(tmp_path):
    media = datasets.read_media(cfg.FLICKR30K, write(tmp_path / "Flickr30k", FLICKR30K))
    assert rows(media) == [("1", "train", ("A dog .", "Dogs .")), ("2", "val", ("A cat",)), ("3", "test", ("Sea",))]
    assert media["3"].path == tmp_path / "Flickr30k" / "flickr30k-images" / "3.jpg"


def test_flickr30k_by_karpathys_splits(tmp_path):
    folder = tmp_path / "Flickr30k"
    data = write(folder, {"dataset_flickr30k.json": KARPATHY_FLICKR30K})
    expected = [("3", "train", ("The sea.",)), ("1", "val", ("A dog.", "Dogs.")), ("2", "test", ("A cat.",))]
    assert rows(datasets.read_media(cfg.FLICKR30K, data)) == expected
    # The owners' captions come first, and so do the three lists.
    write(folder, {"results_20130124.token": FLICKR30K["results_20130124.token"]})
    expected = [("3", "train", ("Sea",)), ("1", "val", ("A dog .", "Dogs .")), ("2", "test", ("A cat",))]
    assert rows(datasets.read_media(cfg.FLICKR30K, data)) == expected
    write(folder, FLICKR30K)
    assert [split for _, split, _ in rows(datasets.read_media(cfg.FLICKR30K, data))] == ["train", "val", "test"]
    assert list(datasets.read_media(cfg.FLICKR30K, data)) == ["1", "2", "3"]
    (folder / "results_20130124.token").unlink()
    expected = [("1", "train", ("A dog.", "Dogs.")), ("2", "val", ("A cat.",)), ("3", "test", ("The sea.",))]
    assert rows(datasets.read_media(cfg.FLICKR30K, data)) == expected


def test_msvd_by_its_lists(tmp_path):
    media = datasets.read_media(cfg.MSVD, write(tmp_path / "MSVD", MSVD_LISTS))
    assert rows(media) == [
        ("0a_5_9", "train", ("a man rides", "a rider")),
        ("-b_0_9", "train", ("a cat",)),
        ("Z_1_2", "val", ("a zebra",)),
        ("a_1_2", "test", ("an ape",)),
    ]
    assert media["a_1_2"].path == tmp_path / "MSVD" / "YouTubeClips" / "a_1_2.avi"


def test_msvd_by_its_corpus_and_the_mapping(tmp_path, capsys):
    data = write(tmp_path / "MSVD", MSVD_CSV | {"youtube_mapping.txt": MAPPING})
    assert rows(datasets.read_media(cfg.MSVD, data)) == MSVD_CORPUS
    assert "1 media without captions are left out" in capsys.readouterr().err  # _q_1_2, has Slovene captions only


def test_msvd_by_its_corpus_and_the_files(tmp_path):
    """Without the mapping, clips are numbered by their names in byte order, those without captions among them."""
    clips = {f"YouTubeClips/{name.split()[0]}.avi": "" for name in MAPPING.splitlines()}
    data = write(tmp_path / "MSVD", MSVD_CSV | clips)
    config = dataclasses.replace(cfg.MSVD, splits="2/2/2")
    assert rows(datasets.read_media(config, data)) == MSVD_CORPUS


@pytest.mark.parametrize("year", ["2014", "2017", ""])
def test_coco(tmp_path, year):
    files = {name.replace("2014", year): info for name, info in COCO.items()}
    if not year:
        files["annotations/captions_test.json"] = {
            "images": [{"id": "x", "file_name": "mine.png"}],
            "annotations": [{"image_id": "x", "caption": "A thing"}],
        }
    media = datasets.read_media(cfg.COCO, write(tmp_path / "COCO", files))
    expected = [
        ("COCO_train2014_000000000009", "train", ("Two bowls", "Food")),
        ("COCO_val2014_000000000042", "val", ("Shoes",)),
    ]
    assert rows(media) == expected + ([] if year else [("mine", "test", ("A thing",))])
    path = media["COCO_val2014_000000000042"].path
    assert path == tmp_path / "COCO" / f"val{year}" / "COCO_val2014_000000000042.jpg"


def test_coco_by_karpathys_splits(tmp_path):
    media = datasets.read_media(cfg.COCO, write(tmp_path / "COCO", COCO | {"dataset_coco.json": KARPATHY_COCO}))
    assert [(m.split, m.path.parent.name, m.captions) for m in media.values()] == [
        ("test", "val2014", ("no 1",)),
        ("train", "val2014", ("no 2",)),
        ("train", "train2014", ("no 3",)),
        ("val", "val2014", ("no 4",)),
    ]


@pytest.mark.parametrize("ends", [("\ufeff", "\n"), ("", "\r\n"), ("\ufeff", "\r\n")])
@pytest.mark.parametrize(("config", "files"), [(cfg.FLICKR30K, FLICKR30K), (cfg.MSVD, MSVD_LISTS)])
def test_byte_order_marks_and_line_ends_do_not_matter(tmp_path, config, files, ends):
    mark, end = ends
    plain = datasets.read_media(config, write(tmp_path / "plain" / config.dataset, files))
    changed = {name: mark + text.replace("\n", end) + end for name, text in files.items()}
    assert rows(datasets.read_media(config, write(tmp_path / "other" / config.dataset, changed))) == rows(plain)


def test_a_byte_order_mark_before_json_and_csv(tmp_path):
    files = {name: b"\xef\xbb\xbf" + json.dumps(info).encode() for name, info in MSR_VTT.items()}
    assert len(datasets.read_media(cfg.MSR_VTT, write(tmp_path / "MSR-VTT", files))) == 3
    files = {name: "\ufeff" + text for name, text in MSVD_CSV.items()} | {"youtube_mapping.txt": MAPPING}
    assert len(datasets.read_media(cfg.MSVD, write(tmp_path / "MSVD", files))) == 5


def test_select(tmp_path):
    media = datasets.read_media(cfg.MSR_VTT, write(tmp_path / "MSR-VTT", MSR_VTT))
    assert [m.id for m in datasets.select(media, "test")] == ["video7"]
    assert [m.id for m in datasets.select(media, limit=2)] == ["video0", "video1"]
    with pytest.raises(UserError, match="no media in split 'validate'; there are: test, train, val"):
        datasets.select(media, "validate")


# --- published counts


def test_another_count_than_the_published_one_is_reported(tmp_path, capsys):
    data = write(tmp_path / "MSR-VTT", MSR_VTT)
    datasets.read_media(cfg.MSR_VTT, data)
    assert capsys.readouterr().err.splitlines() == [
        f"note: {data / 'MSR-VTT'} has 1/1/1 media to train/validate/test, published: 6513/497/2990"
    ]


@pytest.mark.parametrize("splits", ["", "1/1/1", "9/9/9 1/1/1"])
def test_a_published_count_is_not_reported(tmp_path, capsys, splits):
    config = dataclasses.replace(cfg.MSR_VTT, splits=splits)
    datasets.read_media(config, write(tmp_path / "MSR-VTT", MSR_VTT))
    assert capsys.readouterr() == ("", "")


def test_the_published_counts():
    assert cfg.MSR_VTT.splits == "6513/497/2990" and cfg.MSVD.splits == "1200/100/670"
    assert {"29000/1014/1000", "29783/1014/1000"} <= set(cfg.FLICKR30K.splits.split())
    assert {"113287/5000/5000", "82783/40504/0"} <= set(cfg.COCO.splits.split())


def test_media_without_captions_are_left_out_and_counted(tmp_path, capsys):
    info = {"videos": MSR_VTT["train_val_videodatainfo.json"]["videos"], "sentences": []}
    info["sentences"] = [{"video_id": "video1", "caption": " "}, {"video_id": "video0", "caption": "a dog"}]
    data = write(tmp_path / "MSR-VTT", MSR_VTT | {"train_val_videodatainfo.json": info})
    assert list(datasets.read_media(cfg.MSR_VTT, data)) == ["video0", "video7"]
    assert "MSR-VTT: 1 media without captions are left out" in capsys.readouterr().err


# --- what is wrong, and where


@pytest.mark.parametrize(
    ("config", "files", "missing", "owner"),
    [
        (cfg.MSR_VTT, MSR_VTT, "train_val_videodatainfo.json", "ms-multimedia-challenge.com"),
        (cfg.MSR_VTT, MSR_VTT, "test_videodatainfo.json", "ms-multimedia-challenge.com"),
        (cfg.FLICKR30K, FLICKR30K, "results_20130124.token", "shannon.cs.illinois.edu"),
        (cfg.MSVD, MSVD_LISTS, "youtube_mapping.txt", "cs.utexas.edu"),
        (cfg.MSVD, MSVD_LISTS, "sents_val_lc_nopunc.txt", "cs.utexas.edu"),
        (cfg.MSVD, MSVD_CSV, "MSR Video Description Corpus.csv", "microsoft.com"),
        (cfg.MSVD, MSVD_CSV, "YouTubeClips", "cs.utexas.edu"),
        (cfg.COCO, COCO, "annotations/captions_train2014.json", "cocodataset.org"),
        (cfg.COCO, COCO, "annotations/captions_val2014.json", "cocodataset.org"),
    ],
)
def test_a_missing_file_is_named_with_where_to_get_it(tmp_path, config, files, missing, owner):
    data = write(tmp_path / config.dataset, {name: text for name, text in files.items() if name != missing})
    data.mkdir(exist_ok=True)
    message = error_of(config, data)
    assert message.startswith(f"{tmp_path / config.dataset / missing} is missing; get ")
    assert f"//{owner}" in message.replace("www.", "") and message.endswith("DATA/README.md shows")


def test_lists_of_other_splits_are_not_needed(tmp_path):
    write(tmp_path / "Flickr30k", {name: text for name, text in FLICKR30K.items() if "train" not in name})
    media = datasets.read_media(cfg.FLICKR30K, tmp_path)
    assert {medium.split for medium in media.values()} == {"val", "test"}
    with pytest.raises(UserError, match="no media in split 'train'; there are: test, val"):
        datasets.select(media, "train")


def test_a_missing_folder_of_media_is_named(tmp_path):
    media = datasets.read_media(cfg.MSR_VTT, write(tmp_path / "MSR-VTT", MSR_VTT)).values()
    (tmp_path / "MSR-VTT" / "TrainValVideo").mkdir()
    datasets.require_folders([medium for medium in media if medium.split != "test"], cfg.MSR_VTT)
    with pytest.raises(UserError, match="TestVideo is missing; get train_val"):
        datasets.require_folders(media, cfg.MSR_VTT)


def test_a_synthetic_set_says_how_to_make_it(tmp_path):
    assert "run: python -m s2vt.synthetic --dataset StillShapes" in error_of(cfg.STILL_SHAPES, tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON: .* line 1, column 2"),
        (b'{"videos":\n "\xff"}', "not valid JSON: not UTF-8 at line 2"),
        ("[" * 100_000, "not usable JSON"),
        ('{"videos": ' + "1" * 5000 + "}", "not usable JSON"),
        ("[]", "expected an object with a list 'sentences'"),
        ({"videos": {}, "sentences": []}, "expected an object with a list 'videos'"),
        ({"videos": [7], "sentences": []}, r"videos\[0\]: expected an object whose 'video_id' is text"),
        ({"videos": [{"split": "test"}], "sentences": []}, r"videos\[0\]: .* 'video_id' is text"),
        ({"videos": [{"video_id": 7, "split": "test"}], "sentences": []}, r"videos\[0\]: .* 'video_id' is text"),
        ({"videos": [], "sentences": [{"video_id": "v", "caption": None}]}, r"sentences\[0\]: .* 'caption' is text"),
        (
            {"videos": [{"video_id": "v", "split": "dev"}], "sentences": []},
            r"videos\[0\]: split 'dev'; expected one of",
        ),
        ({"videos": [{"video_id": "../x", "split": "test"}], "sentences": []}, "'../x.mp4' cannot be a media id"),
        ({"videos": [{"video_id": "a/b", "split": "test"}], "sentences": []}, "'a/b.mp4' cannot be a media id"),
        ({"videos": [{"video_id": "/", "split": "test"}], "sentences": []}, "cannot be a media id"),
        ({"videos": [{"video_id": "a\nb", "split": "test"}], "sentences": []}, "cannot be a media id"),
        ({"videos": [{"video_id": "a\0", "split": "test"}], "sentences": []}, "cannot be a media id"),
        ({"videos": [{"video_id": "\ud83d", "split": "test"}], "sentences": []}, "cannot be a media id"),
        ({"videos": [{"video_id": "x" * 250, "split": "test"}], "sentences": []}, "cannot be a media id"),
        (
            {"videos": [{"video_id": "video0", "split": "test"}], "sentences": []},
            r"test_videodatainfo.json, videos\[0\]: 'video0' is listed a second time",
        ),
    ],
)
def test_a_malformed_json_file_is_one_line(tmp_path, content, message):
    line = error_of(cfg.MSR_VTT, write(tmp_path / "MSR-VTT", MSR_VTT | {"test_videodatainfo.json": content}))
    assert re.search(message, line), line
    assert "test_videodatainfo.json" in line


@pytest.mark.parametrize(
    ("config", "file", "content", "message"),
    [
        (cfg.FLICKR30K, "results_20130124.token", "1.jpg#0\tA\n\n4.jpg A bird\n", "line 3: expected NAME.jpg#K<tab>"),
        (cfg.FLICKR30K, "results_20130124.token", "1.jpg#0\tA\n1.jpg#0\tB\n", "line 2: '1.jpg#0' is listed a second"),
        (cfg.FLICKR30K, "results_20130124.token", b"1.jpg#0\tA\n2.jpg#0\tcaf\xe9\n", "line 2: not UTF-8"),
        (cfg.FLICKR30K, "imgs_val.txt", "2.jpg\n9.jpg\n", "line 2: results_20130124.token has no caption of 9.jpg"),
        (cfg.FLICKR30K, "imgs_val.txt", "1.jpg\n", "imgs_val.txt, line 1: '1' is listed a second time"),
        (cfg.FLICKR30K, "imgs_val.txt", b"\xff\xfe1\x00", "imgs_val.txt, line 1: not UTF-8"),
        (cfg.MSVD, "sents_val_lc_nopunc.txt", "vid1300 a zebra\n", "line 1: expected vidK<tab>caption"),
        (cfg.MSVD, "sents_val_lc_nopunc.txt", "vid2\ta zebra\n", "line 1: 'vid2' is not in youtube_mapping.txt"),
        (cfg.MSVD, "sents_val_lc_nopunc.txt", "\nvid1\ta\n", "line 2: '-b_0_9' is listed a second time"),
        (cfg.MSVD, "youtube_mapping.txt", "a_1_2 vid1\nb_1_2 vid1\n", "line 2: 'vid1' is listed a second time"),
        (cfg.MSVD, "youtube_mapping.txt", "a_1_2 vid1\na_1_2 vid2\n", "line 2: 'a_1_2' is listed a second time"),
        (cfg.MSVD, "youtube_mapping.txt", "a_1_2 video1\n", "line 1: expected NAME vidK, found 'video1'"),
        (cfg.MSVD, "youtube_mapping.txt", "a_1_2\n", "line 1: expected NAME vidK"),
        (cfg.MSVD, "youtube_mapping.txt", MAPPING.replace("a_1_2", "../a"), "'../a.avi' cannot be a media id"),
    ],
)
def test_a_malformed_line_is_named(tmp_path, config, file, content, message):
    files = FLICKR30K if config is cfg.FLICKR30K else MSVD_LISTS
    line = error_of(config, write(tmp_path / config.dataset, files | {file: content}))
    assert message in line


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("VideoID,Start\na,1\n", "line 2: expected columns VideoID, Start, End"),
        (MSVD_CSV["MSR Video Description Corpus.csv"] + "a,1,2\r\n", "line 12: expected columns VideoID"),
        ('VideoID\n"' + "x" * 200_000, "line 2: not CSV"),
    ],
)
def test_a_malformed_corpus_is_named(tmp_path, text, message):
    files = {"youtube_mapping.txt": MAPPING, "MSR Video Description Corpus.csv": text}
    line = error_of(cfg.MSVD, write(tmp_path / "MSVD", files))
    assert "MSR Video Description Corpus.csv, " in line and message in line


def test_malformed_coco_files_are_named(tmp_path):
    images = [{"id": 1, "file_name": "a.jpg"}, {"id": 1, "file_name": "b.jpg"}]
    info = {"images": images, "annotations": []}
    data = write(tmp_path / "COCO", COCO | {"annotations/captions_val2014.json": info})
    assert "captions_val2014.json, images[1]: 1 is listed a second time" in error_of(cfg.COCO, data)
    images[1] = {"id": 2, "file_name": "../b.jpg"}
    write(tmp_path / "COCO", {"annotations/captions_val2014.json": info})
    assert "images[1]: '../b.jpg' cannot be a media id" in error_of(cfg.COCO, data)
    image = KARPATHY_COCO["images"][0] | {"filepath": ".."}
    write(tmp_path / "COCO", {"dataset_coco.json": {"images": [image]}})
    assert "dataset_coco.json, images[0]: '..' cannot be" in error_of(cfg.COCO, data)
    write(tmp_path / "COCO", {"dataset_coco.json": {"images": [image | {"sentences": [{"tokens": []}]}]}})
    assert "images[0], sentences[0]: expected an object whose 'raw' is text" in error_of(cfg.COCO, data)


def test_empty_lists_are_no_data_set(tmp_path):
    lists = dict.fromkeys(("imgs_train.txt", "imgs_val.txt", "imgs_test.txt"), "")
    assert "lists no media" in error_of(cfg.FLICKR30K, write(tmp_path / "Flickr30k", FLICKR30K | lists))


# --- a user's own media


def write_own(folder, layout, media, files):
    """The data folder and the Config of own media."""
    data_dir = write(folder, files | {"dataset.json": {"layout": layout, "media": media}})
    return data_dir, configs.own(folder / "dataset.json")


def test_own_pictures_in_cocos_layout(tmp_path):
    files = {name.replace("2014", ""): info for name, info in COCO.items()}
    data_dir, config = write_own(tmp_path / "kitchen", "coco", "picture", files)
    media = datasets.read_media(config, data_dir)
    assert [medium.path.parent for medium in media.values()] == [tmp_path / "kitchen" / s for s in ("train", "val")]


@pytest.mark.parametrize(
    ("media", "files", "expected"),
    [
        ("video", ["video0.avi", "video1.MOV", "video0.txt"], ["video0.avi", "video1.MOV", "video7.mp4"]),
        ("video", ["video0.ts", "video0.mp4", "video1.gif", "video1.avi"], ["video0.mp4", "video1.avi", "video7.mp4"]),
        ("picture", ["video0.png", "video1.JPEG", "video1.xml"], ["video0.png", "video1.JPEG", "video7.jpg"]),
    ],
)  # fmt: skip
def test_own_media_of_any_ending_in_msr_vtts_layout(tmp_path, media, files, expected):
    """The published ending comes first, also for a file that is not there."""
    folder = tmp_path / "mine"
    data_dir, config = write_own(folder, "msr_vtt", media, MSR_VTT | {f"TrainValVideo/{file}": "" for file in files})
    found = datasets.read_media(config, data_dir)
    assert list(found) == ["video0", "video1", "video7"]
    assert [medium.path.name for medium in found.values()] == expected


# --- real files, where they are available


@pytest.mark.parametrize(
    ("config", "counts"), [(cfg.MSR_VTT, "300/30/60"), (cfg.MSVD, "7/0/4"), (cfg.FLICKR30K, "7099/469/280")]
)
def test_real_files(config, counts, capsys):
    if not (REAL / config.dataset).is_dir():
        pytest.skip(f"no real {config.dataset} at {REAL} (set S2VT_REAL to have it read)")
    media = datasets.read_media(config, REAL)
    assert f"{config.dataset} has {counts} media" in capsys.readouterr().err
    assert all(medium.path.is_file() and medium.captions for medium in media.values())
