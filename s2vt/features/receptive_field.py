"""Where the units of a convolutional layer look, from the kernels, strides and padding of the layers below it."""

from typing import NamedTuple


class ReceptiveField(NamedTuple):
    """Where the units of a layer look; the same along x and y.

    The field of unit k is centred on input pixel number

        stride k + offset,

    whose centre has the continuous coordinate stride k + offset + 1/2, and reaches size / 2 pixels to both sides of it.

    Attributes:
        stride: input pixels from one unit's centre to the next one's.
        offset: number of the input pixel on which unit 0 is centred, not necessarily a whole one.
        size: input pixels along one side of the field; those beyond the border are counted.
    """

    stride: int
    offset: float
    size: int


class _Field(NamedTuple):
    """The field of unit 0 along one axis: its edges in continuous input pixels, and the pixels to the next unit's."""

    stride: int
    first: int
    last: int

    def behind(self, kernel, stride, padding):
        """The field of a unit that reads `kernel` units from this layer's unit -padding on."""
        first = self.first - padding * self.stride
        last = self.last + (kernel - 1 - padding) * self.stride
        return _Field(self.stride * stride, first, last)


def receptive_field(model, layer):
    """The receptive field of a layer's units.

    Where branches meet, the field of the branches together. An input side that a stride does not divide shifts the
    centres under padding="same": the result holds for the input size that the model was built for.

    Args:
        model: a Keras functional model of one input, (B, S, S, C), whose layers are each called once.
        layer: name of one of its layers with an output (B, h, w, C').
    Returns:
        ReceptiveField.
    Raises:
        ValueError: if the model has no such layer, a layer below it mixes all positions or is not known, branches with
            different strides meet, or x and y differ.

    Example:
        >>> import keras
        >>> x = keras.Input((9, 9, 3))
        >>> y = keras.layers.Conv2D(2, 3, strides=2, name="conv")(x)
        >>> model = keras.Model(x, keras.layers.MaxPooling2D(2, name="pool")(y))
        >>> receptive_field(model, "conv"), receptive_field(model, "pool")
        (ReceptiveField(stride=2, offset=1.0, size=3), ReceptiveField(stride=4, offset=2.0, size=5))
    """
    for each, (y, x) in _fields(model):
        if each.name == layer:
            if None in (x, y) or x != y:
                raise ValueError(f"layer {layer} has no receptive field with equal sides; received {y} and {x}")
            return ReceptiveField(x.stride, (x.first + x.last - 1) / 2, x.last - x.first)
    raise ValueError(f"model {model.name} has no layer {layer}; its layers are {[each.name for each in model.layers]}")


def blocks_from_the_top(model):
    """The variables of a network in blocks of layers whose units are equally far apart, for checks of maps.

    A block ends where a convolution or a pooling has a stride: no layer of a block lies below one of a later block.

    Args:
        model: as for `receptive_field`.
    Returns:
        {"8x8": variables, "17x17": ...}, lists, from the output down to the input; a block is called after the height
        and width of its uppermost layer.
    Raises:
        ValueError: as `receptive_field`.

    Example:
        >>> import keras
        >>> x = keras.Input((9, 9, 3))
        >>> y = keras.layers.Conv2D(2, 3, strides=2, name="conv")(x)
        >>> model = keras.Model(x, keras.layers.Conv2D(5, 2, name="top")(keras.layers.MaxPooling2D(2)(y)))
        >>> {block: len(variables) for block, variables in blocks_from_the_top(model).items()}
        {'1x1': 2, '4x4': 2}
    """
    names, blocks = {}, {}
    for layer, (y, x) in _fields(model):
        if layer.weights:
            if None in (x, y):
                raise ValueError(f"layer {layer.name} has no receptive field: it mixes all positions, or is not known")
            names[y.stride, x.stride] = "{}x{}".format(*layer.output.shape[1:3])
            blocks.setdefault((y.stride, x.stride), []).extend(layer.weights)
    return {names[stride]: variables for stride, variables in sorted(blocks.items(), reverse=True)}


def _fields(model):
    """Yields (layer, fields of its unit 0 along y and x), from the input up; a field is None: of no single place."""
    import keras

    fields = {id(model.input): (_Field(1, 0, 1),) * 2}
    for each in model.layers:
        if id(each.output) not in fields:
            below = [(fields[id(tensor)], tensor.shape) for tensor in keras.tree.flatten(each.input)]
            fields[id(each.output)] = tuple(_along(each, below, axis) for axis in range(2))
        yield each, fields[id(each.output)]


def _along(layer, below, axis):
    """The field behind a layer along one axis, given the (fields, shape) of its inputs; None: of no single place."""
    import keras

    inputs = [fields[axis] for fields, _ in below]
    if None in inputs:
        return None
    if len({field.stride for field in inputs}) > 1:
        raise ValueError(f"branches with different strides meet in layer {layer.name}: {inputs}")
    field = _Field(inputs[0].stride, min(each.first for each in inputs), max(each.last for each in inputs))
    if isinstance(layer, keras.layers.ZeroPadding2D):
        return field.behind(1, 1, layer.padding[axis][0])
    kernel = getattr(layer, "kernel_size", getattr(layer, "pool_size", None))
    side = below[0][1][1 + axis] if len(below[0][1]) == 4 else None
    if kernel is None:
        same = len(layer.output.shape) == 4 and side is not None and layer.output.shape[1 + axis] == side
        return field if same else None
    kernel = 1 + (kernel[axis] - 1) * getattr(layer, "dilation_rate", (1, 1))[axis]
    stride = layer.strides[axis]
    beyond = max((layer.output.shape[1 + axis] - 1) * stride + kernel - side, 0) if layer.padding == "same" else 0
    return field.behind(kernel, stride, beyond // 2)
