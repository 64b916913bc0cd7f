"""Pictures of saliency: what is drawn is where the numbers say, files are whole, mistakes leave nothing behind."""

from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from s2vt.data.geometry import Geometry
from s2vt.data.phrases import Phrase
from s2vt.data.pictures import MediaError
from s2vt.errors import UserError
from s2vt.rendering import drawing, figure, storyboard, video
from s2vt.saliency import heatmaps
from s2vt.synthetic.drawing import Renderer
from s2vt.synthetic.scenes import sample_scene

# n=2 words, m=3 sampled frames, F=11 source frames of 64x48 pixels.
WORDS = ("a", "star")
RATE = Fraction(30000, 1001)
SAMPLED = (0, 5, 10)
SIZES = ((64, 64), (320, 240), (1920, 1080), (1080, 1920), (240, 720))


def grey_clip(num_frames=11, height=48, width=64):
    return [np.full((height, width, 3), 100, np.uint8) for _ in range(num_frames)]


def each(words):
    return [Phrase(word, (k,)) for k, word in enumerate(words)]


def arranged(words=WORDS, size=(64, 48), layout="grid", num_sampled=3, limit=video.LIMIT):
    """Where `saliency_video` puts its tiles."""
    notes = video.small_print(num_sampled, "clip", "query loss (Eq. 7)")
    return video.arrange(words, len(words), Geometry.of(*size), notes, layout, limit)


def losses():
    """Word 0: upper left cell, then both, then lower right. Word 1: the upper right cell throughout."""
    loss = np.full((2, 3, 8, 8), 6.0, np.float32)
    loss[0, 0, 1, 1] = loss[0, 1, 1, 1] = loss[0, 1, 6, 6] = loss[0, 2, 6, 6] = 1.0
    loss[1, :, 1, 6] = 2.0
    return loss, np.array([[3.0, 1.0, 2.0], [5.0, 4.0, 1.0]], np.float32)


def write_video(path, frames=None, **changes):
    loss, loss_pooled = losses()
    times = [float(k / RATE) for k in SAMPLED]
    arguments = {"frame_rate": RATE, "sentence": WORDS, "phrases": each(WORDS), "geometry": Geometry.of(64, 48),
                 "loss": loss, "loss_pooled": loss_pooled, "sample_times": times} | changes  # fmt: skip
    frames = grey_clip() if frames is None else frames
    video.saliency_video(path, ((float(k / arguments["frame_rate"]), f) for k, f in enumerate(frames)), **arguments)


def decode(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)]
        return stream.codec_context, stream.average_rate, stream.duration * stream.time_base, frames


def tile_pixel(frame, tiles, tile, share_x, share_y):
    """Mean colour of a small patch at a relative place of one tile's picture."""
    x, y = tiles.corner(tile)
    x, y = x + round(share_x * tiles.width), y + round(share_y * tiles.height)
    return frame[y - 4 : y + 5, x - 4 : x + 5].mean(axis=(0, 1))


# --- maps over pictures


def test_overlay_by_hand():
    picture = np.full((2, 3, 3), (200, 100, 50), np.uint8)
    e = np.array([[0.0, 1.0, 0.5]] * 2)
    out = drawing.overlay(picture, e, cmap="inferno")
    # grey 124; 45 % of the way to it; 55 % of that
    np.testing.assert_allclose(out[0, 0], (91, 61, 46), atol=1)
    # 55 % of inferno's last colour (252, 255, 164), 45 % of the picture
    np.testing.assert_allclose(out[1, 1], (229, 185, 113), atol=1)
    assert out.shape == (2, 3, 3) and out.dtype == np.uint8


def test_overlay_gets_lighter_with_saliency_and_keeps_the_picture_visible():
    e = np.tile(np.linspace(0, 1, 40), (2, 1))
    picture = np.stack([np.full((40, 3), 60), np.full((40, 3), 180)]).astype(np.uint8)
    light = drawing.overlay(picture, e).astype(int).sum(axis=-1)
    assert (np.diff(light[0]) >= -2).all() and light[0, -1] > light[0, 0] + 300
    assert (light[1] - light[0] > 100).all()


