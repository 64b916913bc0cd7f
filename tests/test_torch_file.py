"""Reading PyTorch's files without PyTorch: tensors of plain numbers, and nothing else."""

import base64
import io
import os
import pickle
import struct
import zipfile
import zlib

import numpy as np
import pytest

from s2vt.errors import UserError
from s2vt.features.torch_file import read_tensors


def unpacked(text):
    return zlib.decompress(base64.b85decode(text))


# PyTorch 2.13 wrote both: torch.save(OrderedDict(a=arange(6.).reshape(2, 3), b=tensor(7), c=tensor([True, False]),
# h=arange(3).half()), path), the first with _use_new_zipfile_serialization=False.
LEGACY = unpacked(
    "c-n1}TW`}a6vv%7ZNab$cgA&GHl;6BTe5YLkf;!vkPM84m%N}TOU)8w#XX5L38YDV=>&WR9(d%d@ez=C;3OH<ih2~ED96XY|39`T<~Jt"
    ")eBb@O{_*GAwa&zR{flBg24efGgphHjw2G7rjzpFxDg^@@{3V=`iPlmCA{`}R3g#D|VNrh?iy%)viyY`NShnB5VjinZLxY<>#jhmQ(Bz"
    "hHl?;_0LW^5PftnG@ND*mN$=O~u5}6piNFvREv^_9v-@p|in2}al6nBC`Co*S2CJu^3jsh*xTxG#gp8>UPzf}rjXLu;Us+X``sY3m(E;"
    "4BN%h=;OPVY&7d*Jp4-R=%FE058*KwHf>8qV!=!c9(3;5?_?I05!GF6~^<aM6RM%F_WX$0!;9lX-=IHB(vnU!~XY!fM>&2GTDfz1^;fm"
    "o;4R;A%yT;MyGVxl(dQyndFr<!(8SyA3yxXd>}u<#!5e+?c|xntWTs9S`nS<QVSFkza=L!;E}?&g;%#;C3BYM>0k7gOW_A@USF5s>zQv"
    "Y<RF)p5FWN#w;*qEMl6Aww^B9DNA%rQink(nZ;8wY?8Avd4_3-4~_|rA4B7Grgi%M3uZ>OR{"
)
ZIP = unpacked(
    "c-oy+&rj1(9DiM*8x>`M3MeWHl3{SHEBmDoNMjn4nmA@O3mlrRD_dh(_qsP!P9$a|-t^?n=%3)pn+GqR<-p0C2h@xIfCt}eVd)QHu$R5"
    "PwEcd5^nKs=+q^{g01%0Qz!(Bi(AZE6L*CNsb7ci7@%mFk6#BucYix&9)iexEMY>sQun(=WW@+Vnx{6o`W(tss6)8-nz>tbeORdJ`Cen"
    "=tD_dHrsT*Y(X|;xF$(u<Q(y>@EjDs6EQmJUL$APe-VJhg6bCZR=HemuXMH;Vay$Qn-gJ5Ju0#Zn#cVM4HOVkczUsZ{LGYIw<;8`0~g6"
    "FDOq<TpFz^ql;yaRR!2cy-nL?Jkc`DSJujv)kx3-G)hpu!6t4#6~yHpfLfBnd|_M+m`D+fxgUNmL77a=0!dI9`BP?7%9#>fySt80&4WY"
    "jy|^ComU{;B~@9x8M!JHR*6oA$YR@r<?J-6prjpef+S4A!O!{%<356U0IE<o7RSc<W0?L;QWcgoF};_7#xxQ^ym9aVwTLKrN=?aEq#z>"
    "SuylVZ9}UeQQ%IizPg&8CkB?D!CxUP5jxhuFj#aMD7`?MNsg;1<W8@9I1C*jLn9tqi$BH~til}YAqp0JRW+9og>2Ub9M<h6{I`sMcy8n"
    "QewjELdA<K;6h9d4;OLg$5hn`MCv+4(U?F<-y?v7iL^|l*@#`f;A>HK;P`2{t$uGsu`H$i)@+tG8u+V+-o&8?`_HKXuYyR$>|3Prq<)K"
    "}7nQl$+EYbe<uJX9^`%i#`y8!JCXlRy>D{xC8{ae<{qA+_ZD_kOz$)=N;WG<7-WmEH9I+@~lKFephR3?>6XOgLGE}h_s%e4}-7Q;Sbwo"
    "8hbZTob0uc3hR;CIN6cekK14|b0NM|V6wjk}SIduUcd;MnfvXL7fLVGq-;hpF9$`~>dmjd}>4&>+x5{AhPAdeJ|FXwHvz*OM1r><OTge"
    "zdz1yy)E^n)jpKXL->3-n}4LJASzPkWF~SJ@Ee@|GdO7vj_24>Dz5A>s#N3ob@?#*!~#16Att_*Up!)mvJzx9q+{c1KL3udj"
)
EXPECTED = {
    "a": np.array([[0, 1, 2], [3, 4, 5]], np.float32),
    "b": np.array(7),
    "c": np.array([True, False]),
    "h": np.array([0, 1, 2], np.float16),
}


