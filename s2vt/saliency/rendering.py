"""Draws saliency: a video of all words side by side, a storyboard (after Fig. 5), a figure of phrases (after Fig. 3).

Every picture here shows the same maps that the scores use: `heatmaps.upsample` places the 8x8 values at their
receptive fields' centres, whatever the size of the drawing. Nothing is ever written over the evidence: words, times
and scales stand in bands of their own. Files appear whole or not at all.

Letters: n words; m sampled frames; G=8 grid; H, W height and width of the source; h, w of its drawn copy. Points are
(x, y), boxes (x1, y1, x2, y2) with exclusive far edges, in source pixels.
"""

import dataclasses
import functools
import math
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from s2vt.data.files import atomic_path
from s2vt.data.media import VideoWriter
from s2vt.errors import UserError
from s2vt.saliency import heatmaps

COLOUR_MAP = "inferno"  # perceptually uniform: equal steps of saliency look equally large

# What the paper's Fig. 5 leaves out, "articles, helper verbs and prepositions"; conjunctions, the empty subject
# "there" and the full stop (END) are ours. Particles that carry a verb's meaning (up, down, off, out) stay in.
UNINFORMATIVE_WORDS = frozenset(
    # articles
    "a an the "
    # helper verbs
    "am is are was were be been being has have had having do does did can could will would shall should may might must "
    # prepositions
    "about above across after against along alongside amid among around as at before behind below beneath beside "
    "besides between beyond by during for from in inside into near of on onto outside over past through throughout to "
    "toward towards under underneath until upon via while with within without "
    # conjunctions, empty subject, END
    "and but or nor that which who there .".split()
)

# Dark and far apart on white; neighbours differ in hue and in lightness.
WORD_COLOURS = ("#c4342d", "#1f6fb4", "#2a8a3e", "#8b3fa8", "#d07a00", "#0f8b8d", "#a03a6b", "#5b5bd6", "#7a5230")
INK, FAINT_INK, PAPER = "#1a1a1a", "#6b6b6b", "#ffffff"
NIGHT, NIGHT_BAND, NIGHT_INK, NIGHT_FAINT = "#0e0e11", "#1d1d23", "#f4f4f4", "#a2a2ac"


# --- maps over pictures ---------------------------------------------------------------------------------------------


def overlay(picture, e, cmap=COLOUR_MAP):
    """A saliency map over its picture.

    Where e = 0 the picture is dimmed and half drained of colour, and shows no tint at all; with growing e it gets its
    own light back and the colour map's colour, which never covers more than 62 % of it.

    Args:
        picture: (h, w, 3) uint8.   e: saliency in [0, 1], (h, w).   cmap: name of a matplotlib colour map.
    Returns:
        (h, w, 3) uint8.
    """
    return np.asarray(_blend(_Backdrop(picture), e, cmap))


class _Backdrop:
    """A picture and its dimmed copy, shared by all words of a frame."""

    def __init__(self, picture):
        self.lit = Image.fromarray(np.ascontiguousarray(picture))
        dim = [round(0.55 * value) for value in range(256)]
        self.dimmed = Image.blend(self.lit, self.lit.convert("L").convert("RGB"), 0.45).point(dim * 3)


_OPACITY = [round(255 * 0.62 * (level / 255) ** 0.8) for level in range(256)]


def _blend(backdrop, e, cmap):
    """`overlay` on a shared backdrop, as a Pillow image."""
    level = Image.fromarray((np.clip(e, 0, 1) * 255 + 0.5).astype(np.uint8))
    colour = level.copy()
    colour.putpalette(_palette(cmap))
    lit = Image.composite(backdrop.lit, backdrop.dimmed, level)
    return Image.composite(colour.convert("RGB"), lit, level.point(_OPACITY))


@functools.cache
def _palette(cmap):
    """The colour map's 256 entries as bytes."""
    if cmap not in matplotlib.colormaps:
        raise UserError(f"no colour map {cmap!r}; expected one of matplotlib's names; try {COLOUR_MAP!r} or 'turbo'")
    return (matplotlib.colormaps[cmap](np.arange(256))[:, :3] * 255 + 0.5).astype(np.uint8).tobytes()


def _colour_bar(width, height, cmap):
    """0 to 1 from left to right, as it looks over a grey picture."""
    grey = np.full((height, width, 3), 150, np.uint8)
    return Image.fromarray(overlay(grey, np.broadcast_to(np.linspace(0, 1, width), (height, width)), cmap))


