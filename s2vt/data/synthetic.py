"""MovingShapes and StillShapes: rendered media whose captions, objects, boxes and times are known exactly.

The paper could measure *where* a captioner looks, on photos with boxes. These sets also know *when*: every
object carries its box in every frame and the caption tokens that name it. They are written in the very layouts
of MSR-VTT and Flickr30k (+ Entities), so that the readers of the real sets read them.

    python -m s2vt.data.synthetic --dataset MovingShapes --split test --limit 20

Every medium is a function of (seed, split, index) alone: a subset is the same as the same part of the whole set.

Letters: H, W height and width in pixels; F frames; r a shape's radius in pixels. Points are (x, y) in pixels with
(0, 0) the upper left corner of the upper left pixel; boxes (x1, y1, x2, y2), x2 and y2 exclusive.
"""

import argparse
import concurrent.futures
import dataclasses
import functools
import math
import multiprocessing
import os
import sys
from pathlib import Path

import numpy as np
from scipy import ndimage

COLOURS = {
    "red": (0.86, 0.13, 0.12),
    "green": (0.10, 0.62, 0.20),
    "blue": (0.12, 0.28, 0.88),
    "yellow": (0.97, 0.82, 0.10),
    "purple": (0.58, 0.18, 0.72),
    "white": (0.95, 0.95, 0.95),
}
BACKGROUNDS = ("grass", "sand", "water", "wood", "bricks", "stones")
EVENTS = ("still", "left", "right", "up", "down", "spin", "grow", "shrink", "appear", "disappear")


# --- shapes ---------------------------------------------------------------------------------------------------------
# Each takes coordinates in units of the radius (x right, y down) and returns the signed distance to the outline in
# the same unit, negative inside.


def _circle(x, y):
    return np.hypot(x, y) - 0.88


def _ring(x, y):
    return np.abs(np.hypot(x, y) - 0.68) - 0.26


def _box(x, y, half_width, half_height):
    dx, dy = np.abs(x) - half_width, np.abs(y) - half_height
    return np.hypot(np.maximum(dx, 0), np.maximum(dy, 0)) + np.minimum(np.maximum(dx, dy), 0)


def _square(x, y):
    return _box(x, y, 0.76, 0.76)


def _cross(x, y):
    return np.minimum(_box(x, y, 0.95, 0.31), _box(x, y, 0.31, 0.95))


def _triangle(x, y):
    slopes = np.stack([np.sin(a) * x - np.cos(a) * (y - 0.15) for a in np.deg2rad([180, 300, 60])])
    return slopes.max(axis=0) - 0.52


def _star(x, y):
    angle = np.arctan2(x, -y)
    sector = 2 * np.pi / 5
    angle = np.abs((angle + sector / 2) % sector - sector / 2)
    radius = np.hypot(x, y)
    px, py = radius * np.sin(angle), radius * np.cos(angle)
    # The edge runs from the tip (0, 1) to the notch between two tips.
    notch = 0.46 * np.array([math.sin(sector / 2), math.cos(sector / 2)])
    edge = notch - np.array([0.0, 1.0])
    normal = np.array([-edge[1], edge[0]]) / np.hypot(*edge)
    return px * normal[0] + (py - 1.0) * normal[1]


def _heart(x, y):
    # A square standing on its corner, and a disc on each of its upper edges.
    side, x, y = 1.06, np.abs(x), y - 0.06
    across, along = (x - y) / math.sqrt(2), (x + y) / math.sqrt(2)
    return np.minimum(_box(across, along, side / 2, side / 2), np.hypot(across - side / 2, along) - side / 2)


def _moon(x, y):
    return np.maximum(np.hypot(x, y) - 0.90, 0.74 - np.hypot(x - 0.46, y))


SHAPES = {
    "circle": _circle, "square": _square, "triangle": _triangle, "star": _star,
    "cross": _cross, "ring": _ring, "heart": _heart, "moon": _moon,
}  # fmt: skip


# --- backgrounds ----------------------------------------------------------------------------------------------------


