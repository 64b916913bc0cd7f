"""The HTML page: its numbers, its text, its files; and, in a real browser, its maps, its keys and what it asks for."""

import base64
import dataclasses
import io
import json
import os
import re
import shutil
import socket
import time
from html.parser import HTMLParser

import explanations
import matplotlib
import numpy as np
import pytest
from explanations import look
from PIL import Image

from s2vt.data.geometry import Geometry, Grid
from s2vt.data.phrases import Change, Phrase, phrases_at
from s2vt.data.video import at_rate
from s2vt.errors import UserError
from s2vt.rendering import drawing, odds, page
from s2vt.saliency import heatmaps
from s2vt.saliency.instead import Odds
from s2vt.saliency.maps import Evidence

# n=4 words, m=5 sampled frames of F=21, G=8, V=7, 96 x 64 pixels, 10 frames a second.
WORDS = ("a", "red", "car", "stops")
VOCABULARY = (".", "a", "car", "red", "stops", "blue", "dog")
TIMES = (0.0, 0.5, 1.0, 1.5, 2.0)
GREYS = tuple(range(20, 230, 10))
LARGE = np.full((480, 640, 3), 120, np.uint8)  # a cell's peak is wider than a pixel
HOSTILE = '</script><img src=x onerror="hacked=1"><!--<script>{{data}} &amp; \u2028 é'


def frames(height=64, width=96):
    """(time, frame): grey, lighter from frame to frame."""
    return ((k / 10, np.full((height, width, 3), grey, np.uint8)) for k, grey in enumerate(GREYS))


def losses(seed, num_frames=5):
    """(cells, pooled), nats; "car" has one hot cell, row 1, column 6, of frame 3."""
    random = np.random.default_rng(seed)
    cells = random.uniform(2, 11, (4, num_frames, 8, 8)).astype("float32")
    cells[2] = 9
    cells[2, -2 if num_frames > 1 else 0, 1, 6] = 1
    return cells, random.uniform(1, 8, (4, num_frames)).astype("float32")


def _log_p():
    rows = np.log(np.random.default_rng(7).dirichlet(np.ones(7), 4))
    rows[1] = np.log([0.001, 0.5, 0.004, 0.003, 0.002, 0.3, 0.19])  # "red" is fifth
    return rows


LOG_P, LOOK, SIGMA = _log_p(), look(), look().saliency.sigma_cells


def explanation(words=WORDS, num_frames=5, times=TIMES, geometry=None, log_p=LOG_P, **changes):
    """A video's, or of one frame a picture's; `changes`: {kind: (losses of the cells, of the frames), or None}."""
    kinds = {"nll": losses(1, num_frames), "kl": losses(2, num_frames)} | changes
    maps = {kind: pair if num_frames > 1 else (pair[0], None) for kind, pair in kinds.items() if pair}
    return explanations.explanation(
        words, maps, geometry or Geometry.of(96, 64), times if num_frames > 1 else (), log_p
    )


def write_video(path, said=None, clip=None, vocabulary=VOCABULARY, title="clip.mp4", chosen=(), view=LOOK):
    panel = page.Panel(said or explanation(), view, said=page.Said(vocabulary=vocabulary))
    page.video_page(path, frames() if clip is None else clip, 10, [panel], page.PageContent(title, chosen))
    return path


def write_picture(path, said=None, picture=None, vocabulary=VOCABULARY, title="picture.jpg", chosen=(), view=LOOK):
    picture = np.full((64, 96, 3), 120, np.uint8) if picture is None else picture
    said = said or explanation(num_frames=1, geometry=Geometry.of(picture.shape[1], picture.shape[0]))
    panel = page.Panel(said, view, said=page.Said(vocabulary=vocabulary))
    page.picture_page(path, picture, [panel], page.PageContent(title, chosen))
    return path


