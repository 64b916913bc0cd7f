"""Scenes of coloured shapes and what happens to them."""

import dataclasses
import math

import numpy as np

from s2vt.synthetic.drawing import COLOURS, SHAPES

BACKGROUNDS = ("grass", "sand", "water", "wood", "bricks", "stones")
EVENTS = ("still", "left", "right", "up", "down", "spin", "grow", "shrink", "appear", "disappear")


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
