"""The saliency video: words side by side over the moving picture, their evidence over time, and the sentence above.

Frames are composed with numpy and Pillow, one at a time, and encoded as they come: memory does not grow with the clip.

Letters: E explanations side by side; K words or phrases; m sampled frames; G x G grid; H, W height and width of the
source.
"""

import dataclasses
from pathlib import Path

import numpy as np
from PIL import Image, ImageColor, ImageDraw

from s2vt.data.video_writer import ANIMATION_SUFFIXES, VideoWriter
from s2vt.rendering.drawing import (
    LINE,
    Backdrop,
    check_alike,
    colour_bar,
    content_phrases,
    fit,
    font_of,
    headings_of,
    notes_of,
    palette,
    resized,
    second_curves,
    shrunk,
    upright_width,
    wrap,
)

NIGHT, NIGHT_BAND, NIGHT_INK, NIGHT_FAINT = "#0e0e11", "#1d1d23", "#f4f4f4", "#a2a2ac"
MARK, MARK_INK = "#58c4f6", "#0b1a22"  # of the phrase that leads; in none of the warm colour maps
BESIDE = "#ff9a3d"  # of the second curve, over grey bars: orange in the small print

LIMIT, ANIMATION_LIMIT = (1920, 1080), (768, 576)  # of the canvas, pixels
WIDEST = 4096  # of a strip; H.264 goes no further in common players
NARROWEST, SMALLEST = 110, 72  # pixels: of a tile, a label of ten letters; of a picture's longer side
SCALE = 130  # pixels that the scale takes of the small print
NARROW_CANVAS = 640  # pixels: a narrower one is widened, for the sentence and the small print
HEADING = 16  # size of the headings of explanations side by side, pixels


# --- the video --------------------------------------------------------------------------------------------------------


def saliency_video(path, frames, frame_rate, shown):
    """Writes `saliency_frames` as a video or animation.

    Args:
        path: the file to write; its ending is one that `VideoWriter` knows. Animations are smaller, see
            `Look.limit`, and name their size and rate in the small print.
        The others: as of `saliency_frames`.
    Raises:
        UserError: if path cannot be written or there is no such colour map; nothing is left behind then, nor after any
            other error.
        ValueError: as `saliency_frames`, or if there is no frame.
    """
    notes, suffix = (), Path(path).suffix.lower()
    if suffix in ANIMATION_SUFFIXES:
        limit = shown[0].look.limit or ANIMATION_LIMIT
        shown = [dataclasses.replace(each, look=dataclasses.replace(each.look, limit=limit)) for each in shown]
        notes = (f"{suffix[1:].upper()}: {float(frame_rate):.3g} frames/s, within {limit[0]}x{limit[1]}",)
    canvas, pictures = saliency_frames(frames, frame_rate, shown, notes)
    with VideoWriter(path, *canvas, frame_rate, preset="veryfast") as video:
        for picture in pictures:
            video.write(picture)


def saliency_frames(frames, frame_rate, shown, notes=()):
    """Where and when each phrase of a sentence has its evidence, frame by frame.

    "grid" and "strip": the source comes first, then a tile for each phrase, its saliency over the moving picture and
    below it alpha_t over the sampled frames with a cursor. "single": one picture with the map of the phrase that leads
    at the moment (`Leader`). Above stands the sentence; the leading phrase is marked in it. Between two sampled frames
    the map is interpolated linearly in time. Of a kind of map without values in space, the tiles have no map.
    Phrases with a second curve (`Evidence.beside`) have it as a line over the bars. Several explanations are rows of
    the same tiles, each with its own leading phrase; the source stands once, at the left, in the middle of them.

    Args:
        frames: iterable of (time in seconds, (H, W, 3) uint8), one for each frame of the video, evenly spaced; the
            clock is that of `explanation.times`.
        frame_rate: of the video, frames per second, a Fraction.
        shown: E of `drawing.Shown` of the video; the explanations' times do not decrease.
        notes: more lines of small print.
    Returns:
        (width, height) of the canvas, and a generator of its pictures, (height, width, 3) uint8, one held at a time.
    Raises:
        UserError: if there is no such colour map, or a kind of map has no values in time.
        ValueError: if there is no explanation, the shapes disagree, or the explanations are not alike.
    """
    check_alike(shown)
    rows = [_Row(each, frame_rate) for each in shown]
    scene = _Scene(rows, (*notes_of(shown, [row.notes for row in rows]).values(), *notes))

    def pictures():
        for time, frame in frames:
            yield scene.compose(frame, [row.at(time) for row in rows], time)

    return scene.tiles.canvas, pictures()


