"""Broken and odd files, ids and sentences, given to the real scripts: each ends in a result or in one clear line.

Never a traceback, a hang, a program that is started, a pickle that is loaded, or a change of files outside the output
folder. A case says what must come of it: True, a result; False, a refusal; None, either (bytes changed at random).
`corpus.py` makes the pictures and videos, the tables below the files that go with them.
"""

import contextlib
import json
import re
import shutil
from pathlib import Path

import corpus
import numpy as np
import pytest
from processes import Worker, write_balls

RUN = "experiments/Balls"
SECRET = b"not to be touched"


# --- where the scripts run


def write_dots(folder):
    """A data set of one's own in Flickr30k's layout, with Entities: four pictures of a dot."""
    settings = {"features.batch_size": 4, "text.min_count": 1, "model.units": 7, "model.embedding_size": 5,
                "training.epochs": 1, "training.batch_size": 4}  # fmt: skip
    description = {"layout": "flickr30k", "media": "picture", "truth": "entities", "set": settings}
    names = [f"dot{k}" for k in range(4)]
    box = "<xmin>9</xmin><ymin>8</ymin><xmax>30</xmax><ymax>31</ymax>"
    files = {
        "dataset.json": json.dumps(description).encode(),
        "results_20130124.token": "".join(
            f"{n}.jpg#{i}\ta red dot lies here\n" for n in names for i in (0, 1)
        ).encode(),
        "imgs_train.txt": b"dot0.jpg\ndot1.jpg\n",
        "imgs_val.txt": b"dot2.jpg\n",
        "imgs_test.txt": b"dot3.jpg\n",
    }
    for k, name in enumerate(names):
        files[f"flickr30k-images/{name}.jpg"] = corpus.saved(corpus.painted(k=k), "JPEG")
        files[f"Entities/Sentences/{name}.txt"] = b"[/EN#1/other a red dot] lies here\n" * 2
        files[f"Entities/Annotations/{name}.xml"] = (
            "<annotation><size><width>64</width><height>48</height><depth>3</depth></size>"
            f"<object><name>1</name><bndbox>{box}</bndbox></object></annotation>"
        ).encode()
    write(folder, files)


def write_published(folder):
    """The published layouts that no synthetic set has: MSVD in both forms, COCO, and Karpathy's splits."""
    clip, picture = corpus.video(codec="mpeg4", kind="avi"), corpus.saved(corpus.painted(), "JPEG")
    clips = {f"YouTubeClips/{name}_1_2.avi": clip for name in "abc"}
    rows = "".join(f"{name},1,2,7,clean,30,English,a {name}\r\n" for name in "abc")
    split = {name: json.dumps({"images": [{"id": k, "file_name": f"{name}.jpg"}],
                               "annotations": [{"image_id": k, "caption": "a dog"}]}).encode()
             for k, name in enumerate(("train", "val"))}  # fmt: skip
    karpathy = [{"filename": f"{s}.jpg", "filepath": "p", "split": s, "sentences": [{"raw": "a dog"}]} for s in split]
    write(folder / "DATA" / "MSVD", clips | {
        "youtube_mapping.txt": b"a_1_2 vid1\nb_1_2 vid2\nc_1_2 vid3\n",
        **{f"sents_{split}_lc_nopunc.txt": f"vid{k}\ta {split} clip\n".encode()
           for k, split in enumerate(("train", "val", "test"), 1)},
    })  # fmt: skip
    write(folder / "DATA" / "corpus" / "MSVD", clips | {
        "MSR Video Description Corpus.csv":
            f"VideoID,Start,End,WorkerID,Source,AnnotationTime,Language,Description\r\n{rows}".encode(),
    })  # fmt: skip
    write(folder / "DATA" / "COCO", {
        **{f"annotations/captions_{name}2014.json": content for name, content in split.items()},
        **{f"{name}2014/{name}.jpg": picture for name in split},
    })  # fmt: skip
    write(folder / "DATA" / "karpathy" / "COCO", {
        "dataset_coco.json": json.dumps({"images": karpathy}).encode(), **{f"p/{name}.jpg": picture for name in split},
    })  # fmt: skip


