"""The storyboard of a video: each word's saliency over time and its most salient frames, after the paper's Fig. 5.

Letters: K words or phrases; m sampled frames; G x G grid.
"""

import dataclasses
import math

import numpy as np
from matplotlib import colors

from s2vt.rendering.drawing import (
    BAR,
    FAINT_INK,
    INK,
    Backdrop,
    Page,
    drawn_evidence,
    fit,
    font_of,
    resized,
    scale_width,
    second_curves,
    shrunk,
    size_of,
    text_height,
    wrap,
)

ROWS = 12  # at most
TITLE, LABEL, SMALL = 31, 28, 17  # sizes of text, pixels; 28 and 17: 8 and 5 points on a page of a paper
MARGIN, GAP, PLOT, STAMP = 28, 14, 640, 32  # pixels; width of a curve; height of the line with rank and time
NOTE = 28  # height of a line of the legend

# Dark and far apart on white; neighbours differ in hue and in lightness.
WORD_COLOURS = ("#c4342d", "#1f6fb4", "#2a8a3e", "#8b3fa8", "#d07a00", "#0f8b8d", "#a03a6b", "#5b5bd6", "#7a5230")


def storyboard(path, explanation, phrases, thumbnails, span, look):
    """Each phrase's saliency over time and its most salient frames, after the paper's Fig. 5.

    One row per phrase: e over the sampled frames (`heatmaps.temporal_saliency`) as a curve and as greys (darker = more
    salient), linear in [0, 1] and not normalised to sum 1; its three most salient frames, numbered by rank and marked
    on the curve, with their maps and times. Of a kind of map without values in space, the frames are drawn without a
    map. Phrases with a second curve (`Evidence.beside`) have it dashed.

    Args:
        path: the file to write, *.png, *.pdf or *.svg.
        explanation: `s2vt.saliency.explanation.Explanation` of a video.
        phrases: K of `s2vt.data.phrases.Phrase`. Of more than ROWS, those with the largest alpha_t are drawn,
            in their order, and the others are named below.
        thumbnails: the m sampled frames, a sequence of (h, w, 3) uint8 of any one size.
        span: (first, last) second of the time axis.
        look: `Look`.
    Raises:
        UserError: if path cannot be written, or the kind of map has no values in time.
        ValueError: if the shapes disagree.
    """
    if len(thumbnails) != len(explanation.times):
        raise ValueError(f"expected m = {len(explanation.times)} thumbnails, received {len(thumbnails)}")
    cells, frames = drawn_evidence(explanation, phrases, look)
    e_cells = None if cells is None else look.to_draw(cells, explanation.geometry_of(look.kind))
    e_frames = look.curves(frames)
    drawn = most_concentrated(look.bars(frames), ROWS)
    beside = second_curves(explanation, phrases, look)
    notes, omitted = _notes(look, cells, beside.keys() & drawn), _omitted(phrases, drawn)
    board = Board.of(explanation, [phrases[k] for k in drawn], notes, omitted)
    axis = TimeAxis(board.left, board.left + PLOT, *span, np.asarray(explanation.times, float))
    geometry = resized(explanation.geometry_of(look.kind), *board.size)

    page = Page(board.width, board.height)
    _draw_sentence(page, board, explanation.words)
    for row, k in enumerate(drawn):
        plot = Plot(axis, e_frames[k], (board.y(row), board.y(row) + board.row), board.colour(row), look, beside.get(k))
        _draw_row(page, board, row, plot)
        for rank, i in enumerate(plot.ranks):
            e_map = None
            if e_cells is not None:
                e_map = look.upsample(e_cells[k, i], geometry)
            picture = look.overlay(Backdrop(shrunk(thumbnails[i], board.size)), e_map)
            _draw_frame(page, board, row, rank, axis.times[i], picture)
    _draw_time_axis(page, axis, board.y(len(drawn)) - GAP // 2)
    _draw_legend(page, board, notes, omitted, look)
    page.save(path)


def most_concentrated(alpha, count):
    """Rows with the largest maximum, at most `count`, in their order.

    Example:
        >>> most_concentrated([[0.3, 0.7], [0.5, 0.5], [0.9, 0.1]], 2)
        [0, 2]
    """
    order = np.argsort(-np.max(alpha, axis=1), kind="stable")
    return sorted(int(k) for k in order[:count])


def most_salient(e, count=3):
    """The highest of e, best first; neighbours of a chosen one only when nothing else is left.

    Of more than 26 frames, all within a thirteenth of the clip are neighbours.

    Example:
        >>> most_salient([0.1, 0.9, 1.0, 0.8, 0.3, 0.2])
        [2, 4, 0]
    """
    order = [int(i) for i in np.argsort(-np.asarray(e), kind="stable")]
    chosen = []
    for distance in (max(2, len(order) // 13), 1):
        for i in order:
            if len(chosen) < count and all(abs(i - j) >= distance for j in chosen):
                chosen.append(i)
    return chosen


# --- layout -----------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Board:
    """Where the parts of a storyboard lie, in pixels.

    Attributes:
        phrases: K that have a row.   size: (width, height) of a frame.   label: width of the rows' names.
        width, height: of the page.   top: y of the first row.
    """

    phrases: tuple
    size: tuple[int, int]
    label: int
    width: int
    top: int
    height: int

    @classmethod
    def of(cls, explanation, phrases, notes, omitted):
        """Lays out a storyboard, with as much room for the sentence and the legend as they take.

        Args:
            phrases: those with a row.   notes, omitted: of the legend, lines and words.
        """
        # Up to six rows fit on a page of a paper; the frames of more are drawn smaller.
        size = size_of(explanation.geometry, 46_000 * min(1.0, 6 / len(phrases)), longest=420)
        longest = max(font_of(LABEL, True).getlength(phrase.name) for phrase in phrases)
        label = int(np.clip(longest + 40, 120, 340))
        frames = min(3, len(explanation.times)) * (max(size[0], 120) + GAP) - GAP
        inside = max(label + PLOT + 24 + frames, *(scale_width(note, SMALL) for note in notes))
        top = MARGIN + text_height(explanation.words, inside, TITLE, bold=True) + 18
        board = cls(tuple(phrases), size, label, inside + 2 * MARGIN, top, 0)
        more = text_height(omitted, board.legend, SMALL) if omitted else 0
        return dataclasses.replace(board, height=board.y(len(phrases)) + 48 + NOTE * len(notes) + more)

    @property
    def left(self):
        """Left end of the curves, x."""
        return MARGIN + self.label

    @property
    def legend(self):
        """Width of the legend's text."""
        return self.width - 2 * MARGIN - SMALL

    @property
    def row(self):
        """Height of a row."""
        return max(self.size[1] + STAMP, 130)

    def y(self, row):
        """Top of a row."""
        return self.top + row * (self.row + 2 * GAP)

    def x(self, rank):
        """Left end of a row's frame."""
        return self.left + PLOT + 24 + rank * (max(self.size[0], 120) + GAP)  # room for rank and time above it

    def colour(self, row):
        return WORD_COLOURS[row % len(WORD_COLOURS)]


@dataclasses.dataclass(frozen=True)
class TimeAxis:
    """Seconds of the source, from `first` to `last`, between two places of a page, and the times of the m frames."""

    left: float
    right: float
    first: float
    last: float
    times: np.ndarray

    @property
    def seconds(self):
        return max(self.last - self.first, 1e-6)

    def x(self, time):
        return self.left + (np.asarray(time) - self.first) / self.seconds * (self.right - self.left)


@dataclasses.dataclass(frozen=True)
class Plot:
    """One phrase's saliency over time and where it is drawn: a curve, below it greys.

    Attributes:
        e: (m,), of `Look.curves`.   reach: y of both together, from the top to the bottom.   look: `Look`.
        beside: the second curve, (m,), in [0, 1], or None.
    """

    GREYS = 28  # height of the greys, pixels

    axis: TimeAxis
    e: np.ndarray
    reach: tuple[int, int]
    colour: str
    look: object
    beside: np.ndarray | None = None

    @property
    def top(self):
        return self.reach[0]

    @property
    def bottom(self):
        return self.reach[1]

    @property
    def ranks(self):
        """The most salient frames, those farthest from zero."""
        return most_salient(np.abs(self.e))

    def y(self, e):
        """y of values of the curve."""
        return self.low - self.share(e) * (self.low - self.high)

    def share(self, e):
        """Values of the curve as shares of its height, and of the scale."""
        return self.look.baseline + (1 - self.look.baseline) * e

    @property
    def high(self):
        """y of e = 1; above it is room for the ranks."""
        return self.top + 30

    @property
    def low(self):
        """y of the smallest value."""
        return self.bottom - self.GREYS - 6

    def points(self, e):
        """The curve of e (m,), (m, 2)."""
        return np.stack([self.axis.x(self.axis.times), self.y(e)], axis=1)


def _notes(look, cells, beside):
    """What curves and maps mean: of the curve, of the map and, if any row has one, of the second curve."""
    curve = look.curve_note()
    of_map = f"map: {look.legend()}"
    if cells is None:
        of_map = f"frames without a map: {look.title} has values in time only"
    second = (f"dashed: {look.beside()}",) if beside else ()
    return curve, of_map, *second


def _omitted(phrases, drawn):
    """Which phrases have no row, as words of the legend; none if all have one."""
    names = dict.fromkeys(phrase.name for k, phrase in enumerate(phrases) if k not in drawn)
    text = f"{len(drawn)} of {len(phrases)} rows, those with the largest α; not drawn: {', '.join(names)}"
    return text.split() if names else []


# --- drawing ----------------------------------------------------------------------------------------------------------


def _draw_sentence(page, board, words):
    """The sentence, words of a row in the row's colour."""
    shades = ["#8a8a8a"] * len(words)
    for row, phrase in enumerate(board.phrases):
        for k in phrase.words:
            shades[k] = board.colour(row)
    page.words(MARGIN, MARGIN, words, shades, board.width - 2 * MARGIN, TITLE, bold=True)


def _draw_row(page, board, row, plot):
    """A row without its frames: a rule above it, the phrase, its curve and greys."""
    y = board.y(row)
    page.line([(MARGIN, y - GAP // 2 - 0.5), (board.width - MARGIN, y - GAP // 2 - 0.5)], "#e2e2e2")
    _draw_label(page, y + board.row / 2, board.phrases[row].name, board.label - 38, plot.colour)
    _draw_curve(page, plot)
    _draw_greys(page, plot)


def _draw_label(page, y, name, width, colour):
    """A row's name, centred on y, in as many lines as it takes."""
    words = name.split()
    lines = wrap(words, width, font_of(LABEL, True))
    for k, line in enumerate(lines):
        text, font = fit(" ".join(words[j] for j in line), width, LABEL, bold=True)
        page.text(MARGIN, y + (k - (len(lines) - 1) / 2) * 1.3 * LABEL, text, font.size, colour, bold=True)


def _draw_curve(page, plot):
    """e over time between rules at 0, 0.5 and 1, the most salient frames numbered."""
    axis, points = plot.axis, plot.points(plot.e)
    for rule in (plot.low, (plot.low + plot.high) / 2, plot.high):
        page.line([(axis.left, rule), (axis.right, rule)], "#dcdcdc")
    zero = plot.y(0)
    page.area([(points[0, 0], zero), *points, (points[-1, 0], zero)], _tint(plot.colour, 0.16))
    for i in plot.ranks:
        page.line([points[i], (points[i, 0], zero)], plot.colour)
    page.line(points, plot.colour, 2.2)
    page.dots(points, plot.colour, 4.5)
    if plot.beside is not None:
        page.line(plot.points(plot.beside), INK, 2.2, "--")
    for y, text in ((plot.high, plot.look.ends[1]), (plot.low, plot.look.ends[0])):
        page.text(axis.left - 7, y, text, SMALL, FAINT_INK, anchor="rm")
    for rank, i in reversed(list(enumerate(plot.ranks))):
        x, y = points[i]
        page.rank(float(np.clip(x, axis.left + 12, axis.right - 12)), max(y - 17, plot.top + 12), rank + 1, plot.colour)


def _draw_greys(page, plot):
    """e as greys; each sampled frame's reaches halfway to its neighbours."""
    axis, top = plot.axis, plot.bottom - plot.GREYS
    edges = axis.x((axis.times[1:] + axis.times[:-1]) / 2)
    e = plot.e[np.searchsorted(edges, np.arange(axis.left, axis.right) + 0.5)]
    strip = plot.look.shades(plot.share(e))
    page.picture(np.broadcast_to(strip, (plot.GREYS, *strip.shape)), axis.left, top)
    page.frame(axis.left, top, axis.right, plot.bottom, "#b0b0b0")
    for x in axis.x(axis.times[plot.ranks]):
        page.line([(x, top - 3), (x, plot.bottom + 3)], plot.colour, 3)


def _draw_frame(page, board, row, rank, time, picture):
    """One of a row's most salient frames, with its rank and time above."""
    (x, y), (width, height), colour = (board.x(rank), board.y(row)), board.size, board.colour(row)
    page.text(x + 32, y + STAMP // 2 - 2, f"{time:.2f} s", 19)
    page.rank(x + 12, y + STAMP // 2 - 2, rank + 1, colour)
    page.picture(picture, x, y + STAMP)
    page.frame(x - 1, y + STAMP - 1, x + width + 1, y + STAMP + height + 1, colour, 2)


def _draw_time_axis(page, axis, y):
    """Seconds of the source, with ticks at round numbers."""
    unit = 10.0 ** math.floor(math.log10(axis.seconds / 6))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= axis.seconds / 6)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    page.line([(axis.left, y), (axis.right, y)], FAINT_INK)
    for k in range(math.ceil(axis.first / step - 1e-6), math.floor(axis.last / step + 1e-6) + 1):
        x = axis.x(k * step)
        page.line([(x, y), (x, y + 5)], FAINT_INK)
        page.text(x, y + 8, f"{k * step:.{digits}f}", SMALL, FAINT_INK, anchor="ma")
    page.text(axis.right + 12, y, "s", SMALL, FAINT_INK)


def _draw_legend(page, board, notes, omitted, look):
    """What curves and maps mean and, where rows are omitted, of which phrases."""
    x, y = MARGIN + SMALL, board.y(len(board.phrases)) + 56
    page.scale(MARGIN, y, look.shades, notes[0], SMALL, look.ends)
    if notes[1].startswith("frames without"):
        page.text(x, y + NOTE, notes[1], SMALL, FAINT_INK)
    else:
        page.scale(MARGIN, y + NOTE, look.scale_colours, notes[1], SMALL, look.ends)
    if notes[2:]:
        page.line([(x, y + 2 * NOTE), (x + BAR * SMALL, y + 2 * NOTE)], INK, 2.2, "--")
        page.text(x + (BAR + 2) * SMALL, y + 2 * NOTE, notes[2], SMALL, FAINT_INK)
    page.words(x, y + NOTE * len(notes) - SMALL // 2, omitted, [FAINT_INK] * len(omitted), board.legend, SMALL)


def _tint(colour, share):
    """The colour mixed with white, as matplotlib takes it."""
    return tuple(1 - share * (1 - np.array(colors.to_rgb(colour))))
