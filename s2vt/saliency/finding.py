"""What a function that finds the evidence of words is asked for, and what it gives: the contract of `finders`.

    find(captioner, descriptors, sentences, asking, names) -> for each sentence {name: Values}

`maps.find_evidence` calls it once for all `names` that share it: kinds of map, or the losses that they are made of.

Letters: T words, m frames (1 for a picture), G=8 grid, N descriptors that the captioner reads.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from s2vt.config import SaliencyConfig
from s2vt.data.geometry import Grid


@dataclass(frozen=True)
class Asking:
    """How the evidence of words is asked for, whatever the kind of map.

    Attributes:
        media: "picture" or "video".
        saliency: the settings of maps. Evidence depends on `SaliencyConfig.of_evidence` of them alone.
        vocabulary: the word of each index, to tell content words and verbs of change; empty: no word is known to be
            one.
        seed: of random subsets.
        layers: `saliency.eb_layer` -> that layer of the network that made the descriptors, a
            `features.middle_layer.MiddleLayer`; called only for a layer below mixed_10. None: only mixed_10 is read.

    Example:
        >>> Asking("video").frames, Asking("picture").frames
        ('pooled', None)
    """

    media: str = "picture"
    saliency: SaliencyConfig = SaliencyConfig()
    vocabulary: tuple[str, ...] = ()
    seed: int = 0
    layers: Callable | None = None

    @property
    def frames(self):
        """Encoder input for one frame of a video in isolation, `saliency.frame_input`; None: a picture."""
        return self.saliency.frame_input if self.media == "video" else None


class Values(NamedTuple):
    """Evidence for each word of a sentence, larger where there is more.

    Attributes:
        cells: of each cell, (T, m, G, G); None for a kind that has no values in space.
        frames: of each frame, (T, m); None for a picture, and for a kind that has no values in time.
        grid: the Grid on which the cells lie; None: that of the descriptors' network.
    """

    cells: np.ndarray | None
    frames: np.ndarray | None = None
    grid: Grid | None = None

    def of_words(self, starts):
        """The Values of words that are said in pieces: each the sum over its pieces, as a phrase is over words (Eq. 9).

        Args:
            starts: the position of each word's first piece, (T,), rising, the first 0.

        Example:
            >>> Values(None, np.array([[1.0, 2.0], [10.0, 20.0], [100.0, 200.0]])).of_words((0, 1)).frames.tolist()
            [[1.0, 2.0], [110.0, 220.0]]
        """
        summed = (None if each is None else np.add.reduceat(each, starts, axis=0) for each in self[:2])
        return self._replace(**dict(zip(("cells", "frames"), summed, strict=True)))


def of_read(values, order):
    """Values of the descriptors that the captioner reads: of a picture's cells, or of a video's frames.

    Args:
        values: (T, N).   order: the cell that each descriptor is, (N,); None: they are frames.

    Example:
        >>> of_read(np.array([[1.0, 2.0, 3.0, 4.0]]), np.array([0, 1, 3, 2])).cells.tolist()
        [[[[1.0, 2.0], [4.0, 3.0]]]]
    """
    if order is None:
        return Values(None, values)
    G = math.isqrt(len(order))
    return Values(values[:, np.argsort(order)].reshape(len(values), 1, G, G))