class _Row:
    """One explanation of a video: what its tiles show at each moment.

    Args:
        shown: `drawing.Shown`.   frame_rate: of the video, frames per second.
    Attributes:
        e: saliency on the grid, (K, m, G, G); None of a kind of map without values in space.
        bars: `_Bars` of the phrases.   notes: small print.
    """

    def __init__(self, shown, frame_rate):
        self.shown, look, phrases = shown, shown.look, shown.phrases
        cells, evidence = shown.evidence
        self.e = None if cells is None else look.to_draw(cells, shown.geometry)
        alpha, beside = look.bars(evidence), second_curves(shown.explanation, phrases, look)
        self.bars, self.num_sampled = _Bars(alpha, beside, look.baseline), alpha.shape[1]
        self.notes = small_print(alpha.shape[1], phrases, look, self.e is None)
        if beside:
            self.notes += (f"orange line: {look.beside()}",)
        times = shown.explanation.times
        self.leader = Leader(alpha, times, content_phrases(phrases) or range(len(phrases)))
        self.fade = _Fade(len(phrases), frame_rate) if look.layout == "single" else None
        # A clip of fewer than m frames is sampled repeatedly; frames of equal times have equal maps.
        self.knots, self.positions = np.unique(times, return_index=True)

    def at(self, time):
        """(maps of its tiles, (K or 1, G, G) or None; index of the leading phrase; share of the bars' width that has
        passed) at a time, seconds; call it with increasing times."""
        position, lead = float(np.interp(time, self.knots, self.positions)), self.leader.at(time)
        maps = None if self.e is None else _at(self.e, position)
        if self.fade is not None:
            maps = self.fade.mix(maps, lead)
        return maps, lead, (position + 0.5) / self.num_sampled


def _at(e, position):
    """Maps at a position between two of the m sampled frames, (K, G, G)."""
    before = int(position)
    after, share = min(before + 1, e.shape[1] - 1), position - before
    return (1 - share) * e[:, before] + share * e[:, after]


class Leader:
    """Which phrase has most of its evidence at a moment: the largest alpha_t, averaged over half a second.

    It is averaged, and kept until another is 10 % larger, so that the mark does not jump at every sampled frame.

    Args:
        alpha: (K, m), each row sums to 1.   times: of the m sampled frames, seconds.   candidates: indices below K.
    """

    SIGMA = 0.25  # seconds

    def __init__(self, alpha, times, candidates):
        self.alpha, self.times, self.candidates = np.asarray(alpha, float), np.asarray(times, float), list(candidates)
        self.now = None

    def at(self, time):
        """Index of the leading phrase at a time, seconds; depends on earlier calls: call it with increasing times."""
        distance = ((self.times - time) / self.SIGMA) ** 2
        weights = np.exp(-0.5 * (distance - distance.min()))
        level = self.alpha[self.candidates] @ (weights / weights.sum())
        best = int(level.argmax())
        if self.now is None or level[best] > 1.1 * level[self.now]:
            self.now = best
        return self.candidates[self.now]


class _Fade:
    """Weights of the phrases' maps in a single picture, which fades from one leader to the next.

    Args:
        num_phrases: K.   frame_rate: of the video, frames per second.
    """

    SECONDS = 0.15

    def __init__(self, num_phrases, frame_rate):
        self.wanted, self.weights = np.eye(num_phrases), None
        self.step = min(1.0, 1 / (self.SECONDS * float(frame_rate)))

    def mix(self, maps, lead):
        """The map to draw in the next frame: the mean of the K phrases' maps, weighted towards the leading phrase's.

        Args:
            maps: (K, G, G); None: there are no maps.   lead: index of the phrase that leads now.
        Returns:
            (1, G, G); None without maps.
        """
        weights = self.wanted[lead] if self.weights is None else self.weights
        self.weights = weights + self.step * (self.wanted[lead] - weights)
        return None if maps is None else np.einsum("k,kyx->yx", self.weights, maps)[None]


