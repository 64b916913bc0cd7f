"""How much information about each word is lost when the captioner sees one descriptor alone (paper section 4).

Letters: N descriptors, T words, V vocabulary, R descriptors in a chunk, m frames, r=64 cells of a frame, G=8 grid,
S sentences, K words that follow one prefix, L descriptors that are seen together.

The captioner is two callables, so any encoder-decoder can be explained:

    encode(v (R, N, D)) -> state        the leaves of a state have leading dimension R
    step(state, word) -> logits (R, V), state        word y_{t-1}: (1,), the same for every row; None for y_0

All sentences about one medium are explained in one call: its descriptors are read once, and equal prefixes give equal
states, so the sentences are decoded as a tree, each distinct prefix y_<t once.
"""

import math
from typing import NamedTuple

import numpy as np
from keras import ops

from s2vt.engine import fused
from s2vt.saliency.teacher_forcing import bytes_per_row, decode_prefixes, prefixes, states_held

MAX_ROWS = 26 * (64 + 1)  # R of a chunk: the paper's m r + m (Eq. 14). Four times as many at once save no time.


class InformationLoss(NamedTuple):
    """What is lost about each word by seeing descriptor i alone, nats, >= 0: small where v_i alone is enough.

    loss: query loss (Eq. 7), (T, N); of a picture (T, G, G).
    kl: representativeness (Eq. 6), of the same shape; None if it was not asked for.
    """

    loss: np.ndarray
    kl: np.ndarray | None = None


class VideoInformationLoss(NamedTuple):
    """The same for a video, by frame and by cell of each frame, nats.

    loss_pooled: query loss (Eq. 7) of each frame, seen alone as `frames_alone` says, (T, m).
    loss: query loss of each cell (Eq. 13), (T, m, G, G).
    kl_pooled, kl: representativeness (Eq. 6), of the same shapes; None if it was not asked for.
    """

    loss_pooled: np.ndarray
    loss: np.ndarray
    kl_pooled: np.ndarray | None = None
    kl: np.ndarray | None = None


