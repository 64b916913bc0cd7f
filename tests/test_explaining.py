"""Planning an explanation: which media and files, and every mistake that is found before the engine is loaded."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cfg
from s2vt.captioning.captioners import CAPTIONERS
from s2vt.captioning.runs import Run
from s2vt.config import CONTRASTED, ModelConfig, choices
from s2vt.data.files import write_json
from s2vt.data.text import Vocabulary
from s2vt.data.video_writer import VideoWriter
from s2vt.errors import UserError
from s2vt.explaining import outputs
from s2vt.explaining.captioners import TrainedCaptioner
from s2vt.explaining.explain import explain_files
from s2vt.explaining.explainer import _of_distinct
from s2vt.explaining.jobs import plan
from s2vt.explaining.request import Excerpt, ExplanationRequest, Selection, View
from s2vt.rendering.drawing import LAYOUTS, NORMALIZATIONS, Look
from s2vt.saliency.maps import KINDS, Evidence, kinds_of, kinds_with

ROOT = Path(cfg.__file__).parent


class Place:
    """A data set with the media "one", "two", "two_2", a run of it, and files of a user's own."""

    def __init__(self, folder, media="video"):
        self.folder, self.media = folder, media
        base = cfg.MOVING_SHAPES if media == "video" else cfg.STILL_SHAPES
        config = dataclasses.replace(base, layout="coco", annotations="none", dataset="mine")
        self.config = config.replace(["text.max_words=3"])
        self.run = Run(folder / "run")
        write_json(self.run.folder / "config.json", {"config": self.config.to_json()})
        Vocabulary([".", "red", "blue", "circle"], [4, 1, 1, 1]).save(self.run.folder / "vocabulary.json")
        self.own = {"video": folder / "clip.mp4", "picture": folder / "picture.png"}
        folder.mkdir(exist_ok=True)
        Image.new("RGB", (64, 48)).save(self.own["picture"])
        with VideoWriter(self.own["video"], 64, 48, 10) as video:
            for _ in range(3):
                video.write(np.zeros((48, 64, 3), np.uint8))
        names = {"one": "one.mp4", "two": "two.mp4", "two_2": "two_2.mp4"}
        images = [{"id": name, "file_name": file} for name, file in names.items()]
        captions = [{"image_id": name, "caption": "red"} for name in names]
        for split, listed in (("train", ()), ("val", ()), ("test", images)):
            contents = {"images": list(listed), "annotations": captions if listed else []}
            write_json(folder / "DATA" / "mine" / "annotations" / f"captions_{split}.json", contents)
        (folder / "DATA" / "mine" / "test").mkdir()
        for file in names.values():
            (folder / "DATA" / "mine" / "test" / file).write_bytes(self.own[media].read_bytes())

    def request(self, selection=None, **changes):
        """An ExplanationRequest, of the user's own medium unless a selection is given."""
        selection = selection or Selection(media=str(self.own[self.media]))
        config = changes.pop("config", self.config)
        views = (View(TrainedCaptioner(self.run, 0, config), changes.pop("look", Look())),)
        return ExplanationRequest(views, self.folder / "DATA", selection, **changes)

    def plan(self, selection=None, **changes):
        return plan(self.request(selection, **changes))


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


@pytest.fixture
def pictures(tmp_path):
    return Place(tmp_path / "pictures", "picture")


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("output", "moving", "page", "files"),
    [
        ("o.mp4", True, False, {"o.mp4": "make_video", "o_storyboard.png": "make_storyboard"}),
        ("a.b.GIF", True, True, {"a.b.GIF": "make_video", "a.b_storyboard.png": "make_storyboard",
                                 "a.b.html": "make_page"}),
        ("o.pdf", True, False, {"o.pdf": "make_storyboard"}),
        ("o.html", True, True, {"o.html": "make_page"}),
        ("o.svg", False, True, {"o.svg": "make_figure", "o.html": "make_page"}),
    ],
)  # fmt: skip
def test_the_ending_chooses_what_is_made(output, moving, page, files):
    found = outputs.files_of(Path("x", output), moving, page)
    assert {path.name: make.__name__ for path, make in found.items()} == files
    assert list(found)[0] == Path("x", output)


@pytest.mark.parametrize(("output", "moving"), [("o.avi", True), ("o.mp4", False), ("o", True), ("o.jpg", False)])
def test_another_ending_is_refused_with_the_possible_ones(output, moving):
    with pytest.raises(UserError, match=f"{output}.*{'.mp4' if moving else '.png, .pdf, .svg, .html'}"):
        outputs.files_of(Path(output), moving, False)


