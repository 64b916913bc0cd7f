"""Videos, storyboards and figures: what is drawn is where the numbers say, files are whole, mistakes leave nothing."""

import dataclasses
from fractions import Fraction

import av
import numpy as np
import pytest
from explanations import each, explanation, look
from PIL import Image, ImageColor

from s2vt.data.geometry import Geometry
from s2vt.data.phrases import Phrase, phrases_at
from s2vt.data.pictures import MediaError
from s2vt.errors import UserError
from s2vt.rendering import drawing, figure, gallery, storyboard, video
from s2vt.rendering.drawing import Shown
from s2vt.saliency import heatmaps, release

# T=2 words, m=3 sampled frames, F=11 source frames of 64x48 pixels.
WORDS = ("a", "star")
RATE = Fraction(30000, 1001)
TIMES = tuple(float(k / RATE) for k in (0, 5, 10))
SIZES = ((64, 64), (320, 240), (1920, 1080), (1080, 1920), (240, 720))
SIGMA = look().saliency.sigma_frames


def grey_clip(num_frames=11, height=48, width=64):
    return [np.full((height, width, 3), 100, np.uint8) for _ in range(num_frames)]


def losses():
    """Word 0: upper left cell, then both, then lower right. Word 1: the upper right cell throughout."""
    cells = np.full((2, 3, 8, 8), 6.0, np.float32)
    cells[0, 0, 1, 1] = cells[0, 1, 1, 1] = cells[0, 1, 6, 6] = cells[0, 2, 6, 6] = 1.0
    cells[1, :, 1, 6] = 2.0
    return cells, np.array([[3.0, 1.0, 2.0], [5.0, 4.0, 1.0]], np.float32)


def starry(size=(64, 48), times=TIMES, **maps):
    return explanation(WORDS, maps or {"nll": losses()}, Geometry.of(*size), times)


def attention_over_time():
    """Shares of the frames, without values in space."""
    return {"attention": (None, np.array([[0.1, 0.7, 0.2], [0.1, 0.1, 0.8]]))}


def write_video(path, frames=None, rate=RATE, said=None, phrases=None, view=None):
    clip = ((float(k / rate), frame) for k, frame in enumerate(grey_clip() if frames is None else frames))
    shown = Shown(said or starry(), each(WORDS) if phrases is None else phrases, view or look())
    video.saliency_video(path, clip, rate, [shown])


def decode(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)]
        return stream.codec_context, stream.average_rate, stream.duration * stream.time_base, frames


def arranged(words=WORDS, size=(64, 48), view=None, num_sampled=3, limit=video.LIMIT):
    """Where `saliency_video` puts its tiles."""
    view = view or look()
    notes = video._words_of(video.small_print(num_sampled, each(words), view))
    return video.arrange(words, len(words), Geometry.of(*size), notes, view.layout, limit)


def tile_pixel(frame, tiles, tile, share_x, share_y):
    """Mean colour of a small patch at a relative place of one tile's picture."""
    x, y = tiles.corner(tile)
    x, y = x + round(share_x * tiles.width), y + round(share_y * tiles.height)
    return frame[y - 4 : y + 5, x - 4 : x + 5].mean(axis=(0, 1))


def read(path):
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


# --- maps over pictures


def test_overlay_by_hand():
    picture = drawing.Backdrop(np.full((2, 3, 3), (200, 100, 50), np.uint8))
    out = np.asarray(drawing.overlay(picture, np.array([[0.0, 1.0, 0.5]] * 2), "inferno"))
    # e = 0: grey 124; 15 % of the way to it; 55 % of that
    np.testing.assert_allclose(out[0, 0], (104, 57, 34), atol=1)
    # e = 1: 55 % of inferno's last colour (252, 255, 164), 45 % of the picture
    np.testing.assert_allclose(out[1, 1], (229, 185, 113), atol=1)
    assert out.shape == (2, 3, 3) and out.dtype == np.uint8
    np.testing.assert_array_equal(np.asarray(drawing.overlay(picture, None, "inferno")), np.asarray(picture.lit))


def test_overlay_gets_lighter_with_saliency_and_keeps_the_picture_visible():
    e = np.tile(np.linspace(0, 1, 40), (2, 1))
    picture = np.stack([np.full((40, 3), 60), np.full((40, 3), 180)]).astype(np.uint8)
    light = np.asarray(drawing.overlay(drawing.Backdrop(picture), e, "inferno")).astype(int).sum(axis=-1)
    assert (np.diff(light[0]) >= -2).all() and light[0, -1] > light[0, 0] + 300
    assert (light[1] - light[0] > 100).all()


