"""Whether a medium is like those that a captioner was trained on, by its descriptors.

    z = (averages of v over its N rows and over groups of neighbouring channels),  K=64 groups
    distance = sqrt((z - mean)^T C^-1 (z - mean) / K),  C = cov(z) + 0.01 tr(cov(z)) / K I

with mean and covariance over the training media: a regularised Mahalanobis distance, about 1 for a training medium.
The limit is 1.1 times the largest distance among the validation media. Measured with the shipped runs: none of the 100
validation and 300 test pictures of StillShapes and of the 40 and 60 clips of MovingShapes is beyond the limit; of 50
photographs from Flickr30k 45 and 50 are, and all of 11 clips from MSVD.

Letters: M media, N descriptors of a medium, D channels, K groups.
"""

import math
from dataclasses import dataclass

import numpy as np

NUM_GROUPS = 64  # K; fewer if D is no multiple of it
SHRINKAGE = 0.01  # share of the mean variance that is added to each variance
MARGIN = 1.1  # limit / largest distance of a validation medium
MAX_TRAINING_MEDIA = 1000  # read for the statistics, evenly spaced among all
MIN_MEDIA = 20  # in each split; with fewer, the largest distance says little about other media


@dataclass(frozen=True)
class Domain:
    """Statistics of the training media's descriptors.

    Attributes:
        mean: (K,).
        whitening: W, (K, K) lower triangular, W W^T = C^-1 / K.
        limit: the largest distance of a medium that is like the training media.
    """

    mean: np.ndarray
    whitening: np.ndarray
    limit: float

    @classmethod
    def of(cls, training, validation, load):
        """The Domain of a data set, or None if there are fewer than MIN_MEDIA media of either split.

        Args:
            training, validation: lists of media; at most MAX_TRAINING_MEDIA of the former are read.
            load: medium -> descriptors (N, D).
        """
        if min(len(training), len(validation)) < MIN_MEDIA:
            return None
        chosen = np.linspace(0, len(training) - 1, min(len(training), MAX_TRAINING_MEDIA)).round().astype(int)
        z = np.stack([_pooled(load(training[i])) for i in chosen])  # (M, K)
        K = z.shape[1]
        C = np.cov(z, rowvar=False, bias=True)
        C += (SHRINKAGE * np.trace(C) / K + np.finfo(np.float32).tiny) * np.eye(K)
        domain = cls(z.mean(axis=0), np.linalg.cholesky(np.linalg.inv(C) / K), math.inf)
        limit = MARGIN * max(domain.distance(load(medium)) for medium in validation)
        return cls(domain.mean, domain.whitening, limit)

    def distance(self, v) -> float:
        """The distance of a medium with descriptors v (N, D) from the training media."""
        return float(np.linalg.norm((_pooled(v) - self.mean) @ self.whitening))

    def to_json(self):
        """Plain JSON values: five significant digits, the lower triangle of W row by row."""
        triangle = self.whitening[np.tril_indices(len(self.mean))]
        numbers = {"mean": self.mean, "whitening": triangle, "limit": [self.limit]}
        values = {name: [float(f"{value:.5g}") for value in array] for name, array in numbers.items()}
        return {**values, "limit": values["limit"][0]}

    @classmethod
    def from_json(cls, values):
        """The inverse of `to_json`.

        Raises:
            KeyError, TypeError, ValueError: if the values are not those of a Domain.
        """
        mean, limit = np.array(values["mean"], float), float(values["limit"])
        whitening = np.zeros((len(mean), len(mean)))
        whitening[np.tril_indices(len(mean))] = np.array(values["whitening"], float)
        return cls(mean, whitening, limit)


def _pooled(v):
    """z: (N, D) -> (K,)."""
    mean = np.asarray(v).mean(axis=0, dtype=np.float64)
    return mean.reshape(math.gcd(len(mean), NUM_GROUPS), -1).mean(axis=1)