def test_the_default_output_is_in_the_runs_folder(place, pictures):
    (job,) = place.plan().jobs
    assert job.output == place.run.folder / "saliency" / "clip.mp4" and job.moving and not job.has_page
    (job,) = pictures.plan(page=True, save_maps="m.NPZ").jobs
    assert job.output == pictures.run.folder / "saliency" / "picture.png" and not job.moving and job.has_page
    assert list(job.files)[-1] == Path("m.NPZ")


def test_a_picture_is_shown_as_a_picture_also_with_a_captioner_of_videos(place):
    (job,) = place.plan(Selection(media=str(place.own["picture"]))).jobs
    assert not job.moving and job.output.suffix == ".png"


@pytest.mark.parametrize("output", [None, "out", "out/{id}.gif", "out/x_{id}.png"])
def test_many_media_go_into_one_folder(place, monkeypatch, output):
    monkeypatch.chdir(place.folder)
    planned = place.plan(Selection(media_id="all", limit=2), output=output)
    folder = place.run.folder / "saliency" if output is None else Path("out")
    names = {None: "{}.mp4", "out": "{}.mp4"}.get(output, Path(output or "").name.replace("id", ""))
    assert planned.many and [job.output for job in planned.jobs] == [folder / names.format(n) for n in ("one", "two")]


def test_the_jobs_of_a_list_have_names_of_their_own(place):
    path = place.folder / "list.tsv"
    path.write_text("\ufefftwo\tred\n\none\ntwo\tblue \ntwo_2\n two \tred blue\n", encoding="utf-8")
    planned = place.plan(Selection(media_id=str(path), sentence="circle"))
    assert [(job.name, job.medium.id, job.sentence) for job in planned.jobs] == [
        ("two", "two", "red"), ("one", "one", "circle"), ("two_2", "two", "blue"), ("two_2_2", "two_2", "circle"),
        ("two_3", "two", "red blue"),
    ]  # fmt: skip
    assert planned.many


def test_one_id_is_one_medium(place):
    planned = place.plan(Selection(media_id="two", sentence="red"))
    assert not planned.many and [job.name for job in planned.jobs] == ["two"]


def test_a_sentence_may_be_as_long_as_the_captioners_own(place):
    longest = " ".join(["red"] * place.config.text.max_words)
    assert place.plan(Selection(media=str(place.own["video"]), sentence=longest)).jobs[0].sentence == longest


# --- mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "facts"),
    [
        ({"sentence": "red zebra"}, ["'zebra'", "vocabulary"]),
        ({"sentence": "red crcle"}, ["'crcle'", "circle"]),
        ({"sentence": ""}, ["no words"]),
        ({"sentence": "red " * 4}, ["4 words", "at most 3"]),
        ({"sentence": "red", "phrases": (("blue",),)}, ["'blue'", "'red'"]),
        ({"sentence": "red blue", "instead": "red"}, ["'red blue' goes on where 'red' ends"]),
        ({"instead": "red"}, ["needs a sentence", "--sentence"]),
        ({"sentence": "red blue", "phrases": (("blue", "red"),)}, ["'blue red'"]),
        ({"media": "nowhere.mp4"}, ["nowhere.mp4", "no such file"]),
        ({"media": "."}, ["is a folder"]),
        ({"media": None, "media_id": "twoo"}, ["'twoo'", "nearest: two", "3"]),
        ({"media": None, "media_id": "all", "split": "tset"}, ["'tset'", "test"]),
        ({"media": None, "media_id": "all", "limit": 0}, ["--limit 0"]),
        ({"media": None, "media_id": "all", "save_maps": "m.npz"}, ["--save_maps", "one medium"]),
        ({"output": "o.avi"}, ["o.avi", ".mp4"]),
        ({"output": "picture.png/o.mp4"}, ["picture.png/o.mp4", "cannot be written"]),
        ({"output": f"{'x' * 300}.mp4"}, ["cannot be written", "File name too long"]),
    ],
)
def test_a_mistake_is_named(place, monkeypatch, changes, facts):
    monkeypatch.chdir(place.folder)
    names = [field.name for field in dataclasses.fields(Selection)]
    selection = {"media": str(place.own["video"])} | {name: v for name, v in changes.items() if name in names}
    before = sorted(place.folder.rglob("*"))
    with pytest.raises(UserError) as caught:
        place.plan(Selection(**selection), **{name: v for name, v in changes.items() if name not in names})
    assert all(fact in str(caught.value) for fact in facts), caught.value
    assert sorted(place.folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("one\tred\nfour\tred\n", ["list.tsv, line 2", "'four'"]),
        ("one\tred\none\tpink\n", ["list.tsv, line 2", "'pink'"]),
        ("\n", ["lists no media"]),
        (b"one\t\xff", ["list.tsv", "media_id<TAB>sentence"]),
    ],
)
def test_a_mistake_in_a_list_names_the_line(place, text, facts):
    path = place.folder / "list.tsv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError) as caught:
        place.plan(Selection(media_id=str(path)))
    assert all(fact in str(caught.value) for fact in facts), caught.value


