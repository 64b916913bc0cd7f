"""Scores of one phrase: pointing game, attention correctness, and the right moment.

Letters: H, W height and width of the picture, pixels; K boxes of a phrase; m sampled frames of a clip.

Points are (x, y) and boxes (x1, y1, x2, y2) in source pixels, continuous: (0, 0) is the upper left corner of the
upper left pixel, the centre of pixel k is k + 0.5, x2 and y2 are exclusive. A pixel belongs to a box if its centre
lies inside; pixels on a box's edge are not divided by area.
"""

import numpy as np


def hit(point, boxes, tolerance=0.0):
    """Whether a map's largest pixel lies on the object: the decision of the pointing game.

        hit = min over the phrase's boxes of distance(point, box) <= tolerance

    The distance is Euclidean, to the box's nearest edge, 0 inside. With tolerance 0, x2 and y2 are outside. TorchRay
    measures its 15 px between pixel centres and excludes 15 itself, so its boxes reach about half a pixel less far.

    Args:
        point: (x, y), source pixels.
        boxes: (K, 4), source pixels; a point inside any of them hits.
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
        raise ValueError(f"point must be two finite numbers (x, y); received {point.tolist()}")
    return bool(_inside(point[0], point[1], boxes, tolerance))


def hit_share(points, boxes, tolerance=0.0):
    """Share of hits among a clip's sampled frames that show the object.

    Args:
        points: (m, 2), the largest pixel of each sampled frame's map, source pixels.
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
        raise ValueError("expected at least one frame with the object in view; drop this phrase and count it")
    return sum(hits) / len(hits)


def attention_correctness(pixel_map, boxes):
    """Share of the map's mass that lies on the object (Liu et al. 2017).

        AC = sum over pixels in the union of the boxes of map(y, x) / sum over all pixels of map(y, x)

    A pixel belongs to a box if its centre is inside, and counts once however many boxes it is in. A map that is zero
    everywhere counts as uniform.

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
        raise ValueError(f"pixel_map must be (H, W) with at least one pixel; received {pixel_map.shape}")
    if not np.isfinite(pixel_map).all() or pixel_map.min() < 0:
        raise ValueError("pixel_map must be finite and nowhere negative, so that it can be normalised to sum 1")
    height, width = pixel_map.shape
    inside = pixels_inside(boxes, width, height)
    peak = pixel_map.max()
    if peak == 0:
        return float(inside.mean())
    pixel_map = pixel_map / peak  # so that the sum neither overflows nor underflows
    return float(pixel_map[inside].sum() / pixel_map.sum())


def temporal_hit(saliency, present):
    """Whether the most salient of a clip's sampled frames is a right one.

        hit = present[argmax over i of saliency_i], the first frame on ties

    Args:
        saliency: (m,), any scale.
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
        raise ValueError(
            f"saliency and present must both be (m,) with m >= 1; received {saliency.shape} and {present.shape}"
        )
    if not np.isfinite(saliency).all():
        raise ValueError(f"saliency must be finite; received {saliency.tolist()}")
    return bool(present[saliency.argmax()])


# --- pixels and boxes -----------------------------------------------------------------------------------------------


def pixels_inside(boxes, width, height, tolerance=0.0):
    """The pixels whose centres lie inside any of the boxes, or no further than the tolerance from one.

    Args:
        boxes: (K, 4), source pixels.   width, height: of the picture, pixels.   tolerance: source pixels.
    Returns:
        bool (H, W): `hit` of every pixel's centre.

    Example:
        >>> pixels_inside([(1, 0, 2.5, 1)], width=3, height=2).astype(int)
        array([[0, 1, 0],
               [0, 0, 0]])
    """
    return _inside(np.arange(width) + 0.5, np.arange(height)[:, None] + 0.5, boxes, tolerance)


def clip_boxes(boxes, region):
    """Boxes cut to a region of the picture; boxes outside it are left out.

    Args:
        boxes: (K, 4), source pixels.   region: (x1, y1, x2, y2), source pixels.
    Returns:
        (K', 4), source pixels.

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
        raise ValueError(f"boxes must be (K, 4); received {array.shape}")
    if not np.isfinite(array).all() or (array[:, :2] > array[:, 2:]).any():
        raise ValueError(f"boxes must be finite with x1 <= x2 and y1 <= y2; received {array.tolist()}")
    return array


def _inside(x, y, boxes, tolerance):
    """Whether the points (x, y), of any broadcastable shapes, hit any of the boxes: bool of the common shape."""
    if not tolerance >= 0:
        raise ValueError(f"tolerance must be a distance in pixels, >= 0; received {tolerance}")
    inside = np.zeros(np.broadcast_shapes(np.shape(x), np.shape(y)), dtype=bool)
    for x1, y1, x2, y2 in _checked(boxes):
        inside |= (x1 <= x) & (x < x2) & (y1 <= y) & (y < y2)
        if tolerance > 0:
            dx = np.maximum(np.maximum(x1 - x, x - x2), 0)
            dy = np.maximum(np.maximum(y1 - y, y - y2), 0)
            inside |= dx**2 + dy**2 <= tolerance**2
    return inside
