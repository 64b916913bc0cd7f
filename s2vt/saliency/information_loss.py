"""How much information about each word is lost when the captioner sees one descriptor alone (paper section 4).

Letters: N descriptors, T words, V vocabulary, R descriptors in a chunk, m frames, r=64 cells of a frame, G=8 grid.

The captioner is two callables, so any encoder-decoder can be explained:

    encode(v (R, N, D)) -> state        the leaves of a state have leading dimension R
    step(state, word) -> logits (R, V), state        word y_{t-1}: (1,), the same for every row; None for y_0
"""

import math
from typing import NamedTuple

import keras
import numpy as np
from keras import ops


class InformationLoss(NamedTuple):
    """What is lost about each word by seeing descriptor i alone, nats, >= 0: small where v_i alone is enough.

    loss: query loss (Eq. 7), (T, N); of a picture (T, G, G).
    kl: representativeness (Eq. 6), of the same shape; None if it was not asked for.
    """

    loss: np.ndarray
    kl: np.ndarray | None = None


class VideoInformationLoss(NamedTuple):
    """The same for a video, by frame and by cell of each frame, nats.

    loss_pooled: query loss (Eq. 7) of each frame's pooled descriptor, (T, m).
    loss: query loss of each cell (Eq. 13), (T, m, G, G).
    kl_pooled, kl: representativeness (Eq. 6), of the same shapes; None if it was not asked for.
    """

    loss_pooled: np.ndarray
    loss: np.ndarray
    kl_pooled: np.ndarray | None = None
    kl: np.ndarray | None = None


def query_loss(logits, log_z, w):
    """Information lost about a word that is said to be certain, the query sentence's word w (Eq. 7).

        Loss(t, i, w) = -log q_i(y_t = w) = log_z - logit_w

    Args:
        logits: of q_i(y_t), one row for each descriptor i, (R, V).
        log_z: their logsumexp, (R,).
        w: word index.
    Returns:
        Loss, (R,), nats, in [0, inf).

    Example:
        >>> logits = ops.log(np.array([[0.5, 0.25, 0.25], [0.25, 0.25, 0.5]]))
        >>> loss = query_loss(logits, ops.logsumexp(logits, axis=-1), 0)
        >>> print(ops.convert_to_numpy(loss).round(3))  # log 2, log 4
        [0.693 1.386]
    """
    return log_z - logits[:, w]


def representativeness(logits, log_z, log_p):
    """Information lost about the whole distribution p of a word (Eq. 6).

        Loss(t, i) = KL(p(y_t) || q_i(y_t)) = sum_k p_k log p_k - logits p + log_z

    Args:
        logits: of q_i(y_t), one row for each descriptor i, (R, V).
        log_z: their logsumexp, (R,).
        log_p: log p(y_t), (V,), nats.
    Returns:
        Loss, (R,), nats, in [0, inf).

    Example:
        >>> logits = ops.log(np.array([[0.5, 0.25, 0.25], [0.25, 0.25, 0.5]]))
        >>> loss = representativeness(logits, ops.logsumexp(logits, axis=-1), np.log([0.5, 0.25, 0.25]))
        >>> print(ops.convert_to_numpy(loss).round(3))  # 0, 0.25 log 2
        [0.    0.173]
    """
    log_p = np.asarray(log_p, "float64")
    p = np.exp(log_p)
    p /= p.sum()
    negative_entropy = np.sum(p * np.where(p > 0, log_p, 0))
    cross_entropy = log_z - ops.matmul(logits, ops.cast(p, logits.dtype))
    return ops.maximum(negative_entropy + cross_entropy, 0)  # rounding can leave a KL of zero below zero


def sentence_log_probabilities(encode, step, v, y):
    """The distribution of each word given all descriptors and the words before it: p of Eq. 6.

        log p(y_t) = log P(y_t | y_<t, v_1..v_N)

    Args:
        encode, step: the captioner, see the top of the module.
        v: descriptors in the order in which the captioner reads them, (N, D).
        y: word indices of the sentence, (T,).
    Returns:
        log p, (T, V), nats.
    """
    v, y = _checked(v, y)
    state, log_p = encode(np.asarray(v[:], "float32")[None]), []
    for word in _words_before(y):
        logits, state = step(state, word)
        log_p.append(ops.convert_to_numpy(ops.log_softmax(logits, axis=-1))[0])
    return np.stack(log_p)


