"""Broken and odd pictures and videos, made here: {file name: (bytes, whether it can be shown)}.

True: a result must come of it. False: it must be refused. None: either, such as for bytes flipped at random.
"""

import io
import struct
import tempfile
import wave
import zlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

CUTS = (0.02, 0.2, 0.4, 0.6, 0.8, 0.95)  # shares of a file that are left of it
FLIPS = 6  # files of each kind with bytes flipped at random
NOT_MEDIA = {
    "nothing": b"",
    "one_byte": b"\xff",
    "zeros": bytes(5000),
    "noise": np.random.default_rng(0).bytes(5000),
    "text": b"This is a text.\n" * 50,
    "page": b"<!DOCTYPE html><html><script>alert(1)</script></html>",
    "drawing.svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><image href="/etc/passwd"/></svg>',
    "postscript.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/tmp/x) (w) file\nshowpage\n%%EOF\n",
    "archive.zip": b"PK\x03\x04" + bytes(100),
    "program": b"\x7fELF\x02\x01\x01" + bytes(200),
    "playlist.m3u8": b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nwhole.mp4\n#EXT-X-ENDLIST\n",
    "list": b"ffconcat version 1.0\nfile whole.mp4\n",
    "session.sdp": b"v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 26\n",
    "subtitles.srt": b"1\n00:00:00,000 --> 00:00:01,000\na ball\n",
}


