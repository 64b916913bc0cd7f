"""Information about each word that is lost when the captioner reads one descriptor alone (Eq. 6, 7, 13).

Letters: N descriptors, T words, V vocabulary, R descriptors in a chunk, m frames (1 for a picture), r=64 cells of a
frame, G=8 grid, S sentences, K words that follow one prefix, L descriptors that are read as one sequence.

The captioner is two callables, `encode` and `step`: see `teacher_forcing`. A measure of the loss is a function of one
`Step`; all measures that are asked for are made in one pass:

    query_measure                            nll: the query loss (Eq. 7)
    representativeness_measure(log_p, ...)   kl: representativeness (Eq. 6)
    relative_measure(others)                 logit, contrast: the query loss less its mean over other words
"""

import functools
import math
from dataclasses import dataclass

import numpy as np
from keras import ops

from s2vt.engine import fused
from s2vt.saliency.teacher_forcing import MEMORY_BUDGET, teacher_forcing


@dataclass(frozen=True)
class InformationLoss:
    """Information lost about each word of a sentence, nats: small where the descriptor alone is enough to say it.

    Attributes:
        cells: {measure: its loss of each cell (Eq. 13), (T, m, G, G)}.
        frames: {measure: its loss of each frame, (T, m)}; None for a picture.
    """

    cells: dict[str, np.ndarray]
    frames: dict[str, np.ndarray] | None = None


@dataclass(frozen=True)
class Step:
    """One step of teacher forcing from R descriptors, each read alone: what a measure of the loss is made of.

    Attributes:
        logits: of q_i(y_t), (R, V).
        t: position of the word y_t in the sentences.
        which: the sentences that share the prefix y_<t, K of 0..S-1.
        words: y_t of each of them, (K,).
    """

    logits: object
    t: int
    which: list[int]
    words: list[int]

    @functools.cached_property
    def log_z(self):
        """`log_partition` of the logits, (R,), computed once for all measures that need it."""
        return log_partition(self.logits)


@fused
def log_partition(logits):
    """The log-partition function of logits: log_z = log sum_k exp(logits_k), so that log q = logits - log_z.

    Args:
        logits: (R, V).
    Returns:
        (R,).

    Example:
        >>> print(ops.convert_to_numpy(log_partition(np.log([[1.0, 2.0, 5.0]]))).round(3))  # log 8
        [2.079]
    """
    return ops.logsumexp(logits, axis=-1)


def query_loss(logits, log_z, w):
    """Information lost about the query word, under a one-hot target distribution (Eq. 7).

        Loss(t, i, w) = -log q_i(y_t = w) = log_z - logit_w

    Args:
        logits: of q_i(y_t), one row for each descriptor i, (R, V).
        log_z: from `log_partition`, (R,).
        w: word indices, (K,): the next words of the sentences that share the prefix.
    Returns:
        Loss, (R, K), nats, in [0, inf).

    Example:
        >>> logits = ops.log(np.array([[0.5, 0.25, 0.25], [0.25, 0.25, 0.5]]))
        >>> loss = query_loss(logits, log_partition(logits), [0])
        >>> print(ops.convert_to_numpy(loss[:, 0]).round(3))  # log 2, log 4
        [0.693 1.386]
    """
    return log_z[:, None] - ops.take(logits, w, axis=1)


def representativeness(logits, log_z, log_p):
    """Information lost about the whole distribution p of a word (Eq. 6).

        Loss(t, i) = KL(p(y_t) || q_i(y_t)) = sum_k p_k log p_k - logits p + log_z

    Args:
        logits: of q_i(y_t), one row for each descriptor i, (R, V).
        log_z: from `log_partition`, (R,).
        log_p: log p(y_t), (V,), nats.
    Returns:
        Loss, (R,), nats, in [0, inf).
    Raises:
        ValueError: if log_p has another shape.

    Example:
        >>> logits = ops.log(np.array([[0.5, 0.25, 0.25], [0.25, 0.25, 0.5]]))
        >>> loss = representativeness(logits, log_partition(logits), np.log([0.5, 0.25, 0.25]))
        >>> print(ops.convert_to_numpy(loss).round(3))  # 0, 0.25 log 2
        [0.    0.173]
    """
    log_p = np.asarray(log_p, "float64")
    if log_p.shape != tuple(logits.shape[1:]):
        raise ValueError(f"log_p of a word must be (V,), V = {logits.shape[1]}; received {log_p.shape}")
    p = np.exp(log_p)
    p /= p.sum()
    negative_entropy = np.sum(p * np.where(p > 0, log_p, 0))
    cross_entropy = log_z - ops.matmul(logits, ops.cast(p, logits.dtype))
    return ops.maximum(negative_entropy + cross_entropy, 0)  # rounding can make a KL of zero negative