def test_overlay_keeps_the_colours_of_dark_pictures():
    """Where e = 0, at least four fifths of the difference between channels, apart from the dimming."""
    dark = np.random.default_rng(0).integers(0, 60, (5, 7, 3), np.uint8)
    out = np.asarray(drawing.overlay(drawing.Backdrop(dark), np.zeros((5, 7)), "inferno")).astype(float)
    assert np.ptp(out / 0.55, axis=-1).mean() > 0.8 * np.ptp(dark.astype(float), axis=-1).mean()


def test_resized_geometry_is_the_same_place_of_the_picture():
    geometry = Geometry.of(50, 40, "center_crop")
    points = np.array([[3.0, 7.0], [41.5, 22.25]])
    drawn = drawing.resized(geometry, 150, 80)
    np.testing.assert_allclose(drawn.to_input(points * (3, 2)), geometry.to_input(points), rtol=1e-12, strict=True)


@pytest.mark.parametrize("normalize", ["clip", "frame"])
def test_what_is_drawn_reaches_from_0_to_1(normalize):
    evidence = np.random.default_rng(0).random((2, 3, 8, 8), np.float32)
    view = look(normalize=normalize)
    geometry = drawing.coarse(Geometry.of(64, 48))
    drawn = view.upsample(drawing.e_to_draw(evidence, geometry, view), geometry)
    axes = {"clip": (1, 2, 3), "frame": (2, 3)}[normalize]
    np.testing.assert_allclose(drawn.min(axis=axes), 0, atol=1e-6)
    np.testing.assert_allclose(drawn.max(axis=axes), 1, atol=1e-6)


def test_the_releases_maps_are_drawn_as_they_are():
    said, view, geometry = starry(times=TIMES), look(normalize="release"), Geometry.of(64, 48)
    phrases = [Phrase("star", (1,)), Phrase("a star", (0, 1))]
    e, curve = drawing.drawn_evidence(said, phrases, view)
    np.testing.assert_allclose(e[0], release.saliency(-losses()[0])[1], rtol=1e-5)  # beside "a", which is not drawn
    np.testing.assert_allclose(e[1], release.saliency(-losses()[0].sum(axis=0)[None])[0], rtol=1e-5)
    np.testing.assert_allclose(curve, e.mean(axis=(2, 3)))
    assert drawing.e_to_draw(e, geometry, view) is e and view.sigma_frames == 0
    np.testing.assert_array_equal(view.upsample(e, geometry), release.upsample(e, geometry))
    with pytest.raises(UserError, match="attention.*space.*release"):
        drawing.drawn_evidence(
            starry(times=TIMES, **attention_over_time()), phrases, look("attention", normalize="release")
        )


def test_evidence_of_phrases_is_summed_and_its_shapes_are_checked():
    said = starry(times=TIMES)
    cells, frames = drawing.drawn_evidence(said, [Phrase("a star", (0, 1))], look())
    np.testing.assert_allclose(cells, -losses()[0].sum(axis=0)[None])
    np.testing.assert_allclose(frames, -losses()[1].sum(axis=0)[None])
    for changed, phrases, fact in (
        (said, [], "phrase"),
        (starry(kl=losses()), each(WORDS), "'nll'.*kl"),
        (starry(times=TIMES[:2]), each(WORDS), r"m = 2 .*\(2, 3, 8, 8\)"),
        (starry(times=()), each(WORDS), r"m = 1 .*\(2, 3, 8, 8\)"),
    ):
        with pytest.raises(ValueError, match=fact):
            drawing.drawn_evidence(changed, phrases, look())


def test_a_kind_without_values_for_the_medium_is_the_users_mistake():
    with pytest.raises(UserError, match="attention.*space.*picture"):
        drawing.drawn_evidence(starry(times=(), **attention_over_time()), each(WORDS), look("attention"))
    with pytest.raises(UserError, match="query loss.*time.*video"):
        drawing.drawn_evidence(starry(nll=(losses()[0], None)), each(WORDS), look())


# --- legends


def test_legends_of_pictures_do_not_speak_of_frames():
    for normalize in drawing.NORMALIZATIONS:
        view = look(normalize=normalize)
        assert not {"frame", "clip", "sampled"} & set(view.scaling(moving=False).replace(";", "").split())
        assert view.scaling() == drawing.NORMALIZATIONS[normalize]


def test_small_print_names_the_kind_of_map_and_what_is_marked():
    colour, bars, mark = video.small_print(26, each(["the", "star"]), look("kl"))
    assert "representativeness (Eq. 6)" in colour and "26 sampled frames" in bars and "σ = 0.75" in bars
    assert "the content word" in mark
    assert "content" not in video.small_print(26, each(["the", "of"]), look())[2]  # then any word can be marked
    assert "the content phrase" in video.small_print(26, phrases_at(["the", "star"], [(0, 1)]), look())[2]
    assert "attention" in video.small_print(26, each(WORDS), look("attention"), without_maps=True)[0]


