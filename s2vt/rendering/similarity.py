"""The figure of the sanity check: how alike maps stay, stage by stage, a line for each kind of map."""

import matplotlib

from s2vt.rendering.drawing import FAINT_INK, INK, Page

MARGIN, PANEL, HEIGHT, GAP = 64, 440, 260, 56  # pixels
SIZE = 15  # of the text, pixels
LOW, HIGH = -0.25, 1.0  # of the vertical axis


def similarity_figure(path, panels):
    """Similarity of maps before and after, over the stages, with 95 % intervals.

    Args:
        path: the file to write, *.png, *.pdf or *.svg.
        panels: list of (title, K names of stages, {row: K of (average, (low, high) or None), or None}), side by side;
            averages are in [-1, 1], what lies below -0.25 is drawn there.
    Returns:
        path.
    Raises:
        UserError: if path cannot be written.
    """
    rows = list(dict.fromkeys(row for _, _, of_panel in panels for row in of_panel))
    colours = {row: matplotlib.colormaps["tab10" if len(rows) <= 10 else "tab20"](k) for k, row in enumerate(rows)}
    below = 40 + GAP + 24 * len(rows)
    page = Page(MARGIN + len(panels) * (PANEL + GAP), MARGIN + HEIGHT + below)
    for k, (title, stages, of_panel) in enumerate(panels):
        left = MARGIN + k * (PANEL + GAP)
        page.text(left, MARGIN / 2, title, SIZE + 2, bold=True)
        _axes(page, left, stages)
        for r, (row, points) in enumerate(of_panel.items()):
            shift = 4 * (r - (len(of_panel) - 1) / 2)  # so that intervals stand beside each other
            _line(page, left, points, colours[row], shift)
    top = MARGIN + HEIGHT + GAP + 20
    for r, row in enumerate(rows):
        page.line([(MARGIN, top + 24 * r), (MARGIN + 30, top + 24 * r)], colours[row], 3)
        page.text(MARGIN + 40, top + 24 * r, row, SIZE)
    page.save(path)
    return path


def _axes(page, left, stages):
    for value in (-0.25, 0, 0.25, 0.5, 0.75, 1):
        page.line([(left, _y(value)), (left + PANEL, _y(value))], INK if value == 0 else "#d8d8d8", 1)
        page.text(left - 8, _y(value), f"{value:g}", SIZE - 2, FAINT_INK, anchor="rm")
    for k, stage in enumerate(stages):
        down = MARGIN + HEIGHT + (14 if k % 2 == 0 else 34)
        page.text(_x(left, k, len(stages)), down, stage, SIZE - 2, FAINT_INK, anchor="mm")


def _line(page, left, points, colour, shift):
    """One row's line; a stage without a value is left out, the last stage, a control, is not joined to the others."""
    places = [(_x(left, k, len(points)) + shift, _y(point[0]), point[1]) for k, point in enumerate(points) if point]
    if len(places) > 2:
        page.line([place[:2] for place in places[:-1]], colour, 2)
    page.dots([place[:2] for place in places], colour, 8)
    for x, _, bounds in places:
        if bounds:
            page.line([(x, _y(bounds[0])), (x, _y(bounds[1]))], colour, 1.5)


def _x(left, k, count):
    return left + PANEL * (k + 0.5) / count


def _y(value):
    return MARGIN + HEIGHT * (HIGH - min(max(value, LOW), HIGH)) / (HIGH - LOW)