def write(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


READ = {  # commands that end at once where everything is there already
    "Balls": ("preprocessing", "--dataset", "Balls", "--layer", "mixed_10", "--weights", "DATA/w.pb"),
    "Dots": ("preprocessing", "--dataset", "Dots", "--weights", "DATA/w.pb"),
    "MSVD": ("preprocessing", "--dataset", "MSVD", "--weights", "DATA/w.pb"),
    "corpus": ("preprocessing", "--dataset", "MSVD", "--weights", "DATA/w.pb", "--data_dir", "DATA/corpus"),
    "COCO": ("preprocessing", "--dataset", "COCO", "--weights", "DATA/w.pb"),
    "karpathy": ("preprocessing", "--dataset", "COCO", "--weights", "DATA/w.pb", "--data_dir", "DATA/karpathy"),
}
BALLS = ("--dataset", "Balls", "--weights", "DATA/w.pb", "--checkpoint")
EXPLAIN = ("visualization", *BALLS, "best", "--media_id", "clip3", "--sentence", "a ball", "--output", "out/clip3.png")
MANY = ("visualization", *BALLS, "last", "--media_id", "DATA/list.tsv", "--output", "out/{id}.png", "--words", "ball")
LOCALIZE = ("run_s2vt", *BALLS, "last", "--localize", "--limit", "1")
FIND_DOTS = ("run_s2vt", "--dataset", "Dots", "--weights", "DATA/w.pb", "--checkpoint", "last", "--localize")
RESUME = ("run_s2vt", *BALLS[:-1], "--set", "training.epochs=1", "--train", "--resume")
SCORE = ("run_s2vt", *BALLS, "last", "--test", "--limit", "2")


class Place(Worker):
    """The data sets, each with its descriptors, and a captioner of Balls and of Dots."""

    def __init__(self, server, folder):
        super().__init__(server, folder / "outer" / "place")

    def prepare(self):
        """Makes it all."""
        folder = self.folder.parent.parent
        write(folder, {"secret": SECRET, "outer/secret": SECRET, "outer/place/secret": SECRET})
        write_balls(self.folder / "DATA" / "Balls")
        write_dots(self.folder / "DATA" / "Dots")
        write_published(self.folder)
        write(self.folder / "DATA", {"w.pb": b"weights", "list.tsv": b"clip3\ta ball\nclip4\ta ball\n"})
        for command in READ.values():
            self.check(command, True)
        for dataset in ("Balls", "Dots"):
            self.check(("run_s2vt", *READ[dataset][1:3], "--weights", "DATA/w.pb", "--set", "training.epochs=1",
                        "--train"), True)  # fmt: skip

    def files(self):
        """{path: when it was changed, and its size} of all that no command may touch."""
        made = re.compile(rf"{self.folder}/(experiments|coco-caption|out|DATA/.*/descriptors)/|/outer/std(out|err)$")
        paths = (path for path in self.folder.parent.parent.rglob("*") if path.is_file() and not made.search(str(path)))
        return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in paths}

    def check(self, command, shown, many=False):
        """Runs a command, of which a result (True), a refusal (False) or either (None) must come; its stderr.

        many: a command that lists what it refuses and does the rest.
        """
        before = self.files()
        status, out, err, outside = self.run(*command)
        lines = [line for line in re.split("[\r\n]+", err) if line.strip() and "it/s" not in line and "%|" not in line]
        told = [line for line in lines if not line.startswith("note: ")]
        assert "Traceback" not in err and not outside and self.files() == before, (err, outside)
        assert status in {True: [0], False: [1, 2], None: [0, 1, 2]}[shown], (status, out, err)
        if status and not many:
            assert len(told) == 1 and not out, (out, err)
            assert told[0].startswith(f"{command[0]}.py: ") and len(told[0]) < 2000, told
        return err

    def check_with(self, files, command, shown):
        """`check` with files of other content; None: not there."""
        kept = {}
        for name, content in files.items():
            path = self.folder / name
            kept[path] = path.read_bytes() if path.exists() else None
            if content is None:
                path.unlink()
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content(kept[path]) if callable(content) else content)
        try:
            return self.check(command, shown)
        finally:
            for path, content in kept.items():
                path.unlink(missing_ok=True) if content is None else path.write_bytes(content)


@pytest.fixture(scope="module")
def place(server, tmp_path_factory):
    with contextlib.closing(Place(server, tmp_path_factory.mktemp("bad"))) as place:
        place.prepare()
        yield place


# --- pictures and videos


MEDIA = {"picture": corpus.pictures(), "video": corpus.videos()}


@pytest.fixture(scope="module")
def outcomes(place):
    """{kind: ({name: why it has no descriptors, or None}, {name: why it was not explained, or None})}, of one
    extraction and one visualization of all files of a kind."""
    return {
        kind: _outcomes(place, kind, captioner) for kind, captioner in {"picture": "Dots", "video": "Balls"}.items()
    }


