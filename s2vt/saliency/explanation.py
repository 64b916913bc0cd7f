"""A sentence explained on one medium: the numbers behind every figure, from any captioner with encode and step.

Letters: n words, m frames (1 for a picture), G=8 grid, D=2048.
"""

import json
from dataclasses import dataclass

import numpy as np

from s2vt.data.files import atomic_path
from s2vt.saliency.heatmaps import phrase_loss
from s2vt.saliency.information_loss import frames_alone, image_saliency, sentence_log_probabilities, video_saliency


@dataclass(frozen=True)
class Explanation:
    """Information lost about each word when one descriptor is seen alone, nats.

    Attributes:
        words: the n words.
        loss: query loss of each cell (Eq. 7, 13), (n, m, G, G).
        loss_pooled: query loss of each frame (Eq. 7), (n, m); None for a picture.
        kl, kl_pooled: representativeness (Eq. 6), of the same shapes; None unless asked for.
        log_p: log p(y_t) given all descriptors and the words before, (n, V), nats; None unless kl was asked for.
    """

    words: tuple[str, ...]
    loss: np.ndarray
    loss_pooled: np.ndarray | None
    kl: np.ndarray | None = None
    kl_pooled: np.ndarray | None = None
    log_p: np.ndarray | None = None

    def maps(self, loss):
        """The cells' and the frames' losses of one kind, "nll" or "kl"."""
        return (self.loss, self.loss_pooled) if loss == "nll" else (self.kl, self.kl_pooled)

    def of_phrases(self, phrases, loss):
        """The losses of phrases (Eq. 9) of one kind, "nll" or "kl": cells (K, m, G, G), frames (K, m) or None."""
        cells, pooled = self.maps(loss)
        summed = np.stack([phrase_loss(cells, phrase.words) for phrase in phrases])
        return summed, None if pooled is None else np.stack([phrase_loss(pooled, p.words) for p in phrases])

    def save(self, path, geometry, indices=(), times=()):
        """Writes the raw numbers as one `.npz`.

        `words` (n,), `loss` (n, m, G, G), `loss_pooled` (n, m) for a video, `kl` (m, n) (pooled frames; of a picture,
        (1, G, G, n)) and `kl_cells` (n, m, G, G) if asked for, `frame_indices` and `frame_times` (m,) in seconds,
        `geometry` as JSON text.
        """
        arrays = {
            "words": np.array(self.words),
            "loss": self.loss,
            "frame_indices": np.asarray(indices, np.int64),
            "frame_times": np.asarray(times, np.float64),
            "geometry": np.array(json.dumps(geometry.to_json())),
        }
        if self.loss_pooled is not None:
            arrays["loss_pooled"] = self.loss_pooled
        if self.kl is not None:
            arrays["kl_cells"] = self.kl
            arrays["kl"] = np.moveaxis(self.kl if self.kl_pooled is None else self.kl_pooled, 0, -1)
        with atomic_path(path) as partial, open(partial, "wb") as file:
            np.savez_compressed(file, **arrays)


def explain(captioner, cells, sentences, words, v=None, frame="pooled"):
    """Explains sentences on one medium, all in one call: what they share is computed once.

    Args:
        captioner: anything with encode and step (see `information_loss`).
        cells: row by row, (G*G, D) of a picture, (m, G*G, D) of a video.
        sentences: S of them, each word indices, (n,).
        words: the same as strings, kept for labels.
        v: what the captioner reads, (N, D), if the representativeness (Eq. 6) and log p are asked for as well.
        frame: of a video, what a frame is when it is seen alone, see `frames_alone`.
    Returns:
        list of S Explanation.
    """
    captioner = captioner.encode, captioner.step
    log_p = None if v is None else sentence_log_probabilities(*captioner, v, sentences)
    if cells.ndim == 2:
        found = [
            (loss[:, None], None, None if kl is None else kl[:, None], None)
            for loss, kl in image_saliency(*captioner, cells, sentences, log_p)
        ]
    else:
        frames = frames_alone(cells, frame)
        found = [
            (loss, loss_pooled, kl, kl_pooled)
            for loss_pooled, loss, kl_pooled, kl in video_saliency(*captioner, cells, frames, sentences, log_p)
        ]
    log_p = log_p or [None] * len(sentences)
    return [Explanation(tuple(w), *f, p) for w, f, p in zip(words, found, log_p, strict=True)]
