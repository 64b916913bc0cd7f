"""visualization.py on files of any kind, with a captioner whose evidence is known.

The captioner says "red", "green" or "blue". The network's value of a colour in a cell is the share of that colour under
a triangular weight, 64 input pixels wide, around the centre of the cell's receptive field; losses are linear in it.
Such weights keep the place of a box between cells, so the centre of mass of the upper half of a map must be that of the
box, to the pixel.
"""

import functools
import json
import sys
from fractions import Fraction
from unittest import mock

import av
import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import convolve1d

import cfg
import visualization
from s2vt import command_line
from s2vt.captioning.runs import Run
from s2vt.config import SaliencyConfig
from s2vt.data import sampling, video, video_writer
from s2vt.data.files import write_json
from s2vt.data.geometry import Geometry, resize
from s2vt.data.phrases import phrases_at
from s2vt.data.text import Vocabulary
from s2vt.explaining import explainer
from s2vt.explaining.captioners import TrainedCaptioner
from s2vt.features import networks
from s2vt.rendering import drawing, figure, storyboard
from s2vt.rendering import video as saliency_video
from s2vt.saliency import heatmaps, release
from s2vt.saliency.maps import KINDS, kinds_with

WORDS = ("red", "green", "blue")
GREY = 90
SIGMA = cfg.MOVING_SHAPES.saliency.sigma_cells


class Network:
    """Stands in for InceptionV3: channel c of a cell is the weighted share of colour c around it, in [0, 1]."""

    def cells(self, pictures):
        centres = 32 * np.arange(8) + 37.5
        tents = np.clip(1 - np.abs(np.arange(299)[:, None] + 0.5 - centres) / 32, 0, None)  # (299, G)
        coloured = np.clip((pictures.astype(np.float32) - GREY) / (255 - GREY), 0, 1)
        cells = np.einsum("bhwc,hy,wx->byxc", coloured, tents, tents) / 32**2
        return cells.reshape(len(pictures), 64, 3).astype(np.float32)


class Captioner:
    """Loss(t, i, word c) = 7 - 4 v_ic."""

    def encode(self, v):
        from keras import ops

        return ops.mean(v, axis=1)

    def step(self, state, word):
        from keras import ops

        log_q = 4 * state - 7
        rest = ops.log(1 - ops.sum(ops.exp(log_q), axis=1, keepdims=True))
        return ops.concatenate([rest, log_q], axis=1), state


class AttentionCaptioner(Captioner):
    """alpha(word c, i) is proportional to v_ic + 0.01."""

    def attention(self, inputs):
        v, y = inputs["v"], inputs["y"]
        alpha = np.stack([v[0, :, np.maximum(row - 1, 0)] for row in y]) + 0.01  # (S, T, N)
        return alpha / alpha.sum(axis=-1, keepdims=True)


@pytest.fixture
def show(tmp_path, monkeypatch, capsys):
    """(arguments) -> (exit status, stdout, stderr) of visualization.py on the captioner above."""
    monkeypatch.setattr(networks, "FeatureExtractor", lambda features: Network())
    monkeypatch.setattr(sys, "argv", [])

    def show(*arguments, media="video", resize="squash", num_frames=5, model="s2vt"):
        base = cfg.MOVING_SHAPES if media == "video" else cfg.STILL_SHAPES
        settings = (f"features.resize={resize}", f"features.num_frames={num_frames}", f"model.name={model}")
        config = base.replace(settings)
        captioner = (Captioner if model == "s2vt" else AttentionCaptioner)()
        monkeypatch.setattr(Run, "captioner", lambda run, which: (captioner, 0))
        folder = tmp_path / "experiments" / f"{media}-{resize}-{model}"
        write_json(folder / "config.json", {"config": config.to_json()})
        Vocabulary([".", *WORDS], [4, 1, 1, 1]).save(folder / "vocabulary.json")
        (folder / "checkpoints").mkdir(exist_ok=True)
        (folder / "checkpoints" / "0.weights.h5").touch()
        sys.argv = ["visualization.py", "--dataset", config.dataset, "--data_dir", str(tmp_path / "DATA"),
                    "--experiments_dir", str(folder.parent), "--name", folder.name, "--checkpoint", "0",
                    *map(str, arguments)]  # fmt: skip
        with pytest.raises(SystemExit) as exit:
            command_line.run(visualization.main)
        return exit.value.code, *capsys.readouterr()

    return show


def box_picture(size, box, colour=0, background=GREY):
    """A grey picture of size (w, h) with a box in full red, green or blue."""
    picture = np.full((size[1], size[0], 3), background, np.uint8)
    x1, y1, x2, y2 = box
    picture[y1:y2, x1:x2, colour] = 255
    return picture


def write_clip(path, frames, rate=25):
    with video_writer.VideoWriter(path, frames[0].shape[1], frames[0].shape[0], rate, crf=8) as writer:
        for frame in frames:
            writer.write(frame)
    return path


def decode(path):
    return [frame for _, frame in video.iterate_frames(path)]


def centre_of_mass(e):
    """Of the upper half of a map: its foot is cut off by the picture's edges."""
    e = np.clip(np.asarray(e, float) / np.max(e) - 0.5, 0, None)
    height, width = e.shape
    return (
        np.array([(e.sum(0) * (np.arange(width) + 0.5)).sum(), (e.sum(1) * (np.arange(height) + 0.5)).sum()]) / e.sum()
    )


