"""Maps behind one interface: where and when the evidence for each word lies, whichever way it was found.

Letters: T words, m frames (1 for a picture), G=8 grid, D=2048, N descriptors that the captioner reads, S sentences.

`KINDS` lists every kind of map. A new one is an entry there: what it needs of a captioner, and the function that finds
the evidence. Scripts, tables, figures, videos and pages take all kinds from this list. Those functions import the
engine when they are called, so that a script can check the names of maps without it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from s2vt.errors import UserError
from s2vt.saliency.heatmaps import phrase_sum, scale


@dataclass(frozen=True)
class Evidence:
    """Evidence for each word of a sentence by one kind of map: larger where there is more.

    Attributes:
        kind: name of the kind of map, a key of KINDS.
        cells: of each cell, (T, m, G, G); None for a kind that has no values in space.
        frames: of each frame, (T, m); None for a picture, and for a kind that has no values in time.
    """

    kind: str
    cells: np.ndarray | None
    frames: np.ndarray | None

    def of_phrases(self, phrases):
        """Evidence for phrases (Eq. 9): cells (K, m, G, G) and frames (K, m), either None where this one is.

        Args:
            phrases: K of `s2vt.data.phrases.Phrase`.
        """
        return tuple(
            None if values is None else np.stack([phrase_sum(values, phrase.words) for phrase in phrases])
            for values in (self.cells, self.frames)
        )

    def space(self, words):
        """Maps of a phrase for scoring, (K, m, G, G), >= 0; None where there are no values in space.

        For a loss, one map, K = 1: e = scale(-Loss) of the phrase in each frame (Eq. 8, 9). For attention, one map for
        each of the K words, which is a distribution; scores are averaged over them (Liu et al. 2017).
        """
        if self.cells is None:
            return None
        if KINDS[self.kind].unit == "share":
            return self.cells[list(words)]
        return scale(phrase_sum(self.cells, words), axes=(-2, -1))[None]

    def time(self, words):
        """Evidence for a phrase in each frame (Eq. 9), (m,); None where there are no values in time."""
        return None if self.frames is None else phrase_sum(self.frames, words)

    @property
    def nats(self):
        """Whether evidence is the negative of an information loss in nats."""
        return KINDS[self.kind].unit == "nats"


@dataclass(frozen=True)
class Kind:
    """A kind of map.

    Attributes:
        title: what it is, for legends.
        unit: "nats", evidence is -Loss; "share", evidence is a distribution over cells or frames for each word.
        needs: the captioner's methods that it calls.
        find: (captioner, descriptors, sentences, frame_input, kinds) -> for each sentence {kind: Evidence}; called once
            for all `kinds` that share it.
    """

    title: str
    unit: str
    needs: tuple[str, ...]
    find: Callable


def find_losses(captioner, descriptors, sentences, frames, kinds):
    """Evidence of the paper's maps: -Loss of each descriptor alone (Eq. 6, 7, 13)."""
    from s2vt.saliency.information_loss import frame_input, information_loss, sentence_log_probabilities

    encode, step, cells = captioner.encode, captioner.step, descriptors.cells
    log_p = sentence_log_probabilities(encode, step, descriptors.v, sentences) if "kl" in kinds else None
    alone = None if frames is None else frame_input(cells, frames)
    found = information_loss(encode, step, cells, sentences, alone, log_p)

    def evidence(kind, of_sentence):
        loss, frame_loss = getattr(of_sentence, kind), getattr(of_sentence, f"frame_{kind}")
        return Evidence(kind, -loss, None if frame_loss is None else -frame_loss)

    return [{kind: evidence(kind, of_sentence) for kind in kinds} for of_sentence in found]


def find_attention(captioner, descriptors, sentences, frames, kinds):
    """Evidence of a captioner's own attention (Eq. 5): over a picture's cells, or over a video's frames, never both."""
    from keras.utils import pad_sequences

    v, order = np.asarray(descriptors.v, np.float32)[None], descriptors.order
    y = pad_sequences(sentences, padding="post")
    alpha = captioner.attention({"v": v, "y": y, "medium": np.zeros(len(y), np.int32)})  # (S, T, N)
    if order is not None:  # v_i is cell order[i] of a picture
        G = math.isqrt(len(order))
        alpha = alpha[..., np.argsort(order)].reshape(*alpha.shape[:2], 1, G, G)

    found = [of_sentence[: len(y)] for of_sentence, y in zip(alpha, sentences, strict=True)]
    if order is None:
        return [{"attention": Evidence("attention", None, frames=of_frames)} for of_frames in found]
    return [{"attention": Evidence("attention", of_cells, frames=None)} for of_cells in found]


KINDS = {
    "nll": Kind("query loss (Eq. 7)", "nats", ("encode", "step"), find_losses),
    "kl": Kind("representativeness (Eq. 6)", "nats", ("encode", "step"), find_losses),
    "attention": Kind("attention (Eq. 5)", "share", ("attention",), find_attention),
}


def kinds_of(captioner):
    """The kinds of map that a captioner, or its class, can give.

    Example:
        >>> class WithoutAttention:
        ...     def encode(self): ...
        ...     def step(self): ...
        >>> kinds_of(WithoutAttention)
        ['nll', 'kl']
    """
    return kinds_with(dir(captioner))


def kinds_with(methods):
    """The kinds of map that a captioner with these methods can give.

    Example:
        >>> kinds_with(("encode", "step", "attention"))
        ['nll', 'kl', 'attention']
    """
    return [name for name, kind in KINDS.items() if set(kind.needs) <= set(methods)]


def parse_kinds(text):
    """Names of kinds of map from a flag: "nll,kl", or "all".

    Raises:
        UserError: if one is unknown or named twice.
    """
    names = list(KINDS) if text == "all" else text.split(",")
    if not set(names) <= set(KINDS) or len(set(names)) < len(names):
        raise UserError(f"--map {text}: expected all, or some of {', '.join(KINDS)}, each once")
    return names


def find_evidence(captioner, descriptors, sentences, kinds, frames):
    """Evidence for all sentences about one medium; what kinds of map share is computed once.

    Args:
        captioner: anything with the methods that the kinds need.
        descriptors: `s2vt.features.descriptors.Descriptors`: `cells` (m, G G, D), row by row from the upper left; `v`
            (N, D), what the captioner reads; `order` (N,), the cell that each v_i is, None if v_i are frames.
        sentences: S of them, each word indices (T,).
        kinds: names in KINDS.
        frames: encoder input for one frame of a video in isolation, `saliency.frame_input`; None: a picture.
    Returns:
        list of S {kind: Evidence}.
    Raises:
        ValueError: if the captioner lacks what a kind needs.
    """
    missing = [kind for kind in kinds if kind not in kinds_of(captioner)]
    if missing:
        raise ValueError(f"this captioner gives no {', '.join(missing)} maps, only {', '.join(kinds_of(captioner))}")
    found = [{} for _ in sentences]
    for find in dict.fromkeys(KINDS[kind].find for kind in kinds):
        together = [kind for kind in kinds if KINDS[kind].find is find]
        for of_sentence, more in zip(found, find(captioner, descriptors, sentences, frames, together), strict=True):
            of_sentence.update(more)
    return [{kind: of_sentence[kind] for kind in kinds} for of_sentence in found]