def test_resized_geometry_is_the_same_place_of_the_picture():
    geometry = Geometry.of(50, 40, "center_crop")
    points = np.array([[3.0, 7.0], [41.5, 22.25]])
    drawn = drawing.resized(geometry, 150, 80)
    np.testing.assert_allclose(drawn.to_input(points * (3, 2)), geometry.to_input(points), rtol=1e-12, strict=True)


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


def test_informative_words():
    assert storyboard.informative("a woman is skating on the snow .".split()) == [1, 3, 6]
    assert storyboard.informative(["the", "."]) == [0, 1]
    assert storyboard.informative("the ball moves up".split()) == [1, 2, 3]


def test_most_salient_frames():
    assert storyboard.most_salient([0.0, 0.5, 1.0, 0.9, 0.4, 0.3]) == [2, 4, 0]
    assert storyboard.most_salient([0.3, 0.2, 1.0]) == [2, 0, 1]  # neighbours where nothing else is left
    assert storyboard.most_salient([0.7]) == [0]
    assert storyboard.most_salient(np.zeros(9)) == [0, 2, 4]


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
    alpha = heatmaps.temporal_alpha(losses()[1])[0]
    assert filled[0] == pytest.approx(tiles.strip - 6, abs=1)  # the highest: full height
    assert filled[1] == pytest.approx((tiles.strip - 6) * alpha[2] / alpha[1], abs=1)


def test_words_stand_above_the_evidence_and_the_leading_one_is_marked(made):
    tiles, mark = arranged(), np.array(Image.new("RGB", (1, 1), video.MARK).getpixel((0, 0)))
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
    # alpha of "star", the only content word, leads throughout
    assert marked == [[False, True]] * len(marked)


def test_the_leader_is_the_largest_alpha_and_does_not_flicker():
    times = np.arange(40) / 10
    noise = np.random.default_rng(0).normal(0, 0.1, (3, 40))
    level = np.stack([times < 2, times >= 2, np.full(40, 9)]) + 0.2 + np.abs(noise)
    leader = video.Leader(level / level.sum(axis=1, keepdims=True), times, [0, 1])
    found = [leader.at(time) for time in np.arange(0, 3.9, 0.04)]
    assert (found[0], found[-1]) == (0, 1) and np.abs(np.diff(found)).sum() == 1
    assert abs(found.index(1) * 0.04 - 2) < 0.2


@pytest.mark.parametrize("layout", video.LAYOUTS)
@pytest.mark.parametrize("limit", [(1920, 1080), (480, 360), (160, 160)])
@pytest.mark.parametrize("size", SIZES)
def test_every_layout_at_any_size_has_room_for_its_words(size, limit, layout):
    words = [f"incomprehensible{k}" for k in range(24)]
    for n in (1, 24):
        tiles = arranged(words[:n], size, layout, 26, limit)
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
        assert tiles.canvas[1] - tiles.footer - last <= 2 * tiles.gap + 1


def test_single_layout_shows_the_leaders_map(tmp_path):
    write_video(tmp_path / "v.mp4", layout="single")
    tiles = arranged(layout="single")
    low, high = (32 * np.array([1, 6]) + 37.5) / 299
    for frame in decode(tmp_path / "v.mp4")[3]:  # of "star": the upper right cell
        assert tile_pixel(frame, tiles, 0, high, low)[0] > tile_pixel(frame, tiles, 0, low, low)[0] + 100


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_animations_keep_frames_and_duration(tmp_path, suffix):
    write_video(tmp_path / f"v{suffix}", limit=(480, 360))
    with Image.open(tmp_path / f"v{suffix}") as image:
        assert image.n_frames == 11 and image.info["loop"] == 0 and image.width <= 480
        durations = []
        for k in range(image.n_frames):
            image.seek(k)
            image.load()
            durations.append(image.info["duration"])
        assert sum(durations) == pytest.approx(11 * 1001 / 30, abs=40)
        tiles = arranged(limit=(480, 360))
        frame = np.asarray(image.convert("RGB")).astype(int)  # the last one: word 0 is hot at the lower right
    low, high = (32 * np.array([1, 6]) + 37.5) / 299
    assert tile_pixel(frame, tiles, 1, high, high)[0] > tile_pixel(frame, tiles, 1, low, low)[0] + 80


