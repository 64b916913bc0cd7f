"""Geometry between a source picture and the network's input.

Letters: H, W height and width of the source, pixels; S=299 side of the input.

Points are (x, y) and boxes (x1, y1, x2, y2) in continuous pixel coordinates: (0, 0) is the upper left corner of the
upper left pixel, the centre of pixel k is k + 0.5, and a box that covers the pixels 0..9 is 0..10 (x2 and y2
exclusive).
"""

import dataclasses

import numpy as np
from PIL import Image


@dataclasses.dataclass(frozen=True)
class Geometry:
    """Which part of a source picture the network sees, and how big: maps points and boxes both ways.

        x_input = (x_source - x1) S / (x2 - x1),  likewise y  (the axes scale apart: squash keeps no aspect ratio)

    Args:
        width, height: the source picture, pixels (after its rotation has been applied).
        crop: (x1, y1, x2, y2), the part that is resized to the input, source pixels, not always whole ones.
        size: S, the input's side, pixels.

    Example:
        >>> Geometry.of(320, 240).to_input((160, 60)).tolist()
        [149.5, 74.75]
    """

    width: int
    height: int
    crop: tuple[float, float, float, float]
    size: int = 299

    def __post_init__(self):
        crop = tuple(float(edge) for edge in self.crop)
        object.__setattr__(self, "crop", crop)
        if self.width < 1 or self.height < 1 or self.size < 1:
            sizes = f"{self.width}, {self.height}, {self.size}"
            raise ValueError(f"width, height and size are at least 1 pixel, not {sizes}")
        if len(crop) != 4 or not (0 <= crop[0] < crop[2] <= self.width and 0 <= crop[1] < crop[3] <= self.height):
            raise ValueError(f"crop is (x1, y1, x2, y2) inside {self.width}x{self.height}, not {crop}")

    @classmethod
    def of(cls, width, height, resize="squash", size=299):
        """The geometry of one of the two protocols, for a source of width x height pixels.

        Args:
            resize: "squash", the whole picture to S x S (the paper's text and Table 1), or "center_crop", the
                shorter side to 256, the centre 224 x 224 of that, to S x S (the release, Table 2): a square of
                224 / 256 of the shorter side.
        """
        if resize == "squash":
            return cls(width, height, (0, 0, width, height), size)
        if resize == "center_crop":
            side = min(width, height) * 224 / 256
            x, y = (width - side) / 2, (height - side) / 2
            return cls(width, height, (x, y, x + side, y + side), size)
        raise ValueError(f'resize is "squash" or "center_crop", not {resize!r}')

    @property
    def scale(self):
        """Input pixels per source pixel along (x, y), (2,)."""
        x1, y1, x2, y2 = self.crop
        return self.size / np.array([x2 - x1, y2 - y1])

    def to_input(self, points):
        """Points (..., 2) in source pixels -> (..., 2) in input pixels; outside 0..S where the crop leaves them out."""
        return (np.asarray(points, float) - self.crop[:2]) * self.scale

    def to_source(self, points):
        """Points (..., 2) in input pixels -> (..., 2) in source pixels."""
        return np.asarray(points, float) / self.scale + self.crop[:2]

    def boxes_to_input(self, boxes):
        """Boxes (..., 4) in source pixels -> (..., 4) in input pixels, not clipped to the input."""
        return _each_corner(self.to_input, boxes)

    def boxes_to_source(self, boxes):
        """Boxes (..., 4) in input pixels -> (..., 4) in source pixels."""
        return _each_corner(self.to_source, boxes)

    def to_json(self):
        """A dict of plain numbers and lists, as it stands in `meta.json`."""
        return {"width": self.width, "height": self.height, "crop": list(self.crop), "size": self.size}

    @classmethod
    def from_json(cls, values):
        """The geometry that `to_json` wrote."""
        return cls(int(values["width"]), int(values["height"]), tuple(values["crop"]), int(values["size"]))


def _each_corner(mapping, boxes):
    boxes = np.asarray(boxes, float)
    return mapping(boxes.reshape(*boxes.shape[:-1], 2, 2)).reshape(boxes.shape)


def resize(picture, geometry, resample=Image.Resampling.BILINEAR):
    """The network's input: the geometry's crop of the picture at S x S, in one resampling.

    Departs from the release, whose TensorFlow 1 bilinear reads the four nearest source pixels only and so aliases
    when it shrinks, and which, for "center_crop", resamples twice (shorter side to 256, then 224 to 299). Pillow's
    bilinear widens its triangle by the shrinking factor, and takes a crop with broken coordinates as it is.

    Args:
        picture: (H, W, 3) uint8.   geometry: made for W x H pixels.   resample: one of Pillow's `Resampling`.
    Returns:
        (S, S, 3) uint8.
    """
    picture = np.asarray(picture)
    if picture.dtype != np.uint8 or picture.shape != (geometry.height, geometry.width, 3):
        expected = (geometry.height, geometry.width, 3)
        raise ValueError(f"picture is {expected} uint8, as its geometry says, not {picture.shape} {picture.dtype}")
    size = (geometry.size, geometry.size)
    return np.array(Image.fromarray(picture).resize(size, resample, box=geometry.crop))
