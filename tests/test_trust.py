"""Files are trusted less than code: nothing that a file or a name says is run, and nothing leaves its folder."""

import ast
import html.parser
import inspect
import io
import pickle
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cfg
from s2vt.captioning import java as scoring
from s2vt.data import datasets
from s2vt.errors import UserError
from s2vt.features import inception, inception_2015, networks
from s2vt.features.descriptors import DescriptorStore
from s2vt.rendering.gallery import Gallery

ROOT = Path(cfg.__file__).parent
CODE = [
    *ROOT.glob("*.py"),
    *(path for name in ("s2vt", "benchmarks", "coco-caption") for path in (ROOT / name).rglob("*.py")),
]


# --- the code


MODULES = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "yaml"}
OF_TORCH = {"load", "hub", "jit", "package"}  # what reads pickles or code; the rest of PyTorch computes
CALLS = {"eval", "exec", "compile", "__import__"}
METHODS = {"system", "popen", "extractall", "load_model", "unpack_archive", "execv", "execvp", "getoutput"}


def distrusted(source):
    """What of a module's source can run what a file or a name says: list of (line, what)."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                found += [(node.lineno, name.name) for name in names if _reads_code(name.name)]
            case ast.ImportFrom(module=str(module), names=names):
                found += [(node.lineno, module) for name in names if _reads_code(f"{module}.{name.name}")]
            case ast.Attribute(value=ast.Name(id="torch"), attr=name) if name in OF_TORCH:
                found.append((node.lineno, f"torch.{name}"))
            case ast.Call(func=ast.Name(id=name)) if name in CALLS:
                found.append((node.lineno, name))
            case ast.Call(func=ast.Attribute(attr=name)) if name in METHODS:
                found.append((node.lineno, name))
            case ast.keyword(arg="shell" | "allow_pickle" | "trust_remote_code" as name, value=value):
                if not (isinstance(value, ast.Constant) and value.value is False):
                    found.append((node.lineno, name))
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="np"), attr="load" | "save" as name), keywords=given):
                if "allow_pickle" not in {keyword.arg for keyword in given}:
                    found.append((node.lineno, f"np.{name} without allow_pickle=False"))
    return found


def _reads_code(module):
    """Whether a module, by its full name, reads pickles or code."""
    first, *rest = module.split(".")
    return first in MODULES or first == "torch" and bool(OF_TORCH.intersection(rest[:1]))


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_code_runs_what_files_say(path):
    assert distrusted(path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle", "from pickle import loads", "import torch.hub", "def f(): import joblib", "eval('1')",
        "[exec(x) for x in y]", "os.system('ls')", "subprocess.run('ls', shell=True)", "run(x, shell=yes)",
        "np.load(path)", "np.load(path, allow_pickle=True)", "np.save(path, x)", "keras.models.load_model(path)",
        "archive.extractall()", "__import__(name)", "shutil.unpack_archive(path)",
        "torch.load(path)", "from torch import load", "from torch.hub import x", "model(name, trust_remote_code=True)",
    ],
)  # fmt: skip
def test_what_would_be_found(source):
    assert len(distrusted(source)) == 1


def test_all_the_code_is_looked_at():
    names = {str(path.relative_to(ROOT)) for path in CODE}
    expected = {"run_s2vt.py", "cfg.py", "s2vt/command_line.py", "s2vt/features/descriptors.py", "benchmarks/timing.py"}
    assert expected <= names and len(names) > 60


# --- weights


class Trap:
    """Ends the process when it is unpickled."""

    def __reduce__(self):
        return exec, ("import os; os._exit(99)",)


def npz(**arrays):
    np.savez(file := io.BytesIO(), **arrays)
    return file.getvalue()


def objects():
    np.save(file := io.BytesIO(), np.array([Trap()], object), allow_pickle=True)
    return file.getvalue()


PICKLED = {"a.npz": pickle.dumps(Trap()), "a.pb": pickle.dumps(Trap()), "b.npz": objects(), "c.npz": npz(x=[Trap()])}


@pytest.mark.parametrize("name", PICKLED)
def test_pickled_weights_are_refused_in_one_line(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(PICKLED[name])
    with pytest.raises(UserError, match=f"{name} does not hold this InceptionV3") as caught:
        with inception._open_arrays(path) as arrays:
            assert dict(arrays)
    assert "\n" not in str(caught.value)


def test_weights_with_any_bytes_changed_hold_arrays_or_are_refused(tmp_path):
    whole = npz(kernel=np.arange(300, dtype=np.float32), bias=np.ones((3, 4), np.float16))
    rng, refused = np.random.default_rng(0), 0
    for k in range(400):
        data = np.frombuffer(whole, np.uint8).copy()
        data[rng.integers(len(data), size=1 + k % 4)] = rng.integers(0, 256, 1 + k % 4)
        (tmp_path / "w.npz").write_bytes(data[: len(data) if k % 3 else rng.integers(len(data))].tobytes())
        try:
            with inception._open_arrays(tmp_path / "w.npz") as arrays:
                assert {name: array.dtype for name, array in arrays.items()}
        except UserError as error:
            refused += 1
            assert "does not hold this InceptionV3" in str(error)
    assert 100 < refused < 400


def archive(folder, *members):
    """inception-2015-12-05.tgz with (name, content, or the letter of a link's type) in `folder`."""
    with tarfile.open(folder / "inception-2015-12-05.tgz", "w:gz") as file:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content) if isinstance(content, bytes) else 0
            member.type, member.linkname = tarfile.REGTYPE if member.size else content.encode(), "/etc/passwd"
            file.addfile(member, io.BytesIO(content) if member.size else None)


