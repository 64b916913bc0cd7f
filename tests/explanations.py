"""Explanations of given losses or shares, for tests of what is drawn."""

import numpy as np

from s2vt.config import SaliencyConfig
from s2vt.data.phrases import Change, phrases_at
from s2vt.rendering.drawing import Look
from s2vt.saliency.explanation import Explanation
from s2vt.saliency.maps import KINDS, Evidence


def explanation(words, maps, geometry, times=(), log_p=None, of_change=()):
    """An Explanation of a video, or, without times, of a picture.

    Args:
        words: T of them.
        maps: {kind: (of cells (T, m, G, G), of frames (T, m))}, nats lost or shares; either can be None.
        geometry: of the source.   times: of the m sampled frames, seconds.   of_change: positions of verbs of change.
    """
    evidence = {}
    for kind, pair in maps.items():
        sign = -1 if KINDS[kind].loss else 1
        cells, frames = (None if values is None else sign * np.asarray(values) for values in pair)
        evidence[kind] = Evidence(kind, cells, frames, dict.fromkeys(of_change, Change()))
    return Explanation(tuple(words), evidence, geometry, times=np.array(times), log_p=log_p)


def each(words):
    """One phrase per word."""
    return phrases_at(words, [(t,) for t in range(len(words))])


def look(kind="nll", sigma_cells=SaliencyConfig.sigma_cells, normalize="clip", **changes):
    """A Look at a kind of map."""
    return Look(SaliencyConfig(map=kind, sigma_cells=sigma_cells, normalize=normalize), **changes)
