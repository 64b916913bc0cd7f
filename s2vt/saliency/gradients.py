"""Gradients of the words of a sentence with respect to the descriptors that the captioner reads.

Letters: N descriptors, D channels, T words, V vocabulary, A points of a path, R rows of a batch.
"""

import math

import keras
import numpy as np
from keras import ops

from s2vt.engine import gradient
from s2vt.saliency.teacher_forcing import MEMORY_BUDGET

MAX_ROWS = 256  # R: larger batches are no faster


def word_weights(encode, step, v, y, score=lambda logits: logits):
    """The captioner as a linear layer, for each word of a sentence: how the word's score grows with each number read.

        weights(t, i, d) = d score_t(y_t) / d v_id

    The ordinary gradient through the LSTM's gates (EB-R, see `excitation_backprop`). The weights of a phrase are the
    sum of its words' (Eq. 9).

    Args:
        encode, step: the captioner, see `teacher_forcing`.
        v: descriptors in the order in which the captioner reads them, (N, D), float.
        y: word indices of the sentence, (T,).
        score: logits (B, V) -> scores (B, V): the logits themselves, or `ops.log_softmax` for log P(y_t | y_<t, v).
    Returns:
        (T, N, D), float32.
    Raises:
        ValueError: if v or y has another rank, y has no words, or a word is outside 0..V-1.
    """
    return path_gradients(encode, step, v, y, ((1.0,), (1.0,)), score)


def word_gradients(encode, step, v, y):
    """Gradient of log P(y_t | y_<t, v) with respect to each number that is read: (T, N, D), as `word_weights`."""
    return word_weights(encode, step, v, y, ops.log_softmax)


def integrated_gradients(encode, step, v, y, steps):
    """The mean gradient of log P(y_t | y_<t, a v) with respect to each number, over a from 0 to 1: (T, N, D).

    The integral is Gauss and Legendre's rule with as many points as `steps`.
    """
    points, shares = np.polynomial.legendre.leggauss(steps)
    return path_gradients(encode, step, v, y, ((points + 1) / 2, shares / 2), ops.log_softmax)


def path_gradients(encode, step, v, y, path, score, memory_budget=MEMORY_BUDGET):
    """Weighted sum over points of a path from 0 to v of the gradients of each word's score.

        sum_k share_k  d score_t(y_t) / d v_id  where the captioner reads point_k v

    All words and points are rows of batches, as many at once as the memory budget holds.

    Args:
        encode, step, v, y, score: as `word_weights`.
        path: points and shares, (A,) each.
        memory_budget: bytes of a batch; at least one row is computed at a time.
    Returns, Raises: as `word_weights`.
    """
    v, y = np.asarray(v, "float32"), np.asarray(y)
    if v.ndim != 2 or y.ndim != 1 or not len(y):
        raise ValueError(f"v must be (N, D) and y (T,), not empty; received {v.shape} and {y.shape}")
    points, shares = (np.asarray(each, "float32") for each in path)
    t, k = (each.reshape(-1) for each in np.indices((len(y), len(points))))
    bytes_per_row = _bytes_per_row(encode, step, v, len(y))
    num_batches = math.ceil(len(t) / min(MAX_ROWS, max(1, memory_budget // bytes_per_row)))
    found = np.zeros((len(y), *v.shape), "float32")
    for rows in np.array_split(np.arange(len(t)), num_batches):
        scores = _sum_of_scores(encode, step, y, t[rows], score)
        at = points[k[rows], None, None] * v
        gradients = ops.convert_to_numpy(gradient(scores)(ops.convert_to_tensor(at)))
        np.add.at(found, t[rows], shares[k[rows], None, None] * gradients)
    return found


def _sum_of_scores(encode, step, y, t, score):
    """A function of what is read, (R, N, D): the sum over its rows of the score of word t_r after row r."""

    def total(read):
        state, word, result = encode(read), None, 0
        for position in range(max(t) + 1):
            logits, state = step(state, word)
            if not 0 <= y[position] < logits.shape[-1]:
                raise ValueError(f"word indices must be 0..{logits.shape[-1] - 1}; received {y.tolist()}")
            if (here := np.flatnonzero(t == position)).size:
                result += ops.sum(score(ops.take(logits, here, axis=0))[:, int(y[position])])
            word = y[position : position + 1].astype("int32")
        return result

    return total


def _bytes_per_row(encode, step, v, T):
    """Memory of one row, forward and backward: 4 (4 N D + (8 N + 4 T) Z + 4 V) bytes, for float32.

    Z numbers of the state after one descriptor. Of each descriptor, and less of each word, the gates, states and their
    gradients are kept.
    """
    logits, state = step(encode(ops.convert_to_tensor(v[None, :1])), None)
    Z = sum(math.prod(leaf.shape) for leaf in keras.tree.flatten(state))
    return 4 * (4 * v.size + (8 * len(v) + 4 * T) * Z + 4 * logits.shape[-1])
