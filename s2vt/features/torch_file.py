"""Reads the tensors of a PyTorch state dict without PyTorch, and without Python's pickle machine.

A file of `torch.save` holds a pickle, a program that may call any function of the reader's Python, and the tensors'
numbers. Here the program is not run: `_Program` follows the few instructions that a dict of tensors consists of, and
refuses a file with any other. It makes dicts, lists, tuples, strings and numbers; the only names it knows are
`collections.OrderedDict`, `torch._utils._rebuild_tensor_v2` and the types of storages, and it imports none of them.

Two layouts (PyTorch's `torch/serialization.py`):

    legacy, until 1.5   magic number, protocol 1001, sizes of types, the program, list of the storages' keys; then of
                        each storage its number of elements, int64, and the elements
    zip, since 1.6      <name>/data.pkl, the program; <name>/data/<key>, the elements of a storage; <name>/byteorder

Elements are little endian.
"""

import hashlib
import io
import math
import pickletools
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from s2vt.errors import UserError

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
TYPES = {
    "torch DoubleStorage": "<f8", "torch FloatStorage": "<f4", "torch HalfStorage": "<f2",
    "torch LongStorage": "<i8", "torch IntStorage": "<i4", "torch ShortStorage": "<i2", "torch CharStorage": "i1",
    "torch ByteStorage": "u1", "torch BoolStorage": "?",
}  # fmt: skip
DICT, TENSOR = "collections OrderedDict", "torch._utils _rebuild_tensor_v2"
MOST_BYTES = 2**31  # of a file; the networks that this project reads have 20 MB


def read_tensors(path, digest=None):
    """The tensors of a state dict.

    Args:
        path: a file of `torch.save(model.state_dict(), path)`, legacy or zip.
        digest: SHA-256 that the file must have, hexadecimal; None: any.
    Returns:
        {name: array}, float and integer arrays of the types that the file has.
    Raises:
        UserError: one line, if the file cannot be read, has another digest, is damaged, or holds anything else than
            tensors of plain numbers.
    """
    try:
        if (size := Path(path).stat().st_size) > MOST_BYTES:
            raise ValueError(f"{size:,} bytes, expected at most {MOST_BYTES:,}")
        data = Path(path).read_bytes()
        if digest is not None and (found := hashlib.sha256(data).hexdigest()) != digest:
            raise ValueError(f"its SHA-256 is {found}, expected {digest}")
        values, storages = (_of_zip if zipfile.is_zipfile(io.BytesIO(data)) else _of_legacy)(data)
        if not (isinstance(values, dict) and all(isinstance(name, str) for name in values)):
            raise ValueError("not a dict of named tensors")
        return {name: _array(name, value, storages) for name, value in values.items()}
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
    except Exception as error:  # on damaged files pickletools and zipfile raise exceptions of many types
        reason = " ".join((str(error) or type(error).__name__).split())[:300]
        raise UserError(f"{path} is not a state dict of PyTorch that holds tensors alone ({reason})") from None


class _Name(str):
    """A name that the program refers to, "module name"."""


class _Storage(NamedTuple):
    """Elements that tensors share: NumPy's name of their type, the storage's key in the file, how many there are."""

    kind: str
    key: str
    count: int


class _Tensor(NamedTuple):
    """Part of a storage: first element; of each axis its size, and the elements from one item to the next."""

    storage: _Storage
    first: int
    shape: tuple
    strides: tuple


def _array(name, value, storages):
    """The elements of a tensor as an array of its own."""
    if not isinstance(value, _Tensor):
        raise ValueError(f"{name} is no tensor")
    storage, first, shape, strides = value
    last = first + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if max(last + 1, math.prod(shape)) > storage.count and 0 not in shape:
        raise ValueError(f"{name} is larger than its storage of {storage.count} elements")
    elements = np.frombuffer(storages[storage.key], storage.kind)[first:]
    steps = [elements.itemsize * stride for stride in strides]
    return np.lib.stride_tricks.as_strided(elements, shape, steps if elements.size else None).copy()


# --- the two layouts --------------------------------------------------------------------------------------------------


def _of_legacy(data):
    """(what the program makes, {key: bytes}) of a legacy file."""
    file = io.BytesIO(data)
    if _Program().run(file) != MAGIC or _Program().run(file) != PROTOCOL:
        raise ValueError("neither a zip archive nor a file of torch.save")
    if not _Program().run(file)["little_endian"]:
        raise ValueError("its numbers are big endian")
    program = _Program()
    values, keys, storages = program.run(file), _Program().run(file), {}
    if sorted(keys) != sorted(program.storages):
        raise ValueError("its storages are not those of its tensors")
    for key in keys:
        storage = program.storages[key]
        size = storage.count * np.dtype(storage.kind).itemsize
        header, elements = file.read(8), file.read(size)
        if int.from_bytes(header, "little") != storage.count or len(header) < 8 or len(elements) < size:
            raise ValueError(f"storage {key} does not have {storage.count} elements")
        storages[key] = elements
    if file.read(1):
        raise ValueError("bytes follow the last storage")
    return values, storages