def _noise(rng, height, width, scales):
    """Smooth noise in [0, 1]: random grids of the given cell sizes, enlarged and summed."""
    total = np.zeros((height, width), np.float32)
    for scale in scales:
        rows, columns = (
            max(2, round(n / s) + 2) for n, s in zip((height, width), np.broadcast_to(scale, 2), strict=True)
        )
        grid = rng.random((rows, columns), np.float32)
        zoom = ndimage.zoom(grid, (height / rows + 0.5, width / columns + 0.5), order=1)
        total += zoom[:height, :width]
    total -= total.min()
    return total / max(float(total.max()), 1e-6)


def _background(kind, rng, height, width):
    """A textured surface, (H, W, 3) in [0, 1], muted so that the shapes' colours stand out."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    unit = height / 240
    fine = _noise(rng, height, width, [2 * unit, 5 * unit])
    broad = _noise(rng, height, width, [30 * unit, 70 * unit])
    if kind == "grass":
        value = 0.55 * _noise(rng, height, width, [(9 * unit, 2.2 * unit), (5 * unit, 2 * unit)]) + 0.45 * broad
        low, high = (0.20, 0.29, 0.13), (0.46, 0.53, 0.28)
    elif kind == "sand":
        ripple = 0.5 + 0.5 * np.sin((y + 14 * unit * broad + 0.2 * x) / (4.5 * unit))
        value = 0.45 * fine + 0.3 * ripple + 0.25 * broad
        low, high = (0.60, 0.52, 0.38), (0.82, 0.74, 0.58)
    elif kind == "water":
        waves = sum(np.sin((y * c + x * s + 25 * unit * broad) / (w * unit)) for c, s, w in
                    ((1.0, 0.15, 5.0), (0.9, -0.35, 8.0), (0.7, 0.5, 3.4)))  # fmt: skip
        value = 0.5 + 0.13 * waves + 0.2 * (broad - 0.5)
        low, high = (0.16, 0.32, 0.40), (0.50, 0.66, 0.70)
    elif kind == "wood":
        plank = np.floor(y / (30 * unit))
        grain = _noise(rng, height, width, [(2.5 * unit, 60 * unit), (5 * unit, 90 * unit)])
        shade = rng.random(int(plank.max()) + 1, np.float32)[plank.astype(int)]
        value = 0.5 * grain + 0.3 * shade + 0.2 * broad - 0.5 * (y % (30 * unit) < 1.5 * unit)
        low, high = (0.34, 0.23, 0.15), (0.62, 0.47, 0.33)
    elif kind == "bricks":
        row = np.floor(y / (20 * unit))
        column = np.floor((x + 20 * unit * (row % 2)) / (40 * unit))
        joint = (y % (20 * unit) < 2.5 * unit) | ((x + 20 * unit * (row % 2)) % (40 * unit) < 2.5 * unit)
        shade = rng.random((int(row.max()) + 1, int(column.max()) + 1), np.float32)[row.astype(int), column.astype(int)]
        value = np.where(joint, 1.15, 0.5 * shade + 0.35 * fine + 0.1 * broad)
        low, high = (0.38, 0.25, 0.21), (0.66, 0.54, 0.49)
    else:  # stones: cells around random points
        count = max(8, int(height * width / (34 * unit) ** 2))
        points = rng.random((count, 2)) * (height, width)
        marks = np.ones((height, width), bool)
        marks[tuple(points.astype(int).T)] = False
        distance, nearest = ndimage.distance_transform_edt(marks, return_indices=True)
        label = nearest[0].astype(np.int64) * width + nearest[1]
        joint = ndimage.uniform_filter((label != np.roll(label, 1, 0)) | (label != np.roll(label, 1, 1)), 3, float)
        value = (label * 2654435761 % 997) / 997 * 0.5 + 0.3 * fine + 0.2 - 0.6 * joint - 0.004 * distance / unit
        low, high = (0.28, 0.29, 0.31), (0.64, 0.64, 0.65)
    low, high = np.float32(low), np.float32(high)
    return low + np.clip(value, 0, 1.15)[..., None].astype(np.float32) * (high - low)


# --- scenes ---------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Shape:
    """One object and what it does. Lengths and speeds are in units of the frame's height; time runs from 0 to 1."""

    colour: str
    shape: str
    event: str
    x: float
    y: float
    radius: float
    angle: float
    amount: float  # of the event: distance, turns, or share of the radius
    moment: float  # of appearing or disappearing

    def at(self, time):
        """Centre (x, y), radius, angle in radians and opacity at one time."""
        x, y, radius, angle, opacity = self.x, self.y, self.radius, self.angle, 1.0
        progress = np.clip((time - 0.05) / 0.9, 0, 1)
        progress = progress * progress * (3 - 2 * progress) * 0.5 + progress * 0.5
        if self.event in ("left", "right"):
            x += self.amount * (progress - 0.5) * (1 if self.event == "right" else -1)
        elif self.event in ("up", "down"):
            y += self.amount * (progress - 0.5) * (1 if self.event == "down" else -1)
        elif self.event == "spin":
            angle += 2 * math.pi * self.amount * time
        elif self.event == "grow":
            radius *= 1 - self.amount * (1 - progress)
        elif self.event == "shrink":
            radius *= 1 - self.amount * progress
        elif self.event in ("appear", "disappear"):
            opacity = float(np.clip((time - self.moment) / FADE + 0.5, 0, 1))
            opacity = opacity if self.event == "appear" else 1 - opacity
        return x, y, radius, angle, opacity


