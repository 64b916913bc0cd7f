"""Damaged and unusual files, ids, flags and sentences, given to the real scripts: each ends in a result or in one line.

Never a traceback, a hang, a program that is started, a pickle that is loaded, or a change of files outside the output
folder. The cases are those of `bad_files` and `corpus`; `test_readers` gives them to the functions that read the files.
Of each table, every EVERY-th case runs in `make test`, all of them in `make test-all`.
"""

import contextlib
import json
import re
import shutil
from pathlib import Path

import bad_files
import corpus
import pytest
from bad_files import CAPTIONS, READ, TEST_LIST, media_list, write
from processes import Worker, link_scripts, write_balls

SECRET = b"not to be touched"
EVERY = 12


class Place(Worker):
    """The data sets, each with its descriptors, and a captioner of Balls and of Dots."""

    def __init__(self, server, folder):
        super().__init__(server, folder / "outer" / "place")

    def prepare(self):
        """Makes it all."""
        folder = self.folder.parent.parent
        write(folder, {"secret": SECRET, "outer/secret": SECRET, "outer/place/secret": SECRET})
        link_scripts(self.folder)
        write_balls(self.folder / "DATA" / "Balls")
        bad_files.write_dots(self.folder / "DATA" / "Dots")
        bad_files.write_published(self.folder)
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
        return {path: (path.lstat().st_mtime_ns, path.lstat().st_size) for path in paths}

    def check(self, command, shown, many=False):
        """Runs a command, of which a result (True), a refusal (False) or either (None) must come; its stderr.

        many: a command that lists what it refuses and does the rest.
        """
        before = self.files()
        status, out, err, outside = self.run(*command)
        lines = [line for line in re.split("[\r\n]+", err) if line.strip() and "it/s" not in line and "%|" not in line]
        told = [line for line in lines if not line.startswith("note: ")]
        assert "Traceback" not in err and not outside and self.files() == before, (err, outside)
        assert status in ([1] if many else {True: [0], False: [1, 2], None: [0, 1, 2]}[shown]), (status, out, err)
        if status and not many:
            assert len(told) == 1 and not out, (out, err)
            assert told[0].startswith(f"{command[0]}.py: ") and len(told[0]) < 2000, told
        return err

    def check_with(self, files, command, shown):
        """`check` with files of other content; None: not there."""
        with bad_files.replaced_files(self.folder, files):
            return self.check(command, shown)


@pytest.fixture(scope="module")
def place(server, tmp_path_factory):
    with contextlib.closing(Place(server, tmp_path_factory.mktemp("bad"))) as place:
        place.prepare()
        yield place


def cases(table):
    """pytest's parameters (files, command, shown), named; most are marked long."""
    return pytest.mark.parametrize(
        ("files", "command", "shown"),
        [
            pytest.param(*row[1:], id=re.sub(r"\W+", "_", row[0]), marks=[pytest.mark.long] if k % EVERY else [])
            for k, row in enumerate(table)
        ],
    )


@cases(bad_files.LISTS_OF_MEDIA)
def test_lists_of_media(place, files, command, shown):
    place.check_with(files, command, shown)


@cases(bad_files.SETTINGS)
def test_settings(place, files, command, shown):
    place.check_with(files, command, shown)


@cases(bad_files.RUNS)
def test_files_of_runs(place, files, command, shown):
    place.check_with(files, command, shown)
    assert not Path("/tmp/trapped").exists()


@cases(bad_files.ENTITIES)
def test_entities(place, files, command, shown):
    place.check_with(files, command, shown)


@cases(bad_files.QUERIES)
def test_sentences_names_and_lists(place, files, command, shown):
    place.check_with(files, command, shown)


