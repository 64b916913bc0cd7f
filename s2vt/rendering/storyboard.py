"""The storyboard of a video: each word's saliency over time and its most salient frames, after the paper's Fig. 5.

Letters: K words or phrases; m sampled frames; G=8 grid.
"""

import math

import numpy as np
from PIL import Image

from s2vt.rendering.drawing import (
    COLOUR_MAP,
    FAINT_INK,
    Backdrop,
    Page,
    blend,
    e_to_draw,
    fit,
    font_of,
    resized,
    scale_width,
    shrunk,
    text_height,
    wrap,
)
from s2vt.saliency import heatmaps

# What the paper's Fig. 5 leaves out, "articles, helper verbs and prepositions"; conjunctions, the empty subject
# "there" and the full stop (END) are ours. Particles that carry a verb's meaning (up, down, off, out) stay in.
UNINFORMATIVE_WORDS = frozenset(
    # articles
    "a an the "
    # helper verbs
    "am is are was were be been being has have had having do does did can could will would shall should may might must "
    # prepositions
    "about above across after against along alongside amid among around as at before behind below beneath beside "
    "besides between beyond by during for from in inside into near of on onto outside over past through throughout to "
    "toward towards under underneath until upon via while with within without "
    # conjunctions, empty subject, END
    "and but or nor that which who there .".split()
)

LABEL, SMALL = 28, 17  # text of a storyboard, pixels; 8 and 5 points where it is as wide as a page of a paper

# Dark and far apart on white; neighbours differ in hue and in lightness.
WORD_COLOURS = ("#c4342d", "#1f6fb4", "#2a8a3e", "#8b3fa8", "#d07a00", "#0f8b8d", "#a03a6b", "#5b5bd6", "#7a5230")


def informative(words):
    """Indices of the words worth a row of their own: those not in UNINFORMATIVE_WORDS, or all if none is left.

    Example:
        >>> informative("a man is talking about a phone".split())
        [1, 3, 6]
    """
    return [t for t, word in enumerate(words) if word.lower() not in UNINFORMATIVE_WORDS] or list(range(len(words)))


def most_salient(e, count=3):
    """The highest of e, best first; neighbours of a chosen one only when nothing else is left.

    Example:
        >>> most_salient([0.1, 0.9, 1.0, 0.8, 0.3, 0.2])
        [2, 4, 0]
    """
    order = [int(i) for i in np.argsort(-np.asarray(e), kind="stable")]
    chosen = []
    for distance in (2, 1):
        for i in order:
            if len(chosen) < count and all(abs(i - j) >= distance for j in chosen):
                chosen.append(i)
    return chosen


# --- the storyboard -------------------------------------------------------------------------------------------------


def storyboard(path, explanation, phrases, thumbnails, span, look):
    """Each phrase's saliency over time and its most salient frames, after the paper's Fig. 5.

    Args:
        path: the file to write, *.png, *.pdf or *.svg.
        explanation: `s2vt.saliency.explanation.Explanation` of a video.
        phrases: K of `s2vt.data.phrases.Phrase`, a row each; see `Look.rows`.
        thumbnails: the m sampled frames, a sequence of (h, w, 3) uint8 of any one size.
        span: (first, last) second of the time axis.
        look: `Look`.
    Raises:
        UserError: if path cannot be written.   ValueError: if the shapes disagree.
    """
    raise NotImplementedError


def checked(phrases, loss, loss_pooled, per_frame):
    """The two losses as arrays, after checking that all shapes agree."""
    loss, loss_pooled = np.asarray(loss, np.float32), np.asarray(loss_pooled, np.float32)
    if not len(phrases) or loss.ndim != 4 or loss_pooled.shape != loss.shape[:2] or len(loss) != len(phrases):
        raise ValueError(
            f"expected K >= 1 phrases, loss (K, m, G, G) and loss_pooled (K, m); "
            f"got {len(phrases)} phrases, {loss.shape} and {loss_pooled.shape}"
        )
    if len(per_frame) != loss.shape[1]:
        raise ValueError(f"expected a time for each of m = {loss.shape[1]} frames; got {len(per_frame)}")
    return loss, loss_pooled