@dataclasses.dataclass(frozen=True)
class Scene:
    """A background and the shapes on it, the first one farthest from the viewer."""

    background: str
    shapes: tuple[Shape, ...]
    texture_seed: int
    light: tuple[float, float]  # direction the light comes from, (x, y), unit length
    brightness: float


FADE = 0.12  # share of the clip that appearing or disappearing takes
SEEN = 0.5  # an object counts as visible where at least this share of it is neither hidden nor faded


def sample_scene(rng, num_shapes, moving, aspect=4 / 3):
    """Draws a scene. Objects differ in colour or shape, and keep apart where they start; moving ones may cross.

    Args:
        rng: numpy Generator.
        num_shapes: objects in the scene.
        moving: draw events; otherwise all objects are still.
        aspect: width over height.
    """
    shapes, names = [], set()
    events = list(EVENTS)
    weights = np.array([1.2, 1, 1, 1, 1, 1.2, 1, 1, 1.9, 1.9])
    while len(shapes) < num_shapes:
        colour, shape = rng.choice(list(COLOURS)), rng.choice(list(SHAPES))
        # Colours are mostly distinct, so that a colour alone often tells which object is meant.
        if (colour, shape) in names or (any(colour == s.colour for s in shapes) and rng.random() < 0.7):
            continue
        event = str(rng.choice(events, p=weights / weights.sum())) if moving else "still"
        radius = float(rng.uniform(0.13, 0.21))
        amount = {"spin": rng.uniform(0.7, 1.6) * rng.choice([-1, 1]), "grow": 0.5, "shrink": 0.5}.get(event, 0.0)
        half_x = half_y = 0.0
        if event in ("left", "right"):
            amount = rng.uniform(0.45, 0.75)
            half_x = amount / 2
        elif event in ("up", "down"):
            amount = rng.uniform(0.30, 0.45)
            half_y = amount / 2
        if event in ("grow", "shrink"):
            radius = float(rng.uniform(0.17, 0.24))
        for _ in range(60):
            x = rng.uniform(0.16 * aspect + half_x, 0.84 * aspect - half_x)
            y = rng.uniform(0.22 + half_y, 0.78 - half_y)
            if all(math.hypot(x - s.x, y - s.y) > 0.95 * (radius + s.radius) for s in shapes):
                break
        else:
            return sample_scene(rng, num_shapes, moving, aspect)
        names.add((colour, shape))
        shapes.append(
            Shape(
                str(colour),
                str(shape),
                event,
                float(x),
                float(y),
                radius,
                float(rng.uniform(-0.35, 0.35)),
                float(amount),
                float(rng.uniform(0.35, 0.65)),
            )  # fmt: skip
        )
    direction = rng.uniform(-2.6, -0.6)
    return Scene(
        str(rng.choice(BACKGROUNDS)), tuple(shapes), int(rng.integers(2**31)),
        (math.cos(direction), math.sin(direction)), float(rng.uniform(0.82, 1.12)),
    )  # fmt: skip


