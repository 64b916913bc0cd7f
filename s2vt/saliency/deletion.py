"""Deletion and insertion: what a captioner still says when the most salient cells are taken away, or read, first.

Letters: m frames (1 for a picture), C=G G cells of a frame, n items that are ordered, K steps of a curve, R sets of
cells, N descriptors that the captioner reads, D channels.

    ranking -> order (n,)    kept_items -> kept (K+1, n)    Replaced -> v (R, N, D)    area of log P(phrase) -> a score

Nothing is cut out: what is not kept is replaced, so that the captioner always reads N descriptors. Deletion's area is
small, and insertion's large, where an order puts first what the captioner needs.
"""

import functools
from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class Preset:
    """A definition of the two curves, after another tool's.

    Attributes:
        name: of the tool.
        curves: which of the two it draws.
        steps: of a curve, over the whole share; None: an item at a time. Never more than there are items.
        pixel_steps: the same where pixels are replaced: each point of a curve is a pass through the network.
        share: of the items that are deleted or inserted in the end.
        descriptors: what replaces a cell's descriptor: the mean descriptor, or zeros.
        deleted, missing: what replaces the pixels of a cell in deletion and in insertion: "mean", the grey that the
            network reads as 0; "black"; "blur", the picture itself through `blur`.
        source: where this is defined, and how the unit differs.
    """

    name: str
    curves: tuple[str, ...] = ("deletion", "insertion")
    steps: int | None = None
    pixel_steps: int | None = None
    share: float = 1.0
    descriptors: Literal["mean", "zero"] = "mean"
    deleted: Literal["mean", "black", "blur"] = "mean"
    missing: Literal["mean", "black", "blur"] = "mean"
    source: str = ""


WAYS = ("mean", "zero", "black", "blur")  # of replacing cells or their pixels
PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            "rise",
            steps=224,
            pixel_steps=16,
            missing="blur",
            source="RISE (Petsiuk et al. 2018, evaluation.py): 224 steps of 224 of 224 x 224 pixels, here of cells (of "
            "cells' pixels 16); deletion to zeros of the normalised input, insertion from a blur of kernel 11, sigma 5",
        ),
        Preset(
            "quantus",
            curves=("deletion",),
            share=100 * 8 * 8 / 224**2,
            descriptors="zero",
            deleted="black",
            source="Quantus 0.6, RegionPerturbation (Samek et al. 2015): most relevant first, the first 100 regions of "
            "8 x 8 of 224 x 224 pixels, here as large a share of the cells, one at a time; baseline black",
        ),
        Preset(
            "xplique",
            steps=10,
            pixel_steps=10,
            descriptors="zero",
            source="Xplique, Deletion and Insertion: 10 steps, baseline 0 of the input",
        ),
    )
}

# --- orders -----------------------------------------------------------------------------------------------------------


def ranking(values, ties):
    """The items from the most salient to the least.

    Args:
        values: saliency, (..., n).
        ties: a permutation of 0..n-1 that orders items of equal saliency, so that a constant map orders at random and
            not from the upper left.
    Returns:
        order, (..., n) indices of items.

    Example:
        >>> ranking(np.array([0.5, 2.0, 0.5, 1.0]), ties=np.array([3, 1, 0, 2])).tolist()
        [1, 3, 2, 0]
    """
    values = np.asarray(values)
    return np.lexsort((np.broadcast_to(ties, values.shape), -values), axis=-1)


def from_centre(m, side):
    """Saliency of cells and frames that lie near the middle: the order that looks at no pixel.

    Returns:
        cells (m, G, G) and frames (m,): the negated squared distance from the middle of the grid and of the clip, each
        in halves of its length.

    Example:
        >>> from_centre(1, 3)[0].round(2).tolist()
        [[[-0.89, -0.44, -0.89], [-0.44, -0.0, -0.44], [-0.89, -0.44, -0.89]]]
    """
    frames, rows = (-(((2 * np.arange(length) + 1) / length - 1) ** 2) for length in (m, side))
    return frames[:, None, None] + rows[:, None] + rows, frames


# What is ordered, and in words.
DOMAINS = {
    "space": "the cells of a picture, or of each frame by itself,",
    "time": "the sampled frames",
    "both": "the cells of all sampled frames together",
}