def information_loss(encode, step, v, y, log_p=None, memory_budget=256 * 2**20):
    """Information lost about each word of a sentence when the captioner sees descriptor v_i alone (Eq. 6, 7).

        q_i(y_t) = P(y_t | y_<t, v_i)
        loss(t, i) = -log q_i(y_t),    kl(t, i) = KL(p(y_t) || q_i(y_t))

    One streamed pass: chunks of R descriptors, each descriptor a sequence of length 1 read from the zero state, then
    teacher forcing on y, T + 1 LSTM steps in all. Only a chunk's logits of the present step exist. R is what the
    budget holds of rows of `bytes_per_row`, which a trial step of one descriptor measures.

    Args:
        encode, step: the captioner, see the top of the module. `encode` sees (R, 1, D) float32.
        v: descriptors, (N, D), any float type; anything with `shape` that is read by slices, so a memory map of any
            length is never read whole.
        y: word indices of the sentence, (T,).
        log_p: log p(y_t), (T, V), from `sentence_log_probabilities`; None: no kl.
        memory_budget: bytes for a chunk (the results, 4 T N bytes each, come on top). At the least, one descriptor
            is done at a time.
    Returns:
        InformationLoss: loss (T, N) and, with log_p, kl (T, N), float32.
    Raises:
        ValueError: if v or y has another rank or no entries, log_p is not (T, V), or y has an index outside 0..V-1.
    """
    return information_losses(encode, step, v, [y], None if log_p is None else [log_p], memory_budget)[0]