class Renderer:
    """Draws frames of one scene: textured ground, cast shadows, bevelled anti-aliased shapes, one light."""

    def __init__(self, scene, height, width):
        self.scene, self.height, self.width = scene, height, width
        ground = _background(scene.background, np.random.default_rng(scene.texture_seed), height, width)
        y, x = np.mgrid[0:height, 0:width].astype(np.float32)
        across = (x / width - 0.5) * scene.light[0] + (y / height - 0.5) * scene.light[1]
        vignette = 1 - 0.30 * ((x / width - 0.5) ** 2 + (y / height - 0.5) ** 2)
        self.ground = ground * ((1 + 0.30 * across) * vignette * scene.brightness)[..., None].astype(np.float32)

    def frame(self, time):
        """One frame, its objects' boxes and how much of each is seen.

        Args:
            time: 0 to 1.
        Returns:
            picture (H, W, 3) uint8; boxes: a list of (x1, y1, x2, y2) or None where the object is absent;
            seen: a list of shares in [0, 1], opacity times the unhidden share of the object's area.
        """
        picture = self.ground.copy()
        boxes, seen, masks = [], [], []
        for shape in self.scene.shapes:
            x, y, radius, angle, opacity = shape.at(time)
            if opacity <= 0:
                boxes.append(None), seen.append(0.0), masks.append(None)
                continue
            box, cover, window = self._paint(picture, shape, x, y, radius, angle, opacity)
            boxes.append(box), seen.append(opacity), masks.append((window, cover))
            for other in range(len(masks) - 1):  # what this object hides of those below it
                if masks[other] is not None and seen[other] > 0:
                    seen[other] *= 1 - opacity * _overlap(masks[other], masks[-1])
        return (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8), boxes, seen

    def _paint(self, picture, shape, x, y, radius, angle, opacity):
        """Draws one shape into the picture; its box, coverage and window."""
        h = self.height
        cx, cy, r = x * h, y * h, radius * h
        reach = r * 1.25 + 0.09 * h
        top, bottom = max(0, int(cy - reach)), min(self.height, int(cy + reach) + 1)
        left, right = max(0, int(cx - reach)), min(self.width, int(cx + reach) + 1)
        window = (slice(top, bottom), slice(left, right))
        py, px = np.mgrid[top:bottom, left:right].astype(np.float32) + 0.5
        cosine, sine = math.cos(angle), math.sin(angle)

        def distance(dx, dy):  # in pixels
            u, v = (px - cx - dx) / r, (py - cy - dy) / r
            return (SHAPES[shape.shape](cosine * u + sine * v, -sine * u + cosine * v) * r).astype(np.float32)

        light_x, light_y = self.scene.light
        d = distance(0, 0)
        cover = np.clip(0.5 - d, 0, 1)
        shadow = np.clip(0.5 - distance(-0.035 * h * light_x, -0.035 * h * light_y) / (0.03 * h), 0, 1)
        slope_y, slope_x = np.gradient(d)
        rim = np.exp(np.minimum(d, 0) / (0.16 * r))  # 1 at the outline, fading inwards: a bevel
        facing = np.clip(slope_x * light_x + slope_y * light_y, -1, 1)
        shade = 0.92 + 0.34 * facing * rim + 0.10 * ((px - cx) * light_x + (py - cy) * light_y) / r
        colour = np.float32(COLOURS[shape.colour]) * (shade * self.scene.brightness)[..., None]
        colour = colour + 0.22 * (np.clip(facing, 0, 1) * rim)[..., None] ** 3

        area = picture[window]
        area *= 1 - 0.42 * opacity * (shadow * (1 - cover))[..., None]
        area += (opacity * cover)[..., None] * (colour - area)
        rows, columns = np.nonzero((cover > 0.5).any(axis=1))[0], np.nonzero((cover > 0.5).any(axis=0))[0]
        if not len(rows):
            return None, cover, window
        box = (left + int(columns[0]), top + int(rows[0]), left + int(columns[-1]) + 1, top + int(rows[-1]) + 1)
        return box, cover, window


