"""Overlays of maps over pictures, text that fits, and the page that figures are drawn on.

Maps are drawn by `Look.upsample`, as they are scored: each value stands at the centre of its cell's receptive field
(or in the release's place), whatever the size of the drawing. Words, times and scales stand beside the pictures, never
over them.

Letters: E explanations side by side; K words or phrases; m sampled frames, 1 for a picture; G x G grid; H, W height and
width of the source, pixels; h, w of its drawn copy. Points are (x, y), boxes (x1, y1, x2, y2) with exclusive far edges,
in source pixels.
"""

import dataclasses
import functools
import itertools
import math
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import patheffects
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle
from PIL import Image, ImageFont

from s2vt.config import SaliencyConfig
from s2vt.data.files import atomic_path
from s2vt.data.phrases import FUNCTION_WORDS
from s2vt.errors import UserError
from s2vt.saliency import heatmaps, release
from s2vt.saliency.maps import KINDS

COLOUR_MAP = "inferno"  # perceptually uniform: equal steps of saliency look equally large
LAYOUTS = ("grid", "strip", "single")
FIGURE_SUFFIXES = (".png", ".pdf", ".svg")

INK, FAINT_INK, PAPER = "#1a1a1a", "#6b6b6b", "#ffffff"


@dataclasses.dataclass(frozen=True)
class Look:
    """How an explanation is drawn.

    Attributes:
        saliency: the kind of map (`map`), how it is scaled (`normalize`), and the standard deviations of its
            interpolation (`sigma_cells`) and of its smoothing over time (`sigma_frames`).
        cmap: name of a matplotlib colour map; `palette` refuses an unknown one.
        layout: one of LAYOUTS: "grid", "strip" (one row), "single" (of a video, the map of the leading phrase; of a
            picture, the maps without the picture itself).
        limit: (width, height) of a video's canvas, pixels; None: `video.LIMIT`, or `video.ANIMATION_LIMIT` of a GIF or
            WebP.
        protocol: name of the settings in `saliency`, one of `config.PROTOCOLS` with what was changed.
    """

    saliency: SaliencyConfig = SaliencyConfig()
    cmap: str = COLOUR_MAP
    layout: str = "grid"
    limit: tuple[int, int] | None = None
    protocol: str = "ours"

    shown = "saliency"  # what is drawn, for legends
    ends = "0", "1"  # of the scale of what is drawn
    baseline = 0.0  # where zero stands in curves and bars, as a share of their height

    @property
    def kind(self):
        """Name of the kind of map that is drawn, a key of `maps.KINDS` and of `Explanation.maps`."""
        return self.saliency.map

    @property
    def title(self):
        """What that kind of map is, for legends."""
        return KINDS[self.kind].title

    @property
    def of_release(self):
        """Whether maps are made in the steps of the 2017 release."""
        return self.saliency.of_release

    @property
    def sigma_frames(self):
        """Standard deviation of the Gaussian that curves are smoothed with; the release's maps are smooth already."""
        return 0 if self.of_release else self.saliency.sigma_frames

    def interpolation(self, geometry, grid):
        """How much each source column and row takes from each cell: A_x (W, G) and A_y (H, G)."""
        if self.of_release:
            return release.interpolation(geometry, grid)
        return heatmaps.interpolation(geometry, grid, self.saliency.sigma_cells)

    def upsample(self, e, geometry):
        """Values on the grid, (..., G, G) -> maps over the pixels of a geometry, (..., H, W)."""
        if self.of_release:
            return release.upsample(e, geometry)
        return heatmaps.upsample(e, geometry, self.saliency.sigma_cells)

    def to_draw(self, evidence, geometry):
        """Saliency on the grid as it is drawn: `e_to_draw`."""
        return e_to_draw(evidence, geometry, self)

    def curves(self, frames):
        """Evidence over time, (K, m), as curves are drawn: `heatmaps.temporal_saliency`."""
        return heatmaps.temporal_saliency(frames, self.sigma_frames)

    def bars(self, frames):
        """Evidence over time, (K, m), as bars are drawn: `heatmaps.temporal_alpha`."""
        return heatmaps.temporal_alpha(frames, self.sigma_frames)

    def overlay(self, backdrop, e):
        """A map over its picture: `overlay`."""
        return overlay(backdrop, e, self.cmap)

    def scale_colours(self, share):
        """The colours of the scale over a grey picture, from its left end, share = 0, to its right, 1: (1, k, 3)."""
        return np.asarray(overlay(Backdrop(np.full((*share.shape, 3), 150, np.uint8)), share, self.cmap))

    def shades(self, share):
        """Fig. 5's greys of shares of the scale, darker = more salient, (..., 3) uint8."""
        return np.repeat((250 - 215 * np.clip(share, 0, 1))[..., None], 3, axis=-1).astype(np.uint8)

    def scaling(self, moving=True):
        """How saliency is scaled, for legends; moving: of a video."""
        return (NORMALIZATIONS if moving else PICTURE_NORMALIZATIONS)[self.saliency.normalize]

    def legend(self, moving=True):
        """What is drawn, how it is scaled, and under which protocol; moving: of a video."""
        return f"{self.title}, {self.scaling(moving)}; protocol {self.protocol}"

    def curve_note(self):
        """What curves over time are, for legends."""
        scaled = "each word or phrase scaled to [0, 1] (Eq. 8)"
        return f"curve and greys: saliency over time, {scaled}, {self.smoothing()}"

    def bars_note(self, frames, unit):
        """What bars over time are, for small print; frames: "26 sampled frames"; unit: "word" or "phrase"."""
        return f"α of {frames}, each {unit}'s highest in full, {self.smoothing()}"

    def mark_note(self, unit):
        """Which word or phrase of a video is marked, for small print; unit: such as "content word"."""
        return f"the {unit} with the largest α now"

    def smoothing(self):
        """How saliency over time is smoothed, for legends."""
        if self.of_release:
            return "mean of the map"
        sigma = self.saliency.sigma_frames
        return f"Gaussian smoothing with σ = {sigma:g} sampled frames" if sigma else "no smoothing"

    def beside(self):
        """What the second curve over time is (`Evidence.beside`), for legends."""
        title = KINDS[KINDS[self.kind].beside].curve
        which = "" if self.kind == "change" else ", of phrases with a verb of change"
        return f"saliency over time, {title}{which}, scaled to [0, 1], {self.smoothing()}"


