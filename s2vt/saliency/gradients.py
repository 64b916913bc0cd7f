"""Gradients of the words of sentences with respect to the descriptors that the captioner reads.

Letters: N descriptors, D channels, T words, S sentences, V vocabulary, A points of a path, R rows of a batch, Z numbers
in a state.

A word's gradient depends on the words up to it alone, so a word that several sentences say after equal words has one:
there is a row of a batch for each of `beginnings`. Here `step` gets a word for each row, (R,).
"""

import math

import keras
import numpy as np
from keras import ops

from s2vt.engine import gradient
from s2vt.saliency.teacher_forcing import MEMORY_BUDGET

MAX_ROWS = 256  # R: larger batches are no faster
ONE = (1.0,), (1.0,)  # the path of a single point: v itself


def word_weights(encode, step, v, sentences, score=lambda logits: logits):
    """The captioner as a linear layer, for each word of each sentence: how its score grows with each number read.

        weights(t, i, d) = d score_t(y_t) / d v_id

    The ordinary gradient through the LSTM's gates (EB-R, see `excitation_backprop`). The weights of a phrase are the
    sum of its words' (Eq. 9).

    Args:
        encode, step: the captioner, see `teacher_forcing`.
        v: descriptors in the order in which the captioner reads them, (N, D), float.
        sentences: S of them, each word indices (T,).
        score: logits (B, V) -> scores (B, V): the logits themselves, or `ops.log_softmax` for log P(y_t | y_<t, v).
    Returns:
        list of S (T, N, D), float32.
    Raises:
        ValueError: if v or a sentence has another rank or no entries, or a word is outside 0..V-1.
    """
    return path_gradients(encode, step, v, sentences, ONE, score)


def word_gradients(encode, step, v, sentences):
    """Gradients of log P(y_t | y_<t, v) with respect to each number that is read: S of (T, N, D), as `word_weights`."""
    return word_weights(encode, step, v, sentences, ops.log_softmax)


def integrated_gradients(encode, step, v, sentences, steps):
    """The mean gradient of log P(y_t | y_<t, a v) with respect to each number, over a from 0 to 1: S of (T, N, D).

    Gauss and Legendre's rule with as many points as `steps` over u, a = u^3: what a captioner says changes most where
    it reads next to nothing.
    """
    u, shares = np.polynomial.legendre.leggauss(steps)
    u = (u + 1) / 2
    return path_gradients(encode, step, v, sentences, (u**3, 3 * u**2 * shares / 2), ops.log_softmax)


def path_gradients(encode, step, v, sentences, path, score, memory_budget=MEMORY_BUDGET):
    """The gradients of each word's score at points between 0 and v, added up with the shares of the points.

        sum_k share_k  d score_t(y_t) / d v_id  where the captioner reads point_k v

    All beginnings of all sentences, at all points, are rows of batches, as many at once as the memory budget holds.

    Args:
        encode, step, v, sentences, score: as `word_weights`.
        path: points and shares, (A,) each.
        memory_budget: bytes of a batch; at least one row is computed at a time.
    Returns, Raises: as `word_weights`.
    """
    v = np.asarray(v, "float32")
    sentences = [np.asarray(y) for y in sentences]
    for y in sentences:
        if v.ndim != 2 or y.ndim != 1 or not len(y):
            raise ValueError(f"v must be (N, D) and y (T,), not empty; received {v.shape} and {y.shape}")
    sentences = [tuple(y.tolist()) for y in sentences]
    points, shares = (np.asarray(each, "float32") for each in path)
    said = beginnings(sentences)
    p, k = (each.reshape(-1) for each in np.indices((len(said), len(points))))  # of each row: beginning and point
    max_rows = min(MAX_ROWS, max(1, memory_budget // _bytes_per_row(encode, step, v, max(map(len, sentences)))))
    found = np.zeros((len(said), *v.shape), "float32")
    for rows in np.array_split(np.arange(len(p)), math.ceil(len(p) / max_rows)):
        scores = _sum_of_scores(encode, step, [said[i] for i in p[rows]], score)
        at = ops.convert_to_tensor(points[k[rows], None, None] * v)
        gradients = ops.convert_to_numpy(gradient(scores)(at))
        of_rows, firsts = np.unique(p[rows], return_index=True)  # rows of one beginning stand together
        found[of_rows] += np.add.reduceat(shares[k[rows], None, None] * gradients, firsts)
    place = {each: i for i, each in enumerate(said)}
    return [found[[place[y[: t + 1]] for t in range(len(y))]] for y in sentences]


def beginnings(sentences):
    """The distinct beginnings y_<=t of sentences, the longest first.

    Args:
        sentences: S tuples of word indices.

    Example:
        >>> beginnings([(5, 1), (5, 2, 3), (5, 2)])
        [(5, 2, 3), (5, 2), (5, 1), (5,)]
    """
    distinct = {y[: t + 1] for y in sentences for t in range(len(y))}
    return sorted(distinct, key=lambda words: (len(words), words), reverse=True)


def _sum_of_scores(encode, step, said, score):
    """A function of what is read, (R, N, D): the sum over its rows of the score of each row's last word.

    Args:
        said: the words of each row, one of `beginnings`, in their order. Rows whose words have ended are left out of
            the next steps as soon as they are half of all, so that a step has few sizes, which engines compile for.
    """

    def total(read):
        state, words, result = encode(read), None, 0
        for t in range(len(said[0])):
            logits, state = step(state, words)
            here, V = [y for y in said if len(y) > t], logits.shape[-1]
            if wrong := [y for y in here if not 0 <= y[t] < V]:
                raise ValueError(f"word indices must be 0..{V - 1}; received {list(wrong[0])}")
            going_on = sum(len(y) > t + 1 for y in here)
            if going_on < len(here):
                last = ops.one_hot(np.array([y[t] for y in here[going_on:]]), V)
                result += ops.sum(score(logits[going_on : len(here)]) * last)
            size = logits.shape[0]
            while going_on <= size // 2 and size > 1:
                size //= 2
            state = keras.tree.map_structure(lambda leaf, size=size: leaf[:size], state)
            words = np.array([y[min(t, len(y) - 1)] for y in said[:size]], "int32")
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