@fused
def log_partition(logits):
    """What logits are over the log-probabilities they stand for: log_z = log sum_k exp(logits_k).

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
    """Information lost about a word that is said to be certain, the query sentence's word w (Eq. 7).

        Loss(t, i, w) = -log q_i(y_t = w) = log_z - logit_w

    Args:
        logits: of q_i(y_t), one row for each descriptor i, (R, V).
        log_z: from `log_partition`, (R,).
        w: word indices, (K,): those of the sentences that are alike up to here.
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

    Example:
        >>> logits = ops.log(np.array([[0.5, 0.25, 0.25], [0.25, 0.25, 0.5]]))
        >>> loss = representativeness(logits, log_partition(logits), np.log([0.5, 0.25, 0.25]))
        >>> print(ops.convert_to_numpy(loss).round(3))  # 0, 0.25 log 2
        [0.    0.173]
    """
    log_p = np.asarray(log_p, "float64")
    p = np.exp(log_p)
    p /= p.sum()
    negative_entropy = np.sum(p * np.where(p > 0, log_p, 0))
    cross_entropy = log_z - ops.matmul(logits, ops.cast(p, logits.dtype))
    return ops.maximum(negative_entropy + cross_entropy, 0)  # rounding can leave a KL of zero below zero


def sentence_log_probabilities(encode, step, v, sentences):
    """The distribution of each word given all descriptors and the words before it: p of Eq. 6.

        log p(y_t) = log P(y_t | y_<t, v_1..v_N)

    Args:
        encode, step: the captioner, see the top of the module.
        v: descriptors in the order in which the captioner reads them, (N, D).
        sentences: S of them, each word indices (T,).
    Returns:
        list of S log p, each (T, V), nats.
    """
    sentences = _checked(v, sentences)
    state = encode(np.asarray(v[:], "float32")[None])
    log_p = {
        prefix: ops.convert_to_numpy(ops.log_softmax(logits, axis=-1))[0]
        for prefix, logits in decode_prefixes(step, state, prefixes(sentences))
    }
    return [np.stack([log_p[y[:t]] for t in range(len(y))]) for y in sentences]


def information_loss(encode, step, v, sentences, log_p=None, memory_budget=384 * 2**20):
    """Information lost about each word of each sentence when the captioner sees descriptor v_i alone (Eq. 6, 7).

        q_i(y_t) = P(y_t | y_<t, v_i)
        loss(t, i) = -log q_i(y_t),    kl(t, i) = KL(p(y_t) || q_i(y_t))

    One streamed pass: chunks of R descriptors, each a sequence of its own read from the zero state, then
    teacher forcing on the tree of all sentences: 1 LSTM step, and one for each distinct prefix y_<t. Only a chunk's
    logits of the present step exist. R is at most `MAX_ROWS`, and what the budget holds of rows of `bytes_per_row`,
    which a trial step of one descriptor measures: memory does not grow with N.

    Args:
        encode, step: the captioner, see the top of the module. `encode` sees (R, L, D) float32, L = 1 for (N, D).
        v: descriptors, (N, D), or N groups of L that are seen together, (N, L, D), any float type; anything with
            `shape` that is read by slices, so a memory map of any length is never read whole.
        sentences: S of them, each word indices (T,).
        log_p: log p(y_t) of each sentence, (T, V), from `sentence_log_probabilities` of all of them, so that words
            after equal prefixes have equal ones; None: no kl.
        memory_budget: bytes for a chunk (the results, 4 T N bytes a sentence, come on top). At the least, one
            descriptor is done at a time.
    Returns:
        list of S InformationLoss: loss (T, N) and, with log_p, kl (T, N), float32.
    Raises:
        ValueError: if v or a sentence has another rank or no entries, a log_p is not (T, V), or a word is outside
            0..V-1.
    """
    sentences, N = _checked(v, sentences), v.shape[0]
    logits, state = step(encode(_alone(v, 0, 1)), None)
    V = logits.shape[-1]
    for y in sentences:
        if min(y) < 0 or max(y) >= V:
            raise ValueError(f"the words of y must be 0..{V - 1}, the captioner's vocabulary; received {list(y)}")
    if log_p is not None and [np.shape(given) for given in log_p] != [(len(y), V) for y in sentences]:
        expected, found = [(len(y), V) for y in sentences], [np.shape(given) for given in log_p]
        raise ValueError(f"log_p must be (T, V) of each sentence, {expected}; received {found}")

    tree = prefixes(sentences)
    row = bytes_per_row(v.shape[1:], logits, state, states_held(tree))
    num_chunks = math.ceil(N / min(MAX_ROWS, max(1, memory_budget // row)))
    edges = [N * k // num_chunks for k in range(num_chunks + 1)]
    loss = [np.empty((len(y), N), "float32") for y in sentences]
    kl = [None if log_p is None else np.empty_like(of_words) for of_words in loss]
    for start, stop in zip(edges, edges[1:], strict=False):
        for prefix, logits in decode_prefixes(step, encode(_alone(v, start, stop)), tree):
            t, alike = len(prefix), tree[prefix]
            log_z = log_partition(logits)
            found = ops.convert_to_numpy(query_loss(logits, log_z, [sentences[s][t] for s in alike]))
            for k, s in enumerate(alike):
                loss[s][t, start:stop] = found[:, k]
            if log_p is not None:
                found = ops.convert_to_numpy(representativeness(logits, log_z, log_p[alike[0]][t]))
                for s in alike:
                    kl[s][t, start:stop] = found
            del logits  # as `decode_prefixes` does
    return [InformationLoss(*of_sentence) for of_sentence in zip(loss, kl, strict=True)]


def image_saliency(encode, step, cells, sentences, log_p=None, memory_budget=384 * 2**20):
    """Where in a picture the evidence for each word lies (section 4.2).

    Args:
        encode, step, sentences, log_p, memory_budget: as in `information_loss`.
        cells: the picture's descriptors, row by row from the upper left (whatever the captioner's own scan), (G G, D).
    Returns:
        list of S InformationLoss: loss (T, G, G) and, with log_p, kl (T, G, G).
    Raises:
        ValueError: as `information_loss`, and if the cells do not make a square grid.
    """
    grid = _grid(cells.shape[0])
    found = information_loss(encode, step, cells, sentences, log_p, memory_budget)
    return [InformationLoss(*(None if a is None else a.reshape(-1, grid, grid) for a in losses)) for losses in found]


FRAMES = ("pooled", "cells")


def frames_alone(cells, frame):
    """What the captioner sees of a frame that it sees alone.

    "pooled", the mean of the frame's cells (paper, Eq. 13), is right for a captioner that reads pooled frames. One that
    has met the cells of a frame in training (`training.cells`), as many as a picture's, but never a frame's mean
    without the others', is asked with "cells".

    Args:
        cells: (m, G G, D).   frame: one of `FRAMES`.
    Returns:
        (m, D) float32, or the cells, which are seen together.
    """
    return np.mean(cells, axis=1, dtype=np.float32) if frame == "pooled" else cells


def video_saliency(encode, step, cells, frames, sentences, log_p=None, memory_budget=384 * 2**20):
    """Where and when in a video the evidence for each word lies: one batch of r m + m descriptors (Eq. 13, 14).

    Args:
        encode, step, sentences, log_p, memory_budget: as in `information_loss`.
        cells: the descriptors of each frame's cells, row by row, (m, G G, D); a memory map is read by chunks.
        frames: what stands for each frame, from `frames_alone`: (m, D), or (m, L, D), L descriptors seen together.
    Returns:
        list of S VideoInformationLoss: loss_pooled (T, m), loss (T, m, G, G) and, with log_p, kl_pooled and kl.
    Raises:
        ValueError: as `information_loss`, and if the shapes do not match or the cells do not make a square grid.
    """
    if len(cells.shape) != 3 or cells.shape[::2] != (frames.shape[0], frames.shape[-1]):
        raise ValueError(f"cells must be (m, G G, D) and frames (m, D), received {cells.shape} and {frames.shape}")
    m, r, D = cells.shape
    grid, cells = _grid(r), cells.reshape(m * r, D)

    def losses(v):
        return information_loss(encode, step, v, sentences, log_p, memory_budget)

    if len(frames.shape) == 2:  # one batch of r m + m (Eq. 14)
        both = losses(_Stacked(cells, frames))
        of_cells = [_columns(found, slice(m * r)) for found in both]
        of_frames = [_columns(found, slice(m * r, None)) for found in both]
    else:
        of_cells, of_frames = losses(cells), losses(frames)
    return [
        VideoInformationLoss(
            *(loss_pooled, loss.reshape(-1, m, grid, grid)),
            *(kl_pooled, None if kl is None else kl.reshape(-1, m, grid, grid)),
        )
        for (loss, kl), (loss_pooled, kl_pooled) in zip(of_cells, of_frames, strict=True)
    ]


def _columns(found, columns):
    """What an InformationLoss says of some of the descriptors."""
    return InformationLoss(*(None if a is None else a[:, columns] for a in found))


class _Stacked:
    """Two arrays of rows, read by slices as if stacked, without making the stack."""

    def __init__(self, first, second):
        self.first, self.second = first, second
        self.shape = (len(first) + len(second), first.shape[1])

    def __getitem__(self, rows):
        start, stop, _ = rows.indices(self.shape[0])
        n = len(self.first)
        return np.concatenate([self.first[start:stop], self.second[max(start - n, 0) : max(stop - n, 0)]])


def _alone(v, start, stop):
    """Descriptors start..stop, each a sequence of its own, (R, 1, D) float32; or each group, (R, L, D)."""
    rows = np.asarray(v[start:stop], "float32")
    return rows if rows.ndim == 3 else rows[:, None]


def _checked(v, sentences):
    """The sentences as tuples of word indices; v must be (N, D) or (N, L, D), and nothing empty."""
    sentences = [np.asarray(y) for y in sentences]
    for y in sentences:
        if len(v.shape) not in (2, 3) or y.ndim != 1 or not v.shape[0] or not len(y):
            raise ValueError(
                f"v must be (N, D) or (N, L, D) and y (T,), neither empty; received {v.shape} and {y.shape}"
            )
    return [tuple(y.tolist()) for y in sentences]


def _grid(num_cells):
    """G of G G cells."""
    grid = math.isqrt(num_cells)
    if grid * grid != num_cells:
        raise ValueError(f"the cells must make a square grid, received {num_cells} of them")
    return grid