NORMALIZATIONS = {  # the descriptions that stand beside the maps, of each value of `saliency.normalize`
    "clip": "each word or phrase scaled to [0, 1] over the clip (Eq. 8)",
    "frame": "each word or phrase scaled to [0, 1] in each sampled frame",
    "release": "as the 2017 release: every frame, averaged over 3; each word over the clip, less its mean; "
    "each frame over all words; Gaussian of 2 frames, 1 cell",
}
PICTURE_NORMALIZATIONS = {  # a picture has one frame: "clip" and "frame" are the same
    "clip": "each word or phrase scaled to [0, 1] over the picture (Eq. 8)",
    "frame": "each word or phrase scaled to [0, 1] over the picture (Eq. 8)",
    "release": "as the 2017 release: each word over the picture, less its mean; over all words; Gaussian of 1 cell",
}


# --- what is drawn of an explanation ----------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Shown:
    """An explanation as it is drawn. A drawing shows one, or several of the same medium and sentence side by side.

    Attributes:
        explanation: `s2vt.saliency.explanation.Explanation`; one with `times` is of a video.
        phrases: K of `s2vt.data.phrases.Phrase`, the same of all that stand side by side.
        look: `Look`.
        heading: lines that tell it from the others, such as ("Flickr30k", "nll"); not drawn of one alone.
    """

    explanation: object
    phrases: list
    look: Look
    heading: tuple[str, ...] = ()

    @property
    def title(self):
        """The heading in one line."""
        return ", ".join(self.heading)

    @property
    def evidence(self):
        """What is drawn of the phrases: `drawn_evidence`."""
        return drawn_evidence(self.explanation, self.phrases, self.look)

    @property
    def geometry(self):
        """The source's Geometry, with the grid of the kind of map that is drawn."""
        return self.explanation.geometry_of(self.look.kind)


def headings_of(shown):
    """The headings of explanations side by side, E of them; none of one alone."""
    return tuple(each.heading for each in shown) if len(shown) > 1 else ()


def check_alike(shown):
    """Raises ValueError unless there is an explanation, and all are of one medium, the same frames and sentence."""
    if not shown:
        raise ValueError("expected E >= 1 explanations, received none")
    of_one, *of_others = (
        (
            each.explanation.words,
            tuple(each.explanation.times),
            (each.geometry.width, each.geometry.height),
            [(phrase.name, phrase.words) for phrase in each.phrases],
        )
        for each in shown
    )
    if any(other != of_one for other in of_others):
        raise ValueError("explanations side by side must be of the same medium, frames, sentence and phrases")


