"""From evidence on the grid to maps in source pixels (paper Eq. 8, 9 and section 4.1's receptive fields).

Letters: T words, K words or phrases, m frames, G x G grid, H x W source pixels.

Evidence is larger where a word has more support: -Loss (Eq. 6, 7), or an attention layer's alpha.

Coordinates are continuous: (0, 0) is the upper-left corner of the upper-left pixel, pixel k's centre is k + 0.5.
"""

import numpy as np

REACH = 6  # standard deviations at which a Gaussian is cut off: less than 1e-8 of it lies beyond


def phrase_sum(evidence, words):
    """Evidence for a phrase: the sum over its words, before any scaling (Eq. 9).

        Loss({t_1, ..., t_q}, i) = sum_j Loss(t_j, i)

    Args:
        evidence: (T, ...).
        words: positions of the phrase's words in the sentence, each 0..T-1.
    Returns:
        (...), in the same unit.
    Raises:
        ValueError: if the phrase has no words, or one beyond the sentence.

    Example:
        >>> phrase_sum(np.array([[1.0, 2.0], [10.0, 20.0], [100.0, 200.0]]), (0, 2)).tolist()
        [101.0, 202.0]
    """
    words = list(words)
    if not words or min(words) < 0 or max(words) >= len(evidence):
        raise ValueError(f"a phrase needs words at positions 0..{len(evidence) - 1} of the sentence, received {words}")
    return np.sum(np.asarray(evidence)[words], axis=0)


def scale(evidence, axes=None):
    """Saliency: evidence scaled linearly to [0, 1] over the items of a word or phrase (Eq. 8).

        e = scale(-Loss) = (max Loss - Loss) / (max Loss - min Loss)

    Args:
        evidence: any shape.
        axes: the axis or axes of the items; the others (words, phrases) are scaled independently. None: all.
    Returns:
        e, of the same shape: 1 at the largest evidence, 0 at the smallest; 0 everywhere if all are equal.

    Example:
        >>> scale(-np.array([[1.0, 3.0, 2.0], [5.0, 5.0, 5.0]]), axes=1).tolist()
        [[1.0, 0.0, 0.5], [0.0, 0.0, 0.0]]
    """
    evidence = np.asarray(evidence)
    smallest = evidence.min(axis=axes, keepdims=True)
    span = evidence.max(axis=axes, keepdims=True) - smallest
    return (evidence - smallest) / np.where(span > 0, span, 1).astype(evidence.dtype)


def over_time(evidence, sigma):
    """Gaussian smoothing over the sampled frames; edge values are repeated.

    Every curve, bar and score over time is smoothed here, as every map is made in `upsample`.

    Args:
        evidence: (..., m), m frames.
        sigma: standard deviation of the Gaussian, in sampled frames (`saliency.sigma_frames`); 0: no smoothing, and
            so is less than 1/12, where the Gaussian does not reach the next frame.
    Returns:
        (..., m).

    Example:
        >>> over_time(np.array([0.0, 0.0, 1.0, 0.0]), sigma=0.75).round(3).tolist()
        [0.015, 0.219, 0.532, 0.219]
    """
    from scipy.ndimage import gaussian_filter1d  # its import takes 0.5 s: not at the top, for `--help`

    evidence = np.asarray(evidence)
    if REACH * sigma < 0.5:
        return evidence
    low = evidence.min(axis=-1, keepdims=True)  # smoothing the rest keeps equal values equal, to the bit
    return low + gaussian_filter1d(evidence - low, sigma, axis=-1, mode="nearest", truncate=REACH)


def temporal_saliency(evidence, sigma):
    """When a word has its evidence: e of the sampled frames (Eq. 8), smoothed over time.

        e = scale(over_time(-Loss))

    Args:
        evidence: (..., m), of m frames, each in isolation.   sigma: as in `over_time`.
    Returns:
        e, (..., m), in [0, 1]; 0 everywhere if all are equal.

    Example:
        >>> temporal_saliency(-np.array([3.0, 1.0, 2.0, 3.0]), sigma=0).tolist()
        [0.0, 1.0, 0.5, 0.0]
    """
    return scale(over_time(evidence, sigma), axes=-1)


