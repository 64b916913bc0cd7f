"""Explanations side by side: each is drawn as it is alone, the medium once; what cannot stand together is refused."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from explanations import each, explanation, look
from PIL import Image
from test_library import Colours, clip, picture
from test_page import VOCABULARY, browser, centre, visit  # noqa: F401

from s2vt import explain
from s2vt.captioning.runs import Run
from s2vt.config import FeatureConfig
from s2vt.data.geometry import Geometry
from s2vt.data.phrases import phrases_at
from s2vt.data.video import iterate_frames
from s2vt.errors import UserError
from s2vt.explaining import usual
from s2vt.explaining.captioners import GivenCaptioner, TrainedCaptioner
from s2vt.explaining.request import views_of
from s2vt.rendering import drawing, figure, page, storyboard, video
from s2vt.rendering.drawing import Look, Shown
from s2vt.saliency import heatmaps
from s2vt.saliency.instead import Odds

SIGMA = look().saliency.sigma_cells
WORDS, TIMES, SIZE = ("a", "red", "car", "stops"), (0.0, 0.5, 1.0), (320, 240)


def shown(seed, heading, words=WORDS, times=TIMES, view=None):
    """A Shown of random losses."""
    m, random = max(len(times), 1), np.random.default_rng(seed)
    cells, frames = random.uniform(1, 9, (len(words), m, 8, 8)), random.uniform(1, 9, (len(words), m))
    said = explanation(words, {"nll": (cells, frames if len(times) else None)}, Geometry.of(*SIZE), times)
    return Shown(said, each(words), view or look(), heading)


def source():
    return np.random.default_rng(9).integers(0, 256, (*SIZE[::-1], 3), np.uint8)


# --- drawings ---------------------------------------------------------------------------------------------------------


def panels_of(tmp_path, rows):
    """The maps of a figure, [row][phrase] -> (h, w, 3), and how often the picture itself is on it."""
    figure.picture_figure(tmp_path / "f.png", source(), rows)
    drawn = np.asarray(Image.open(tmp_path / "f.png").convert("RGB"))
    sheet = figure.Sheet.of(rows[0].explanation, len(WORDS), "grid", ["note"], drawing.headings_of(rows))
    (width, height), lit = sheet.panel, np.asarray(drawing.shrunk(source(), sheet.panel))
    corners = [[sheet.corner(k + 1, row) for k in range(len(WORDS))] for row in range(len(rows))]
    x, y = sheet.place_of_source()
    np.testing.assert_array_equal(drawn[y : y + height, x : x + width], lit)
    return [[drawn[y : y + height, x : x + width] for x, y in of_row] for of_row in corners]


def test_the_rows_of_a_figure_are_those_of_figures_of_one(tmp_path):
    rows = [shown(seed, (name,), times=()) for seed, name in enumerate("AB")]
    together = panels_of(tmp_path, rows)
    for row, alone in enumerate(rows):
        (expected,) = panels_of(tmp_path, [alone])
        for one, other in zip(together[row], expected, strict=True):
            # stars are larger on wider pages
            assert (one != other).any(axis=-1).mean() < 0.01 and np.abs(one.astype(int) - other).mean() < 1


@pytest.mark.parametrize("layout", drawing.LAYOUTS)
def test_the_rows_of_a_video_are_those_of_videos_of_one(layout):
    view = look(layout=layout, limit=(4096, 4096))  # every tile at its largest
    rows = [shown(seed, (name,), WORDS[:2], view=view) for seed, name in enumerate("AB")]

    def tiles_of(rows):
        _, pictures = video.saliency_frames([(0.5, source())], 25, rows)
        drawn, made = next(pictures), [video._Row(each, 25) for each in rows]
        tiles = video._Scene(made, drawing.notes_of(rows, [row.notes for row in made]).values()).tiles
        numbers = [0] if layout == "single" else [1, 2]
        places = [[(*tiles.corner(k, row), tiles.label(k)) for k in numbers] for row in range(len(rows))]
        if layout != "single":
            x, y = tiles.middle()
            lit = np.asarray(drawing.shrunk(source(), (tiles.width, tiles.height)))
            np.testing.assert_array_equal(drawn[y : y + tiles.height, x : x + tiles.width], lit)
        below = tiles.height + tiles.strip  # with its bars and cursor
        return [[drawn[y - tiles.band : y + below, x : x + tiles.cell] for _, y, x in of] for of in places]

    together = tiles_of(rows)
    for row, alone in enumerate(rows):
        for one, other in zip(together[row], *tiles_of([alone]), strict=True):
            if layout == "single":
                one, other = one[60:], other[60:]  # the time stands in the first row only
            np.testing.assert_array_equal(one, other)


def test_a_phrase_of_a_storyboard_has_a_row_for_each(tmp_path, monkeypatch):
    labels, draw = [], storyboard._draw_label
    monkeypatch.setattr(storyboard, "_draw_label", lambda *a: (labels.append((a[2], a[3])), draw(*a)))
    rows = [shown(seed, (name, "nll")) for seed, name in enumerate("AB")]
    frames = np.full((3, 48, 64, 3), 120, np.uint8)
    storyboard.storyboard(tmp_path / "s.png", rows, frames, (0, 1.5))
    assert labels == [(word, (name, "nll")) for word in WORDS for name in "AB"]
    words = [f"word{k}" for k in range(9)]
    many = [shown(seed, (str(seed),), words) for seed in range(4)]
    labels.clear()
    storyboard.storyboard(tmp_path / "s.png", many, frames, (0, 1.5))
    assert len(labels) == 12  # three phrases of four


def test_a_heading_is_not_drawn_of_one_alone(tmp_path):
    for heading in ((), ("A", "nll")):
        figure.picture_figure(tmp_path / f"{len(heading)}.png", source(), [shown(1, heading, times=())])
    assert (tmp_path / "0.png").read_bytes() == (tmp_path / "2.png").read_bytes()


@pytest.mark.parametrize("other", [{"words": ("a", "blue", "car", "stops")}, {"times": (0.0, 0.5, 2.0)}])
def test_what_is_not_alike_does_not_stand_together(other):
    with pytest.raises(ValueError, match="same medium, frames, sentence"):
        video.saliency_frames([], 25, [shown(0, ("A",)), shown(1, ("B",), **other)])
    with pytest.raises(ValueError, match="received none"):
        drawing.check_alike([])


# --- what is asked ----------------------------------------------------------------------------------------------------


class Others(Colours):
    """Colours that does not know "green"."""

    words = ("<end>", "red", "blue", "teal")


def asked(kinds, *captioners):
    return [(GivenCaptioner(captioner), Look(look(kinds).saliency)) for captioner in captioners]


def test_headings_tell_what_differs():
    def headings(kinds, *captioners):
        return [view.heading for view in views_of(asked(kinds, *captioners))]

    assert headings("nll", Colours()) == [()]
    assert headings("nll,kl", Colours()) == [("nll",), ("kl",)]
    assert headings("nll", Colours(), Others(), Colours()) == [("Colours (1)",), ("Others",), ("Colours (2)",)]
    product = [(name, kind) for name in ("Colours", "Others") for kind in ("nll", "kl")]
    assert headings("nll,kl", Colours(), Others()) == product


@pytest.mark.parametrize(
    ("captioners", "options", "facts"),
    [
        ([Colours(), Others()], {"sentence": "green"}, ["Others: ", "'green'", "vocabulary"]),
        ([Colours()], {"map": ["nll", "nll"]}, ["--map nll,nll", "once"]),
        ([Colours()], {"map": ["nll", "heat"]}, ["--map heat", "nll, kl"]),
        ([Colours(), Others()], {"map": ["nll", "attention"]}, ["--map attention", "gives nll, kl"]),
        ([Colours(), Others()], {"map": ["nll", "kl", "logit"]}, ["6 maps", "2 captioners, 3 kinds", "at most 4"]),
        ([Colours()], {"map": ["nll", "kl"], "instead": "blue"}, ["--instead", "one kind with --map"]),
    ],
)
def test_a_mistake_is_one_clear_line(captioners, options, facts):
    with pytest.raises(UserError) as caught:
        explain(captioners, picture(0, 0, 1), **{"sentence": "red"} | options)
    assert all(fact in str(caught.value) for fact in facts), caught.value
    assert "\n" not in str(caught.value)


def test_the_first_captioners_own_caption_must_be_known_to_all(monkeypatch):
    monkeypatch.setattr("s2vt.captioning.decoding.greedy", lambda captioner, v, max_words: [[said]])
    for said in (2, 3):
        if said == 3:
            with pytest.raises(UserError, match="Colours cannot read Others's own caption .*teal.*both know"):
                explain([Others(), Colours()], picture(0, 0, 1))
        else:
            assert explain([Colours(), Greens()], picture(0, 0, 1)).words == ("green",)


class Greens(Colours):
    """Colours whose words have other indices."""

    words = ("<end>", "green", "red", "blue")


def test_one_captioner_is_named_once():
    captioner = GivenCaptioner(Colours())
    with pytest.raises(UserError, match="--name Colours,Colours: expected each captioner once"):
        explain([captioner, captioner], picture(0, 0, 0), "red")


def test_captioners_that_read_other_frames_of_a_video_are_refused():
    few = GivenCaptioner(Others())
    few.config = few.config.replace(["features.num_frames=5"])
    with pytest.raises(UserError, match="Colours reads 26 frames of a video and Others 5; .*one by one"):
        explain([Colours(), few], clip(), "red", fps=5)
    explain([Colours(), few], picture(0, 0, 0), "red")


def test_each_run_has_its_own_network(tmp_path, monkeypatch):
    monkeypatch.setattr(Run, "require", lambda run: run)
    monkeypatch.setattr(Run, "has_network", lambda run, weights: weights == f"{run.name}.npz")
    assert usual.runs_of(tmp_path, None, "x.npz") == [(None, "x.npz")]
    assert usual.runs_of(tmp_path, "A", "x.npz,y") == [("A", "x.npz,y")]
    assert usual.runs_of(tmp_path, "A,B", None) == [("A", None), ("B", None)]
    assert usual.runs_of(tmp_path, "A,B,C", "C.npz,A.npz") == [("A", "A.npz"), ("B", None), ("C", "C.npz")]
    with pytest.raises(UserError, match="--weights x.npz: none of A, B was trained on it"):
        usual.runs_of(tmp_path, "A,B", "A.npz,x.npz")


def test_a_network_that_two_runs_share_is_loaded_and_run_once(monkeypatch):
    from s2vt.features import networks

    loaded, seen = [], []

    class Network:
        def cells(self, pictures):
            seen.append(len(pictures))
            return np.ones((len(pictures), 64, 2048), np.float16)

    class OfRun:
        def encode(self, v):
            return np.zeros((len(v), 1), np.float32)

        def step(self, state, word):
            return np.zeros((len(state), len(run.vocabulary())), np.float32), state

    run = Run(Path(__file__).parents[1] / "experiments" / "StillShapes")
    monkeypatch.setattr(Run, "captioner", lambda run, which: (OfRun(), which))
    monkeypatch.setattr(networks, "FeatureExtractor", lambda features: (loaded.append(features), Network())[1])
    config = run.config()
    cropped = config.replace(["features.resize=center_crop"])
    snake = dataclasses.replace(config, features=dataclasses.replace(config.features, scan="snake"))
    assert FeatureConfig.scan == "raster"
    captioners = [TrainedCaptioner(run, 11, c) for c in (config, snake, cropped)]
    explain(captioners, picture(0, 0, 0), "a red circle")
    assert [features.resize for features in loaded] == ["squash", "center_crop"] and seen == [1, 1]


# --- what is found ----------------------------------------------------------------------------------------------------


def test_the_numbers_of_each_captioner_are_those_that_it_has_alone(tmp_path):
    captioners = [Colours(), Others()]
    found = explain(captioners, picture(1, 2, 0), "red blue")
    assert found.words == ("red", "blue") and [f.view.name for f in found.findings] == ["Colours", "Others"]
    with np.load(found.save(tmp_path / "a.npz")) as arrays:
        for captioner, finding in zip(captioners, found.findings, strict=True):
            alone = explain(captioner, picture(1, 2, 0), "red blue")
            np.testing.assert_array_equal(finding.nll, alone.nll)
            np.testing.assert_array_equal(finding.map("red"), alone.map("red"))
            np.testing.assert_array_equal(arrays[f"{finding.view.name}/nll"], alone.nll)
    for number in ("nll", "kl", "frame_nll", "explanation", "instead"):
        with pytest.raises(UserError, match=r"2 captioners .*Colours, Others.*findings\[0\]"):
            getattr(found, number)


def test_two_maps_of_one_captioner_share_its_numbers(tmp_path):
    found, alone = (explain(Colours(), picture(1, 2, 0), "red", map=kinds) for kinds in (["kl", "nll"], "kl"))
    np.testing.assert_array_equal(found.nll, alone.nll)
    np.testing.assert_array_equal(found.map("red"), alone.map("red"))
    assert repr(found) == "<kl, nll maps of 'red' on a picture, by Colours>"
    for name, one in (("two", found), ("one", alone)):
        one.save(tmp_path / f"{name}.npz")
    assert (tmp_path / "two.npz").read_bytes() == (tmp_path / "one.npz").read_bytes()


@pytest.mark.parametrize("ending", [".png", ".svg", ".html", ".mp4", ".gif"])
@pytest.mark.parametrize("instead", [None, "blue"])
def test_every_file_has_both(tmp_path, ending, instead):
    moving = ending in (".mp4", ".gif")
    medium = (np.kron(clip(), np.ones((1, 4, 4, 1), np.uint8)), {"fps": 6}) if moving else (picture(0, 1, 0), {})
    found = explain([Colours(), Others()], medium[0], "red", instead=instead, **medium[1])
    path = found.save(tmp_path / f"a{ending}")
    if ending in (".svg", ".html"):
        assert "Colours" in path.read_text() and "Others" in path.read_text()
    if ending == ".mp4":
        assert len(list(iterate_frames(path))) == 6
        found.save(tmp_path / "s.png")


# --- the page ---------------------------------------------------------------------------------------------------------


def panel(seed, name, odds=True, times=TIMES):
    one, random = shown(seed, (name,), times=times), np.random.default_rng(seed + 50)
    log_p = np.log(random.dirichlet(np.ones(7), 4))
    found = Odds(1, "red", ("blue",), random.normal(size=(1, 3, 8, 8)), random.normal(size=(1, 3)))
    said = page.Said(name, VOCABULARY, {1: found} if odds else {})
    return page.Panel(dataclasses.replace(one.explanation, log_p=log_p), look(), name, said)


def map_of_panel(tab, k):
    size = tab.evaluate("[page.height, page.width]")
    return np.array(tab.evaluate("k => Array.from(panels[k].mapNow())", k)).reshape(size)


@pytest.fixture
def two(visit, tmp_path):  # noqa: F811
    panels = [panel(1, "A"), panel(2, "B", odds=False)]
    frames = ((k / 10, np.full((*SIZE[::-1], 3), 20 + 10 * k, np.uint8)) for k in range(11))
    page.video_page(tmp_path / "a.html", frames, 10, panels, page.PageContent("clip"))
    return visit(tmp_path / "a.html"), panels


def test_a_word_is_chosen_for_both_panels(two):
    tab, panels = two
    tab.locator(".word").nth(2).click()
    tab.evaluate("goTo(0.5)")
    for k, one in enumerate(panels):
        cells, frames = drawing.drawn_evidence(one.explanation, phrases_at(WORDS, [(2,)]), one.look)
        e = one.look.to_draw(cells, one.explanation.geometry)[0, 1]
        np.testing.assert_allclose(map_of_panel(tab, k), one.look.upsample(e, one.explanation.geometry), atol=1e-4)
        line = tab.locator("#curve .line").nth(k).get_attribute("d")
        path = np.array(re.findall(r"[\d.e-]+", line), float).reshape(-1, 2)
        np.testing.assert_allclose(1 - path[:, 1] / 100, one.look.curves(frames)[0], atol=1e-4)
        evidence = one.explanation.maps["nll"]
        alpha = heatmaps.temporal_alpha(evidence.frames[2], SIGMA)[1]
        assert tab.locator("#readout span").nth(k).inner_text() == f"{'AB'[k]}: α {alpha:.3f}"
        loss = -heatmaps.upsample(evidence.cells[2], drawing.coarse(one.explanation.geometry), SIGMA)
        ends = [f"e = 0: {loss.max():.2f} nats lost", f"e = 1: {loss.min():.2f} nats lost"]
        assert tab.locator("figure").nth(k).locator(".ends span").all_text_contents() == ends
    assert tab.locator("figcaption strong").all_inner_texts() == ["A", "B"]
    tab.locator("#time").fill("1")
    tab.wait_for_timeout(300)
    shade = tab.evaluate("document.querySelector('.copy').getContext('2d').getImageData(9, 9, 1, 1).data[0]")
    assert abs(shade - 120) < 6  # the second panel has the frame that the first one's video shows


def test_log_odds_stand_in_the_panels_that_have_them(two):
    tab, (one, other) = two
    tab.locator(".word").nth(1).click()
    assert tab.locator("#instead h3").all_inner_texts() == ["A", "B"]
    tab.evaluate("insteadOf(1, 'blue'); drawWords()")
    assert tab.evaluate("panels.map(({ scene }) => Boolean(scene.signed))") == [True, False]
    assert "“blue” is no word of B" in tab.locator("#shown").text_content()


def test_a_panels_menu_chooses_its_kind_of_map_alone(visit, tmp_path):  # noqa: F811
    said = dataclasses.replace(panel(1, "A").explanation, times=np.zeros(0))
    maps = {kind: dataclasses.replace(said.maps["nll"], kind=kind, cells=said.maps["nll"].cells[:, :1], frames=None)
            for kind in ("nll", "likelihood")}  # fmt: skip
    said = dataclasses.replace(said, maps=maps)
    panels = [page.Panel(said, look(kind), kind, page.Said("A", VOCABULARY)) for kind in maps]
    page.picture_page(tmp_path / "a.html", source(), panels, page.PageContent("a"))
    tab = visit(tmp_path / "a.html")
    assert tab.evaluate("captioners.length") == 1 and not tab.locator("#kinds").is_visible()
    assert np.abs(map_of_panel(tab, 0) - map_of_panel(tab, 1)).max() > 0.05
    tab.locator("figcaption select").nth(1).select_option("nll")
    np.testing.assert_array_equal(map_of_panel(tab, 0), map_of_panel(tab, 1))
    assert len(tab.locator(".alternatives").all()) == 1