def notes_of(shown, notes):
    """Notes on explanations side by side: what all of them say once, the rest with the titles of those that say it.

    Args:
        shown: E of Shown.   notes: for each of them its notes, in the same order.
    Returns:
        {note: the note as it is drawn}.

    Example:
        >>> two = [Shown(None, [], Look(), (name,)) for name in ("A", "B")]
        >>> list(notes_of(two, [("bars: alpha", "map: nll"), ("bars: alpha", "map: kl")]).values())
        ['bars: alpha', 'map: nll (A)', 'map: kl (B)']
    """
    every = dict.fromkeys(note for place in itertools.zip_longest(*notes) for note in place if note is not None)
    by = {note: [each.title for each, own in zip(shown, notes, strict=True) if note in own] for note in every}
    return {note: note if len(by[note]) == len(shown) else f"{note} ({' and '.join(by[note])})" for note in every}


def drawn_evidence(explanation, phrases, look):
    """Evidence for phrases (Eq. 9) by the kind of map that is drawn; of the release's maps, their saliency.

    Args:
        explanation: `s2vt.saliency.explanation.Explanation`; one with `times` is of a video.
        phrases: K of `s2vt.data.phrases.Phrase`.   look: `Look`.
    Returns:
        cells, (K, m, G, G) float32, or None where the kind has no values in space (a video's attention); frames,
        (K, m) float32, or None of a picture.
    Raises:
        UserError: if the kind has no values for such a medium.
        ValueError: if the explanation has no map of this kind, there is no phrase, or the shapes disagree.
    """
    if look.kind not in explanation.maps:
        raise ValueError(f"the explanation has no {look.kind!r} map, only {', '.join(explanation.maps)}")
    if not phrases:
        raise ValueError("expected K >= 1 phrases, received none")
    num_times = len(explanation.times)
    cells, frames = explanation.maps[look.kind].of_phrases(phrases)
    if (frames if num_times else cells) is None:
        medium, needed = ("video", "time") if num_times else ("picture", "space")
        raise UserError(f"{look.title} has no values in {needed}, which a {medium} needs; choose another kind of map")
    if look.of_release:
        cells = _of_release(explanation, phrases, look)
        frames = release.over_time(cells)
    for values in (cells, frames if num_times else None):
        if values is not None and values.shape[1] != max(num_times, 1):
            raise ValueError(f"expected evidence for m = {max(num_times, 1)} frames, received {values.shape}")
    return (
        None if cells is None else np.asarray(cells, np.float32),
        np.asarray(frames, np.float32) if num_times else None,
    )


def second_curves(explanation, phrases, look):
    """The curves beside those of phrases with a verb of change (`Evidence.beside`), {index of a phrase: e (m,)}.

    None beside the release's maps, whose curves are levels of the maps themselves.
    """
    return {} if look.of_release else explanation.beside(look.kind, phrases, look.sigma_frames)


def _of_release(explanation, phrases, look):
    """Saliency of phrases in the release's steps, (K, m, G, G): each beside the sentence's other words."""
    evidence = explanation.maps[look.kind]
    if evidence.cells is None:
        raise UserError(f"{look.title} has no values in space, which the release's maps need; choose another kind")
    return np.stack([evidence.of_release(phrase.words) for phrase in phrases])


def e_to_draw(evidence, geometry, look):
    """Saliency on the grid, scaled so that the drawn map reaches from 0 to 1, as the colour bar says.

    `heatmaps.upsample` averages neighbouring cells, so a map drawn of `heatmaps.scale`'s values can end short of 0 and
    1. Scaling and averaging are both linear: the grid is scaled by the range of the maps instead of its own. The
    release's maps are drawn as they are, their largest value below 1.

    Args:
        evidence: of cells, from `drawn_evidence`, (K, m, G, G).   geometry: of the source.   look: `Look`.
    Returns:
        e, (K, m, G, G), for `Look.upsample`; single cells can lie outside [0, 1].
    """
    if look.of_release:
        return evidence
    axes = {"clip": (1, 2, 3), "frame": (2, 3)}[look.saliency.normalize]
    e = heatmaps.scale(evidence, axes)
    maps = look.upsample(e, coarse(geometry))
    low, high = maps.min(axis=axes, keepdims=True), maps.max(axis=axes, keepdims=True)
    return (e - low) / np.where(high - low > 1e-6, high - low, np.inf)


