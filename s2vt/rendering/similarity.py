"""The figure of the sanity check: how alike maps stay, stage by stage, a line for each kind of map."""

import itertools

from s2vt.rendering.drawing import FAINT_INK, INK, Page, font_of, text_height

MARGIN, HEIGHT, GAP = 56, 230, 48  # pixels: left of and above the panels, of a panel, between panels
COLUMN = 88  # of a stage, pixels
SIZE, STEP = 15, 24  # of the text, and from one line of the legend to the next, pixels
LOW, HIGH = -0.5, 1.0  # of the vertical axis
# Okabe and Ito's colours, which the colour-blind tell apart, without their yellow; then the same with other lines.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000", "#56b4e9", "#e69f00")
LINES = ("-", "--", ":")
NOTE = (
    "Similarity to the map before, 1: unchanged; means and 95 % intervals. From left to right, what is scrambled stays "
    "scrambled. Last column: nothing scrambled, the words of another sentence."
)


def similarity_figure(path, panels):
    """Similarity of maps before and after, over the stages, with 95 % intervals.

    Args:
        path: the file to write, *.png, *.pdf or *.svg.
        panels: list of (title, K names of stages, {row: K of (average, (low, high) or None), or None}), one below the
            other; averages are in [-1, 1], what lies below -0.5 is drawn there. The last stage is a control, apart
            from the others.
    Returns:
        path.
    Raises:
        UserError: if path cannot be written.
    """
    rows = list(dict.fromkeys(row for _, _, of_panel in panels for row in of_panel))
    looks = dict(zip(rows, itertools.cycle(itertools.product(LINES, COLOURS)), strict=False))
    width = MARGIN + COLUMN * max(len(stages) for _, stages, _ in panels)
    legend = 90 + max((font_of(SIZE).getlength(row) for row in rows), default=0)
    below, note = MARGIN + max(len(panels) * (HEIGHT + GAP + 3 * SIZE) - GAP // 2, STEP * len(rows)), NOTE.split()
    room = round(width + legend) - MARGIN - SIZE
    page = Page(round(width + legend), below + text_height(note, room, SIZE - 2) + SIZE)
    page.words(MARGIN, below, note, [FAINT_INK] * len(note), room, SIZE - 2)
    for k, (title, stages, of_panel) in enumerate(panels):
        panel = _Panel(page, MARGIN + k * (HEIGHT + GAP + 3 * SIZE), len(stages))
        panel.axes(title, stages)
        for r, (row, points) in enumerate(of_panel.items()):
            # Beside each other, so that intervals can be told apart.
            panel.line(points, looks[row], (r - (len(of_panel) - 1) / 2) * min(5, 0.7 * COLUMN / len(of_panel)))
    for r, (row, (line, colour)) in enumerate(looks.items()):
        y = MARGIN + STEP * (r + 0.5)
        page.line([(width + 24, y), (width + 60, y)], colour, 2.5, line)
        page.text(width + 68, y, row, SIZE)
    page.save(path)
    return path


class _Panel:
    """One panel of a page. top: of its axis, pixels.   count: of stages."""

    def __init__(self, page, top, count):
        self.page, self.top, self.count = page, top, count

    def x(self, k):
        return MARGIN + COLUMN * (k + 0.5)

    def y(self, value):
        return self.top + HEIGHT * (HIGH - min(max(value, LOW), HIGH)) / (HIGH - LOW)

    def axes(self, title, stages):
        """The title, lines of equal similarity, the names of the stages, and where the control begins."""
        page, right, control = self.page, self.x(self.count - 0.5), self.x(self.count - 1.5)
        page.text(MARGIN, self.top - 20, title, SIZE + 1, bold=True)
        for value in (-0.5, -0.25, 0, 0.25, 0.5, 0.75, 1):
            page.line([(MARGIN, self.y(value)), (right, self.y(value))], INK if value == 0 else "#dcdcdc", 1)
            page.text(MARGIN - 8, self.y(value), f"{value:g}", SIZE - 2, FAINT_INK, anchor="rm")
        page.line([(control, self.top), (control, self.top + HEIGHT + 2.6 * SIZE)], "#9a9a9a", 1, ":")
        for k, stage in enumerate(stages):
            for row, word in enumerate(stage.split(" ", 1)):
                page.text(self.x(k), self.top + HEIGHT + 12 + 17 * row, word, SIZE - 2, FAINT_INK, anchor="mm")

    def line(self, points, look, shift):
        """One row's line and intervals; a stage without a value is left out, the control is not joined."""
        line, colour = look
        places = [(k, self.x(k) + shift, point) for k, point in enumerate(points) if point]
        joined = [(x, self.y(average)) for k, x, (average, _) in places if k < self.count - 1]
        if len(joined) > 1:
            self.page.line(joined, colour, 2, line)
        self.page.dots([(x, self.y(average)) for _, x, (average, _) in places], colour, 7)
        for _, x, (_, bounds) in places:
            if bounds:
                self.page.line([(x, self.y(bounds[0])), (x, self.y(bounds[1]))], colour, 1.5)