def _overlap(below, above):
    """Share of the lower object's area that the upper one covers."""
    (rows_a, columns_a), cover_a = below
    (rows_b, columns_b), cover_b = above
    top, bottom = max(rows_a.start, rows_b.start), min(rows_a.stop, rows_b.stop)
    left, right = max(columns_a.start, columns_b.start), min(columns_a.stop, columns_b.stop)
    if top >= bottom or left >= right:
        return 0.0
    a = cover_a[top - rows_a.start : bottom - rows_a.start, left - columns_a.start : right - columns_a.start]
    b = cover_b[top - rows_b.start : bottom - rows_b.start, left - columns_b.start : right - columns_b.start]
    return float((a * b).sum() / max(cover_a.sum(), 1e-6))


# --- captions -------------------------------------------------------------------------------------------------------
# A caption is built from pieces: a word; ("object", k) naming object k; ("event", k) saying what it does;
# ("ground",) naming the background. The builder notes which tokens came from which piece.

SYNONYMS = {"circle": ("circle", "circle", "circle", "disc"), "ring": ("ring", "ring", "ring", "hoop"),
            "square": ("square", "square", "square", "box"), "moon": ("moon", "moon", "moon", "crescent")}  # fmt: skip
VERBS = {
    "still": ("stays still", "does not move", "is not moving", "stands still"),
    "left": ("moves to the left", "is moving left", "slides to the left", "slides left"),
    "right": ("moves to the right", "is moving right", "slides to the right", "slides right"),
    "up": ("moves up", "is moving up", "rises", "slides up"),
    "down": ("moves down", "is moving down", "sinks", "slides down"),
    "spin": ("spins", "is spinning", "rotates", "turns around"),
    "grow": ("grows", "is growing", "gets bigger", "becomes larger"),
    "shrink": ("shrinks", "is shrinking", "gets smaller", "becomes smaller"),
    "appear": ("appears", "shows up", "comes into view", "fades in"),
    "disappear": ("disappears", "vanishes", "goes out of view", "fades away"),
}
GROUNDS = {
    "grass": ("the grass", "grass", "a green lawn"), "sand": ("the sand", "sand", "a beach"),
    "water": ("the water", "water", "a pond"), "wood": ("the wood", "wood", "a wooden floor"),
    "bricks": ("the bricks", "bricks", "a brick wall"), "stones": ("the stones", "stones", "a stone floor"),
}  # fmt: skip


def _relation(a, b):
    """How object a lies to object b over the whole clip ("above", ...), or None if that changes or is unclear."""
    times = np.linspace(0, 1, 9)
    dx, dy = np.transpose([np.subtract(a.at(t)[:2], b.at(t)[:2]) for t in times])
    for word, gap, across in (("to the left of", -dx, dy), ("to the right of", dx, dy), ("above", -dy, dx),
                              ("below", dy, dx)):  # fmt: skip
        if (gap > 0.22).all() and (gap > np.abs(across)).all():
            return word
    return None


def caption(scene, rng, moving=True):
    """One sentence about a scene, and what its tokens name.

    Returns:
        tokens: lower-case words; phrases: [{"tokens": [first, past the last], "kind": "object" | "event" | "ground",
        "object": index of the object in the scene, or None}].
    """
    pick = lambda options: str(options[int(rng.integers(len(options)))])  # noqa: E731
    order = [int(k) for k in rng.permutation(len(scene.shapes))]
    first, second = order[0], (order[1] if len(order) > 1 else None)
    ground = ["on", ("ground",)]
    events = [("object", first), ("event", first)]
    if second is None:
        sentences = [["there", "is", ("object", first), *ground], [("object", first), *ground]]
        if moving:
            sentences += 2 * [events, [*events, *ground], ["there", "is", ("object", first), "that", ("event", first)]]
            sentences += [[*ground, *events]]
        else:
            sentences += [[("object", first), "lies", *ground], ["we", "see", ("object", first), *ground]]
    else:
        relation = _relation(scene.shapes[first], scene.shapes[second])
        pair = [("object", first), "and", ("object", second)]
        sentences = [[*pair, *ground], ["there", "are", *pair]]
        if relation:
            related = [*relation.split(), ("object", second)]
            sentences += 2 * [[("object", first), "is", *related], [("object", first), *related, *ground]]
        if moving:
            others = [("object", second), ("event", second)]
            sentences += 2 * [[*events, "and", *others], [*events, "while", *others], [*events, *ground]]
            sentences += [events, ["there", "is", ("object", first), "that", ("event", first)]]
            if relation:
                sentences += [[("object", first), *related, ("event", first)]]
        else:
            sentences += [[("object", first), "next", "to", ("object", second)], [("object", first), *ground]]
    pieces = sentences[int(rng.integers(len(sentences)))]

    tokens, phrases = [], []
    for piece in pieces:
        if isinstance(piece, str):
            tokens.append(piece)
            continue
        kind, k = piece[0], (piece[1] if len(piece) > 1 else None)
        if kind == "object":
            shape = scene.shapes[k]
            noun = pick(SYNONYMS.get(shape.shape, (shape.shape,)))
            size = "big" if shape.radius > 0.19 else "small" if shape.radius < 0.145 else None
            size = size if size and shape.event not in ("grow", "shrink") and rng.random() < 0.35 else None
            colour_alone = sum(s.colour == shape.colour for s in scene.shapes) == 1 and rng.random() < 0.06
            words = ["a", *([size] if size else []), shape.colour, "shape" if colour_alone else noun]
        elif kind == "event":
            words = pick(VERBS[scene.shapes[k].event]).split()
        else:
            words = pick(GROUNDS[scene.background]).split()
        phrases.append({"tokens": [len(tokens), len(tokens) + len(words)], "kind": kind, "object": k})
        tokens += words
    return tokens, phrases


