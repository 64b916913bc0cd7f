"""Files that are complete or absent, folders that one process at a time writes, JSON with errors by line and column."""

import contextlib
import errno
import hashlib
import json
import os
import re
import secrets
from pathlib import Path

from s2vt.errors import UserError


@contextlib.contextmanager
def atomic_path(path):
    """A temporary name to write to; the file replaces `path` when the block ends without an error.

    The temporary file is in the same folder (renaming is atomic), has the same suffixes (writers choose the format by
    them) and starts with a dot. It exists, empty, from the start, so that an unwritable place is reported before the
    work is done. A killed process can leave it behind; `path` is never written in part. Missing parent folders are
    made.

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
        raise _unwritable(path, error) from error


def append_text(path, text):
    """Appends text to a file, UTF-8. A killed process can leave a part of it.

    Raises:
        UserError: if the file cannot be written.
    """
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path, error):
    reason = " ".join(str(error.strerror or error).split())
    return UserError(f"cannot write {path}: {reason}; choose another place or make room")


def reserve(path, num_bytes):
    """Fills a file with zeros, so that a full disk raises an OSError here: HDF5, which writes it next, would crash."""
    with open(path, "wb") as file:
        file.write(bytes(num_bytes))


@contextlib.contextmanager
def lock(folder, instead, writes=()):
    """Holds a folder's lock until the block ends; another process that asks for it meanwhile gets a UserError.

    The operating system releases the lock of a process that dies. The file `.lock` stays behind and means nothing by
    itself. On a file system without locks the block runs all the same.

    Args:
        folder: made if it is not there.
        instead: what the user may do instead of waiting, such as "choose another --name".
        writes: folders that are written under this lock only; files that a killed process left unfinished there (see
            `atomic_path`) are removed.
    Raises:
        UserError: if another process holds the lock, or the folder cannot be written.
    """
    import filelock  # takes 40 ms, and `--help` imports this module

    folder = Path(folder)
    path = folder / ".lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        open(path, "a").close()
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}; choose another place") from error
    held = filelock.FileLock(path, blocking=False, fallback_to_soft=False)
    try:
        held.acquire()
    except filelock.Timeout:
        process = f"another process (pid {_holder(path)})"
        raise UserError(f"{folder} is being written by {process}; wait for it, or {instead}") from None
    except OSError:
        pass  # a file system without locks
    try:
        with contextlib.suppress(OSError):  # the pid is for messages only, and Windows refuses to write a locked file
            path.write_text(f"{os.getpid()}\n")
        _remove_unfinished(writes)
        yield
        _remove_unfinished(writes)  # of workers that died meanwhile
    finally:
        held.release()


def _remove_unfinished(folders):
    """Removes files that `atomic_path` left behind."""
    for leftover in (path for place in folders for path in Path(place).glob(f".{'[0-9a-f]' * 8}.*")):
        leftover.unlink(missing_ok=True)


def _holder(path):
    """The process id in a lock's file, as text."""
    try:
        return path.read_text().strip()[:20] or "unknown"
    except (OSError, UnicodeDecodeError):
        return "unknown"


_NUMBERS = re.compile(r"\[\n\s*[-+.\de]+(,\n\s*[-+.\de]+)*\n\s*\]")  # a string of JSON holds no line break


def write_json(path, value):
    """Writes `value` as indented UTF-8 JSON, atomically; NumPy numbers and arrays become plain ones.

    A list of numbers stands on one line.

    Raises:
        UserError: if the file cannot be written.   TypeError: if a value has no JSON form.
    """
    text = json.dumps(value, indent=1, ensure_ascii=False, default=_plain) + "\n"
    text = _NUMBERS.sub(lambda found: " ".join(found[0].split()), text)
    with atomic_path(path) as temporary:
        # A lone surrogate, which UTF-8 cannot carry, becomes the escape \ud83d, which is JSON.
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def _plain(value):
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def read_json(path, start=0, size=-1):
    """The value of a JSON file, or of the JSON in a part of a file.

    Args:
        start, size: the bytes to read; -1: to the end.
    Raises:
        UserError: if there is no such file, or it is not JSON; names the line and column of the first error.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            file.seek(start)
            return json.loads(file.read(size))
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
    """SHA-256 of a file's bytes, 64 hexadecimal digits.

    Raises:
        UserError: if the file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
