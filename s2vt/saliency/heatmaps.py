"""From losses on the grid to maps in source pixels (paper Eq. 8, 9 and section 4.1's receptive fields).

Letters: T words, m frames, G=8 grid, H x W source pixels.

Coordinates are continuous: (0, 0) is the upper-left corner of the upper-left pixel, pixel k's centre is k + 0.5.
"""

import numpy as np


def phrase_loss(loss, words):
    """Information lost about a phrase: the sum of the losses of its words, before any scaling (Eq. 9).

        Loss({t_1, ..., t_q}, i) = sum_j Loss(t_j, i)

    Args:
        loss: (T, ...), nats.
        words: where the phrase's words stand in the sentence, each 0..T-1.
    Returns:
        (...), nats.
    Raises:
        ValueError: if the phrase has no words, or one beyond the sentence.

    Example:
        >>> phrase_loss(np.array([[1.0, 2.0], [10.0, 20.0], [100.0, 200.0]]), (0, 2)).tolist()
        [101.0, 202.0]
    """
    words = list(words)
    if not words or min(words) < 0 or max(words) >= len(loss):
        raise ValueError(f"a phrase needs words at positions 0..{len(loss) - 1} of the sentence, received {words}")
    return np.sum(np.asarray(loss)[words], axis=0)


def scale(loss, axes=None):
    """Saliency: the negated loss, scaled linearly to [0, 1] over the items of a word or phrase (Eq. 8).

        e = scale(-Loss) = (max Loss - Loss) / (max Loss - min Loss)

    Args:
        loss: nats, any shape.
        axes: the axis or axes that run over the items; the others (words, phrases) are scaled apart. None: all.
    Returns:
        e, of the same shape: 1 at the smallest loss, 0 at the largest; 0 everywhere if they are equal.

    Example:
        >>> scale(np.array([[1.0, 3.0, 2.0], [5.0, 5.0, 5.0]]), axes=1).tolist()
        [[1.0, 0.0, 0.5], [0.0, 0.0, 0.0]]
    """
    loss = np.asarray(loss)
    largest = loss.max(axis=axes, keepdims=True)
    span = largest - loss.min(axis=axes, keepdims=True)
    return (largest - loss) / np.where(span > 0, span, 1).astype(loss.dtype)


NORMALIZATIONS = {  # what each does, as it stands beside the maps
    "clip": "each word or phrase scaled to [0, 1] over the clip (Eq. 8)",
    "frame": "each word or phrase scaled to [0, 1] in each sampled frame",
    "release": "release's two steps: each word over the clip, less its mean; then each frame over all words",
}


def normalize(loss, how="clip"):
    """Saliency of several words or phrases, to be seen side by side.

    "clip": Eq. 8 over all cells of all frames, each word by itself: brightness can be compared within a word's clip.
    "frame": over the cells of each frame: where in a frame, whether or not there is evidence in it at all.
    "release": the 2017 release's two steps. e_t = scale(-Loss) over the clip, less its mean, negative ones to 0; then
    all words of a frame together to [0, 1]: which word has a frame, and words can be compared in it.

    Args:
        loss: (K, m, G, G), nats, K words or phrases, m frames.
        how: one of NORMALIZATIONS.
    Returns:
        e, (K, m, G, G), in [0, 1].

    Example:
        >>> loss = np.array([[3.0, 1.0], [2.0, 2.0]]).reshape(1, 2, 1, 2)  # one word, two frames of 1 x 2 cells
        >>> [normalize(loss, how).reshape(2, 2).tolist() for how in NORMALIZATIONS]
        [[[0.0, 1.0], [0.5, 0.5]], [[0.0, 1.0], [0.0, 0.0]], [[0.0, 1.0], [0.0, 0.0]]]
    """
    e = scale(loss, axes=(2, 3) if how == "frame" else (1, 2, 3))
    if how == "release":
        e = np.maximum(e - e.mean(axis=(1, 2, 3), keepdims=True), 0)
        e = 1 - scale(e, axes=(0, 2, 3)) if e.any() else e
        e = np.where(np.ptp(e, axis=(0, 2, 3), keepdims=True) > 0, e, 0)
    elif how not in NORMALIZATIONS:
        raise ValueError(f"how is one of {', '.join(NORMALIZATIONS)}, not {how!r}")
    return e


# How far a value reaches: the standard deviation of a Gaussian, in cells (32 input pixels) or in sampled frames.
SPREAD = 0.75


def over_time(values, spread=SPREAD):
    """Values of the sampled frames, each the Gaussian mean of all of them: what is seen stays for more than one frame.

    The first and the last value go on outside. Every curve, bar and score over time is made here, as every map is in
    `upsample`.

    Args:
        values: (..., m), m frames.
        spread: standard deviation of the Gaussian, in sampled frames; 0: the values as they are.
    Returns:
        (..., m).

    Example:
        >>> over_time(np.array([0.0, 0.0, 1.0, 0.0])).round(3).tolist()
        [0.015, 0.219, 0.532, 0.219]
    """
    values = np.asarray(values)
    low, m = values.min(axis=-1, keepdims=True), values.shape[-1]  # of what lies above it: equal values stay equal
    return low + (values - low) @ _gaussian(np.arange(m), m, spread).T