def content_phrases(phrases):
    """Which of the phrases have a word that is no function word, as indices; empty if none has."""
    return [k for k, phrase in enumerate(phrases) if not FUNCTION_WORDS.issuperset(phrase.name.lower().split())]


def resized(geometry, width, height):
    """The geometry of the same picture drawn at another size."""
    old, new = (geometry.width, geometry.height) * 2, (width, height) * 2
    crop = tuple(edge * to / of for edge, to, of in zip(geometry.crop, new, old, strict=True))
    return dataclasses.replace(geometry, width=width, height=height, crop=crop)


def coarse(geometry):
    """The geometry at the size at which the range of a map is found, 72 x 72 pixels."""
    return resized(geometry, 72, 72)


# --- maps over pictures -----------------------------------------------------------------------------------------------

DIMMED, GREYED = 0.55, 0.15  # where e = 0: share of the picture's light that is kept, of its colour that is not
TINT, TINT_POWER = 0.55, 2  # share of the colour map's colour where e = 1, and how it grows with e


class Backdrop:
    """A picture, (h, w, 3) uint8 or Pillow's, and its dimmed copy, which all maps over it share."""

    def __init__(self, picture):
        self.lit = Image.fromarray(np.ascontiguousarray(picture))
        dim = [round(DIMMED * value) for value in range(256)]
        self.dimmed = Image.blend(self.lit, self.lit.convert("L").convert("RGB"), GREYED).point(dim * 3)


_OPACITY = [round(255 * TINT * (level / 255) ** TINT_POWER) for level in range(256)]


def overlay(backdrop, e, cmap):
    """A saliency map over its picture.

    Where e = 0 the picture is dimmed and a little less colourful, without a tint; with growing e it gets its own light
    back, and the colour map's colour is mixed in:

        tint = 0.55 e^2

    Args:
        backdrop: Backdrop of the picture.
        e: saliency in [0, 1], (h, w); None: there is no map, and the picture stays as it is.
        cmap: name of a matplotlib colour map.
    Returns:
        Pillow image of (w, h) pixels.
    """
    return backdrop.lit if e is None else tinted(backdrop, e, e, cmap)


def tinted(backdrop, strength, colour, cmap):
    """`overlay` with a colour of its own: strength (h, w) in [0, 1] is the e of light and tint, colour (h, w) in [0, 1]
    the place in the colour map."""
    level, colour = (Image.fromarray((np.clip(x, 0, 1) * 255 + 0.5).astype(np.uint8)) for x in (strength, colour))
    colour.putpalette(palette(cmap))
    lit = Image.composite(backdrop.lit, backdrop.dimmed, level)
    return Image.composite(colour.convert("RGB"), lit, level.point(_OPACITY))


@functools.cache
def palette(cmap):
    """The colour map's 256 entries as bytes.

    Raises:
        UserError: if matplotlib has no colour map of that name.
    """
    if cmap not in matplotlib.colormaps:
        raise UserError(f"no colour map {cmap!r}; expected one of matplotlib's names; try {COLOUR_MAP!r} or 'turbo'")
    return (matplotlib.colormaps[cmap](np.arange(256))[:, :3] * 255 + 0.5).astype(np.uint8).tobytes()


def colour_bar(width, height, colours):
    """A scale from its left end to its right; a Pillow image.

    Args:
        colours: from shares of its length (1, k) to colours (1, k, 3) uint8, such as `Look.scale_colours`.
    """
    return Image.fromarray(np.repeat(colours(np.linspace(0, 1, width)[None]), height, axis=0))


def shrunk(frame, size):
    """A frame resized to (w, h) pixels, anti-aliased; a Pillow image."""
    image = Image.fromarray(np.ascontiguousarray(frame))
    return image if image.size == size else image.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)


def size_of(geometry, pixels, longest, narrowest=1):
    """(width, height) of a drawn copy in the source's shape: about so many pixels, no side longer than `longest`.

    A narrow one is larger, `narrowest` pixels wide, where `longest` allows it.
    """
    aspect = geometry.width / geometry.height
    width = max(narrowest, round(math.sqrt(pixels * aspect)))
    height = width / aspect
    shrink = min(1.0, longest / max(width, height))
    return max(1, round(width * shrink)), max(1, round(height * shrink))


