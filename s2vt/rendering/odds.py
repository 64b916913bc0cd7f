"""How log-odds of two words are drawn: signed, in diverging colours, zero in the middle, one limit on both sides.

A map's strength, its light and its tint, is |d| / limit; its colour tells the sign. Everything else, from layout to
interpolation and smoothing, is that of other maps.

Letters: K = 1 pair of words; m sampled frames; G x G grid; h, w of a drawn picture.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np

from s2vt.data.phrases import Phrase
from s2vt.rendering import drawing
from s2vt.rendering.drawing import Look
from s2vt.saliency import heatmaps

COLOUR_MAP = "coolwarm"  # of matplotlib's diverging ones; red for the sentence's word, blue for the other
ODDS = "instead"  # the name of the odds among an explanation's maps


@dataclass(frozen=True)
class OddsEvidence:
    """Log-odds of one pair of words in the place of `s2vt.saliency.maps.Evidence`; d (m, G, G) and (m,), or None."""

    cells: np.ndarray
    frames: np.ndarray | None

    def placed(self, geometry):
        """The medium's Geometry: as `Evidence.placed`."""
        return geometry

    def of_phrases(self, phrases):
        """What is drawn, of the one phrase that there is: (1, m, G, G) and (1, m)."""
        return self.cells[None], None if self.frames is None else self.frames[None]

    def beside(self, words):
        """None: there is no second curve."""


@dataclass(frozen=True)
class OddsLook(Look):
    """A Look at log-odds.

    Attributes:
        word, other: the two words.
        nats: the limit on both sides of zero, of the maps as they are drawn; None: each frame has its own.
        nats_of_frames: the limit of a video's curve and bars.
    """

    word: str = ""
    other: str = ""
    nats: float | None = None
    nats_of_frames: float = 0.0

    shown = "difference"
    ends = "−", "+"
    baseline = 0.5

    @property
    def kind(self):
        """Their name among an explanation's maps."""
        return ODDS

    @property
    def title(self):
        """What they are, for legends."""
        return f"log q({self.word}) − log q({self.other})"

    def to_draw(self, evidence, geometry):
        """d on the grid over the limit of the map as it is drawn: in [-1, 1], zero stays zero."""
        maps = np.abs(self.upsample(evidence, drawing.coarse(geometry)))
        limit = maps.max(axis=_axes(self), keepdims=True)
        return evidence / np.where(limit > 1e-6, limit, np.inf)

    def curves(self, frames):
        """d over time, (K, m), smoothed, over its limit: in [-1, 1]."""
        smooth = heatmaps.over_time(frames, self.sigma_frames)
        return smooth / max(np.abs(smooth).max(), 1e-6)

    bars = curves

    def overlay(self, backdrop, e):
        """A map of d over its picture."""
        return drawing.tinted(backdrop, np.abs(e), (e + 1) / 2, self.cmap)

    def scale_colours(self, share):
        """The colours of the scale over a grey picture, (1, k, 3)."""
        grey = drawing.Backdrop(np.full((*share.shape, 3), 150, np.uint8))
        return np.asarray(self.overlay(grey, 2 * share - 1))

    def shades(self, share):
        """The colour map itself, (..., 3) uint8."""
        colours = np.frombuffer(drawing.palette(self.cmap), np.uint8).reshape(256, 3)
        return colours[(np.clip(share, 0, 1) * 255 + 0.5).astype(int)]

    def scaling(self, moving=True):
        """The limit, for legends."""
        if self.nats is None:
            return "nats, each sampled frame with its own limit"
        return f"from −{self.nats:.2f} to {self.nats:.2f} nats"

    def curve_note(self):
        """What curves over time are, for legends."""
        return f"curve and colours: {self._over_time()}, {self.smoothing()}"

    def bars_note(self, frames, unit):
        """What bars over time are, for small print."""
        return f"{self._over_time()}, up for “{self.word}”, {frames}, {self.smoothing()}"

    def mark_note(self, unit):
        """What the marked word is, for small print."""
        return f"the word that is asked about, against “{self.other}”"

    def _over_time(self):
        return f"{self.title} of each frame alone, from −{self.nats_of_frames:.2f} to {self.nats_of_frames:.2f} nats"


def _axes(look):
    """The axes of (K, m, G, G) that share a limit."""
    return {"clip": (1, 2, 3), "frame": (2, 3)}[look.saliency.normalize]


def to_draw(explanation, odds, look):
    """What the renderers draw of log-odds, in the place of an explanation's own maps.

    Args:
        explanation: of the sentence.   odds: Odds of its word against one other.
        look: the Look of other maps; a colour map that is not the usual one is kept.
    Returns:
        an Explanation, its one Phrase in a list, an OddsLook.
    """
    (other,), t = odds.others, odds.position
    evidence = OddsEvidence(odds.cells[0], None if odds.frames is None else odds.frames[0])
    fields = {field.name: getattr(look, field.name) for field in dataclasses.fields(Look)}
    if look.cmap == drawing.COLOUR_MAP:
        fields["cmap"] = COLOUR_MAP
    view = OddsLook(**fields, word=odds.word, other=other)
    nats = np.abs(view.upsample(evidence.cells, drawing.coarse(explanation.geometry))).max()
    over_time = 0.0 if evidence.frames is None else np.abs(heatmaps.over_time(evidence.frames, view.sigma_frames)).max()
    view = dataclasses.replace(
        view, nats=float(nats) if look.saliency.normalize == "clip" else None, nats_of_frames=float(over_time)
    )
    shown = dataclasses.replace(explanation, maps={ODDS: evidence})
    return shown, [Phrase(f"{odds.word}, not {other}", (t,))], view