@pytest.fixture
def read(tmp_path):
    """bytes -> the tensors of a file of them."""

    def read(data, digest=None):
        (tmp_path / "w.pth").write_bytes(data)
        return read_tensors(tmp_path / "w.pth", digest)

    return read


def refused(read, data, reason, **options):
    with pytest.raises(UserError, match=reason) as caught:
        read(data, **options)
    assert "\n" not in str(caught.value) and "w.pth is not a state dict of PyTorch" in str(caught.value)


def with_program(program, data=ZIP, replace=None):
    """The zip file with another data.pkl; replace: {member: bytes}."""
    replace = {"data.pkl": program, **(replace or {})} if program else replace
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(file, "w") as new:
        for name in old.namelist():
            new.writestr(name, replace.get(name.partition("/")[2], old.read(name)))
    return file.getvalue()


def program():
    with zipfile.ZipFile(io.BytesIO(ZIP)) as archive:
        return next(archive.read(name) for name in archive.namelist() if name.endswith("/data.pkl"))


@pytest.mark.parametrize("data", [LEGACY, ZIP], ids=["legacy", "zip"])
def test_tensors_are_those_that_pytorch_wrote(read, data):
    found = read(data)
    assert list(found) == list(EXPECTED)
    for name, array in EXPECTED.items():
        np.testing.assert_array_equal(found[name], array, strict=True)


def strided(strides, first=0):
    """The zip file with a's strides (3, 1) and first element 0 replaced."""
    old = b"K\x00K\x02K\x03\x86q"
    assert program().count(old) == 1 and program().count(b"K\x03K\x01\x86q") == 1
    changed = program().replace(old, bytes([75, first]) + old[2:])
    return with_program(changed.replace(b"K\x03K\x01\x86q", b"K%cK%c\x86q" % strides))


def test_a_transposed_view_is_read_through_its_strides(read):
    np.testing.assert_array_equal(read(strided((1, 2)))["a"], np.array([[0, 2, 4], [1, 3, 5]], np.float32), strict=True)


@pytest.mark.parametrize(("strides", "first"), [((3, 2), 0), ((3, 1), 1), ((255, 1), 0)])
def test_a_tensor_beyond_its_storage_is_refused(read, strides, first):
    refused(read, strided(strides, first), "a is larger than its storage of 6 elements")