def captions(scene, rng, count, moving=True):
    """`count` sentences, as different from one another as the scene allows."""
    found, tries = {}, 0
    while len(found) < count and tries < 20 * count:
        tokens, phrases = caption(scene, rng, moving)
        found.setdefault(" ".join(tokens), phrases)
        tries += 1
    return list(found.items())


# --- MovingShapes: clips in MSR-VTT's layout ------------------------------------------------------------------------

MOVING_SPLITS = {"train": 1000, "validate": 40, "test": 60}
STILL_SPLITS = {"train": 2400, "val": 100, "test": 300}
NUM_CLIP_FRAMES, CLIP_RATE = 75, 25
CLIP_SIZE = (320, 240)  # width, height
PICTURE_SIZE = (400, 300)


def _scene(seed, split, index, moving):
    """The scene and the random numbers left for its captions."""
    rng = np.random.default_rng([seed, sorted(MOVING_SPLITS | STILL_SPLITS).index(split), index, int(moving)])
    num_shapes = int(rng.choice([1, 2, 3], p=[0.3, 0.5, 0.2] if moving else [0.15, 0.45, 0.4]))
    return sample_scene(rng, num_shapes, moving), rng


def _identifiers(sizes, split):
    """Ids of a split's media: consecutive numbers over the splits, as in MSR-VTT."""
    start = sum(list(sizes.values())[: list(sizes).index(split)])
    return range(start, start + sizes[split])


def _render_clip(folder, seed, split, index, name):
    """Writes one clip and its truth."""
    from s2vt.data.files import write_json
    from s2vt.data.media import VideoWriter

    scene, rng = _scene(seed, split, index, moving=True)
    width, height = CLIP_SIZE
    renderer = Renderer(scene, height, width)
    tracks = [{"colour": s.colour, "shape": s.shape, "event": s.event, "boxes": [], "seen": []} for s in scene.shapes]
    path = folder / ("TestVideo" if split == "test" else "TrainValVideo") / f"{name}.mp4"
    with VideoWriter(path, width, height, CLIP_RATE, crf=20, threads=1) as video:
        for f in range(NUM_CLIP_FRAMES):
            picture, boxes, seen = renderer.frame(f / (NUM_CLIP_FRAMES - 1))
            video.write(picture)
            for track, box, share in zip(tracks, boxes, seen, strict=True):
                track["boxes"].append(box)
                track["seen"].append(round(share, 3))
    fade = FADE / 2 * (NUM_CLIP_FRAMES - 1)
    for track, shape in zip(tracks, scene.shapes, strict=True):
        moment = shape.moment * (NUM_CLIP_FRAMES - 1)
        happens = [0, NUM_CLIP_FRAMES - 1]  # first and last frame of the event
        if shape.event in ("appear", "disappear"):
            happens = [math.ceil(moment - fade), math.floor(moment + fade)]
        track["happens"] = happens
    write_json(
        folder / "truth" / f"{name}.json",
        {
            "width": width, "height": height, "num_frames": NUM_CLIP_FRAMES, "frame_rate": CLIP_RATE,
            "background": scene.background, "objects": tracks,
            "captions": [{"caption": text, "phrases": phrases} for text, phrases in captions(scene, rng, 15)],
        },
    )  # fmt: skip