def information_losses(encode, step, v, sentences, log_p=None, memory_budget=256 * 2**20):
    """`information_loss` of several sentences about the same descriptors, which are read once for all of them.

    Args:
        sentences: S of them, each word indices (T,).   log_p: S of them, or None.
        others: as for `information_loss`.
    Returns:
        list of S InformationLoss.
    """
    sentences = [_checked(v, y)[1] for y in sentences]
    log_p = [None] * len(sentences) if log_p is None else log_p
    N = v.shape[0]
    logits, state = step(encode(_alone(v, 0, 1)), None)
    V = logits.shape[-1]
    for y, given in zip(sentences, log_p, strict=True):
        if y.min() < 0 or y.max() >= V:
            raise ValueError(f"the words of y must be 0..{V - 1}, the captioner's vocabulary; received {y.tolist()}")
        if given is not None and np.shape(given) != (len(y), V):
            raise ValueError(f"log_p must be (T, V) = ({len(y)}, {V}), received {np.shape(given)}")

    num_chunks = math.ceil(N / max(1, memory_budget // bytes_per_row(v.shape[1], logits, state)))
    edges = [N * k // num_chunks for k in range(num_chunks + 1)]
    losses = [
        InformationLoss(*(None if absent else np.empty((len(y), N), "float32") for absent in (False, given is None)))
        for y, given in zip(sentences, log_p, strict=True)
    ]
    for start, stop in zip(edges, edges[1:], strict=False):
        read = encode(_alone(v, start, stop))
        for y, given, (loss, kl) in zip(sentences, log_p, losses, strict=True):
            state = read
            for t, word in enumerate(_words_before(y)):
                logits, state = step(state, word)
                state = keras.tree.map_structure(ops.stop_gradient, state)  # on torch, past steps are freed
                log_z = ops.logsumexp(logits, axis=-1)
                loss[t, start:stop] = ops.convert_to_numpy(query_loss(logits, log_z, y[t]))
                if kl is not None:
                    kl[t, start:stop] = ops.convert_to_numpy(representativeness(logits, log_z, given[t]))
    return losses


def bytes_per_row(descriptor_size, logits, state):
    """Memory that one descriptor takes in a chunk: 4 (D + 3 V + 8 S) bytes, for float32.

    D numbers of the descriptor; V logits and the two copies that logsumexp makes; S numbers of state, which for an
    LSTM (S = 2 H) stand before and after the step beside four gates (2 S), their activations (2 S) and products (2 S).

    Args:
        descriptor_size: D.   logits, state: those of one row, for V and S.
    """
    S = sum(math.prod(leaf.shape) for leaf in keras.tree.flatten(state))
    return 4 * (descriptor_size + 3 * logits.shape[-1] + 8 * S)


def image_saliency(encode, step, cells, y, log_p=None, memory_budget=256 * 2**20):
    """Where in a picture the evidence for each word lies (section 4.2).

    Args:
        encode, step, y, log_p, memory_budget: as in `information_loss`.
        cells: the picture's descriptors, row by row from the upper left (whatever the captioner's own scan), (G G, D).
    Returns:
        InformationLoss: loss (T, G, G) and, with log_p, kl (T, G, G).
    Raises:
        ValueError: as `information_loss`, and if the cells do not make a square grid.
    """
    return image_saliencies(encode, step, cells, [y], None if log_p is None else [log_p], memory_budget)[0]


def image_saliencies(encode, step, cells, sentences, log_p=None, memory_budget=256 * 2**20):
    """`image_saliency` of several sentences, as `information_losses` -> list of InformationLoss."""
    grid = _grid(cells.shape[0])
    found = information_losses(encode, step, cells, sentences, log_p, memory_budget)
    return [InformationLoss(*(None if a is None else a.reshape(-1, grid, grid) for a in losses)) for losses in found]


def video_saliency(encode, step, cells, pooled, y, log_p=None, memory_budget=256 * 2**20):
    """Where and when in a video the evidence for each word lies: one batch of r m + m descriptors (Eq. 13, 14).

    Args:
        encode, step, y, log_p, memory_budget: as in `information_loss`.
        cells: the descriptors of each frame's cells, row by row, (m, G G, D); a memory map is read by chunks.
        pooled: those of the frames, (m, D).
    Returns:
        VideoInformationLoss: loss_pooled (T, m), loss (T, m, G, G) and, with log_p, kl_pooled and kl.
    Raises:
        ValueError: as `information_loss`, and if the shapes do not match or the cells do not make a square grid.
    """
    return video_saliencies(encode, step, cells, pooled, [y], None if log_p is None else [log_p], memory_budget)[0]


def video_saliencies(encode, step, cells, pooled, sentences, log_p=None, memory_budget=256 * 2**20):
    """`video_saliency` of several sentences, as `information_losses` -> list of VideoInformationLoss."""
    if len(cells.shape) != 3 or (cells.shape[0], cells.shape[2]) != tuple(pooled.shape):
        raise ValueError(f"cells must be (m, G G, D) and pooled (m, D), received {cells.shape} and {pooled.shape}")
    m, r, D = cells.shape
    grid = _grid(r)

    def pooled_and_cells(a):
        return (None, None) if a is None else (a[:, m * r :], a[:, : m * r].reshape(-1, m, grid, grid))

    batch = _Stacked(cells.reshape(m * r, D), pooled)
    found = information_losses(encode, step, batch, sentences, log_p, memory_budget)
    return [VideoInformationLoss(*pooled_and_cells(loss), *pooled_and_cells(kl)) for loss, kl in found]


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
    """Descriptors start..stop, each a sequence of its own: (R, 1, D) float32."""
    return np.asarray(v[start:stop], "float32")[:, None]


def _words_before(y):
    """The word that goes before each word of y: None (y_0), then y_1..y_{T-1}, each (1,)."""
    return [None, *y[:-1, None]]


def _checked(v, y):
    """v (N, D), and y (T,) as int32, neither empty."""
    y = np.asarray(y)
    if len(v.shape) != 2 or y.ndim != 1 or not v.shape[0] or not len(y):
        raise ValueError(f"v must be (N, D) and y (T,), neither empty; received {v.shape} and {y.shape}")
    return v, y.astype("int32")


def _grid(num_cells):
    """G of G G cells."""
    grid = math.isqrt(num_cells)
    if grid * grid != num_cells:
        raise ValueError(f"the cells must make a square grid, received {num_cells} of them")
    return grid