def thumbnail(frame, pixels=160_000):
    """A frame with at most about that many pixels, its shape kept, (h, w, 3) uint8: enough for a storyboard."""
    height, width = frame.shape[:2]
    ratio = min(1.0, math.sqrt(pixels / (width * height)))
    return np.asarray(shrunk(frame, (max(1, round(width * ratio)), max(1, round(height * ratio)))))


# --- text -------------------------------------------------------------------------------------------------------------


@functools.cache
def font_of(size, bold=False):
    """DejaVu Sans as matplotlib bundles it, laid out by Pillow alone: the same letters on every machine."""
    path = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf")
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)


def fit(text, width, size, bold=False):
    """The text and font that fit into a width in pixels: shrunk by a quarter at most, then cut with an ellipsis."""
    for smaller in range(size, max(math.ceil(0.75 * size), 12) - 1, -1):
        if font_of(smaller, bold).getlength(text) <= width:
            return text, font_of(smaller, bold)
    font = font_of(min(size, max(math.ceil(0.75 * size), 12)), bold)
    while text and font.getlength(text + "…") > width:
        text = text[:-1].rstrip()
    return text + "…", font


def wrap(words, width, font):
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


def text_height(words, width, size, bold=False):
    """Height that `Page.words` takes, pixels."""
    return round(1.45 * size) * len(wrap(words, width, font_of(size, bold)))


LINE = 1.45  # distance of lines, in sizes of their text


def upright_width(headings, size):
    """Width that `Page.upright` takes of the longest of the headings, with a gap beside it; 0 without headings."""
    return round(LINE * size * max(map(len, headings)) + 0.4 * size) if headings else 0


BAR = 7  # length of the small colour bar, in sizes of its text


def scale_width(note, size):
    """Width that `Page.scale` takes, pixels."""
    return math.ceil((3 + BAR) * size + font_of(size).getlength(note))


# --- pages ------------------------------------------------------------------------------------------------------------


