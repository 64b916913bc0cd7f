"""The storyboard of a video: each word's saliency over time and its most salient frames, after the paper's Fig. 5.

Letters: E explanations side by side; K words or phrases; m sampled frames; G x G grid.
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
    check_alike,
    fit,
    font_of,
    headings_of,
    notes_of,
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
HEADING = 19  # size of the names of explanations side by side
DASHES = "--"  # style of a second curve, matplotlib's

# Dark and far apart on white; neighbours differ in hue and in lightness.
WORD_COLOURS = ("#c4342d", "#1f6fb4", "#2a8a3e", "#8b3fa8", "#d07a00", "#0f8b8d", "#a03a6b", "#5b5bd6", "#7a5230")


def storyboard(path, shown, thumbnails, span):
    """Each phrase's saliency over time and its most salient frames, after the paper's Fig. 5.

    One row per phrase: e over the sampled frames (`heatmaps.temporal_saliency`) as a curve and as greys (darker = more
    salient), linear in [0, 1] and not normalised to sum 1; its three most salient frames, numbered by rank and marked
    on the curve, with their maps and times. Of a kind of map without values in space, the frames are drawn without a
    map. Phrases with a second curve (`Evidence.beside`) have it dashed. Of several explanations, a phrase has a row for
    each, one below the other.

    Args:
        path: the file to write, *.png, *.pdf or *.svg.
        shown: E of `drawing.Shown` of a video. Of more than ROWS / E phrases, those with the largest alpha_t are
            drawn, in their order, and the others are named below.
        thumbnails: the m sampled frames, a sequence of (h, w, 3) uint8 of any one size.
        span: (first, last) second of the time axis.
    Raises:
        UserError: if path cannot be written, or a kind of map has no values in time.
        ValueError: if there is no explanation, the shapes disagree, or the explanations are not alike.
    """
    check_alike(shown)
    explanation, phrases = shown[0].explanation, shown[0].phrases
    if len(thumbnails) != len(explanation.times):
        raise ValueError(f"expected m = {len(explanation.times)} thumbnails, received {len(thumbnails)}")
    series = [_Series.of(each) for each in shown]
    drawn = most_concentrated(np.max([one.alpha for one in series], axis=0), max(1, ROWS // len(shown)))
    notes, omitted = _legend_of(series, set(drawn)), _omitted(phrases, drawn)
    board = Board.of(explanation, [phrases[k] for k in drawn], list(notes.values()), omitted, headings_of(shown))
    axis = TimeAxis(board.left, board.left + PLOT, *span, np.asarray(explanation.times, float))

    page = Page(board.width, board.height)
    _draw_sentence(page, board, explanation.words)
    for row, (k, one) in enumerate((k, one) for k in drawn for one in series):
        reach = board.y(row), board.y(row) + board.row
        plot = Plot(axis, one.e[k], reach, board.colour(row), one.shown.look, one.beside.get(k))
        _draw_row(page, board, row, plot)
        for rank, i in enumerate(plot.ranks):
            picture = one.picture(k, i, shrunk(thumbnails[i], board.size))
            _draw_frame(page, board, row, rank, axis.times[i], picture)
    _draw_time_axis(page, axis, board.y(board.num_rows) - GAP // 2)
    _draw_legend(page, board, notes, omitted, shown[0].look)
    page.save(path)


@dataclasses.dataclass(frozen=True)
class _Series:
    """What is drawn of one explanation.

    Attributes:
        e_cells: saliency on the grid, (K, m, G, G), or None.   e: of the frames, (K, m).   alpha: (K, m).
        beside: second curves, {index of a phrase: (m,)}.
    """

    shown: object
    e_cells: np.ndarray | None
    e: np.ndarray
    alpha: np.ndarray
    beside: dict

    @classmethod
    def of(cls, shown):
        """The series of a `drawing.Shown`."""
        (cells, frames), look = shown.evidence, shown.look
        e_cells = None if cells is None else look.to_draw(cells, shown.geometry)
        beside = second_curves(shown.explanation, shown.phrases, look)
        return cls(shown, e_cells, look.curves(frames), look.bars(frames), beside)

    def picture(self, k, i, frame):
        """Sampled frame i, a Pillow image, with the map of phrase k."""
        look, e_map = self.shown.look, None
        if self.e_cells is not None:
            e_map = look.upsample(self.e_cells[k, i], resized(self.shown.geometry, *frame.size))
        return look.overlay(Backdrop(frame), e_map)


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
        phrases: those that are drawn.   size: (width, height) of a frame.   label: width of the rows' names.
        width, height: of the page.   top: y of the first row.
        headings: of explanations side by side, each of which has a row of every phrase; see `drawing.headings_of`.
    """

    phrases: tuple
    size: tuple[int, int]
    label: int
    width: int
    top: int
    height: int
    headings: tuple = ()

    @classmethod
    def of(cls, explanation, phrases, notes, omitted, headings=()):
        """Lays out a storyboard, with as much room for the sentence and the legend as they take.

        Args:
            phrases: those that are drawn.   notes, omitted: of the legend, lines and words.   headings: as above.
        """
        # Up to six rows fit on a page of a paper; the frames of more are drawn smaller.
        rows = len(phrases) * max(1, len(headings))
        size = size_of(explanation.geometry, 46_000 * min(1.0, 6 / rows), longest=420)
        names = [font_of(LABEL, True).getlength(phrase.name) for phrase in phrases]
        longest = max(*names, 0, *(font_of(HEADING).getlength(line) for heading in headings for line in heading))
        label = int(np.clip(longest + 40, 120, 340))
        frames = min(3, len(explanation.times)) * (max(size[0], 120) + GAP) - GAP
        inside = max(label + PLOT + 24 + frames, *(scale_width(note, SMALL) for note in notes))
        top = MARGIN + text_height(explanation.words, inside, TITLE, bold=True) + 18
        board = cls(tuple(phrases), size, label, inside + 2 * MARGIN, top, 0, headings)
        more = text_height(omitted, board.legend, SMALL) if omitted else 0
        return dataclasses.replace(board, height=board.y(rows) + 48 + NOTE * len(notes) + more)

    @property
    def stack(self):
        """How many rows each phrase has."""
        return max(1, len(self.headings))

    @property
    def num_rows(self):
        """How many rows there are."""
        return len(self.phrases) * self.stack

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
        return WORD_COLOURS[row // self.stack % len(WORD_COLOURS)]


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


def _notes(series, drawn):
    """The legend of an explanation's curve and map, and of its dashed second curve if a row has one.

    Args:
        drawn: indices of the phrases that have a row.
    Returns:
        {text: the colours or dashes that are drawn before it, or None}.
    """
    look = series.shown.look
    notes = {look.curve_note(): look.shades}
    if series.e_cells is None:
        notes[f"frames without a map: {look.title} has values in time only"] = None
    else:
        notes[f"map: {look.legend()}"] = look.scale_colours
    return notes | ({f"dashed: {look.beside()}": DASHES} if series.beside.keys() & drawn else {})


def _legend_of(series, drawn):
    """The legend of all explanations: {(note, what stands before it): the note as it is drawn}. drawn: as `_notes`."""
    own = [_notes(one, drawn) for one in series]
    samples = {note: sample for notes in own for note, sample in notes.items()}
    together = notes_of([one.shown for one in series], [list(notes) for notes in own])
    return {(note, samples[note]): text for note, text in together.items()}


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
            shades[k] = board.colour(row * board.stack)
    page.words(MARGIN, MARGIN, words, shades, board.width - 2 * MARGIN, TITLE, bold=True)


def _draw_row(page, board, row, plot):
    """A row without its frames: a rule above a phrase's first, the phrase, its curve and greys."""
    y, (phrase, of) = board.y(row), divmod(row, board.stack)
    left = MARGIN if of == 0 else board.left
    page.line([(left, y - GAP // 2 - 0.5), (board.width - MARGIN, y - GAP // 2 - 0.5)], "#e2e2e2")
    heading = board.headings[of] if board.headings else ()
    _draw_label(page, y + board.row / 2, board.phrases[phrase].name, heading, board.label - 38, plot.colour)
    _draw_curve(page, plot)
    _draw_greys(page, plot)


def _draw_label(page, y, name, heading, width, colour):
    """A row's name and, below it, the explanation's heading, centred on y, in as many lines as they take."""
    words = name.split()
    lines = wrap(words, width, font_of(LABEL, True))
    y -= 0.65 * HEADING * len(heading)
    for k, line in enumerate(lines):
        text, font = fit(" ".join(words[j] for j in line), width, LABEL, bold=True)
        page.text(MARGIN, y + (k - (len(lines) - 1) / 2) * 1.3 * LABEL, text, font.size, colour, bold=True)
    y += (len(lines) + 1) / 2 * 1.3 * LABEL
    for k, line in enumerate(heading):
        text, font = fit(line, width, HEADING)
        page.text(MARGIN, y + k * 1.3 * HEADING, text, font.size)


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
        page.line(plot.points(plot.beside), INK, 2.2, DASHES)
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
    """What curves and maps mean and, where rows are omitted, of which phrases. notes: of `_legend_of`."""
    x, y = MARGIN + SMALL, board.y(board.num_rows) + 56
    for k, ((_, sample), note) in enumerate(notes.items()):
        at = y + k * NOTE
        if sample is None:
            page.text(x, at, note, SMALL, FAINT_INK)
        elif sample is DASHES:
            page.line([(x, at), (x + BAR * SMALL, at)], INK, 2.2, DASHES)
            page.text(x + (BAR + 2) * SMALL, at, note, SMALL, FAINT_INK)
        else:
            page.scale(MARGIN, at, sample, note, SMALL, look.ends)
    page.words(x, y + NOTE * len(notes) - SMALL // 2, omitted, [FAINT_INK] * len(omitted), board.legend, SMALL)


def _tint(colour, share):
    """The colour mixed with white, as matplotlib takes it."""
    return tuple(1 - share * (1 - np.array(colors.to_rgb(colour))))
