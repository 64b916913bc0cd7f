"""Where a model's patches lie in a source picture, as its image processor resizes and crops it."""

from s2vt.data.geometry import Geometry, Grid
from s2vt.errors import UserError


def geometry_of(processor, width, height, grid):
    """The part of a source picture that an image processor hands to the model.

    Resized to `size`, {height, width} of the whole picture or {shortest_edge} with its aspect ratio kept, then cropped
    to `crop_size` in the middle.

    Args:
        processor: of transformers.   width, height: of the source, pixels.   grid: of the model's patches, whose
            `input_size` the picture has in the end.
    Raises:
        UserError: if the processor does something else, such as padding.

    Example:
        >>> import types
        >>> crops = types.SimpleNamespace(
        ...     do_resize=True, size={"shortest_edge": 8}, do_center_crop=True, crop_size={"height": 8, "width": 8}
        ... )
        >>> geometry_of(crops, 40, 16, Grid(2, 4, 1.5, 8)).crop
        (12.0, 0.0, 28.0, 16.0)
    """
    resized = _resized(processor, width, height)
    cropped = _cropped(processor, resized)
    if cropped != (grid.input_size, grid.input_size) or min(a - b for a, b in zip(resized, cropped, strict=True)) < 0:
        raise UserError(
            f"{type(processor).__name__} makes {resized[0]}x{resized[1]} pixels of {width}x{height} and crops "
            f"{cropped[0]}x{cropped[1]} of them, the model reads {grid.input_size}x{grid.input_size}; expected a "
            "resize and a crop in the middle, without padding"
        )
    edges = []
    for source, whole, part in zip((width, height), resized, cropped, strict=True):
        first = (whole - part) // 2
        edges.append((first * source / whole, (first + part) * source / whole))
    (x1, x2), (y1, y2) = edges
    return Geometry(width, height, (x1, y1, x2, y2), grid)


def _resized(processor, width, height):
    """(width, height) after the resize."""
    if not getattr(processor, "do_resize", False):
        return width, height
    size = {key: processor.size.get(key) for key in ("height", "width", "shortest_edge", "longest_edge")}
    if size["height"] and size["width"]:
        return size["width"], size["height"]
    if not size["shortest_edge"] or size["longest_edge"]:
        raise UserError(
            f"{type(processor).__name__} resizes to {processor.size}; expected height, width or shortest_edge"
        )
    shorter = min(width, height)
    return tuple(int(size["shortest_edge"] * side / shorter) for side in (width, height))


def _cropped(processor, resized):
    """(width, height) after the crop."""
    if not getattr(processor, "do_center_crop", False):
        return resized
    return processor.crop_size["width"], processor.crop_size["height"]


def grid_of(num_patches, side):
    """The Grid of G*G patches of a square input.

    Args:
        num_patches: G*G.   side: S, pixels.

    Example:
        >>> grid_of(196, 224)
        Grid(side=14, stride=16, offset=7.5, input_size=224)
    """
    G = round(num_patches**0.5)
    stride = side // G
    return Grid(G, stride, (stride - 1) / 2, side)