@pytest.mark.parametrize("link", ["same", "symbolic", "hard", "storyboard", "page"])
def test_no_file_of_the_users_is_overwritten(place, link):
    source, output = place.own["video"], place.folder / "o.mp4"
    if link == "symbolic":
        output.symlink_to(source)
    elif link == "hard":
        os.link(source, output)
    elif link == "same":
        output = place.folder / "x" / ".." / source.name
        (place.folder / "x").mkdir()
    elif link == "storyboard":
        source = place.folder / "o_storyboard.png"
        source.write_bytes(place.own["video"].read_bytes())
    else:
        source = place.folder / "o.html"
        source.write_bytes(place.own["video"].read_bytes())
    content = source.read_bytes()
    with pytest.raises(UserError, match="never overwritten; choose --output"):
        explain_files(place.request(Selection(media=str(source), sentence="red"), output=str(output), page=True))
    assert source.read_bytes() == content


def test_one_medium_is_not_for_a_cluster(place):
    selection = Selection(media=str(place.own["picture"]), sentence="red")
    with pytest.raises(UserError, match="^--ray is for many media"):
        explain_files(place.request(selection, output=str(place.folder / "one.png")), workers=lambda *work: None)


@pytest.mark.parametrize("start_end", [(2.0, 1.0), (1.0, 1.0), (-1.0, None), (float("nan"), None), (None, 0.0),
                                       (float("inf"), None), (None, float("nan"))])  # fmt: skip
def test_an_empty_range_is_refused(start_end):
    with pytest.raises(UserError, match="(--start|--end) .*the end after the start"):
        Excerpt(*start_end)


def test_a_stride_is_one_or_more():
    assert Excerpt(stride=100_000).whole and not Excerpt(end=3.0).whole
    for stride in (0, -1):
        with pytest.raises(UserError, match=f"--stride {stride}: expected 1 or more"):
            Excerpt(stride=stride)


@pytest.mark.parametrize("excerpt", [Excerpt(start=1.0), Excerpt(end=1.0), Excerpt(stride=2)])
def test_a_picture_has_no_time(pictures, excerpt):
    with pytest.raises(UserError, match="for videos"):
        pictures.plan(excerpt=excerpt)


@pytest.mark.parametrize(
    ("changes", "facts"),
    [
        ({"look": Look(cmap="rainbowish")}, ["rainbowish"]),
        (
            {"look": Look(dataclasses.replace(cfg.MSVD.saliency, map="grad"))},
            ["--map grad: ", ", ".join(KINDS)],
        ),
        (
            {"look": Look(dataclasses.replace(cfg.MSVD.saliency, map="attention"))},
            [
                "attention",
                "s2vt",
                "nll, kl, likelihood, change, moment, logit, contrast, banzhaf",
                "eb_likely of a video",
            ],
        ),
        ({"save_maps": "m.txt"}, ["m.txt", ".npz"]),
    ],
)
def test_a_request_is_checked_alone(place, changes, facts):
    with pytest.raises(UserError) as caught:
        place.request(**changes)
    assert all(fact in str(caught.value) for fact in facts), caught.value


def test_attention_over_frames_says_nothing_about_a_picture(place):
    config = place.config.replace(["model.name=soft_attention", "saliency.map=attention"])
    look = Look(config.saliency)
    assert place.plan(config=config, look=look)
    with pytest.raises(UserError, match="--map attention: .*picture.png is a picture"):
        place.plan(Selection(media=str(place.own["picture"])), config=config, look=look)
    released = Look(dataclasses.replace(config.saliency, normalize="release"))
    with pytest.raises(UserError, match="--map attention: .*need cells.*--normalize clip"):
        place.plan(config=config, look=released)


