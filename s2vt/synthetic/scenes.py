"""Scenes of coloured shapes, each with an event such as moving left or appearing."""

import dataclasses
import math

import numpy as np

from s2vt.synthetic.drawing import COLOURS, SHAPES

BACKGROUNDS = ("grass", "sand", "water", "wood", "bricks", "stones")
EVENTS = ("still", "left", "right", "up", "down", "spin", "grow", "shrink", "appear", "disappear")
EVENT_WEIGHTS = np.array([1.2, 1, 1, 1, 1, 1.2, 1, 1, 1.9, 1.9])  # relative frequencies


@dataclasses.dataclass(frozen=True)
class Shape:
    """One object and its event. Lengths are in units of the frame's height; time runs from 0 to 1."""

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
    """A background and the shapes on it; later shapes hide earlier ones."""

    background: str
    shapes: tuple[Shape, ...]
    texture_seed: int
    light: tuple[float, float]  # direction that the light comes from, (x, y), unit length
    brightness: float


FADE = 0.12  # share of the clip that appearing or disappearing takes


def sample_scene(rng, num_shapes, moving, aspect=4 / 3):
    """Draws a scene. Objects differ in colour or shape and start apart from one another; moving ones may cross.

    Args:
        rng: numpy Generator.
        num_shapes: objects in the scene.
        moving: draw events; otherwise all objects are still.
        aspect: width over height.
    """
    shapes = None
    while shapes is None:
        shapes = _sample_shapes(rng, num_shapes, moving, aspect)
    direction = rng.uniform(-2.6, -0.6)
    return Scene(
        str(rng.choice(BACKGROUNDS)), tuple(shapes), int(rng.integers(2**31)),
        (math.cos(direction), math.sin(direction)), float(rng.uniform(0.82, 1.12)),
    )  # fmt: skip


MOMENTS = (0.12, 0.88)  # range of the moments of a sequence, shares of the clip
APART = 0.22  # smallest distance between two of them, share of the clip; more than FADE: no two events share a frame


def sample_sequence(rng, num_shapes):
    """Draws a scene whose objects appear or disappear one after the other, at clearly different times.

    Args:
        rng: numpy Generator.   num_shapes: objects in the scene, 2 to 4.
    """
    scene, moments = sample_scene(rng, num_shapes, moving=False), np.zeros(num_shapes)
    while np.diff(np.sort(moments)).min() < APART:
        moments = rng.uniform(*MOMENTS, num_shapes)
    events = rng.choice(["appear", "disappear"], num_shapes)
    timed = zip(scene.shapes, events, moments, strict=True)
    shapes = (dataclasses.replace(shape, event=str(event), moment=float(moment)) for shape, event, moment in timed)
    return dataclasses.replace(scene, shapes=tuple(shapes))


def _sample_shapes(rng, num_shapes, moving, aspect):
    """A list of shapes; None if one of them found no place."""
    shapes = []
    while len(shapes) < num_shapes:
        colour, shape = str(rng.choice(list(COLOURS))), str(rng.choice(list(SHAPES)))
        # Colours are mostly distinct, so that a colour alone often identifies an object.
        if any((colour, shape) == (s.colour, s.shape) for s in shapes):
            continue
        if any(colour == s.colour for s in shapes) and rng.random() < 0.7:
            continue
        event = str(rng.choice(EVENTS, p=EVENT_WEIGHTS / EVENT_WEIGHTS.sum())) if moving else "still"
        radius, amount = _sample_extent(rng, event)
        half_x = amount / 2 if event in ("left", "right") else 0.0
        half_y = amount / 2 if event in ("up", "down") else 0.0
        for _ in range(60):
            x = rng.uniform(0.16 * aspect + half_x, 0.84 * aspect - half_x)
            y = rng.uniform(0.22 + half_y, 0.78 - half_y)
            if all(math.hypot(x - s.x, y - s.y) > 0.95 * (radius + s.radius) for s in shapes):
                break
        else:
            return None
        angle, moment = float(rng.uniform(-0.35, 0.35)), float(rng.uniform(0.35, 0.65))
        shapes.append(Shape(colour, shape, event, float(x), float(y), radius, angle, amount, moment))
    return shapes


def _sample_extent(rng, event):
    """Radius of a shape and amount of its event."""
    radius = float(rng.uniform(0.13, 0.21))
    amount = {"spin": rng.uniform(0.7, 1.6) * rng.choice([-1, 1]), "grow": 0.5, "shrink": 0.5}.get(event, 0.0)
    if event in ("left", "right"):
        amount = rng.uniform(0.45, 0.75)
    elif event in ("up", "down"):
        amount = rng.uniform(0.30, 0.45)
    if event in ("grow", "shrink"):
        radius = float(rng.uniform(0.17, 0.24))
    return radius, float(amount)
