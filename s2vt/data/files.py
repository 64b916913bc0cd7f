"""Files that are whole or not there: written aside, then renamed, in folders that one process at a time may write;
and JSON whose mistakes are told by line."""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import secrets
from pathlib import Path

from s2vt.errors import UserError


@contextlib.contextmanager
def atomic_path(path):
    """A name to write to; what stands there takes the place of `path` when the block ends without an error.

    The name is in the same folder (so that renaming is atomic), has the same suffixes (so that a writer that goes by
    them chooses the right format) and starts with a dot. A killed process can leave it behind; it never leaves
    half of `path`. Missing parent folders are made. The file exists, empty, from the start: a place that cannot be
    written is told before the work is done, not after.

    Yields:
        Path of the temporary file.
    Raises:
        UserError: if the file cannot be written (no permission, disk full, a folder of that name, ...).

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with atomic_path(f"{folder}/new/squares.txt") as temporary:
        ...         _ = temporary.write_text("1 4 9")
        ...     os.listdir(f"{folder}/new")
        ['squares.txt']
    """
    path = Path(path)
    temporary = path.with_name(f".{secrets.token_hex(4)}.{path.name[-60:]}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "a folder has this name")
        temporary.touch(exist_ok=False)
        try:
            yield temporary
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        others = {str(name) for name in (error.filename, error.filename2) if name} - {str(temporary), str(path)}
        if others - {str(parent) for parent in path.parents}:
            raise  # about another file, which the block was reading
        reason = " ".join(str(error.strerror or error).split())
        raise UserError(f"cannot write {path}: {reason}; choose another place or make room") from error


def reserve(path, num_bytes):
    """Fills a file with zeros: a full disk is found out before a writer opens it that would crash (HDF5 does)."""
    with open(path, "wb") as file:
        file.write(bytes(num_bytes))


@contextlib.contextmanager
def lock(folder, instead, writes=()):
    """Keeps other processes that ask for the same lock out of a folder, until the block or the process ends.

    The system releases the lock of a process that dies, however it dies; the file `.lock` stays behind and means
    nothing by itself.

    Args:
        folder: made if it is not there.
        instead: what the user may do instead of waiting, such as "choose another --name".
        writes: folders that are written under this lock only; what a killed process left unfinished there (see
            `atomic_path`) is removed.
    Raises:
        UserError: if another process holds the lock, or the folder cannot be written.
    """
    folder = Path(folder)
    path = folder / ".lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(path, "a+")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}; choose another place") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            process = f"another process (pid {file.read(20).strip() or 'unknown'})"
            raise UserError(f"{folder} is being written by {process}; wait for it, or {instead}") from None
        except OSError:
            pass  # a file system without locks
        with contextlib.suppress(OSError):  # who holds it is only told, and a full disk is told by what comes next
            file.truncate(0)
            print(os.getpid(), file=file, flush=True)
        for leftover in (path for place in writes for path in Path(place).glob(f".{'[0-9a-f]' * 8}.*")):
            leftover.unlink(missing_ok=True)
        yield


def write_json(path, value):
    """Writes `value` as UTF-8 JSON, readable by eye, atomically; NumPy numbers and arrays as plain ones."""
    text = json.dumps(value, indent=1, ensure_ascii=False, default=_plain) + "\n"
    with atomic_path(path) as temporary:
        # A lone surrogate, which UTF-8 cannot carry, becomes the escape \ud83d, which is JSON.
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def _plain(value):
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def read_json(path):
    """What a JSON file holds.

    Raises:
        UserError: one line that names the file, and the line and column where it stops being JSON.
    """
    path = Path(path)
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise UserError(f"{path} is not valid JSON: {error.msg} at {place}; mend it or write it again") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        column = error.start - error.object.rfind(b"\n", 0, error.start)
        place = f"line {line}, column {column}"
        raise UserError(f"{path} is not valid JSON: not UTF-8 at {place}; mend it or write it again") from error
    except (RecursionError, ValueError) as error:
        raise UserError(f"{path} is not usable JSON: nested too deeply, or a number too long") from error


def file_digest(path):
    """The SHA-256 of a file's bytes, 64 hexadecimal digits."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
