"""Geometry between a source picture and the network's input, and the resize that follows it.

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
    """The part of a source picture that is resized to the network's input; maps points both ways.

        x_input = (x_source - x1) S / (x2 - x1),  likewise y; the two axes have scales of their own

    Args:
        width, height: of the source picture as it is shown, pixels.
        crop: (x1, y1, x2, y2), the part that is resized, source pixels, not necessarily whole ones.
        size: S, the input's side, pixels.
    Raises:
        ValueError: if a side is below 1 pixel, or the crop is empty or leaves the picture.

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
            resize: "squash", the whole picture to S x S (the paper's text and Table 1), or "center_crop", a centred
                square of 224 / 256 of the shorter side to S x S (the release, Table 2: shorter side to 256, centre
                224 x 224).
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
        """Points (..., 2) in source pixels -> (..., 2) in input pixels; outside 0..S if outside the crop."""
        return (np.asarray(points, float) - self.crop[:2]) * self.scale

    def to_source(self, points):
        """Points (..., 2) in input pixels -> (..., 2) in source pixels."""
        return np.asarray(points, float) / self.scale + self.crop[:2]

    def to_json(self):
        """A dict of plain numbers and lists."""
        return {"width": self.width, "height": self.height, "crop": list(self.crop), "size": self.size}

    @classmethod
    def from_json(cls, values):
        """The inverse of `to_json`."""
        return cls(int(values["width"]), int(values["height"]), tuple(values["crop"]), int(values["size"]))


def resize(picture, geometry, resample=Image.Resampling.BILINEAR):
    """The network's input: the geometry's crop of a picture, resampled once to S x S.

    Departs from the release, because TensorFlow 1's bilinear filter reads only the four nearest source pixels and so
    aliases when it shrinks; for "center_crop" the release also resamples twice (shorter side to 256, then 224 to 299).
    Pillow's bilinear filter widens its triangle by the shrinking factor and takes crops of fractional pixels.

    Args:
        picture: (H, W, 3) uint8.   geometry: made for W x H pixels.   resample: one of Pillow's `Resampling`.
    Returns:
        (S, S, 3) uint8.
    Raises:
        ValueError: if the picture has another size or type.
    """
    picture = np.asarray(picture)
    if picture.dtype != np.uint8 or picture.shape != (geometry.height, geometry.width, 3):
        expected = (geometry.height, geometry.width, 3)
        raise ValueError(f"picture is {expected} uint8, as its geometry says, not {picture.shape} {picture.dtype}")
    size = (geometry.size, geometry.size)
    return np.array(Image.fromarray(picture).resize(size, resample, box=geometry.crop))