class Evil:
    """Pickled, it runs a command when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_a_malicious_pickle_is_refused_and_not_run(read, tmp_path):
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        harm = tmp_path / "harm"
        evil = pickle.dumps({"a": Evil(harm)}, protocol)
        refused(read, with_program(evil), "which no dict of tensors needs|neither a tensor nor a dict|protocol")
        refused(read, evil, "which no dict of tensors needs|neither a tensor nor a dict|protocol")
        refused(read, LEGACY[:21] + evil, "instruction|names|protocol|neither")
        assert not harm.exists()
    pickle.loads(evil)
    assert harm.exists()  # it would have


@pytest.mark.parametrize(
    ("instructions", "reason"),
    [
        (b"cos\nsystem\n.", "names os.system"),
        (b"cbuiltins\neval\n.", "names builtins.eval"),
        (b"ctorch\nload\n.", "names torch.load"),
        (b"ccollections\nOrderedDict\nccollections\nOrderedDict\n\x85R.", "neither a tensor nor a dict"),
        (b"ctorch\nFloatStorage\n)R.", "neither a tensor nor a dict"),
        (b"X\x17\x00\x00\x00collections OrderedDict)R.", "neither a tensor nor a dict"),
        (b"(S'x'\nios\nsystem\n.", "instruction STRING"),
        (b"(ios\nsystem\n.", "instruction INST"),
        (b"ccollections\nOrderedDict\n)\x81.", "instruction NEWOBJ"),
        (b"\x82\x01.", "instruction EXT1"),
        (b"ccollections\nOrderedDict\n)R)b.", "a tuple stands where a dict belongs"),
        (b"ccollections\nOrderedDict\n}b.", "a _Name stands where a dict belongs"),
        (b"}X\x01\x00\x00\x00aK\x07s.", "a is no tensor"),
        (b"}K\x01K\x07s.", "not a dict of named tensors"),
        (b"K\x07.", "not a dict of named tensors"),
        (b"}}}s.", "unhashable"),
        (b"R.", "too few values"),
        (b"t.", "pop from empty list"),
        (b"h\x05.", "5"),
        (b"K\x01Q.", "a int stands where a tuple belongs"),
        (b"}", "exhausted before seeing STOP|data"),
        (b"X\xff\xff\xff\x7fa.", "expected"),
    ],
)
def test_a_program_of_anything_else_is_refused(read, instructions, reason):
    refused(read, with_program(b"\x80\x02" + instructions), reason)


@pytest.mark.parametrize("data", [LEGACY, ZIP], ids=["legacy", "zip"])
def test_a_cut_file_is_refused(read, data):
    for length in range(0, len(data), 7):
        refused(read, data[:length], "not a state dict")


def test_a_file_that_is_too_long_or_has_other_sizes_is_refused(read):
    refused(read, LEGACY + b"x", "bytes follow the last storage")
    sizes = [at for at in range(len(LEGACY)) if LEGACY[at : at + 8] == struct.pack("<q", 6)]
    at = sizes[-1]  # of a's storage
    refused(read, LEGACY[:at] + struct.pack("<q", 5) + LEGACY[at + 8 :], "does not have 6 elements")
    refused(read, with_program(None, replace={"data/0": bytes(20)}), "storage 0 does not have 6 elements")
    refused(read, with_program(None, replace={"byteorder": b"big"}), "big endian")


def test_a_compressed_archive_is_refused(read):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", program())
    refused(read, file.getvalue(), "data.pkl is compressed")


def test_another_digest_is_refused(read):
    refused(read, ZIP, "its SHA-256 is [0-9a-f]{64}, expected 00", digest="00")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="no.pth cannot be read: No such file"):
        read_tensors(tmp_path / "no.pth")


@pytest.mark.parametrize("data", [LEGACY, ZIP], ids=["legacy", "zip"])
def test_whatever_the_bytes_tensors_or_one_line_come_out(read, data):
    rng = np.random.default_rng(0)
    for _ in range(300):
        changed = bytearray(data)
        for at in rng.integers(0, len(data), 3):
            changed[at] = rng.integers(0, 256)
        try:
            found = read(bytes(changed))
        except UserError as error:
            assert "\n" not in str(error)
        else:
            assert all(type(array) is np.ndarray and array.dtype.kind in "fib?u" for array in found.values())
