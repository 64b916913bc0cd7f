"""Geometry between a source picture, the network's input and its grid of cells, and the resize that follows it.

Letters: H, W height and width of the source, pixels; S side of the input, G cells a side of the grid, of the network.

Points are (x, y) and boxes (x1, y1, x2, y2) in continuous pixel coordinates: (0, 0) is the upper left corner of the
upper left pixel, the centre of pixel k is k + 0.5, and a box that covers the pixels 0..9 is 0..10 (x2 and y2
exclusive).
"""

import dataclasses

import numpy as np
from PIL import Image


@dataclasses.dataclass(frozen=True)
class Grid:
    """The cells of a network's last layer and where they look. Defaults: InceptionV3's mixed_10.

    The receptive field of cell k, along x or y alike, is centred on input pixel number

        stride k + offset,

    whose centre has the continuous coordinate stride k + offset + 1/2.

    Attributes:
        side: G, cells along one side.
        stride: input pixels from one cell's centre to the next one's.
        offset: number of the input pixel on which cell 0 is centred, not necessarily a whole one.
        input_size: S, the input's side, pixels.

    Example:
        >>> Grid().centres().tolist()
        [37, 69, 101, 133, 165, 197, 229, 261]
    """

    side: int = 8
    stride: int = 32
    offset: float = 37
    input_size: int = 299

    def __post_init__(self):
        values = self.side, self.stride, self.input_size
        if min(values) < 1 or not 0 <= self.offset < self.input_size:
            raise ValueError(f"a grid has cells, a stride and an input of 1 or more, and an offset in it, not {self}")

    @property
    def num_cells(self):
        """G*G."""
        return self.side**2

    def centres(self):
        """Number of the input pixel on which each cell's receptive field is centred, (G,)."""
        return self.stride * np.arange(self.side) + self.offset


@dataclasses.dataclass(frozen=True)
class Geometry:
    """The part of a source picture that is resized to the network's input; maps points both ways.

        x_input = (x_source - x1) S / (x2 - x1),  likewise y; the two axes have scales of their own

    Args:
        width, height: of the source picture as it is shown, pixels.
        crop: (x1, y1, x2, y2), the part that is resized, source pixels, not necessarily whole ones.
        grid: the network's Grid, which has S.
    Raises:
        ValueError: if a side is below 1 pixel, or the crop is empty or leaves the picture.

    Example:
        >>> Geometry.of(320, 240).to_input((160, 60)).tolist()
        [149.5, 74.75]
    """

    width: int
    height: int
    crop: tuple[float, float, float, float]
    grid: Grid = Grid()

    def __post_init__(self):
        crop = tuple(float(edge) for edge in self.crop)
        object.__setattr__(self, "crop", crop)
        if self.width < 1 or self.height < 1:
            raise ValueError(f"width and height are at least 1 pixel, not {self.width}, {self.height}")
        if len(crop) != 4 or not (0 <= crop[0] < crop[2] <= self.width and 0 <= crop[1] < crop[3] <= self.height):
            raise ValueError(f"crop is (x1, y1, x2, y2) inside {self.width}x{self.height}, not {crop}")

    @classmethod
    def of(cls, width, height, resize="squash", grid=Grid()):  # noqa: B008, it is immutable
        """The geometry of one of the two protocols, for a source of width x height pixels.

        Args:
            resize: "squash", the whole picture to S x S (the paper's text and Table 1), or "center_crop", a centred
                square of 224 / 256 of the shorter side to S x S (the release, Table 2: shorter side to 256, centre
                224 x 224).
        """
        if resize == "squash":
            return cls(width, height, (0, 0, width, height), grid)
        if resize == "center_crop":
            side = min(width, height) * 224 / 256
            x, y = (width - side) / 2, (height - side) / 2
            return cls(width, height, (x, y, x + side, y + side), grid)
        raise ValueError(f'resize is "squash" or "center_crop", not {resize!r}')

    @property
    def size(self):
        """S, the input's side, pixels."""
        return self.grid.input_size

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
        grid = {"side": self.grid.side, "stride": self.grid.stride, "offset": self.grid.offset}
        picture = {"width": self.width, "height": self.height, "crop": list(self.crop), "size": self.size}
        return {**picture, "grid": grid}

    @classmethod
    def from_json(cls, values):
        """The inverse of `to_json`; without "grid", as older versions wrote it, the cells are InceptionV3's."""
        grid = Grid(**(values["grid"] if "grid" in values else {}), input_size=int(values["size"]))
        return cls(int(values["width"]), int(values["height"]), tuple(values["crop"]), grid)


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