def write_moving_shapes(folder, sizes=None, split=None, limit=None, seed=1, processes=None):
    """Writes MovingShapes into `folder` in MSR-VTT's layout, with `truth/<id>.json` beside it.

    The two JSON files always list the whole set. A clip that exists is left alone.

    Args:
        sizes: {split: number of clips}; MOVING_SPLITS if None.
        split, limit: render this split only (None: all), at most so many clips of each.
    Returns:
        The number of clips rendered.
    """
    from s2vt.data.files import write_json

    sizes = sizes or MOVING_SPLITS
    for file, members in (
        ("train_val_videodatainfo.json", ("train", "validate")),
        ("test_videodatainfo.json", ("test",)),
    ):
        videos, sentences = [], []
        for member in members:
            for index, number in enumerate(_identifiers(sizes, member)):
                scene, rng = _scene(seed, member, index, moving=True)
                videos.append({
                    "category": 0, "url": "", "video_id": f"video{number}", "start time": 0.0,
                    "end time": NUM_CLIP_FRAMES / CLIP_RATE, "split": member, "id": number,
                })  # fmt: skip
                sentences += [{"caption": text, "video_id": f"video{number}"} for text, _ in captions(scene, rng, 15)]
        for sen_id, sentence in enumerate(sentences):
            sentence["sen_id"] = sen_id
        write_json(
            Path(folder) / file, {"info": {"description": "MovingShapes"}, "videos": videos, "sentences": sentences}
        )
    jobs = [
        (folder, seed, member, index, f"video{number}")
        for member in ([split] if split else sizes)
        for index, number in list(enumerate(_identifiers(sizes, member)))[:limit]
        if not (Path(folder) / "truth" / f"video{number}.json").exists()
    ]
    return _in_parallel(_render_clip, jobs, processes)


# --- StillShapes: pictures in Flickr30k's layout, with Entities -----------------------------------------------------

ROUND = ("circle", "ring", "heart", "moon")


def _entity_sentence(tokens, phrases):
    """A caption in the Entities notation: [/EN#id/type words]. Chain ids: objects 1, 2, ...; the ground 99."""
    opening = {}
    for phrase in phrases:
        first, past = phrase["tokens"]
        opening[first] = (past, phrase)
    words, position = [], 0
    while position < len(tokens):
        if position not in opening:
            words.append(tokens[position])
            position += 1
            continue
        past, phrase = opening[position]
        chain, kind = (99, "scene") if phrase["kind"] == "ground" else (phrase["object"] + 1, phrase["type"])
        words.append(f"[/EN#{chain}/{kind} {' '.join(tokens[position:past])}]")
        position = past
    return " ".join(words)


def _annotation(name, width, height, boxes):
    """The Entities XML of one picture."""
    objects = "".join(
        f"  <object>\n    <name>{chain}</name>\n    <bndbox>\n"
        f"      <xmin>{x1 + 1}</xmin>\n      <ymin>{y1 + 1}</ymin>\n"
        f"      <xmax>{x2}</xmax>\n      <ymax>{y2}</ymax>\n    </bndbox>\n  </object>\n"
        for chain, (x1, y1, x2, y2) in boxes.items()
    )
    return (
        f"<annotation>\n  <filename>{name}.jpg</filename>\n  <size>\n    <width>{width}</width>\n"
        f"    <height>{height}</height>\n    <depth>3</depth>\n  </size>\n{objects}"
        "  <object>\n    <name>99</name>\n    <scene>1</scene>\n    <nobndbox>1</nobndbox>\n  </object>\n"
        "</annotation>\n"
    )