def test_normalisations_by_hand():
    loss = np.array([[[3.0, 1.0], [2.0, 2.0]], [[5.0, 5.0], [4.0, 1.0]]]).reshape(2, 2, 1, 2)
    flat = {how: heatmaps.normalize(loss, how).reshape(2, 2, 2).tolist() for how in heatmaps.NORMALIZATIONS}
    assert flat["clip"] == [[[0, 1], [0.5, 0.5]], [[0, 0], [0.25, 1]]]
    assert flat["frame"] == [[[0, 1], [0, 0]], [[0, 0], [0, 1]]]
    # means 0.5 and 0.3125: above them (0, 0.5 | 0, 0) and (0, 0 | 0, 0.6875); each frame over both words to 1
    assert flat["release"] == [[[0, 1], [0, 0]], [[0, 0], [0, 1]]]
    with pytest.raises(ValueError, match="not 'both'"):
        heatmaps.normalize(loss, "both")


def test_clip_shorter_than_the_sample_and_portrait(tmp_path):
    scene = sample_scene(np.random.default_rng(0), 2, True, aspect=0.9)
    renderer = Renderer(scene, 120, 90)
    frames = [renderer.frame(time)[0] for time in (0.0, 1.0)]
    write_video(tmp_path / "v.mp4", frames, sample_times=(0, 0, 0.04), frame_rate=25, geometry=Geometry.of(90, 120))
    codec, rate, _, decoded = decode(tmp_path / "v.mp4")
    assert rate == 25 and len(decoded) == 2
    tiles = arranged(size=(90, 120))
    x, y = tiles.corner(0)
    shown = decoded[1][y : y + tiles.height, x : x + tiles.width]
    expected = np.asarray(Image.fromarray(frames[1]).resize((tiles.width, tiles.height), Image.Resampling.BICUBIC))
    assert np.abs(shown - expected.astype(int)).mean() < 4  # colours survive the way through BT.709


def test_same_input_same_file(tmp_path):
    frames = grey_clip(3, 32, 48)
    for name in "ab":
        write_video(tmp_path / f"{name}.mp4", frames, geometry=Geometry.of(48, 32))
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


# --- the storyboard


def write_storyboard(path, words=WORDS, size=(64, 48), num_frames=3):
    rng = np.random.default_rng(0)
    loss = rng.random((len(words), num_frames, 8, 8), np.float32)
    loss_pooled = np.tile(np.linspace(3, 1, num_frames, dtype=np.float32), (len(words), 1))
    frames = np.full((num_frames, size[1], size[0], 3), 120, np.uint8)
    times = np.arange(num_frames) / 2
    rows = [each(words)[k] for k in storyboard.informative(words)]
    loss, loss_pooled = loss[: len(rows)], loss_pooled[: len(rows)]
    span = (0, num_frames / 2)
    storyboard.storyboard(path, frames, times, span, words, rows, loss, loss_pooled, Geometry.of(*size))
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def test_storyboard_has_a_row_for_each_content_word(tmp_path):
    one = write_storyboard(tmp_path / "1.png", "the star is on a wall .".split()[:3])
    three = write_storyboard(tmp_path / "3.png", "a red star moves".split())
    four = write_storyboard(tmp_path / "4.png", "the red star moves up".split())
    assert three.shape[0] - one.shape[0] == 2 * (four.shape[0] - three.shape[0]) > 0


