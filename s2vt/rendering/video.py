"""The saliency video: words side by side over the moving picture, their evidence over time, and the sentence above.

Frames are composed with numpy and Pillow, one at a time, and encoded as they come: memory does not grow with the clip.

Letters: K words or phrases; m sampled frames; G x G grid; H, W height and width of the source.
"""

import dataclasses
from pathlib import Path

import numpy as np
from PIL import Image, ImageColor, ImageDraw

from s2vt.data.video_writer import ANIMATION_SUFFIXES, VideoWriter
from s2vt.rendering.drawing import (
    Backdrop,
    colour_bar,
    content_phrases,
    drawn_evidence,
    fit,
    font_of,
    palette,
    resized,
    second_curves,
    shrunk,
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


# --- the video --------------------------------------------------------------------------------------------------------


def saliency_video(path, frames, frame_rate, explanation, phrases, look):
    """Writes `saliency_frames` as a video or animation.

    Args:
        path: the file to write; its ending is one that `VideoWriter` knows. Animations are smaller, see
            `Look.limit`, and name their size and rate in the small print.
        The others: as of `saliency_frames`.
    Raises:
        UserError: if path cannot be written or there is no such colour map; nothing is left behind then, nor after any
            other error.
        ValueError: if the shapes disagree or there is no frame.
    """
    notes, suffix = (), Path(path).suffix.lower()
    if suffix in ANIMATION_SUFFIXES:
        look = dataclasses.replace(look, limit=look.limit or ANIMATION_LIMIT)
        notes = (f"{suffix[1:].upper()}: {float(frame_rate):.3g} frames/s, within {look.limit[0]}x{look.limit[1]}",)
    canvas, pictures = saliency_frames(frames, frame_rate, explanation, phrases, look, notes)
    with VideoWriter(path, *canvas, frame_rate, preset="veryfast") as video:
        for picture in pictures:
            video.write(picture)


def saliency_frames(frames, frame_rate, explanation, phrases, look, notes=()):
    """Where and when each phrase of a sentence has its evidence, frame by frame.

    "grid" and "strip": the source comes first, then a tile for each phrase, its saliency over the moving picture and
    below it alpha_t over the sampled frames with a cursor. "single": one picture with the map of the phrase that leads
    at the moment (`Leader`). Above stands the sentence; the leading phrase is marked in it. Between two sampled frames
    the map is interpolated linearly in time. Of a kind of map without values in space, the tiles have no map.
    Phrases with a second curve (`Evidence.beside`) have it as a line over the bars.

    Args:
        frames: iterable of (time in seconds, (H, W, 3) uint8), one for each frame of the video, evenly spaced; the
            clock is that of `explanation.times`.
        frame_rate: of the video, frames per second, a Fraction.
        explanation: `s2vt.saliency.explanation.Explanation` of the video, its times not decreasing.
        phrases: K of `s2vt.data.phrases.Phrase`.
        look: `Look`.
        notes: more lines of small print.
    Returns:
        (width, height) of the canvas, and a generator of its pictures, (height, width, 3) uint8, one held at a time.
    Raises:
        UserError: if there is no such colour map, or the kind of map has no values in time.
        ValueError: if the shapes disagree.
    """
    cells, evidence = drawn_evidence(explanation, phrases, look)
    e = None if cells is None else look.to_draw(cells, explanation.geometry_of(look.kind))
    alpha = look.bars(evidence)
    leader = Leader(alpha, explanation.times, content_phrases(phrases) or range(len(phrases)))
    beside = second_curves(explanation, phrases, look)
    if beside:
        notes = f"orange line: {look.beside()}", *notes
    notes = *small_print(alpha.shape[1], phrases, look, e is None), *notes
    bars = _Bars(alpha, beside, look.baseline)
    scene = _Scene(explanation, phrases, bars, look, notes, with_maps=e is not None)
    fade = _Fade(len(phrases), frame_rate)
    # A clip of fewer than m frames is sampled repeatedly; frames of equal times have equal maps.
    knots, positions = np.unique(explanation.times, return_index=True)

    def pictures():
        for time, frame in frames:
            position, lead = float(np.interp(time, knots, positions)), leader.at(time)
            maps = None if e is None else _at(e, position)
            if look.layout == "single":
                maps = fade.mix(maps, lead)
            yield scene.compose(frame, maps, lead, time, (position + 0.5) / alpha.shape[1])

    return scene.tiles.canvas, pictures()


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
    rows: int
    cell: int  # width of a tile; more than its picture's where that is too narrow for a label
    width: int  # of the picture in a tile
    height: int
    text: int  # size of the labels
    canvas: tuple[int, int]  # width, height of the whole, even
    header: int  # height of the sentence above
    footer: int  # height of the small print
    gap: int = 8

    @property
    def band(self):
        """Height of the label above a tile, pixels."""
        return round(1.75 * self.text)

    @property
    def strip(self):
        """Height of the bars."""
        return round(1.6 * self.text)

    def label(self, index):
        """Left end of one tile's label and bars, both `cell` wide, x."""
        return self.corner(index)[0] - (self.cell - self.width) // 2

    def corner(self, index):
        """Upper left corner of one tile's picture, (x, y)."""
        row, column = divmod(index, self.columns)
        across = self.columns * (self.cell + self.gap) - self.gap
        x = (self.canvas[0] - across) // 2 + column * (self.cell + self.gap) + (self.cell - self.width) // 2
        y = self.header + self.gap + row * (self.band + self.height + self.strip + 2 * self.gap) + self.band
        return x, y


def tiling(num_tiles, width, height, limit=LIMIT, header=0, footer=34, one_row=False):
    """The grid with the largest tiles of the source's shape that fit into `limit`, which is also its rough shape.

    Small sources are enlarged until their shorter side has 480 pixels, no further; larger ones never are. Where the
    limit leaves no room for legible labels and pictures, it is exceeded.

    Args:
        num_tiles: how many.   width, height: of the source, pixels.   limit: of the whole canvas, (width, height).
        header, footer: heights kept above and below, pixels.   one_row: all tiles side by side.
    Returns:
        A Tiling.

    Example:
        >>> [(t.columns, t.rows) for t in (tiling(n, 320, 240) for n in (2, 6, 11, 25))]
        [(2, 1), (3, 2), (4, 3), (7, 4)]
    """
    gap, limit = Tiling.gap, tuple(limit)
    if one_row:
        limit = (min(max(limit[0], num_tiles * (2 * NARROWEST + gap) + gap), WIDEST), limit[1])
    largest = max(1, int(width * max(1.0, 480 / min(width, height))))
    smallest = min(largest, SMALLEST * min(1.0, width / height))
    best = (1, 1, num_tiles)
    for rows in range(1, 2 if one_row else num_tiles + 1):
        columns = -(-num_tiles // rows)
        across = (limit[0] - gap) / columns - gap
        if across < NARROWEST and rows < num_tiles and not one_row:
            continue
        tile = int(min(across, largest))
        for _ in range(3):  # the text's size depends on the tile's width and takes height from it
            around = _around(_label_size(tile), gap)
            tile = int(min(tile, ((limit[1] - header - footer - gap) / rows - around) * width / height))
        if tile > best[0]:
            best = (tile, columns, rows)
    tile, columns, rows = best
    if tile < int(smallest) and limit[1] < WIDEST:
        return tiling(num_tiles, width, height, [round(1.2 * side) for side in limit], header, footer, one_row)
    text = _label_size(tile)
    cell, tile_height = max(tile, NARROWEST), max(1, round(tile * height / width))
    across = max(columns * (cell + gap) + gap, min(NARROW_CANVAS, limit[0]))
    down = header + rows * (tile_height + _around(text, gap)) + gap + footer
    return Tiling(columns, rows, cell, tile, tile_height, text, (across + across % 2, down + down % 2), header, footer)


def _label_size(tile):
    return int(np.clip(tile / 14, 15, 26))


def _around(text, gap):
    """What a tile's label, bars and gaps add to its picture's height."""
    return round(1.75 * text) + round(1.6 * text) + 2 * gap


def arrange(sentence, num_phrases, geometry, notes, layout="grid", limit=LIMIT):
    """The tiling of a saliency video, with as much room above and below as sentence and small print take.

    Args:
        sentence, notes: words of either.   num_phrases: K.   layout: one of `drawing.LAYOUTS`.
        limit: as of `tiling`.
    """
    num_tiles = 1 if layout == "single" else 1 + num_phrases
    heights, needed = (0, 0), (50, 34)  # the width depends on the room that is left, lines on the width
    while needed[0] > heights[0] or needed[1] > heights[1]:
        heights = tuple(map(max, needed, heights))
        tiles = tiling(num_tiles, geometry.width, geometry.height, limit, *heights, one_row=layout == "strip")
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
    return max(tiles.gap, min(tiles.label(0), 24))


# --- drawing ----------------------------------------------------------------------------------------------------------


class _Scene:
    """What the frames of a video are composed of: labels, bars and text, drawn once, over them pictures and maps."""

    def __init__(self, explanation, phrases, bars, look, notes, with_maps):
        self.sentence, self.phrases, self.bars, self.look = explanation.words, phrases, bars, look
        palette(look.cmap)  # refuses an unknown name before anything is written
        self.notes, self.with_maps, self.single = _words_of(notes), with_maps, look.layout == "single"
        geometry = explanation.geometry_of(look.kind)
        self.tiles = arrange(self.sentence, len(phrases), geometry, self.notes, look.layout, look.limit or LIMIT)
        self.size = (self.tiles.width, self.tiles.height)
        self.geometry = resized(geometry, *self.size)
        self.canvas = np.asarray(self._page(None))
        self.patches = [self._patches(k) for k in range(len(phrases))]

    def compose(self, frame, maps, lead, time, share):
        """One frame of the video, (h, w, 3) uint8.

        Args:
            frame: of the source.   maps: e of each tile, (K or 1, G, G), or None.   lead: the leading phrase.
            time: seconds.   share: of the bars' width, where the cursor is.
        """
        tiles, picture = self.tiles, self.canvas.copy()
        for (x, y), patch in self.patches[lead]:
            picture[y : y + patch.shape[0], x : x + patch.shape[1]] = patch
        for tile, image in enumerate(self._pictures(frame, maps)):
            x, y = tiles.corner(tile)
            picture[y : y + tiles.height, x : x + tiles.width] = image
            if self.single or tile:
                self._draw_cursor(picture, tiles.label(tile), y + tiles.height, share)
        self._draw_time(picture, time)
        return picture

    def _pictures(self, frame, maps):
        """The pictures of the tiles."""
        backdrop = Backdrop(shrunk(frame, self.size))
        if maps is None:
            shown = [backdrop.lit] * (1 if self.single else len(self.phrases))
        else:
            maps = self.look.upsample(maps, self.geometry)
            shown = [self.look.overlay(backdrop, e_map) for e_map in maps]
        return shown if self.single else [backdrop.lit, *shown]

    def _patches(self, lead):
        """Parts that differ where phrase `lead` leads: sentence, the tile's label and, of a single tile, its bars."""
        tiles, page = self.tiles, self._page(lead)
        tile = 0 if self.single else lead + 1
        x, y = tiles.label(tile), tiles.corner(tile)[1]
        boxes = [(0, 0, tiles.canvas[0], tiles.header), (x, y - tiles.band, x + tiles.cell, y)]
        if self.single:
            boxes.append((x, y + tiles.height, x + tiles.cell, y + tiles.height + tiles.strip))
        return [(box[:2], np.asarray(page.crop(box))) for box in boxes]

    def _page(self, lead):
        """Labels, strips, sentence and small print, with phrase `lead` marked."""
        tiles = self.tiles
        page = Image.new("RGB", tiles.canvas, NIGHT)
        draw = ImageDraw.Draw(page)
        self._draw_sentence(draw, self.phrases[lead].words if lead is not None else ())
        if self.single:
            lead = lead or 0
            self._draw_tile(page, draw, 0, lead, marked=True)
        else:
            self._draw_label(draw, 0, "source", "", NIGHT, NIGHT_FAINT, bold=False)
            for k in range(len(self.phrases)):
                self._draw_tile(page, draw, k + 1, k, marked=k == lead)
        self._draw_footer(page, draw)
        return page

    def _draw_tile(self, page, draw, tile, k, marked):
        number = f"{k + 1}/{len(self.phrases)}" if len(self.phrases) > 1 else ""
        colours = (MARK, MARK_INK) if marked else (NIGHT_BAND, NIGHT_INK)
        self._draw_label(draw, tile, self.phrases[k].name, "" if self.single else number, *colours)
        bars = self.bars.draw(k, self.tiles.cell, self.tiles.strip)
        page.paste(bars, (self.tiles.label(tile), self.tiles.corner(tile)[1] + self.tiles.height))

    def _draw_label(self, draw, tile, name, number, paper, ink, bold=True):
        tiles = self.tiles
        pad, x, y = round(0.45 * tiles.text), tiles.label(tile), tiles.corner(tile)[1]
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
        x, y = tiles.label(0) + tiles.cell - pad - length, tiles.corner(0)[1] - tiles.band
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
