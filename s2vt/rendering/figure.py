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


def picture_figure(path, picture, explanation, phrases, look):
    """A picture and one saliency map per phrase, after the paper's Fig. 3 and 4.

    Args:
        path: the file to write, *.png, *.pdf or *.svg.
        picture: (H, W, 3) uint8.
        explanation: `s2vt.saliency.explanation.Explanation` of the picture.
        phrases: K of `s2vt.data.phrases.Phrase`; their `boxes` are drawn.
        look: `Look`.
    Raises:
        UserError: if path cannot be written.   ValueError: if there is no phrase or the shapes disagree.
    """
    raise NotImplementedError


def panel_size(geometry):
    """(width, height) of a picture in `picture_figure`: about 150,000 pixels of the picture's shape, none too long."""
    width = max(360, round(math.sqrt(150_000 * geometry.width / geometry.height)))
    height = width * geometry.height / geometry.width
    shrink = min(1.0, 900 / max(width, height))
    return max(1, round(width * shrink)), max(1, round(height * shrink))
