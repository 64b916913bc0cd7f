"""Log-odds of two words after one prefix: their numbers, their pictures and the mistakes in asking for them."""

import dataclasses

import keras
import numpy as np
import pytest
from PIL import Image
from test_library import Colours, clip, picture

from s2vt import explain
from s2vt.captioning.s2vt import S2VT
from s2vt.data.geometry import Geometry
from s2vt.data.video import iterate_frames
from s2vt.errors import UserError
from s2vt.features.descriptors import Descriptors
from s2vt.rendering import drawing, odds
from s2vt.saliency.explanation import Explanation
from s2vt.saliency.instead import Odds, find_odds, log_odds, parting
from s2vt.saliency.maps import Asking, find_evidence

# --- numbers ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model():
    """V=7 words, D=6."""
    keras.utils.set_random_seed(3)
    model = S2VT(7, units=5, embedding_size=4)
    model.build({"v": (None, None, 6)})
    return model


def test_two_roads_to_log_odds(model):
    """On the logits, and as the difference of two query losses (Eq. 7)."""
    cells = np.random.default_rng(0).normal(size=(3, 4, 6)).astype(np.float32)  # m=3, G=2
    descriptors, asking = Descriptors(cells, cells.mean(axis=1), None), Asking("video", vocabulary=tuple(".abcdef"))
    y, others = [2, 4, 1], {0: [3], 2: [6, 5]}
    found = find_odds(model, descriptors, y, others, asking)
    assert list(found) == [0, 2] and (found[2].word, found[2].others) == ("a", ("f", "e"))
    for t, listed in others.items():
        for k, w in enumerate(listed):
            sentences = [y[: t + 1], [*y[:t], w]]
            this, that = (each["nll"] for each in find_evidence(model, descriptors, sentences, ["nll"], asking))
            np.testing.assert_allclose(found[t].cells[k], this.cells[t] - that.cells[t], atol=1e-5)
            np.testing.assert_allclose(found[t].frames[k], this.frames[t] - that.frames[t], atol=1e-5)
    assert found[2].cells.shape == (2, 3, 2, 2) and found[2].frames.shape == (2, 3)


def test_the_other_word_has_the_opposite_sign(model):
    v = np.random.default_rng(1).normal(size=(9, 6))
    one, other = log_odds(model.encode, model.step, v, [2, 3], {1: [5]}), {1: [3]}
    np.testing.assert_allclose(one[1], -log_odds(model.encode, model.step, v, [2, 5], other)[1], atol=1e-6)


def test_log_odds_by_hand():
    """Of `Colours`, log q_i = 4 v_ic - 7: a red cell is 4 nats for red, a blue one 4 nats for blue."""
    shown = picture(0, 1, 0) + picture(2, 2, 2)
    found = explain(Colours(), shown, "green red", instead="green blue")
    assert (found.instead.position, found.instead.word, found.instead.others) == (1, "red", ("blue",))
    expected = np.zeros((1, 1, 3, 3))
    expected[0, 0, 0, 1], expected[0, 0, 2, 2] = 4, -4
    np.testing.assert_allclose(found.instead.cells, expected, atol=1e-5)
    signed = found.map()
    assert signed.shape == (48, 96) and signed.max() > 1.5 and signed.min() < -1.5  # Gaussian means
    rows, columns = np.unravel_index([signed.argmax(), signed.argmin()], signed.shape)
    assert rows[0] < 16 and rows[1] >= 32 and 32 <= columns[0] < 64 and columns[1] >= 64
    assert found.map("red").min() < 1e-6  # words still have maps of their own


def test_words_after_the_parting_do_not_matter():
    one = explain(Colours(), picture(0, 0, 0), "red green blue", instead="red blue").instead
    other = explain(Colours(), picture(0, 0, 0), "red green", instead="red blue green green").instead
    np.testing.assert_array_equal(one.cells, other.cells)


@pytest.mark.parametrize(
    ("sentence", "instead", "facts"),
    [
        ("red blue", "red blue", ["'red blue' is the sentence itself"]),
        ("red", "red blue", ["'red blue' goes on where 'red' ends", "differ in a word"]),
        ("red blue", "red", ["'red blue' goes on where 'red' ends"]),
        ("red blue", "red pink", ["'pink'", "vocabulary"]),
        ("red", "", ["no words"]),
        (None, "red", ["--instead 'red' needs a sentence", "--sentence"]),
    ],
)
def test_a_mistake_is_named(sentence, instead, facts):
    with pytest.raises(UserError) as caught:
        explain(Colours(), picture(0, 0, 0), sentence, instead=instead)
    assert all(fact in str(caught.value) for fact in facts), caught.value


def test_what_it_cannot_be_drawn_with_is_refused():
    with pytest.raises(UserError, match="leave out --words and --phrases"):
        explain(Colours(), picture(0, 0, 0), "red", instead="blue", phrases="red")
    with pytest.raises(UserError, match="--instead: the 2017 release has no such maps"):
        explain(Colours(), picture(0, 0, 0), "red", instead="blue", protocol="release")


def test_parting():
    assert parting(["a", "b"], ["c", "b"]) == 0 and parting(list("abc"), list("abd")) == 2


# --- pictures ---------------------------------------------------------------------------------------------------------


