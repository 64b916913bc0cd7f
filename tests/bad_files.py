"""Damaged and unusual files, names and flags, as tables of cases, and the data sets that they are about.

A case is (name, {file: content}, command, outcome). Content is bytes, a function of the file's own content, or None:
the file is missing. The outcome is True, a result; False, a refusal; None, either (bytes changed at random).
`test_readers` gives each case to the function that reads the file, `test_bad_input` to the real script.
"""

import contextlib
import io
import json
import pickle
from pathlib import Path

import corpus
import numpy as np

RUN = "experiments/Balls"

# --- data sets --------------------------------------------------------------------------------------------------------


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


@contextlib.contextmanager
def replaced_files(folder, files):
    """Gives files other contents in a `with` block: bytes, a function of the old content, or None: no file."""
    kept = {}
    for name, content in files.items():
        path = folder / name
        kept[path] = path.read_bytes() if path.exists() else None
        if content is None:
            path.unlink()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content(kept[path]) if callable(content) else content)
    try:
        yield
    finally:
        for path, content in kept.items():
            path.unlink(missing_ok=True) if content is None else path.write_bytes(content)


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
MANY = ("visualization", *BALLS, "last", "--media_id", "DATA/list.tsv", "--output", "out/{id}.png")
BALLS_ALL = ("visualization", *BALLS, "last", "--media_id", "all", "--sentence", "a ball", "--output", "out")
LOCALIZE = ("run_s2vt", *BALLS, "last", "--localize", "--limit", "1")
FIND_DOTS = ("run_s2vt", "--dataset", "Dots", "--weights", "DATA/w.pb", "--checkpoint", "last", "--localize")
RESUME = ("run_s2vt", *BALLS[:-1], "--set", "training.epochs=1", "--train", "--resume")
SCORE = ("run_s2vt", *BALLS, "last", "--test", "--limit", "2")


# --- changes of a file's content --------------------------------------------------------------------------------------


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


def arrays(**changes):
    """A function of an `.npz`: arrays changed; None takes one out."""

    def change(content):
        with np.load(io.BytesIO(content), allow_pickle=False) as found:
            kept = {name: array for name, array in ({**found, **changes}).items() if array is not None}
        np.savez(file := io.BytesIO(), **kept)
        return file.getvalue()

    return change


def npy(array, allow_pickle=False):
    """An array's file."""
    np.save(file := io.BytesIO(), array, allow_pickle=allow_pickle)
    return file.getvalue()


def header(text):
    """An `.npy` whose header is `text`."""
    return b"\x93NUMPY\x01\0" + len(text).to_bytes(2, "little") + text.encode() + bytes(100)


class Trap:
    """Writes a file when it is unpickled."""

    def __reduce__(self):
        return exec, ("open('/tmp/trapped', 'w').close()",)


def hdf5(change):
    """A function of an HDF5 file: what `change` does to it, opened."""

    def edit(content):
        import h5py

        file = io.BytesIO(content)
        with h5py.File(file, "r+") as opened:
            change(opened)
        return file.getvalue()

    return edit


def layers(file):
    """The names of the arrays of a checkpoint."""
    names = []
    file.visititems(lambda name, item: names.append(name) if hasattr(item, "shape") else None)
    return sorted(names)


def replaced(make):
    """`hdf5`: the first array replaced by what `make` puts there: (file, name, array) -> None."""

    def change(file):
        name = layers(file)[0]
        array = file[name][()]
        del file[name]
        make(file, name, array)

    return hdf5(change)


def _external_link(file, name, array):
    import h5py

    file[name] = h5py.ExternalLink("/etc/passwd", "/")


def _external_data(file, name, array):
    file.create_dataset(name, array.shape, "float32", external=[("/etc/passwd", 0, array.nbytes)])


# --- contents of any file ---------------------------------------------------------------------------------------------


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


# --- lists of media ---------------------------------------------------------------------------------------------------