def spanned(e):
    """A map from 0 to 1, as drawings show it."""
    return (e - e.min()) / np.ptp(e)


def saliency_seen(source, drawn):
    """e read back from a drawing over a known picture: of 256 levels, the one that gives the pixel's drawn colour."""
    colours, index = np.unique(source.reshape(-1, 3), axis=0, return_inverse=True)
    backdrop, row = drawing.Backdrop(colours[None]), np.ones((1, len(colours)))
    levels = np.stack([np.asarray(drawing.overlay(backdrop, k / 255 * row, "inferno"))[0] for k in range(256)])
    pixels, inverse = np.unique(np.concatenate([index[:, None], drawn.reshape(-1, 3)], axis=1), axis=0,
                                return_inverse=True)  # fmt: skip
    distance = np.abs(levels[:, pixels[:, 0]].astype(np.int16) - pixels[:, 1:]).sum(axis=-1)  # (256, distinct pixels)
    return (distance.argmin(axis=0) / 255)[inverse].reshape(source.shape[:2])


def shift_between(expected, seen):
    """By how many pixels (x, y) `seen` lies off `expected`, to a fraction: least squares on the gradient."""
    gy, gx = np.gradient(expected)
    A = np.stack([gx.ravel(), gy.ravel()], axis=1)
    return -np.linalg.lstsq(A, (seen - expected).ravel(), rcond=None)[0]


# --- the map sits where the evidence is

# (resize, size of the source, box): centres of boxes off the grid, well inside what the network sees.
PLACES = [
    ("squash", (320, 240), (101, 63, 157, 101)),
    ("squash", (180, 420), (67, 211, 99, 307)),
    ("center_crop", (400, 240), (171, 83, 219, 127)),
    ("center_crop", (234, 500), (83, 260, 139, 301)),
]


@pytest.mark.parametrize(("protocol", "size", "box"), PLACES)
def test_a_pictures_map_lies_on_the_box(show, tmp_path, protocol, size, box):
    Image.fromarray(box_picture(size, box)).save(tmp_path / "box.png")
    arguments = ("--media", tmp_path / "box.png", "--sentence", "red", "--output", tmp_path / "o.png")
    status, _, err = show(*arguments, "--save_maps", tmp_path / "o.npz", media="picture", resize=protocol)
    assert status == 0, err
    centre = np.array([box[0] + box[2], box[1] + box[3]]) / 2
    with np.load(tmp_path / "o.npz") as arrays:  # first road: the numbers
        geometry = Geometry.from_json(json.loads(str(arrays["geometry"])))
        e = heatmaps.upsample(heatmaps.scale(-arrays["nll"][0, 0]), geometry, SIGMA)
    np.testing.assert_allclose(centre_of_mass(e), centre, atol=0.75)

    page = np.asarray(Image.open(tmp_path / "o.png").convert("RGB"))  # second road: the drawing
    (x0, x1), y, width, height = picture_panels(page, size)
    seen = saliency_seen(page[y : y + height, x0 : x0 + width], page[y : y + height, x1 : x1 + width])
    expected = spanned(resized_map(tmp_path / "o.npz", geometry, width, height))
    star = np.array(heatmaps.argmax_point(e)) * width / size[0]
    rows, columns = np.mgrid[:height, :width] + 0.5
    away = np.hypot(columns - star[0], rows - star[1]) > 20
    shift = shift_between(expected, np.where(away, seen, expected)) * size[0] / width
    assert np.abs(shift).max() < 1, shift


def resized_map(path, geometry, width, height):
    """The map of the first word, of the numbers in a file, at another size."""
    with np.load(path) as arrays:
        e = heatmaps.scale(-arrays["nll"][0, 0])
    return heatmaps.upsample(e, drawing.resized(geometry, width, height), SIGMA)


def picture_panels(page, size):
    width, height = figure.panel_size(Geometry.of(*size))
    return (24, 24 + max(width, 240) + 16), 24 + 36, width, height


def tiles_of(num_words, size, num_frames=5):
    """Where the tiles of a video of "red" or "red ..." lie."""
    phrases = phrases_at(WORDS[:num_words], [(t,) for t in range(num_words)])
    notes = saliency_video._words_of(saliency_video.small_print(num_frames, phrases, drawing.Look()))
    return saliency_video.arrange(WORDS[:num_words], num_words, Geometry.of(*size), notes)