def view_of(cells, frames=None, geometry=None, look=None):
    """What is drawn of log-odds: (Explanation, phrases, OddsLook)."""
    cells = np.asarray(cells, np.float32)
    of_frames = None if frames is None else np.asarray(frames, np.float32)[None]
    times = () if frames is None else np.arange(len(frames)) / 2
    said = Explanation(("a", "dog"), {}, geometry or Geometry.of(96, 64), times=times)
    return odds.to_draw(said, Odds(1, "dog", ("cat",), cells[None], of_frames), look or drawing.Look())


@pytest.mark.parametrize("normalize", ["clip", "frame"])
def test_zero_stays_zero_and_both_sides_have_one_limit(normalize):
    cells = np.zeros((2, 8, 8), np.float32)
    cells[0, 1, 1], cells[0, 6, 6], cells[1, 4, 4] = 6, -2, 3
    base = dataclasses.replace(drawing.Look().saliency, normalize=normalize, sigma_cells=0.0)
    said, phrases, view = view_of(cells, [1.0, -3.0], look=drawing.Look(base))
    drawn, frames = drawing.drawn_evidence(said, phrases, view)
    e = view.upsample(view.to_draw(drawn, said.geometry)[0], said.geometry)
    assert e[0].max() == pytest.approx(1, abs=0.05) and e[0].min() == pytest.approx(-1 / 3, abs=0.05)
    assert e[1].max() == pytest.approx(0.5 if normalize == "clip" else 1, abs=0.05) and (e[1] > -1e-6).all()
    assert np.median(e) == 0
    assert view.nats == (pytest.approx(6, abs=0.5) if normalize == "clip" else None)
    np.testing.assert_allclose(np.sign(view.curves(frames)), [[1, -1]])
    assert np.abs(view.curves(frames)).max() == pytest.approx(1)


def test_a_flat_map_is_drawn_as_zero():
    said, phrases, view = view_of(np.zeros((1, 8, 8)))
    assert not view.to_draw(drawing.drawn_evidence(said, phrases, view)[0], said.geometry).any()


def test_the_colours_tell_the_sign():
    _, _, view = view_of(np.ones((1, 8, 8)))
    red, grey, blue = (np.asarray(view.scale_colours(np.array([[share]])))[0, 0].astype(int) for share in (1, 0.5, 0))
    assert red[0] > red[2] + 40 and blue[2] > blue[0] + 40 and np.ptp(grey) < 5
    assert view.cmap == "coolwarm" and view_of(np.ones((1, 8, 8)), look=drawing.Look(cmap="PiYG"))[2].cmap == "PiYG"


def test_legends_name_both_words_and_the_limit():
    _, phrases, view = view_of(np.full((2, 8, 8), 1.5), [0.5, -2.5])
    assert phrases[0].name == "dog, not cat" and phrases[0].words == (1,)
    assert view.legend() == "log q(dog) − log q(cat), from −1.50 to 1.50 nats; protocol ours"
    assert "up for “dog”" in view.bars_note("2 frames", "word") and "nats" in view.curve_note()


@pytest.mark.parametrize("ending", [".png", ".svg", ".npz"])
def test_files_of_a_picture(tmp_path, ending):
    found = explain(Colours(), picture(0, 1, 0), "red", instead="blue")
    path = found.save(tmp_path / f"a{ending}")
    if ending == ".svg":
        assert "red, not blue" in path.read_text()
    if ending == ".npz":
        with np.load(path) as arrays:
            np.testing.assert_array_equal(arrays["instead"], found.instead.cells[0])
            assert arrays["instead_words"].tolist() == ["red", "blue"] and "frame_instead" not in arrays


def test_a_figures_panel_is_red_and_blue(tmp_path):
    big = np.kron(picture(0, 1, 0) // 2 + picture(2, 2, 2) // 2, np.ones((5, 5, 1), np.uint8))
    explain(Colours(), big + 90, "red", instead="blue").save(tmp_path / "a.png")
    panel = np.asarray(Image.open(tmp_path / "a.png").convert("RGB")).astype(int)[60:, 24 + 549 + 16 :]
    red, blue = panel[..., 0] - panel[..., 2], panel[..., 2] - panel[..., 0]
    assert (red > 60).any() and (blue > 60).any()
    assert np.argwhere(red > 60)[:, 0].mean() < np.argwhere(blue > 60)[:, 0].mean()


def test_a_video_and_its_storyboard(tmp_path):
    found = explain(Colours(), np.kron(clip(), np.ones((1, 4, 4, 1), np.uint8)), "red", instead="blue", fps=6)
    assert found.instead.frames.shape == (1, 6) and found.map().shape == (6, 192, 384)
    frames = [frame for _, frame in iterate_frames(found.save(tmp_path / "a.mp4"))]
    assert len(frames) == 6
    strips = [frame.astype(int) for frame in frames]
    assert any((strip[..., 0] - strip[..., 2] > 60).any() for strip in strips[:2])
    found.save(tmp_path / "a.png")
    with np.load(found.save(tmp_path / "a.npz")) as arrays:
        assert (arrays["frame_instead"][:3] > 0).all() and (arrays["frame_instead"][3:] < 0).all()