class Elements(HTMLParser):
    """What an HTML parser makes of a page: its tags in order, their addresses, and the text of some."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.addresses, self.texts, self.last = [], [], {}, ""
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.last = dict(attributes).get("id", tag)
        self.addresses += [value for name, value in attributes if name in ("src", "href", "action", "srcset")]

    def handle_data(self, data):
        self.texts.setdefault(self.last, data)

    @property
    def data(self):
        """What the page holds, and beside it what it holds of the first captioner and panel."""
        data = json.loads(self.texts["data"])
        return data | data["captioners"][0] | {"kind": data["panels"][0]["kind"]}


# --- numbers


def test_losses_in_16_bits_are_off_by_half_a_step():
    loss, _ = losses(3)
    loss[1] = 4.25  # one without any span
    kept = page.quantised(loss)
    codes = np.frombuffer(base64.b64decode(kept["codes"]), "<u2").reshape(4, 5, 8, 8)
    back = np.array(kept["low"])[:, None, None, None] + np.array(kept["step"])[:, None, None, None] * codes
    error = np.abs(back - loss).max(axis=(1, 2, 3))
    span = loss.max(axis=(1, 2, 3)) - loss.min(axis=(1, 2, 3))
    assert (error <= span / 131070 * 1.001).all() and error[0] > span[0] / 131070 * 0.9
    assert error[1] == 0 and codes[1].max() == 0


def test_the_page_states_the_error_of_its_numbers(tmp_path):
    data = Elements(write_video(tmp_path / "a.html")).data
    spans = [np.ptp(array.reshape(4, -1), axis=1).max() for seed in (1, 2) for array in losses(seed)]
    np.testing.assert_allclose(data["error"], max(spans) / 131070)


def test_alternatives_by_hand():
    second = page.alternatives(LOG_P, WORDS, VOCABULARY, count=3)[1]
    assert [(item["word"], item["rank"]) for item in second] == [("a", 1), ("blue", 2), ("dog", 3), ("red", 5)]
    np.testing.assert_allclose([item["probability"] for item in second], [0.5, 0.3, 0.19, 0.003])


def test_a_page_is_of_one_grid_and_names_the_kinds_that_it_leaves_out(tmp_path):
    said, grid = explanation(num_frames=1, geometry=Geometry.of(96, 64)), Grid(side=17, stride=16, offset=21)
    finer = Evidence("eb", np.random.default_rng(1).random((4, 1, 17, 17), "float32"), None, grid=grid)
    said = dataclasses.replace(said, maps={**said.maps, "eb": finer})
    coarse = Elements(write_picture(tmp_path / "a.html", said, np.zeros((64, 96, 3), np.uint8))).data
    assert coarse["interpolation"] and list(coarse["maps"]) == list(coarse["evidence"]) == ["nll", "kl"]
    assert coarse["placement"].endswith("on a page of their own: Excitation Backprop.")
    fine = Elements(write_picture(tmp_path / "b.html", said, np.zeros((64, 96, 3), np.uint8), view=look("eb"))).data
    assert list(fine["maps"]) == ["eb"] and fine["placement"].endswith(
        "query loss (Eq. 7), representativeness (Eq. 6)."
    )
    for data, geometry, side in ((coarse, Geometry.of(96, 64), 8), (fine, Geometry.of(96, 64, grid=grid), 17)):
        A_x, _ = heatmaps.interpolation(geometry, side, SIGMA)
        found = np.frombuffer(base64.b64decode(data["interpolation"]["drawn"][0]), "<f4").reshape(96, side)
        assert data["grid"] == side
        np.testing.assert_array_equal(found, A_x)


# --- text and files


@pytest.mark.parametrize("write", [write_video, write_picture])
def test_all_text_stays_text(tmp_path, write):
    words, vocabulary = (HOSTILE, "red", "<b>", "&lt;"), (HOSTILE, "red", "<b>", "&lt;", "x", "y", "z")
    plain = Elements(write(tmp_path / "plain.html"))
    said = explanation(words, 5 if write is write_video else 1)
    found = Elements(write(tmp_path / "hostile.html", said, title=HOSTILE, vocabulary=vocabulary))
    assert found.tags == plain.tags and "img" in found.tags
    assert found.texts["title"] == HOSTILE and found.data["title"] == HOSTILE
    assert found.data["words"] == list(words)
    assert HOSTILE in [item["word"] for item in found.data["alternatives"][0]]


def test_a_name_that_is_no_unicode_text_is_written(tmp_path):
    assert Elements(write_picture(tmp_path / "a.html", title=os.fsdecode(b"a\xff.jpg"))).texts["title"] == "a?.jpg"


@pytest.mark.parametrize("write", [write_video, write_picture])
def test_the_page_names_no_address(tmp_path, write):
    path = write(tmp_path / "a.html")
    assert Elements(path).addresses == ["data:,"]
    text = re.sub(r'"data":"[^"]*"', "", path.read_text())
    assert not re.search(r"https?:|//\w+\.|@import|url\(|fetch\(|XMLHttp|import\(", text)
    assert "default-src 'none'" in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"said": explanation(times=TIMES[:4])}, "evidence for m = 4 frames"),
        ({"said": explanation(("a", "b"))}, "received 2 words"),
        ({"said": explanation(nll=(losses(1)[0], np.zeros((4, 6))))}, "m = 5 frames"),
        ({"said": explanation(nll=(np.full((4, 5, 8, 8), np.inf), losses(1)[1]))}, "finite"),
        ({"said": explanation(kl=None), "view": look("kl")}, "no 'kl' map"),
        ({"said": explanation(log_p=np.zeros((4, 6)))}, "log_p must be"),
        ({"vocabulary": ("x", *VOCABULARY[1:4], "y", "z", "w")}, "not in the vocabulary: stops"),
        ({"said": explanation(geometry=Geometry.of(64, 96))}, "as the geometry says"),
        ({"clip": iter(())}, "no frame"),
        ({"chosen": (1, 4)}, r"positions 0\.\.3"),
        ({"view": look(normalize="both")}, "clip, frame, release, not 'both'"),
    ],
)
def test_wrong_arguments_are_told_and_leave_nothing(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        write_video(tmp_path / "a.html", **changes)
    assert not list(tmp_path.iterdir())


def test_mistakes_of_the_user(tmp_path):
    with pytest.raises(UserError, match="ends in .html"):
        write_video(tmp_path / "a.htm")
    with pytest.raises(UserError, match="no colour map 'rainbows'"):
        write_picture(tmp_path / "a.html", view=look(cmap="rainbows"))
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write"):
        write_picture(tmp_path / "file" / "a.html")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_page_that_fails_leaves_the_last_one(tmp_path):
    path = write_picture(tmp_path / "a.html")
    before = path.read_bytes()
    with pytest.raises(ValueError, match="no frame"):
        write_video(path, clip=iter(()))
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["a.html"]


def test_a_heavy_clip_is_kept_smaller(tmp_path, monkeypatch):
    monkeypatch.setattr(page, "VIDEO_BYTES", 60_000)
    random = np.random.default_rng(0)
    noise = [random.integers(0, 256, (240, 320, 3), np.uint8) for _ in range(21)]
    heavy = ((3 + k / 10, frame) for k, frame in enumerate(noise))
    said = explanation(times=np.add(TIMES, 3), geometry=Geometry.of(320, 240, "center_crop"))
    path = write_video(tmp_path / "a.html", said, heavy)
    data = Elements(path).data
    assert len(base64.b64decode(data["medium"]["data"])) <= 60_000 and 160 <= data["width"] < 320
    np.testing.assert_allclose(np.array(data["crop"]) * 320 / data["width"], Geometry.of(320, 240, "center_crop").crop)
    assert (data["start"], data["duration"]) == (3, 2.1)
    np.testing.assert_allclose(data["times"], TIMES)


def test_a_large_picture_is_kept_smaller(tmp_path):
    data = Elements(write_picture(tmp_path / "a.html", picture=np.full((3000, 1500, 3), 90, np.uint8))).data
    assert (data["width"], data["height"], data["crop"]) == (512, 1024, [0, 0, 512, 1024])
    assert Image.open(io.BytesIO(base64.b64decode(data["medium"]["data"]))).size == (512, 1024)


# --- in a browser


@pytest.fixture(scope="module")
def browser():
    """Debian's Chromium, without a window."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no chromium here (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as driver:
        arguments = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        browser = driver.chromium.launch(executable_path=chromium, args=arguments)
        yield browser
        browser.close()


def wait(tab, condition, seconds=60):
    """Until a condition holds in the page (playwright's own way needs eval, which the page forbids)."""
    deadline = time.monotonic() + seconds
    while not tab.evaluate(condition):
        assert time.monotonic() < deadline, f"{condition} does not become true"
        tab.wait_for_timeout(30)