def temporal_saliency(loss, spread=SPREAD):
    """When a word has its evidence: e of the sampled frames (Eq. 8), of their Gaussian mean over time.

        e = scale(-over_time(Loss))

    Args:
        loss: (..., m), nats, of m frames, each seen alone.   spread: as in `over_time`.
    Returns:
        e, (..., m), in [0, 1]; 0 everywhere if all losses are equal.

    Example:
        >>> temporal_saliency(np.array([3.0, 1.0, 2.0, 3.0]), spread=0).tolist()
        [0.0, 1.0, 0.5, 0.0]
    """
    return scale(over_time(loss, spread), axes=-1)


def temporal_alpha(loss, spread=SPREAD):
    """How much of a word's evidence lies in each frame: e normalised to sum 1 (Eq. 5's alpha, from Eq. 8).

        alpha_ti = e_ti / sum_k e_tk

    Args:
        loss: (..., m), nats, of m frames, each seen alone.   spread: as in `over_time`.
    Returns:
        alpha, (..., m), sums to 1 over the frames; uniform where all losses are equal.

    Example:
        >>> temporal_alpha(np.array([[3.0, 1.0, 2.0, 3.0], [7.0, 7.0, 7.0, 7.0]]), spread=0).round(3).tolist()
        [[0.0, 0.667, 0.333, 0.0], [0.25, 0.25, 0.25, 0.25]]
    """
    e = temporal_saliency(loss, spread)
    e = np.where(e.any(axis=-1, keepdims=True), e, 1).astype(e.dtype)
    return e / e.sum(axis=-1, keepdims=True)


def cell_centres(grid=8):
    """Input pixel on which each cell's receptive field is centred, along x or y alike: 32 k + 37, (G,).

    InceptionV3's unpadded layers put the centre of mixed_10's cell k on input pixel number 32 k + 37, *not* at
    (k + 1/2) 299 / 8. That pixel's centre has the continuous coordinate 32 k + 37.5; of 299 pixels, the eight centres
    then lie symmetric about the middle, 149.5.

    Example:
        >>> cell_centres().tolist()
        [37, 69, 101, 133, 165, 197, 229, 261]
    """
    return 32 * np.arange(grid) + 37


def upsample(cells, geometry, spread=SPREAD):
    """Values on the grid -> a map over the source's pixels, whatever the resize and crop were.

    Each value stands at the centre of its cell's receptive field (`cell_centres`). A pixel is the mean of all values,
    weighted by a Gaussian of their distance; beyond the outermost centres the map goes on flat, also outside a crop.
    Every map, figure and score is made here.

        map = A_y cells A_x^T,   A_x (W, G), A_y (H, G): how much each source column or row takes from each cell

    Departs from the usual bilinear interpolation (spread=0): neighbouring cells see nearly the same pixels, so the
    largest value of a blob falls on any of its cells, and its middle is found better from all of them. README,
    "Measured", has the pointing game both ways.

    Args:
        cells: (..., G, G), rows from the top, each from the left.
        geometry: `s2vt.data.geometry.Geometry`, or anything with `width`, `height` and `to_input(points (..., 2))`.
        spread: standard deviation of the Gaussian, in cells; 0: bilinear interpolation.
    Returns:
        (..., H, W) float32, a value for each source pixel's centre.
    """
    cells = np.asarray(cells, "float32")
    A_x = _weights(geometry, geometry.width, cells.shape[-1], 0, spread)
    A_y = _weights(geometry, geometry.height, cells.shape[-2], 1, spread)
    return A_y @ cells @ A_x.T


def _weights(geometry, length, grid, axis, spread):
    """How much each pixel along x (axis 0) or y (axis 1) takes from each cell: (length, G) float32, rows sum to 1."""
    points = np.zeros((length, 2))
    points[:, axis] = np.arange(length) + 0.5
    first, second = cell_centres(grid)[:2] + 0.5
    position = np.clip((geometry.to_input(points)[:, axis] - first) / (second - first), 0, grid - 1)  # in cells
    return _gaussian(position, grid, spread).astype("float32")


def _gaussian(position, count, spread):
    """How much each position takes from each of 0..count-1: (positions, count), rows sum to 1; spread 0: bilinear."""
    item = np.arange(-4, count + 4)  # the first and the last one go on outside
    distance = np.abs(position[:, None] - item)
    kernel = np.exp(-((distance / spread) ** 2) / 2) if spread else np.maximum(1 - distance, 0)
    weights = np.zeros((count, len(position)))
    np.add.at(weights, np.clip(item, 0, count - 1), kernel.T)
    return (weights / weights.sum(axis=0)).T


def maximum(pixel_map):
    """Where a map points: the centre (x, y) of its largest pixel, source pixels.

    Beyond the outermost cells' centres a map is flat. Of equally large pixels the one nearest the picture's centre is
    taken (then the first, row by row), which is where the edge cell's receptive field is centred.

    Args:
        pixel_map: (H, W).
    Returns:
        (x, y), floats ending in .5.

    Example:
        >>> maximum(np.array([[0.0, 1.0, 2.0], [0.0, 0.0, 0.0]]))
        (2.5, 0.5)
    """
    pixel_map = np.asarray(pixel_map)
    height, width = pixel_map.shape
    rows, columns = np.nonzero(pixel_map == pixel_map.max())
    nearest = np.argmin((columns + 0.5 - width / 2) ** 2 + (rows + 0.5 - height / 2) ** 2)
    return float(columns[nearest] + 0.5), float(rows[nearest] + 0.5)