def _grey(e):
    """Fig. 5's greys, darker = more salient, (..., 3) uint8."""
    return np.repeat((250 - 215 * np.clip(e, 0, 1))[..., None], 3, axis=-1).astype(np.uint8)


def _draw_label(page, x, y, name, width, colour):
    """A row's name, centred on y, in as many lines as it takes."""
    words = name.split()
    lines = wrap(words, width, font_of(LABEL, True))
    for k, line in enumerate(lines):
        text, font = fit(" ".join(words[j] for j in line), width, LABEL, bold=True)
        page.text(x, y + (k - (len(lines) - 1) / 2) * 1.3 * LABEL, text, font.size, colour, bold=True)


def _draw_curve(page, box, e, times, span, ranks, colour):
    """One word's temporal saliency: curve above, greys below, the chosen frames marked."""
    left, top, right, bottom = box
    e, times = np.asarray(e), np.asarray(times, float)
    shades = 28  # height of the grey strip
    high, low = top + 30, bottom - shades - 6
    x, y = _time_to_x(times, left, right, span), low - e * (low - high)
    for level in (0.0, 0.5, 1.0):
        rule = low - level * (low - high)
        page.line([(left, rule), (right, rule)], "#dcdcdc")
    page.area([(x[0], low), *zip(x, y, strict=True), (x[-1], low)], _tint(colour, 0.16))
    for i in ranks:
        page.line([(x[i], y[i]), (x[i], low)], colour)
    page.line(np.stack([x, y], axis=1), colour, 2.2)
    page.dots(np.stack([x, y], axis=1), colour, 4.5)
    for level, text in ((high, "1"), (low, "0")):
        page.text(left - 7, level, text, SMALL, FAINT_INK, anchor="rm")
    for rank, i in reversed(list(enumerate(ranks))):
        page.rank(float(np.clip(x[i], left + 12, right - 12)), max(y[i] - 17, top + 12), rank + 1, colour)

    # Each sampled frame's grey reaches halfway to its neighbours.
    edges = _time_to_x((times[1:] + times[:-1]) / 2, left, right, span)
    strip = _grey(e[np.searchsorted(edges, np.arange(left, right) + 0.5)])
    page.picture(np.broadcast_to(strip, (shades, *strip.shape)), left, bottom - shades)
    page.frame(left, bottom - shades, right, bottom, "#b0b0b0")
    for i in ranks:
        page.line([(x[i], bottom - shades - 3), (x[i], bottom + 3)], colour, 3)


def _time_to_x(times, left, right, span):
    return left + (np.asarray(times) - span[0]) / max(span[1] - span[0], 1e-6) * (right - left)


def _tint(colour, share):
    """The colour thinned with white, as matplotlib takes it."""
    return tuple(1 - share * (1 - c / 255) for c in Image.new("RGB", (1, 1), colour).getpixel((0, 0)))


def _draw_time_axis(page, left, right, y, span):
    """Seconds of the source, with ticks at round numbers."""
    length = max(span[1] - span[0], 1e-6)
    unit = 10.0 ** math.floor(math.log10(length / 6))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= length / 6)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    page.line([(left, y), (right, y)], FAINT_INK)
    for k in range(math.ceil(span[0] / step - 1e-6), math.floor(span[1] / step + 1e-6) + 1):
        x = _time_to_x(k * step, left, right, span)
        page.line([(x, y), (x, y + 5)], FAINT_INK)
        page.text(x, y + 8, f"{k * step:.{digits}f}", SMALL, FAINT_INK, anchor="ma")
    page.text(right + 12, y, "s", SMALL, FAINT_INK)
