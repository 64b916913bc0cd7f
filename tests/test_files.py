"""Files that appear whole or not at all, and JSON."""

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import filelock
import numpy as np
import pytest

from s2vt.data.files import atomic_path, file_digest, lock, read_json, write_json
from s2vt.errors import UserError


def test_atomic_path_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "folder" / "x.npy"
    with atomic_path(path) as temporary:
        assert temporary.parent == path.parent and temporary.suffix == ".npy" and temporary.name.startswith(".")
        np.save(temporary, np.arange(3))
        assert not path.exists()
    assert np.load(path).tolist() == [0, 1, 2]
    with pytest.raises(KeyboardInterrupt), atomic_path(path) as temporary:
        temporary.write_bytes(b"half")
        raise KeyboardInterrupt
    assert np.load(path).tolist() == [0, 1, 2] and os.listdir(path.parent) == ["x.npy"]
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask


def test_an_unwritable_place_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for name, reason in (("file/x.json", "exists|Not a directory"), ("folder", "a folder has this name")):
        with pytest.raises(UserError, match=f"cannot write {tmp_path / name}: .*({reason})"):
            write_json(tmp_path / name, {})
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_errors_about_other_files_are_not_changed(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "x"):
        open(tmp_path / "other")
    assert os.listdir(tmp_path) == []


def test_json_there_and_back(tmp_path):
    value = {"ä": [1, 2.5, None], "loss": np.float32(0.5), "boxes": np.array([[1, 2]])}
    write_json(tmp_path / "x.json", value)
    text = (tmp_path / "x.json").read_text(encoding="utf-8")
    assert text.startswith('{\n "ä": [\n  1,') and text.endswith("}\n")
    assert read_json(tmp_path / "x.json") == {"ä": [1, 2.5, None], "loss": 0.5, "boxes": [[1, 2]]}
    with pytest.raises(TypeError, match="set cannot be written as JSON"):
        write_json(tmp_path / "y.json", {1, 2})
    assert os.listdir(tmp_path) == ["x.json"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": 1,\n "b" 2}', "Expecting ':' delimiter at line 2, column 6"),
        (b"", "Expecting value at line 1, column 1"),
        (b'["a",\n  "\xff"]', "not UTF-8 at line 2, column 4"),
    ],
)
def test_errors_of_json_name_line_and_column(tmp_path, content, message):
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(UserError, match=f"x.json is not valid JSON: {message}; mend it"):
        read_json(tmp_path / "x.json")


def test_missing_files_are_named(tmp_path):
    for read in (read_json, file_digest):
        with pytest.raises(UserError, match="none.json: no such file"):
            read(tmp_path / "none.json")
        with pytest.raises(UserError, match="cannot be read: Is a directory"):
            read(tmp_path)


def test_file_digest_is_sha256(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert file_digest(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


# --- locks


def test_a_lock_is_free_again_when_its_holder_is_killed(tmp_path):
    code = f"from s2vt.data.files import lock\nwith lock({str(tmp_path)!r}, ''): print(flush=True); input()"
    root = Path(__file__).parents[1]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], cwd=root, **pipes) as holder:
        holder.stdout.readline()
        with pytest.raises(UserError, match=rf"{tmp_path} .*\(pid {holder.pid}\); wait for it, or do that"):
            with lock(tmp_path, "do that"):
                pass
        holder.kill()
    with lock(tmp_path, "do"):
        pass
    assert os.listdir(tmp_path) == [".lock"]


def test_the_files_that_a_killed_process_left_are_removed(tmp_path):
    for name in (".0123abcd.a.npy", ".hidden.npy", "b.npy"):
        (tmp_path / name).touch()
    with lock(tmp_path / "new", "do", writes=[tmp_path, tmp_path / "none"]):
        assert sorted(os.listdir(tmp_path)) == [".hidden.npy", "b.npy", "new"]


def test_a_lock_within_a_lock_is_refused(tmp_path):
    with lock(tmp_path, "wait"):
        with pytest.raises(UserError, match=f"pid {os.getpid()}"), lock(tmp_path, "wait"):
            pass


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    def refuse(self, *args, **options):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    with lock(tmp_path, "do"):
        assert os.listdir(tmp_path) == [".lock"]


def test_a_folder_that_cannot_be_locked(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=f"cannot write {tmp_path / 'file' / '.lock'}"), lock(tmp_path / "file", "do"):
        pass