def test_storyboard_greys_darken_with_saliency(tmp_path):
    page = write_storyboard(tmp_path / "s.png", ["star"])
    # Times 0, 0.5, 1 of 1.5 s, e = 0, 0.5, 1: greys 250, 142, 35, from 0 to 0.25 s, to 0.75 s, to the end.
    rows = [row for row in page if (row == (35, 35, 35)).all(axis=-1).sum() > 200]
    assert len(rows) > 15
    greys = [tuple(int((row == grey).all(axis=-1).sum()) for grey in (250, 142, 35)) for row in rows]
    light, middle, dark = np.median(greys, axis=0)
    np.testing.assert_allclose((light, middle, dark), (640 / 6, 640 / 3, 640 / 2), atol=8)
    # The scale below runs from 250 to 35 between its frame's edges, as the greys do.
    x = 28 + storyboard.SMALL * np.array([1, 1 + drawing.BAR])
    np.testing.assert_allclose(page[-48, x[0] + 2 : x[1] - 2, 0], np.linspace(250, 35, x[1] - x[0])[2:-2], atol=3)


@pytest.mark.parametrize("normalize", heatmaps.NORMALIZATIONS)
@pytest.mark.parametrize("size", ((64, 64), (90, 160)))
def test_no_note_is_cut_off(tmp_path, size, normalize):
    picture = np.zeros((size[1], size[0], 3), np.uint8)
    look = {"normalize": normalize, "layout": "single", "boxes": [[(8, 6, 30, 40)]]}
    write_figure(
        tmp_path / "f.png", picture, ["x"], np.random.default_rng(0).random((1, 8, 8)), Geometry.of(*size), **look
    )
    storyboard.storyboard(tmp_path / "s.png", [picture], [0.0], (0, 1), ["x"], each(["x"]), np.ones((1, 1, 8, 8)),
                       np.ones((1, 1)), Geometry.of(*size), normalize=normalize)  # fmt: skip
    for name in "fs":
        page = np.asarray(Image.open(tmp_path / f"{name}.png").convert("RGB"))
        assert (page[:, -20:] == 255).all() and (page[-6:] == 255).all()


@pytest.mark.parametrize("size", (SIZES[0], SIZES[2], SIZES[4]))
def test_storyboard_of_any_shape_and_length(tmp_path, size):
    for words in (["."], [f"word{t}" for t in range(24)]):
        page = write_storyboard(tmp_path / "s.png", words, size, num_frames=1 if len(words) == 1 else 5)
        assert (page[:, [0, -1]] == 255).all() and (page[[0, -1]] == 255).all()  # nothing runs over the margins


# --- the figure of phrases


def write_figure(path, picture, names, loss, geometry, **look):
    sentence = " ".join(names).split()
    figure.picture_figure(path, picture, sentence, [Phrase(name, (0,)) for name in names], loss, geometry, **look)


def panels(page, size):
    """Where `picture_figure` puts its panels: (x, y) corners of the first row and their size."""
    width, _ = figure.panel_size(Geometry.of(*size))
    return [(24 + k * (width + 16), 24 + 36) for k in range(2)], width


@pytest.mark.parametrize("cell", ((2, 5), (0, 0), (7, 3)))
@pytest.mark.parametrize("size", ((320, 240), (90, 160)))
def test_star_lies_on_the_maximum(tmp_path, size, cell):
    loss = np.full((8, 8), 4.0)
    loss[cell] = 1.0
    geometry = Geometry.of(*size)
    black = np.zeros((size[1], size[0], 3), np.uint8)
    write_figure(tmp_path / "f.png", black, ["a star"], [loss], geometry)
    page = np.asarray(Image.open(tmp_path / "f.png").convert("RGB"))
    (_, (x, y)), width = panels(page, size)
    height = figure.panel_size(geometry)[1]
    rows, columns = np.nonzero((page[y : y + height, x : x + width] == 255).all(axis=-1))
    ratio = width / size[0]
    expected = heatmaps.maximum(heatmaps.upsample(heatmaps.scale(loss), geometry))
    np.testing.assert_allclose((columns.mean() + 0.5, rows.mean() + 0.5), np.multiply(expected, ratio), atol=1.5)


