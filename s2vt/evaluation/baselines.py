"""Baselines: scores of points, maps and frames that are chosen without looking at the medium.

Letters: H, W height and width of the picture, pixels; K boxes of a phrase; m sampled frames of a clip.

Each function scores one phrase and returns {row of the table: value}. "random" is the exact expectation over all
draws, so it has no noise and needs no seed. Points and boxes are in source pixels, as in `pointing`.
"""

import numpy as np

from s2vt.evaluation.pointing import hit, pixels_inside

POINTING_BASELINES = (
    "random: the expected hit rate of a point drawn uniformly from the picture's pixels (the share of pixels that "
    "hit), not one draw; center: the centre of the picture (W/2, H/2)."
)
CORRECTNESS_BASELINES = "uniform: a map with the same value at every pixel, so the share of pixels inside the boxes."
TEMPORAL_BASELINES = (
    "random: the expected hit rate of a sampled frame drawn uniformly (the share of right frames), not one draw; "
    "middle: sampled frame m // 2, counted from 0."
)


def center(width, height):
    """The centre of the picture (W/2, H/2), source pixels.

    Example:
        >>> center(5, 4)
        (2.5, 2.0)
    """
    return width / 2, height / 2


def middle(m):
    """The index of the sampled frame in the middle of a clip: m // 2, counted from 0."""
    return m // 2


def share_inside(boxes, width, height, tolerance=0.0):
    """Share of the picture's pixels that hit: expected hit rate of a random point, correctness of a uniform map.

        share = |pixels in the union of the boxes, or within the tolerance of it| / |pixels|

    Args:
        boxes: (K, 4), source pixels.   width, height: pixels.   tolerance: source pixels.
    Returns:
        float in [0, 1].
    Raises:
        ValueError: if the picture holds no pixel.

    Example:
        >>> share_inside([(0, 0, 2, 2), (1, 1, 3, 3)], width=5, height=4)
        0.35
    """
    inside = pixels_inside(boxes, width, height, tolerance)
    if inside.size == 0:
        raise ValueError(f"expected a picture of at least one pixel; received {width}x{height}")
    return float(inside.mean())


def pointing_rows(boxes, width, height, tolerance=0.0):
    """Pointing game without a map: {"random": expected hit rate, "center": whether the picture's centre hits}.

    Args:
        boxes: (K, 4), source pixels.   width, height: pixels.   tolerance: source pixels.

    Example:
        >>> pointing_rows([(2, 1, 4, 3)], width=5, height=4)
        {'random': 0.2, 'center': True}
    """
    return {
        "random": share_inside(boxes, width, height, tolerance),
        "center": hit(center(width, height), boxes, tolerance),
    }


def clip_pointing_rows(boxes, width, height, tolerance=0.0):
    """Pointing game without a map in a clip: the mean of `pointing_rows` over the frames with the object in view.

    Args:
        boxes: m lists of boxes, each (K, 4), source pixels; an empty list where the object is not in view.
        width, height: pixels.   tolerance: source pixels.
    Raises:
        ValueError: if the object is in view in no frame.

    Example:
        >>> clip_pointing_rows([[(2, 1, 4, 3)], [], [(0, 0, 2, 2)]], width=5, height=4)
        {'random': 0.2, 'center': 0.5}
    """
    frames = [pointing_rows(there, width, height, tolerance) for there in boxes if len(there)]
    if not frames:
        raise ValueError("expected at least one frame with the object in view; drop this phrase and count it")
    return {row: sum(frame[row] for frame in frames) / len(frames) for row in frames[0]}


def correctness_rows(boxes, width, height):
    """Attention correctness of a uniform map: {"uniform": share of pixels inside}.

    Args:
        boxes: (K, 4), source pixels.   width, height: pixels.

    Example:
        >>> correctness_rows([(2, 1, 4, 3)], width=5, height=4)
        {'uniform': 0.2}
    """
    return {"uniform": share_inside(boxes, width, height)}


def temporal_rows(present):
    """The right moment without a map: {"random": share of right frames, "middle": whether the middle frame is right}.

    Args:
        present: (m,) bool: the object is in view, or the event happens, in that sampled frame.
    Raises:
        ValueError: if there is no frame.

    Example:
        >>> temporal_rows([False, False, True, True])
        {'random': 0.5, 'middle': True}
    """
    present = np.asarray(present, dtype=bool)
    if present.ndim != 1 or present.size == 0:
        raise ValueError(f"present must be (m,) with m >= 1; received {present.shape}")
    return {"random": float(present.mean()), "middle": bool(present[middle(present.size)])}
