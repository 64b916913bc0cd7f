"""Packed descriptors: found by id, read in place, the same as from files of their own, whatever is killed."""

import io
import shutil
import tarfile

import numpy as np
import pytest
from small_stores import Extractor, files_of, no_network, picture_config, write_pictures

from s2vt.data.files import lock
from s2vt.errors import UserError
from s2vt.features import packed, shards
from s2vt.features.descriptors import DescriptorStore
from s2vt.features.extraction import extract


@pytest.fixture(params=["float16", "uint8"])
def made(tmp_path, request):
    """A store of seven pictures with descriptors, the pictures, and what the store reads of each."""
    media = write_pictures(tmp_path)
    store = DescriptorStore(picture_config(tmp_path, storage=request.param), tmp_path)
    extract(store, media, Extractor())
    return store, media, [read(store, medium) for medium in media]


def read(store, medium):
    return np.array(store.load(medium)), store.details(medium)


def same(found, expected):
    for (cells, details), (others, other_details) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(cells, others, strict=True)
        assert details == other_details


def loose(store):
    return sorted(path.name for path in store.folder.iterdir() if path.is_file())


def test_packed_descriptors_are_read_as_before(made):
    store, media, before = made
    size = 3 * store.path("m0").stat().st_size
    assert shards.pack(store.folder, size) == 7
    assert loose(store) == ["meta.json"]
    assert sorted(path.name for path in (store.folder / "shards").iterdir()) == [
        "000000.tar", "000001.tar", "000002.tar", "index.npy"
    ]  # fmt: skip
    assert "m6" in store and "m7" not in store
    same([read(store, medium) for medium in media], before)
    assert store.available(media)[0] == media
    extract(store, media, no_network)  # nothing is missing
    assert store.opened(media[4]).filename.name == "000001.tar"  # mapped in place
    with pytest.raises(UserError, match="no mixed_10 descriptors of x; run: python preprocessing.py"):
        store.load(type(media[0])("x", media[0].path, "test", ()))


def test_a_shard_is_a_plain_tar_of_the_same_files(made):
    store = made[0]
    files = {name: (store.folder / name).read_bytes() for name in loose(store) if name != "meta.json"}
    shards.pack(store.folder)
    with tarfile.open(packed.shard_path(store.folder, 0)) as tar:
        assert tar.getnames() == [f"m{k}.{kind}" for k in range(7) for kind in ("npy", "json")]
        assert {name: tar.extractfile(name).read() for name in tar.getnames()} == files
        assert np.load(io.BytesIO(tar.extractfile("m2.npy").read())).dtype == store.dtype.base


def test_unpacking_gives_back_the_same_files(made):
    store = made[0]
    files = {name: (store.folder / name).read_bytes() for name in loose(store)}
    shards.pack(store.folder, size=1)
    assert shards.unpack(store.folder) == 7 and shards.unpack(store.folder) == 0
    assert {path.name: path.read_bytes() for path in store.folder.iterdir()} == files


def test_what_is_made_later_is_packed_into_more_shards_and_precedes_older_copies(tmp_path):
    media, store = write_pictures(tmp_path), DescriptorStore(picture_config(tmp_path), tmp_path)
    extract(store, media[:4], Extractor())
    shards.pack(store.folder)
    extract(store, media, Extractor())
    assert loose(store) == ["m4.json", "m4.npy", "m5.json", "m5.npy", "m6.json", "m6.npy", "meta.json"]
    details = store.raw_details(media[0])
    store.write(media[0], details, np.full((64, 2048), 5), store.meta())
    assert store.load(media[0])[0, 0] == 5
    assert shards.pack(store.folder) == 4
    assert store.load(media[0])[0, 0] == 5 and store.available(media)[0] == media
    assert len(packed.index_of(store.folder)) == 7 and loose(store) == ["meta.json"]
    assert sorted(path.stem for path in (store.folder / "shards").glob("*.tar")) == ["000000", "000001"]


@pytest.mark.parametrize("when", ["writing a shard", "writing the index", "removing files"])
def test_a_kill_loses_nothing_and_the_same_command_goes_on(made, monkeypatch, when):
    store, media, before = made

    class Killed(BaseException):
        pass

    calls = []

    def killed(*given, **named):
        calls.append(1)
        if len(calls) == 3 or when != "writing a shard":
            raise Killed
        return added(*given, **named)

    added = shards._added
    target, name = {"writing a shard": (shards, "_added"), "writing the index": (np, "save"),
                    "removing files": (shards.Path, "unlink")}[when]  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setattr(target, name, killed)
        with pytest.raises(Killed):
            shards.pack(store.folder)
    same([read(store, medium) for medium in media], before)
    shards.pack(store.folder)
    assert loose(store) == ["meta.json"]
    same([read(store, medium) for medium in media], before)