@pytest.mark.parametrize("size", ((1600, 60), (60, 1600), (320, 240)))
def test_stars_stay_inside_their_panels(tmp_path, size):
    geometry, black = Geometry.of(*size), np.zeros((size[1], size[0], 3), np.uint8)
    loss = np.full((4, 8, 8), 4.0)
    loss[0, 0, 0] = loss[1, 0, 7] = loss[2, 7, 0] = loss[3, 7, 7] = 1.0
    width, height = figure.panel_size(geometry)
    for k in range(4):
        write_figure(tmp_path / "f.png", black, ["x"], loss[k : k + 1], geometry, layout="single")
        page = np.asarray(Image.open(tmp_path / "f.png").convert("RGB"))
        around = page[24 + 36 - 4 : 24 + 36 + height + 4, 20 : 24 + width + 4].copy()
        assert (around[4:-4, 4:-4] == 255).all(axis=-1).any()  # the star
        around[4:-4, 4:-4] = 255
        assert (around == 255).all()


def test_boxes_stand_on_their_edges_and_a_flat_map_has_no_star(tmp_path):
    black = np.zeros((240, 320, 3), np.uint8)
    boxes = [[(80, 60, 160, 180)]]
    write_figure(tmp_path / "f.png", black, ["a wall"], [np.ones((8, 8))], Geometry.of(320, 240), boxes=boxes)
    page = np.asarray(Image.open(tmp_path / "f.png").convert("RGB"))
    (_, (x, y)), width = panels(page, (320, 240))
    height = round(width * 3 / 4)
    rows, columns = np.nonzero((page[y : y + height, x : x + width] == 255).all(axis=-1))
    extent = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    np.testing.assert_allclose(extent, np.array([80, 60, 160, 180]) * width / 320, atol=1)
    assert len(rows) < 4 * (width + height)  # an outline, nothing inside


def test_figure_of_many_long_phrases(tmp_path):
    name = "a very long noun phrase that no panel of this size could ever show in full"
    loss, boxes = np.random.default_rng(0).random((9, 8, 8)), [[(3, 4, 30, 40)]] * 9
    black = np.zeros((64, 64, 3), np.uint8)
    write_figure(tmp_path / "f.png", black, [name] * 9, loss, Geometry.of(64, 64), boxes=boxes)
    page = np.asarray(Image.open(tmp_path / "f.png").convert("RGB"))
    assert page.shape[1] <= 2048 and (page[:, [0, -1]] == 255).all()


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
        with pytest.raises(UserError, match=r"cannot write .*; choose another place") as caught:
            write_video(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"end in \.mp4"):
        write_video(tmp_path / "v.avi")
    with pytest.raises(UserError, match=r"ends in \.png, \.pdf, \.svg"):
        write_storyboard(tmp_path / "s.jpg")
    with pytest.raises(UserError, match="no colour map 'rainbowish'"):
        write_video(tmp_path / "v.mp4", cmap="rainbowish")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder.mp4"]


def test_shapes_that_disagree(tmp_path):
    with pytest.raises(ValueError, match="got 1 phrases"):
        write_video(tmp_path / "v.mp4", phrases=each(["star"]))
    with pytest.raises(ValueError, match="each of m = 3 frames; got 2"):
        write_video(tmp_path / "v.mp4", sample_times=(0, 5))
    with pytest.raises(ValueError, match="expected K >= 1 phrases"):
        write_figure(tmp_path / "f.png", grey_clip()[0], [], [], Geometry.of(64, 48))
    assert not list(tmp_path.iterdir())
