"""Maps that need many passes through the captioner, beside the plain way: one word, and one reading, at a time."""

from functools import partial

import numpy as np

from benchmarks.saliency import random_captioner
from benchmarks.timing import median_seconds


def measure(repeats=3, n=8, N=64, subsets=64, steps=8, V=1000, H=256, E=64, D=2048):
    """n words about a picture of N cells: seconds of all words, and how many times faster than the plain way.

    Both ways give the same numbers, which is checked.
    """
    captioner, rows = random_captioner(V, H, E, D), {}
    rng = np.random.default_rng(1)
    v, y = rng.random((N, D), np.float32), rng.integers(1, V, n)
    for name, (ours, plain) in pairs(captioner, v, y, subsets, steps).items():
        np.testing.assert_allclose(ours(), plain(), rtol=1e-2, atol=1e-3)
        seconds, theirs = median_seconds(ours, plain, repeats=repeats)
        rows[name] = {"seconds": seconds, "words/s": n / seconds, "times the plain way": theirs / seconds}
    return rows


def pairs(captioner, v, y, subsets, steps):
    """{map: (our function, the plain one)}, both () -> an array."""
    from keras import ops

    from s2vt.saliency.gradients import path_gradients
    from s2vt.saliency.information_loss import query_measure
    from s2vt.saliency.subsets import left_out_losses, random_subsets, subset_values, without_each

    encode, step = captioner.encode, captioner.step
    members, kept = random_subsets(len(v), subsets, 0.5, 0), ~np.eye(len(v), dtype=bool)
    points, shares = np.polynomial.legendre.leggauss(steps)
    gradient = partial(path_gradients, encode, step, v, y, ((1.0,), (1.0,)), ops.log_softmax)
    path = (points + 1) / 2, shares / 2
    integrated = partial(path_gradients, encode, step, v, y, path, ops.log_softmax)
    weights = partial(path_gradients, encode, step, v, y, ((1.0,), (1.0,)), lambda logits: logits)

    def left_out():
        return left_out_losses(encode, step, v, without_each(v), [y], {"nll": query_measure})[0]["nll"]

    def left_out_plainly():
        return one_by_one(captioner, v, y, [np.ones(len(v), bool)]) - one_by_one(captioner, v, y, kept)

    return {
        "banzhaf, rise": (
            lambda: subset_values(encode, step, v, [y], members)[0],
            partial(one_by_one, captioner, v, y, members),
        ),
        "leave_one_out": (left_out, left_out_plainly),
        "gradient, gradcam": (gradient, partial(gradient, memory_budget=1)),
        "integrated": (integrated, partial(integrated, memory_budget=1)),
        "eb, ceb": (weights, partial(weights, memory_budget=1)),
    }


def one_by_one(captioner, v, y, readings):
    """log P of each word after each reading, (T, K), a pass for each: the descriptors, then the words up to this one.

    Args:
        readings: which descriptors are read, (K, N) bool.
    """
    from keras import ops

    found = np.empty((len(y), len(readings)), "float32")
    for t, k in np.ndindex(found.shape):
        state, word = captioner.encode(v[None, readings[k]]), None
        for w in y[: t + 1]:
            logits, state = captioner.step(state, word)
            word = np.array([w], "int32")
        found[t, k] = ops.convert_to_numpy(ops.log_softmax(logits))[0, y[t]]
    return found
