"""README and docs: commands parse, a smaller set of them runs, named files and functions exist, links resolve."""

import argparse
import dataclasses
import importlib
import json
import operator
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from processes import Worker

import cfg
from s2vt import command_line
from s2vt import config as configs
from s2vt.data.files import write_json
from s2vt.synthetic import writers

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in (
        ROOT / "README.md",
        *sorted((ROOT / "docs").glob("*.md")),
        *(ROOT / folder / "README.md" for folder in ("DATA", "experiments", "coco-caption")),
        *sorted((ROOT / "experiments").glob("*/README.md")),
    )
}
SCRIPTS = {  # command -> module with `main`
    "preprocessing.py": "preprocessing",
    "run_s2vt.py": "run_s2vt",
    "visualization.py": "visualization",
    "coco-caption/evaluate.py": "evaluate",
    "-m s2vt.synthetic": "s2vt.synthetic.__main__",
    "-m s2vt.synthetic.pretraining": "s2vt.synthetic.pretraining",
    "-m s2vt.synthetic.labels": "s2vt.synthetic.labels",
    "-m s2vt.features.imagenet": "s2vt.features.imagenet",
    "-m s2vt.features.shards": "s2vt.features.shards",
    "-m s2vt.captioning.export": "s2vt.captioning.export",
    "-m s2vt.evaluation.report": "s2vt.evaluation.report",
    "-m benchmarks": "benchmarks.__main__",
}


def blocks(page, language):
    """The fenced blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGES[page], re.MULTILINE | re.DOTALL)


# Bash expands loops, variables and continued lines; programs are replaced by functions that record their arguments.
RECORD = r"""
record() { printf '%s\x1f' "$@" >> "$RECORD"; printf '\x1e' >> "$RECORD"; }
for program in python make pip git ray; do eval "$program() { record $program \"\$@\"; }"; done
"""


def commands(page, folder):
    """The commands in a page's bash blocks, each a list of words; other effects of the blocks happen in `folder`."""
    record = folder / "record"
    record.write_text("")
    for block in blocks(page, "bash"):
        call = ["bash", "-euc", RECORD + block]
        subprocess.run(call, cwd=folder, env={"PATH": "/usr/bin:/bin", "RECORD": str(record)}, check=True)
    return [command.split("\x1f")[:-1] for command in record.read_text().split("\x1e")[:-1]]


def program_of(command):
    """(script or module as in SCRIPTS, its arguments) of a command that starts with `python`."""
    name = " ".join(command[1:3]) if command[1] == "-m" else command[1]
    return name, command[2 + (command[1] == "-m") :]


# --- commands parse -------------------------------------------------------------------------------------------------


class Parsed(Exception):
    """Ends a script as soon as its arguments are parsed."""


@pytest.fixture
def parse(monkeypatch):
    """(program, arguments) -> None: parses them with the program's own parser, and checks --dataset and --set."""

    def ending_after(method):
        def parse_and_end(self, *arguments):
            method(self, *arguments)
            raise Parsed

        return parse_and_end

    whole, plain = command_line.ScriptParser.command_of, argparse.ArgumentParser.parse_args
    monkeypatch.syspath_prepend(ROOT / "coco-caption")

    def parse(program, arguments):
        main = importlib.import_module(SCRIPTS[program]).main
        monkeypatch.setattr(sys, "argv", [program, *arguments])
        with monkeypatch.context() as patch:
            if program in ("preprocessing.py", "run_s2vt.py", "visualization.py"):
                patch.setattr(command_line.ScriptParser, "command_of", ending_after(whole))
            else:
                patch.setattr(argparse.ArgumentParser, "parse_args", ending_after(plain))
            with pytest.raises(Parsed):
                main()

    return parse


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "bash")])
def test_every_command_of_a_page_parses(page, parse, tmp_path, monkeypatch):
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    found = commands(page, tmp_path)
    monkeypatch.chdir(tmp_path)
    for name in ("photo.jpg", "clip.mp4"):
        (tmp_path / name).write_text("the content decides which captioner is the usual one")
    for name in ("Flickr30k", "Flickr30k-light"):
        write_json(tmp_path / "experiments" / name / "config.json", {"config": cfg.FLICKR30K.to_json()})
    for command in found:
        if command[0] == "make":
            assert set(command[1:]) <= set(targets), command
        elif command[0] == "python":
            parse(*program_of(command))
    assert found


@pytest.mark.parametrize("page", list(PAGES))
def test_every_benchmark_and_argument_of_it_exists(page, tmp_path):
    from benchmarks import __main__ as benchmarks

    for command in commands(page, tmp_path):
        if command[:3] == ["python", "-m", "benchmarks"]:
            stages = [word for word in command[3:] if word.isidentifier()]
            settings = [word for word in command[3:] if "=" in word]
            assert stages and set(stages) <= {*benchmarks.STAGES, *benchmarks.OF_EXTRAS}
            for stage in stages:
                measure = importlib.import_module(f"benchmarks.{stage}").measure
                assert len(benchmarks._sizes(stage, measure, settings)) == len(settings)