def test_packed_descriptors_are_not_made_again(made):
    store, media, _ = made
    shards.pack(store.folder)
    with pytest.raises(UserError, match="are packed .*; first run: python -m s2vt.features.shards .* --unpack$"):
        extract(store, media, Extractor(), overwrite=True)


@pytest.mark.parametrize("how", ["a cut index", "no index", "a cut shard", "no shard", "another index", "a table"])
def test_damage_is_named(made, how):
    store, media, _ = made
    shards.pack(store.folder)
    index, shard = store.folder / "shards" / "index.npy", packed.shard_path(store.folder, 0)
    path, message = {
        "a cut index": (index, "index.npy is damaged"), "no index": (index, "no mixed_10 descriptors of m6"),
        "a cut shard": (shard, "000000.tar is damaged .*; delete .*/shards, then: python preprocessing"),
        "no shard": (shard, "000000.tar is damaged .*; delete .*/shards, then: python preprocessing"),
        "another index": (index, "index.npy is damaged"), "a table": (index, "index.npy is damaged"),
    }[how]  # fmt: skip
    if how.startswith("no"):
        path.unlink()
    elif how == "another index":
        np.save(path, np.zeros(3, np.float32))
    elif how == "a table":
        np.save(path, np.load(path)[None])
    else:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=message):
        store.load(media[6])


def test_a_search_takes_few_looks(tmp_path):
    """An index is not read through: of a million ids at most about twenty are compared."""
    number = 1_000_000
    index = np.zeros(number, packed.row_of(8))
    index["id"] = np.char.mod("%08d", np.arange(number)).astype("S8")
    index["npy"] = np.arange(number)
    (tmp_path / "shards").mkdir()
    np.save(tmp_path / "shards" / "index.npy", index)
    place = packed.place_of(tmp_path, "00765432.npy")
    assert place == (packed.shard_path(tmp_path, 0), 765432, 0)
    assert packed.place_of(tmp_path, "x.npy") is None and packed.place_of(tmp_path, "0.npy") is None
    shutil.rmtree(tmp_path / "shards")
    assert packed.place_of(tmp_path, "00765432.npy") is None


def test_the_command(made, capsys):
    store = made[0]
    assert shards.main([str(store.folder), "--size", "0.001"]) == 0
    assert f"7 media of {store.folder} packed into" in capsys.readouterr().out
    assert shards.main([str(store.folder), "--unpack"]) == 0
    assert "have files of their own again" in capsys.readouterr().out
    with pytest.raises(UserError, match="holds no descriptors; name a folder such as"):
        shards.main([str(store.folder.parent)])
    with pytest.raises(SystemExit):
        shards.main([str(store.folder), "--size", "0"])


def write_files(folder, contents):
    """A folder of descriptor files of any content, {id: (bytes of .npy, bytes of .json)}."""
    folder.mkdir(exist_ok=True)
    (folder / "meta.json").write_text("{}")
    for medium_id, content in contents.items():
        for kind, data in zip(packed.FILES, content, strict=True):
            (folder / f"{medium_id}.{kind}").write_bytes(data)


def content_of(folder, medium_id):
    """The bytes of a medium's files, wherever they lie."""
    found = []
    for kind in packed.FILES:
        path, start, size = packed.place_of(folder, f"{medium_id}.{kind}")
        found.append(path.read_bytes()[start:][: None if size == -1 else size])
    return tuple(found)


LONG = "clip-" + "7" * 120  # a name of more than 100 bytes has two headers in a tar


def test_any_id_and_any_size_is_found(tmp_path):
    """Ids that begin others, with dots and accents; sizes around tar's blocks; later ids that are longer."""
    first = ["1", "10", "1.0", "1.0.npy", "é", "e", "名前", "Z"]
    contents = {name: (name.encode() * 300, bytes([k]) * (510 + k)) for k, name in enumerate(first)}
    contents |= {f"block{k}": (bytes([k]) * 512 * k, bytes([9 - k]) * 512) for k in range(3)}
    later = {LONG: (b"long", b"{}"), "100": (b"100", b"[]"), "z" * 12: (b"z", b"")}
    folder = tmp_path / "mixed_10"
    for new, size in ((contents, 3000), (later, shards.GIGABYTE)):
        write_files(folder, new)
        assert shards.pack(folder, size) == len(new)
    contents |= later
    assert [path.name for path in folder.glob("*.*")] == ["meta.json"]
    assert {name: content_of(folder, name) for name in contents} == contents
    for name in ("", "1.", "0", "1.0.", "block", "ê", LONG[:-1], f"{LONG}7", "zzz", "名"):
        assert packed.place_of(folder, f"{name}.npy") is None
    assert shards.unpack(folder) == len(contents)
    assert {name: content_of(folder, name) for name in contents} == contents