@pytest.mark.parametrize(("protocol", "size", "box"), PLACES[1:3])
def test_a_videos_map_lies_on_the_box(show, tmp_path, protocol, size, box):
    write_clip(tmp_path / "box.mkv", [box_picture(size, box)] * 6)
    arguments = ("--media", tmp_path / "box.mkv", "--sentence", "red", "--output", tmp_path / "o.mp4")
    status, _, err = show(*arguments, "--save_maps", tmp_path / "o.npz", resize=protocol)
    assert status == 0, err
    geometry = Geometry.of(*size, protocol)
    frame = decode(tmp_path / "o.mp4")[3]
    tiles = tiles_of(1, size)
    (x0, y0), (x1, y1) = tiles.corner(0), tiles.corner(1)
    source = frame[y0 : y0 + tiles.height, x0 : x0 + tiles.width]
    drawn = frame[y1 : y1 + tiles.height, x1 : x1 + tiles.width]
    assert abs(tiles.width / tiles.height - size[0] / size[1]) < 0.01
    small = drawing.resized(geometry, tiles.width, tiles.height)
    # The truth, from the box alone: what the tents see of it.
    truth = Network().cells(resize(box_picture(size, box), geometry)[None])[0, :, 0].reshape(8, 8)
    expected = spanned(heatmaps.upsample(truth / truth.max(), small, SIGMA))
    centre = np.array([box[0] + box[2], box[1] + box[3]]) / 2 * tiles.width / size[0]
    np.testing.assert_allclose(centre_of_mass(expected), centre, atol=0.75 * tiles.width / size[0])
    shift = shift_between(expected, saliency_seen(source, drawn)) * size[0] / tiles.width
    assert np.abs(shift).max() < 1, shift


# --- videos: which part, how fast