def _resized(geometry, width, height):
    """The geometry of the same picture drawn at another size."""
    old, new = (geometry.width, geometry.height) * 2, (width, height) * 2
    crop = tuple(edge * to / of for edge, to, of in zip(geometry.crop, new, old, strict=True))
    return dataclasses.replace(geometry, width=width, height=height, crop=crop)


def _picture(frame, size):
    """A frame resized to (w, h) pixels, anti-aliased."""
    image = Image.fromarray(np.ascontiguousarray(frame))
    return image if image.size == size else image.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)


def thumbnail(frame, pixels=160_000):
    """A frame with at most about that many pixels, its shape kept, (h, w, 3) uint8: enough for a storyboard."""
    height, width = frame.shape[:2]
    ratio = min(1.0, math.sqrt(pixels / (width * height)))
    return np.asarray(_picture(frame, (max(1, round(width * ratio)), max(1, round(height * ratio)))))


# --- text -----------------------------------------------------------------------------------------------------------


@functools.cache
def _font(size, bold=False):
    """DejaVu Sans as matplotlib bundles it, laid out by Pillow alone: the same letters on every machine."""
    path = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf")
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)


def _fit(text, width, size, bold=False):
    """The text and font that fit into a width in pixels: shrunk by a quarter at most, then cut with an ellipsis."""
    for smaller in range(size, max(math.ceil(0.75 * size), 12) - 1, -1):
        if _font(smaller, bold).getlength(text) <= width:
            return text, _font(smaller, bold)
    font = _font(min(size, max(math.ceil(0.75 * size), 12)), bold)
    while text and font.getlength(text + "…") > width:
        text = text[:-1].rstrip()
    return text + "…", font


def _wrap(words, width, font):
    """Lines of word indices, none wider than width (a word that is too wide alone keeps a line to itself)."""
    lines, reach, space = [[]], 0.0, font.getlength(" ")
    for index, word in enumerate(words):
        length = font.getlength(word)
        if lines[-1] and reach + length > width:
            lines.append([])
            reach = 0.0
        lines[-1].append(index)
        reach += length + space
    return lines


def _draw_words(draw, x, y, words, colours, width, size, bold=False):
    """Words in their colours, wrapped; the y below the last line."""
    font = _font(size, bold)
    step = round(1.45 * size)
    for line in _wrap(words, width, font):
        reach = x
        for index in line:
            text, fitted = _fit(words[index], width, size, bold)
            draw.text((reach, y), text, fill=colours[index], font=fitted)
            reach += font.getlength(words[index] + " ")
        y += step
    return y


def _text_height(words, width, size, bold=False):
    """What `_draw_words` will need, in pixels."""
    return round(1.45 * size) * len(_wrap(words, width, _font(size, bold)))


# --- files ----------------------------------------------------------------------------------------------------------


def _save_png(path, page):
    _expect_suffix(path, ".png")
    with atomic_path(path) as temporary:
        page.save(temporary, format="PNG")


def _expect_suffix(path, suffix):
    if Path(path).suffix.lower() != suffix:
        raise UserError(f"cannot write {path}: expected a name that ends in {suffix}; name another output")


# --- the video of all words -----------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Tiling:
    """Where a video's tiles lie, row by row; all in pixels. A tile is a label band, a picture and a temporal strip."""

    columns: int
    rows: int
    cell: int  # width of a tile; wider than its picture where that is too narrow for a label
    width: int  # of the picture in a tile
    height: int
    text: int  # size of the labels
    canvas: tuple[int, int]  # width, height of the whole, even
    footer: int  # height of the small print
    gap: int = 8

    @property
    def band(self):
        return round(1.75 * self.text)

    @property
    def strip(self):
        return round(1.6 * self.text)

    def label(self, index):
        """Left end of one tile's label band and temporal strip, both `cell` wide, x."""
        return self.corner(index)[0] - (self.cell - self.width) // 2

    def corner(self, index):
        """Upper left corner of one tile's picture, (x, y)."""
        row, column = divmod(index, self.columns)
        across = self.columns * (self.cell + self.gap) - self.gap
        x = (self.canvas[0] - across) // 2 + column * (self.cell + self.gap) + (self.cell - self.width) // 2
        y = self.gap + row * (self.band + self.height + self.strip + 2 * self.gap) + self.band
        return x, y


NARROWEST = 110  # pixels, of a tile: a label of ten letters


