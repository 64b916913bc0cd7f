"""`from s2vt import explain, load`: numbers and files, of pictures and clips in memory and a captioner of one's own."""

import dataclasses
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from s2vt import explain, load
from s2vt.captioning.runs import Run
from s2vt.data.geometry import Geometry, Grid
from s2vt.data.sources import Frames, source_of
from s2vt.data.text import Sentence
from s2vt.data.video import iterate_frames
from s2vt.data.video_writer import VideoWriter
from s2vt.errors import UserError
from s2vt.explaining.captioners import GivenCaptioner
from s2vt.explaining.explain import explain_files
from s2vt.explaining.options import Options
from s2vt.saliency import heatmaps

G, SIZE = 3, (96, 48)  # width, height: cells of 32 x 16 pixels


class Colours:
    """Says "red", "green" or "blue": log q_i = 4 v_ic - 7 of the mean colour v_i of cell i."""

    words = ("<end>", "red", "green", "blue")
    described = 0

    def descriptors(self, picture):
        type(self).described += 1
        height, width = picture.shape[:2]
        cells = picture.reshape(G, height // G, G, width // G, 3).mean(axis=(1, 3)) / 255
        return cells.reshape(G * G, 3)

    def encode(self, v):
        return np.asarray(v).mean(axis=1)

    def step(self, state, word):
        log_q = 4 * np.asarray(state) - 7
        return np.concatenate([np.log(1 - np.exp(log_q).sum(axis=1, keepdims=True)), log_q], axis=1), state


def picture(row, column, colour, size=SIZE):
    """Black, but for one of the cells, which has a full colour."""
    width, height = size
    made = np.zeros((height, width, 3), np.uint8)
    made[row * height // G : (row + 1) * height // G, column * width // G : (column + 1) * width // G, colour] = 255
    return made


def clip(num_frames=6):
    """A red cell in the first half, a blue one in the second."""
    half = num_frames // 2
    return np.stack([picture(0, 1, 0) if k < half else picture(2, 2, 2) for k in range(num_frames)])


# --- pictures ---------------------------------------------------------------------------------------------------------


def test_the_numbers_of_a_picture_by_hand():
    found = explain(Colours(), picture(1, 2, 1), "green blue", map="kl")
    expected = np.full((2, 1, G, G), 7.0)
    expected[0, 0, 1, 2] = 3
    assert found.words == ("green", "blue") and found.frame_nll is None and not len(found.times)
    np.testing.assert_allclose(found.nll, expected, rtol=1e-5)
    assert found.kl.shape == (2, 1, G, G) and found.kl[0, 0].min() >= -1e-6


def test_a_map_lies_on_the_cell_in_source_pixels():
    found = explain(Colours(), picture(1, 2, 1), "green blue")
    e = found.map("green")
    assert e.shape == (48, 96) and e.dtype == np.float32 and e.min() == 0 and e.max() == pytest.approx(1, abs=1e-3)
    rows, columns = np.nonzero(e > 0.97)
    assert abs(rows.mean() + 0.5 - 24) < 1 and columns.mean() > 80  # cells' centres: y = 24, x = 80 and the rim beyond
    np.testing.assert_array_equal(found.map(0), e)
    np.testing.assert_array_equal(found.map([0, 1]), found.map())
    assert not np.array_equal(found.map("green", kind="kl"), e)


def test_a_geometry_of_the_captioners_own_places_the_map():
    class Cropped(Colours):
        def geometry(self, width, height):
            return Geometry(width, height, (0, 0, width / 2, height), Grid(G, 10, 4.5, 30))

    e = explain(Cropped(), picture(1, 2, 1), "green").map("green")
    assert np.flatnonzero(e.max(axis=0) > e.max() - 1e-4)[0] == pytest.approx(
        48 - 8, abs=1
    )  # flat beyond the last centre


def test_a_file_a_pillow_image_and_an_array_are_one_picture(tmp_path):
    array = picture(2, 0, 0)
    Image.fromarray(array).save(tmp_path / "a.png")
    media = array, Image.fromarray(array), tmp_path / "a.png", str(tmp_path / "a.png")
    first, *others = [explain(Colours(), medium, "red").nll for medium in media]
    for other in others:
        np.testing.assert_array_equal(first, other)


def test_a_pillow_image_is_turned_and_laid_over_white():
    image = Image.new("RGBA", SIZE, (0, 0, 0, 0))
    image.getexif()[0x0112] = 6  # a quarter turn
    source = source_of(image)
    assert source.pictures.shape == (96, 48, 3) and source.pictures.min() == 255


def test_without_a_sentence_the_captioners_own_is_explained():
    with pytest.raises(UserError, match="own caption of the picture is empty"):
        explain(Colours(), picture(0, 0, 0))  # END is the most probable word everywhere


# --- clips ------------------------------------------------------------------------------------------------------------


def test_a_clip_in_memory_and_its_file_are_explained_alike(tmp_path):
    with VideoWriter(tmp_path / "a.mkv", *SIZE, 5, crf=1) as writer:
        for frame in clip():
            writer.write(frame)
    times, frames = zip(*iterate_frames(tmp_path / "a.mkv"), strict=True)
    of_file = explain(Colours(), tmp_path / "a.mkv", "red blue", start=0.2)
    in_memory = explain(Colours(), np.stack(frames), "red blue", times=times, start=0.2)
    assert of_file.nll.shape == (2, 5, G, G) and of_file.frame_nll.shape == (2, 5)  # 26 asked for, each frame once
    np.testing.assert_array_equal(of_file.nll, in_memory.nll)
    np.testing.assert_array_equal(of_file.frame_nll, in_memory.frame_nll)
    np.testing.assert_allclose(of_file.times, in_memory.times, atol=1e-9)
    assert of_file.sampled.duration == pytest.approx(in_memory.sampled.duration)
    assert of_file.sampled.frame_rate == in_memory.sampled.frame_rate == 5
    assert [path.stat().st_size for path in (of_file.save(tmp_path / "1.mp4"), in_memory.save(tmp_path / "2.mp4"))]
    assert (tmp_path / "1.mp4").read_bytes() == (tmp_path / "2.mp4").read_bytes()


def test_a_clip_tells_when_and_its_maps_where():
    found = explain(Colours(), clip(), "red blue", fps=5)
    red, blue = found.frame_nll
    assert red[:3].max() < red[3:].min() and blue[3:].max() < blue[:3].min()
    maps = found.map("blue")
    assert maps.shape == (6, 48, 96)
    assert heatmaps.argmax_point(maps[5])[1] > 39 and maps[0].max() < 0.1


def test_a_long_clip_is_sampled_and_only_those_frames_are_described(monkeypatch):
    monkeypatch.setattr(Colours, "described", 0)
    found = explain(Colours(), np.repeat(clip(), 20, axis=0), "red", fps=25)
    assert Colours.described == 26 and found.nll.shape == (1, 26, G, G)
    np.testing.assert_allclose(found.times[[0, -1]], [0, 119 / 25])


# --- words in pieces --------------------------------------------------------------------------------------------------


class Pieces:
    """A vocabulary of letters: "red" is said as r, e, d."""

    words, whole_words = (".", *"bdeglnru"), False

    def read(self, sentence, max_words):
        words = tuple(sentence.split())
        starts = np.cumsum([0, *map(len, words)])[:-1].tolist()
        return Sentence(words, self.encode(sentence, max_words), tuple(starts))

    def encode(self, sentence, max_words):
        return [self.words.index(letter) for word in sentence.split() for letter in word]

    def said(self, indices):
        return Sentence(("".join(self.words[i] for i in indices),), list(indices), (0,))


class Spelling(Colours):
    """Says letters: log q_i of r, e and d alike is 4 v_i,red - 7, of the letters of "green" and "blue" likewise."""

    vocabulary = Pieces()
    words = vocabulary.words
    kinds = ("nll", "kl", "likelihood", "logit")

    def step(self, state, word):
        log_q, state = super().step(state, word)
        of_letter = [0, 3, 1, 1, 2, 3, 2, 1, 3]  # the colour that each letter stands for
        return log_q[:, of_letter], state


def test_a_word_that_is_said_in_pieces_has_the_sum_of_its_pieces(tmp_path):
    """Eq. 9, of the pieces of a word: "red" is three letters, "blue" four."""
    found = explain(Spelling(), picture(1, 2, 0), "red blue")
    letters = explain(Spelling(), picture(1, 2, 0), "r e d b l u e")
    assert found.words == ("red", "blue") and found.nll.shape == (2, 1, G, G)
    for name in ("nll", "kl"):
        pieces = getattr(letters, name)
        assert pieces.shape == (7, 1, G, G)
        np.testing.assert_allclose(getattr(found, name), [pieces[:3].sum(axis=0), pieces[3:].sum(axis=0)], rtol=1e-6)
    assert [*found.explanation.maps] == ["nll", "kl", "likelihood", "logit"]
    assert found.save(tmp_path / "page.html").read_text().startswith("<!DOCTYPE html>")


@pytest.mark.parametrize(
    ("options", "facts"),
    [
        ({"instead": "red"}, ["--instead 'red'", "in pieces"]),
        ({"map": "gradient"}, ["gradient", "which gives nll, kl, likelihood, logit of a picture"]),
    ],
)
def test_what_a_captioner_of_pieces_cannot_give_is_one_clear_line(options, facts):
    with pytest.raises(UserError) as caught:
        explain(Spelling(), RED, "green", **options)
    assert all(fact in str(caught.value) for fact in facts), caught.value


# --- one road ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".npz", ".png", ".html"])
def test_the_library_and_the_scripts_make_the_same_file(tmp_path, ending):
    Image.fromarray(picture(1, 0, 2)).save(tmp_path / "a.png")
    options = Options(cmap="viridis")
    request = options.request([load(Colours())], options.selection(tmp_path / "a.png", "blue red"), ["red"])
    request = dataclasses.replace(request, output=str(tmp_path / f"script{ending}"))
    assert explain_files(request).paths == [tmp_path / f"script{ending}"]
    explain(Colours(), tmp_path / "a.png", "blue red", phrases="red", cmap="viridis").save(
        tmp_path / f"library{ending}"
    )
    assert (tmp_path / f"script{ending}").read_bytes() == (tmp_path / f"library{ending}").read_bytes()


def test_a_captioner_is_loaded_once(tmp_path, monkeypatch):
    """Of a run: its weights and its network, for any number of pictures."""
    from s2vt.features import networks

    loaded = []
    monkeypatch.setattr(Run, "captioner", lambda run, which: (loaded.append("weights"), (OfRun(), which))[1])
    monkeypatch.setattr(networks, "FeatureExtractor", lambda features: (loaded.append("network"), Cells())[1])
    captioner = load("StillShapes")
    assert load(captioner) is captioner and not loaded
    for colour in range(3):
        explain(captioner, picture(0, 0, colour), "a red circle")
    assert sorted(loaded) == ["network", "weights"]


class Cells:
    """Stands in for a network."""

    def cells(self, pictures):
        return np.ones((len(pictures), 64, 2048), np.float16)


class OfRun:
    """Stands in for a trained captioner of StillShapes: every word is as probable as any other."""

    V = len(Run(Path(__file__).parents[1] / "experiments" / "StillShapes").vocabulary())

    def encode(self, v):
        return np.zeros((len(v), 1), np.float32)

    def step(self, state, word):
        return np.zeros((len(state), self.V), np.float32), state


# --- what is shown ----------------------------------------------------------------------------------------------------


def test_a_notebook_shows_the_figure_and_the_page_in_a_frame(monkeypatch):
    found, shown = explain(Colours(), picture(1, 2, 1), "green"), []
    ipython, display = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    ipython.get_ipython = lambda: object()
    display.HTML, display.display = str, shown.append
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    found.show()
    assert shown == [found.inline_page()] and shown[0].startswith('<iframe sandbox="allow-scripts"')
    assert "&lt;!DOCTYPE html&gt;" in shown[0] and "<script" not in shown[0]
    assert found._repr_png_().startswith(b"\x89PNG") and found.picture().width > 96
    assert repr(found) == "<nll maps of 'green' on a picture, by Colours>"


def test_outside_a_notebook_the_page_is_opened(monkeypatch):
    import webbrowser

    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    explain(Colours(), picture(1, 2, 1), "green").show()
    path = Path(opened[0].removeprefix("file://"))
    assert path.read_text().startswith("<!DOCTYPE html>")
    path.unlink()


# --- mistakes ---------------------------------------------------------------------------------------------------------

RED = picture(0, 0, 0)


@pytest.mark.parametrize(
    ("captioner", "medium", "sentence", "options", "facts"),
    [
        ("nowhere", RED, "red", {}, ["no run 'nowhere'", "StillShapes"]),
        (object(), RED, "red", {}, ["object", "no words, descriptors, encode, step"]),
        (Colours(), RED, "pink", {}, ["'pink'", "vocabulary of 3 words"]),
        (Colours(), RED, "red " * 26, {}, ["26 words", "at most 25"]),
        (Colours(), RED, "red", {"map": "heat"}, ["heat", "nll, kl"]),
        (Colours(), RED, "red", {"map": "attention"}, ["Colours is a captioner of its own", "gives nll, kl"]),
        (Colours(), RED, "red", {"phrases": ["blue"]}, ["'blue' does not occur", "'red'"]),
        (Colours(), RED, "red", {"settings": {"saliency.sigma": 1}}, ["saliency.sigma", "saliency.sigma_cells"]),
        (Colours(), RED, "red", {"settings": {"model.units": 1}}, ["model.units", "saliency.KEY"]),
        (Colours(), RED, "red", {"protocol": "theirs"}, ["theirs", "paper, ours"]),
        (Colours(), RED, "red", {"layout": "circle"}, ["circle", "grid, strip, single"]),
        (Colours(), RED, "red", {"start": 1.0}, ["for videos"]),
        (Colours(), RED, "red", {"fps": 5}, ["fps and times are of a clip"]),
        (Colours(), clip(), "red", {}, ["fps", "times"]),
        (Colours(), clip(), "red", {"fps": 0}, ["fps=0"]),
        (Colours(), clip(), "red", {"times": [0, 1, 1, 2, 3, 4]}, ["6 increasing numbers"]),
        (Colours(), clip(), "red", {"fps": 5, "start": 9}, ["no frame from 9 s"]),
        (Colours(), RED.astype(float), "red", {}, ["float64", "(H, W, 3) uint8"]),
        (Colours(), RED[..., :2], "red", {}, ["(48, 96, 2)"]),
        (Colours(), 7, "red", {}, ["cannot explain int"]),
        (Colours(), "nowhere.png", "red", {}, ["nowhere.png: no such file"]),
        (Colours(), clip(), "red", {"fps": 5, "protocol": "release"}, ["no maps of the 2017 release"]),
    ],
)
def test_a_mistake_is_one_clear_line(captioner, medium, sentence, options, facts):
    with pytest.raises(UserError) as caught:
        explain(captioner, medium, sentence, **options)
    assert all(fact in str(caught.value) for fact in facts), caught.value
    assert "\n" not in str(caught.value)


def test_an_unknown_option_is_pythons_own_error():
    with pytest.raises(TypeError, match="colour"):
        explain(Colours(), RED, "red", colour="jet")


def test_mistakes_about_what_was_explained(tmp_path):
    found = explain(Colours(), RED, "red green")
    for words in ("blue", 2, [0, 2], [], "green red"):
        with pytest.raises(UserError, match="does not occur|expected words of the sentence"):
            found.map(words)
    with pytest.raises(UserError, match="no map 'banzhaf' was found, only nll, kl.*map="):
        found.map("red", kind="banzhaf")
    with pytest.raises(UserError, match="of a picture, expected a name that ends in .png"):
        found.save(tmp_path / "a.mp4")


def test_descriptors_that_make_no_square_are_refused():
    class Oblong(Colours):
        def descriptors(self, picture):
            return np.zeros((6, 3))

    with pytest.raises(UserError, match=r"Oblong.descriptors gave \(6, 3\); expected \(G\*G, D\)"):
        explain(Oblong(), RED, "red")


def test_words_that_repeat_are_refused():
    class Twice(Colours):
        words = ("<end>", "red", "red", "blue")

    with pytest.raises(UserError, match="each once"):
        GivenCaptioner(Twice())


def test_a_clip_stays_where_it_is():
    frames = np.broadcast_to(clip(1)[0], (40, 48, 96, 3))  # as a memory map: nothing is copied but single frames
    source = source_of(frames, fps=10)
    assert isinstance(source, Frames) and source.pictures is frames