def temporal_alpha(evidence, sigma):
    """The share of a word's evidence in each frame: e normalised to sum 1 (Eq. 5's alpha, from Eq. 8).

        alpha_ti = e_ti / sum_k e_tk

    Args:
        evidence: (..., m), of m frames, each in isolation.   sigma: as in `over_time`.
    Returns:
        alpha, (..., m), sums to 1 over the frames; uniform where all are equal.

    Example:
        >>> temporal_alpha(-np.array([[3.0, 1.0, 2.0, 3.0], [7.0, 7.0, 7.0, 7.0]]), sigma=0).round(3).tolist()
        [[0.0, 0.667, 0.333, 0.0], [0.25, 0.25, 0.25, 0.25]]
    """
    e = temporal_saliency(evidence, sigma)
    e = np.where(e.any(axis=-1, keepdims=True), e, 1).astype(e.dtype)
    return e / e.sum(axis=-1, keepdims=True)


def upsample(cells, geometry, sigma):
    """Values on the grid -> a map over the source's pixels, whatever the resize and crop were.

    Each value belongs at the centre of its cell's receptive field (`geometry.Grid`). A pixel is the mean of all values,
    weighted by a Gaussian of their distance; beyond the outermost centres the map is constant, also outside a crop.
    Every map, figure and score is made here.

        map = A_y cells A_x^T,   A from `interpolation`

    Departs from bilinear interpolation (sigma=0), because neighbouring cells see nearly the same pixels: the largest
    value of a blob falls on any of its cells, and its middle is found better from all of them. docs/ablations.md has
    the pointing game both ways.

    Args:
        cells: (..., G, G), rows from the top, each from the left.
        geometry: `s2vt.data.geometry.Geometry`, or anything with `width`, `height`, `grid` and `to_input(points)`.
        sigma: standard deviation of the Gaussian, in cells (`saliency.sigma_cells`); towards 0, each pixel takes its
            nearest cell's value; exactly 0: bilinear interpolation.
    Returns:
        (..., H, W) float32, a value for each source pixel's centre.
    """
    cells = np.asarray(cells, "float32")
    A_x, A_y = interpolation(geometry, cells.shape[-1], sigma)
    low = cells.min(axis=(-2, -1), keepdims=True)  # interpolating the rest keeps equal values equal, to the bit
    return low + A_y @ (cells - low) @ A_x.T


def interpolation(geometry, count, sigma):
    """How much each source column and row takes from each cell: A_x (W, G) and A_y (H, G), float32, rows sum to 1.

    Args: as `upsample`.   count: G.
    """
    first, stride = geometry.grid.offset + 0.5, geometry.grid.stride
    weights = []
    for axis, length in enumerate((geometry.width, geometry.height)):
        points = np.zeros((length, 2))
        points[:, axis] = np.arange(length) + 0.5
        position = np.clip((geometry.to_input(points)[:, axis] - first) / stride, 0, count - 1)  # in cells
        weights.append(_gaussian(position, count, sigma).astype("float32"))
    return tuple(weights)


def _gaussian(position, count, sigma):
    """The weight of each of `count` items at each position, (positions, count), rows sum to 1; sigma 0: bilinear.

    The first and the last item's values are continued beyond them, as far as the Gaussian reaches.
    """
    beyond = int(np.ceil(REACH * sigma)) + 1
    item = np.arange(-beyond, count + beyond)
    distance = np.abs(position[:, None] - item)
    if sigma:
        nearest = distance.min(axis=1, keepdims=True)  # its weight is 1, so that a small sigma does not end in 0 / 0
        with np.errstate(over="ignore"):
            kernel = np.exp(-(distance**2 - nearest**2) / 2 / sigma / sigma)
    else:
        kernel = np.maximum(1 - distance, 0)
    weights = kernel[:, beyond:-beyond].copy()
    weights[:, 0] += kernel[:, :beyond].sum(axis=1)
    weights[:, -1] += kernel[:, -beyond:].sum(axis=1)
    return weights / weights.sum(axis=1, keepdims=True)


def argmax_point(pixel_map):
    """The point a map indicates: the centre (x, y) of its largest pixel, source pixels.

    Beyond the outermost cells' centres a map is flat. Of equally large pixels the one nearest the picture's centre is
    taken (then the first, row by row), which is where the edge cell's receptive field is centred.

    Args:
        pixel_map: (H, W).
    Returns:
        (x, y), floats ending in .5.

    Example:
        >>> argmax_point(np.array([[0.0, 1.0, 2.0], [0.0, 0.0, 0.0]]))
        (2.5, 0.5)
    """
    pixel_map = np.asarray(pixel_map)
    height, width = pixel_map.shape
    rows, columns = np.nonzero(pixel_map == pixel_map.max())
    nearest = np.argmin((columns + 0.5 - width / 2) ** 2 + (rows + 0.5 - height / 2) ** 2)
    return float(columns[nearest] + 0.5), float(rows[nearest] + 0.5)