def relative_loss(logits, w, share):
    """Information lost about the query word, less the mean of what is lost about other words.

        Loss(t, i, w) = -log q_i(w) - sum_k a_k (-log q_i(k)) = sum_k a_k logit_k - logit_w,    sum_k a_k = 1

    log_z cancels: words do not compete in a softmax. Of all words alike, a_k = 1 / V, it is the negated centred
    log-ratio of q_i (Aitchison 1982), the word's logit below the mean logit. That the query word may be one of the K
    other words shrinks the loss by (K - 1) / K, the same for every descriptor.

    Args:
        logits: of q_i(y_t), one row for each descriptor i, (R, V).
        w: word indices, (K,).
        share: a_k, (V,), sums to 1.
    Returns:
        Loss, (R, K), nats; negative where the word is likelier than the others are on (geometric) average.

    Example:
        >>> logits = ops.log(np.array([[0.5, 0.25, 0.25], [0.25, 0.25, 0.5]]))
        >>> loss = relative_loss(logits, [0], np.array([0.0, 0.5, 0.5]))
        >>> print(ops.convert_to_numpy(loss[:, 0]).round(3))  # log 1/2, log 4/3 of the geometric mean: 0.5 log 2
        [-0.693  0.347]
    """
    return ops.matmul(logits, ops.cast(share, logits.dtype))[:, None] - ops.take(logits, w, axis=1)


# --- measures: Step -> loss (R, K), or (R, 1) if the K words have the same one ----------------------------------------


def query_measure(step):
    """The measure nll, `query_loss`: Step -> (R, K)."""
    return query_loss(step.logits, step.log_z, step.words)


NLL = {"nll": query_measure}


def representativeness_measure(log_p, sentences):
    """The measure kl, `representativeness`: Step -> (R, 1).

    Args:
        log_p: log p(y_t) of each sentence, (T, V), from `sentence_log_probabilities` of all of them, so that words
            after equal prefixes have equal ones.
        sentences: S of them, each word indices (T,).
    Raises:
        ValueError: if a log_p is not (T, V).
    """
    lengths = [np.size(y) for y in sentences]
    if [len(of_words) for of_words in log_p] != lengths:
        found = [np.shape(of_words) for of_words in log_p]
        raise ValueError(f"log_p must be (T, V) of each sentence, T = {lengths}; received {found}")
    return lambda step: representativeness(step.logits, step.log_z, log_p[step.which[0]][step.t])[:, None]


def relative_measure(others=None):
    """A measure of `relative_loss`: Step -> (R, K).

    Args:
        others: indices of the words whose mean loss is subtracted, not empty; None: the whole vocabulary.
    """

    def measure(step):
        share = np.zeros(step.logits.shape[-1], "float32")
        share[slice(None) if others is None else others] = 1
        return relative_loss(step.logits, step.words, share / share.sum())

    return measure


def sentence_log_probabilities(encode, step, v, sentences):
    """The distribution of each word given all descriptors and the words before it: p of Eq. 6.

        log p(y_t) = log P(y_t | y_<t, v_1..v_N)

    Args:
        encode, step: the captioner.
        v: descriptors in the order in which the captioner reads them, (N, D).
        sentences: S of them, each word indices (T,).
    Returns:
        list of S log p, each (T, V), nats.
    Raises:
        ValueError: as `teacher_forcing`.
    """
    log_p = [[None] * np.size(y) for y in sentences]
    for _, t, which, logits in teacher_forcing(encode, step, np.asarray(v)[None], sentences):
        of_word = ops.convert_to_numpy(ops.log_softmax(logits, axis=-1))[0]
        for s in which:
            log_p[s][t] = of_word
    return [np.stack(of_sentence) for of_sentence in log_p]


def descriptor_losses(encode, step, v, sentences, measures=NLL, memory_budget=MEMORY_BUDGET):
    """Information lost about each word of each sentence when the captioner reads descriptor v_i alone (Eq. 6, 7).

        q_i(y_t) = P(y_t | y_<t, v_i)
        nll(t, i) = -log q_i(y_t),    kl(t, i) = KL(p(y_t) || q_i(y_t)),    ...

    All measures are made in one pass over chunks of descriptors; an array (N, T, V) never exists.

    Args:
        encode, step, v, sentences, memory_budget: as in `teacher_forcing`.
        measures: {name: Step -> loss (R, K) or (R, 1)}, see the top of the module.
    Returns:
        list of S {name: loss (T, N)}, float32.
    Raises:
        ValueError: as `teacher_forcing`.
    """
    found = [{name: np.empty((np.size(y), v.shape[0]), "float32") for name in measures} for y in sentences]
    for rows, t, which, logits in teacher_forcing(encode, step, v, sentences, memory_budget):
        of_step = Step(logits, t, which, [int(sentences[s][t]) for s in which])
        for name, measure in measures.items():
            losses = ops.convert_to_numpy(measure(of_step))
            for s, loss in zip(which, np.broadcast_to(losses, (len(losses), len(which))).T, strict=True):
                found[s][name][t, rows] = loss
        del logits, of_step  # before the next step makes its own
    return found