def num_items(domain, m, num_cells):
    """n, the number of items that a domain orders.   m: frames.   num_cells: C."""
    return {"space": num_cells, "time": m, "both": m * num_cells}[domain]


# --- curves -----------------------------------------------------------------------------------------------------------


def step_counts(n, preset, where="descriptors"):
    """How many of n items are deleted, or inserted, at each step: (K+1,), from 0.   where: or "pixels".

    Example:
        >>> step_counts(64, PRESETS["xplique"]).tolist()
        [0, 6, 12, 19, 25, 32, 38, 44, 51, 57, 64]
        >>> step_counts(64, PRESETS["quantus"]).tolist()
        [0, 1, 2, 3, 4, 5, 6, 7, 8]
    """
    last = max(1, round(n * preset.share))
    steps = preset.pixel_steps if where == "pixels" else preset.steps
    return np.linspace(0, last, min(steps or last, last) + 1).astype(int)


def kept_items(order, counts, curve):
    """Which items the captioner reads at each step.

    Args:
        order: from `ranking`, (..., n).   counts: from `step_counts`, (K+1,).
        curve: "deletion", the first of the order are replaced; "insertion", all but the first are.
    Returns:
        (K+1, ..., n) bool.

    Example:
        >>> kept_items(np.array([2, 0, 1]), np.array([0, 1, 3]), "deletion").astype(int).tolist()
        [[1, 1, 1], [1, 1, 0], [0, 0, 0]]
    """
    place = np.argsort(order, axis=-1)
    first = place < np.reshape(counts, (-1, *[1] * place.ndim))
    return first if curve == "insertion" else ~first


def kept_cells(values, domain, num_cells, counts, curve, ties):
    """Which cells of which frames the captioner reads at each step of the curve of a map.

    Args:
        values: saliency, (m, G, G) of cells or (m,) of frames.
        domain: what is ordered, a key of DOMAINS.
        num_cells: C.   counts, curve: as `kept_items`.   ties: (n,), as in `ranking`.
    Returns:
        (K+1, m, C) bool.
    """
    m = len(values)
    items = np.reshape(values, {"space": (m, -1), "time": (-1,), "both": (-1,)}[domain])
    kept = kept_items(ranking(items, ties), counts, curve)
    return np.broadcast_to(kept.reshape(len(counts), m, -1), (len(counts), m, num_cells))


def area(values, counts):
    """The area under a curve by the trapezoid rule, over the share of the items from 0 to the last step's, as 0 to 1.

    Args:
        values: log P or P of the phrase at each step, (..., K+1).   counts: as `kept_items`, (K+1,).
    Returns:
        (...): a mean of the values, in their unit.

    Example:
        >>> float(area(np.array([-1.0, -3.0, -5.0]), np.array([0, 1, 4])))  # (1 x -2 + 3 x -4) / 4
        -3.5
    """
    return np.trapezoid(np.asarray(values, float), counts, axis=-1) / counts[-1]


# --- what is read -----------------------------------------------------------------------------------------------------


class Replaced:
    """What a captioner reads when cells are replaced, (R, N, D), made when it is read by slices (`teacher_forcing`).

    Args:
        descriptors: of one medium (`s2vt.features.descriptors.Descriptors`).
        kept: (R, m, C) bool, the cells that stay.
        substitute: the descriptor that replaces a cell, (D,); or one for each cell, (m, C, D).
    Raises:
        ValueError: if the shapes do not match.
    """

    def __init__(self, descriptors, kept, substitute):
        self.order, self.kept = descriptors.order, np.asarray(kept)
        self.cells = np.asarray(descriptors.cells, "float32")  # (m, C, D)
        if self.kept.ndim != 3 or self.kept.shape[1:] != self.cells.shape[:2]:
            raise ValueError(f"kept must be (R, m, C) of cells {self.cells.shape}; received {self.kept.shape}")
        if len(descriptors.v) != (len(self.cells) if self.order is None else self.cells.shape[1]):
            raise ValueError(f"cells {self.cells.shape} are not what the captioner reads, {descriptors.v.shape}")
        self.substitute = np.broadcast_to(np.asarray(substitute, "float32"), self.cells.shape)
        self.shape = (len(self.kept), *descriptors.v.shape)

    def __getitem__(self, rows):
        kept = self.kept[rows]
        if self.order is not None:  # a picture: its cells, each itself or replaced
            read = kept[:, 0, self.order, None]
            return np.where(read, self.cells[0, self.order], self.substitute[0, self.order])
        # frames: means over cells, of which some are replaced: sub_i + 1/C sum_k kept_ik (v_ik - sub_ik)
        weights = np.ascontiguousarray(kept.transpose(1, 0, 2), "float32")  # (m, R, C)
        changed = np.matmul(weights, self.cells - self.substitute).transpose(1, 0, 2)  # (R, m, D)
        return self.substitute.mean(axis=1) + changed / self.cells.shape[1]


