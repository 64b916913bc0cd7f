"""Information about each word that is lost when the captioner reads one descriptor alone (Eq. 6, 7, 13).

Letters: N descriptors, T words, V vocabulary, R descriptors in a chunk, m frames (1 for a picture), r=64 cells of a
frame, G=8 grid, S sentences, K words that follow one prefix, L descriptors that are read as one sequence.

The captioner is two callables, `encode` and `step`: see `teacher_forcing`.
"""

import math
from dataclasses import dataclass

import numpy as np
from keras import ops

from s2vt.engine import fused
from s2vt.saliency.teacher_forcing import MEMORY_BUDGET, teacher_forcing


@dataclass(frozen=True)
class InformationLoss:
    """Information lost about each word of a sentence, nats, >= 0: small where the descriptor alone is enough to say it.

    Attributes:
        nll: query loss of each cell (Eq. 7, 13), (T, m, G, G).
        frame_nll: query loss of each frame (Eq. 7), (T, m); None for a picture.
        kl, frame_kl: representativeness (Eq. 6), of the same shapes; None unless asked for.
    """

    nll: np.ndarray
    frame_nll: np.ndarray | None = None
    kl: np.ndarray | None = None
    frame_kl: np.ndarray | None = None


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


def descriptor_losses(encode, step, v, sentences, log_p=None, memory_budget=MEMORY_BUDGET):
    """Information lost about each word of each sentence when the captioner reads descriptor v_i alone (Eq. 6, 7).

        q_i(y_t) = P(y_t | y_<t, v_i)
        nll(t, i) = -log q_i(y_t),    kl(t, i) = KL(p(y_t) || q_i(y_t))

    Args:
        encode, step, v, sentences, memory_budget: as in `teacher_forcing`.
        log_p: log p(y_t) of each sentence, (T, V), from `sentence_log_probabilities` of all of them, so that words
            after equal prefixes have equal ones; None: no kl.
    Returns:
        list of S pairs: nll (T, N) and, with log_p, kl (T, N) else None; float32.
    Raises:
        ValueError: as `teacher_forcing`, and if a log_p is not (T, V).
    """
    lengths = [np.size(y) for y in sentences]
    if log_p is not None and [len(of_words) for of_words in log_p] != lengths:
        found = [np.shape(of_words) for of_words in log_p]
        raise ValueError(f"log_p must be (T, V) of each sentence, T = {lengths}; received {found}")
    nll = [np.empty((T, v.shape[0]), "float32") for T in lengths]
    kl = [None if log_p is None else np.empty_like(losses) for losses in nll]
    for rows, t, which, logits in teacher_forcing(encode, step, v, sentences, memory_budget):
        log_z = log_partition(logits)
        losses = ops.convert_to_numpy(query_loss(logits, log_z, [int(sentences[s][t]) for s in which]))
        for s, loss in zip(which, losses.T, strict=True):
            nll[s][t, rows] = loss
        if log_p is not None:
            loss = ops.convert_to_numpy(representativeness(logits, log_z, log_p[which[0]][t]))
            for s in which:
                kl[s][t, rows] = loss
        del logits  # before the next step makes its own
    return list(zip(nll, kl, strict=True))


def information_loss(encode, step, cells, sentences, frames=None, log_p=None, memory_budget=MEMORY_BUDGET):
    """Where, and in a video when, the evidence for each word lies: one batch of r m + m descriptors (Eq. 13, 14).

    A picture is one frame without `frames`: its cells alone are read (section 4.2).

    Args:
        encode, step, sentences, log_p, memory_budget: as in `descriptor_losses`.
        cells: the descriptors of each frame's cells, row by row from the upper left (whatever the captioner's own
            scan), (m, G G, D); a memory map is read chunk by chunk.
        frames: encoder input for each frame in isolation, from `frame_input`: (m, D), or (m, L, D).
    Returns:
        list of S InformationLoss.
    Raises:
        ValueError: as `descriptor_losses`, and if the shapes do not match or the cells do not make a square grid.
    """
    shape, grid = tuple(cells.shape), math.isqrt(cells.shape[1] if len(cells.shape) == 3 else 0)
    if len(shape) != 3 or grid * grid != shape[1]:
        raise ValueError(f"cells must be (m, G G, D), a square grid for each frame; received {shape}")
    if frames is not None and shape[::2] != (frames.shape[0], frames.shape[-1]):
        raise ValueError(f"cells must be (m, G G, D) and frames (m, D) or (m, L, D); received {shape}, {frames.shape}")
    m, r, D = shape
    cells = cells.reshape(m * r, D)

    def losses(v):
        return descriptor_losses(encode, step, v, sentences, log_p, memory_budget)

    def columns(pairs, start, stop):
        return [[loss if loss is None else loss[:, start:stop] for loss in pair] for pair in pairs]

    if frames is None:
        of_cells, of_frames = losses(cells), [(None, None)] * len(sentences)
    elif len(frames.shape) == 3:
        of_cells, of_frames = losses(cells), losses(frames)
    else:  # one batch of r m + m (Eq. 14)
        of_both = losses(_Stacked(cells, frames))
        of_cells, of_frames = columns(of_both, 0, m * r), columns(of_both, m * r, None)

    def grids(loss):
        return None if loss is None else loss.reshape(-1, m, grid, grid)

    return [
        InformationLoss(grids(nll), frame_nll, grids(kl), frame_kl)
        for (nll, kl), (frame_nll, frame_kl) in zip(of_cells, of_frames, strict=True)
    ]


def frame_input(cells, how):
    """Encoder input for one frame in isolation: its pooled descriptor, or its 64 cells as a sequence.

    "pooled" is the paper's (Eq. 13) and fits a captioner that reads pooled frames. A captioner that was trained on the
    cells of single frames, too (`training.frame_as_image_share`), knows a frame's cells better than its mean alone.

    Args:
        cells: (m, G G, D).   how: "pooled" or "cells" (`saliency.frame_input`).
    Returns:
        (m, D) float32, or the cells.
    """
    return np.mean(cells, axis=1, dtype=np.float32) if how == "pooled" else cells


class _Stacked:
    """Two arrays of rows, read by slices as if they were stacked."""

    def __init__(self, first, second):
        self.first, self.second = first, second
        self.shape = (len(first) + len(second), first.shape[1])

    def __getitem__(self, rows):
        start, stop, _ = rows.indices(self.shape[0])
        n = len(self.first)
        return np.concatenate([self.first[start:stop], self.second[max(start - n, 0) : max(stop - n, 0)]])
