"""How well maps find what a phrase names: pointing game, attention correctness, the right moment; and their tally.

Letters: H, W height and width of the picture, pixels; K boxes of a phrase; m sampled frames of a clip.

Points are (x, y) and boxes (x1, y1, x2, y2) in source pixels, continuous: (0, 0) is the upper left corner of the
upper left pixel, the centre of pixel k is k + 0.5, x2 and y2 are exclusive. A pixel belongs to a box if its centre
lies inside; pixels cut by a box's edge are not shared out by area. Each function scores one phrase; `Tally` gathers
the phrases' values, for pictures and for clips alike.
"""

import math
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


# --- many phrases ---------------------------------------------------------------------------------------------------

AVERAGES = {
    "phrase": "the average is over phrases, each counted once",
    "class": "the average is the unweighted mean of the categories' averages",
}


class Tally:
    """Average scores of a map and of its baselines on the same phrases, per category and over all of them.

    One tally holds one metric. Every phrase brings a value for every row, so that no row is averaged over other
    phrases than the rest. Only sums are kept: memory does not grow with the number of phrases.

    Args:
        metric: the table's upper left corner: "pointing game".
        protocol: how a value comes about, in words; printed under the table.
        average: "phrase" (over phrases, each counted once: the paper) or "class" (unweighted mean over categories:
            TorchRay). A phrase of several categories counts in each of them; one of none only in "phrase".
        categories: columns to put first, in this order, if any phrase has them; others follow alphabetically.
    Raises:
        ValueError: if average is neither.

    Example:
        >>> tally = Tally("pointing game", pointing_game(), categories=("people", "other"))
        >>> tally.add({"information loss": True, "random": 0.25}, ("other",))
        >>> tally.add({"information loss": False, "random": 0.5}, ("people", "other"))
        >>> tally.drop({"no box": 3})
        >>> print(tally.table())
        | pointing game | people | other | average |
        |---|---|---|---|
        | information loss | 0.000 | 0.500 | 0.500 |
        | random | 0.500 | 0.375 | 0.375 |
        | phrases | 1 | 2 | 2 |
        <BLANKLINE>
        Protocol: a hit: the map's maximum lies in any of the phrase's boxes (tolerance 0 px).
        Scored 2 phrases; the average is over phrases, each counted once. Dropped 3: no box 3.
    """

    def __init__(self, metric, protocol, average="phrase", categories=()):
        if average not in AVERAGES:
            raise ValueError(f"average must be one of {', '.join(AVERAGES)}, not {average!r}")
        self.metric, self.protocol, self.average = metric, protocol, average
        self.scored = 0  # phrases
        self.dropped = {}  # reason: phrases
        self.noted = {}  # what holds of some of the scored: phrases
        self._order = tuple(categories)
        self._counts = {}  # category: phrases
        self._sums = {}  # row: sum over phrases
        self._category_sums = {}  # row: {category: sum over its phrases}

    def add(self, values, categories=()):
        """Take in one phrase.

        Args:
            values: {row: bool or number}, the same rows for every phrase.
            categories: of the phrase; naming one twice counts once.
        Raises:
            ValueError: if the rows differ from the earlier phrases' or a value is not finite.
        """
        values = {row: float(value) for row, value in values.items()}
        if not values or (self.scored and values.keys() != self._sums.keys()):
            raise ValueError(f"every phrase needs a value for each of {list(self._sums)}, not for {list(values)}")
        for row, value in values.items():
            if not math.isfinite(value):
                raise ValueError(f"the value of {row!r} is {value}: score it or drop the phrase")
        categories = tuple(dict.fromkeys(categories))
        self.scored += 1
        for category in categories:
            self._counts[category] = self._counts.get(category, 0) + 1
        for row, value in values.items():
            self._sums[row] = self._sums.get(row, 0.0) + value
            sums = self._category_sums.setdefault(row, {})
            for category in categories:
                sums[category] = sums.get(category, 0.0) + value

    def drop(self, reasons):
        """Count phrases that are not scored: {reason: number of phrases}."""
        for reason, count in reasons.items():
            self.dropped[reason] = self.dropped.get(reason, 0) + count

    def note(self, facts):
        """Count what holds of some of the scored phrases: {fact: number of phrases}."""
        for fact, count in facts.items():
            self.noted[fact] = self.noted.get(fact, 0) + count

    @property
    def categories(self):
        """Categories of the scored phrases, in the columns' order."""
        first = [category for category in self._order if category in self._counts]
        return (*first, *sorted(self._counts.keys() - set(first)))

    def averages(self):
        """{row: (average over all, {category: average})}; None where nothing was scored."""
        averages = {}
        for row, total in self._sums.items():
            sums = self._category_sums[row]
            by_category = {category: sums[category] / self._counts[category] for category in self.categories}
            if self.average == "phrase":
                overall = total / self.scored
            else:
                overall = sum(by_category.values()) / len(by_category) if by_category else None
            averages[row] = (overall, by_category)
        return averages

    def to_json(self):
        """All of it as plain JSON values; `from_json` goes on where this stopped."""
        return {
            "metric": self.metric,
            "protocol": self.protocol,
            "average": self.average,
            "columns": list(self._order),
            "scored": self.scored,
            "dropped": dict(self.dropped),
            "noted": dict(self.noted),
            "categories": {category: self._counts[category] for category in self.categories},
            "rows": {
                row: {
                    "average": overall,
                    "categories": by_category,
                    "sum": self._sums[row],
                    "category_sums": {category: self._category_sums[row][category] for category in by_category},
                }
                for row, (overall, by_category) in self.averages().items()
            },
        }

    @classmethod
    def from_json(cls, record):
        """The tally that `to_json` wrote, to add further phrases to."""
        tally = cls(record["metric"], record["protocol"], record["average"], record["columns"])
        tally.scored, tally.dropped, tally.noted = record["scored"], dict(record["dropped"]), dict(record["noted"])
        tally._counts = dict(record["categories"])
        tally._sums = {row: values["sum"] for row, values in record["rows"].items()}
        tally._category_sums = {row: dict(values["category_sums"]) for row, values in record["rows"].items()}
        return tally

    def table(self):
        """The averages as a markdown table, with the protocol and the numbers scored and dropped under it."""
        lines = [_row(self.metric, *self.categories, "average"), "|---" * (len(self.categories) + 2) + "|"]
        for row, (overall, by_category) in self.averages().items():
            lines.append(_row(row, *map(_number, by_category.values()), _number(overall)))
        lines.append(_row("phrases", *(self._counts[category] for category in self.categories), self.scored))
        dropped, noted = (
            ", ".join(f"{reason} {count}" for reason, count in sorted(counts.items()))
            for counts in (self.dropped, self.noted)
        )
        lines += [
            "",
            f"Protocol: {self.protocol}",
            f"Scored {self.scored} phrases; {AVERAGES[self.average]}. "
            + f"Dropped {sum(self.dropped.values())}{': ' if dropped else ''}{dropped}."
            + (f" Of the scored: {noted}." if noted else ""),
        ]
        return "\n".join(lines)


def _row(*cells):
    """A row of a markdown table."""
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def _number(value):
    """An average in a table's cell."""
    return "-" if value is None else f"{value:.3f}"