def painted(width=64, height=48, k=0):
    """A picture in which no two lines or columns are alike, (height, width, 3) uint8."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 3 + 9 * k, y * 5, (x * y) // 7 + 40 * k], axis=-1).astype(np.uint8)


def cut(name, content):
    """Pairs (name, the file's beginning)."""
    stem, dot, ending = name.rpartition(".")
    for share in CUTS:
        yield f"{stem}_cut_{round(100 * share)}{dot}{ending}", content[: int(share * len(content))]


def flipped(name, content, seed=0):
    """Pairs (name, the file with some bytes changed): in its head, anywhere, and a stretch of them."""
    rng, (stem, dot, ending) = np.random.default_rng([seed, *name.encode()]), name.rpartition(".")
    for k in range(FLIPS):
        data = np.frombuffer(content, np.uint8).copy()
        if k % 3 == 2:
            start = int(rng.integers(len(data)))
            data[start : start + 40] = rng.integers(0, 256, len(data[start : start + 40]))
        else:
            places = rng.integers(min(len(data), (64, 10**9)[k % 3]), size=1 + 2 * k)
            data[places] = rng.integers(0, 256, len(places))
        yield f"{stem}_flip_{k}{dot}{ending}", data.tobytes()


# --- pictures


def saved(picture, kind, mode=None, **options):
    """The file of a picture, as bytes."""
    file, image = io.BytesIO(), picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    (image.convert(mode) if mode else image).save(file, kind, **options)
    return file.getvalue()


def png(width, height, *chunks):
    """A PNG whose header says width x height, with the given (kind, content)."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunk(*c) for c in chunks) + chunk(b"IEND", b"")


def pictures():
    """{name: (content, whether it can be shown)} of files that are given as pictures."""
    whole = painted()
    found = {f"not_{name}": (content, False) for name, content in NOT_MEDIA.items()}
    for kind, ending in {
        "JPEG": "jpg",
        "PNG": "png",
        "GIF": "gif",
        "WEBP": "webp",
        "BMP": "bmp",
        "TIFF": "tif",
    }.items():
        content = saved(whole, kind)
        found[f"whole.{ending}"] = content, True
        for name, part in cut(f"{kind}.{ending}", content):
            found[name] = part, False
        for name, other in flipped(f"{kind}.{ending}", content):
            found[name] = other, None
    found["JPEG_without_its_end.jpg"] = saved(whole, "JPEG")[:-2], None
    found["JPEG_and_more.jpg"] = saved(whole, "JPEG") + b"more" * 100, True
    found["progressive_cut.jpg"] = saved(whole, "JPEG", progressive=True)[:-300], False
    found["png_named.jpg"] = saved(whole, "PNG"), True
    found["without_ending"] = saved(whole, "PNG"), True
    for orientation in (*range(1, 9), 0, 9, 65535):
        exif = Image.Exif()
        exif[0x0112] = orientation
        found[f"exif_{orientation}.jpg"] = saved(whole, "JPEG", exif=exif), True
    found["exif_broken.jpg"] = saved(whole, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff"), True
    for mode in ("1", "L", "LA", "P", "RGBA"):
        found[f"mode_{mode}.png"] = saved(whole, "PNG", mode), True
    for ending in ("png", "tif"):
        found[f"mode_I_16.{ending}"] = (
            saved(whole[..., 0].astype(np.uint16) * 257, {"png": "PNG", "tif": "TIFF"}[ending]),
            True,
        )
    found["mode_CMYK.jpg"] = saved(whole, "JPEG", "CMYK"), True
    found["mode_YCbCr.tif"] = saved(whole, "TIFF", "YCbCr"), True
    found["mode_LAB.tif"] = saved(Image.fromarray(whole).convert("LAB"), "TIFF"), None
    found["mode_F.tif"] = saved(whole[..., 0].astype(np.float32), "TIFF"), False
    found["mode_I.tif"] = saved(whole[..., 0].astype(np.int32) * 70_000 - 5, "TIFF"), False
    found["transparent_palette.png"] = saved(Image.fromarray(whole).convert("P"), "PNG", transparency=3), True
    frames = [Image.fromarray(painted(k=k)) for k in range(3)]
    for kind in ("GIF", "WEBP", "PNG"):
        content = saved(frames[0], kind, save_all=True, append_images=frames[1:], duration=80)
        found[f"animated.{kind.lower()}"] = content, True
    for width, height in ((1, 1), (1, 700), (2, 1), (16_000, 16), (16, 16_000)):
        found[f"size_{width}x{height}.png"] = saved(painted(width, height), "PNG"), True
    found["bomb_60000.png"] = png(60_000, 60_000, (b"IDAT", zlib.compress(bytes(10_000)))), False
    found["bomb_all_ones.png"] = png(2**31 - 1, 2**31 - 1, (b"IDAT", zlib.compress(bytes(10)))), False
    found["bomb_10000x9000.png"] = png(10_000, 9_000, (b"IDAT", zlib.compress(bytes(100)))), False
    found["size_0x0.png"] = png(0, 0, (b"IDAT", zlib.compress(b""))), False
    found["bomb_text.png"] = png(4, 4, (b"zTXt", b"a\0\0" + zlib.compress(bytes(10**7))), (b"IDAT", b"")), False
    found["bomb_60000.gif"] = b"GIF89a" + struct.pack("<HH", 60_000, 60_000) + saved(whole, "GIF")[10:], False
    found["bomb_frame.gif"] = saved(whole, "GIF").replace(
        b"," + struct.pack("<4H", 0, 0, 64, 48), b"," + struct.pack("<4H", 0, 0, 60_000, 60_000)
    ), False  # fmt: skip
    canvas = (16_383).to_bytes(3, "little") * 2
    webp = b"WEBPVP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + canvas + b"ANIM" + struct.pack("<I", 6) + bytes(6)
    found["bomb_16384.webp"] = b"RIFF" + struct.pack("<I", len(webp)) + webp, False
    found["bomb_60000.bmp"] = saved(whole, "BMP")[:18] + struct.pack("<ii", 60_000, 60_000) + bytes(500), False
    found["negative.bmp"] = saved(whole, "BMP")[:18] + struct.pack("<ii", -64, 48) + saved(whole, "BMP")[26:], False
    tiff = saved(whole, "TIFF")
    found["endless.tif"] = tiff[:4] + struct.pack("<I", 8) + tiff[8:], None
    found["movie.mp4"] = video(), False
    return found


# --- videos


def video(frames=None, codec="libx264", kind="mp4", stamps=None, rate=10, time_base=None, pixels="yuv420p"):
    """The file of a video, as bytes. stamps: of the frames, in units of time_base; by default 0, 1, ... / rate."""
    frames = [painted(k=k) for k in range(6)] if frames is None else frames
    time_base = time_base or Fraction(1, rate)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"video.{kind}")
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=rate)
            height, width = frames[0].shape[:2] if len(frames) else (48, 64)
            stream.width, stream.height, stream.pix_fmt = width, height, pixels
            stream.time_base = stream.codec_context.time_base = time_base
            stream.codec_context.thread_count = 1
            container.start_encoding()
            for k, frame in enumerate(frames):
                picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
                picture.pts, picture.time_base = (k if stamps is None else stamps[k]), time_base
                container.mux(stream.encode(picture))
            container.mux(stream.encode(None))
        return path.read_bytes()


def sound(codec=None, kind="wav"):
    """Half a second of silence, as bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"sound.{kind}")
        if codec is None:
            with wave.open(str(path), "wb") as file:
                file.setparams((1, 2, 8000, 0, "NONE", ""))
                file.writeframes(bytes(8000))
        else:
            with av.open(str(path), "w") as container:
                stream = container.add_stream(codec, rate=8000)
                stream.layout = "mono"
                for k in range(4):
                    samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
                    samples.rate, samples.pts = 8000, 1024 * k
                    container.mux(stream.encode(samples))
                container.mux(stream.encode(None))
        return path.read_bytes()