@pytest.fixture
def visit(browser):
    """Opens a page from disk; afterwards there must have been no error and no request to anywhere else."""
    contexts, problems, requests = [], [], []

    def visit(path, **options):
        context = browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | options))
        contexts.append(context)
        tab = context.new_page()
        tab.set_default_timeout(60_000)
        tab.on("console", lambda message: problems.append(message.text))
        tab.on("pageerror", lambda error: problems.append(str(error)))
        tab.on("request", lambda request: requests.append(request.url))
        tab.goto(path.as_uri())
        if tab.evaluate("moving"):
            wait(tab, "video.readyState >= 2 && !video.seeking")
        else:
            wait(tab, "$('picture').complete")
        return tab

    yield visit
    for context in contexts:
        context.close()
    assert not problems
    assert requests and {url.split(":")[0] for url in requests} <= {"file", "blob"}


def map_of(tab):
    """The map as the page has it, (height, width)."""
    return np.array(tab.evaluate("Array.from(panels[0].mapNow())")).reshape(tab.evaluate("[page.height, page.width]"))


def expected_map(words, frame, kind="nll", share=0.0, resize="squash", num_frames=5, size=(96, 64), how="clip"):
    """The map as the other pictures draw it, `share` of the way from one sampled frame to the next."""
    geometry = Geometry.of(*size, resize)
    view = look(kind, normalize=how)
    said = explanation(num_frames=num_frames, geometry=geometry)
    cells, _ = drawing.drawn_evidence(said, phrases_at(WORDS, [words]), view)
    e = drawing.e_to_draw(cells, geometry, view)[0]
    after = min(frame + 1, num_frames - 1)
    return view.upsample((1 - share) * e[frame] + share * e[after], geometry)


def same(one, other):
    np.testing.assert_allclose(one, other, atol=1e-4)


def shown(tab):
    return tab.locator(".word.shown").all_text_contents()


def centre(tab, word):
    box = tab.locator(".word").nth(word).bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def drag(tab, start, stop):
    tab.mouse.move(*centre(tab, start))
    tab.mouse.down()
    tab.mouse.move(*centre(tab, stop), steps=5)
    tab.mouse.up()


def stage(tab):
    """The picture with its map as it is on the screen, (height, width, 3)."""
    return np.asarray(Image.open(io.BytesIO(tab.locator("#stage").screenshot())).convert("RGB")).astype(int)