def colour_clip(num_frames=20):
    """First half with a red box, second half with a blue one; 10 frames a second."""
    return [box_picture((160, 120), (60, 40, 100, 80), 0 if k < num_frames // 2 else 2) for k in range(num_frames)]


def test_a_range_and_a_stride_keep_the_speed(show, tmp_path):
    source = write_clip(tmp_path / "clip.mp4", colour_clip(), rate=10)
    output, maps = tmp_path / "o.mp4", tmp_path / "o.npz"
    arguments = ("--media", source, "--sentence", "red blue", "--output", output, "--save_maps", maps)
    assert show(*arguments, "--start", 0.6, "--end", 1.5, "--stride", 2)[0] == 0
    clip = sampling.sample_video(output, 5)
    assert (clip.num_frames, clip.frame_rate) == (5, Fraction(5))
    assert clip.duration == pytest.approx(1.0)
    with np.load(maps) as arrays:
        np.testing.assert_allclose(arrays["frame_times"], [0.6, 0.8, 1.0, 1.2, 1.4], atol=1e-6)
        red, blue = arrays["frame_nll"]
    assert red[:2].max() < red[2:].min() and blue[2:].max() < blue[:2].min()  # sampled inside the range only
    tiles = tiles_of(2, (160, 120))
    x, y = tiles.corner(0)
    centres = [frame[y + tiles.height // 2, x + tiles.width // 2] for frame in decode(output)]
    assert [int(c.argmax()) for c in centres] == [0, 0, 2, 2, 2]


def test_a_variable_rate_without_a_frame_count_keeps_its_times(show, tmp_path):
    """Frames at 0, 0.1, 0.2 and then 1.0 .. 1.5 s, in a live Matroska file: no duration, no count, no index."""
    path = tmp_path / "live.mkv"
    stamps = [0, 100, 200, *range(1000, 1501, 100)]
    with av.open(str(path), "w", container_options={"live": "1"}) as container:
        stream = container.add_stream("libx264", rate=10, options={"bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for stamp in stamps:
            frame = av.VideoFrame.from_ndarray(box_picture((160, 120), (60, 40, 100, 80), 0 if stamp < 500 else 2))
            frame.pts, frame.time_base = stamp, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == 0 and container.duration is None
    output = tmp_path / "o.mp4"
    assert show("--media", path, "--sentence", "red blue", "--output", output)[0] == 0
    found = sampling.sample_video(output, 2)
    assert found.duration == pytest.approx(1.6, abs=0.15)
    tiles = tiles_of(2, (160, 120))
    x, y = tiles.corner(0)
    times = [time for time, frame in video.iterate_frames(output)
             if frame[y + tiles.height // 2, x + tiles.width // 2].argmax() == 2]  # fmt: skip
    assert times[0] == pytest.approx(1.0, abs=0.1)  # blue begins when it should, not at a third of the frames


def test_a_clip_shorter_than_the_sample_is_explained_without_repeats(show, tmp_path, monkeypatch):
    """7 frames, 5 a second, 26 asked for: each is explained, drawn and saved once; the captioner still reads 26."""
    read, drawn = [], []
    encode, whole = Captioner.encode, storyboard.storyboard
    monkeypatch.setattr(Captioner, "encode", lambda self, v: (read.append(v.shape), encode(self, v))[1])
    monkeypatch.setattr(storyboard, "storyboard", lambda *a: (drawn.append(a[1][0].explanation.times), whole(*a)))
    source, maps = write_clip(tmp_path / "clip.mp4", colour_clip(7), rate=5), tmp_path / "m.npz"
    arguments = ("--media", source, "--sentence", "red blue", "--page", "--output", tmp_path / "o.mp4")
    status, _, err = show(*arguments, "--save_maps", maps, num_frames=26)
    assert status == 0, err
    assert (1, 26, 3) in read
    np.testing.assert_allclose(drawn, [np.arange(7) / 5], atol=1e-6)
    with np.load(maps) as arrays:
        assert arrays["kl"].shape == (2, 7, 8, 8) and arrays["frame_kl"].shape == (2, 7)
        np.testing.assert_array_equal(arrays["frame_indices"], np.arange(7))
        red, blue = arrays["frame_nll"]
    assert red[:3].max() < red[3:].min() and blue[3:].max() < blue[:3].min()


def test_memory_does_not_grow_with_the_clip(show, tmp_path, monkeypatch):
    """The frames of the source are held one at a time: counted where they are decoded and where they are freed."""
    import weakref

    alive, most, made = set(), [0], [0]
    original = video.to_array

    def counted(frame, size):
        array = original(frame, size)
        key = made[0] = made[0] + 1
        alive.add(key)
        weakref.finalize(array, alive.discard, key)
        most[0] = max(most[0], len(alive))
        return array

    monkeypatch.setattr(video, "to_array", counted)
    monkeypatch.setattr(sampling, "to_array", counted)
    source = write_clip(tmp_path / "clip.mp4", [box_picture((64, 48), (20, 10, 40, 30))] * 120)
    assert show("--media", source, "--sentence", "red", "--output", tmp_path / "o.mp4", "--stride", 7)[0] == 0
    assert made[0] > 120 and most[0] <= 4


@pytest.mark.parametrize("size", [(47, 83), (640, 36), (30, 600), (3, 3)])
def test_odd_sizes_and_shapes(show, tmp_path, size):
    frames = [np.random.default_rng(k).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8) for k in range(3)]
    with av.open(str(tmp_path / "clip.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=5)
        stream.width, stream.height, stream.pix_fmt = *size, "bgr0"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        container.mux(stream.encode(None))
    status, _, err = show("--media", tmp_path / "clip.mkv", "--sentence", "red green", "--output", tmp_path / "o.mp4")
    assert status == 0, err
    tiles = tiles_of(2, size)
    assert decode(tmp_path / "o.mp4")[0].shape == (*tiles.canvas[::-1], 3)
    assert max(tiles.canvas) <= 1920 and tiles.canvas[1] <= 1082


# --- pictures of every kind


def picture_files(folder):
    """The same picture, green box in the upper left, as files of every kind: (name, path)."""
    box = box_picture((240, 180), (40, 30, 90, 70), 1)
    image = Image.fromarray(box)
    image.save(folder / "plain.png")
    image.quantize(16).save(folder / "palette.png")
    image.convert("CMYK").save(folder / "cmyk.jpg", quality=98)
    alpha = np.full((180, 240), 255, np.uint8)
    alpha[100:, 150:] = 0
    rgba = image.copy()
    rgba.putalpha(Image.fromarray(alpha))
    rgba.save(folder / "alpha.png")
    rgba.save(folder / "alpha.webp", lossless=True)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise: stored turned the other way
    image.transpose(Image.Transpose.ROTATE_90).save(folder / "turned.jpg", quality=98, exif=exif)
    return sorted(folder.iterdir())


@pytest.mark.parametrize("captioner", ["picture", "video"])
def test_pictures_of_every_kind_are_shown_upright_with_the_same_map(show, tmp_path, captioner):
    (tmp_path / "files").mkdir()
    found = {}
    for path in picture_files(tmp_path / "files"):
        out = tmp_path / f"{path.name}.png"
        arguments = ("--media", path, "--sentence", "green", "--output", out, "--save_maps", tmp_path / "m.npz")
        status, _, err = show(*arguments, media=captioner)
        assert status == 0, err
        with np.load(tmp_path / "m.npz") as arrays:
            found[path.name] = arrays["nll"]
            geometry = json.loads(str(arrays["geometry"]))
        assert (geometry["width"], geometry["height"]) == (240, 180)
        page = np.asarray(Image.open(out).convert("RGB")).astype(int)
        (x, _), y, width, height = picture_panels(page, (240, 180))
        green = page[y + round(height * 50 / 180), x + round(width * 65 / 240)]
        assert green[1] > 200 and green[0] < 130 and green[2] < 130, path.name
        if path.name.startswith("alpha"):
            assert page[y + height - 9, x + width - 9].min() > 240  # transparency over white
    for name, loss in found.items():
        if not name.startswith("alpha"):
            np.testing.assert_allclose(loss, found["plain.png"], atol=0.1, err_msg=name)


# --- pages


def line(result):
    """The one line of a mistake."""
    code, out, err = result
    assert code == 2 and out == "" and len(err.strip().splitlines()) == 1, err
    return err


def page_data(path):
    """The numbers and texts that an HTML page holds, with those of its first captioner and panel."""
    data = json.loads(path.read_text("utf-8").split('id="data">')[1].split("</script>")[0])
    return data | data["captioners"][0] | {"kind": data["panels"][0]["kind"]}


def test_a_page_by_its_ending_or_beside_the_output(show, tmp_path):
    clip = write_clip(tmp_path / "c.mp4", colour_clip())
    status, out, err = show("--media", clip, "--sentence", "red blue", "--output", tmp_path / "a.html", "--start", 0.2)
    assert (status, out.split()) == (0, [str(tmp_path / "a.html")]), err
    data = page_data(tmp_path / "a.html")
    assert (data["words"], data["title"], data["kind"]) == (["red", "blue"], "c.mp4", "nll")
    assert list(data["maps"]) == ["nll", "kl", "likelihood", "change", "moment", "logit", "contrast"]
    assert [len(step) for step in data["alternatives"]] == [4, 4]
    assert data["start"] == pytest.approx(0.2) and data["times"][0] == 0
    Image.fromarray(box_picture((320, 240), (60, 60, 110, 110))).save(tmp_path / "p.png")
    arguments = ("--media", tmp_path / "p.png", "--sentence", "red blue", "--words", "blue", "--map", "kl", "--page")
    status, out, err = show(*arguments, "--cmap", "jet", "--output", tmp_path / "o.png", media="picture")
    assert (status, out.split()) == (0, [str(tmp_path / "o.png"), str(tmp_path / "o.html")]), err
    data = page_data(tmp_path / "o.html")
    assert (data["chosen"], data["kind"], data["cmap"], data["width"]) == ([1], "kl", "jet", 320)


def test_a_captioner_of_pictures_reads_a_clip_frame_by_frame(show, tmp_path):
    """The maps of a frame are those of the frame as a picture."""
    frames = [box_picture((320, 240), box) for box in ((16, 24, 72, 80), (120, 90, 200, 150), (240, 150, 300, 220))]
    clip, found = write_clip(tmp_path / "clip.mp4", frames), {}
    sources = {"clip": clip}
    for k, frame in enumerate(decode(clip)):
        sources[k] = tmp_path / f"{k}.png"
        Image.fromarray(frame).save(sources[k])
    for name, source in sources.items():
        ending = "mp4" if name == "clip" else "png"
        arguments = ("--sentence", "red", "--output", tmp_path / f"o{name}.{ending}", "--save_maps", tmp_path / "m.npz")
        status, _, err = show("--media", source, *arguments, media="picture")
        assert status == 0, err
        with np.load(tmp_path / "m.npz") as arrays:
            found[name] = arrays["nll"]
    assert found["clip"].shape == (1, 3, 8, 8) and np.ptp(found["clip"], axis=1).max() > 0.1
    np.testing.assert_allclose(found["clip"], np.concatenate([found[0], found[1], found[2]], axis=1), atol=1e-6)
    assert (tmp_path / "oclip_storyboard.png").exists()


def test_attention_over_a_pictures_cells_says_nothing_about_a_clip(show, tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", colour_clip(6))
    arguments = ("--media", clip, "--sentence", "red", "--map", "attention")
    for more in ((), ("--normalize", "release")):
        found = line(show(*arguments, *more, media="picture", model="soft_attention"))
        assert "--map attention: of a captioner of pictures it has values of cells of one picture" in found


@pytest.mark.parametrize("content", [b"", b"this is no video", None])
def test_a_damaged_clip_is_one_line_and_nothing_is_written(show, tmp_path, content):
    path, out = write_clip(tmp_path / "clip.mp4", colour_clip(6)), tmp_path / "o.mp4"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3] if content is None else content)
    assert "clip.mp4" in line(show("--media", path, "--sentence", "red", "--output", out))
    assert not out.exists()


# --- other kinds of map


def test_attention_over_frames_is_drawn(show, tmp_path):
    source, out, maps = write_clip(tmp_path / "clip.mp4", colour_clip(4)), tmp_path / "o.mp4", tmp_path / "m.npz"
    arguments = ("--media", source, "--sentence", "red blue", "--map", "attention", "--page", "--output", out)
    status, printed, err = show(*arguments, "--save_maps", maps, model="soft_attention", num_frames=8)
    assert status == 0, err
    made = ["o.mp4", "o_storyboard.png", "o.html", "m.npz"]
    assert printed.split() == [str(tmp_path / name) for name in made]
    with np.load(maps) as arrays:
        red, blue = arrays["frame_attention"]  # of the four frames that there are
        np.testing.assert_allclose(arrays["frame_attention"].sum(axis=1), 1, rtol=1e-5)
        assert "attention" not in arrays
    assert red[:2].min() > red[2:].max() and blue[2:].min() > blue[:2].max()
    data = page_data(tmp_path / "o.html")
    quick = [kind for kind in kinds_with(("encode", "step", "attention")) if KINDS[kind].quick]
    assert data["kind"] == "attention" and list(data["maps"]) == quick


def test_attention_over_cells_lies_on_the_box(show, tmp_path):
    box, size = (101, 63, 157, 101), (320, 240)
    Image.fromarray(box_picture(size, box)).save(tmp_path / "p.png")
    arguments = ("--media", tmp_path / "p.png", "--sentence", "red", "--map", "attention", "--page")
    arguments += ("--output", tmp_path / "o.png", "--save_maps", tmp_path / "m.npz")
    status, _, err = show(*arguments, media="picture", model="soft_attention")
    assert status == 0, err
    with np.load(tmp_path / "m.npz") as arrays:
        e = heatmaps.upsample(heatmaps.scale(arrays["attention"][0, 0]), Geometry.of(*size), SIGMA)
    np.testing.assert_allclose(centre_of_mass(e), [129, 82], atol=0.75)
    assert list(page_data(tmp_path / "o.html")["maps"]) == ["nll", "kl", "likelihood", "logit", "contrast", "attention"]


def test_kinds_made_of_a_loss_are_saved_as_that_loss(show, tmp_path):
    source, arguments = write_clip(tmp_path / "clip.mp4", colour_clip(6)), ("--sentence", "red blue")
    losses = []
    for kind in ("nll", "change", "likelihood"):
        maps = tmp_path / f"{kind}.npz"
        made = ("--media", source, "--map", kind, "--output", tmp_path / "o.png", "--save_maps", maps)
        status, _, err = show(*arguments, *made)
        assert status == 0, err
        with np.load(maps) as arrays:
            assert set(arrays) & {*KINDS, *(f"frame_{name}" for name in KINDS)} == {"nll", "frame_nll"}
            losses.append((arrays["nll"], arrays["frame_nll"]))
    for cells, frames in losses[1:]:
        np.testing.assert_array_equal(cells, losses[0][0])
        np.testing.assert_array_equal(frames, losses[0][1])


def test_a_picture_read_as_a_clip_has_no_map_of_attention_over_frames(show, tmp_path):
    Image.fromarray(box_picture((64, 48), (20, 10, 40, 30))).save(tmp_path / "p.png")
    arguments = ("--media", tmp_path / "p.png", "--sentence", "red", "--output", tmp_path / "o.html")
    assert show(*arguments, model="soft_attention")[0] == 0
    assert list(page_data(tmp_path / "o.html")["maps"]) == ["nll", "kl", "likelihood", "logit", "contrast"]


# --- the release's steps


def test_the_releases_steps_read_every_frame(show, tmp_path):
    """From the frames to the video, beside SciPy's convolution and the maps of the numbers."""
    frames = [box_picture((160, 120), (20 + 6 * k, 40, 60 + 6 * k, 80), 0 if k < 10 else 2) for k in range(14)]
    source, size = write_clip(tmp_path / "clip.mp4", frames, rate=10), (160, 120)
    arguments = ("--media", source, "--sentence", "red blue", "--normalize", "release", "--start", 0.1, "--end", 1.3)
    arguments += ("--output", tmp_path / "o.mp4", "--save_maps", tmp_path / "m.npz", "--page")
    status, _, err = show(*arguments)
    assert status == 0, err
    seen = np.stack([resize(frame, Geometry.of(*size)) for frame in decode(source)[1:13]])
    cells = convolve1d(Network().cells(seen), np.ones(3, np.float32) / 3, axis=0)  # (12, 64, 3)
    loss = np.stack([7 - 4 * cells[..., c].reshape(12, 8, 8) for c in (0, 2)])
    with np.load(tmp_path / "m.npz") as arrays:
        np.testing.assert_allclose(arrays["nll"], loss, atol=0.005)  # descriptors are kept in 16 bits
        assert arrays["frame_indices"].tolist() == list(range(12)) and arrays["frame_nll"].shape == (2, 12)
        np.testing.assert_allclose(arrays["frame_times"], np.arange(1, 13) / 10, atol=1e-6)
        e = release.saliency(-arrays["nll"])
    phrases = phrases_at(WORDS[::2], [(0,), (1,)])
    view = drawing.Look(SaliencyConfig(normalize="release"))
    notes = saliency_video._words_of(saliency_video.small_print(12, phrases, view))
    tiles = saliency_video.arrange(WORDS[::2], 2, Geometry.of(*size), notes)
    small, shown = drawing.resized(Geometry.of(*size), tiles.width, tiles.height), decode(tmp_path / "o.mp4")
    assert len(shown) == 12
    for k, word in ((4, 0), (11, 1)):
        places = [tiles.corner(tile) for tile in (0, word + 1)]
        pictures = [shown[k][y : y + tiles.height, x : x + tiles.width] for x, y in places]
        expected = release.upsample(e[word, k], small)
        assert expected.max() > 0.3 and np.quantile(np.abs(saliency_seen(*pictures) - expected), 0.95) < 0.05
    data = page_data(tmp_path / "o.html")
    assert (data["normalize"], list(data["normalizations"])) == ("release", ["release"])
    assert len(data["times"]) == 12 and data["over_time"] is None
    assert (tmp_path / "o_storyboard.png").exists()


def test_the_releases_steps_of_many_media(show, tmp_path):
    data_set(tmp_path, {name: colour_clip(4) for name in ("one", "two")})
    arguments = ("--media_id", "all", "--sentence", "red", "--normalize", "release", "--output", tmp_path / "out")
    assert show(*arguments)[0] == 0
    assert sorted(path.name for path in (tmp_path / "out").glob("*.mp4")) == ["one.mp4", "two.mp4"]


# --- what is shown, and in which format


def test_words_and_phrases_sum_their_losses(show, tmp_path):
    """Eq. 9: two roads to a phrase's map, the drawing of the phrase and the sum of its words' numbers."""
    picture = box_picture((320, 240), (60, 60, 110, 110), 0)
    picture[150:200, 200:250, 1] = 255
    Image.fromarray(picture).save(tmp_path / "p.png")
    arguments = ("--media", tmp_path / "p.png", "--sentence", "red green blue", "--save_maps", tmp_path / "m.npz")
    out = tmp_path / "o.png"
    status, _, err = show(*arguments, "--phrases", "red green", "--output", out, media="picture")
    assert status == 0, err
    with np.load(tmp_path / "m.npz") as arrays:
        e = heatmaps.scale(-arrays["nll"][0, 0] - arrays["nll"][1, 0])
    page = np.asarray(Image.open(out).convert("RGB"))
    (x0, x1), y, width, height = picture_panels(page, (320, 240))
    seen = saliency_seen(page[y : y + height, x0 : x0 + width], page[y : y + height, x1 : x1 + width])
    expected = spanned(heatmaps.upsample(e, drawing.resized(Geometry.of(320, 240), width, height), SIGMA))
    assert np.median(np.abs(seen - expected)) < 0.02 and page.shape[1] < 3 * width  # one panel beside the picture


@pytest.mark.parametrize(("kind", "suffix"), [("picture", ".pdf"), ("picture", ".svg"), ("video", ".pdf")])
def test_vector_figures_hold_their_text(show, tmp_path, kind, suffix):
    source = write_clip(tmp_path / "c.mp4", colour_clip(6))
    if kind == "picture":
        source = tmp_path / "p.png"
        Image.fromarray(box_picture((60, 40), (10, 10, 30, 30))).save(source)
    out = tmp_path / f"o{suffix}"
    status, printed, err = show("--media", source, "--sentence", "red", "--output", out, media=kind)
    assert (status, printed.split()) == (0, [str(out)]), err
    head = out.read_bytes()[:2000]
    assert head.startswith(b"%PDF") if suffix == ".pdf" else b"<svg" in head
    assert b"/Type3" not in out.read_bytes()


@pytest.mark.parametrize(
    ("look", "suffix"),
    [
        (("--layout", "strip"), ".mp4"),
        (("--layout", "single", "--cmap", "jet"), ".gif"),
        (("--normalize", "release"), ".webp"),
        (("--normalize", "frame", "--map", "kl"), ".mkv"),
    ],
)
def test_every_look_and_format(show, tmp_path, look, suffix):
    source, out = write_clip(tmp_path / "clip.mp4", colour_clip(6)), tmp_path / f"o{suffix}"
    arguments = ("--media", source, "--sentence", "red blue", "--words", "blue,red", "--output", out)
    status, printed, err = show(*arguments, "--size", "480x360", *look)
    assert (status, printed.split()) == (0, [str(out), str(tmp_path / "o_storyboard.png")]), err
    assert out.stat().st_size > 1000


def data_set(tmp_path, clips):
    """A data set of clips in the MSR-VTT layout: {id: frames}."""
    folder = tmp_path / "DATA" / cfg.MOVING_SHAPES.dataset
    (folder / "TestVideo").mkdir(parents=True)
    videos = [{"video_id": name, "split": "test"} for name in clips]
    sentences = [{"video_id": name, "caption": "red"} for name in clips]
    write_json(folder / "test_videodatainfo.json", {"videos": videos, "sentences": sentences})
    write_json(folder / "train_val_videodatainfo.json", {"videos": [], "sentences": []})
    for name, frames in clips.items():
        write_clip(folder / "TestVideo" / f"{name}.mp4", frames)
    return folder


def test_an_entry_is_there_only_when_its_page_is(tmp_path, monkeypatch):
    """A run that is killed before the page of the last entry is written has it to do again."""
    from s2vt.rendering.gallery import Gallery

    (tmp_path / "a.png").touch()
    entry = "a", "a ball", [tmp_path / "a.png"], np.zeros((4, 4, 3), np.uint8), {}
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Gallery, "_write_page", mock.Mock(side_effect=KeyboardInterrupt))
        Gallery(tmp_path, "results").add(*entry)
    assert not Gallery(tmp_path, "results").holds("a", {})
    Gallery(tmp_path, "results").add(*entry)
    assert Gallery(tmp_path, "results").holds("a", {}) and "a ball" in (tmp_path / "index.html").read_text()


def test_why_this_word_and_not_that_one(show, tmp_path):
    """A red box at the left, a blue one at the right: log q(red) - log q(blue) is 4 nats times the difference."""
    picture = box_picture((320, 240), (40, 80, 100, 140))
    picture[80:140, 220:280, 2] = 255
    Image.fromarray(picture).save(tmp_path / "a.png")
    asked = ("--sentence", "green red", "--instead", "green blue", "--save_maps", tmp_path / "m.npz")
    arguments = ("--media", tmp_path / "a.png", *asked, "--output", tmp_path / "o.png", "--page")
    status, printed, err = show(*arguments, media="picture")
    assert status == 0 and len(printed.split()) == 3, err
    with np.load(tmp_path / "m.npz") as arrays:
        assert arrays["instead_words"].tolist() == ["red", "blue"]
        np.testing.assert_allclose(arrays["instead"][0], 0 * arrays["instead"][0], atol=4)
        signed = arrays["instead"][0].sum(axis=0)
    assert signed[:3].max() > 1 and signed[-3:].min() < -1
    assert '"instead":[1,"blue"]' in (tmp_path / "o.html").read_text()


def test_why_of_many_media(show, tmp_path):
    folder = data_set(tmp_path, {name: colour_clip(4) for name in ("one", "two")})
    assert folder.is_dir()
    (tmp_path / "list.tsv").write_text("one\tred green\ntwo\tred\n")
    arguments = ("--media_id", tmp_path / "list.tsv", "--size", "320x240", "--instead")
    status, _, err = show(*arguments, "red blue", "--output", tmp_path / "out")
    assert status == 2 and "line 2: " in err and "goes on where 'red' ends" in err
    status, printed, err = show(*arguments, "blue", "--output", tmp_path / "out" / "{id}.gif")
    assert status == 0, err
    assert (tmp_path / "out" / "thumbnails").is_dir() and (tmp_path / "out" / "two.gif").exists()


def test_a_list_of_sentences_makes_all_and_an_index_page(show, tmp_path, monkeypatch):
    folder = data_set(tmp_path, {name: colour_clip(4) for name in ("one", "two", "broken")})
    (folder / "TestVideo" / "broken.mp4").write_bytes(b"no video")
    (tmp_path / "list.tsv").write_text("one\tred\n\ntwo\tred blue\none\tblue <&\nbroken\tred\n")
    loaded, load = [], TrainedCaptioner.model.func
    model = functools.cached_property(lambda self: (loaded.append(1), load(self))[1])
    model.__set_name__(TrainedCaptioner, "model")
    monkeypatch.setattr(TrainedCaptioner, "model", model)
    out = tmp_path / "out"
    arguments = ("--media_id", tmp_path / "list.tsv", "--output", out / "{id}.gif", "--size", "320x240")
    status, printed, err = show(*arguments)
    assert status == 1 and "broken: " in err.splitlines()[-1] and "not a video" in err.splitlines()[-1]
    assert len(loaded) == 1 and printed.strip() == str(out / "index.html")
    names = {path.name for path in out.iterdir() if not path.name.startswith(".")}
    made = {f"{name}{end}" for name in ("one", "two", "one_2") for end in (".gif", "_storyboard.png")}
    assert names == made | {"index.html", "index.json", "thumbnails"}
    page = (out / "index.html").read_text()
    assert page.count("<article>") == 3 and 'href="one_2.gif"' in page and "red blue" in page
    assert {path.stem for path in (out / "thumbnails").iterdir()} == {"one", "two", "one_2"}

    written = {name: (out / name).stat().st_mtime_ns for name in made}
    (out / "two.gif").unlink()
    assert show(*arguments)[0] == 1  # again: only what is missing
    again = {name for name in made if (out / name).stat().st_mtime_ns != written[name]}
    assert again == {"two.gif", "two_storyboard.png"}
    show(*arguments, "--cmap", "jet")  # other settings: all of it
    assert all((out / name).stat().st_mtime_ns != written[name] for name in made)


def test_a_mediums_sentences_are_explained_in_one_call(show, tmp_path, monkeypatch):
    data_set(tmp_path, {name: colour_clip(4) for name in ("one", "two")})
    (tmp_path / "list.tsv").write_text("one\tred\ntwo\tred blue\none\tblue red\n")
    calls, find = [], explainer.find_evidence

    def noted(captioner, descriptors, sentences, *others):
        calls.append([[WORDS[i - 1] for i in y] for y in sentences])
        return find(captioner, descriptors, sentences, *others)

    monkeypatch.setattr(explainer, "find_evidence", noted)
    arguments = ("--media_id", tmp_path / "list.tsv", "--size", "320x240")
    show(*arguments, "--output", tmp_path / "out")
    assert calls == [[["red"], ["blue", "red"]], [["red", "blue"]]]
    (tmp_path / "list.tsv").write_text("one\tblue red\n\ntwo\tred\n")
    show(*arguments, "--output", tmp_path / "apart")  # the same pictures as by itself
    pictures = [(tmp_path / name).read_bytes() for name in ("out/one_2_storyboard.png", "apart/one_storyboard.png")]
    assert pictures[0] == pictures[1]


def test_all_of_a_split(show, tmp_path):
    data_set(tmp_path, {name: colour_clip(4) for name in ("one", "two", "three")})
    arguments = ("--media_id", "all", "--limit", 2, "--sentence", "red", "--stride", 2, "--output", tmp_path / "out")
    assert show(*arguments)[0] == 0
    assert sorted(path.name for path in (tmp_path / "out").glob("*.mp4")) == ["one.mp4", "two.mp4"]


def test_media_of_a_list_without_a_caption_are_named(show, tmp_path, monkeypatch):
    """The captioner's own caption of every medium is empty; the others of the list are explained."""
    data_set(tmp_path, {name: colour_clip(4) for name in ("one", "two")})
    monkeypatch.setattr("s2vt.captioning.decoding.greedy", lambda captioner, v, max_words: [[]])
    (tmp_path / "list.tsv").write_text("one\ntwo\tred\n")
    status, _, err = show("--media_id", tmp_path / "list.tsv", "--size", "320x240", "--output", tmp_path / "out")
    assert status == 1 and [text for text in err.splitlines() if text.startswith("one: ") and "--sentence" in text]
    assert sorted(path.name for path in (tmp_path / "out").glob("*.mp4")) == ["two.mp4"]


def test_a_warning_of_a_medium_unlike_training_is_one_line(show, tmp_path, monkeypatch):
    monkeypatch.setattr(Run, "warning", lambda run, name, v: f"warning: {name} {v.shape}")
    source = write_clip(tmp_path / "clip.mp4", colour_clip(4))
    status, _, err = show("--media", source, "--sentence", "red", "--output", tmp_path / "o.png")
    assert (status, err.strip()) == (0, "warning: clip.mp4 (5, 3)")
