"""What a map must beat: scores of points, maps and frames chosen without looking, on the same phrases as ours.

Letters: H, W height and width of the picture, pixels; m sampled frames of a clip.

Each function returns rows for `Tally.add`, to be joined with the row of the map under test:

    tally.add({"information loss": hit(point, phrase.boxes)} | pointing_rows(phrase.boxes, width, height), ...)

"random" is never one draw but the exact expectation over all draws, so it has no noise and needs no seed. Points and
boxes are in source pixels, as in `pointing`.
"""

import numpy as np

from s2vt.evaluation.pointing import hit, pixels_inside

POINTING_BASELINES = (
    "random: the exact expected hit rate of a point drawn uniformly from the picture's pixels (the share of pixels "
    "that hit), not one draw; center: the picture's middle (W/2, H/2)."
)
CORRECTNESS_BASELINES = "uniform: the same value at every pixel, so the share of pixels inside the boxes."
TEMPORAL_BASELINES = (
    "random: the exact expected hit rate of a sampled frame drawn uniformly (the share of frames with the object), "
    "not one draw; middle: sampled frame m // 2, counted from 0."
)


def center(width, height):
    """The picture's middle (W/2, H/2), source pixels.

    Example:
        >>> center(5, 4)
        (2.5, 2.0)
    """
    return width / 2, height / 2


def middle(m):
    """The sampled frame in the middle of a clip: m // 2, counted from 0."""
    return m // 2


def share_inside(boxes, width, height, tolerance=0.0):
    """Share of the picture's pixels that hit: the expected hit rate of a random point, and a uniform map's share.

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
        raise ValueError(f"there is no pixel in a picture of {width}x{height}")
    return float(inside.mean())


def pointing_rows(boxes, width, height, tolerance=0.0):
    """Pointing game without a map: {"random": expected hit rate, "center": whether the picture's middle hits}.

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
    """Pointing game without a map in a clip: `pointing_rows` averaged over the frames with the object in view.

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
        raise ValueError("the object is in view in none of the frames: drop this phrase and count it")
    return {row: sum(frame[row] for frame in frames) / len(frames) for row in frames[0]}


def correctness_rows(boxes, width, height):
    """Attention correctness of the map that is the same everywhere: {"uniform": share of pixels inside}.

    Args:
        boxes: (K, 4), source pixels.   width, height: pixels.

    Example:
        >>> correctness_rows([(2, 1, 4, 3)], width=5, height=4)
        {'uniform': 0.2}
    """
    return {"uniform": share_inside(boxes, width, height)}


def temporal_rows(present):
    """The right moment without a map: {"random": share of frames with the object, "middle": is it in the middle one}.

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
        raise ValueError(f"present must be (m,) with m >= 1, not {present.shape}")
    return {"random": float(present.mean()), "middle": bool(present[middle(present.size)])}
