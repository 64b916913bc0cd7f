"""The maps of the 2017 release's visualisation, step by step.

    the release's name          here                         what it does
    extract_all_features        `features.every_frame`       describes every frame
    temporal_feature_smoothing  `features.every_frame`       descriptors averaged over 3 frames
    time_normalization          time_normalization           each word over the clip, less its mean, clipped at 0
    sentence_normalization      sentence_normalization       each frame over all words and cells
    gaussian_filter_3d          gaussian_filter_3d           Gaussian of 2 frames and 1 cell
    generate_saliency           upsample                     a ring of the map's minimum, bicubic interpolation

The release explains a frame by its cells alone; the loss of a pooled frame (Eq. 13) is not used. A picture is a clip
of one frame, m = 1: the average and the Gaussian over time then change nothing.

Letters: K words or phrases, T words, m frames, G x G grid, H x W source pixels.
"""

import numpy as np

from s2vt.saliency.heatmaps import scale

SIGMA_FRAMES, SIGMA_CELLS = 2, 1  # of the Gaussian
ENLARGED = 1.2  # the padded map is drawn this much larger than the picture, and its middle is shown


def time_normalization(evidence):
    """Evidence of each word scaled to [0, 1] over the clip, less its mean, negative values to 0: (K, m, G, G)."""
    e = scale(evidence, axes=(1, 2, 3))
    return np.maximum(e - e.mean(axis=(1, 2, 3), keepdims=True), 0)


def sentence_normalization(e):
    """Values of each frame scaled to [0, 1] over all words and cells together: (K, m, G, G)."""
    return scale(e, axes=(0, 2, 3))


def gaussian_filter_3d(e):
    """Each word's maps smoothed by a Gaussian of 2 frames, 1 cell and 1 cell, reflected at the ends: (K, m, G, G)."""
    from scipy.ndimage import gaussian_filter  # its import takes 0.5 s: not at the top, for `--help`

    return gaussian_filter(e, sigma=(0, SIGMA_FRAMES, SIGMA_CELLS, SIGMA_CELLS), mode="reflect")


def gaussian_weights():
    """The Gaussian's weights at a distance of 0, 1, 2, ... {"frames", "cells"}: lists; it is cut off after 4 sigma.

    Example:
        >>> {name: [round(weight, 3) for weight in weights[:3]] for name, weights in gaussian_weights().items()}
        {'frames': [0.199, 0.176, 0.121], 'cells': [0.399, 0.242, 0.054]}
    """
    from scipy.ndimage import gaussian_filter1d

    impulse = np.eye(1, 33, 16)[0]
    both = {name: gaussian_filter1d(impulse, s)[16:] for name, s in (("frames", SIGMA_FRAMES), ("cells", SIGMA_CELLS))}
    return {name: weights[weights > 0].tolist() for name, weights in both.items()}


def saliency(evidence, rows=slice(None)):
    """Saliency of the words of a sentence, as the release draws it: its two normalisations and its Gaussian.

    Departs from the release where all evidence is equal: e = 0 instead of 0 / 0.

    Args:
        evidence: -Loss of each cell (Eq. 7), (K, m, G, G), nats.
        rows: the words to return; a word's values depend on all words.
    Returns:
        e, (K, m, G, G), in [0, 1].
    """
    return gaussian_filter_3d(sentence_normalization(time_normalization(evidence))[rows])


def over_time(e):
    """Saliency of each frame: the mean of its cells, the level of its map in the release's video.

    Args:
        e: from `saliency`, (..., m, G, G).
    Returns:
        (..., m), in [0, 1].
    """
    return np.mean(e, axis=(-2, -1))


def upsample(e, geometry):
    """Values on the grid -> a map over the source's pixels, in the release's places.

    The release pads the grid by a ring of its minimum, enlarges it to 1.2 times the picture by bicubic interpolation,
    and shows the middle. Less the minimum, the ring is 0 and the interpolation linear:

        map = min + A_y (e - min) A_x^T,   A from `interpolation`

    Departs from the release, which rounds to 8 bits and interpolates twice: once, without rounding.

    Args:
        e: (..., G, G), >= 0, rows from the top, each from the left.
        geometry: `s2vt.data.geometry.Geometry`, or anything with `width`, `height`, `grid` and `to_input(points)`.
    Returns:
        (..., H, W) float32, a value for each source pixel's centre, nowhere negative.
    """
    e = np.asarray(e, np.float32)
    A_x, A_y = interpolation(geometry, e.shape[-1])
    low = e.min(axis=(-2, -1), keepdims=True)
    return np.maximum(low + A_y @ (e - low) @ A_x.T, 0)


def interpolation(geometry, grid):
    """How much each source column and row takes from each cell: A_x (W, G) and A_y (H, G), float32.

    Cell k of 8 is centred at .02 + .12 (k + 1/2) of the input's side, not on its receptive field (`geometry.Grid`);
    places outside a crop take the values at its edge.

    Args: as `upsample`.   grid: G.
    """
    weights = []
    for axis, length in enumerate((geometry.width, geometry.height)):
        points = np.zeros((length, 2))
        points[:, axis] = np.arange(length) + 0.5
        share = np.clip(geometry.to_input(points)[:, axis] / geometry.grid.input_size, 0, 1)
        position = (share + (ENLARGED - 1) / 2) * (grid + 2) / ENLARGED - 0.5  # in cells, from the centre of the ring
        kernel = _bicubic(np.abs(position[:, None] - np.arange(grid + 2)))
        kernel /= kernel.sum(axis=1, keepdims=True)  # beyond the ring there is nothing
        weights.append(kernel[:, 1:-1].astype(np.float32))
    return tuple(weights)


def _bicubic(distance, a=-0.5):
    """Keys' cubic convolution kernel at distances >= 0; Pillow has a = -0.5."""
    x = distance
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    return np.where(x < 1, near, np.where(x < 2, a * (x**3 - 5 * x**2 + 8 * x - 4), 0))
