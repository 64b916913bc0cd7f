"""The figure of a picture: one saliency map per word or phrase, after the paper's Fig. 3 and 4.

Letters: E explanations side by side; K words or phrases; G x G grid; H, W height and width of the source, pixels.
"""

import dataclasses

import numpy as np

from s2vt.rendering import drawing
from s2vt.rendering.drawing import FAINT_INK, INK, Page
from s2vt.saliency import heatmaps

MARGIN, GAP = 24, 16  # pixels
WIDEST = 2048  # of a grid, pixels
HEADING = 20  # size of the rows' headings, pixels
NOTE = 1.7  # distance of the legend's lines, in sizes of its text


def picture_figure(path, picture, shown):
    """A picture and one saliency map per phrase, after the paper's Fig. 3 and 4.

    A star marks each map's maximum, white frames the annotated boxes. Several explanations are rows of one sheet, a
    column for each phrase; the picture stands once, at the left.

    Args:
        path: the file to write, *.png, *.pdf or *.svg.
        picture: (H, W, 3) uint8.
        shown: E of `drawing.Shown` of the picture; their phrases' `boxes` are drawn.
    Raises:
        UserError: if path cannot be written, or a kind of map has no values in space.
        ValueError: if there is no explanation or phrase, the shapes disagree, or the explanations are not alike.
    """
    drawing.check_alike(shown)
    rows = [_Row.of(each) for each in shown]
    look, explanation, phrases = shown[0].look, shown[0].explanation, shown[0].phrases
    notes = list(drawing.notes_of(shown, [(f"{s.look.shown}: {s.look.legend(moving=False)}",) for s in shown]).values())
    sheet = Sheet.of(explanation, len(phrases), look.layout, notes, drawing.headings_of(shown))
    page = Page(sheet.width, sheet.height)
    backdrop = drawing.Backdrop(drawing.shrunk(picture, sheet.panel))
    if sheet.source:
        page.picture(backdrop.lit, *sheet.place_of_source())
    for line, row in enumerate(rows):
        _draw_row(page, sheet, line, row, backdrop)
    stars = [star for row in rows for star in row.stars]
    marks = {"maximum": any(star is not None for star in stars), "box": any(len(phrase.boxes) for phrase in phrases)}
    _draw_legend(page, sheet, explanation.words, notes, look, marks)
    page.save(path)


@dataclasses.dataclass(frozen=True)
class _Row:
    """An explanation, its saliency on the grid (K, G, G), and its maps' maxima, (x, y) in source pixels or None."""

    shown: drawing.Shown
    e: np.ndarray
    stars: list

    @classmethod
    def of(cls, shown):
        """What is drawn of an explanation."""
        look, geometry = shown.look, shown.geometry
        e_cells = look.to_draw(shown.evidence[0], geometry)[:, 0]
        stars = [  # a constant map has no maximum
            np.array(heatmaps.argmax_point(look.upsample(e, geometry))) if np.ptp(e) > 0 else None for e in e_cells
        ]
        return cls(shown, e_cells, stars)


def panel_size(geometry):
    """(width, height) of a picture in a figure, pixels."""
    return drawing.size_of(geometry, 150_000, longest=900, narrowest=360)