def small_print(num_sampled, phrases, look, without_maps=False):
    """What stands below a video: what colours, bars and the mark mean, as a tuple of notes.

    Args:
        num_sampled: m.   without_maps: whether the kind of map has values in time only.
    """
    unit = "word" if all(len(phrase.words) == 1 for phrase in phrases) else "phrase"
    content = "content " if content_phrases(phrases) else ""
    frames = f"{num_sampled} {'' if look.of_release else 'sampled '}frames"
    return (
        f"no map: {look.title} has values in time only" if without_maps else f"colour: {look.shown}, {look.legend()}",
        f"bars: {look.bars_note(frames, unit)}",
        f"marked: {look.mark_note(content + unit)}",
    )


def _words_of(notes):
    """Notes as one list of words; expressions such as [0, 1] are one word."""
    text = "   ·   ".join(notes).replace("  ", " ")
    for together in ("[0, 1]", "Eq. ", "σ = "):
        text = text.replace(together, together.replace(" ", "\u00a0"))
    return text.split(" ")


# --- layout -----------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Tiling:
    """Where a video's tiles lie, row by row; all in pixels. A tile is a label, a picture and the bars over time."""

    columns: int
    rows: int  # of each explanation
    cell: int  # width of a tile; more than its picture's where that is too narrow for a label
    width: int  # of the picture in a tile
    height: int
    text: int  # size of the labels
    canvas: tuple[int, int]  # width, height of the whole, even
    header: int  # height of the sentence above
    footer: int  # height of the small print
    side: int = 0  # width of the headings of explanations side by side
    stack: int = 1  # how many explanations stand below each other, each with a row of tiles
    gap: int = 8

    @property
    def band(self):
        """Height of the label above a tile, pixels."""
        return round(1.75 * self.text)

    @property
    def strip(self):
        """Height of the bars."""
        return round(1.6 * self.text)

    @property
    def line(self):
        """Height of a row of tiles."""
        return self.band + self.height + self.strip + 2 * self.gap

    def label(self, index):
        """Left end of one tile's label and bars, both `cell` wide, x."""
        return self.corner(index)[0] - (self.cell - self.width) // 2

    def corner(self, index, of=0):
        """Upper left corner, (x, y), of the picture in a tile; of: which of the explanations side by side."""
        row, column = divmod(index, self.columns)
        across = self.side + self.columns * (self.cell + self.gap) - self.gap
        x = (self.canvas[0] - across) // 2 + self.side + column * (self.cell + self.gap) + (self.cell - self.width) // 2
        return x, self.header + self.gap + (row * self.stack + of) * self.line + self.band

    def middle(self):
        """`corner` of a first tile that all explanations share, before their headings, in the middle of their rows."""
        x, y = self.corner(0)
        return x - self.side, y + (self.stack - 1) * self.line // 2