def tiling(num_tiles, width, height, limit=(1920, 1080)):
    """The grid with the largest tiles of the source's shape that fit into `limit`, which is also its rough shape.

    Small sources are enlarged until their shorter side has 480 pixels, no further; larger ones never are.

    Args:
        num_tiles: how many.   width, height: of the source, pixels.   limit: of the whole canvas, (width, height).
    Returns:
        A Tiling.

    Example:
        >>> [(t.columns, t.rows) for t in (tiling(n, 320, 240) for n in (2, 6, 11, 25))]
        [(2, 1), (3, 2), (4, 3), (7, 4)]
    """
    gap, footer = Tiling.gap, 54  # a second line of small print where the canvas is narrow
    largest = width * max(1.0, 480 / min(width, height))
    best = (0, 1, num_tiles)
    for rows in range(1, num_tiles + 1):
        columns = -(-num_tiles // rows)
        across = (limit[0] - gap) / columns - gap
        if across < NARROWEST and rows < num_tiles:
            continue
        tile = int(min(across, largest))
        for _ in range(3):  # the text's size depends on the tile's width and takes height from it
            around = _around(_label_size(tile), gap)
            tile = int(min(tile, ((limit[1] - footer - gap) / rows - around) * width / height))
        if tile > best[0]:
            best = (tile, columns, rows)
    tile, columns, rows = best
    tile, text = max(tile, 1), _label_size(tile)
    cell, tile_height = max(tile, NARROWEST), max(1, round(tile * height / width))
    across = max(columns * (cell + gap) + gap, 480)
    footer = footer - 20 if across >= 900 else footer
    down = rows * (tile_height + _around(text, gap)) + gap + footer
    return Tiling(columns, rows, cell, tile, tile_height, text, (across + across % 2, down + down % 2), footer)


def _label_size(tile):
    return int(np.clip(tile / 14, 15, 26))


def _around(text, gap):
    """What a tile's label, strip and gaps add to its picture's height."""
    return round(1.75 * text) + round(1.6 * text) + 2 * gap


def saliency_video(path, frames, frame_rate, words, loss, loss_pooled, sample_times, geometry, *, cmap=COLOUR_MAP):
    """Where and when each word of the sentence has its evidence, all words side by side, as an MP4.

    The source comes first, then one tile per word: its saliency over the moving picture (Eq. 8 over all cells of all
    frames, so that brightness can be compared within a word's clip, not between words), and below it alpha_t over the
    sampled frames with a cursor. Between two sampled frames the map is interpolated linearly in time.

    Args:
        path: the file to write, *.mp4 (H.264, yuv420p).
        frames: iterable of (time in seconds, (H, W, 3) uint8), one for each frame of the video, evenly spaced.
        frame_rate: of the video, frames per second, a Fraction.
        words: the n words, strings.
        loss: Loss of every cell, (n, m, 8, 8), nats (Eq. 13).
        loss_pooled: Loss of every sampled frame as a whole, (n, m), nats (Eq. 7).
        sample_times: when the m sampled frames are shown, (m,) seconds on the frames' clock, not decreasing.
        geometry: `s2vt.data.media.Geometry` of the descriptors.
        cmap: name of a matplotlib colour map.
    Raises:
        UserError: if path cannot be written; nothing is left behind then, nor after any other error.
        ValueError: if the shapes disagree or there is no frame.
    """
    loss, loss_pooled = _checked(words, loss, loss_pooled, sample_times, "sample_times")
    e = heatmaps.scale(loss, axes=(1, 2, 3))
    alpha = heatmaps.temporal_alpha(loss_pooled)
    tiles = tiling(1 + len(words), geometry.width, geometry.height)
    size = (tiles.width, tiles.height)
    tile_geometry = _resized(geometry, *size)
    canvas = np.asarray(_video_canvas(words, alpha, tiles, cmap))
    # Clips shorter than m frames are sampled repeatedly; equal times carry equal maps.
    knots, positions = np.unique(sample_times, return_index=True)

    def composed():
        for time, frame in frames:
            position = float(np.interp(time, knots, positions))
            before = int(position)
            after, share = min(before + 1, e.shape[1] - 1), position - before
            maps = heatmaps.upsample((1 - share) * e[:, before] + share * e[:, after], tile_geometry)
            backdrop = _Backdrop(_picture(frame, size))
            picture = canvas.copy()
            x, y = tiles.corner(0)
            picture[y : y + tiles.height, x : x + tiles.width] = backdrop.lit
            for tile, e_map in enumerate(maps, start=1):
                x, y = tiles.corner(tile)
                picture[y : y + tiles.height, x : x + tiles.width] = _blend(backdrop, e_map, cmap)
                _draw_cursor(picture, tiles.label(tile), y + tiles.height, tiles, (position + 0.5) / e.shape[1])
            yield picture

    _palette(cmap)  # refuses an unknown name before anything is written
    _expect_suffix(path, ".mp4")
    with VideoWriter(path, *tiles.canvas, frame_rate, preset="veryfast") as video:
        for picture in composed():
            video.write(picture)


def _checked(words, loss, loss_pooled, per_frame, name):
    """The two losses as arrays, after checking that all shapes agree."""
    loss, loss_pooled = np.asarray(loss, np.float32), np.asarray(loss_pooled, np.float32)
    if not len(words) or loss.ndim != 4 or loss_pooled.shape != loss.shape[:2] or len(loss) != len(words):
        raise ValueError(
            f"expected n >= 1 words, loss (n, m, 8, 8) and loss_pooled (n, m); "
            f"got {len(words)} words, {loss.shape} and {loss_pooled.shape}"
        )
    if len(per_frame) != loss.shape[1]:
        raise ValueError(f"expected {name} of length m = {loss.shape[1]}; got {len(per_frame)}")
    return loss, loss_pooled


def _video_canvas(words, alpha, tiles, cmap):
    """All that does not move: labels, strips, small print."""
    page = Image.new("RGB", tiles.canvas, NIGHT)
    draw = ImageDraw.Draw(page)
    pad = round(0.45 * tiles.text)
    x, y = tiles.label(0), tiles.corner(0)[1]
    draw.text((x + pad, y - tiles.band // 2), "source", fill=NIGHT_FAINT, font=_font(tiles.text), anchor="lm")
    for index, word in enumerate(words):
        x, y = tiles.label(index + 1), tiles.corner(index + 1)[1]
        draw.rectangle((x, y - tiles.band, x + tiles.cell - 1, y - 1), fill=NIGHT_BAND)
        middle = y - tiles.band // 2
        number, small = f"{index + 1}/{len(words)}", _font(max(12, round(0.65 * tiles.text)))
        room = tiles.cell - 2 * pad
        beside = room - small.getlength(number) - pad
        if _font(tiles.text, True).getlength(word) <= beside and len(words) > 1:
            draw.text((x + tiles.cell - pad, middle), number, fill=NIGHT_FAINT, font=small, anchor="rm")
            room = beside
        text, font = _fit(word, room, tiles.text, bold=True)
        draw.text((x + pad, middle), text, fill=NIGHT_INK, font=font, anchor="lm")
        page.paste(_bars(alpha[index], tiles.cell, tiles.strip), (x, y + tiles.height))
    _video_footer(page, draw, alpha.shape[1], tiles, cmap)
    return page


def _video_footer(page, draw, num_sampled, tiles, cmap):
    """The scale and what it means, in small print."""
    notes = (
        "colour: each word scaled over the clip (Eq. 8)",
        f"bars: α, the word's saliency over {num_sampled} sampled frames, highest = full height",
    )
    font, pad = _font(13), tiles.label(0) if tiles.canvas[0] >= 500 else 8
    y = tiles.canvas[1] - tiles.footer + 12
    draw.text((pad, y), "0", fill=NIGHT_FAINT, font=font, anchor="lm")
    page.paste(_colour_bar(90, 12, cmap), (pad + 13, y - 6))
    draw.text((pad + 108, y), "1", fill=NIGHT_FAINT, font=font, anchor="lm")
    if tiles.canvas[0] >= 900:
        draw.text((pad + 130, y), "   ·   ".join(notes), fill=NIGHT_FAINT, font=font, anchor="lm")
    else:
        draw.text((pad + 130, y), notes[0], fill=NIGHT_FAINT, font=font, anchor="lm")
        text, font = _fit(notes[1], tiles.canvas[0] - 2 * pad, 13)
        draw.text((pad, y + 20), text, fill=NIGHT_FAINT, font=font, anchor="lm")


def _bars(alpha, width, height):
    """alpha_t as a bar chart: one bar per sampled frame, the word's largest value at full height."""
    item = np.minimum((np.arange(width) + 0.5) * len(alpha) / width, len(alpha) - 1).astype(int)
    share = (alpha / alpha.max())[item]
    top, bottom = 3, height - 3
    filled = np.arange(height)[:, None] >= bottom - np.maximum(1, np.round(share * (bottom - top)))
    filled &= np.arange(height)[:, None] < bottom
    if width >= 4 * len(alpha):  # a pixel between bars where there is room
        filled &= np.append(item[1:] == item[:-1], True)
    strip = np.full((height, width, 3), Image.new("RGB", (1, 1), NIGHT_BAND).getpixel((0, 0)), np.uint8)
    shade = (90 + 110 * share)[:, None] * np.array([0.86, 0.92, 1.0])
    return Image.fromarray(np.where(filled[..., None], shade.astype(np.uint8), strip))


def _draw_cursor(picture, x, y, tiles, share):
    """The clip's present moment in one temporal strip: a bright line with a dark rim."""
    at = x + min(max(round(share * tiles.cell), 2), tiles.cell - 2)
    picture[y : y + tiles.strip, at - 2 : at + 2] = 0
    picture[y : y + tiles.strip, at - 1 : at + 1] = 255


# --- the storyboard -------------------------------------------------------------------------------------------------


def informative(words):
    """Indices of the words worth a row of their own: those not in UNINFORMATIVE_WORDS, or all if none is left.

    Example:
        >>> informative("a man is talking about a phone".split())
        [1, 3, 6]
    """
    return [t for t, word in enumerate(words) if word.lower() not in UNINFORMATIVE_WORDS] or list(range(len(words)))


def most_salient(e, count=3):
    """The highest of e, best first; neighbours of a chosen one only when nothing else is left.

    Example:
        >>> most_salient([0.1, 0.9, 1.0, 0.8, 0.3, 0.2])
        [2, 4, 0]
    """
    order = [int(i) for i in np.argsort(-np.asarray(e), kind="stable")]
    chosen = []
    for distance in (2, 1):
        for i in order:
            if len(chosen) < count and all(abs(i - j) >= distance for j in chosen):
                chosen.append(i)
    return chosen


def storyboard(path, frames, frame_times, duration, words, loss, loss_pooled, geometry, *, cmap=COLOUR_MAP):
    """Each content word's saliency over time and its most salient frames, as a PNG after the paper's Fig. 5.

    One row per content word: e_t = scale(-Loss(t, .)) over the sampled frames as a curve and as greys (darker = more
    salient), linear in [0, 1] and not normalised to sum 1; its three most salient frames, numbered by rank and marked
    on the curve, with the word's map (Eq. 8 over all cells of all frames) and the time.

    Args:
        path: the file to write, *.png.
        frames: the m sampled frames, a sequence of (H, W, 3) uint8.
        frame_times: their times, (m,), seconds.   duration: of the clip, seconds.
        words, loss, loss_pooled, geometry, cmap: as for `saliency_video`.
    Raises:
        UserError: if path cannot be written.   ValueError: if the shapes disagree.
    """
    loss, loss_pooled = _checked(words, loss, loss_pooled, frame_times, "frame_times")
    e_cells, e_frames = heatmaps.scale(loss, axes=(1, 2, 3)), heatmaps.scale(loss_pooled, axes=(1,))
    rows = informative(words)
    colours = {t: WORD_COLOURS[k % len(WORD_COLOURS)] for k, t in enumerate(rows)}

    aspect = geometry.width / geometry.height
    thumb_width = round(math.sqrt(46_000 * aspect))
    size = (thumb_width, max(16, round(thumb_width / aspect)))
    margin, gap, plot, stamp = 28, 14, 640, 26
    label = int(np.clip(max(_font(24, True).getlength(words[t]) for t in rows) + 40, 120, 300))
    row_height = max(size[1] + stamp, 130) + gap
    width = 2 * margin + label + plot + 24 + 3 * (size[0] + gap) - gap
    title = 27
    top = margin + _text_height(words, width - 2 * margin, title, bold=True) + 18
    page = Image.new("RGB", (width, top + len(rows) * (row_height + gap) + 92), PAPER)
    draw = ImageDraw.Draw(page)
    shades = [colours.get(t, "#8a8a8a") for t in range(len(words))]
    _draw_words(draw, margin, margin, words, shades, width - 2 * margin, title, bold=True)

    thumb_geometry = _resized(geometry, *size)
    left = margin + label
    for row, t in enumerate(rows):
        y = top + row * (row_height + gap)
        draw.line((margin, y - gap // 2 - 1, width - margin, y - gap // 2 - 1), fill="#e2e2e2")
        text, font = _fit(words[t], label - 38, 24, bold=True)
        bottom = y + row_height - gap
        draw.text((margin, (y + bottom) // 2), text, fill=colours[t], font=font, anchor="lm")
        ranks = most_salient(e_frames[t])
        _draw_curve(page, (left, y, left + plot, bottom), e_frames[t], frame_times, duration, ranks, colours[t])
        for rank, i in enumerate(ranks):
            x = left + plot + 24 + rank * (size[0] + gap)
            e_map = heatmaps.upsample(e_cells[t, i], thumb_geometry)
            draw.text((x + 26, y + stamp // 2 - 2), f"{frame_times[i]:.2f} s", fill=INK, font=_font(15), anchor="lm")
            _draw_rank(page, x + 10, y + stamp // 2 - 2, rank + 1, colours[t])
            page.paste(_blend(_Backdrop(_picture(frames[i], size)), e_map, cmap), (x, y + stamp))
            frame = (x - 2, y + stamp - 2, x + size[0] + 1, y + stamp + size[1] + 1)
            draw.rectangle(frame, outline=colours[t], width=2)
    y = top + len(rows) * (row_height + gap)
    _draw_time_axis(draw, left, left + plot, y - gap // 2, duration)
    greys = Image.fromarray(np.broadcast_to(_grey(np.linspace(0, 1, 90)), (12, 90, 3)).copy())
    _draw_scale(page, draw, margin, y + 52, greys, "frame's saliency e, linear in [0, 1] per word")
    _draw_scale(page, draw, margin, y + 76, _colour_bar(90, 12, cmap), "map: each word scaled over the clip (Eq. 8)")
    _save_png(path, page)


def _grey(e):
    """Fig. 5's greys, darker = more salient, (..., 3) uint8."""
    return np.repeat((250 - 215 * np.clip(e, 0, 1))[..., None], 3, axis=-1).astype(np.uint8)


def _draw_scale(page, draw, x, y, bar, note):
    """A small colour bar from 0 to 1 and what it means, centred on y."""
    font = _font(14)
    draw.text((x, y), "0", fill=FAINT_INK, font=font, anchor="lm")
    page.paste(bar, (x + 14, y - bar.height // 2))
    draw.rectangle((x + 13, y - bar.height // 2 - 1, x + 14 + bar.width, y + bar.height // 2), outline="#b0b0b0")
    draw.text((x + 20 + bar.width, y), "1", fill=FAINT_INK, font=font, anchor="lm")
    draw.text((x + 42 + bar.width, y), note, fill=FAINT_INK, font=font, anchor="lm")


def _draw_curve(page, box, e, times, duration, ranks, colour):
    """One word's temporal saliency: curve above, greys below, the chosen frames marked."""
    left, top, right, bottom = box
    times = np.asarray(times, float)
    shades, sharp = 28, 3  # height of the grey strip; supersampling
    high, low = top + 26, bottom - shades - 6
    span = max(duration, float(times[-1]), 1e-6)
    x = left + times / span * (right - left)
    y = low - np.asarray(e) * (low - high)

    scale = np.array([sharp, sharp])
    panel = Image.new("RGB", ((right - left) * sharp, (low - top + 2) * sharp), PAPER)
    pen = ImageDraw.Draw(panel)
    line = [tuple(p) for p in (np.stack([x - left, y - top], 1) * scale)]
    for level in (0.0, 0.5, 1.0):
        rule = (low - level * (low - high) - top) * sharp
        pen.line((0, rule, panel.width, rule), fill="#dcdcdc", width=sharp)
    floor = (low - top) * sharp
    pen.polygon([(line[0][0], floor), *line, (line[-1][0], floor)], fill=_tint(colour, 0.16))
    for i in ranks:
        pen.line((line[i][0], line[i][1], line[i][0], floor), fill=colour, width=sharp)
    pen.line(line if len(line) > 1 else [line[0], line[0]], fill=colour, width=2 * sharp + 1, joint="curve")
    for px, py in line:
        pen.ellipse((px - 2.2 * sharp, py - 2.2 * sharp, px + 2.2 * sharp, py + 2.2 * sharp), fill=colour)
    page.paste(panel.resize((right - left, low - top + 2), Image.Resampling.LANCZOS), (left, top))
    pen = ImageDraw.Draw(page)
    pen.text((left - 7, high), "1", fill=FAINT_INK, font=_font(13), anchor="rm")
    pen.text((left - 7, low), "0", fill=FAINT_INK, font=_font(13), anchor="rm")
    for rank, i in reversed(list(enumerate(ranks))):
        at = int(np.clip(round(x[i]), left + 10, right - 10))
        _draw_rank(page, at, max(round(y[i]) - 14, top + 10), rank + 1, colour)

    # Each sampled frame's grey reaches halfway to its neighbours.
    middles = (times[1:] + times[:-1]) / 2
    at = (np.arange(right - left) + 0.5) / (right - left) * span
    strip = _grey(np.asarray(e)[np.searchsorted(middles, at)])
    page.paste(Image.fromarray(np.broadcast_to(strip, (shades, *strip.shape)).copy()), (left, bottom - shades))
    pen.rectangle((left, bottom - shades, right - 1, bottom - 1), outline="#b0b0b0")
    for i in ranks:
        at = int(np.clip(round(x[i]), left + 1, right - 2))
        pen.rectangle((at - 1, bottom - shades - 3, at + 1, bottom + 2), fill=colour)


def _tint(colour, share):
    """The colour thinned with white."""
    return tuple(round(255 - share * (255 - c)) for c in Image.new("RGB", (1, 1), colour).getpixel((0, 0)))


def _draw_rank(page, x, y, rank, colour, radius=9, sharp=4):
    """A numbered disc centred on (x, y)."""
    side = (2 * radius + 2) * sharp
    disc = Image.new("L", (side, side), 0)
    ImageDraw.Draw(disc).ellipse((sharp, sharp, side - sharp - 1, side - sharp - 1), fill=255)
    disc = disc.resize((side // sharp, side // sharp), Image.Resampling.LANCZOS)
    page.paste(Image.new("RGB", disc.size, colour), (x - radius - 1, y - radius - 1), disc)
    ImageDraw.Draw(page).text((x, y), str(rank), fill=PAPER, font=_font(13, True), anchor="mm")


def _draw_time_axis(draw, left, right, y, duration):
    """Seconds from 0 to the clip's end, with ticks at round numbers."""
    span = max(duration, 1e-6)
    rough = span / 6
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough)
    digits = max(0, -math.floor(math.log10(step)))
    draw.line((left, y, right, y), fill=FAINT_INK)
    for k in range(int(span / step + 1e-6) + 1):
        x = left + k * step / span * (right - left)
        draw.line((x, y, x, y + 5), fill=FAINT_INK)
        text = f"{k * step:.{digits}f}" + (" s" if k == 0 else "")
        draw.text((x, y + 8), text, fill=FAINT_INK, font=_font(14), anchor="la" if k == 0 else "ma")


# --- the figure of phrases ------------------------------------------------------------------------------------------


def picture_figure(path, picture, phrases, geometry, sentence, *, cmap=COLOUR_MAP):
    """A picture and one saliency map per phrase side by side, as a PNG after the paper's Fig. 3 and 4.

    Each phrase's map is scaled to [0, 1] by itself (Eq. 8); a star marks its maximum, white frames the true boxes.

    Args:
        path: the file to write, *.png.
        picture: (H, W, 3) uint8.
        phrases: list of (name, loss (8, 8) in nats, summed over the phrase's words (Eq. 9), boxes: (K, 4) or ()).
        geometry: `s2vt.data.media.Geometry` of the descriptors.
        sentence: the whole sentence, the caption below.
        cmap: name of a matplotlib colour map.
    Raises:
        UserError: if path cannot be written.   ValueError: if there is no phrase or a map is not 8x8.
    """
    if not phrases or any(np.ndim(loss) != 2 for _, loss, _ in phrases):
        raise ValueError(f"expected phrases (name, loss (8, 8), boxes); got {[np.shape(p[1]) for p in phrases]}")
    width = max(360, round(math.sqrt(150_000 * geometry.width / geometry.height)))
    size = (width, max(48, round(width * geometry.height / geometry.width)))
    ratio = np.array([size[0] / geometry.width, size[1] / geometry.height])
    margin, gap, band = 24, 16, 36
    columns = max(1, min(len(phrases) + 1, (2048 - 2 * margin + gap) // (width + gap)))
    rows = -(-(len(phrases) + 1) // columns)
    columns = -(-(len(phrases) + 1) // rows)
    page_width = 2 * margin + columns * (width + gap) - gap
    words, text = sentence.split(), 22
    below, wide = margin + rows * (band + size[1] + gap), page_width >= 800
    caption = _text_height(words, page_width - 2 * margin, text)
    page = Image.new("RGB", (page_width, below + caption + (56 if wide else 80)), PAPER)
    draw = ImageDraw.Draw(page)
    shrunk = _picture(picture, size)
    backdrop = _Backdrop(shrunk)

    def corner(panel):
        row, column = divmod(panel, columns)
        return margin + column * (width + gap), margin + row * (band + size[1] + gap) + band

    page.paste(shrunk, corner(0))
    for panel, (name, loss, boxes) in enumerate(phrases, start=1):
        x, y = corner(panel)
        label, font = _fit(name, width - 8, 21, bold=True)
        draw.text((x + 2, y - band // 2), label, fill=INK, font=font, anchor="lm")
        e = heatmaps.scale(np.asarray(loss, np.float32), axes=(0, 1))
        panel_image = _blend(backdrop, heatmaps.upsample(e, _resized(geometry, *size)), cmap)
        for box in np.reshape(boxes, (-1, 4)):
            _draw_box(panel_image, np.asarray(box, float).reshape(2, 2) * ratio)
        page.paste(panel_image, (x, y))
        if e.max() > 0:  # a constant map has no maximum
            point = np.asarray(heatmaps.maximum(heatmaps.upsample(e, geometry))) * ratio
            _draw_star(page, x + point[0], y + point[1], 13)

    y = _draw_words(draw, margin, below, words, [INK] * len(words), page_width - 2 * margin, text) + 20
    _draw_scale(page, draw, margin, y, _colour_bar(90, 12, cmap), "")
    notes = "saliency, each phrase scaled to [0, 1] (Eq. 8)"
    draw.text((margin + 132, y), notes, fill=FAINT_INK, font=_font(14), anchor="lm")
    x, y = (margin + 160 + round(_font(14).getlength(notes)), y) if wide else (margin, y + 24)
    _draw_star(page, x + 8, y, 9)
    draw.text((x + 24, y), "maximum", fill=FAINT_INK, font=_font(14), anchor="lm")
    if any(len(boxes) for _, _, boxes in phrases):
        x += 120
        draw.rectangle((x, y - 11, x + 31, y + 11), fill="#7a7a7a")
        _draw_box(page, np.array([[x + 4, y - 7], [x + 28, y + 8]], float))
        draw.text((x + 40, y), "true box", fill=FAINT_INK, font=_font(14), anchor="lm")
    _save_png(path, page)


def _draw_box(image, corners, width=2):
    """A white frame along a box's edges, between thin dark lines; corners ((x1, y1), (x2, y2)) in its pixels."""
    (x1, y1), (x2, y2) = np.round(corners).astype(int)
    x1, y1 = max(x1, 0), max(y1, 0)
    x2, y2 = max(min(x2, image.width), x1 + 1) - 1, max(min(y2, image.height), y1 + 1) - 1
    draw = ImageDraw.Draw(image)
    for grow, colour in ((1, "#101010"), (0, "#ffffff")):
        for k in range(width + 2 * grow):
            inset = k - grow
            frame = (x1 + inset, y1 + inset, x2 - inset, y2 - inset)
            if frame[2] >= frame[0] and frame[3] >= frame[1]:
                draw.rectangle(frame, outline=colour)


def _draw_star(page, x, y, radius, sharp=8):
    """A white five-pointed star with a dark rim, centred on (x, y) to a fraction of a pixel."""
    left, top, side = math.floor(x) - radius - 4, math.floor(y) - radius - 4, 2 * radius + 9

    def star(reach):
        mask = Image.new("L", (side * sharp, side * sharp), 0)
        angles = np.arange(10) * math.pi / 5
        r = np.where(np.arange(10) % 2, 0.45, 1.0) * reach
        points = np.stack([x - left + r * np.sin(angles), y - top - r * np.cos(angles)], axis=1) * sharp
        ImageDraw.Draw(mask).polygon([tuple(p) for p in points], fill=255)
        return mask.resize((side, side), Image.Resampling.LANCZOS)

    page.paste(Image.new("RGB", (side, side), "#101010"), (left, top), star(radius + 3.2))
    page.paste(Image.new("RGB", (side, side), "#ffffff"), (left, top), star(radius))
