"""How well maps find what a phrase names: pointing game, attention correctness, the right moment; and their tally.

Letters: H, W height and width of the picture, pixels; K boxes of a phrase; m sampled frames of a clip.

Points are (x, y) and boxes (x1, y1, x2, y2) in source pixels, continuous: (0, 0) is the upper left corner of the
upper left pixel, the centre of pixel k is k + 0.5, x2 and y2 are exclusive. A pixel belongs to a box if its centre
lies inside; pixels cut by a box's edge are not shared out by area. Each function scores one phrase; `Tally` gathers
the phrases' values, for pictures and for clips alike.
"""

from dataclasses import dataclass

import numpy as np

ATTENTION_CORRECTNESS = (
    "the map is normalised to sum 1 over the picture's pixels and summed over the pixels whose centre lies in any of "
    "the phrase's boxes (their union)."
)
TEMPORAL_HIT = "a hit: the phrase's object is there in the most salient of the clip's sampled frames."


def pointing_game(tolerance=0.0):
    """The pointing game's protocol in words, to be printed beside its numbers.

    Args:
        tolerance: how far outside a box a point still hits, source pixels.

    Example:
        >>> pointing_game()
        "a hit: the map's maximum lies in any of the phrase's boxes (tolerance 0 px)."
    """
    return f"a hit: the map's maximum lies in any of the phrase's boxes (tolerance {tolerance:g} px)."


@dataclass(frozen=True)
class Phrase:
    """Some words of a caption that name something, and where in the picture that is."""

    words: tuple[int, ...]  # positions in the caption's tokens, from 0
    name: str  # as read: "a red circle"
    categories: tuple[str, ...]  # one or several: "people", "clothing", ...
    boxes: tuple[tuple[float, float, float, float], ...]  # (K, 4), source pixels, x2 and y2 exclusive


# --- scores of one phrase -------------------------------------------------------------------------------------------


def hit(point, boxes, tolerance=0.0):
    """Whether the map's maximum finds the object: the pointing game's one decision.

        hit = min over the phrase's boxes of distance(point, box) <= tolerance

    The distance is Euclidean, to the box's nearest edge, 0 inside. With no tolerance, x2 and y2 are outside.
    TorchRay's 15 px count from pixel centre to pixel centre and up to, not including, 15: about half a pixel less.

    Args:
        point: (x, y), source pixels.
        boxes: (K, 4), source pixels; inside any of them is enough.
        tolerance: source pixels, >= 0.
    Returns:
        bool; False if there is no box.
    Raises:
        ValueError: if the point is not two finite numbers, a box is not (x1 <= x2, y1 <= y2), or tolerance < 0.

    Example:
        >>> hit((9.5, 4.5), [(0, 0, 10, 5)]), hit((10.5, 4.5), [(0, 0, 10, 5)]), hit((10.5, 4.5), [(0, 0, 10, 5)], 1)
        (True, False, True)
    """
    point = np.asarray(point, dtype=np.float64)
    if point.shape != (2,) or not np.isfinite(point).all():
        raise ValueError(f"a point is two finite numbers (x, y), not {point.tolist()}")
    return bool(_inside(point[0], point[1], boxes, tolerance))


def hit_share(points, boxes, tolerance=0.0):
    """Share of a clip's frames with the object in view in which the frame's maximum finds it.

    Args:
        points: (m, 2), each sampled frame's maximum, source pixels.
        boxes: m lists of boxes, each (K, 4), source pixels; an empty list where the object is not in view.
        tolerance: source pixels.
    Returns:
        float in [0, 1].
    Raises:
        ValueError: if the object is in view in no frame, or points and boxes differ in length.

    Example:
        >>> hit_share([(1.5, 1.5), (1.5, 1.5), (1.5, 1.5)], [[(0, 0, 2, 2)], [], [(4, 4, 6, 6)]])
        0.5
    """
    hits = [hit(point, there, tolerance) for point, there in zip(points, boxes, strict=True) if len(there)]
    if not hits:
        raise ValueError("the object is in view in none of the frames: drop this phrase and count it")
    return sum(hits) / len(hits)


