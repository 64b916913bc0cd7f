"""The figure of a picture: one saliency map per word or phrase, after the paper's Fig. 3 and 4.

Letters: K words or phrases; G x G grid; H, W height and width of the source, pixels.
"""

import dataclasses

import numpy as np

from s2vt.rendering import drawing
from s2vt.rendering.drawing import FAINT_INK, INK, Page
from s2vt.saliency import heatmaps

MARGIN, GAP = 24, 16  # pixels
WIDEST = 2048  # of a grid, pixels


def picture_figure(path, picture, explanation, phrases, look):
    """A picture and one saliency map per phrase, after the paper's Fig. 3 and 4.

    A star marks each map's maximum, white frames the annotated boxes.

    Args:
        path: the file to write, *.png, *.pdf or *.svg.
        picture: (H, W, 3) uint8.
        explanation: `s2vt.saliency.explanation.Explanation` of the picture.
        phrases: K of `s2vt.data.phrases.Phrase`; their `boxes` are drawn.
        look: `Look`.
    Raises:
        UserError: if path cannot be written, or the kind of map has no values in space.
        ValueError: if there is no phrase or the shapes disagree.
    """
    cells, _ = drawing.drawn_evidence(explanation, phrases, look)
    geometry = explanation.geometry_of(look.kind)
    e_cells = look.to_draw(cells, geometry)[:, 0]
    stars = [  # a constant map has no maximum
        np.array(heatmaps.argmax_point(look.upsample(e, geometry))) if np.ptp(e) > 0 else None for e in e_cells
    ]
    note = f"{look.shown}: {look.legend(moving=False)}"
    sheet = Sheet.of(explanation, len(phrases), look.layout, note)
    page = Page(sheet.width, sheet.height)
    backdrop = drawing.Backdrop(drawing.shrunk(picture, sheet.panel))
    if sheet.source:
        page.picture(backdrop.lit, *sheet.corner(0))
    drawn_geometry = drawing.resized(geometry, *sheet.panel)
    for k, phrase in enumerate(phrases):
        e_map = look.upsample(e_cells[k], drawn_geometry)
        _draw_panel(page, sheet, k, phrase, look.overlay(backdrop, e_map), stars[k])
    marks = {"maximum": any(star is not None for star in stars), "box": any(len(phrase.boxes) for phrase in phrases)}
    _draw_legend(page, sheet, explanation.words, note, look, marks)
    page.save(path)


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
        columns, rows: of panels.
        source: whether the first panel is the picture itself.
        unit: by how much text is larger than on a narrow page, which is shrunk less on paper.
        wide: whether the marks stand beside the scale, else below it.
        width, height: of the page.
    """

    ratio: tuple[float, float]
    panel: tuple[int, int]
    cell: int
    columns: int
    rows: int
    source: bool
    unit: float = 1.0
    wide: bool = True
    width: int = 0
    height: int = 0

    @classmethod
    def of(cls, explanation, num_phrases, layout, note):
        """Lays out a figure, with as much room for the sentence and the note as they take."""
        geometry, source = explanation.geometry, layout != "single"
        panel = panel_size(geometry)
        cell, panels = max(panel[0], 240), num_phrases + source  # a narrow picture's panel is as wide as its label
        fitting = (WIDEST - 2 * MARGIN + GAP) // (cell + GAP)
        rows = 1 if layout == "strip" else -(-panels // max(1, min(panels, fitting)))
        columns = -(-panels // rows)
        width = 2 * MARGIN + columns * (cell + GAP) - GAP
        ratio = panel[0] / geometry.width, panel[1] / geometry.height
        sheet = cls(ratio, panel, cell, columns, rows, source, float(np.clip(width / 1300, 1, 1.6)))
        width = max(width, 2 * MARGIN + drawing.scale_width(note, sheet.small))
        wide = sheet.marks(note) + 20 * sheet.small <= width - MARGIN
        sentence = drawing.text_height(explanation.words, width - 2 * MARGIN, sheet.text)
        height = sheet.below + sentence + round((4 if wide else 5.7) * sheet.small)
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
    def below(self):
        """Top of the sentence."""
        return MARGIN + self.rows * (self.band + self.panel[1] + GAP)

    def corner(self, index):
        """Upper left corner of a panel's picture."""
        row, column = divmod(index, self.columns)
        return MARGIN + column * (self.cell + GAP), MARGIN + row * (self.band + self.panel[1] + GAP) + self.band

    def marks(self, note):
        """Left end of what the legend says of star and box, where it stands beside the scale."""
        return MARGIN + drawing.scale_width(note, self.small) + 2 * self.small


# --- drawing ----------------------------------------------------------------------------------------------------------


def _draw_panel(page, sheet, k, phrase, picture, star):
    """A phrase's label, map and boxes, and its map's maximum (x, y), source pixels, or None."""
    x, y = sheet.corner(k + sheet.source)
    name, font = drawing.fit(phrase.name, sheet.cell - 8, sheet.label, bold=True)
    page.text(x + 2, y - sheet.band // 2, name, font.size, bold=True)
    page.picture(picture, x, y)
    for box in phrase.boxes:
        (x1, y1), (x2, y2) = np.clip(np.reshape(box, (2, 2)) * sheet.ratio, 0, sheet.panel)
        page.box(x + x1, y + y1, x + x2, y + y2, 2 * sheet.unit)
    if star is not None:
        # Maxima lie a twelfth of the picture or more from its edges: the star stays inside.
        radius = min(13 * sheet.unit, 0.08 * min(sheet.panel))
        page.star(x + star[0] * sheet.ratio[0], y + star[1] * sheet.ratio[1], radius)


def _draw_legend(page, sheet, words, note, look, marks):
    """The sentence, the scale and what star and box mean, where there are any."""
    small = sheet.small
    y = page.words(MARGIN, sheet.below, words, [INK] * len(words), sheet.width - 2 * MARGIN, sheet.text) + 1.4 * small
    page.scale(MARGIN, y, look.scale_colours, note, small, look.ends)
    x, y = (sheet.marks(note), y) if sheet.wide else (MARGIN, y + 1.7 * small)
    if marks["maximum"]:
        page.star(x + 0.8 * small, y, 0.65 * small)
        page.text(x + 2.1 * small, y, "maximum", small, FAINT_INK)
        x += 9 * small
    if marks["box"]:
        half = 0.75 * small
        page.area([(x, y - half), (x + 3 * half, y - half), (x + 3 * half, y + half), (x, y + half)], "#7a7a7a")
        page.box(x + 4, y - half + 4, x + 3 * half - 4, y + half - 4)
        page.text(x + 2.9 * small, y, "annotated box", small, FAINT_INK)