LISTS_OF_MEDIA = (
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

# --- settings and flags -----------------------------------------------------------------------------------------------

SETTINGS = (
    *((f"dataset.json {how}", {DATASET: content}, READ["Balls"], shown) for how, (content, shown) in ANY_JSON.items()),
    *((f"{value!r:.20} as {key}", {DATASET: with_(value, key)}, READ["Balls"], False)
      for value in (None, 3, [], {}, "nonsense") for key in ("layout", "media", "truth")),
    *((f"{value!r:.20} as set", {DATASET: with_(value, "set")}, READ["Balls"], False)
      for value in (None, 3, [3], "text", {"a": 1}, {"model": {}}, {"model.units": "x"}, {"model.units": 0},
                    {"model.units": 7.5}, {"model.units": None}, {"model.units": []}, {"model.dropout": 1.5},
                    {"model.dropout": -1}, {"training.learning_rate": float("nan")}, {"model.name": "gru"})),
    *((f"--set {value:.30}", {}, (*READ["Balls"], "--set", value), False)
      for value in ("", "=", "a=b", "model.units", "model.units=1e9", f"model.units={'9' * 5000}", "model.units=-3",
                    "model.units=٣x", "model.dropout=2", "training.frame_as_image_share=7", "features.num_frames=0")),
    *((f"{flag} {value:.30}", {}, (*READ["Balls"], flag, value), False)
      for flag, value in (("--limit", "0"), ("--limit", "-3"), ("--limit", "x"), ("--split", "../x"), ("--split", ""),
                          ("--seed", "-1"), ("--seed", "x"), ("--seed", "9" * 5000), ("--dataset", ""),
                          ("--dataset", ".."), ("--dataset", "../place"), ("--dataset", "x" * 300),
                          ("--dataset", "x" * 5000), ("--dataset", "a\nb"), ("--dataset", "\udcff"),
                          ("--weights", "x" * 5000), ("--weights", "DATA"), ("--weights", "\udcff"),
                          ("--data_dir", "x" * 300), ("--data_dir", "secret"), ("--config", "x" * 300),
                          ("--config", "secret"), ("--config", "DATA"), ("--layer", "a\nb"), ("--what\nis", "this"))),
)  # fmt: skip

# --- runs, descriptors and tracks -------------------------------------------------------------------------------------

TRAP = np.array([Trap()], object)
RECORD, WORDS = f"{RUN}/config.json", f"{RUN}/vocabulary.json"
SCORES, STATE = f"{RUN}/checkpoints/scores.json", f"{RUN}/training_state.npz"
CHECKPOINT = f"{RUN}/checkpoints/0.weights.h5"
DESCRIPTORS = "DATA/Balls/descriptors/w/mixed_10"
SHAPE = (3, 64, 2048)
REFUSED_JSON = {how: (content, shown) for how, (content, shown) in ANY_JSON.items() if not shown}


RUNS = (
    *((f"{Path(file).name} {how}", {file: content}, EXPLAIN, None if (file, how) == (SCORES, "{}") else shown)
      for file in (RECORD, WORDS) for how, (content, shown) in REFUSED_JSON.items()),
    *((f"scores.json {how}", {SCORES: content}, EXPLAIN, shown) for how, (content, shown) in REFUSED_JSON.items()),
    *((f"{value!r:.20} as {'.'.join(key)}", {RECORD: with_(value, "config", *key)}, EXPLAIN, False)
      for key, values in {
          ("dataset",): (None, 3, "../x", "MSVD"), ("layout",): (None, "x", []), ("media",): ("film", 3),
          ("annotations",): ({}, "x"), ("features",): (None, [], {"x": 1}), ("model",): (3,), ("unknown",): (1,),
          ("model", "units"): ("7", -1, 0, 1e3, None, 10**30, True), ("model", "name"): ("gru", 3, None, ["s2vt"]),
          ("model", "dropout"): ("x", -0.5, 7), ("text", "max_words"): (0, "x", 2.5),
          ("features", "weights"): (3, None),
          ("features", "layer"): ("pool_4", {}), ("features", "num_frames"): (0, "3"),
      }.items() for value in values),
    *((f"seed {value!r}", {RECORD: with_(value, "seed")}, RESUME, False) for value in ("x", -1, None, 1.5, [], 2**70)),
    *((f"--config with {value!r} as dataset", {RECORD: with_(value, "config", "dataset")},
       ("preprocessing", "--config", RECORD), False) for value in ("../place", "/etc", "", "..", None)),
    *((f"words {how}", {WORDS: edited(change)}, EXPLAIN, False) for how, change in {
        "none": lambda v: v.pop("words"), "no counts": lambda v: v.pop("counts"),
        "a number": lambda v: v["words"].__setitem__(2, 3), "twice": lambda v: v["words"].__setitem__(2, v["words"][1]),
        "no end": lambda v: v["words"].__setitem__(0, "end"), "a list": lambda v: v["words"].__setitem__(2, []),
        "a text": lambda v: v.update(words="." + "a" * 9), "fewer": lambda v: (v["words"].pop(), v["counts"].pop()),
        "no count": lambda v: v["counts"].pop(), "a word as count": lambda v: v["counts"].__setitem__(1, "x"),
        "a huge count": lambda v: v["counts"].__setitem__(1, 10**30), "counts of counts": lambda v: v.update(
            counts=[[count] for count in v["counts"]]),
    }.items()),
    *((f"scores {value!r:.30}", {SCORES: json.dumps(value).encode()}, EXPLAIN, False)
      for value in ([], {"0": "x"}, {"x": 1.0}, {"0": []}, {"0": 10**400}, {"9": 1.0}, {"²": 1.0})),
    *((f"checkpoint {value}", {}, (*EXPLAIN[:4], "--checkpoint", value, *EXPLAIN[6:]), False)
      for value in ("7", "-1", "00", "²", "x", "", "../0", "9" * 5000, "nan")),
    *((f"weights {how}", {CHECKPOINT: content}, EXPLAIN, shown) for how, (content, shown) in {
        **{f"cut {part}": (share(part), False) for part in (0.05, 0.3, 0.6, 0.9)},
        **{f"flip {k}": (flip(k), None) for k in range(5)},
        "nothing": (b"", False), "text": (b"weights", False), "a pickle": (pickle.dumps(Trap()), False),
        "a zip": (b"PK\5\6" + bytes(18), False), "not there": (None, False),
        "another file": (hdf5(lambda file: [file.__delitem__(name) for name in list(file)]), False),
        "a layer less": (hdf5(lambda file: file.__delitem__(layers(file)[0])), False),
        "another shape": (replaced(lambda file, name, array: file.create_dataset(name, data=array[..., :1])), False),
        "text as numbers": (replaced(lambda file, name, array: file.create_dataset(name, data="text")), False),
        "a folder": (replaced(lambda file, name, array: file.create_group(name)), False),
        "a link": (replaced(_external_link), False), "data elsewhere": (replaced(_external_data), False),
    }.items()),
    *((f"state {how}", {STATE: content}, RESUME, shown) for how, (content, shown) in {
        "as it was": (share(1), True), "nothing": (b"", False), "text": (b"text", False), "half": (share(0.5), False),
        **{f"flip {k}": (flip(k), None) for k in range(3)},
        "a pickle": (pickle.dumps(Trap()), False), "one array": (npy(np.zeros(3)), False),
        "pickled": (arrays(epochs=TRAP), False), "no epochs": (arrays(epochs=None), False),
        "epochs in words": (arrays(epochs=np.array("one")), False), "epochs": (arrays(epochs=np.array([1, 1])), False),
        "epochs unlike": (arrays(epochs=np.array(7)), None), "negative": (arrays(epochs=np.array(-1)), False),
    }.items()),
    *((f"descriptors {how}", {f"{DESCRIPTORS}/clip3.npy": content}, LOCALIZE, shown) for how, (content, shown) in {
        "nothing": (b"", False), "text": (b"text", False), "half": (share(0.5), False), "head": (share(0.0001), False),
        "a pickle": (pickle.dumps(Trap()), False), "objects": (npy(TRAP, allow_pickle=True), False),
        "one number": (npy(np.float16(1)), False), "other frames": (npy(np.zeros((4, 64, 2048), np.float16)), False),
        "other cells": (npy(np.zeros((3, 9, 2048), np.float16)), False), "words": (npy(np.full(SHAPE, "a")), False),
        "other channels": (npy(np.zeros((3, 64, 5), np.float16)), False),
        "complex": (npy(np.zeros(SHAPE, "c8")), False),
        **{f"header {k}": (header(text), False) for k, text in enumerate((
            "{'descr': '<f2', 'fortran_order': False, 'shape': (10000000000000,)}", "{'descr': '<f2'", "(" * 200,
            "{'descr': '|O', 'fortran_order': False, 'shape': (3, 64, 2048)}", "__import__('os')", "\0" * 9,
            "{'descr': '<f2', 'fortran_order': False, 'shape': (-3, -64, 2048)}"))},
    }.items()),
    *((f"meta.json {how}", {f"{DESCRIPTORS}/meta.json": content}, LOCALIZE, shown)
      for how, (content, shown) in REFUSED_JSON.items()),
    *((f"details {how}", {f"{DESCRIPTORS}/clip3.json": content}, LOCALIZE, shown)
      for how, (content, shown) in REFUSED_JSON.items()),
    *((f"details {value!r:.20} as {'.'.join(key)}", {f"{DESCRIPTORS}/clip3.json": with_(value, *key)}, LOCALIZE, False)
      for key, values in {
          ("geometry",): (None, [], 3), ("geometry", "width"): (0, -5, "x", None, 10**400),
          ("geometry", "crop"): (None, [], [0, 0, 9], [9, 9, 0, 0], ["a"] * 4),
          ("indices",): (None, "abc", [0], [-9] * 3), ("times",): (None, [[0]], ["x"] * 3),
      }.items() for value in values),
    ("failed.tsv", {f"{DESCRIPTORS}/failed.tsv": b"\xff\xfe\0\0\nclip9\n\n\tx\n"}, LOCALIZE, None),
    *((f"truth {how}", {"DATA/Balls/truth/clip3.json": content}, LOCALIZE, shown)
      for how, (content, shown) in REFUSED_JSON.items()),
    *((f"truth {value!r:.20} as {'.'.join(map(str, key))}", {"DATA/Balls/truth/clip3.json": with_(value, *key)},
       LOCALIZE, False)
      for key, values in {
          ("num_frames",): (5, None), ("objects",): (None, {}), ("captions",): (None, [3]),
          ("objects", 0, "boxes"): (None, [], [[1, 2]] * 6, [["a"] * 4] * 6, [[9, 9, 0, 0]] * 6),
          ("objects", 0, "event"): (3,),
          ("objects", 0, "seen"): (None, ["x"] * 6, [None] * 6), ("objects", 0, "happens"): (None, [], [3, 1], [0, 99]),
          ("captions", 0, "phrases", 0, "tokens"): (None, [0], [0, 99], [2, 0], ["a", "b"]),
          ("captions", 0, "phrases", 0, "object"): (None, 7, -1, "0", 0.0), ("captions", 0, "caption"): (None, "", 3),
          ("captions", 0, "phrases", 0, "kind"): ("x", None),
      }.items() for value in values),
)  # fmt: skip

# --- Flickr30k Entities -----------------------------------------------------------------------------------------------

ANNOTATION, SENTENCES = "DATA/Dots/Entities/Annotations/dot3.xml", "DATA/Dots/Entities/Sentences/dot3.txt"


def instead(old, new):
    """A function of a file's content."""
    return lambda content: content.replace(old, new)


ENTITIES = (
    *((f"boxes {how}", {ANNOTATION: content}, FIND_DOTS, shown) for how, (content, shown) in {
        **ANY_TEXT, **{f"cut {part}": (share(part), False) for part in (0.1, 0.3, 0.5, 0.7, 0.9)},
        "BOM": (recoded("utf-8-sig"), True), "CRLF": (instead(b"><", b">\r\n<"), True),
        "UTF-16": (recoded("utf-16"), True),
        "nested": (b"<a>" * 20_000 + b"</a>" * 20_000, False),
        "billion laughs": (lambda content: b'<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>' + content, False),
        "another file": (lambda content: b'<!DOCTYPE a [<!ENTITY a SYSTEM "/etc/passwd">]>' + content, False),
        **{f"encoding {codec}": (lambda content, codec=codec: f'<?xml version="1.0" encoding="{codec}"?>'.encode()
                                 + content, shown)
           for codec, shown in {"none": False, "base64": False, "utf-7": None, "idna": None, "undefined": False,
                                "latin-1": True, "x" * 3000: False, "unicode_escape": None}.items()},
        **{f"{new.decode():.20} as xmin": (instead(b"<xmin>9<", b"<xmin>" + new + b"<"), shown)
           for new, shown in ((b"x", False), (b"", False), (b"nan", False), (b"1e3", False), (b"9" * 5000, False),
                              (b"-9", True), (b"40", False), (b" 9 ", True), ("٩".encode(), False))},
        **{f"{new.decode():.20} as width": (instead(b"<width>64<", b"<width>" + new + b"<"), shown)
           for new, shown in ((b"0", False), (b"-1", False), (b"9" * 400, False), (b"64.0", False))},
        "no size": (instead(b"size", b"sighs"), False), "no name": (instead(b"<name>1</name>", b""), False),
        "no corner": (instead(b"<ymax>31</ymax>", b""), False), "html": (b"<html><body>404</body></html>", False),
        "not there": (None, False),
    }.items()),
    *((f"sentences {how}", {SENTENCES: content}, FIND_DOTS, shown) for how, (content, shown) in {
        "empty": (b"", False), "one": (b"a dot\n", False), "latin_1": (b"\xe9\n\xe9\n", False),
        "zeros": (bytes(300) + b"\n" + bytes(9), None), "BOM": (recoded("utf-8-sig"), True),
        "CRLF": (recoded("utf-8", "\r\n"), True), "UTF-16": (recoded("utf-16"), False), "not there": (None, False),
        "open": (instead(b"dot]", b"dot"), False), "in another": (instead(b"red", b"[/EN#2/other red]"), False),
        "no type": (instead(b"#1/other", b"#1"), False), "no chain": (instead(b"#1", b"#"), False),
        "separators": (instead(b"red", "red\u2028\x0b".encode()), True), "others": (b"nothing\n" * 2, True),
        "long": (lambda content: b"word " * 10_000 + content, True),
    }.items()),
    *((f"unrelated {how}", {"DATA/Dots/Entities/UNRELATED_CAPTIONS": content}, FIND_DOTS, shown)
      for how, (content, shown) in {"zeros": (bytes(9), False), "words": (b"dot3 one\n", False),
                                    "digits": (b"dot3 " + b"9" * 5000 + b"\n", False),
                                    "BOM": (b"\xef\xbb\xbf# \n", True), "latin 1": (b"\xe9 1\n", False)}.items()),
)  # fmt: skip

# --- sentences, names and lists ---------------------------------------------------------------------------------------


def explain(**flags):
    """EXPLAIN with other flags."""
    given = [item for name, value in flags.items() for item in (f"--{name}", value)]
    kept = list(EXPLAIN)
    for flag in given[::2]:
        if flag in kept:
            del kept[kept.index(flag) : kept.index(flag) + 2]
    return (*kept, *given)


QUERIES = (
    *((f"sentence {how}", {}, explain(sentence=sentence.replace("\0", "")),
       None if how in ("newlines", "separators", "bars") else False)
      for how, sentence in CAPTIONS.items() if how not in ("surrogate",)),
    ("sentence surrogate", {}, explain(sentence="a \udcff ball"), True),
    ("sentence unlike", {}, explain(sentence="zebra " * 20), False),
    *((f"{flag} {value:.20}", {}, explain(**{flag: value}), False) for flag, value in (
        ("media_id", "../x"), ("media_id", "x" * 300), ("media_id", "x" * 5000), ("media_id", ""), ("media_id", "."),
        ("media_id", "/etc/passwd"), ("media_id", "a\nb"), ("media_id", "\udcff"), ("media_id", "<script>"),
        ("name", "../x"), ("name", "/etc"), ("name", "."), ("name", ""), ("name", "a\nb"), ("name", "x" * 300),
        ("output", "out"), ("output", "out/"), ("output", "out/x"), ("output", "secret/x.png"), ("output", "out/x.exe"),
        ("output", "out/" + "x" * 300 + ".png"), ("words", "zebra"),
        ("cmap", "x\ny"), ("start", "5"), ("start", "nan"), ("end", "-1"), ("stride", "0"), ("stride", "x"),
        ("stride", "9" * 5000), ("size", "0x0"), ("size", "99999x9"), ("map", "a\nb"),
        ("save_maps", "out/x.npy"), ("save_maps", "out/" + "x" * 300 + ".npz"))),
    *((f"media {value:.20}", {}, (*EXPLAIN[:6], "--media", value, *EXPLAIN[8:]), False) for value in (
        "", ".", "x" * 300, "x" * 5000, "secret", "/dev/zero", "http://127.0.0.1/x.mp4", "concat:secret", "a\nb",
        "\udcff.mp4", "DATA")),
    *((f"list {how}", {"DATA/list.tsv": content}, MANY, shown) for how, (content, shown) in {
        "empty": (b"", False), "zeros": (bytes(99), False), "latin 1": (b"clip3\ta \xe9\n", False),
        "BOM": (b"\xef\xbb\xbfclip3\ta ball\nclip4\ta ball\n", True), "CRLF": (b"clip3\ta ball\r\nclip4\t\r\n", None),
        "separators": ("clip3\ta\u2028ball\nclip4\ta ball\n".encode(), True),
        "escape": (b"../x\ta ball\nclip4\ta ball\n", False), "words": (b"clip3\ta zebra\nclip4\ta ball\n", False),
        "twice": (b"clip3\ta ball\nclip3\ta ball\n", True), "no sentence": (b"clip3\nclip4\n", None),
    }.items()),
    ("no medium", {}, (*BALLS_ALL, "--limit", "0"), False),
    *((f"index.json {how}", {"out/index.json": content}, MANY, None if how == "{}" else shown)
      for how, (content, shown) in REFUSED_JSON.items()),
)  # fmt: skip