def tiling(num_tiles, width, height, limit=LIMIT, room=(0, 34, 0), one_row=False, stack=1):
    """The grid with the largest tiles of the source's shape that fit into `limit`, which is also its rough shape.

    Small sources are enlarged until their shorter side has 480 pixels, no further; larger ones never are. Where the
    limit leaves no room for legible labels and pictures, it is exceeded.

    Args:
        num_tiles: how many.   width, height: of the source, pixels.   limit: of the whole canvas, (width, height).
        room: kept above, below and at the left, pixels.   one_row: all tiles side by side.
        stack: how many explanations have such tiles, row below row.
    Returns:
        A Tiling.

    Example:
        >>> [(t.columns, t.rows) for t in (tiling(n, 320, 240) for n in (2, 6, 11, 25))]
        [(2, 1), (3, 2), (4, 3), (7, 4)]
    """
    gap, limit, (header, footer, side) = Tiling.gap, tuple(limit), room
    if one_row:
        limit = (min(max(limit[0], side + num_tiles * (2 * NARROWEST + gap) + gap), WIDEST), limit[1])
    largest = max(1, int(width * max(1.0, 480 / min(width, height))))
    smallest = min(largest, SMALLEST * min(1.0, width / height))
    best = (1, 1, num_tiles)
    for rows in range(1, 2 if one_row else num_tiles + 1):
        columns = -(-num_tiles // rows)
        across = (limit[0] - side - gap) / columns - gap
        if across < NARROWEST and rows < num_tiles and not one_row:
            continue
        tile = int(min(across, largest))
        for _ in range(3):  # the text's size depends on the tile's width and takes height from it
            around = _around(_label_size(tile), gap)
            tile = int(min(tile, ((limit[1] - header - footer - gap) / (rows * stack) - around) * width / height))
        if tile > best[0]:
            best = (tile, columns, rows)
    tile, columns, rows = best
    if tile < int(smallest) and limit[1] < WIDEST:
        return tiling(num_tiles, width, height, [round(1.2 * side) for side in limit], room, one_row, stack)
    text = _label_size(tile)
    cell, tile_height = max(tile, NARROWEST), max(1, round(tile * height / width))
    across = max(side + columns * (cell + gap) + gap, min(NARROW_CANVAS, limit[0]))
    down = header + rows * stack * (tile_height + _around(text, gap)) + gap + footer
    canvas = across + across % 2, down + down % 2
    return Tiling(columns, rows, cell, tile, tile_height, text, canvas, header, footer, side, stack)


def _label_size(tile):
    return int(np.clip(tile / 14, 15, 26))


def _around(text, gap):
    """What a tile's label, bars and gaps add to its picture's height."""
    return round(1.75 * text) + round(1.6 * text) + 2 * gap


def arrange(sentence, num_phrases, geometry, notes, layout="grid", limit=LIMIT, headings=()):
    """The tiling of a saliency video, with as much room above and below as sentence and small print take.

    Args:
        sentence, notes: words of either.   num_phrases: K.   layout: one of `drawing.LAYOUTS`.
        limit: as of `tiling`.   headings: of explanations side by side, see `drawing.headings_of`.
    """
    num_tiles = 1 if layout == "single" else 1 + num_phrases
    side, stack = upright_width(headings, HEADING), max(1, len(headings))
    heights, needed = (0, 0), (50, 34)  # the width depends on the room that is left, lines on the width
    while needed[0] > heights[0] or needed[1] > heights[1]:
        heights = tuple(map(max, needed, heights))
        room = (*heights, side)
        tiles = tiling(num_tiles, geometry.width, geometry.height, limit, room, layout == "strip", stack)
        size, pad = _sentence_size(tiles), _pad(tiles)
        lines = wrap(sentence, tiles.canvas[0] - 2 * pad - size, font_of(size, True))
        small = wrap(notes, tiles.canvas[0] - 2 * pad - SCALE, font_of(13))
        needed = (round(1.5 * size) * len(lines) + 14, 18 * len(small) + 14)
    width, height = tiles.canvas
    height -= sum(heights) - sum(needed)  # narrower canvases on the way here took more lines
    return dataclasses.replace(tiles, canvas=(width, height + height % 2), header=needed[0], footer=needed[1])


def _sentence_size(tiles):
    return int(np.clip(tiles.canvas[0] / 55, tiles.text + 2, 32))


def _pad(tiles):
    return max(tiles.gap, min(tiles.label(0) - tiles.side, 24))


# --- drawing ----------------------------------------------------------------------------------------------------------


class _Scene:
    """What the frames of a video are composed of: labels, bars and text, drawn once, over them pictures and maps.

    Args:
        rows: E of _Row.   notes: lines of small print.
    """

    def __init__(self, rows, notes):
        self.rows, first = rows, rows[0].shown
        self.sentence, self.phrases, self.look = first.explanation.words, first.phrases, first.look
        for row in rows:
            palette(row.shown.look.cmap)  # refuses an unknown name before anything is written
        self.notes, self.single = _words_of(notes), self.look.layout == "single"
        self.with_maps = any(row.e is not None for row in rows)
        of, headings = first.geometry, headings_of([row.shown for row in rows])
        limit = self.look.limit or LIMIT
        self.tiles = arrange(self.sentence, len(self.phrases), of, self.notes, self.look.layout, limit, headings)
        self.size = (self.tiles.width, self.tiles.height)
        self.geometries = [resized(row.shown.geometry, *self.size) for row in rows]
        self.canvas = np.asarray(self._page([None] * len(rows)))
        self.patches = {}  # by the phrases that lead in the rows

    def compose(self, frame, moments, time):
        """One frame of the video, (h, w, 3) uint8.

        Args:
            frame: of the source.   moments: of each row, `_Row.at`.   time: seconds.
        """
        tiles, picture, backdrop = self.tiles, self.canvas.copy(), Backdrop(shrunk(frame, self.size))
        leads = tuple(lead for _, lead, _ in moments)
        if leads not in self.patches:
            self.patches[leads] = self._patches(leads)
        for (x, y), patch in self.patches[leads]:
            picture[y : y + patch.shape[0], x : x + patch.shape[1]] = patch
        if not self.single:
            x, y = tiles.middle()
            picture[y : y + tiles.height, x : x + tiles.width] = backdrop.lit
        for row, (maps, _, share) in enumerate(moments):
            for tile, image in enumerate(self._pictures(backdrop, row, maps), start=not self.single):
                x, y = tiles.corner(tile, row)
                picture[y : y + tiles.height, x : x + tiles.width] = image
                self._draw_cursor(picture, tiles.label(tile), y + tiles.height, share)
        self._draw_time(picture, time)
        return picture

    def _pictures(self, backdrop, row, maps):
        """The pictures of one row's tiles."""
        if maps is None:
            return [backdrop.lit] * (1 if self.single else len(self.phrases))
        look = self.rows[row].shown.look
        return [look.overlay(backdrop, e_map) for e_map in look.upsample(maps, self.geometries[row])]

    def _patches(self, leads):
        """Parts that differ where these phrases lead: sentence, their tiles' labels and, of a single tile, its bars."""
        tiles, page = self.tiles, self._page(leads)
        boxes = [(0, 0, tiles.canvas[0], tiles.header)]
        for row, lead in enumerate(leads):
            tile = 0 if self.single else lead + 1
            x, y = tiles.label(tile), tiles.corner(tile, row)[1]
            boxes.append((x, y - tiles.band, x + tiles.cell, y))
            if self.single:
                boxes.append((x, y + tiles.height, x + tiles.cell, y + tiles.height + tiles.strip))
        return [(box[:2], np.asarray(page.crop(box))) for box in boxes]

    def _page(self, leads):
        """Labels, strips, headings, sentence and small print, with each row's leading phrase marked."""
        tiles = self.tiles
        page = Image.new("RGB", tiles.canvas, NIGHT)
        draw = ImageDraw.Draw(page)
        self._draw_sentence(draw, {k for lead in leads if lead is not None for k in self.phrases[lead].words})
        if not self.single:
            self._draw_label(
                draw, (tiles.label(0) - tiles.side, tiles.middle()[1]), "source", "", (NIGHT, NIGHT_FAINT), bold=False
            )
        for row, lead in enumerate(leads):
            if self.single:
                self._draw_tile(page, draw, (0, row), lead or 0, marked=True)
            else:
                for k in range(len(self.phrases)):
                    self._draw_tile(page, draw, (k + 1, row), k, marked=k == lead)
            if tiles.side:
                self._draw_heading(page, row)
        self._draw_footer(page, draw)
        return page

    def _draw_heading(self, page, row):
        """What tells an explanation from the others, from bottom to top at the left of its tiles."""
        tiles, heading = self.tiles, self.rows[row].shown.heading
        step = round(LINE * HEADING)
        for block in range(tiles.rows):
            first = block * tiles.columns + (block == 0 and not self.single)
            left, top = tiles.label(first) - tiles.side, tiles.corner(first, row)[1]
            for k, line in enumerate(heading):
                text, font = fit(line, tiles.height, HEADING, bold=True)
                strip = Image.new("RGB", (tiles.height, step), NIGHT)
                ImageDraw.Draw(strip).text((tiles.height // 2, step // 2), text, NIGHT_INK, font, "mm")
                page.paste(strip.rotate(90, expand=True), (left + k * step, top))

    def _draw_tile(self, page, draw, place, k, marked):
        """Label and bars of phrase k; place: its tile and row."""
        (tile, row), tiles = place, self.tiles
        number = f"{k + 1}/{len(self.phrases)}" if len(self.phrases) > 1 else ""
        colours = (MARK, MARK_INK) if marked else (NIGHT_BAND, NIGHT_INK)
        x, y = tiles.label(tile), tiles.corner(tile, row)[1]
        self._draw_label(draw, (x, y), self.phrases[k].name, "" if self.single else number, colours)
        page.paste(self.rows[row].bars.draw(k, tiles.cell, tiles.strip), (x, y + tiles.height))

    def _draw_label(self, draw, place, name, number, colours, bold=True):
        """A label; place: its lower left corner; colours: of its background and text."""
        tiles, (x, y), (paper, ink) = self.tiles, place, colours
        pad = round(0.45 * tiles.text)
        draw.rectangle((x, y - tiles.band, x + tiles.cell - 1, y - 1), fill=paper)
        middle, small = y - tiles.band // 2, font_of(max(12, round(0.65 * tiles.text)))
        room = tiles.cell - 2 * pad
        beside = room - small.getlength(number) - pad
        if number and font_of(tiles.text, bold).getlength(name) <= beside:
            draw.text((x + tiles.cell - pad, middle), number, fill=ink, font=small, anchor="rm")
        text, font = fit(name, room, tiles.text, bold)
        draw.text((x + pad, middle), text, fill=ink, font=font, anchor="lm")

    def _draw_sentence(self, draw, marked):
        size, pad = _sentence_size(self.tiles), _pad(self.tiles)
        font, step = font_of(size, True), round(1.5 * size)
        shown = {k for phrase in self.phrases for k in phrase.words}
        width, rim = self.tiles.canvas[0] - 2 * pad - size, size // 7
        for row, line in enumerate(wrap(self.sentence, width, font)):
            x, y = pad + size // 3, 8 + row * step + step // 2
            for k in line:
                reach = x + font.getlength(fit(self.sentence[k], width, size, bold=True)[0])
                if k in marked:
                    joined = font.getlength(" ") if k + 1 in marked and k != line[-1] else rim
                    draw.rectangle((x - rim, y - step // 2 + 2, reach + joined, y + step // 2 - 3), fill=MARK)
                x = reach + font.getlength(" ")
            x = pad + size // 3
            for k in line:
                text, fitted = fit(self.sentence[k], width, size, bold=True)
                ink = MARK_INK if k in marked else NIGHT_INK if k in shown else NIGHT_FAINT
                draw.text((x, y), text, fill=ink, font=fitted, anchor="lm")
                x += font.getlength(self.sentence[k] + " ")

    def _draw_footer(self, page, draw):
        """The scale and what it means, in small print."""
        font, pad = font_of(13), _pad(self.tiles)
        top = self.tiles.canvas[1] - self.tiles.footer + 13
        if self.with_maps:
            draw.text((pad, top), self.look.ends[0], fill=NIGHT_FAINT, font=font, anchor="lm")
            page.paste(colour_bar(90, 12, self.look.scale_colours), (pad + 13, top - 6))
            draw.text((pad + 108, top), self.look.ends[1], fill=NIGHT_FAINT, font=font, anchor="lm")
        left = pad + SCALE * self.with_maps
        for row, line in enumerate(wrap(self.notes, self.tiles.canvas[0] - 2 * pad - SCALE, font)):
            text = " ".join(self.notes[k] for k in line).strip("· ")
            draw.text((left, top + 18 * row), text, fill=NIGHT_FAINT, font=font, anchor="lm")

    def _draw_cursor(self, picture, x, y, share):
        """The present moment among one tile's bars: a bright line with a rim of the background's colour."""
        tiles = self.tiles
        at = x + min(max(round(share * tiles.cell), 2), tiles.cell - 2)
        picture[y : y + tiles.strip, at - 2 : at + 2] = ImageColor.getrgb(NIGHT_BAND)
        picture[y : y + tiles.strip, at - 1 : at + 1] = 255

    def _draw_time(self, picture, time):
        """The time, at the right of the first tile's label, where there is room."""
        tiles, text = self.tiles, f"{time:.1f} s"
        font = font_of(max(12, round(0.7 * tiles.text)))
        pad, length = round(0.45 * tiles.text), round(font.getlength(text)) + 2
        name = max(self.phrases, key=lambda p: len(p.name)).name if self.single else "source"
        if font_of(tiles.text, self.single).getlength(name) + length + 3 * pad > tiles.cell:
            return
        left, top = (0, tiles.corner(0)[1]) if self.single else (-tiles.side, tiles.middle()[1])
        x, y = left + tiles.label(0) + tiles.cell - pad - length, top - tiles.band
        image = Image.new("RGB", (length, tiles.band), MARK if self.single else NIGHT)
        ink = MARK_INK if self.single else NIGHT_FAINT
        ImageDraw.Draw(image).text((length, tiles.band // 2), text, fill=ink, font=font, anchor="rm")
        picture[y : y + tiles.band, x : x + length] = image


class _Bars:
    """alpha_t of each phrase as a bar chart, and over it the second curve of those that have one.

    Args:
        alpha: (K, m), of `Look.bars`.   beside: {index of a phrase: e (m,) of its second curve}.
        baseline: `Look.baseline`.
    """

    EDGE, FINER = 3, 4  # pixels free above and below; how much finer a line is drawn before it is made smooth

    def __init__(self, alpha, beside, baseline):
        self.alpha, self.beside, self.baseline = alpha, beside, baseline

    def draw(self, k, width, height):
        """The strip of phrase k, a Pillow image."""
        strip = _bars(self.alpha[k], (width, height), self.EDGE, self.baseline)
        if k in self.beside:
            strip.paste(BESIDE, mask=self._line(self.beside[k], width, height))
        return strip

    def _line(self, e, width, height):
        """The opacity of a line through the middles of the bars, from 0 at the bars' foot to 1 at their top."""
        x = (np.arange(len(e)) + 0.5) * width / len(e)
        y = height - self.EDGE - 1 - e * (height - 2 * self.EDGE - 2)
        mask = Image.new("L", (self.FINER * width, self.FINER * height))
        points = [tuple(point) for point in self.FINER * np.stack([x, y], axis=1)]
        ImageDraw.Draw(mask).line(points, fill=255, width=2 * self.FINER, joint="curve")
        return mask.resize((width, height), Image.Resampling.BOX)


def _bars(alpha, size, edge, baseline):
    """alpha_t as a bar chart: one bar per sampled frame, the phrase's largest value at full height.

    Args:
        alpha: (m,).   size: (width, height).   edge: pixels free above and below.
        baseline: share of the height at which bars begin; negative values reach down from it.
    """
    width, height = size
    item = np.minimum((np.arange(width) + 0.5) * len(alpha) / width, len(alpha) - 1).astype(int)
    share = (alpha / max(np.abs(alpha).max(), 1e-12))[item]
    reach, zero = (1 - baseline) * share, height - edge - round(baseline * (height - 2 * edge))
    length = np.maximum(1, np.round(np.abs(reach) * (height - 2 * edge)))
    first = np.where(share < 0, zero, zero - length)
    rows = np.arange(height)[:, None]
    filled = (rows >= first) & (rows < first + length)
    if width >= 4 * len(alpha):  # a pixel between bars where there is room
        filled &= np.append(item[1:] == item[:-1], True)
    strip = np.full((height, width, 3), ImageColor.getrgb(NIGHT_BAND), np.uint8)
    shade = (90 + 110 * np.abs(share))[:, None] * np.array([0.86, 0.92, 1.0])
    return Image.fromarray(np.where(filled[..., None], shade.astype(np.uint8), strip))