@pytest.mark.parametrize("program", list(SCRIPTS))
def test_usage_lists_the_flags_of_every_script(program, monkeypatch, capsys):
    monkeypatch.syspath_prepend(ROOT / "coco-caption")
    monkeypatch.setattr(sys, "argv", [program, "--help"])
    with pytest.raises(SystemExit):
        importlib.import_module(SCRIPTS[program]).main()
    flags = set(re.findall(r"(?<![\w-])--[a-z_]+", capsys.readouterr().out)) - {"--help"}
    if program in ("-m s2vt.synthetic.pretraining", "-m benchmarks"):  # described elsewhere
        return
    missing = {flag for flag in flags if not re.search(rf"{flag}\b", PAGES["docs/usage.md"])}
    assert not missing


def test_usage_names_no_flag_that_no_script_has(monkeypatch, capsys):
    monkeypatch.syspath_prepend(ROOT / "coco-caption")
    known = {"--help"}
    for program, module in SCRIPTS.items():
        monkeypatch.setattr(sys, "argv", [program, "--help"])
        with pytest.raises(SystemExit):
            importlib.import_module(module).main()
        known |= set(re.findall(r"(?<![\w-])--[a-z_]+", capsys.readouterr().out))
    for page, text in PAGES.items():
        text = re.sub("^ray .*", "", text, flags=re.MULTILINE)  # commands of Ray
        assert set(re.findall(r"(?<![\w-])--[a-z_]{3,}", text)) <= known, page


def test_usage_lists_every_setting_with_its_default():
    rows = dict(re.findall(r"^\| `([a-z]+\.[a-z_]+)` \| `([^`]+)` \|", PAGES["docs/usage.md"], re.MULTILINE))
    defaults = {
        f"{name}.{field.name}": str(field.default)
        for name, section in configs.SECTIONS.items()
        for field in dataclasses.fields(section)
    }
    assert rows == defaults


def test_every_kind_of_map_has_a_line_and_only_those():
    from s2vt.saliency.maps import KINDS

    table = PAGES["docs/usage.md"].split("## Kinds of map")[1].split("**Which cost what**")[0]
    rows = re.findall(r"^\| `([a-z_]+)` \| .* \| ([^|]*) \|$", table, re.MULTILINE)
    assert [name for name, _ in rows] == list(KINDS)
    for name, media in rows:
        assert ("picture" in media or "attention" in media) == ("picture" in KINDS[name].media), name


# --- what pages refer to --------------------------------------------------------------------------------------------


def test_readme_has_at_most_130_lines():
    assert len(PAGES["README.md"].splitlines()) <= 130


