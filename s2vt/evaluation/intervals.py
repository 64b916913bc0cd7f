"""Confidence intervals of averages over phrases, from a bootstrap over media.

Letters: M media, C columns of a table, K rows, B resamples.

Phrases of one medium are not independent: they share its pixels and often its boxes. So whole media are drawn, with
replacement, and all their phrases come along (Efron and Tibshirani 1993, chapter 8). All rows are averaged over the
same draws, so the interval of a difference between two rows is a paired one.
"""

import numpy as np

NUM_RESAMPLES = 10_000
LEVEL = 0.95
_BATCH = 1000  # resamples at a time, to bound memory


def bootstrap(counts, sums, statistic, num_resamples=NUM_RESAMPLES, seed=0):
    """A statistic of each resample of M media.

    Args:
        counts: number of phrases of each medium, (M, C).
        sums: of their scores, (M, C, K).
        statistic: (counts (B, C), sums (B, C, K)) -> (B, K).
        num_resamples: B.   seed: of the draws, so that the same scores have the same interval.
    Returns:
        (B, K).

    Example:
        >>> counts, sums = np.array([[2], [2]]), np.array([[[0.0]], [[2.0]]])  # two media of two phrases each
        >>> means = bootstrap(counts, sums, lambda n, total: total[:, 0] / n)
        >>> np.unique(means).tolist()  # medium 1 twice, each once, medium 2 twice
        [0.0, 0.5, 1.0]
    """
    counts, sums = np.asarray(counts, float), np.asarray(sums, float)
    rng, found = np.random.default_rng(seed), []
    for start in range(0, num_resamples, _BATCH):
        shape = min(_BATCH, num_resamples - start)
        drawn = rng.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), shape).astype(float)
        found.append(statistic(drawn @ counts, np.tensordot(drawn, sums, 1)))
    return np.concatenate(found)


def interval(samples, level=LEVEL):
    """The percentile interval of a bootstrapped statistic: (low, high).

    Args:
        samples: (B,); resamples in which the statistic is undefined are NaN and left out.

    Example:
        >>> low, high = interval(np.arange(201.0))
        >>> round(low, 6), round(high, 6)
        (5.0, 195.0)
    """
    low, high = np.nanquantile(samples, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
