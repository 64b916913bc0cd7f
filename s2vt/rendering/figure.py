"""The figure of a picture: one saliency map per word or phrase, after the paper's Fig. 3 and 4.

Letters: K words or phrases; G=8 grid; H, W height and width of the source, pixels.
"""

import math

import numpy as np

from s2vt.rendering.drawing import (
    COLOUR_MAP,
    FAINT_INK,
    INK,
    Backdrop,
    Page,
    blend,
    e_to_draw,
    fit,
    resized,
    scale_width,
    shrunk,
    text_height,
)
from s2vt.saliency import heatmaps


def picture_figure(path, picture, sentence, phrases, loss, geometry, *, boxes=(), layout="grid", cmap=COLOUR_MAP,
                   normalize="clip"):  # fmt: skip
    """A picture and one saliency map per word or phrase, after the paper's Fig. 3 and 4.

    A star marks each map's maximum, white frames the true boxes.

    Args:
        path: the file to write, *.png, *.pdf or *.svg.
        picture: (H, W, 3) uint8.
        sentence: its words, the caption below.
        phrases: K of `explanation.Phrase`.   loss: theirs (Eq. 9), nats, (K, G, G).
        geometry: `s2vt.data.media.Geometry` of the descriptors.
        boxes: for each phrase its true boxes, (B, 4) or ().
        layout: "grid", "strip" (one row) or "single" (the maps alone, without the picture itself).
        cmap: name of a matplotlib colour map.   normalize: one of `heatmaps.NORMALIZATIONS`.
    Raises:
        UserError: if path cannot be written.   ValueError: if there is no phrase or the shapes disagree.
    """
    loss = np.asarray(loss, np.float32)
    if not phrases or loss.ndim != 3 or len(loss) != len(phrases):
        raise ValueError(f"expected K >= 1 phrases and loss (K, G, G); got {len(phrases)} and {loss.shape}")
    e_cells = e_to_draw(loss[:, None], geometry, normalize)[:, 0]
    boxes = boxes or [()] * len(phrases)
    width, height = panel_size(geometry)
    size, cell = (width, height), max(width, 240)  # a narrow picture's panel is as wide as its label
    ratio = np.array([width / geometry.width, height / geometry.height])
    margin, gap = 24, 16
    panels = [None, *range(len(phrases))] if layout != "single" else list(range(len(phrases)))
    columns = len(panels) if layout == "strip" else max(1, min(len(panels), (2048 - 2 * margin + gap) // (cell + gap)))
    rows = -(-len(panels) // columns)
    columns = -(-len(panels) // rows)
    page_width = 2 * margin + columns * (cell + gap) - gap
    unit = np.clip(page_width / 1300, 1, 1.6)  # text keeps its size on paper, where a wider page is shrunk more
    label, text, small, band = (round(size * unit) for size in (21, 22, 14, 36))
    radius = min(13 * unit, 0.09 * min(size))  # of a star: maxima lie an eighth of the picture or more from its edges
    note = f"saliency: {heatmaps.NORMALIZATIONS[normalize]}"
    note = note.replace(" over the clip", "").replace("then each frame over", "then over")
    page_width = max(page_width, 2 * margin + scale_width(note, small))
    below = margin + rows * (band + height + gap)
    star = margin + scale_width(note, small) + 2 * small  # beside the note where there is room, else below it
    wide = star + 20 * small <= page_width - margin
    lines = (4 if wide else 5.7) * small
    page = Page(page_width, below + text_height(sentence, page_width - 2 * margin, text) + round(lines))
    drawn = np.asarray(shrunk(picture, size))
    backdrop, drawn_geometry = Backdrop(drawn), resized(geometry, *size)

    for panel, k in enumerate(panels):
        row, column = divmod(panel, columns)
        x, y = margin + column * (cell + gap), margin + row * (band + height + gap) + band
        if k is None:
            page.picture(drawn, x, y)
            continue
        name, font = fit(phrases[k].name, cell - 8, label, bold=True)
        page.text(x + 2, y - band // 2, name, font.size, bold=True)
        page.picture(blend(backdrop, heatmaps.upsample(e_cells[k], drawn_geometry), cmap), x, y)
        for box in np.reshape(boxes[k], (-1, 4)):
            (x1, y1), (x2, y2) = np.clip(box.reshape(2, 2) * ratio, 0, size)
            page.box(x + x1, y + y1, x + x2, y + y2, 2 * unit)
        if np.ptp(e_cells[k]) > 0:  # a constant map has no maximum
            at = np.asarray(heatmaps.maximum(heatmaps.upsample(e_cells[k], geometry))) * ratio
            page.star(x + at[0], y + at[1], radius)

    y = page.words(margin, below, sentence, [INK] * len(sentence), page_width - 2 * margin, text) + 1.4 * small
    page.scale(margin, y, cmap, note, small)
    x, y = (star, y) if wide else (margin, y + 1.7 * small)
    page.star(x + 0.8 * small, y, 0.65 * small)
    page.text(x + 2.1 * small, y, "maximum", small, FAINT_INK)
    if any(len(found) for found in boxes):
        x, half = x + 9 * small, 0.75 * small
        page.area([(x, y - half), (x + 3 * half, y - half), (x + 3 * half, y + half), (x, y + half)], "#7a7a7a")
        page.box(x + 4, y - half + 4, x + 3 * half - 4, y + half - 4)
        page.text(x + 2.9 * small, y, "true box", small, FAINT_INK)
    page.save(path)


def panel_size(geometry):
    """(width, height) of a picture in `picture_figure`: about 150,000 pixels of the picture's shape, none too long."""
    width = max(360, round(math.sqrt(150_000 * geometry.width / geometry.height)))
    height = width * geometry.height / geometry.width
    shrink = min(1.0, 900 / max(width, height))
    return max(1, round(width * shrink)), max(1, round(height * shrink))
