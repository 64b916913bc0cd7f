"""A sentence explained on one medium: everything that figures, videos and pages show, and its raw numbers as a file.

Letters: T words, m frames (1 for a picture), G x G grid, V vocabulary.
"""

import json
from dataclasses import dataclass

import numpy as np

from s2vt.data.files import atomic_path
from s2vt.data.geometry import Geometry
from s2vt.saliency.heatmaps import temporal_saliency
from s2vt.saliency.maps import KINDS, Evidence


@dataclass(frozen=True)
class Explanation:
    """A sentence and where and when the evidence for each of its words lies.

    Attributes:
        words: the T words.
        maps: {kind of map: Evidence}.
        geometry: of the medium.
        indices: which of a video's frames the m sampled frames are, (m,); empty for a picture.
        times: their times, (m,), seconds; empty for a picture.
        log_p: log p(y_t) given all descriptors and the words before, (T, V), nats; None unless asked for.
    """

    words: tuple[str, ...]
    maps: dict[str, Evidence]
    geometry: Geometry
    indices: np.ndarray = ()
    times: np.ndarray = ()
    log_p: np.ndarray | None = None

    def geometry_of(self, kind):
        """The medium's Geometry with the grid on which a kind's cells lie."""
        return self.maps[kind].placed(self.geometry)

    def beside(self, kind, phrases, sigma):
        """e over the sampled frames of the second curves, of phrases that have one (`Evidence.beside`).

        Args:
            kind: of map.   phrases: K of `s2vt.data.phrases.Phrase`.   sigma: as in `heatmaps.over_time`.
        Returns:
            {index of the phrase: e (m,)}.
        """
        found = {k: self.maps[kind].beside(phrase.words) for k, phrase in enumerate(phrases)}
        return {k: temporal_saliency(values, sigma) for k, values in found.items() if values is not None}

    def save(self, path, instead=None):
        """Writes the raw numbers as one `.npz`.

        `words` (T,); for each kind of map the words' values by cell, `nll` (T, m, G, G), nats, and by frame,
        `frame_nll` (T, m), where it has them, named as the loss that it is made of, else as the kind; `frame_indices`
        and `frame_times` (m,) in seconds; `geometry` as JSON text, and `KIND_geometry` for a kind whose cells lie on
        another grid. nll and kl are losses, small where there is evidence; all others are large where there is.

        Args:
            instead: Odds of one pair of words, whose log-odds become `instead` (m, G, G) and `frame_instead` (m,),
                nats, large where the first of `instead_words` is said; None: none.
        """
        arrays = {
            "words": np.array(self.words),
            "frame_indices": np.asarray(self.indices, np.int64),
            "frame_times": np.asarray(self.times, np.float64),
            "geometry": np.array(json.dumps(self.geometry.to_json())),
        }
        for kind, evidence in self.maps.items():
            name = KINDS[kind].source(kind)
            if evidence.grid is not None:
                arrays[f"{name}_geometry"] = np.array(json.dumps(self.geometry_of(kind).to_json()))
            for key, values in ((name, evidence.cells), (f"frame_{name}", evidence.frames)):
                if values is not None:
                    arrays[key] = -values if evidence.is_loss else values
        if instead is not None:
            arrays |= {"instead": instead.cells[0], "instead_words": np.array([instead.word, *instead.others])}
            if instead.frames is not None:
                arrays["frame_instead"] = instead.frames[0]
        with atomic_path(path) as partial, open(partial, "wb") as file:
            np.savez_compressed(file, **arrays)