# --- pixels -----------------------------------------------------------------------------------------------------------

BATCH = 26  # pictures a forward pass
KERNEL, SIGMA = 11, 5  # pixels, of `blur` (RISE)
GREY = 128  # read as 0, up to rounding, by all networks here


def blur(picture):
    """A picture through RISE's blur: a Gaussian of sigma 5 cut to 11 x 11 pixels, grey beyond the edges.

    Args:
        picture: (S, S, 3) uint8.
    Returns:
        (S, S, 3) uint8.
    """
    from scipy.ndimage import correlate1d, gaussian_filter1d

    middle = np.zeros(KERNEL)
    middle[KERNEL // 2] = 1
    kernel = gaussian_filter1d(middle, SIGMA)  # its tails are reflected into the 11 pixels, as in RISE's code
    blurred = np.asarray(picture, "float32")
    for axis in (0, 1):
        blurred = correlate1d(blurred, kernel, axis=axis, mode="constant", cval=GREY)
    return blurred.round().astype(np.uint8)


def substitute_pixels(picture, how):
    """What replaces the pixels of a picture (S, S, 3): "mean", "black" or "blur", see `Preset`; of the same shape."""
    if how == "blur":
        return blur(picture)
    return np.full_like(picture, {"mean": GREY, "black": 0}[how])


def nearest_cells(grid):
    """The cell whose receptive field is centred nearest each input pixel: (S, S) indices 0..C-1, row by row.

    Args:
        grid: the network's `s2vt.data.geometry.Grid`.
    """
    pixels = np.arange(grid.input_size)
    nearest = np.abs(pixels[:, None] - grid.centres()).argmin(axis=1)  # (S,)
    return nearest[:, None] * grid.side + nearest


class ReplacedPixels:
    """What a captioner reads when the pixels nearest to cells are replaced, (R, N, D), made when it is read by slices.

    Rows that are read in turn pass through the network once, `BATCH` pictures at a time.

    Args:
        pictures: the network's input, (m, S, S, 3) uint8.
        kept: (R, m, C) bool, the cells whose pixels stay.
        substitutes: what replaces pixels in each row, R of (m, S, S, 3) uint8 (the same array may stand for many).
        network: pictures (B, S, S, 3) -> cells (B, C, D).   grid: its `Grid`.
        describe: cells (m, C, D) -> `Descriptors`, whose v is (N, D).
        read: the shape of what is read of a row, (N, D).
    """

    def __init__(self, pictures, kept, substitutes, network, grid, describe, read):
        self.pictures, self.kept, self.substitutes = pictures, np.asarray(kept), substitutes
        self.network, self.describe, self.nearest = network, describe, nearest_cells(grid)
        self.shape, self.together = (len(self.kept), *read), max(1, BATCH // len(pictures))
        self._batch = functools.lru_cache(1)(self._read)

    def __getitem__(self, rows):
        start, stop, _ = rows.indices(len(self.kept))
        first, last = start // self.together, -(-stop // self.together)
        batches = np.concatenate([self._batch(k) for k in range(first, last)])
        return batches[start - first * self.together : stop - first * self.together]

    def _read(self, k):
        """Batch k of rows."""
        rows = slice(k * self.together, (k + 1) * self.together)
        pixels = self.kept[rows][:, :, self.nearest, None]  # (R, m, S, S, 1)
        shown = [np.where(kept, self.pictures, sub) for kept, sub in zip(pixels, self.substitutes[rows], strict=True)]
        cells = self.network(np.concatenate(shown))
        cells = cells.reshape(len(shown), len(self.pictures), *cells.shape[1:])
        return np.stack([np.asarray(self.describe(of_row).v, "float32") for of_row in cells])
