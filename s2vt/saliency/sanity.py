"""Do maps depend on what was learned? Maps before and after weights lose it, layer by layer (Adebayo et al. 2018).

Letters: n values of a map, H x W pixels.

A map that stays the same when the captioner's weights are scrambled shows the picture, not what the captioner knows.
"""

import math

import numpy as np
from keras import ops

# --- weights --------------------------------------------------------------------------------------------------------


class Cascade:
    """Scrambles a model from the output down to its input, for a `with` block; then puts its weights back.

    The values of each variable are permuted: their distribution stays what training made it, their places are lost.
    Departs from Adebayo et al., who draw initial values again, so that no layer's scale changes and words keep
    differing in frequency by as much.

    Args:
        stages: {name of a stage: its variables}, from the top; a stage's variables stay scrambled in all later ones.
        seed: of the permutations; a variable's depends on the seed and its place among all alone.

    It may be entered many times. The permutations are drawn once and kept, so that it holds two copies of the stages'
    variables: of InceptionV3, which takes a second to permute, 174 MB.

    Example:
        >>> import keras
        >>> top, bottom = (keras.Variable(np.arange(k, k + 20.0)) for k in (0, 50))
        >>> with Cascade({"top": [top], "bottom": [bottom]}, seed=0) as cascade:
        ...     cascade.scramble("top")
        ...     [float(np.abs(np.diff(ops.convert_to_numpy(each))).max()) > 1 for each in (top, bottom)]
        [True, False]
        >>> float(top[3])
        3.0
    """

    def __init__(self, stages, seed):
        self.stages, self._values, self._scrambled = stages, {}, []
        counts = np.cumsum([0, *map(len, stages.values())])
        self._seeds = {
            name: [(seed, first + k) for k in range(len(stages[name]))]
            for name, first in zip(stages, counts, strict=False)
        }

    def __enter__(self):
        return self

    def scramble(self, stage):
        """Permutes the values of one stage's variables."""
        if stage not in self._values:
            self._values[stage] = list(map(self._permuted, self.stages[stage], self._seeds[stage]))
        self._scrambled.append(stage)
        for variable, (_, permuted) in zip(self.stages[stage], self._values[stage], strict=True):
            variable.assign(permuted)

    def _permuted(self, variable, seed):
        """A variable's values, and the same permuted."""
        values = np.array(ops.convert_to_numpy(variable))
        return values, np.random.default_rng(seed).permutation(values.reshape(-1)).reshape(values.shape)

    def __exit__(self, *_):
        for stage in self._scrambled:
            for variable, (values, _) in zip(self.stages[stage], self._values[stage], strict=True):
                variable.assign(values)
        self._scrambled.clear()


# --- similarity -----------------------------------------------------------------------------------------------------


def spearman(a, b):
    """Rank correlation of two maps' values, in [-1, 1].

    Args:
        a, b: n values each, of any equal shape. Equal values have their mean rank.
    Returns:
        float; where either map is constant, 1 if both are and 0 otherwise.

    Example:
        >>> spearman(np.array([1.0, 2.0, 3.0]), np.array([10.0, 30.0, 20.0]))
        0.5
    """
    from scipy.stats import rankdata

    ranks = [rankdata(values) - (values.size + 1) / 2 for values in map(np.ravel, (a, b))]
    norm = math.sqrt(math.prod(float(of @ of) for of in ranks))
    if norm == 0:
        return float(not any(of.any() for of in ranks))
    return round(float(ranks[0] @ ranks[1]) / norm, 12)


WINDOW = 1.5  # sigma of the Gaussian window of `ssim`, pixels (Wang et al. 2004)
TRUNCATE = 3.5  # of it, in sigmas: 11 x 11 pixels


def ssim(a, b):
    """Structural similarity of two drawn maps (Wang et al. 2004), in [-1, 1].

        SSIM = mean over pixels of (2 mu_a mu_b + c1) (2 cov_ab + c2) / ((mu_a^2 + mu_b^2 + c1) (var_a + var_b + c2))

    with means, variances and covariance in a Gaussian window of sigma 1.5, c1 = 0.01^2, c2 = 0.03^2. Each map is
    first scaled to [0, 1], as it is drawn.

    Args:
        a, b: maps of m frames, (m, H, W).
    Returns:
        float, the mean over the frames.

    Example:
        >>> picture = np.random.default_rng(0).random((1, 12, 14))
        >>> round(ssim(picture, 3 * picture + 1), 6)
        1.0
    """
    from scipy.ndimage import gaussian_filter

    def mean(values):
        return gaussian_filter(values, (0, WINDOW, WINDOW), truncate=TRUNCATE)

    a, b = (_scaled(np.asarray(each, "float64")) for each in (a, b))
    mu_a, mu_b = mean(a), mean(b)
    var_a, var_b, cov = mean(a * a) - mu_a**2, mean(b * b) - mu_b**2, mean(a * b) - mu_a * mu_b
    c1, c2 = 0.01**2, 0.03**2
    similarity = (2 * mu_a * mu_b + c1) * (2 * cov + c2) / ((mu_a**2 + mu_b**2 + c1) * (var_a + var_b + c2))
    return float(similarity.mean())


def _scaled(values):
    """Linearly to [0, 1] over all frames; a constant map is 0."""
    low, span = values.min(), np.ptp(values)
    return (values - low) / (span if span > 0 else 1)