def _outcomes(place, kind, captioner):
    dataset, names = f"Odd_{kind}s", {_id(name): name for name in MEDIA[kind]}
    folder, run = place.folder / "DATA" / dataset, place.folder / "experiments" / dataset
    shutil.copytree(place.folder / "experiments" / captioner, run)
    record = json.loads((run / "config.json").read_bytes())
    record["config"].update({"dataset": dataset, "layout": "coco", "truth": "none"})
    settings = json.loads((place.folder / "DATA" / captioner / "dataset.json").read_bytes())["set"]
    listed = [{"id": k, "file_name": _id(name) + Path(name).suffix} for k, name in enumerate(MEDIA[kind])]
    captions = [{"image_id": k, "caption": "a red dot"} for k in range(len(listed))]
    empty = {"images": [], "annotations": []}
    files = {
        "dataset.json": {"layout": "coco", "media": kind, "set": settings},
        **{f"annotations/captions_{split}.json": empty for split in ("train", "val")},
        "annotations/captions_test.json": {"images": listed, "annotations": captions},
    }
    write(run, {"config.json": json.dumps(record).encode()})
    write(folder, {name: json.dumps(value).encode() for name, value in files.items()})
    write(folder / "test", {_id(name) + Path(name).suffix: content for name, (content, _) in MEDIA[kind].items()})

    common = ("--dataset", dataset, "--weights", "DATA/w.pb")
    place.check(("preprocessing", *common, "--layer", "mixed_10"), False, many=True)
    made = folder / "descriptors" / "w" / "mixed_10"
    failed = dict(line.split("\t") for line in (made / "failed.tsv").read_text("utf-8").splitlines())
    extracted = {name: failed.get(k, None if (made / f"{k}.npy").exists() else "lost") for k, name in names.items()}

    look = ("--checkpoint", "last", "--sentence", "a", "--layout", "single", "--size", "320x240")
    err = place.check(("visualization", *common, *look, "--media_id", "all", "--output", "out"), False, many=True)
    refused = dict(re.findall(r"^(\w+): (.*)$", err, re.M))
    there = {path.stem for path in (place.folder / "out").iterdir()}
    return extracted, {name: refused.get(k, None if k in there else "lost") for k, name in names.items()}


def _id(name):
    return re.sub(r"\W", "_", name)


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, files in MEDIA.items() for name in files])
def test_a_medium_is_shown_or_refused(outcomes, kind, name):
    shown = MEDIA[kind][name][1]
    for reason in (outcome[name] for outcome in outcomes[kind]):
        assert reason != "lost" and (shown is None or (reason is None) == shown), reason
        assert reason is None or 10 < len(reason) < 500 and reason.isprintable() and "Error:" not in reason


# --- the files of data sets


def cases(*rows):
    """pytest's parameters (files, command, shown), named, of rows (name, files, command, shown)."""
    return pytest.mark.parametrize(
        ("files", "command", "shown"), [pytest.param(*row[1:], id=re.sub(r"\W+", "_", row[0])) for row in rows]
    )


def edited(change):
    """A function of a JSON file's content: what `change` makes of its value, or leaves of it."""

    def edit(content):
        value = json.loads(content)
        changed = change(value)
        return json.dumps(value if changed is None else changed).encode()

    return edit


def without(*path):
    """`edited`: the entry at the end of `path` taken out."""

    def change(value):
        for key in path[:-1]:
            value = value[key]
        del value[path[-1]]

    return edited(change)


def with_(new, *path):
    """`edited`: the entry at the end of `path` put in its place."""

    def change(value):
        for key in path[:-1]:
            value = value[key]
        value[path[-1]] = new

    return edited(change)


def flip(seed):
    """A function of a file's content: five of its bytes changed."""

    def change(content):
        data = np.frombuffer(content, np.uint8).copy()
        rng = np.random.default_rng(seed)
        data[rng.integers(len(data), size=5)] = rng.integers(0, 256, 5)
        return data.tobytes()

    return change


def share(fraction):
    """A function of a file's content: its beginning."""
    return lambda content: content[: int(fraction * len(content))]


def recoded(*codecs):
    """A function of a UTF-8 file's content: the same in another encoding, with other line ends, ..."""
    codec, newline = (*codecs, "\n")[:2]
    return lambda content: content.decode().replace("\n", newline).encode(codec)


