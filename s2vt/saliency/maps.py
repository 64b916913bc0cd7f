"""Maps behind one interface: where and when the evidence for a phrase lies, whichever way it was found.

Letters: n words, m frames (1 for a picture), G=8 grid, D=2048, N descriptors that the captioner reads, K maps.

A map of a sentence answers for any phrase, the positions of its words:

    space(words) -> (K, m, G, G), >= 0        one map, or one for each word: scores are averaged over the K
    time(words) -> (m,), any scale

and either is None where it is not defined. `MAPS` has the function of each name; all are called alike, with any
captioner that has the methods in `NEEDS`.
"""

from dataclasses import dataclass

import numpy as np

from s2vt.saliency.heatmaps import phrase_loss, scale
from s2vt.saliency.information_loss import frames_alone, image_saliency, sentence_log_probabilities, video_saliency


@dataclass(frozen=True)
class LossMap:
    """Saliency from the information that is lost by seeing one descriptor alone (Eq. 6-9, 13).

    Attributes:
        loss: of each cell, (n, m, G, G), nats.
        loss_pooled: of each frame, (n, m), nats; None for a picture.
    """

    loss: np.ndarray
    loss_pooled: np.ndarray | None

    def space(self, words):
        """e = scale(-Loss) of the phrase (Eq. 8, 9), each frame apart: (1, m, G, G)."""
        return scale(phrase_loss(self.loss, words), axes=(-2, -1))[None]

    def time(self, words):
        """-Loss of the phrase in each frame (Eq. 9), (m,): Eq. 8 does not change its order."""
        return None if self.loss_pooled is None else -phrase_loss(self.loss_pooled, words)


@dataclass(frozen=True)
class AttentionMap:
    """Saliency from an attention layer (Eq. 5): over a picture's cells, or over a video's frames, never both.

    Attributes:
        alpha: (n, 1, G, G), or (n, m) over frames; sums to 1 for each word.
    """

    alpha: np.ndarray

    def space(self, words):
        """alpha of each of the phrase's words (Liu et al. 2017 average them): (K, 1, G, G); None over frames."""
        return None if self.alpha.ndim == 2 else self.alpha[list(words)]

    def time(self, words):
        """alpha summed over the phrase's words, (m,); None over cells."""
        return self.alpha[list(words)].sum(axis=0) if self.alpha.ndim == 2 else None


def information_loss_maps(captioner, cells, v, order, sentences, frame):
    """The paper's maps: query loss (Eq. 7, 13)."""
    return _loss_maps(captioner, cells, sentences, frame)


def kl_maps(captioner, cells, v, order, sentences, frame):
    """Maps of representativeness (Eq. 6)."""
    log_p = sentence_log_probabilities(captioner.encode, captioner.step, v, sentences)
    return _loss_maps(captioner, cells, sentences, frame, log_p)


def attention_maps(captioner, cells, v, order, sentences, frame):
    """The captioner's own attention."""
    T = max(map(len, sentences))
    y = np.zeros((len(sentences), T), np.int32)
    for row, sentence in zip(y, sentences, strict=True):
        row[: len(sentence)] = sentence
    medium = np.zeros(len(y), np.int32)
    alpha = captioner.attention({"v": np.asarray(v, np.float32)[None], "y": y, "medium": medium})  # (S, T, N)
    if order is not None:
        G = int(np.sqrt(len(order)))
        cells_alpha = np.empty_like(alpha)
        cells_alpha[..., order] = alpha
        alpha = cells_alpha.reshape(*alpha.shape[:2], 1, G, G)
    return [AttentionMap(found[: len(sentence)]) for found, sentence in zip(alpha, sentences, strict=True)]


# name: (captioner, cells, v, order, sentences, frame) -> a map of each sentence.
#   cells: row by row, (G*G, D) of a picture, (m, G*G, D) of a video.   v: what the captioner reads, (N, D).
#   order: which cell each v_i is, (N,), a picture's; None if v_i are frames.   sentences: word indices, each (n,).
#   frame: what a frame is when it is seen alone, see `frames_alone`.
MAPS = {"information_loss": information_loss_maps, "kl": kl_maps, "attention": attention_maps}

NEEDS = {"information_loss": ("encode", "step"), "kl": ("encode", "step"), "attention": ("attention",)}


def names_of(captioner):
    """The maps that a captioner, or its class, can give.

    Example:
        >>> class Deaf:
        ...     def encode(self): ...
        ...     def step(self): ...
        >>> names_of(Deaf)
        ['information_loss', 'kl']
    """
    return [name for name, methods in NEEDS.items() if all(hasattr(captioner, method) for method in methods)]


def _loss_maps(captioner, cells, sentences, frame, log_p=None):
    if cells.ndim == 2:
        found = image_saliency(captioner.encode, captioner.step, cells, sentences, log_p)
        return [LossMap((loss if log_p is None else kl)[:, None], None) for loss, kl in found]
    frames = frames_alone(cells, frame)
    found = video_saliency(captioner.encode, captioner.step, cells, frames, sentences, log_p)
    return [LossMap(*((f.loss, f.loss_pooled) if log_p is None else (f.kl, f.kl_pooled))) for f in found]