def slug(heading):
    """The anchor that GitHub makes of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", list(PAGES))
def test_every_relative_link_resolves(page):
    text = re.sub(r"^```.*?^```", "", PAGES[page], flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
            assert anchor in map(slug, headings), link


def test_every_file_and_function_of_the_papers_table_exists():
    rows = re.findall(r"^\| [^|]+ \| (`s2vt/[^|]+) \| ([^|]+) \|$", PAGES["README.md"], re.MULTILINE)
    assert len(rows) >= 15
    for files, functions in rows:
        files, functions = (re.findall("`([^`]+)`", cell) for cell in (files, functions))
        modules = [importlib.import_module(file.removesuffix(".py").replace("/", ".")) for file in files]
        for k, function in enumerate(functions):
            module = modules[k] if len(modules) > 1 else modules[0]
            assert callable(operator.attrgetter(function)(module)), function


@pytest.mark.parametrize("page", list(PAGES))
def test_every_file_of_the_project_that_a_page_names_exists(page):
    named = re.findall(r"`((?:s2vt|benchmarks|tests|docs|coco-caption)/[\w./-]*|cfg\.py|Makefile)`", PAGES[page])
    made_by_a_command = re.compile("benchmarks/results|coco-caption/(annotations|results)/")
    for name in named:
        assert made_by_a_command.match(name) or (ROOT / name).exists(), name


# --- the worked examples of docs/architecture.md --------------------------------------------------------------------


def example(heading, *modules):
    """The names that the Python block under a heading defines, executed with the names of the modules it belongs to."""
    text = PAGES["docs/architecture.md"].split(f"\n## {heading}\n")[1]
    (code, *_) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    names = {name: value for module in modules for name, value in vars(module).items()}
    exec(compile(code, heading, "exec"), names)
    return names


def test_the_example_of_a_data_set(tmp_path, monkeypatch):
    from s2vt.data import datasets

    monkeypatch.setattr(datasets, "READERS", dict(datasets.READERS))
    example("How to add a data set", datasets)
    folder = tmp_path / "Kitchen" / "train"
    folder.mkdir(parents=True)
    (folder / "cup.jpg").touch()
    (folder / "cup.txt").write_text("a red cup\na cup\n")
    config = configs.Config("Kitchen", layout="folders", media="picture", annotations="none", source="")
    (medium,) = datasets.read_media(config, tmp_path).values()
    assert medium == datasets.Medium("cup", folder / "cup.jpg", "train", ("a red cup", "a cup"))


def test_the_example_of_a_captioner(monkeypatch):
    import keras

    from s2vt.captioning import captioner, captioners

    monkeypatch.setattr(captioners, "CAPTIONERS", dict(captioners.CAPTIONERS))
    MaxPool = example("How to add a captioner", captioner, captioners)["MaxPool"]
    assert captioners.CAPTIONERS["max_pool"] is MaxPool
    model = MaxPool(vocabulary_size=7, units=5, embedding_size=4)
    v, y = np.random.default_rng(0).normal(size=(2, 6, 3)).astype("float32"), np.array([[4, 1], [2, 3]])
    first, state = model.step(model.encode(v))
    second, _ = model.step(state, y[:, 0])
    together = keras.ops.convert_to_numpy(model({"v": v, "y": y}))
    np.testing.assert_allclose(together, np.stack([first, second], axis=1), atol=1e-5)
    backwards, _ = model.step(model.encode(v[:, ::-1]))
    np.testing.assert_allclose(backwards, first, atol=1e-5)


def test_the_example_of_a_map(monkeypatch):
    from s2vt.features.descriptors import Descriptors
    from s2vt.saliency import maps

    monkeypatch.setattr(maps, "KINDS", dict(maps.KINDS))
    example("How to add a map", maps)
    cells = np.random.default_rng(0).random((3, 4, 5), np.float32)  # m = 3 frames, G = 2, D = 5
    descriptors = Descriptors(cells, cells.mean(axis=1), None)
    assert maps.parse_kinds("norm") == ["norm"]
    (found,) = maps.find_evidence(None, descriptors, [[1, 2]], ["norm"], maps.Asking("video"))
    found, norms = found["norm"], np.linalg.norm(cells, axis=-1)
    assert found.cells.shape == (2, 3, 2, 2) and found.frames.shape == (2, 3)
    assert found.cells[1, 2, 0, 1] == pytest.approx(norms[2, 1] / norms[2].sum())
    assert found.frames[0].sum() == pytest.approx(1)
    assert found.space([0]).shape == (3, 2, 2)
    of_picture = Descriptors(cells[:1], cells[0], np.arange(4))
    (picture,) = maps.find_evidence(None, of_picture, [[1]], ["norm"], maps.Asking("picture"))
    assert picture["norm"].cells.shape == (1, 1, 2, 2) and picture["norm"].frames is None


def test_the_example_of_a_metric():
    from s2vt.data.geometry import Geometry
    from s2vt.data.phrases import Phrase
    from s2vt.evaluation import tables
    from s2vt.evaluation.mentions import Mention
    from s2vt.evaluation.protocol import Protocol, Window

    *_, table = example("How to add a metric", tables)["TABLES"]
    mention = Mention(Phrase("cup", (0,)), boxes=(((0, 0, 2, 2),), (), ((4, 1, 9, 5), (0, 0, 1, 1))))
    maps = np.zeros((1, 3, 6, 10))  # one map of three frames
    maps[0, 0, 5, 5] = maps[0, 1, 0, 0] = maps[0, 2, 3, 8] = 1  # points (5.5, 5.5), (0.5, 0.5), (8.5, 3.5)
    assert table.score(maps, mention, Protocol()) == pytest.approx(np.hypot(3.5, 3.5) / 2)
    window = Window.of(Geometry.of(10, 6), "picture")
    assert table.baselines(mention, window, Protocol()) == {"center": pytest.approx(np.hypot(3, 1) / 2)}
    assert table.tally(Protocol()).metric == table.title


# --- a smaller set of commands runs ---------------------------------------------------------------------------------

PAGES_RUN = (
    "README.md", "docs/usage.md", "docs/ablations.md", "DATA/README.md", "coco-caption/README.md",
    pytest.param("docs/results.md", marks=pytest.mark.long),  # a minute: all captioners on two sets
)  # fmt: skip
SMALL = ("training.epochs=1", "training.batch_size=16", "model.units=8", "model.embedding_size=4", "text.min_count=1",
         "training.score_every=1")  # fmt: skip
CAPTIONS = {  # one more in the training split of each set, with the words of the docs' sentences
    "MovingShapes": "a white circle appears",
    "ShapeSequences": "a white circle appears",
    "MSR-VTT": "a man drives a red car and is driving down a road",
    "StillShapes": "a blue ring",
    "Flickr30k": "a dog runs on the beach and a man drives a red car",
}
NUM_FRAMES = 20  # of a clip, 0.8 s
# Words of the docs' commands -> their substitutes here: media of the small sets, seconds, descriptors.
SUBSTITUTES = {
    "video1050": "video3", "002500": "000003", "60": "0.2", "75": "0.6",
    "features.precision=mixed_bfloat16": "features.precision=float32", "inception.npz": "inception-shapes",
    "frames.npz": "inception-shapes",
}  # fmt: skip


@pytest.fixture(scope="session")
def worker(server, tmp_path_factory):
    """Runs scripts in a folder with small data sets, one trained run of each, and the media that the docs name."""
    worker = Worker(server, tmp_path_factory.mktemp("docs") / "place")
    write_media(worker.folder)
    for dataset in CAPTIONS:
        run(worker, "preprocessing.py", "--dataset", dataset, "--layer", "mixed_10")
        run(worker, "run_s2vt.py", "--dataset", dataset, "--train")
    light = ("--name", "Flickr30k-light", "--model", "mean_pool", "--set", "model.contrast=0.3")
    run(worker, "run_s2vt.py", "--dataset", "Flickr30k", "--train", *light)
    yield worker
    worker.close()


def write_media(folder):
    """Five data sets in the layouts of the synthetic ones; clips, pictures, lists; evaluate.py."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writers, "NUM_CLIP_FRAMES", NUM_FRAMES)
        for dataset, caption in CAPTIONS.items():
            place = folder / "DATA" / dataset
            if dataset in ("MovingShapes", "ShapeSequences", "MSR-VTT"):
                writers.write_moving_shapes(place, {"train": 2, "validate": 1, "test": 1}, processes=1)
                path = place / "train_val_videodatainfo.json"
                info = json.loads(path.read_text())
                info["sentences"].append({"video_id": "video0", "caption": caption})
                path.write_text(json.dumps(info))
            else:
                writers.write_still_shapes(place, {"train": 2, "val": 1, "test": 1}, processes=1)
                with open(place / "results_20130124.token", "a") as file:
                    file.write(f"000000.jpg#9\t{caption}\n")
    shutil.copytree(folder / "DATA" / "StillShapes", folder / "DATA-crop" / "StillShapes")
    for name in ("clip.mp4", "clip.avi"):
        shutil.copy(folder / "DATA" / "MSR-VTT" / "TestVideo" / "video3.mp4", folder / name)
    picture = folder / "DATA" / "Flickr30k" / "flickr30k-images" / "000003.jpg"
    for name in ("photo.jpg", "another.jpg", "kitchen/train/cup.jpg", "kitchen/val/pot.jpg", "kitchen/test/pan.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, folder / name)
    for split, name in (("val", "pot"), ("test", "pan")):
        images, captions = [{"id": 1, "file_name": f"{name}.jpg"}], [{"image_id": 1, "caption": f"a red {name}"}]
        path = folder / "kitchen" / "annotations" / f"captions_{split}.json"
        write_json(path, {"images": images, "annotations": captions})
    (folder / "sentences.tsv").write_text(f"video3\t{CAPTIONS['MSR-VTT']}\n")
    annotations = {"images": [{"id": 1}], "annotations": [{"image_id": 1, "caption": "a red cup"}]}
    write_json(folder / "annotations.json", annotations)
    write_json(folder / "results.json", [{"image_id": 1, "caption": "a cup"}])
    (folder / "coco-caption").mkdir()
    (folder / "coco-caption" / "evaluate.py").symlink_to(ROOT / "coco-caption" / "evaluate.py")


def run(worker, program, *arguments):
    """What a script prints; it must succeed. Training is small."""
    arguments = [SUBSTITUTES.get(word, word) for word in arguments]
    if "--train" in arguments:
        arguments = [*arguments, *(word for setting in SMALL for word in ("--set", setting))]
        arguments += [] if {"--resume", "--overwrite"} & {*arguments} else ["--overwrite"]
    status, out, err, _ = worker.run(program.removesuffix(".py"), *arguments)
    assert status == 0, f"{program} {' '.join(arguments)}: {err}"
    return out


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES_RUN)
def test_the_commands_of_a_page_run(page, worker):
    scripts = [program_of(command) for command in commands(page, worker.folder) if command[0] == "python"]
    scripts = [(program, arguments) for program, arguments in scripts if not program.startswith("-m")]
    assert scripts
    for program, arguments in scripts:
        out = run(worker, program, *arguments)
        if program == "visualization.py":
            assert out.split() and all((worker.folder / path).exists() for path in out.split())
        else:
            assert re.search(r"METEOR|pointing game|area under|similarity|media have", out), out