def information_loss(encode, step, cells, sentences, frames=None, measures=NLL, memory_budget=MEMORY_BUDGET):
    """Where, and in a video when, the evidence for each word lies: one batch of r m + m descriptors (Eq. 13, 14).

    A picture is one frame without `frames`: its cells alone are read (section 4.2).

    Args:
        encode, step, sentences, measures, memory_budget: as in `descriptor_losses`.
        cells: the descriptors of each frame's cells, row by row from the upper left (whatever the captioner's own
            scan), (m, G G, D), or what is read of each, (m, G G, L, D), from `cell_input`; a memory map is read chunk
            by chunk.
        frames: encoder input for each frame in isolation, from `frame_input`: (m, D), or (m, L, D).
    Returns:
        list of S InformationLoss.
    Raises:
        ValueError: as `descriptor_losses`, and if the shapes do not match or the cells do not make a square grid.
    """
    shape, grid = tuple(cells.shape), math.isqrt(cells.shape[1] if len(cells.shape) in (3, 4) else 0)
    if len(shape) not in (3, 4) or grid * grid != shape[1]:
        raise ValueError(f"cells must be (m, G G, D), a square grid for each frame; received {shape}")
    if frames is not None and (shape[0], shape[-1]) != (frames.shape[0], frames.shape[-1]):
        raise ValueError(f"cells must be (m, G G, D) and frames (m, D) or (m, L, D); received {shape}, {frames.shape}")
    m, n = shape[0], shape[0] * shape[1]
    cells = cells.reshape(n, *shape[2:])

    def losses(v):
        return descriptor_losses(encode, step, v, sentences, measures, memory_budget)

    def columns(found, rows):
        return [{name: loss[:, rows] for name, loss in of_sentence.items()} for of_sentence in found]

    if frames is None:
        of_cells, of_frames = losses(cells), [None] * len(sentences)
    elif cells.shape[1:] != frames.shape[1:]:
        of_cells, of_frames = losses(cells), losses(frames)
    else:  # one batch of r m + m (Eq. 14)
        of_both = losses(_Stacked(cells, frames))
        of_cells, of_frames = columns(of_both, slice(n)), columns(of_both, slice(n, None))

    def grids(found):
        return {name: loss.reshape(-1, m, grid, grid) for name, loss in found.items()}

    return [InformationLoss(grids(here), there) for here, there in zip(of_cells, of_frames, strict=True)]


def cell_input(cells, reads=1):
    """Encoder input for each descriptor in isolation: itself, or a sequence of its copies; a view, nothing is copied.

    A captioner that reads whole pictures or videos never met a sequence of one. Read several times, a descriptor moves
    the encoder's state further from zero; what it says stays the only thing that is read.

    Args:
        cells: descriptors, (..., D).   reads: times that the encoder reads each (`saliency.reads`).
    Returns:
        (..., D) if reads is 1, else (..., reads, D).
    """
    shape = (*cells.shape[:-1], reads, cells.shape[-1])
    return cells if reads == 1 else np.broadcast_to(cells[..., None, :], shape)


def frame_input(cells, how, reads=1):
    """Encoder input for one frame in isolation: its pooled descriptor, or its 64 cells as a sequence.

    "pooled" is the paper's (Eq. 13) and fits a captioner that reads pooled frames. A captioner that was trained on the
    cells of single frames, too (`training.frame_as_image_share`), knows a frame's cells better than its mean alone.

    Args:
        cells: (m, G G, D).   how: "pooled" or "cells" (`saliency.frame_input`).
        reads: of the pooled descriptor, as in `cell_input`; a sequence of cells is read once.
    Returns:
        (m, D) float32, or (m, reads, D), or the cells.
    """
    return cell_input(np.mean(cells, axis=1, dtype=np.float32), reads) if how == "pooled" else cells


class _Stacked:
    """Two arrays of rows, read by slices as if they were stacked."""

    def __init__(self, first, second):
        self.first, self.second = first, second
        self.shape = (len(first) + len(second), *first.shape[1:])

    def __getitem__(self, rows):
        start, stop, _ = rows.indices(self.shape[0])
        n = len(self.first)
        return np.concatenate([self.first[start:stop], self.second[max(start - n, 0) : max(stop - n, 0)]])