def _of_zip(data):
    """(what the program makes, {key: bytes}) of a zip archive."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        programs = [name for name in archive.namelist() if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(programs) != 1:
            raise ValueError("the archive does not have one data.pkl")
        folder, program = programs[0].removesuffix("data.pkl"), _Program()
        if (order := f"{folder}byteorder") in archive.namelist() and _member(archive, order) != b"little":
            raise ValueError("its numbers are big endian")
        values, storages = program.run(io.BytesIO(_member(archive, programs[0]))), {}
        for key, storage in program.storages.items():
            storages[key] = _member(archive, f"{folder}data/{key}")
            if len(storages[key]) != storage.count * np.dtype(storage.kind).itemsize:
                raise ValueError(f"storage {key} does not have {storage.count} elements")
    return values, storages


def _member(archive, name):
    """The bytes of a member, which PyTorch stores uncompressed."""
    if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is compressed")
    return archive.read(name)


# --- the program ------------------------------------------------------------------------------------------------------


class _Program:
    """Follows the instructions of a pickle that makes a dict of tensors; raises ValueError on any other.

    Attributes:
        storages: {key: _Storage} that tensors refer to.
    """

    def __init__(self):
        self.stack, self.marks, self.memo, self.storages = [], [], {}, {}

    def run(self, file):
        """What the program makes; the file stands after its last instruction."""
        for instruction, argument, _ in pickletools.genops(file):
            name = instruction.name
            if name == "STOP":
                (result,) = self.stack
                return result
            if name in ("BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1"):
                self.stack.append(argument)
            elif name in CONSTANTS:
                self.stack.append(CONSTANTS[name]())
            elif name in ("BINGET", "LONG_BINGET"):
                self.stack.append(self.memo[argument])
            elif name in ("BINPUT", "LONG_BINPUT"):
                self.memo[argument] = self.stack[-1]
            elif method := getattr(self, f"_{name.lower()}", None):
                method(argument)
            else:
                raise ValueError(f"it has the pickle instruction {name}, which no dict of tensors needs")

    def _proto(self, version):
        if version != 2:
            raise ValueError(f"pickle protocol {version} instead of 2")

    def _global(self, name):
        if name not in (DICT, TENSOR, *TYPES):
            raise ValueError(f"it names {name.replace(' ', '.')}, which is neither a tensor nor a dict")
        self.stack.append(_Name(name))

    def _mark(self, _):
        self.marks.append(len(self.stack))

    def _since_mark(self):
        start = self.marks.pop()
        items, self.stack[start:] = self.stack[start:], []
        return items

    def _last(self, count):
        if len(self.stack) < count:
            raise ValueError("an instruction has too few values")
        items, self.stack[-count:] = self.stack[-count:], []
        return tuple(items)

    def _tuple(self, _):
        self.stack.append(tuple(self._since_mark()))

    def _tuple1(self, _):
        self.stack.append(self._last(1))

    def _tuple2(self, _):
        self.stack.append(self._last(2))

    def _tuple3(self, _):
        self.stack.append(self._last(3))

    def _appends(self, _):
        items = self._since_mark()
        _require(self.stack[-1], list).extend(items)

    def _setitem(self, _):
        key, value = self._last(2)
        _require(self.stack[-1], dict)[key] = value

    def _setitems(self, _):
        items = self._since_mark()
        _require(self.stack[-1], dict).update(zip(items[::2], items[1::2], strict=True))

    def _binpersid(self, _):
        """("storage", type, key, location, count, view) -> the storage."""
        kind, of_type, key, _, count, *view = _require(self.stack.pop(), tuple)
        if kind != "storage" or type(of_type) is not _Name or of_type not in TYPES or view not in ([], [None]):
            raise ValueError("it refers to something that is no storage")
        if type(key) is not str or not _is_size(count):
            raise ValueError("a storage without a key or a size")
        storage = _Storage(TYPES[of_type], key, count)
        if self.storages.setdefault(key, storage) != storage:
            raise ValueError(f"storage {key} has two sizes or types")
        self.stack.append(storage)

    def _reduce(self, _):
        """Makes an empty dict or a tensor; nothing is called."""
        name, given = self._last(2)
        if type(name) is _Name and name == DICT and given == ():
            self.stack.append({})
        elif type(name) is _Name and name == TENSOR and type(given) is tuple and len(given) == 6:
            storage, first, shape, strides, _, hooks = given
            sizes = (first, *_require(shape, tuple), *_require(strides, tuple))
            if type(storage) is not _Storage or not all(map(_is_size, sizes)) or len(shape) != len(strides) or hooks:
                raise ValueError("a tensor that is not a part of a storage")
            self.stack.append(_Tensor(storage, first, shape, strides))
        else:
            raise ValueError("it calls something that makes neither a tensor nor a dict")

    def _build(self, _):
        """Attributes of a dict, such as the versions of a model's parts: they are dropped."""
        made, attributes = self._last(2)
        _require(made, dict), _require(attributes, dict)
        self.stack.append(made)


CONSTANTS = {
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple,
}  # fmt: skip


def _is_size(value):
    return type(value) is int and 0 <= value < 2**40


def _require(value, kind):
    if type(value) is not kind:
        raise ValueError(f"a {type(value).__name__} stands where a {kind.__name__} belongs")
    return value