def videos():
    """{name: (content, whether it can be shown)} of files that are given as videos."""
    found = {f"not_{name}": (content, False) for name, content in NOT_MEDIA.items()}
    kinds = {"mp4": {}, "mkv": {}, "avi": {"codec": "mpeg4"}, "ts": {}, "mov": {"codec": "mjpeg", "pixels": "yuvj420p"}}
    for kind, how in kinds.items():
        content = video(kind=kind, **how)
        found[f"whole.{kind}"] = content, True
        for name, part in cut(f"{kind}.{kind}", content):
            found[name] = part, None if kind in ("mkv", "ts") else False  # these two are streams, without an index
        for name, other in flipped(f"{kind}.{kind}", content):
            found[name] = other, None
    frames = [Image.fromarray(painted(k=k)) for k in range(4)]
    for kind in ("GIF", "WEBP", "PNG"):
        content = saved(frames[0], kind, save_all=True, append_images=frames[1:], duration=80)
        found[f"animated.{kind.lower()}"] = content, True
        for name, part in cut(f"animation_{kind}.{kind.lower()}", content):
            found[name] = part, None
        for name, other in flipped(f"animation_{kind}.{kind.lower()}", content):
            found[name] = other, None
    found["mkv_named.mp4"] = video(kind="mkv"), True
    found["without_ending"] = video(), True
    found["picture.jpg"] = saved(painted(), "JPEG"), True
    found["picture_named.mp4"] = saved(painted(), "PNG"), True
    found["sound.wav"] = sound(), False
    found["sound_named.mp4"] = sound(), False
    found["sound.m4a"] = sound("aac", "mp4"), False
    found["sound.mkv"] = sound("aac", "mkv"), False
    found["one_frame.mp4"] = video([painted()]), True
    found["one_frame.gif"] = saved(painted(), "GIF"), True
    found["no_frame.mkv"] = video([], kind="mkv"), False
    found["no_frame.avi"] = video([], codec="mpeg4", kind="avi"), False
    for width, height in ((1, 1), (3, 2), (16_000, 16), (16, 16_000)):
        content = video([painted(width, height, k) for k in range(3)], "ffv1", "mkv", pixels="bgr0")
        found[f"size_{width}x{height}.mkv"] = content, True
    hundredths = Fraction(1, 100)
    for name, stamps, shown in (
        ("varying", (0, 3, 4, 50, 51, 300), True),
        ("negative", (-500, -400, -300, -200, -100, 0), True),
        ("late", (10**7, 10**7 + 10, 10**7 + 20, 10**7 + 30, 10**7 + 40, 10**7 + 50), True),
        ("far_apart", (0, 1, 2, 3, 4, 100_000), True),
    ):
        found[f"times_{name}.mkv"] = video(kind="mkv", stamps=stamps, time_base=hundredths), shown
        found[f"times_{name}.mp4"] = video(stamps=stamps, time_base=hundredths), shown
    canvas = (16_383).to_bytes(3, "little") * 2
    found["bomb_60000.gif"] = b"GIF89a" + struct.pack("<HH", 60_000, 60_000) + found["animated.gif"][0][10:], False
    found["bomb_16384.webp"] = (
        found["animated.webp"][0].replace((63).to_bytes(3, "little") + b"/\0\0", canvas, 1),
        False,
    )
    found["bomb_60000.png"] = png(60_000, 60_000, (b"IDAT", zlib.compress(bytes(10_000)))), False
    mp4 = found["whole.mp4"][0]
    found["two_in_one.mp4"] = mp4 + mp4, True
    found["index_of_nothing.mp4"] = mp4[: mp4.index(b"mdat") - 4], False
    for box in (b"stts", b"stsz", b"stco", b"avcC", b"hdlr", b"tkhd"):
        found[f"without_{box.decode()}.mp4"] = mp4.replace(box, b"free"), None
        where = mp4.index(box) + 8
        found[f"huge_{box.decode()}.mp4"] = mp4[:where] + b"\x7f\xff\xff\xff" * 3 + mp4[where + 12 :], None
    return found