def test_content_phrases():
    assert drawing.content_phrases(each(["The", "star", "is", "."])) == [1]
    assert drawing.content_phrases(each(["the", "of"])) == []
    assert drawing.content_phrases(phrases_at(["the", "star", "is"], [(0, 1), (2,)])) == [0]


# --- layout and text


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("num_tiles", (1, 2, 6, 11, 25))
def test_tiles_lie_inside_the_canvas_apart_and_keep_the_shape(num_tiles, size):
    tiles = video.tiling(num_tiles, *size)
    assert tiles.canvas[0] % 2 == tiles.canvas[1] % 2 == 0
    assert tiles.canvas[0] <= 1920 and tiles.canvas[1] <= 1082
    assert tiles.columns * tiles.rows >= num_tiles > (tiles.rows - 1) * tiles.columns
    assert abs(tiles.height - tiles.width * size[1] / size[0]) <= 0.5
    taken = np.zeros(tiles.canvas[::-1], int)
    for tile in range(num_tiles):
        x, y = tiles.corner(tile)
        assert min(x, y - tiles.band) >= 0
        assert tiles.label(tile) <= x and x + tiles.width <= tiles.label(tile) + tiles.cell
        x = tiles.label(tile)
        taken[y - tiles.band : y + tiles.height + tiles.strip, x : x + tiles.cell] += 1
    assert taken.max() == 1
    assert taken.sum() == num_tiles * tiles.cell * (tiles.band + tiles.height + tiles.strip)
    assert not taken[-tiles.footer :].any()


def test_tiles_of_24_words_are_large_enough_to_read():
    assert all(video.tiling(25, *size).width >= 150 for size in SIZES[:4])


def test_long_labels_are_shrunk_then_cut():
    text, font = drawing.fit("star", 200, 20)
    assert (text, font.size) == ("star", 20)
    text, font = drawing.fit("incomprehensibilities", 170, 20)
    assert text == "incomprehensibilities" and 15 <= font.size < 20 and font.getlength(text) <= 170
    text, font = drawing.fit("incomprehensibilities", 60, 20)
    assert text.endswith("…") and text.startswith("in") and font.getlength(text) <= 60


@pytest.mark.parametrize("layout", drawing.LAYOUTS)
@pytest.mark.parametrize("limit", [(1920, 1080), (480, 360), (160, 160)])
@pytest.mark.parametrize("size", SIZES)
def test_every_layout_at_any_size_has_room_for_its_words(size, limit, layout):
    words = [f"incomprehensible{k}" for k in range(24)]
    for n in (1, 24):
        tiles = arranged(words[:n], size, look(layout=layout), 26, limit)
        assert max(tiles.width, tiles.height) >= 60 and tiles.cell >= video.NARROWEST
        assert tiles.canvas[0] <= video.WIDEST
        assert tiles.rows == 1 or layout == "grid"
        inside = tiles.canvas[0] - 2 * video._pad(tiles)
        assert tiles.label(0) >= 0 and tiles.corner(0)[1] - tiles.band >= tiles.header
        last = tiles.corner((1 if layout == "single" else n + 1) - 1)[1] + tiles.height + tiles.strip
        assert last <= tiles.canvas[1] - tiles.footer
        size_of_text = video._sentence_size(tiles)
        lines = drawing.wrap(words[:n], inside - size_of_text, drawing.font_of(size_of_text, True))
        assert tiles.header == 14 + len(lines) * round(1.5 * size_of_text)  # no more room than that
        assert tiles.canvas[1] - tiles.footer - last <= 2 * tiles.gap + 2  # both are made even


# --- the video


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "new" / "saliency.mp4"
    write_video(path)
    return decode(path), path


def test_video_is_what_every_player_plays(made):
    (codec, rate, duration, frames), path = made
    assert (codec.name, codec.pix_fmt) == ("h264", "yuv420p")
    assert rate == Fraction(30000, 1001)
    assert len(frames) == 11
    assert duration == pytest.approx(11 * 1001 / 30000, abs=1e-3)
    assert [p.name for p in path.parent.iterdir()] == ["saliency.mp4"]


def test_video_is_hot_where_and_when_the_loss_is_small(made):
    tiles = arranged()
    frames = made[0][3]
    low, high = (32 * np.array([1, 6]) + 37.5) / 299
    np.testing.assert_allclose(tile_pixel(frames[4], tiles, 0, 0.5, 0.5), 100, atol=3)  # the source itself
    cold = tile_pixel(frames[0], tiles, 1, 0.5, 0.5)
    np.testing.assert_allclose(cold, 55, atol=3)  # 100 dimmed, no tint
    assert tile_pixel(frames[0], tiles, 1, low, low)[0] > cold[0] + 100
    np.testing.assert_allclose(tile_pixel(frames[0], tiles, 1, high, high), cold, atol=3)
    assert tile_pixel(frames[10], tiles, 1, high, high)[0] > cold[0] + 100
    np.testing.assert_allclose(tile_pixel(frames[10], tiles, 1, low, low), cold, atol=3)
    for frame in frames:  # the other word's evidence stays where it is
        assert tile_pixel(frame, tiles, 2, high, low)[0] > cold[0] + 100