@pytest.mark.parametrize("name", ["../../{}", "/tmp/{}", "a/../../{}", "{}"])
@pytest.mark.parametrize("content", [b"evil", *"12356"])
def test_no_member_of_an_archive_leaves_it(tmp_path, monkeypatch, name, content):
    folder = tmp_path / "a" / "b" / "keras" / "models"
    folder.mkdir(parents=True)
    monkeypatch.setenv("KERAS_HOME", str(folder.parent))
    archive(folder, ("../../escaped", b"evil"), (name.format(inception_2015.GRAPH), content))
    with pytest.raises(UserError, match="holds another graph|does not hold"):
        inception_2015.download()
    assert [path for path in tmp_path.rglob("*") if path.is_file() or path.is_symlink()] == [
        folder / "inception-2015-12-05.tgz"
    ]


def test_keras_checks_the_digest_that_we_name():
    import keras

    md5 = networks.digest("imagenet").removeprefix("md5:")
    assert md5 in inspect.getsource(inspect.getmodule(keras.applications.InceptionV3))


# --- names


@given(st.text())
def test_no_id_names_a_file_outside_its_folder(tmp_path_factory, medium_id):
    store = DescriptorStore(cfg.STILL_SHAPES, "DATA")
    try:
        path = store.path(medium_id)
    except UserError:
        return
    assert path.parent == store.folder and path.name == f"{medium_id}.npy" and "\n" not in path.name


@given(st.text() | st.sampled_from(["..", ".", "../x", "/x", "a/..", "x\0", "\\..", "\ud800", "nul\n"]))
def test_no_name_in_a_list_leads_elsewhere(name):
    try:
        assert datasets._plain(name, "here") == name
    except UserError:
        return
    assert Path("/a/b", name).parent == Path("/a/b") and Path("/a/b", name).resolve().parent == Path("/a/b")


class Reader(html.parser.HTMLParser):
    """Tags, addresses and text of a page."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.addresses, self.text = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [value for key, value in attributes if key in ("href", "src")]
        assert not [key for key, _ in attributes if key.startswith("on") or key == "style"]

    def handle_data(self, data):
        self.text.append(data.strip())


HOSTILE = ("<script>alert(1)</script>", "</script>", '"><img onerror=alert(1)>', "'><b>", "&lt;b&gt;", "{title}",
           "]]>", "<!--", "javascript:alert(1)", "a\u2028b", "</title><b>")  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_an_index_page_says_what_it_is_given_and_does_nothing(tmp_path, text):
    picture, name = np.zeros((4, 5, 3), np.uint8), text.replace("/", "_")
    gallery = Gallery(tmp_path, text)
    gallery.add("plain", "a dog", [tmp_path / "plain.png"], picture, {})
    plain = Reader((tmp_path / "index.html").read_text("utf-8"))
    gallery.add("plain", text, [tmp_path / f"{name}.png", tmp_path / "javascript:x"], picture, {})
    page = Reader((tmp_path / "index.html").read_text("utf-8"))
    assert page.tags == [*plain.tags, "a"]
    assert text in page.text and all(":" not in address for address in page.addresses)


# --- other programs


def test_java_is_started_without_a_shell(monkeypatch, tmp_path):
    started = []

    def start(command, *arguments, **flags):
        started.append((command, flags))
        raise OSError("not today")

    monkeypatch.setattr(subprocess, "Popen", start)
    monkeypatch.setattr(subprocess, "run", start)
    meteor = scoring.MeteorScorer()
    for ask in (lambda: scoring.tokenize(["$(x) `y`"]), lambda: meteor.score_tokens({1: ["a"]}, {1: "a"})):
        with pytest.raises(scoring.ScoringError, match="could not be started"):
            ask()
    assert len(started) == 4  # each is tried twice
    for command, flags in started:
        assert isinstance(command, list) and command[0] == scoring._java() and not flags.get("shell")
        assert "$(x)" not in " ".join(command)