def test_a_picture_has_no_change(place):
    config = place.config.replace(["saliency.map=change"])
    look = Look(config.saliency)
    assert place.plan(config=config, look=look)
    with pytest.raises(UserError, match="--map change compares the frames of a video, .*picture.png is a picture"):
        place.plan(Selection(media=str(place.own["picture"])), config=config, look=look)
    of_pictures = cfg.FLICKR30K.replace(["saliency.map=change"])
    with pytest.raises(UserError, match="which gives nll, kl, likelihood, logit, contrast, banzhaf, .* of a picture"):
        place.request(config=of_pictures, look=Look(of_pictures.saliency))


MISTAKES = [
    ["--sentence", "a red circle", "--instead", "a red circle"], ["--instead", "a red circle"],
    ["--sentence", "a rde circle"], ["--stride", "0"], ["--start", "2", "--end", "1"], ["--output", "o.avi"],
    ["--cmap", "rainbowish"], ["--save_maps", "m.txt"], ["--output", "/proc/none/o.mp4"], ["--map", "attention"],
    ["--size", "-5x10"], ["--layout", "circle"], ["--words", "zebra", "--sentence", "a red circle"], ["--map", "x"],
    ["--normalize", "both"],
    ["--checkpoint", "7"], ["--name", "none"], ["--start", "99"],
]  # fmt: skip


def test_no_mistake_needs_the_engine(place):
    """All in one process, which has not imported Keras at the end."""
    code = f"""
import sys, runpy
for mistake in {MISTAKES!r}:
    sys.argv = ["visualization.py", "--dataset", "MovingShapes", "--media", {str(place.own["video"])!r}, *mistake]
    try:
        runpy.run_path("visualization.py", run_name="__main__")
    except SystemExit as end:
        print(end.code, "keras" in sys.modules)
"""
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.stdout.split("\n")[:-1] == ["2 False"] * len(MISTAKES), result.stderr
    lines = result.stderr.splitlines()
    assert len(lines) == len(MISTAKES) and all(line.startswith("visualization.py: ") for line in lines), lines


# --- what is declared twice -------------------------------------------------------------------------------------------


def test_the_choices_of_the_command_line_are_those_of_the_drawings():
    import visualization

    actions = {action.dest: action for action in visualization._parser()._actions}
    assert actions["layout"].choices == LAYOUTS
    assert choices("saliency.normalize") == tuple(NORMALIZATIONS)


@pytest.mark.parametrize("name", CAPTIONERS)
def test_kinds_of_map_are_known_without_the_engine(name):
    assert kinds_with(ModelConfig(name=name).methods) == kinds_of(CAPTIONERS[name])


@pytest.mark.parametrize("name", CONTRASTED)
def test_a_contrast_gives_a_kind_of_map_more(name):
    found = kinds_with(ModelConfig(name=name, contrast=0.5).methods)
    assert found == kinds_of(CAPTIONERS[name](7, units=5, contrast=0.5)) == [*kinds_of(CAPTIONERS[name]), "alignment"]


# --- the Explainer ----------------------------------------------------------------------------------------------------


def test_a_frames_share_of_attention_is_the_sum_over_its_repeats():
    evidence = Evidence("attention", None, np.array([[0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1]]))
    found = _of_distinct(evidence, np.array([0, 1, 3]))
    np.testing.assert_allclose(found.frames, [[0.1, 0.5, 0.4], [0.4, 0.5, 0.1]])
    losses = Evidence("nll", np.zeros((1, 3, 8, 8)), np.array([[-1.0, -2.0, -3.0]]))
    np.testing.assert_array_equal(_of_distinct(losses, np.arange(3)).frames, losses.frames)


def test_values_of_repeated_frames_are_summed_where_they_are_parts_of_a_whole():
    """Of 4 sampled frames the second is the first again: what is alone stands once, parts of a whole add up."""
    cells, frames = np.arange(16.0).reshape(1, 4, 2, 2), np.array([[1.0, 2, 4, 8]])
    first = np.array([0, 2, 3])
    alone, whole = (_of_distinct(Evidence(kind, cells, frames), first) for kind in ("nll", "gradient"))
    assert alone.frames.tolist() == [[1, 4, 8]] and whole.frames.tolist() == [[3, 4, 8]]
    np.testing.assert_array_equal(alone.cells, cells[:, first])
    np.testing.assert_array_equal(whole.cells[:, 0], cells[:, 0] + cells[:, 1])
    np.testing.assert_array_equal(whole.cells[:, 1:], cells[:, 2:])
    assert _of_distinct(Evidence("rise", None, frames), first).cells is None