def attention_correctness(pixel_map, boxes):
    """How much of the map lies on the object (Liu et al. 2017).

        AC = sum over pixels in the union of the boxes of map(y, x) / sum over all pixels of map(y, x)

    A pixel belongs to a box if its centre is inside, and counts once however many boxes it is in. A map that is zero
    everywhere says nothing and counts as uniform.

    Args:
        pixel_map: (H, W), >= 0, any scale.
        boxes: (K, 4), source pixels.
    Returns:
        float in [0, 1]; 0 if there is no box.
    Raises:
        ValueError: if the map has another rank, or is negative or not finite.

    Example:
        >>> attention_correctness([[1, 2, 3], [0, 2, 2]], [(0, 0, 2, 1), (1, 0, 2, 2)])
        0.5
    """
    pixel_map = np.asarray(pixel_map, dtype=np.float64)
    if pixel_map.ndim != 2 or pixel_map.size == 0:
        raise ValueError(f"a map is (H, W) with at least one pixel, not {pixel_map.shape}")
    if not np.isfinite(pixel_map).all() or pixel_map.min() < 0:
        raise ValueError("a map must be finite and nowhere negative to be normalised to sum 1")
    height, width = pixel_map.shape
    inside = pixels_inside(boxes, width, height)
    peak = pixel_map.max()
    if peak == 0:
        return float(inside.mean())
    pixel_map = pixel_map / peak  # the sum neither overflows nor vanishes, whatever the map's scale
    return float(pixel_map[inside].sum() / pixel_map.sum())


def temporal_hit(saliency, present):
    """Whether the most salient of a clip's sampled frames is one in which the object is there.

        hit = present[argmax over i of saliency_i], the first frame on ties

    Args:
        saliency: (m,), any scale: alpha or e of the phrase.
        present: (m,) bool: the object is in view, or the event happens, in that frame.
    Returns:
        bool.
    Raises:
        ValueError: if the two are not of one length m >= 1 or the saliency is not finite.

    Example:
        >>> temporal_hit([0.1, 0.6, 0.3], [False, True, True])
        True
    """
    saliency, present = np.asarray(saliency, dtype=np.float64), np.asarray(present, dtype=bool)
    if saliency.ndim != 1 or saliency.size == 0 or saliency.shape != present.shape:
        raise ValueError(f"saliency and present must both be (m,) with m >= 1, not {saliency.shape}, {present.shape}")
    if not np.isfinite(saliency).all():
        raise ValueError("the saliency of some frame is not finite")
    return bool(present[saliency.argmax()])


# --- pixels and boxes -----------------------------------------------------------------------------------------------


def pixels_inside(boxes, width, height, tolerance=0.0):
    """Which pixels' centres hit: inside any of the boxes, or no further than the tolerance from one.

    Args:
        boxes: (K, 4), source pixels.   width, height: of the picture, pixels.   tolerance: source pixels.
    Returns:
        bool (H, W): the union of the boxes, as `hit` would judge every pixel's centre.

    Example:
        >>> pixels_inside([(1, 0, 2.5, 1)], width=3, height=2).astype(int)
        array([[0, 1, 0],
               [0, 0, 0]])
    """
    return _inside(np.arange(width) + 0.5, np.arange(height)[:, None] + 0.5, boxes, tolerance)


def clip_boxes(boxes, region):
    """What is left of a phrase's boxes inside a region of the picture: (K', 4), boxes without area left out.

    Table 2's protocol looks at the picture's centre crop only: boxes are cut to it, and a phrase without a box left
    is dropped and counted (see `s2vt.evaluation.localization.Window`).

    Args:
        boxes: (K, 4), source pixels.   region: (x1, y1, x2, y2), source pixels.

    Example:
        >>> clip_boxes([(0, 0, 4, 4), (8, 8, 9, 9)], (2, 1, 7, 7)).tolist()
        [[2.0, 1.0, 4.0, 4.0]]
    """
    x1, y1, x2, y2 = region
    clipped = np.clip(_checked(boxes), (x1, y1, x1, y1), (x2, y2, x2, y2))
    return clipped[(clipped[:, 0] < clipped[:, 2]) & (clipped[:, 1] < clipped[:, 3])]


def _checked(boxes):
    """Boxes as a float (K, 4) array."""
    array = np.asarray(boxes, dtype=np.float64)
    if array.size == 0:
        return np.zeros((0, 4))
    if array.ndim != 2 or array.shape[1] != 4:
        raise ValueError(f"boxes are (K, 4), not {array.shape}")
    if not np.isfinite(array).all() or (array[:, :2] > array[:, 2:]).any():
        raise ValueError(f"a box is finite (x1 <= x2, y1 <= y2), which does not hold for all of {array.tolist()}")
    return array


def _inside(x, y, boxes, tolerance):
    """Whether the points (x, y), of any broadcastable shapes, hit any of the boxes: bool of the common shape."""
    if not tolerance >= 0:
        raise ValueError(f"the tolerance is a distance in pixels, >= 0, not {tolerance}")
    inside = np.zeros(np.broadcast_shapes(np.shape(x), np.shape(y)), dtype=bool)
    for x1, y1, x2, y2 in _checked(boxes):
        inside |= (x1 <= x) & (x < x2) & (y1 <= y) & (y < y2)
        if tolerance > 0:
            dx = np.maximum(np.maximum(x1 - x, x - x2), 0)
            dy = np.maximum(np.maximum(y1 - y, y - y2), 0)
            inside |= dx**2 + dy**2 <= tolerance**2
    return inside