@pytest.mark.parametrize("resize", ["squash", "center_crop"])
def test_maps_are_those_of_heatmaps(visit, tmp_path, resize):
    """Two roads: the browser's maths and Python's, for words, phrases, both losses, times between frames."""
    tab = visit(write_video(tmp_path / "a.html", explanation(geometry=Geometry.of(96, 64, resize))))
    for words, kind, seconds in (([1], "nll", 0.5), ([2], "kl", 1.5), ([0, 2, 3], "nll", 1.15), ([1, 2], "kl", 2.0)):
        tab.evaluate(
            "([words, kind, s]) => { panels[0].kind = kind; choose(words, words[0]); goTo(s); }",
            [words, kind, seconds],
        )
        same(map_of(tab), expected_map(words, int(seconds // 0.5), kind, share=seconds % 0.5 / 0.5, resize=resize))


MADE_OF_A_LOSS = {kind: losses(1) for kind in ("nll", "likelihood", "change", "moment")}


def with_verbs_of_change(*positions, content=None):
    """All kinds of map that are made of one loss, of a sentence with verbs of change at these positions.

    content: as `Evidence.content`.
    """
    said = explanation(kl=None, **MADE_OF_A_LOSS)
    changes = dict(zip(positions, (Change((1,), -1), Change()), strict=False))
    maps = {k: dataclasses.replace(each, of_change=changes, content=content) for k, each in said.maps.items()}
    return dataclasses.replace(said, maps=maps)


@pytest.mark.parametrize("content", [None, (2, 3)])
def test_kinds_made_of_one_loss_are_those_of_python(visit, tmp_path, content):
    """Two roads, for maps and curves; "stops", the last word, is a verb of change."""
    said = with_verbs_of_change(3, content=content)
    tab = visit(write_video(tmp_path / "a.html", said))
    assert list(tab.evaluate("page.captioners[0].evidence")) == ["nll"]  # kept once
    for kind in MADE_OF_A_LOSS:
        for words, i in (([1], 1), ([0, 2], 4), ([3], 0), ([1, 2, 3], 2)):
            tab.evaluate("([words, kind]) => { panels[0].kind = kind; choose(words, words[0]); }", [words, kind])
            tab.evaluate("seconds => goTo(seconds)", TIMES[i])
            cells, times = said.maps[kind].of_phrases([Phrase("", tuple(words))])
            e = drawing.e_to_draw(cells, said.geometry, LOOK)[0, i]
            same(map_of(tab), heatmaps.upsample(e, said.geometry, SIGMA))
            same(tab.evaluate("Array.from(panels[0].scene.frames)"), heatmaps.temporal_saliency(times[0], SIGMA))
            second = said.maps[kind].beside(words)
            assert (tab.evaluate("panels[0].scene.beside") is None) == (second is None)
            if second is not None:
                same(tab.evaluate("Array.from(panels[0].scene.beside)"), heatmaps.temporal_saliency(second, SIGMA))


def test_a_pictures_likelihood_is_that_of_python(visit, tmp_path):
    said = explanation(num_frames=1, kl=None, likelihood=losses(1, 1))
    tab = visit(write_picture(tmp_path / "a.html", said, view=look("likelihood")))
    tab.evaluate("choose([1, 2], 1)")
    cells, _ = said.maps["likelihood"].of_phrases([Phrase("", (1, 2))])
    same(map_of(tab), heatmaps.upsample(drawing.e_to_draw(cells, said.geometry, LOOK)[0, 0], said.geometry, SIGMA))


def test_units_of_kinds_made_of_one_loss(visit, tmp_path):
    tab = visit(write_video(tmp_path / "a.html", with_verbs_of_change(3), view=look("moment")))
    level, change, share = "nats lost", "nats a sampled frame", "% of the likelihood"
    cases = (
        (1, "moment", level),
        (3, "moment", change),
        (3, "nll", level),
        (1, "change", change),
        (1, "likelihood", share),
    )
    for word, kind, unit in cases:
        tab.evaluate("([word, kind]) => { panels[0].kind = kind; choose([word], word); }", [word, kind])
        assert re.fullmatch(rf"e = 1: [\d.]+ {unit}", tab.locator("#most").text_content())


@pytest.mark.parametrize(("kind", "unit"), [("logit", "-?[\\d.]+ nats lost beyond other words"),
                                            ("banzhaf", "-?[\\d.]+ nats gained"),
                                            ("rise", "-?[\\d.]+ probability, summed over the words"),
                                            ("ceb", "[\\d.]+ % of the winning probability")])  # fmt: skip
def test_units_of_kinds_that_can_be_negative(visit, tmp_path, kind, unit):
    said = explanation(num_frames=1, nll=None, kl=None, **{kind: (losses(1, 1)[0] - 6, None)})
    tab = visit(write_picture(tmp_path / "a.html", said, view=look(kind)))
    assert re.fullmatch(f"e = 1: {unit}", tab.locator("#most").text_content())


def test_the_second_curve_is_drawn_and_named(visit, tmp_path):
    said = with_verbs_of_change(3)
    tab = visit(write_video(tmp_path / "a.html", said))
    note, curve = tab.locator("#beside-note"), tab.locator("#curve .beside")
    tab.evaluate("choose([1], 1)")
    assert curve.get_attribute("d") == "" and not note.is_visible()
    place = centre(tab, 3)
    tab.evaluate("choose([3], 3)")
    assert note.is_visible() and note.text_content() == "change of the subject's loss"
    assert centre(tab, 3) == place  # words stay where they are under the mouse
    path = np.array(re.findall(r"[\d.e-]+", curve.get_attribute("d")), float).reshape(-1, 2)
    same(1 - path[:, 1] / 100, heatmaps.temporal_saliency(said.maps["moment"].time([3]), SIGMA))
    tab.get_by_label("likelihood").check()
    assert not note.is_visible() and curve.get_attribute("d") == ""


def test_a_sentence_without_a_verb_of_change_has_no_second_curve(visit, tmp_path):
    tab = visit(write_video(tmp_path / "a.html", with_verbs_of_change()))
    assert tab.evaluate("panels[0].scene.beside") is None and tab.evaluate("$('beside-note').hidden")


@pytest.mark.parametrize("how", drawing.NORMALIZATIONS)
def test_maps_of_each_normalisation_are_those_of_the_video(visit, tmp_path, how):
    tab = visit(write_video(tmp_path / "a.html", view=look(normalize=how)))
    assert tab.locator("#normalization").text_content() == drawing.NORMALIZATIONS[how]
    for words, kind, seconds in (([1], "nll", 1.0), ([0, 2], "nll", 1.35), ([2], "kl", 1.75)):
        tab.evaluate(
            "([words, kind, s]) => { panels[0].kind = kind; choose(words, words[0]); goTo(s); }",
            [words, kind, seconds],
        )
        share = seconds % 0.5 / 0.5
        expected = expected_map(words, int(seconds // 0.5), kind, share=share, how=how)
        same(np.clip(map_of(tab), 0, 1) if how == "release" else map_of(tab), expected)


def test_a_page_in_the_releases_steps_shows_nothing_else(visit, tmp_path):
    view = look(normalize="release")
    tab = visit(write_video(tmp_path / "a.html", view=view))
    assert not tab.locator("#scaled").is_visible()
    assert tab.locator("#most").text_content() == "e = 1: most evidence for any word in the frame, before the Gaussian"
    assert "bicubic" in tab.locator("#placement").text_content()
    tab.evaluate("choose([1, 2], 2); goTo(1.5)")
    _, curve = drawing.drawn_evidence(explanation(), phrases_at(WORDS, [(1, 2)]), view)
    same(tab.evaluate("Array.from(panels[0].scene.frames)"), heatmaps.scale(curve[0]))
    _, of_words = drawing.drawn_evidence(explanation(), phrases_at(WORDS, [(t,) for t in range(4)]), view)
    same(
        tab.evaluate("panels[0].captioner.momentOfWords('nll').map((e) => Array.from(e))"),
        heatmaps.scale(of_words, axes=-1),
    )


def test_the_normalisation_is_chosen_on_the_page(visit, tmp_path):
    tab = visit(write_video(tmp_path / "a.html"))
    tab.evaluate("choose([2], 2); goTo(1.5)")
    assert tab.locator("#normalize option").all_text_contents() == ["per clip", "per frame"]
    tab.locator("#normalize").select_option("frame")
    same(map_of(tab), expected_map([2], 3, how="frame"))
    assert tab.locator("#most").text_content() == "e = 1: the frame’s most evidence"


def test_a_picture_is_one_frame(visit, tmp_path):
    tab = visit(write_picture(tmp_path / "a.html", view=look(normalize="frame")))
    assert tab.locator("#normalize option").all_text_contents() == ["per picture"]
    assert not tab.locator("#scaled").is_visible()
    same(map_of(tab), expected_map([0, 1, 2, 3], 0, num_frames=1))
    tab = visit(write_picture(tmp_path / "b.html", view=look(normalize="release")))
    same(np.clip(map_of(tab), 0, 1), expected_map([0, 1, 2, 3], 0, num_frames=1, how="release"))


def test_frames_that_are_sampled_twice_carry_one_map(visit, tmp_path):
    """A clip shorter than m frames: sampled at 0, 0, 1, 1, 2 seconds."""
    tab = visit(write_video(tmp_path / "a.html", explanation(times=(0, 0, 1, 1, 2))))
    tab.evaluate("choose([1], 1); goTo(1.5)")
    same(map_of(tab), expected_map([1], 3, share=0.5))
    tab.evaluate("goTo(1)")
    same(map_of(tab), expected_map([1], 3))


def drawn(e, cmap="inferno", opacity=0.55, grey=120):
    """A map over a grey picture as the page should draw it, (height, width, 3)."""
    e = np.clip(e, 0, 1)
    tint, light = (opacity * e**2)[..., None], (1 - 0.45 * opacity / 0.55 * (1 - e))[..., None]
    return tint * 255 * matplotlib.colormaps[cmap](e)[..., :3] + (1 - tint) * light * grey


def assert_stage(tab, expected):
    """Each pixel of the picture on the screen, but for its round corners."""
    seen = stage(tab)
    assert abs(np.array(seen.shape) - expected.shape).max() <= 1  # the map is shown pixel for pixel
    height, width = np.minimum(seen.shape, expected.shape)[:2]
    difference = np.abs(seen[:height, :width] - expected[:height, :width])[10:-10, 10:-10]
    assert difference.mean() < 1.5 and difference.max() < 12, (difference.mean(), difference.max())


def test_the_pixel_under_the_hot_cell_is_hot(visit, tmp_path):
    tab = visit(write_picture(tmp_path / "a.html", picture=LARGE))
    tab.locator(".word").nth(2).click()
    pixels = stage(tab)
    height, width = pixels.shape[:2]
    centres = (Grid().centres() + 0.5) / 299
    light = pixels.sum(axis=-1)[10:-10, 10:-10]
    hottest = np.argwhere(light == light.max()).mean(axis=0) + 10
    np.testing.assert_allclose(hottest, (centres[1] * height, centres[6] * width), atol=0.015 * width)
    assert_stage(tab, drawn(expected_map([2], 0, num_frames=1, size=(640, 480))))


def test_colours_by_hand(visit, tmp_path):
    """Evidence in the left half only: there 0.55 of inferno's last colour, (252, 255, 164), and 0.45 of grey 120."""
    loss = np.broadcast_to(np.repeat([1.0, 5.0], 4), (4, 1, 8, 8))
    said = explanation(num_frames=1, nll=(loss, None), geometry=Geometry.of(640, 480))
    tab = visit(write_picture(tmp_path / "a.html", said, LARGE))
    pixels = stage(tab)
    np.testing.assert_allclose(pixels[240, 20], (193, 194, 144), atol=5)
    np.testing.assert_allclose(pixels[240, -20], (66, 66, 66), atol=3)  # 0.55 of the light


def test_pointing_at_a_word_shows_it_while_the_mouse_is_there(visit, tmp_path):
    tab = visit(write_picture(tmp_path / "a.html"))
    assert shown(tab) == ["a", "red", "car", "stops"]  # a noun phrase, as `noun_phrases` has it
    whole = map_of(tab)
    for word in (3, 1):
        tab.mouse.move(*centre(tab, word))
        assert shown(tab) == [WORDS[word]]
        same(map_of(tab), expected_map([word], 0, num_frames=1))
    tab.mouse.move(5, 5)
    np.testing.assert_array_equal(map_of(tab), whole)


def test_dragging_over_words_sums_their_losses(visit, tmp_path):
    tab = visit(write_picture(tmp_path / "a.html"))
    drag(tab, 3, 1)
    tab.mouse.move(*np.add(centre(tab, 1), 2))  # a tremor after the drag keeps the sum
    assert shown(tab) == ["red", "car", "stops"]
    same(map_of(tab), expected_map([1, 2, 3], 0, num_frames=1))
    tab.locator(".word").nth(2).click(modifiers=["Control"])
    assert shown(tab) == ["red", "stops"]
    same(map_of(tab), expected_map([1, 3], 0, num_frames=1))
    assert tab.locator("#shown").text_content() == "Evidence for “red stops”, 2 words summed"
    for word, key, words in ((0, "Control", "a red stops"), (2, "Shift", "a red car"), (3, None, "stops"),
                             (1, "Shift", "red car stops")):  # fmt: skip
        tab.locator(".word").nth(word).click(modifiers=[key] if key else [])
        assert " ".join(shown(tab)) == words


def test_the_words_asked_for_are_shown_first(visit, tmp_path):
    tab = visit(write_picture(tmp_path / "a.html", chosen=(3, 1)))
    assert shown(tab) == ["red", "stops"]
    same(map_of(tab), expected_map([1, 3], 0, num_frames=1))


def test_a_finger_taps_and_drags(visit, tmp_path):
    tab = visit(write_video(tmp_path / "a.html"), viewport={"width": 360, "height": 700}, has_touch=True)
    tab.locator(".word").nth(1).tap()
    assert shown(tab) == ["red"]
    session = tab.context.new_cdp_session(tab)
    for kind, words in (("touchStart", [1]), ("touchMove", [2]), ("touchMove", [3]), ("touchEnd", [])):
        points = [dict(zip("xy", centre(tab, word), strict=True)) for word in words]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    assert shown(tab) == ["red", "car", "stops"]
    assert tab.evaluate("document.documentElement.scrollWidth") == 360


def test_the_sentence_by_keyboard(visit, tmp_path):
    tab = visit(write_picture(tmp_path / "a.html"))
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.textContent") == "stops"
    assert tab.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    for keys, words in (
        ("Home", [0]), ("ArrowRight", [1]), ("Shift+ArrowRight", [1, 2]), ("Control+ArrowRight", [1, 2]),
        (" ", [1, 2, 3]), ("ArrowLeft", [2]), ("Enter", [2]), ("End", [3]), ("ArrowRight", [3]),
        ("ArrowUp", [2]), ("ArrowDown", [3]), ("ArrowDown", [3]), ("Control+a", [0, 1, 2, 3]),
    ):  # fmt: skip
        tab.keyboard.press(keys)
        assert shown(tab) == [WORDS[word] for word in words], keys
        same(map_of(tab), expected_map(words, 0, num_frames=1))
    assert tab.locator("#spoken").text_content() == tab.locator("#map").get_attribute("aria-label")


def test_every_control_is_reached_and_named(visit, tmp_path):
    tab = visit(write_video(tmp_path / "a.html"))
    names = []
    for _ in range(10):
        tab.keyboard.press("Tab")
        names.append(
            tab.evaluate(
                "(e => e.getAttribute('aria-label') || e.labels?.[0]?.textContent || e.textContent)"
                "(document.activeElement)"
            ).split()[0]
        )
    assert names == ["Play", "Time", "Peak", "stops", "nll", "Scaled", "Colour", "Opacity", "What", "Keys"]
    tree = tab.locator("body").aria_snapshot()
    assert 'listbox "Sentence: choose words"' in tree and 'option "red" [selected]' in tree
    assert re.search(r'img "Saliency map of .*: strongest at \d\.\d seconds, \w+ \w+"', tree)


def test_time_moves_the_map_the_cursor_and_the_clip(visit, tmp_path):
    tab = visit(write_video(tmp_path / "a.html"))
    e = heatmaps.temporal_saliency(heatmaps.phrase_sum(explanation().maps["nll"].frames, [0, 1, 2, 3]), SIGMA)
    assert tab.evaluate("state.time") == TIMES[int(np.argmax(e))]  # it opens on the frame with the most evidence
    tab.locator("#opacity").fill("0")  # the bare clip
    for seconds, frame in ((0.5, 5), (1.45, 14), (2.0, 20), (0.0, 0)):
        tab.locator("#time").fill(str(seconds))
        wait(tab, "!video.seeking")
        tab.wait_for_timeout(60)
        same(map_of(tab), expected_map([0, 1, 2, 3], int(seconds // 0.5), share=seconds % 0.5 / 0.5))
        assert tab.evaluate("parseFloat($('cursor').style.left)") == pytest.approx(100 * seconds / 2)
        np.testing.assert_allclose(stage(tab)[20:-20, 20:-20].mean(), GREYS[frame], atol=3)
    tab.locator("#time").focus()
    tab.keyboard.press("ArrowRight")
    assert tab.evaluate("state.time") == pytest.approx(0.1)
    tab.keyboard.press("PageUp")
    assert tab.evaluate("state.time") == pytest.approx(1.1)
    tab.keyboard.press(",")
    assert tab.evaluate("state.time") == pytest.approx(1.0)
    tab.keyboard.press("p")
    assert tab.evaluate("state.time") == TIMES[int(np.argmax(e))]
    tab.evaluate("goTo(1.2)")
    for key, seconds in ((".", 1.3), ("PageDown", 0.3), ("ArrowLeft", 0.2), ("ArrowUp", 0.3), ("ArrowDown", 0.2),
                         ("PageDown", 0), ("PageUp", 1.0), ("PageUp", 2.0), ("ArrowRight", 2.0)):  # fmt: skip
        tab.locator("#time").press(key)
        assert tab.evaluate("state.time") == pytest.approx(seconds), key


@pytest.mark.parametrize(("rate", "last"), [(1.25, 16), (0.4, 0)])
def test_all_sampled_frames_are_on_the_time_line_of_a_clip_of_few_frames(visit, tmp_path, rate, last):
    """With --stride, the last frame that is shown may lie before the last sampled one, at 2 s."""
    panel = page.Panel(explanation(), LOOK, said=page.Said(vocabulary=VOCABULARY))
    page.video_page(tmp_path / "a.html", at_rate(frames(), rate, 10), rate, [panel], page.PageContent("a"))
    tab = visit(tmp_path / "a.html")
    path = np.array(re.findall(r"[\d.]+", tab.locator("#curve .line").get_attribute("d")), float).reshape(-1, 2)
    np.testing.assert_allclose(path[:, 0], np.divide(TIMES, 2) * 1000)
    tab.locator("#opacity").fill("0")
    tab.evaluate("goTo(9)")
    assert tab.evaluate("state.time") == TIMES[-1] and tab.evaluate("Number($('time').max)") == TIMES[-1]
    same(map_of(tab), expected_map([0, 1, 2, 3], 4))
    wait(tab, "!video.seeking")
    tab.evaluate("() => { window.seeks = 0; video.addEventListener('seeked', () => { window.seeks += 1; }); }")
    tab.wait_for_timeout(200)
    assert tab.evaluate("window.seeks") == 0  # the frame is there, and is not sought again
    np.testing.assert_allclose(stage(tab)[20:-20, 20:-20].mean(), GREYS[last], atol=3)


def test_dots_bars_and_readout_are_of_their_frame_and_word(visit, tmp_path):
    tab = visit(write_video(tmp_path / "a.html", chosen=(2,)))
    evidence = explanation().maps["nll"].frames
    e, alpha = heatmaps.temporal_saliency(evidence, SIGMA), heatmaps.temporal_alpha(evidence[2], SIGMA)
    dots = tab.evaluate("[...$('samples').children].map((dot) => [parseFloat(dot.style.left), dot.className])")
    assert dots == [[50 * time, "peak" if k == np.argmax(e[2]) else ""] for k, time in enumerate(TIMES)]
    for seconds, share, nearest in ((1.3, 0.6, 3), (1.2, 0.4, 2)):
        tab.evaluate("seconds => goTo(seconds)", seconds)
        same(
            tab.evaluate("wordElements.map((element) => Number(element.style.getPropertyValue('--e0')))"),
            (1 - share) * e[:, 2] + share * e[:, 3],
        )
        assert tab.locator("#readout").text_content().startswith(f"{seconds:.2f} s · α {alpha[nearest]:.3f} ")
        assert f"alpha {alpha[nearest]:.3f}" in tab.locator("#time").get_attribute("aria-valuetext")


def test_the_description_says_where_and_when(visit, tmp_path):
    tab = visit(write_picture(tmp_path / "a.html", chosen=(2,)))
    label = tab.locator("#map").get_attribute("aria-label")
    assert label == "Saliency map of “car”: strongest, upper right"  # row 1, column 6
    cells, pooled = losses(1)
    pooled[2], cells[2] = 9, 9
    pooled[2, 1], cells[2, 1, 6, 3] = 1, 1
    late = ((3 + time, frame) for time, frame in frames())
    said = explanation(times=np.add(TIMES, 3), nll=(cells, pooled))
    tab = visit(write_video(tmp_path / "a.html", said, late, chosen=(2,)))
    label = tab.locator("#map").get_attribute("aria-label")
    assert label == "Saliency map of “car”: strongest at 3.5 seconds, lower centre"


def test_the_curve_is_e_of_the_frames_and_alpha_is_told(visit, tmp_path):
    tab = visit(write_video(tmp_path / "a.html"))
    tab.evaluate("choose([1, 3], 1)")
    pooled = heatmaps.phrase_sum(explanation().maps["nll"].frames, [1, 3])
    path = np.array(re.findall(r"[\d.]+", tab.locator("#curve .line").get_attribute("d")), float).reshape(-1, 2)
    np.testing.assert_allclose(path[:, 0], np.divide(TIMES, 2) * 1000)
    np.testing.assert_allclose(1 - path[:, 1] / 100, heatmaps.temporal_saliency(pooled, SIGMA), atol=1e-4)
    for seconds, alpha in zip(TIMES, heatmaps.temporal_alpha(pooled, SIGMA), strict=True):
        tab.evaluate("seconds => goTo(seconds)", seconds)
        assert tab.locator("#readout").text_content() == f"{seconds:.2f} s · α {alpha:.3f} (even share 0.200)"


def test_it_plays_and_pauses(visit, tmp_path):
    tab = visit(write_video(tmp_path / "a.html"))
    tab.evaluate("goTo(0)")
    button = tab.locator("#play")
    button.click()
    wait(tab, "state.time > 0.3")
    assert button.get_attribute("aria-label") == "Pause"
    tab.keyboard.press("k")
    wait(tab, "video.paused")
    assert abs(tab.evaluate("state.time - video.currentTime")) < 0.25
    seconds = tab.evaluate("state.time")
    tab.wait_for_timeout(200)
    assert tab.evaluate("state.time") == seconds and button.get_attribute("aria-label") == "Play"
    frame, share = divmod(seconds, 0.5)
    same(map_of(tab), expected_map([0, 1, 2, 3], int(frame), share=share / 0.5))


def test_the_loss_the_colours_and_the_opacity(visit, tmp_path):
    tab = visit(write_picture(tmp_path / "a.html", picture=LARGE, view=look("kl", cmap="plasma")))
    nll, kl = (expected_map([2], 0, kind, num_frames=1, size=(640, 480)) for kind in ("nll", "kl"))
    tab.locator(".word").nth(2).click()
    assert_stage(tab, drawn(kl, "plasma"))
    tab.get_by_label("nll").check()
    tab.locator("#cmap").select_option("viridis")
    assert_stage(tab, drawn(nll, "viridis"))
    for opacity in (0, 0.3, 1):
        tab.locator("#opacity").fill(str(opacity))
        assert_stage(tab, drawn(nll, "viridis", opacity))
    evidence = explanation(num_frames=1).maps["nll"].cells[2, 0]
    loss = -heatmaps.upsample(evidence, Geometry.of(72, 72), SIGMA)  # drawn values are Gaussian means
    assert tab.locator("#least").text_content() == f"e = 0: {loss.max():.2f} nats lost"
    assert tab.locator("#most").text_content() == f"e = 1: {loss.min():.2f} nats lost"


def test_what_it_would_have_said_instead(visit, tmp_path):
    tab = visit(write_picture(tmp_path / "a.html"))
    tab.mouse.move(*centre(tab, 1))
    assert tab.locator("#instead-title").text_content() == "Instead of “red”"
    assert tab.locator("#context").text_content() == "Most probable after “a”:"
    assert tab.locator("#alternatives li").all_inner_texts()[:2] == ["1. a\n50.0 %", "2. blue\n30.0 %"]
    assert tab.locator("#alternatives .said").inner_text() == "5. red\n0.3 %"


def with_odds(num_frames=5, instead=None, how="clip"):
    """An explanation, a Panel and a PageContent with log-odds of "red" against "blue" and "dog", position 1."""
    said, random = explanation(num_frames=num_frames), np.random.default_rng(5)
    frames = random.normal(size=(2, num_frames)) if num_frames > 1 else None
    found = Odds(1, "red", ("blue", "dog"), random.normal(size=(2, num_frames, 8, 8)), frames)
    panel = page.Panel(said, look(normalize=how), said=page.Said("", VOCABULARY, {1: found}))
    return said, found, panel, page.PageContent("a", instead=instead)


def expected_odds(said, found, row, frame, how="clip"):
    """(the map in [-1, 1], the curve) of log-odds as the other pictures draw them."""
    one = Odds(1, "red", found.others[row : row + 1], found.cells[row : row + 1],
               None if found.frames is None else found.frames[row : row + 1])  # fmt: skip
    shown, phrases, view = odds.to_draw(said, one, look(normalize=how))
    cells, frames = drawing.drawn_evidence(shown, phrases, view)
    e = view.upsample(view.to_draw(cells, said.geometry)[0, frame], said.geometry)
    return e, None if frames is None else view.curves(frames)[0]


@pytest.mark.parametrize("how", ["clip", "frame"])
def test_log_odds_are_those_of_python(visit, tmp_path, how):
    said, found, panel, content = with_odds(how=how)
    page.video_page(tmp_path / "a.html", frames(), 10, [panel], content)
    tab = visit(tmp_path / "a.html")
    tab.locator(".word").nth(1).click()
    tab.locator("#alternatives .other", has_text="dog").click()
    tab.evaluate("goTo(1.5)")
    e, curve = expected_odds(said, found, 1, 3, how)
    np.testing.assert_allclose(map_of(tab), e, atol=1e-3)
    np.testing.assert_allclose(tab.evaluate("Array.from(panels[0].scene.frames)"), curve, atol=1e-3)
    assert tab.locator("#shown").text_content().startswith("log q(red) − log q(dog)")
    limit = np.abs(heatmaps.upsample(found.cells[1], drawing.coarse(said.geometry), SIGMA)).max()
    nats = "" if how == "frame" else f"{limit:.2f} nats: "
    assert tab.locator("#least").text_content() == f"−{nats}“dog”"
    assert tab.locator("#most").text_content() == f"+{nats}“red”"
    path = np.array(re.findall(r"[\d.e-]+", tab.locator("#curve .line").get_attribute("d")), float).reshape(-1, 2)
    np.testing.assert_allclose(1 - path[:, 1] / 50, curve, atol=1e-3)  # 0 in the middle
    area = np.array(re.findall(r"[\d.e-]+", tab.locator("#curve .area").get_attribute("d")), float).reshape(-1, 2)
    np.testing.assert_allclose(area, [(0, 50), *path, (1000, 50)])
    assert "nats" in tab.locator("#readout").text_content()


def test_log_odds_are_chosen_with_mouse_and_keyboard_and_left_again(visit, tmp_path):
    said, found, panel, content = with_odds(num_frames=1, instead=(1, "blue"))
    page.picture_page(tmp_path / "a.html", np.full((64, 96, 3), 120, np.uint8), [panel], content)
    tab = visit(tmp_path / "a.html")
    pressed = tab.locator("#alternatives [aria-pressed=true]")
    assert pressed.inner_text().startswith("2. blue")  # at first what was asked for
    np.testing.assert_allclose(map_of(tab), expected_odds(said, found, 0, 0)[0], atol=1e-3)
    red, blue = (stage(tab)[..., 0] - stage(tab)[..., 2]).max(), (stage(tab)[..., 2] - stage(tab)[..., 0]).max()
    assert red > 25 and blue > 25  # both signs are seen
    tab.locator("#alternatives .other", has_text="dog").press("Enter")
    assert pressed.inner_text().startswith("3. dog")
    pressed.click()
    assert not pressed.count()
    same(map_of(tab), expected_map([1], 0, num_frames=1))
    tab.locator("#alternatives .other", has_text="dog").click()
    tab.mouse.move(*centre(tab, 2))  # a word that is pointed at is shown as ever
    same(map_of(tab), expected_map([2], 0, num_frames=1))
    tab.locator(".word").nth(0).click()
    assert not tab.evaluate("Boolean(state.instead)")
    assert tab.locator("#alternatives .other").count() == 0  # "a" has no log-odds here


def test_too_many_log_odds_are_left_out(tmp_path, monkeypatch):
    _, _, panel, content = with_odds()
    assert Elements(write_video(tmp_path / "a.html")).data["odds"] == {}
    monkeypatch.setattr(page, "ODDS_BYTES", 2 * (2 * 5 * 65) - 1)
    page.video_page(tmp_path / "b.html", frames(), 10, [panel], content)
    assert Elements(tmp_path / "b.html").data["odds"] == {}
    monkeypatch.setattr(page, "ODDS_BYTES", 2 * (2 * 5 * 65))
    page.video_page(tmp_path / "b.html", frames(), 10, [panel], content)
    assert Elements(tmp_path / "b.html").data["odds"]["1"]["others"] == ["blue", "dog"]


def test_a_word_asked_about_is_listed_however_improbable():
    second = page.alternatives(LOG_P, WORDS, VOCABULARY, count=2, also=(1, "car"))[1]
    assert [(item["word"], item["rank"]) for item in second] == [("a", 1), ("blue", 2), ("car", 4), ("red", 5)]


def test_without_kl_and_log_p_their_controls_are_not_there(visit, tmp_path):
    tab = visit(write_picture(tmp_path / "a.html", explanation(num_frames=1, kl=None, log_p=None)))
    assert not tab.locator("#kinds").is_visible() and not tab.locator("#instead").is_visible()
    assert not tab.locator("#player").is_visible()


def test_hostile_text_is_shown_as_text(visit, tmp_path):
    vocabulary = (HOSTILE, "red", "<b>", "&lt;", "x", "y", "z")
    said = explanation((HOSTILE, "red", "<b>", "&lt;"), 1)
    tab = visit(write_picture(tmp_path / "a.html", said, title=HOSTILE, vocabulary=vocabulary),
                viewport={"width": 320, "height": 600})  # fmt: skip
    tab.locator(".word").nth(0).click()
    assert tab.locator(".word").nth(0).text_content() == HOSTILE and HOSTILE in tab.locator("#shown").text_content()
    assert tab.locator("h1").text_content() == HOSTILE and tab.title() == " ".join(HOSTILE.split(" "))
    assert tab.evaluate("typeof hacked") == "undefined" and tab.locator("img").count() == 1
    assert tab.evaluate("document.documentElement.scrollWidth") == 320


@pytest.mark.parametrize(("scheme", "dark"), [("light", False), ("dark", True)])
def test_light_and_dark(visit, tmp_path, scheme, dark):
    tab = visit(write_picture(tmp_path / "a.html"), color_scheme=scheme)
    page_colour = np.asarray(Image.open(io.BytesIO(tab.screenshot())).convert("L"))[2, 2]
    assert (page_colour < 60) == dark and (page_colour > 200) == (not dark)


def test_the_browser_refuses_other_scripts_and_all_addresses(browser, tmp_path):
    """The page's own policy, tried: a script that is not in the file does not run, no address is called."""
    with browser.new_page() as tab, socket.create_server(("127.0.0.1", 0)) as server:
        refused, address = [], f"http://127.0.0.1:{server.getsockname()[1]}/"
        tab.on("console", lambda message: refused.append(message.text))
        tab.goto(write_picture(tmp_path / "a.html").as_uri())
        tab.evaluate("""address => {
            const script = document.createElement("script");
            script.textContent = "hacked = 1";
            document.body.append(script);
            new Image().src = address;
        }""", address)  # fmt: skip
        assert tab.evaluate("address => fetch(address).then(() => 'fetched', () => 'refused')", address) == "refused"
        assert tab.evaluate("typeof hacked") == "undefined"
        server.settimeout(0.3)
        with pytest.raises(TimeoutError):
            server.accept()
    assert len(refused) >= 3 and all("Content Security Policy" in text for text in refused)


def test_attention_over_frames_has_a_curve_and_no_map(visit, tmp_path):
    alpha = np.random.default_rng(5).dirichlet(np.ones(5), 4)
    said = dataclasses.replace(explanation(), maps={"attention": Evidence("attention", None, alpha)})
    tab = visit(write_video(tmp_path / "a.html", said, view=look("attention")))
    tab.evaluate("choose([1], 1)")
    assert tab.evaluate("panels[0].mapNow()") is None and not tab.locator("#legend .bar").is_visible()
    e = heatmaps.temporal_saliency(alpha[1], SIGMA)
    assert tab.evaluate("peakFrame()") == int(np.argmax(e))
    tab.locator("#opacity").fill("1")
    tab.evaluate("goTo(1.0)")
    wait(tab, "!video.seeking")
    np.testing.assert_allclose(stage(tab)[20:-20, 20:-20].mean(), GREYS[10], atol=3)  # the bare clip


def test_attention_over_cells_states_its_share(visit, tmp_path):
    alpha = np.random.default_rng(6).dirichlet(np.ones(64), 4).reshape(4, 1, 8, 8)
    said = explanation(num_frames=1, kl=None)
    said.maps["attention"] = Evidence("attention", alpha, None)
    tab = visit(write_picture(tmp_path / "a.html", said, view=look("attention")))
    tab.evaluate("choose([2], 2)")
    drawn = heatmaps.upsample(alpha[2, 0], Geometry.of(72, 72), SIGMA)
    assert tab.locator("#most").text_content() == f"e = 1: {100 * drawn.max():.1f} % of the attention"
    tab.get_by_label("nll").check()
    same(map_of(tab), expected_map([2], 0, num_frames=1))


def test_a_portrait_medium_has_its_words_beside_it(visit, tmp_path):
    tab = visit(write_picture(tmp_path / "a.html", picture=np.full((800, 450, 3), 120, np.uint8)))
    stage_box, words = (tab.locator(name).bounding_box() for name in ("#stage", "#sentence"))
    assert words["x"] >= stage_box["x"] + stage_box["width"] and stage_box["height"] > 600
    assert words["y"] < stage_box["y"] + stage_box["height"] / 2
