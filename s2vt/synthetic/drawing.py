"""Draws scenes: anti-aliased shapes over textured backgrounds, with the visible share and box of every shape.

Letters: H, W height and width, pixels; r a shape's radius, pixels.
"""

import math

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


# Signed distance of points to a shape's outline, negative inside, in units of the radius; x right, y down.


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


def _noise(rng, height, width, scales):
    """Smooth noise in [0, 1]: the sum of random grids of the given cell sizes, enlarged."""
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
    """A textured surface, (H, W, 3) in [0, 1], less saturated than the shapes."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    unit = height / 240
    fine = _noise(rng, height, width, [2 * unit, 5 * unit])
    broad = _noise(rng, height, width, [30 * unit, 70 * unit])
    texture, low, high = TEXTURES[kind]
    value = texture(rng, y, x, unit, fine, broad)
    low, high = np.float32(low), np.float32(high)
    return low + np.clip(value, 0, 1.15)[..., None].astype(np.float32) * (high - low)


# Brightness of a surface, (H, W), nominally in [0, 1], from pixel coordinates, a length of 1/240 of the height, and
# fine and broad noise.


def _grass(rng, y, x, unit, fine, broad):
    return 0.55 * _noise(rng, *y.shape, [(9 * unit, 2.2 * unit), (5 * unit, 2 * unit)]) + 0.45 * broad


def _sand(rng, y, x, unit, fine, broad):
    ripple = 0.5 + 0.5 * np.sin((y + 14 * unit * broad + 0.2 * x) / (4.5 * unit))
    return 0.45 * fine + 0.3 * ripple + 0.25 * broad


def _water(rng, y, x, unit, fine, broad):
    waves = sum(np.sin((y * c + x * s + 25 * unit * broad) / (w * unit)) for c, s, w in
                ((1.0, 0.15, 5.0), (0.9, -0.35, 8.0), (0.7, 0.5, 3.4)))  # fmt: skip
    return 0.5 + 0.13 * waves + 0.2 * (broad - 0.5)


def _wood(rng, y, x, unit, fine, broad):
    plank = np.floor(y / (30 * unit))
    grain = _noise(rng, *y.shape, [(2.5 * unit, 60 * unit), (5 * unit, 90 * unit)])
    shade = rng.random(int(plank.max()) + 1, np.float32)[plank.astype(int)]
    return 0.5 * grain + 0.3 * shade + 0.2 * broad - 0.5 * (y % (30 * unit) < 1.5 * unit)


def _bricks(rng, y, x, unit, fine, broad):
    row = np.floor(y / (20 * unit))
    column = np.floor((x + 20 * unit * (row % 2)) / (40 * unit))
    joint = (y % (20 * unit) < 2.5 * unit) | ((x + 20 * unit * (row % 2)) % (40 * unit) < 2.5 * unit)
    shade = rng.random((int(row.max()) + 1, int(column.max()) + 1), np.float32)[row.astype(int), column.astype(int)]
    return np.where(joint, 1.15, 0.5 * shade + 0.35 * fine + 0.1 * broad)


def _stones(rng, y, x, unit, fine, broad):
    height, width = y.shape  # cells around random points
    count = max(8, int(height * width / (34 * unit) ** 2))
    points = rng.random((count, 2)) * (height, width)
    marks = np.ones((height, width), bool)
    marks[tuple(points.astype(int).T)] = False
    distance, nearest = ndimage.distance_transform_edt(marks, return_indices=True)
    label = nearest[0].astype(np.int64) * width + nearest[1]
    joint = ndimage.uniform_filter((label != np.roll(label, 1, 0)) | (label != np.roll(label, 1, 1)), 3, float)
    return (label * 2654435761 % 997) / 997 * 0.5 + 0.3 * fine + 0.2 - 0.6 * joint - 0.004 * distance / unit


TEXTURES = {  # (brightness, darkest colour, brightest colour)
    "grass": (_grass, (0.20, 0.29, 0.13), (0.46, 0.53, 0.28)),
    "sand": (_sand, (0.60, 0.52, 0.38), (0.82, 0.74, 0.58)),
    "water": (_water, (0.16, 0.32, 0.40), (0.50, 0.66, 0.70)),
    "wood": (_wood, (0.34, 0.23, 0.15), (0.62, 0.47, 0.33)),
    "bricks": (_bricks, (0.38, 0.25, 0.21), (0.66, 0.54, 0.49)),
    "stones": (_stones, (0.28, 0.29, 0.31), (0.64, 0.64, 0.65)),
}


class Renderer:
    """Draws frames of one scene: textured ground, cast shadows, bevelled anti-aliased shapes, one light.

    Attributes:
        scene: the Scene to draw.   ground: its background, (H, W, 3) in [0, 1].
    """

    def __init__(self, scene, height, width):
        self.scene, self.height, self.width = scene, height, width
        ground = _background(scene.background, np.random.default_rng(scene.texture_seed), height, width)
        y, x = np.mgrid[0:height, 0:width].astype(np.float32)
        across = (x / width - 0.5) * scene.light[0] + (y / height - 0.5) * scene.light[1]
        vignette = 1 - 0.30 * ((x / width - 0.5) ** 2 + (y / height - 0.5) ** 2)
        self.ground = ground * ((1 + 0.30 * across) * vignette * scene.brightness)[..., None].astype(np.float32)

    def frame(self, time):
        """One frame, the boxes of its objects, and the share of each that is seen.

        Args:
            time: 0 to 1.
        Returns:
            picture (H, W, 3) uint8; boxes: list of (x1, y1, x2, y2) in pixels, None where the object is absent;
            seen: list of shares in [0, 1], opacity times the share of the object's area that is not hidden.
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
            for other in range(len(masks) - 1):  # this object hides a part of those below it
                if masks[other] is not None and seen[other] > 0:
                    seen[other] *= 1 - opacity * _overlap(masks[other], masks[-1])
        return (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8), boxes, seen

    def _paint(self, picture, shape, x, y, radius, angle, opacity):
        """Draws one shape into the picture; returns its box, its coverage (h, w) and the window of the coverage."""
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
    """Share of the lower object's area that the upper one covers; each is (window, coverage)."""
    (rows_a, columns_a), cover_a = below
    (rows_b, columns_b), cover_b = above
    top, bottom = max(rows_a.start, rows_b.start), min(rows_a.stop, rows_b.stop)
    left, right = max(columns_a.start, columns_b.start), min(columns_a.stop, columns_b.stop)
    if top >= bottom or left >= right:
        return 0.0
    a = cover_a[top - rows_a.start : bottom - rows_a.start, left - columns_a.start : right - columns_a.start]
    b = cover_b[top - rows_b.start : bottom - rows_b.start, left - columns_b.start : right - columns_b.start]
    return float((a * b).sum() / max(cover_a.sum(), 1e-6))
