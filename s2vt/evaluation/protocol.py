"""Protocols: how maps are scored, in numbers and in words."""

import math
from dataclasses import dataclass

import numpy as np

from s2vt.data import entities
from s2vt.data.geometry import Geometry
from s2vt.evaluation import baselines
from s2vt.evaluation.pointing import ATTENTION_CORRECTNESS, TEMPORAL_HIT, clip_boxes, pointing_game
from s2vt.evaluation.tally import Tally
from s2vt.saliency.heatmaps import SPREAD


@dataclass(frozen=True)
class Protocol:
    """How maps are scored; the defaults are the paper's Table 1.

    Attributes:
        tolerance: how far outside a box a point still hits, source pixels (TorchRay: 15).
        average: "phrase" or "class" (TorchRay), see `Tally`.
        resize: which part of a picture counts: "squash", all of it, or "center_crop" (Table 2).
        spread: how far a cell's value reaches, in cells; 0: bilinear (see `s2vt.saliency.heatmaps.upsample`). And how
            far a frame's reaches, in sampled frames: a Gaussian mean of them; 0: each frame's own.
        frame: what a frame is when it is seen alone, "pooled" or "cells" (see `information_loss.frames_alone`).
    """

    tolerance: float = 0.0
    average: str = "phrase"
    resize: str = "squash"
    spread: float = SPREAD
    frame: str = "pooled"

    def tally(self, name):
        """An empty table."""
        metric, text = TABLES[name]
        text = text.format(pointing_game=pointing_game(self.tolerance))
        if name in SPACE:
            text += f" Maps between cells: {f'a Gaussian of {self.spread:g} cells' if self.spread else 'bilinear'}."
        if self.resize == "center_crop" and name in SPACE:
            text += " The picture is its centre crop; boxes are cut to it, phrases without a box left are dropped."
        if self.spread and name not in SPACE:
            text += f" Saliency over time: a Gaussian mean of {self.spread:g} sampled frames."
        if self.frame == "cells" and name not in SPACE:
            text += " A frame seen alone is its cells, read like a picture's, not their mean."
        return Tally(metric, text, self.average, entities.CATEGORIES)


TABLE_1 = Protocol()

TABLES = {
    "space": (
        "pointing game",
        "{pointing_game} Of attention the map is the sum over the phrase's words. In a clip: its share of the sampled "
        "frames with the object in view. " + baselines.POINTING_BASELINES,
    ),
    "attention correctness": (
        "attention correctness",
        ATTENTION_CORRECTNESS + " Information loss has one map a phrase, attention the mean over the phrase's words. "
        + baselines.CORRECTNESS_BASELINES,
    ),
    "time: object": (
        "right moment, objects that come or go",
        TEMPORAL_HIT + " Only objects that appear or disappear. " + baselines.TEMPORAL_BASELINES,
    ),
    "time: event": (
        "right moment, the event itself",
        "a hit: the object is appearing or disappearing, half faded, in the most salient of the clip's sampled frames. "
        + baselines.TEMPORAL_BASELINES,
    ),
}  # fmt: skip

SPACE = ("space", "attention correctness")


@dataclass(frozen=True)
class Window:
    """The part of a source picture that counts, as if it were the picture: pixels and boxes start at its corner.

    Attributes:
        geometry: of the source.   left, top, width, height: source pixels.

    Example:
        >>> window = Window.of(Geometry.of(300, 200), "center_crop")
        >>> window.left, window.top, window.width, window.height
        (62, 12, 175, 175)
        >>> window.cut([(0, 0, 100, 100), (0, 0, 62, 100)]).tolist()
        [[0.0, 0.0, 38.0, 88.0]]
    """

    geometry: Geometry
    left: int
    top: int
    width: int
    height: int

    @classmethod
    def of(cls, geometry, resize):
        """The pixels whose centres lie in what the protocol `resize` keeps of the source (see `Geometry.of`)."""
        crop = Geometry.of(geometry.width, geometry.height, resize).crop
        left, top, right, bottom = (math.ceil(edge - 0.5) for edge in crop)
        return cls(geometry, left, top, right - left, bottom - top)

    def to_input(self, points):
        """Points (..., 2) in the window's pixels -> (..., 2) in input pixels."""
        return self.geometry.to_input(np.asarray(points, float) + (self.left, self.top))

    def cut(self, boxes):
        """Boxes (K, 4) in source pixels -> what is left of them in the window, in its pixels, (K', 4)."""
        region = self.left, self.top, self.left + self.width, self.top + self.height
        return clip_boxes(boxes, region) - (self.left, self.top, self.left, self.top)