# --- layout -----------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Sheet:
    """Where the parts of a figure lie, in pixels.

    Attributes:
        ratio: drawn pixels per source pixel, (x, y).
        panel: (width, height) of a picture.
        cell: width of a panel with its label.
        columns: of panels.
        blocks: how often the columns go on below, each time with a row for each explanation.
        source: whether the first panel is the picture itself.
        headings: of the rows, see `drawing.headings_of`.
        unit: by how much text is larger than on a narrow page, which is shrunk less on paper.
        wide: whether the marks stand beside the last scale, else below it.
        width, height: of the page.
    """

    ratio: tuple[float, float]
    panel: tuple[int, int]
    cell: int
    columns: int
    blocks: int
    source: bool
    headings: tuple = ()
    unit: float = 1.0
    wide: bool = True
    width: int = 0
    height: int = 0

    @classmethod
    def of(cls, explanation, num_phrases, layout, notes, headings=()):
        """Lays out a figure, with as much room for the sentence and the notes as they take."""
        geometry, source = explanation.geometry, layout != "single"
        panel = panel_size(geometry)
        cell, panels = max(panel[0], 240), num_phrases + source  # a narrow picture's panel is as wide as its label
        side = drawing.upright_width(headings, HEADING)
        fitting = (WIDEST - 2 * MARGIN - side + GAP) // (cell + GAP)
        blocks = 1 if layout == "strip" else -(-panels // max(1, min(panels, fitting)))
        columns = -(-panels // blocks)
        width = 2 * MARGIN + side + columns * (cell + GAP) - GAP
        ratio = panel[0] / geometry.width, panel[1] / geometry.height
        sheet = cls(ratio, panel, cell, columns, blocks, source, headings, float(np.clip(width / 1300, 1, 1.6)))
        width = max(width, 2 * MARGIN + max(drawing.scale_width(note, sheet.small) for note in notes))
        wide = sheet.marks(notes[-1]) + 20 * sheet.small <= width - MARGIN
        sentence = drawing.text_height(explanation.words, width - 2 * MARGIN, sheet.text)
        lines = NOTE * (len(notes) - 1) + (4 if wide else 4 + NOTE)
        height = sheet.below + sentence + round(lines * sheet.small)
        return dataclasses.replace(sheet, wide=wide, width=width, height=height)

    @property
    def label(self):
        """Size of a panel's label."""
        return round(21 * self.unit)

    @property
    def text(self):
        """Size of the sentence."""
        return round(22 * self.unit)

    @property
    def small(self):
        """Size of the legend."""
        return round(14 * self.unit)

    @property
    def band(self):
        """Height of a label."""
        return round(36 * self.unit)

    @property
    def rows(self):
        """How many explanations stand below each other."""
        return max(1, len(self.headings))

    @property
    def block(self):
        """Height of a block: labels above its first row, then a row for each explanation."""
        return self.band + self.rows * (self.panel[1] + GAP) + 2 * GAP * (self.rows > 1)

    @property
    def below(self):
        """Top of the sentence."""
        return MARGIN + self.blocks * self.block

    def corner(self, index, row=0):
        """Upper left corner of a panel's picture; row: which explanation's."""
        block, column = divmod(index, self.columns)
        x = MARGIN + drawing.upright_width(self.headings, HEADING) + column * (self.cell + GAP)
        return x, MARGIN + block * self.block + self.band + row * (self.panel[1] + GAP)

    def place_of_source(self):
        """Upper left corner of the picture itself, before the headings, in the middle of the rows."""
        _, y = self.corner(0)
        return MARGIN, y + (self.rows - 1) * (self.panel[1] + GAP) // 2

    def marks(self, note):
        """Left end of what the legend says of star and box, where it stands beside the scale."""
        return MARGIN + drawing.scale_width(note, self.small) + 2 * self.small


# --- drawing ----------------------------------------------------------------------------------------------------------


def _draw_row(page, sheet, line, row, backdrop):
    """An explanation's maps, labels above those of the first, and its heading before the first of each block."""
    shown, geometry = row.shown, drawing.resized(row.shown.geometry, *sheet.panel)
    for k, phrase in enumerate(shown.phrases):
        e_map = shown.look.upsample(row.e[k], geometry)
        place = sheet.corner(k + sheet.source, line)
        if line == 0:
            _draw_label(page, sheet, place, phrase.name)
        _draw_panel(page, sheet, place, phrase, shown.look.overlay(backdrop, e_map), row.stars[k])
    side = drawing.upright_width(sheet.headings, HEADING)
    for index in range(0, sheet.columns * sheet.blocks if side else 0, sheet.columns):
        x, y = sheet.corner(index + (sheet.source and index == 0), line)  # the first map's
        page.upright(x - side, y + sheet.panel[1] / 2, shown.heading, HEADING, sheet.panel[1])


def _draw_label(page, sheet, place, name):
    """A phrase above its map."""
    x, y = place
    text, font = drawing.fit(name, sheet.cell - 8, sheet.label, bold=True)
    page.text(x + 2, y - sheet.band // 2, text, font.size, bold=True)


def _draw_panel(page, sheet, place, phrase, picture, star):
    """A phrase's map and boxes, and its map's maximum (x, y), source pixels, or None."""
    x, y = place
    page.picture(picture, x, y)
    for box in phrase.boxes:
        (x1, y1), (x2, y2) = np.clip(np.reshape(box, (2, 2)) * sheet.ratio, 0, sheet.panel)
        page.box(x + x1, y + y1, x + x2, y + y2, 2 * sheet.unit)
    if star is not None:
        # Maxima lie a twelfth of the picture or more from its edges: the star stays inside.
        radius = min(13 * sheet.unit, 0.08 * min(sheet.panel))
        page.star(x + star[0] * sheet.ratio[0], y + star[1] * sheet.ratio[1], radius)


def _draw_legend(page, sheet, words, notes, look, marks):
    """The sentence, the scales and what star and box mean, where there are any."""
    small = sheet.small
    y = page.words(MARGIN, sheet.below, words, [INK] * len(words), sheet.width - 2 * MARGIN, sheet.text) + 1.4 * small
    for k, note in enumerate(notes):
        page.scale(MARGIN, y + k * NOTE * small, look.scale_colours, note, small, look.ends)
    y += (len(notes) - 1) * NOTE * small
    x, y = (sheet.marks(notes[-1]), y) if sheet.wide else (MARGIN, y + NOTE * small)
    if marks["maximum"]:
        page.star(x + 0.8 * small, y, 0.65 * small)
        page.text(x + 2.1 * small, y, "maximum", small, FAINT_INK)
        x += 9 * small
    if marks["box"]:
        half = 0.75 * small
        page.area([(x, y - half), (x + 3 * half, y - half), (x + 3 * half, y + half), (x, y + half)], "#7a7a7a")
        page.box(x + 4, y - half + 4, x + 3 * half - 4, y + half - 4)
        page.text(x + 2.9 * small, y, "annotated box", small, FAINT_INK)
