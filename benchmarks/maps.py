"""Maps that need many passes through the captioner, beside the plain way: one word, and one reading, at a time.

Gradients are of five captions, some of which begin alike, as those of a picture do.
"""

from functools import partial

import numpy as np

from benchmarks.saliency import random_captioner
from benchmarks.timing import median_seconds


def measure(repeats=3, n=8, N=64, subsets=64, steps=8, V=1000, H=256, E=64, D=2048):
    """n words about a picture of N cells: seconds of all words, and how many times faster than the plain way.

    Of gradients, five captions of n words. Both ways give the same numbers, which is checked.
    """
    captioner, rows = random_captioner(V, H, E, D), {}
    rng = np.random.default_rng(1)
    v, y = rng.random((N, D), np.float32), rng.integers(1, V, n)
    for name, (ours, plain) in pairs(captioner, v, y, subsets, steps).items():
        words = len(ours())
        np.testing.assert_allclose(ours(), plain(), rtol=1e-2, atol=1e-3)
        seconds, theirs = median_seconds(ours, plain, repeats=repeats)
        rows[name] = {"seconds": seconds, "words/s": words / seconds, "times the plain way": theirs / seconds}
    return rows


def pairs(captioner, v, y, subsets, steps):
    """{map: (our function, the plain one)}, both () -> an array."""
    from keras import ops

    from s2vt.saliency.gradients import ONE, path_gradients
    from s2vt.saliency.information_loss import query_measure
    from s2vt.saliency.subsets import left_out_losses, random_subsets, subset_values, without_each

    encode, step = captioner.encode, captioner.step
    members, kept = random_subsets(len(v), subsets, 0.5, 0), ~np.eye(len(v), dtype=bool)
    points, shares = np.polynomial.legendre.leggauss(steps)
    paths = {"one": ONE, "many": ((points + 1) / 2, shares / 2)}
    captions = [np.concatenate([y[: k // 2], np.roll(y, k)[k // 2 :]]) for k in range(5)]

    def gradients(path, score=ops.log_softmax):
        def ours():
            return np.concatenate(path_gradients(encode, step, v, captions, paths[path], score))

        def plain():
            return np.concatenate([gradients_one_by_one(captioner, v, y, paths[path], score) for y in captions])

        return ours, plain

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
        "gradient, gradcam": gradients("one"),
        "integrated": gradients("many"),
        "eb, ceb": gradients("one", lambda logits: logits),
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


def gradients_one_by_one(captioner, v, y, path, score):
    """The gradients of each word's score, (T, N, D): for each word and point a pass forward and one back.

    Args:
        path: points and shares, (A,) each.   score: logits -> scores.
    """
    from keras import ops

    from s2vt.engine import gradient

    found = np.zeros((len(y), *v.shape), "float32")
    for t, k in np.ndindex(len(y), len(path[0])):

        def of_word(read, t=t):
            state, word = captioner.encode(read), None
            for w in y[: t + 1]:
                logits, state = captioner.step(state, word)
                word = np.array([w], "int32")
            return score(logits)[0, int(y[t])]

        at = ops.convert_to_tensor(np.float32(path[0][k]) * v[None])
        found[t] += path[1][k] * ops.convert_to_numpy(gradient(of_word)(at))[0]
    return found
