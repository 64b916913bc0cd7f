"""Packed descriptors: found by id, read in place, the same as from files of their own, whatever is killed."""

import io
import shutil
import tarfile

import numpy as np
import pytest
from small_stores import Extractor, no_network, picture_config, write_pictures

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
    details = store.record(media[0])
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


@pytest.mark.parametrize("how", ["a cut index", "no index", "a cut shard", "no shard", "another index"])
def test_damage_is_named(made, how):
    store, media, _ = made
    shards.pack(store.folder)
    index, shard = store.folder / "shards" / "index.npy", packed.shard_path(store.folder, 0)
    path, message = {
        "a cut index": (index, "index.npy is damaged"), "no index": (index, "no mixed_10 descriptors of m6"),
        "a cut shard": (shard, "000000.tar is damaged"), "no shard": (shard, "000000.tar is damaged"),
        "another index": (index, "index.npy is damaged"),
    }[how]  # fmt: skip
    if how.startswith("no"):
        path.unlink()
    elif how == "another index":
        np.save(path, np.zeros(3, np.float32))
    else:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=message):
        store.load(media[6])


def test_a_search_takes_few_looks(tmp_path):
    """An index is not read through: of a million ids at most about twenty are compared."""
    number = 1_000_000
    index = np.zeros(number, packed.record_of(8))
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