def _render_picture(folder, seed, split, index, name):
    """Writes one picture with its Entities annotation and sentences."""
    from PIL import Image

    from s2vt.data.files import atomic_path

    scene, rng = _scene(seed, split, index, moving=False)
    width, height = PICTURE_SIZE
    picture, boxes, _ = Renderer(scene, height, width).frame(0.0)
    with atomic_path(folder / "flickr30k-images" / f"{name}.jpg") as partial:
        Image.fromarray(picture).save(partial, quality=92)
    sentences = []
    for text, phrases in captions(scene, rng, 5, moving=False):
        for phrase in phrases:
            if phrase["kind"] == "object":
                phrase["type"] = "round" if scene.shapes[phrase["object"]].shape in ROUND else "angular"
        sentences.append(_entity_sentence(text.split(), phrases))
    entities = folder / "Entities"
    with atomic_path(entities / "Sentences" / f"{name}.txt") as partial:
        Path(partial).write_text("\n".join(sentences) + "\n", encoding="utf-8")
    with atomic_path(entities / "Annotations" / f"{name}.xml") as partial:  # last: its presence means complete
        Path(partial).write_text(_annotation(name, width, height, {k + 1: b for k, b in enumerate(boxes)}), "utf-8")


def write_still_shapes(folder, sizes=None, split=None, limit=None, seed=1, processes=None):
    """Writes StillShapes into `folder` in the layout of Flickr30k and Flickr30k Entities.

    The caption and split lists always name the whole set. Arguments as for `write_moving_shapes`.

    Returns:
        The number of pictures rendered.
    """
    from s2vt.data.files import atomic_path

    sizes, lines = sizes or STILL_SPLITS, []
    for member in sizes:
        names = [f"{number:06d}" for number in _identifiers(sizes, member)]
        for index, name in enumerate(names):
            scene, rng = _scene(seed, member, index, moving=False)
            for k, (text, _) in enumerate(captions(scene, rng, 5, moving=False)):
                lines.append(f"{name}.jpg#{k}\t{text}\n")
        with atomic_path(Path(folder) / f"imgs_{member}.txt") as partial:
            Path(partial).write_text("".join(f"{name}.jpg\n" for name in names), "utf-8")
    with atomic_path(Path(folder) / "results_20130124.token") as partial:
        Path(partial).write_text("".join(lines), "utf-8")
    jobs = [
        (folder, seed, member, index, f"{number:06d}")
        for member in ([split] if split else sizes)
        for index, number in list(enumerate(_identifiers(sizes, member)))[:limit]
        if not (Path(folder) / "Entities" / "Annotations" / f"{number:06d}.xml").exists()
    ]
    return _in_parallel(_render_picture, jobs, processes)


# --- command --------------------------------------------------------------------------------------------------------


def _in_parallel(render, jobs, processes):
    from tqdm import tqdm

    if not jobs:
        return 0
    fresh = multiprocessing.get_context("spawn")  # a fork would wait for ever for FFmpeg's threads, which it lacks
    with concurrent.futures.ProcessPoolExecutor(processes or os.cpu_count(), mp_context=fresh) as pool:
        for _ in tqdm(pool.map(functools.partial(_call, render), jobs, chunksize=4), total=len(jobs), unit="medium"):
            pass
    return len(jobs)


def _call(render, job):
    folder, *rest = job
    render(Path(folder), *rest)


WRITERS = {"MovingShapes": (write_moving_shapes, MOVING_SPLITS), "StillShapes": (write_still_shapes, STILL_SPLITS)}


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m s2vt.data.synthetic", description=__doc__.split("\n")[0])
    parser.add_argument("--dataset", required=True, choices=sorted(WRITERS))
    parser.add_argument("--split", help="render only this split (default: all)")
    parser.add_argument("--limit", type=int, help="render at most this many media of each split")
    parser.add_argument("--data_dir", default="DATA")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    write, sizes = WRITERS[options.dataset]
    if options.split and options.split not in sizes:
        parser.error(f"{options.dataset} has no split {options.split!r}; it has {', '.join(sizes)}")
    folder = Path(options.data_dir) / options.dataset
    count = write(folder, sizes, options.split, options.limit, options.seed)
    print(f"{options.dataset}: {count} media rendered into {folder}", file=sys.stderr)


if __name__ == "__main__":
    main()