@pytest.mark.slow
def test_odd_captions_go_through_it_all(place):
    """Training, test and scores of captions of every kind; the run is another one, and the truth is not asked for."""
    captions = tuple(CAPTIONS.values())
    train = json.loads(media_list("clip0", "clip1", captions=captions, split="train"))
    train["videos"][1]["split"] = "validate"
    files = {
        "DATA/Balls/train_val_videodatainfo.json": json.dumps(
            {"videos": train["videos"][:2], "sentences": train["sentences"]}
        ).encode(),
        TEST_LIST: media_list(captions=captions),
    }
    flags = ("--dataset", "Balls", "--weights", "DATA/w.pb", "--name", "odd")
    place.check_with(files, ("run_s2vt", *flags, "--set", "training.epochs=1", "--train"), True)
    place.check_with(files, ("run_s2vt", *flags, "--test"), True)
    words = json.loads((place.folder / "experiments" / "odd" / "vocabulary.json").read_bytes())["words"]
    assert {"ball", "כדור", "script", "b" * 100_000} <= set(words) and all(word.split() == [word] for word in words)


# --- media ------------------------------------------------------------------------------------------------------------

MEDIA = {"picture": corpus.pictures(), "video": corpus.videos()}


@pytest.mark.parametrize("kind", ["picture", "video"])
@pytest.mark.parametrize("every", [pytest.param(20, id="some"), pytest.param(1, id="all", marks=pytest.mark.long)])
def test_media_are_shown_or_listed_with_a_reason(place, kind, every):
    """One extraction and one visualization of all files of a kind; both come to the same outcome where it is known."""
    media = dict(list(MEDIA[kind].items())[::every])
    dataset, names = f"Odd_{kind}s_{every}", {_id(name): name for name in media}
    _write_odd(place, dataset, kind, media)
    common = ("--dataset", dataset, "--weights", "DATA/w.pb")
    place.check(("preprocessing", *common, "--layer", "mixed_10"), False, many=True)
    made = place.folder / "DATA" / dataset / "descriptors" / "w" / "mixed_10"
    failed = dict(line.split("\t") for line in (made / "failed.tsv").read_text("utf-8").splitlines())
    extracted = {path.stem for path in made.glob("*.npy")}

    look = ("--checkpoint", "last", "--sentence", "a", "--layout", "single", "--size", "320x240")
    look += ("--stride", "200") if kind == "video" else ()
    out = f"out/{dataset}"
    err = place.check(("visualization", *common, *look, "--media_id", "all", "--output", out), False, many=True)
    refused = dict(re.findall(r"^(\w+): (.*)$", err, re.M))
    explained = {path.stem for path in (place.folder / out).iterdir()}
    for medium_id, name in names.items():
        shown = media[name][1]
        for found, reasons in ((extracted, failed), (explained, refused)):
            assert (medium_id in found) != (medium_id in reasons), name
            assert shown is None or (medium_id in found) == shown, (name, reasons.get(medium_id))
        for reason in (reasons[medium_id] for reasons in (failed, refused) if medium_id in reasons):
            assert 10 < len(reason) < 500 and reason.isprintable() and "Error:" not in reason


def _write_odd(place, dataset, kind, media):
    """A data set of these media, and a run of it."""
    captioner = {"picture": "Dots", "video": "Balls"}[kind]
    folder, run = place.folder / "DATA" / dataset, place.folder / "experiments" / dataset
    shutil.copytree(place.folder / "experiments" / captioner, run)
    record = json.loads((run / "config.json").read_bytes())
    record["config"].update({"dataset": dataset, "layout": "coco", "annotations": "none"})
    settings = json.loads((place.folder / "DATA" / captioner / "dataset.json").read_bytes())["set"]
    listed = [{"id": k, "file_name": _id(name) + Path(name).suffix} for k, name in enumerate(media)]
    captions = [{"image_id": k, "caption": "a red dot"} for k in range(len(listed))]
    empty = {"images": [], "annotations": []}
    files = {
        "dataset.json": {"layout": "coco", "media": kind, "set": settings},
        **{f"annotations/captions_{split}.json": empty for split in ("train", "val")},
        "annotations/captions_test.json": {"images": listed, "annotations": captions},
    }
    write(run, {"config.json": json.dumps(record).encode()})
    write(folder, {name: json.dumps(value).encode() for name, value in files.items()})
    write(folder / "test", {_id(name) + Path(name).suffix: content for name, (content, _) in media.items()})


def _id(name):
    return re.sub(r"\W", "_", name)