def test_maps_change_evenly_between_sampled_frames(made):
    tiles = arranged()
    low = (32 + 37.5) / 299
    light = np.array([tile_pixel(frame, tiles, 1, low, low).sum() for frame in made[0][3]])
    assert np.ptp(light[:6]) < 12  # both samples hot: no flicker between them
    assert (np.diff(light[5:]) < -10).all()  # then it fades step by step


def test_cursor_moves_and_bars_follow_alpha(made):
    tiles = arranged()
    x, y = tiles.corner(1)
    strips = [frame[y + tiles.height : y + tiles.height + tiles.strip, x : x + tiles.width] for frame in made[0][3]]
    places = [int(strip[2:-2].mean(axis=(0, 2)).argmax()) for strip in strips]
    np.testing.assert_allclose(places, (np.arange(11) / 5 + 0.5) / 3 * tiles.width, atol=3)
    filled = (strips[0][:, [tiles.width // 3 + 60, tiles.width * 5 // 6]].mean(axis=-1) > 70).sum(axis=0)
    alpha = heatmaps.temporal_alpha(-losses()[1], SIGMA)[0]
    assert filled[0] == pytest.approx(tiles.strip - 6, abs=1)  # the highest: full height
    assert filled[1] == pytest.approx((tiles.strip - 6) * alpha[2] / alpha[1], abs=1)


def test_a_second_curve_lies_over_the_bars_of_verbs_of_change_alone():
    tiles, colour = arranged(), np.array(ImageColor.getrgb(video.BESIDE))
    with_change = explanation(WORDS, {"nll": losses()}, Geometry.of(64, 48), TIMES, of_change=(1,))
    plain, drawn = (first_frame(said, look(), each(WORDS)) for said in (starry(), with_change))
    x, top = tiles.corner(2)[0], tiles.corner(2)[1] + tiles.height
    above = top + tiles.strip  # the small print has a note more
    changed = np.argwhere((plain[:above] != drawn[:above]).any(axis=-1))
    assert changed[:, 1].min() >= x and changed[:, 0].min() >= top  # the bars of "star" only
    strip = drawn[top : top + tiles.strip, x : x + tiles.width]
    orange = np.abs(strip - colour).sum(axis=-1) < 60
    # "star" loses 5, 4, 1: changes of 0.5, 2 and 1.5 nats
    e = heatmaps.temporal_saliency(np.array([0.5, 2, 1.5]), SIGMA)
    for share in (0.35, 0.5, 0.6, 0.7):
        rows = np.flatnonzero(orange[:, round(share * tiles.width)])
        there = np.interp(share, (np.arange(3) + 0.5) / 3, e)
        assert rows.mean() == pytest.approx(tiles.strip - 4 - there * (tiles.strip - 8), abs=1.5)


def test_the_small_print_names_the_second_curve_where_there_is_one():
    clip = [(0.0, grey_clip()[0])]
    sizes = []
    for of_change in ((), (1,)):
        said = explanation(WORDS, {"nll": losses()}, Geometry.of(64, 48), TIMES, of_change=of_change)
        sizes.append(video.saliency_frames(clip, 25, [Shown(said, each(WORDS), look())])[0])
    assert sizes[1][1] > sizes[0][1]  # a line more
    assert (
        look().beside().startswith("saliency over time, change of the subject's loss, of phrases with a verb of change")
    )
    assert look("change").beside().startswith("saliency over time, query loss (Eq. 7), scaled")


def test_words_stand_above_the_evidence_and_the_leading_one_is_marked(made):
    tiles, mark = arranged(), np.array(ImageColor.getrgb(video.MARK))
    marked = []
    for frame in made[0][3]:
        bands = []
        for tile in (1, 2):
            x, y = tiles.corner(tile)
            band = frame[y - tiles.band : y, x : x + tiles.width // 2]
            middle = np.median(band, axis=(0, 1))
            bands.append(np.abs(middle - mark).max() < 12)
            assert np.abs(band - middle).sum(axis=-1).max() > 300  # letters stand out, dark or light
        marked.append(bands)
    # "star", the only content word, leads throughout
    assert marked == [[False, True]] * len(marked)


def test_the_leader_is_the_largest_alpha_and_does_not_flicker():
    times = np.arange(40) / 10
    noise = np.random.default_rng(0).normal(0, 0.1, (3, 40))
    level = np.stack([times < 2, times >= 2, np.full(40, 9)]) + 0.2 + np.abs(noise)
    leader = video.Leader(level / level.sum(axis=1, keepdims=True), times, [0, 1])
    found = [leader.at(time) for time in np.arange(0, 3.9, 0.04)]
    assert (found[0], found[-1]) == (0, 1) and np.abs(np.diff(found)).sum() == 1
    assert abs(found.index(1) * 0.04 - 2) < 0.2


def first_frame(said, view, phrases=None, frame=None):
    clip = [(0.0, grey_clip()[0] if frame is None else frame)]
    _, pictures = video.saliency_frames(clip, 25, [Shown(said, phrases or each(WORDS), view)])
    return next(pictures).astype(int)


def test_single_layout_fades_from_one_leaders_map_to_the_next():
    view, tiles = look(layout="single"), arranged(view=look(layout="single"))
    low, high = (32 * np.array([1, 6]) + 37.5) / 299
    frame = first_frame(starry(), view)  # of "star": the upper right cell
    assert tile_pixel(frame, tiles, 0, high, low)[0] > tile_pixel(frame, tiles, 0, low, low)[0] + 100
    fade, maps = video._Fade(2, frame_rate=20), np.stack([np.zeros((8, 8)), np.ones((8, 8))])
    found = [fade.mix(maps, lead)[0, 0, 0] for lead in (0, 1, 1, 1, 1)]
    np.testing.assert_allclose(found, [0, 1 / 3, 5 / 9, 19 / 27, 65 / 81])


@pytest.mark.parametrize("layout", drawing.LAYOUTS)
def test_attention_over_time_leaves_pictures_plain(layout):
    view = look("attention", layout=layout)
    said = starry(**attention_over_time())
    frame = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    drawn = first_frame(said, view, frame=frame)
    notes = video._words_of(video.small_print(3, each(WORDS), view, without_maps=True))
    tiles = video.arrange(WORDS, 2, said.geometry, notes, layout)
    source = np.asarray(drawing.shrunk(frame, (tiles.width, tiles.height)))
    for tile in range(1 if layout == "single" else 3):
        x, y = tiles.corner(tile)
        np.testing.assert_array_equal(drawn[y : y + tiles.height, x : x + tiles.width], source)


def test_sigma_of_the_look_is_that_of_the_drawn_maps():
    """One hot cell: without a Gaussian, its neighbours' centres stay cold."""
    low, beside = (32 * np.array([1, 2]) + 37.5) / 299
    sharp, smooth = (tile_pixel(first_frame(starry(), look(sigma_cells=s)), arranged(), 1, beside, low) for s in (0, 1))
    np.testing.assert_allclose(sharp, 55, atol=6)
    assert smooth.sum() > sharp.sum() + 60


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_animations_are_smaller_and_keep_frames_and_duration(tmp_path, suffix):
    write_video(tmp_path / f"v{suffix}")
    with Image.open(tmp_path / f"v{suffix}") as image:
        assert image.n_frames == 11 and image.info["loop"] == 0
        assert image.width <= video.ANIMATION_LIMIT[0] and image.height <= video.ANIMATION_LIMIT[1]
        durations = []
        for k in range(image.n_frames):
            image.seek(k)
            image.load()
            durations.append(image.info["duration"])
        assert sum(durations) == pytest.approx(11 * 1001 / 30, abs=40)


def test_clip_shorter_than_the_sample_and_portrait(tmp_path):
    """Sampled at 0, 0 and 0.04 seconds; colours survive the way through BT.601."""
    y, x = np.mgrid[:120, :90] / 120
    frames = [np.uint8(255 * np.stack([x, y, 0 * x + shade], axis=-1)) for shade in (0.2, 0.8)]
    write_video(tmp_path / "v.mp4", frames, 25, starry((90, 120), (0, 0, 0.04)))
    _, rate, _, decoded = decode(tmp_path / "v.mp4")
    assert rate == 25 and len(decoded) == 2
    tiles = arranged(size=(90, 120))
    x, y = tiles.corner(0)
    shown = decoded[1][y : y + tiles.height, x : x + tiles.width]
    expected = np.asarray(drawing.shrunk(frames[1], (tiles.width, tiles.height)))
    assert np.abs(shown - expected.astype(int)).mean() < 4


def test_same_input_same_file(tmp_path):
    for name in "ab":
        write_video(tmp_path / f"{name}.mp4", grey_clip(3))
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


# --- the storyboard


def write_storyboard(path, words=WORDS, size=(64, 48), m=3, phrases=None, view=None):
    cells = np.random.default_rng(0).random((len(words), m, 8, 8), np.float32)
    said = explanation(
        words, {"nll": (cells, np.tile(np.linspace(3, 1, m), (len(words), 1)))}, Geometry.of(*size), np.arange(m) / 2
    )
    frames = np.full((m, size[1], size[0], 3), 120, np.uint8)
    shown = Shown(said, phrases or each(words), view or look(sigma_cells=0.75))
    storyboard.storyboard(path, [shown], frames, (0, m / 2))
    return read(path)


def test_most_salient_frames():
    assert storyboard.most_salient([0.0, 0.5, 1.0, 0.9, 0.4, 0.3]) == [2, 4, 0]
    assert storyboard.most_salient([0.3, 0.2, 1.0]) == [2, 0, 1]  # neighbours where nothing else is left
    assert storyboard.most_salient([0.7]) == [0]
    assert storyboard.most_salient(np.zeros(9)) == [0, 2, 4]
    assert storyboard.most_salient(np.arange(130)) == [129, 119, 109]  # of many frames, a thirteenth of the clip apart


def test_storyboard_has_a_row_for_each_phrase(tmp_path):
    words = "a red star".split()
    heights = [write_storyboard(tmp_path / "s.png", words, phrases=each(words)[:n]).shape[0] for n in (1, 2, 3)]
    assert heights[1] - heights[0] == heights[2] - heights[1] > 0


def test_storyboard_greys_darken_with_saliency(tmp_path):
    unsmoothed = dataclasses.replace(look(), saliency=dataclasses.replace(look().saliency, sigma_frames=0.0))
    page = write_storyboard(tmp_path / "s.png", ["star"], view=unsmoothed)
    # Times 0, 0.5, 1 of 1.5 s, e = 0, 0.5, 1: greys 250, 142, 35, from 0 to 0.25 s, to 0.75 s, to the end.
    rows = [row for row in page if (row == (35, 35, 35)).all(axis=-1).sum() > 200]
    assert len(rows) > 15
    greys = [tuple(int((row == grey).all(axis=-1).sum()) for grey in (250, 142, 35)) for row in rows]
    light, middle, dark = np.median(greys, axis=0)
    np.testing.assert_allclose((light, middle, dark), (640 / 6, 640 / 3, 640 / 2), atol=8)
    # The scale below runs from 250 to 35 between its frame's edges, as the greys do.
    x = 28 + storyboard.SMALL * np.array([1, 1 + drawing.BAR])
    np.testing.assert_allclose(page[-48, x[0] + 2 : x[1] - 2, 0], np.linspace(250, 35, x[1] - x[0])[2:-2], atol=3)


@pytest.mark.parametrize(("size", "n", "m"), [((64, 64), 7, 5), ((1920, 1080), 2, 2), ((240, 720), 1, 1)])
def test_storyboard_of_any_shape_and_length(tmp_path, size, n, m):
    page = write_storyboard(tmp_path / "s.png", [f"word{t}" for t in range(n)], size, m)
    assert (page[:, [0, -1]] == 255).all() and (page[[0, -1]] == 255).all()  # nothing runs over the margins


def test_storyboard_of_many_words_has_the_rows_with_the_largest_alpha(tmp_path, monkeypatch):
    rows, legends = [], []
    draw_row, omitted = storyboard._draw_row, storyboard._omitted
    monkeypatch.setattr(storyboard, "_draw_row", lambda *a: (rows.append(a[1].phrases[a[2]].name), draw_row(*a)))
    monkeypatch.setattr(storyboard, "_omitted", lambda *a: legends.append(omitted(*a)) or legends[-1])
    words = [f"word{t}" for t in range(25)]
    frames = np.zeros((25, 26))
    frames[np.arange(25), np.arange(25)] = -2.0  # a word's evidence in one frame; odd words' in half of the others, too
    frames[1::2, ::2] -= 1.0
    said = explanation(words, {"nll": (np.zeros((25, 26, 8, 8)), frames)}, Geometry.of(64, 48), np.arange(26) / 2)
    shown = Shown(said, each(words), look())
    storyboard.storyboard(tmp_path / "s.png", [shown], np.zeros((26, 48, 64, 3), np.uint8), (0, 13))
    assert len(rows) == 12 and rows == [word for word in words[::2] if word in rows]
    assert legends[0][:3] == ["12", "of", "25"]
    assert [name.strip(",") for name in legends[0][-13:]] == [word for word in words if word not in rows]
    assert read(tmp_path / "s.png").shape[0] < 2700


def test_storyboard_of_attention_has_plain_frames(tmp_path):
    said = starry(**attention_over_time())
    frames = np.full((3, 48, 64, 3), (120, 90, 60), np.uint8)
    storyboard.storyboard(tmp_path / "s.png", [Shown(said, each(WORDS), look("attention"))], frames, (0, 1))
    width, height = drawing.size_of(said.geometry, 46_000, 420)
    assert (read(tmp_path / "s.png") == (120, 90, 60)).all(axis=-1).sum() == 2 * 3 * width * height


def test_the_releases_maps_have_no_second_curve():
    said = explanation(WORDS, {"nll": losses()}, Geometry.of(64, 48), (0.0, 0.5, 1.0), of_change=(1,))
    assert list(drawing.second_curves(said, each(WORDS), look())) == [1]
    assert drawing.second_curves(said, each(WORDS), look(normalize="release")) == {}


def test_storyboard_has_a_second_curve_for_verbs_of_change_alone(tmp_path):
    pages, frames = [], np.zeros((3, 48, 64, 3), np.uint8)
    for of_change in ((), (1,)):
        said = explanation(WORDS, {"nll": losses()}, Geometry.of(64, 48), (0.0, 0.5, 1.0), of_change=of_change)
        storyboard.storyboard(tmp_path / "s.png", [Shown(said, each(WORDS), look())], frames, (0, 1))
        pages.append(read(tmp_path / "s.png"))
    plain, drawn = pages
    assert drawn.shape[0] == plain.shape[0] + storyboard.NOTE and drawn.shape[1] >= plain.shape[1]
    end = plain.shape[0] - 100  # above the legend
    changed = np.argwhere((plain[:end] != drawn[:end, : plain.shape[1]]).any(axis=-1))
    board = storyboard.Board.of(said, each(WORDS), ("", ""), [])
    assert changed[:, 0].min() > board.y(1) and changed[:, 1].min() >= board.left - 2
    assert changed[:, 1].max() <= board.left + storyboard.PLOT + 2
    # "star" loses 5, 4, 1: changes of 0.5, 2 and 1.5 nats; the line starts at 0 and is dark
    ink = np.array(ImageColor.getrgb(drawing.INK))
    start = drawn[board.y(1) : board.y(2), board.left + 3] - ink
    low = board.y(1) + board.row - storyboard.Plot.GREYS - 6
    rows = board.y(1) + np.flatnonzero(np.abs(start).sum(axis=-1) < 60)
    assert any(abs(row - low) < 6 for row in rows)


def test_wrong_number_of_thumbnails(tmp_path):
    with pytest.raises(ValueError, match="m = 3 thumbnails, received 2"):
        storyboard.storyboard(tmp_path / "s.png", [Shown(starry(), each(WORDS), look())], grey_clip(2), (0, 1))
    assert not list(tmp_path.iterdir())


# --- the figure of a picture


def write_figure(path, losses_of_cells, size, names=None, boxes=(), view=None):
    """Phrases of one word each over a black picture."""
    names = names or [f"word{k}" for k in range(len(losses_of_cells))]
    said = explanation(
        " ".join(names).split(), {"nll": (np.asarray(losses_of_cells)[:, None], None)}, Geometry.of(*size)
    )
    phrases = [Phrase(name, (k,), boxes=boxes) for k, name in enumerate(names)]
    figure.picture_figure(path, np.zeros((size[1], size[0], 3), np.uint8), [Shown(said, phrases, view or look())])
    return read(path)


def second_panel(size):
    """Corner and size of the first map: (x, y), (width, height)."""
    width, height = figure.panel_size(Geometry.of(*size))
    return (24 + width + 16, 24 + 36), (width, height)


@pytest.mark.parametrize("cell", ((2, 5), (0, 0), (7, 3)))
@pytest.mark.parametrize("size", ((320, 240), (90, 160)))
def test_star_lies_on_the_maximum(tmp_path, size, cell):
    loss = np.full((8, 8), 4.0)
    loss[cell] = 1.0
    page = write_figure(tmp_path / "f.png", [loss], size)
    (x, y), (width, height) = second_panel(size)
    rows, columns = np.nonzero((page[y : y + height, x : x + width] == 255).all(axis=-1))
    maximum = heatmaps.argmax_point(heatmaps.upsample(-loss, Geometry.of(*size), look().saliency.sigma_cells))
    expected = np.multiply(maximum, width / size[0])
    np.testing.assert_allclose((columns.mean() + 0.5, rows.mean() + 0.5), expected, atol=1.5)


@pytest.mark.parametrize("size", ((1600, 60), (60, 1600), (320, 240)))
def test_stars_stay_inside_their_panels(tmp_path, size):
    loss = np.full((2, 8, 8), 4.0)
    loss[0, 0, 0] = loss[1, 7, 7] = 1.0
    width, height = figure.panel_size(Geometry.of(*size))
    for k in range(2):
        page = write_figure(tmp_path / "f.png", loss[k : k + 1], size, view=look(layout="single"))
        around = page[24 + 36 - 4 : 24 + 36 + height + 4, 20 : 24 + width + 4].copy()
        assert (around[4:-4, 4:-4] == 255).all(axis=-1).any()  # the star
        around[4:-4, 4:-4] = 255
        assert (around == 255).all()


def test_boxes_stand_on_their_edges_and_a_flat_map_has_no_star(tmp_path):
    page = write_figure(tmp_path / "f.png", np.ones((1, 8, 8)), (320, 240), boxes=((80, 60, 160, 180),))
    (x, y), (width, height) = second_panel((320, 240))
    rows, columns = np.nonzero((page[y : y + height, x : x + width] == 255).all(axis=-1))
    extent = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    np.testing.assert_allclose(extent, np.array([80, 60, 160, 180]) * width / 320, atol=1)
    assert len(rows) < 4 * (width + height)  # an outline, nothing inside


def test_figure_of_attention(tmp_path):
    """Attention is a share: the star is where it is largest."""
    alpha = np.full((1, 1, 8, 8), 0.01)
    alpha[0, 0, 2, 5] = 0.4
    said = explanation(["star"], {"attention": (alpha, None)}, Geometry.of(320, 240))
    shown = Shown(said, each(["star"]), look("attention"))
    figure.picture_figure(tmp_path / "f.png", np.zeros((240, 320, 3), np.uint8), [shown])
    (x, y), (width, height) = second_panel((320, 240))
    rows, columns = np.nonzero((read(tmp_path / "f.png")[y : y + height, x : x + width] == 255).all(axis=-1))
    centre = (32 * np.array([5, 2]) + 37.5) / 299 * (width, height)
    np.testing.assert_allclose((columns.mean() + 0.5, rows.mean() + 0.5), centre, atol=width / 40)


def test_figure_of_many_long_phrases(tmp_path):
    name = "a very long noun phrase that no panel of this size could ever show in full"
    loss = np.random.default_rng(0).random((9, 8, 8))
    page = write_figure(tmp_path / "f.png", loss, (64, 64), [name] * 9, ((3, 4, 30, 40),))
    assert page.shape[1] <= 2048 and (page[:, [0, -1]] == 255).all()


@pytest.mark.parametrize("normalize", drawing.NORMALIZATIONS)
@pytest.mark.parametrize("size", ((64, 64), (90, 160)))
def test_no_note_is_cut_off(tmp_path, size, normalize):
    loss = np.random.default_rng(0).random((1, 8, 8))
    view = look(normalize=normalize, layout="single")
    pages = [
        write_figure(tmp_path / "f.png", loss, size, ["x"], ((8, 6, 30, 40),), view),
        write_storyboard(tmp_path / "s.png", ["x"], size, m=1, view=view),
    ]
    for page in pages:
        assert (page[:, -20:] == 255).all() and (page[-6:] == 255).all()


# --- thumbnails


def test_a_thumbnail_shows_the_content_word_in_the_frame_of_its_largest_alpha():
    frames = np.stack([np.full((48, 64, 3), shade, np.uint8) for shade in (40, 80, 120)])
    plain = gallery.thumbnail(frames, starry(**attention_over_time()), each(WORDS), look("attention"))
    assert plain.shape == (240, 320, 3) and (plain == 120).all()  # "star", 0.8 in the last frame
    drawn = gallery.thumbnail(frames, starry(), each(WORDS), look()).astype(int)
    low, high = (np.multiply((32 * k + 37.5) / 299, (240, 320)).astype(int) for k in (1, 6))
    assert drawn[low[0], high[1]].sum() > drawn[low[0], low[1]].sum() + 200  # "star": the upper right cell
    np.testing.assert_allclose(drawn[high[0], low[1]], 0.55 * 120, atol=1)


# --- mistakes


def broken_clip():
    yield from grey_clip(3)
    raise MediaError("the disc with the source is gone")


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "v.mp4"
    path.write_bytes(b"old")
    with pytest.raises(MediaError, match="disc with the source"):
        write_video(path, broken_clip())
    with pytest.raises(ValueError, match="no frame"):
        write_video(path, [])
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_unwritable_outputs_are_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.mp4").mkdir()
    for path in (tmp_path / "file" / "v.mp4", tmp_path / "folder.mp4"):
        with pytest.raises(UserError, match="cannot write") as caught:
            write_video(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"\.mp4"):
        write_video(tmp_path / "v.avi")
    with pytest.raises(UserError, match=r"\.png, \.pdf, \.svg"):
        write_storyboard(tmp_path / "s.jpg")
    with pytest.raises(UserError, match="'rainbowish'"):
        write_video(tmp_path / "v.mp4", view=look(cmap="rainbowish"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder.mp4"]