class Page:
    """A white page measured in pixels from its upper left corner, drawn by matplotlib without pyplot.

    A PNG of it has exactly its size; in a PDF or SVG, text and lines are vectors and pictures keep their pixels.
    """

    DPI = 100

    def __init__(self, width, height):
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width / self.DPI, height / self.DPI), dpi=self.DPI, facecolor=PAPER)
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set_axis_off()

    def picture(self, image, x, y):
        """A picture, (h, w, 3) uint8 or Pillow's, with its upper left corner at (x, y)."""
        image = np.asarray(image)
        height, width = image.shape[:2]
        self.axes.imshow(image, extent=(x, x + width, y + height, y), interpolation="none", aspect="auto", zorder=1)

    def text(self, x, y, text, size, colour=INK, bold=False, anchor="lm"):
        """Text of a size in pixels; anchor as Pillow's: l, m, r across; a (top), m, s (bottom) down."""
        across = {"l": "left", "m": "center", "r": "right"}[anchor[0]]
        down = {"a": "top", "m": "center_baseline", "s": "bottom"}[anchor[1]]
        weight = "bold" if bold else "normal"
        points = size * 72 / self.DPI
        look = {"fontsize": points, "color": colour, "weight": weight, "family": "DejaVu Sans"}
        self.axes.text(x, y, text, ha=across, va=down, parse_math=False, zorder=4, **look)

    def upright(self, x, y, lines, size, length):
        """Bold lines from bottom to top, side by side from x on, centred on y, each fitted into `length` pixels."""
        for k, line in enumerate(lines):
            text, font = fit(line, length, size, bold=True)
            look = {"fontsize": font.size * 72 / self.DPI, "color": INK, "weight": "bold", "family": "DejaVu Sans"}
            across = {"ha": "center", "va": "center_baseline", "rotation": 90, "rotation_mode": "anchor"}
            self.axes.text(x + (k + 0.5) * LINE * size, y, text, parse_math=False, zorder=4, **look, **across)

    def words(self, x, y, words, colours, width, size, bold=False):
        """Words in their colours, in as many lines as they take; returns the y below the last line."""
        step = round(1.45 * size)
        font = font_of(size, bold)
        for line in wrap(words, width, font):
            reach = x
            for index in line:
                text, fitted = fit(words[index], width, size, bold)
                self.text(reach, y + size / 2, text, fitted.size, colours[index], bold)
                reach += font.getlength(words[index] + " ")
            y += step
        return y

    def line(self, points, colour=INK, width=1.0, style="-"):
        """A line through points (k, 2); style: matplotlib's."""
        x, y = np.asarray(points, float).T
        self.axes.plot(x, y, style, color=colour, linewidth=width * 72 / self.DPI, solid_joinstyle="round", zorder=3)

    def dots(self, points, colour, diameter):
        """Discs centred on points (k, 2)."""
        x, y = np.asarray(points, float).reshape(-1, 2).T
        size = (diameter * 72 / self.DPI) ** 2
        self.axes.scatter(x, y, s=size, color=colour, linewidths=0, zorder=3.5)

    def area(self, points, colour):
        """A filled polygon."""
        self.axes.add_patch(Polygon(np.asarray(points, float), facecolor=colour, edgecolor="none", zorder=1))

    def frame(self, x1, y1, x2, y2, colour, width=1.0):
        """A rectangle's outline, centred on its edges."""
        self.axes.add_patch(
            Rectangle(
                (x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=colour, linewidth=width * 72 / self.DPI, zorder=2
            )
        )

    def box(self, x1, y1, x2, y2, width=2.0):
        """An annotated box: a white outline inside its edges, between thin dark lines."""
        rim = patheffects.withStroke(linewidth=(width + 2) * 72 / self.DPI, foreground="#101010")
        inset = width / 2
        patch = Rectangle((x1 + inset, y1 + inset), x2 - x1 - width, y2 - y1 - width, fill=False, edgecolor="#ffffff",
                          linewidth=width * 72 / self.DPI, joinstyle="miter", path_effects=[rim], zorder=3)  # fmt: skip
        self.axes.add_patch(patch)

    def star(self, x, y, radius):
        """A white five-pointed star with a dark rim, centred on (x, y)."""
        angles, r = np.arange(10) * math.pi / 5, np.where(np.arange(10) % 2, 0.45, 1.0) * radius
        points = np.stack([x + r * np.sin(angles), y - r * np.cos(angles)], axis=1)
        rim = patheffects.withStroke(linewidth=0.4 * radius * 72 / self.DPI, foreground="#101010")
        self.axes.add_patch(Polygon(points, facecolor="#ffffff", edgecolor="none", path_effects=[rim], zorder=5))

    def rank(self, x, y, rank, colour):
        """A numbered disc centred on (x, y)."""
        self.dots([(x, y)], colour, 24)
        self.text(x, y, str(rank), 16, PAPER, bold=True, anchor="mm")

    def scale(self, x, y, colours, note, size, ends=Look.ends):
        """A small colour bar and a note beside it, centred on y; `scale_width` pixels wide.

        Args:
            colours: as of `colour_bar`.   ends: what stands at its two ends, a letter each.
            size: of the text, pixels.
        """
        left, right, half = x + size, x + size + BAR * size, round(0.45 * size)
        self.text(x, y, ends[0], size, FAINT_INK)
        self.picture(colour_bar(BAR * size, 2 * half, colours), left, y - half)
        self.frame(left, y - half, right, y + half, "#b0b0b0")
        self.text(right + 0.4 * size, y, ends[1], size, FAINT_INK)
        self.text(right + 2 * size, y, note, size, FAINT_INK)

    def save(self, path):
        """Writes the page as PNG, PDF or SVG, by the ending of the name; the file appears when it is complete.

        Raises:
            UserError: on another ending, or if the file cannot be written.
        """
        suffix = Path(path).suffix.lower()
        if suffix not in FIGURE_SUFFIXES:
            raise UserError(
                f"cannot write {path}: expected a name that ends in {', '.join(FIGURE_SUFFIXES)}; name another output"
            )
        self.axes.set(xlim=(0, self.width), ylim=(self.height, 0))
        # TrueType fonts in PDF (many venues refuse Type 3); no random names, no dates: the same bytes each time
        settings = {"pdf.fonttype": 42, "svg.hashsalt": "saliency", "axes.unicode_minus": False}
        dates = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}}.get(suffix)
        with matplotlib.rc_context(settings), atomic_path(path) as temporary:
            self.figure.savefig(temporary, format=suffix[1:], dpi=self.DPI, metadata=dates)