ANY_TEXT = {
    "empty": (b"", False),
    "zeros": (bytes(300), False),
    "latin_1": (lambda content: content[: len(content) // 2] + b"\xe9" + content[len(content) // 2 :], False),
    **{f"flip_{k}": (flip(k), None) for k in range(2)},
}
ANY_JSON = {
    **ANY_TEXT,
    **{f"cut_{round(100 * part)}": (share(part), False) for part in (0.1, 0.5, 0.9)},
    **{name: (name.encode(), False) for name in ("null", "[]", "{}", "3", "NaN", '"text"')},
    "nested": (b"[" * 100_000, False),
    "nested_objects": (b'{"a":' * 100_000, False),
    "long_number": (b"9" * 5000, False),
    "with_NUL": (lambda content: content.replace(b'"', b'"\0', 1), False),
    "BOM": (recoded("utf-8-sig"), True),
    "CRLF": (recoded("utf-8", "\r\n"), True),
    "UTF_16": (recoded("utf-16"), True),
}

TEST_LIST, DATASET = "DATA/Balls/test_videodatainfo.json", "DATA/Balls/dataset.json"
COCO, KARPATHY = "DATA/COCO/annotations/captions_val2014.json", "DATA/karpathy/COCO/dataset_coco.json"
LISTS = {TEST_LIST: "Balls", COCO: "COCO", KARPATHY: "karpathy"}
TEXTS = {
    "DATA/MSVD/youtube_mapping.txt": ("MSVD", "a_1_2 vid1\n"),
    "DATA/MSVD/sents_test_lc_nopunc.txt": ("MSVD", "vid3\ta clip\n"),
    "DATA/corpus/MSVD/MSR Video Description Corpus.csv": ("corpus", "a,1,2,7,clean,30,English,a dog\n"),
    "DATA/Dots/results_20130124.token": ("Dots", "dot3.jpg#0\ta dot\n"),
    "DATA/Dots/imgs_test.txt": ("Dots", "dot3.jpg\n"),
}
BAD_IDS = ("", ".", "..", "../x", "../../secret", "a/b", "/etc/passwd", "a\nb", "a\rb", "a\0b", "a\tb", "\x1b[31m",
           "\u202eabc", "\u2028", "\ud800", "x" * 300, "meta", ".hidden")  # fmt: skip
GOOD_IDS = ("日本語", "a b", "a'b\"c", "<script>", "{id}", "%s%d", "-x", "C:x", "a;b&c|d", "$(x)`y`", "naïve", "*?[")
CAPTIONS = {
    "right_to_left": "כדור אדום \u05d0",
    "emoji": "a 🎈 flies 👩‍👩‍👧",
    "surrogate": "a \ud83d ball",
    "newlines": "a\nball\r\nrolls\x0b\x0c\x85",
    "separators": "a\u2028ball\u2029rolls",
    "bars": "a ||| ball ||| rolls",
    "score": "SCORE ||| a ||| EVAL",
    "NUL": "a\0ball",
    "escapes": "a \x1b[31mball\x07",
    "words_10000": "ball " * 10_000,
    "one_word": "b" * 100_000,
    "script": "</script><script>alert(1)</script>",
    "image": '"><img src=x onerror=alert(1)>',
    "braces": "{title} %s {{data}} \\u003c",
    "points": "... !!! ,,,",
    "spaces": " \t ",
    "empty": "",
}


def media_list(*names, captions=("a ball",), split="test"):
    """A list in MSR-VTT's layout, with clips that have descriptors and those that are given."""
    named = [*names, "clip3", "clip4", "clip5", "clip6", "clip7"]
    sentences = [{"video_id": name, "caption": caption} for name in named for caption in captions]
    videos = [{"video_id": name, "split": split} for name in named]
    return json.dumps({"videos": videos, "sentences": sentences}).encode()


@cases(
    *((f"{Path(file).name} {dataset} {how}", {file: content}, READ[dataset], shown)
      for file, dataset in LISTS.items() for how, (content, shown) in ANY_JSON.items()),
    *((f"{Path(file).name} {how}", {file: content}, READ[dataset], None if how == "empty" else shown)
      for file, (dataset, _) in TEXTS.items() for how, (content, shown) in ANY_TEXT.items()),
    *((f"{Path(file).name} {how}", {file: content}, READ[dataset], True)
      for file, (dataset, _) in TEXTS.items()
      for how, content in {"BOM": recoded("utf-8-sig"), "CRLF": recoded("utf-8", "\r\n")}.items()),
    *((f"{Path(file).name} UTF-16", {file: recoded("utf-16")}, READ[dataset], False)
      for file, (dataset, _) in TEXTS.items()),
    *((f"{Path(file).name} twice", {file: lambda content, line=line: content + 2 * line.encode()}, READ[dataset], None)
      for file, (dataset, line) in TEXTS.items()),
    *((f"{Path(file).name} no columns", {file: b"nothing of that kind\n"}, READ[dataset], False)
      for file, (dataset, _) in TEXTS.items()),
    *((f"without {key}", {TEST_LIST: without(*key)}, READ["Balls"], False)
      for key in (("videos",), ("sentences",), ("videos", 0, "video_id"), ("videos", 0, "split"),
                  ("sentences", 0, "video_id"), ("sentences", 0, "caption"))),
    *((f"{value!r:.20} as {key}", {TEST_LIST: with_(value, *key)}, READ["Balls"], False)
      for value in (None, 3, {}, True, "text") for key in (("videos",), ("videos", 0), ("sentences", 0))),
    *((f"{value!r:.20} as {key}", {TEST_LIST: with_(value, "videos", 0, key)}, READ["Balls"], False)
      for value in (None, 3, [], {}, True, "nonsense") for key in ("split",)),
    *((f"{value!r:.20} as caption", {TEST_LIST: with_(value, "sentences", 0, "caption")}, READ["Balls"], False)
      for value in (None, 3, [], {}, True)),
    ("listed twice", {TEST_LIST: edited(lambda v: v["videos"].append(v["videos"][0]))}, READ["Balls"], False),
    ("image twice", {COCO: edited(lambda v: v["images"].append(v["images"][0]))}, READ["COCO"], False),
    ("nobody's caption", {TEST_LIST: edited(lambda v: v["sentences"].append({"video_id": "x", "caption": "a"}))},
     READ["Balls"], True),
    ("no captions", {TEST_LIST: with_([], "sentences")}, READ["Balls"], True),
    ("no media", {TEST_LIST: with_([], "videos")}, READ["Balls"], True),
    ("a file that is not there", {"DATA/Balls/train_val_videodatainfo.json": None}, READ["Balls"], False),
    *((f"folder {value!r}", {KARPATHY: with_(value, "images", 0, "filepath")}, READ["karpathy"], False)
      for value in ("..", "../..", "/", "", None, 3, "a/b")),
    *((f"bad id {name!r:.20}", {TEST_LIST: media_list(name)}, READ["Balls"], False) for name in BAD_IDS),
    *((f"good id {name!r}", {TEST_LIST: media_list(name), f"DATA/Balls/TestVideo/{name}.mp4": corpus.video()},
       READ["Balls"], True) for name in GOOD_IDS),
    *((f"caption {how}", {TEST_LIST: media_list(captions=("a ball", caption))}, READ["Balls"], True)
      for how, caption in CAPTIONS.items()),
)  # fmt: skip
def test_lists_of_media(place, files, command, shown):
    place.check_with(files, command, shown)


@cases(
    *((f"dataset.json {how}", {DATASET: content}, READ["Balls"], shown) for how, (content, shown) in ANY_JSON.items()),
    *((f"{value!r:.20} as {key}", {DATASET: with_(value, key)}, READ["Balls"], False)
      for value in (None, 3, [], {}, "nonsense") for key in ("layout", "media", "truth")),
    *((f"{value!r:.20} as set", {DATASET: with_(value, "set")}, READ["Balls"], False)
      for value in (None, 3, [3], "text", {"a": 1}, {"model": {}}, {"model.units": "x"}, {"model.units": 0},
                    {"model.units": 7.5}, {"model.units": None}, {"model.units": []}, {"model.dropout": 1.5},
                    {"model.dropout": -1}, {"training.learning_rate": float("nan")}, {"model.name": "gru"})),
    *((f"--set {value:.30}", {}, (*READ["Balls"], "--set", value), False)
      for value in ("", "=", "a=b", "model.units", "model.units=1e9", f"model.units={'9' * 5000}", "model.units=-3",
                    "model.units=٣x", "model.dropout=2", "training.cells=7", "features.num_frames=0")),
    *((f"{flag} {value:.30}", {}, (*READ["Balls"], flag, value), False)
      for flag, value in (("--limit", "0"), ("--limit", "-3"), ("--limit", "x"), ("--split", "../x"), ("--split", ""),
                          ("--seed", "-1"), ("--seed", "x"), ("--seed", "9" * 5000), ("--dataset", ""),
                          ("--dataset", ".."), ("--dataset", "../place"), ("--dataset", "x" * 300),
                          ("--dataset", "x" * 5000), ("--dataset", "a\nb"), ("--dataset", "\udcff"),
                          ("--weights", "x" * 5000), ("--weights", "DATA"), ("--weights", "\udcff"),
                          ("--data_dir", "x" * 300), ("--data_dir", "secret"), ("--config", "x" * 300),
                          ("--config", "secret"), ("--config", "DATA"), ("--layer", "a\nb"), ("--what\nis", "this"))),
)  # fmt: skip
def test_settings(place, files, command, shown):
    place.check_with(files, command, shown)