CONTENTS = {f"m{k}": (bytes([k]) * 700, bytes([k, k])) for k in range(5)}


class Killed(BaseException):
    """Ends a command at any place."""


def killed_at(monkeypatch, call, owner, name):
    """Patches a function so that its call of this number kills."""
    calls, function = [], getattr(owner, name)

    def maybe(*given, **named):
        calls.append(1)
        if len(calls) == call:
            raise Killed
        return function(*given, **named)

    monkeypatch.setattr(owner, name, maybe)


@pytest.mark.parametrize("call", range(1, 11))
def test_a_kill_while_files_are_removed_leaves_none_behind(tmp_path, monkeypatch, call):
    write_files(tmp_path / "f", CONTENTS)
    with monkeypatch.context() as patch:
        killed_at(patch, call, shards.Path, "unlink")
        with pytest.raises(Killed):
            shards.pack(tmp_path / "f")
    assert {name: content_of(tmp_path / "f", name) for name in CONTENTS} == CONTENTS
    shards.pack(tmp_path / "f")
    assert [path.name for path in (tmp_path / "f").glob("*.*")] == ["meta.json"]
    assert {name: content_of(tmp_path / "f", name) for name in CONTENTS} == CONTENTS


def test_shards_that_were_written_before_a_kill_are_not_written_again(tmp_path, monkeypatch):
    """A medium is in one shard, as whoever reads the tars reads it once."""
    write_files(tmp_path / "f", CONTENTS)
    with monkeypatch.context() as patch:
        killed_at(patch, 6, shards, "_added")  # m2.json
        with pytest.raises(Killed):
            shards.pack(tmp_path / "f", size=1)
    shards.pack(tmp_path / "f", size=1)
    names = []
    for path in sorted((tmp_path / "f" / "shards").glob("*.tar")):
        with tarfile.open(path) as tar:
            names += tar.getnames()
    assert names == [f"m{k}.{kind}" for k in range(5) for kind in packed.FILES]


@pytest.mark.parametrize("call", range(1, 11))
def test_unpacking_goes_on_after_a_kill_and_keeps_newer_files(tmp_path, monkeypatch, call):
    folder = tmp_path / "f"
    write_files(folder, CONTENTS)
    shards.pack(folder)
    write_files(folder, {"m3": (b"newer", b"{}")})
    expected = CONTENTS | {"m3": (b"newer", b"{}")}
    with monkeypatch.context() as patch:
        killed_at(patch, call, shards.Path, "write_bytes")
        if call <= 8:  # two files of m3 are there
            with pytest.raises(Killed):
                shards.unpack(folder)
            assert all((path.with_suffix(".json")).exists() for path in folder.glob("*.npy"))
            assert {name: content_of(folder, name) for name in CONTENTS} == expected
    shards.unpack(folder)
    assert {name: content_of(folder, name) for name in CONTENTS} == expected and not (folder / "shards").exists()


def test_nothing_to_pack_changes_nothing(tmp_path):
    folder = tmp_path / "f"
    write_files(folder, {})
    assert shards.pack(folder) == 0 and not (folder / "shards").exists()
    write_files(folder, CONTENTS)
    shards.pack(folder)
    (folder / "x.json").touch()  # of a medium whose extraction was killed
    before = files_of(folder)
    assert shards.pack(folder) == 0 and files_of(folder) == before


@pytest.mark.parametrize("command", [shards.pack, shards.unpack])
def test_one_process_at_a_time_packs(tmp_path, command):
    write_files(tmp_path / "f", CONTENTS)
    with lock(tmp_path, "wait"), pytest.raises(UserError, match="is being written by another process .* afterwards$"):
        command(tmp_path / "f")


def test_an_array_is_mapped_as_numpy_reads_it(tmp_path):
    """Rows or columns first; and what is no array of numbers, or is shorter or longer than its place, is refused."""
    array = np.arange(12, dtype=np.float16).reshape(3, 4)
    for order in "CF":
        np.save(tmp_path / "a.npy", np.asarray(array, order=order))
        np.testing.assert_array_equal(packed.mapped(packed.Place(tmp_path / "a.npy")), array, strict=True)
    for size in (151, 153):
        with pytest.raises(ValueError, match=f"{size} bytes instead of 152"):
            packed.mapped(packed.Place(tmp_path / "a.npy", 0, size))
    np.save(tmp_path / "a.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(ValueError, match="Python objects"):
        packed.mapped(packed.Place(tmp_path / "a.npy"))
