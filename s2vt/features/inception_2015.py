"""InceptionV3 as published on 2015-12-05, the network of the paper and the release, rebuilt from its frozen graph.

It differs from Keras' InceptionV3 in its weights, in its input, (x - 128) / 128, and in the pool branch of its last
block, which takes the maximum. The table NETWORK defines it. Layers and weights have the names of the graph's scopes,
with "_" for "/".

Letters: B pictures, S=299 input side, G=8 grid, D=2048 channels.
"""

import collections
import contextlib
import hashlib
import os
import sys
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from s2vt.data.files import atomic_path
from s2vt.errors import MissingWeights, UserError

URL = "https://download.tensorflow.org/models/image/imagenet/inception-2015-12-05.tgz"
GRAPH = "classify_image_graph_def.pb"  # the archive's member that holds the network
# SHA-256 of the graph as https://openaipublic.blob.core.windows.net/diffusion/jul-2021/ref_batches/ mirrors it; its
# size, 95,673,916 bytes, is that of the archive's member. The publisher names no digest.
GRAPH_DIGEST = "009d6814d1bc560d4e7b236e170e9b2d5ca6f4b57bd8037f6db05776204415c6"


class Conv(NamedTuple):
    """A convolution with its batch norm folded in, then ReLU."""

    filters: int
    height: int
    width: int
    strides: int = 1
    padding: str = "same"


class Pool(NamedTuple):
    """A 3 x 3 pooling; an average leaves out pixels beyond the border."""

    kind: str
    strides: int = 1
    padding: str = "same"


class Mixed(NamedTuple):
    """Branches of one input, whose outputs are concatenated."""

    branches: list


AVERAGE, MAX, HALVE = Pool("average"), Pool("max"), Pool("max", 2, "valid")


def _grid_35(pooled):
    return Mixed(
        [
            [Conv(64, 1, 1)],
            [Conv(48, 1, 1), Conv(64, 5, 5)],
            [Conv(64, 1, 1), Conv(96, 3, 3), Conv(96, 3, 3)],
            [AVERAGE, Conv(pooled, 1, 1)],
        ]
    )


def _grid_17(units):
    return Mixed(
        [
            [Conv(192, 1, 1)],
            [Conv(units, 1, 1), Conv(units, 1, 7), Conv(192, 7, 1)],
            [Conv(units, 1, 1), Conv(units, 7, 1), Conv(units, 1, 7), Conv(units, 7, 1), Conv(192, 1, 7)],
            [AVERAGE, Conv(192, 1, 1)],
        ]
    )


def _grid_8(pool):
    return Mixed(
        [
            [Conv(320, 1, 1)],
            [Conv(384, 1, 1), Mixed([[Conv(384, 1, 3)], [Conv(384, 3, 1)]])],
            [Conv(448, 1, 1), Conv(384, 3, 3), Mixed([[Conv(384, 1, 3)], [Conv(384, 3, 1)]])],
            [pool, Conv(192, 1, 1)],
        ]
    )


NETWORK = [
    Conv(32, 3, 3, 2, "valid"), Conv(32, 3, 3, 1, "valid"), Conv(64, 3, 3), HALVE,
    Conv(80, 1, 1, 1, "valid"), Conv(192, 3, 3, 1, "valid"), HALVE,
    _grid_35(32), _grid_35(64), _grid_35(64),  # mixed, mixed_1, mixed_2
    Mixed([[Conv(384, 3, 3, 2, "valid")], [Conv(64, 1, 1), Conv(96, 3, 3), Conv(96, 3, 3, 2, "valid")], [HALVE]]),
    _grid_17(128), _grid_17(160), _grid_17(160), _grid_17(192),  # mixed_4 ... mixed_7
    Mixed(
        [
            [Conv(192, 1, 1), Conv(320, 3, 3, 2, "valid")],
            [Conv(192, 1, 1), Conv(192, 1, 7), Conv(192, 7, 1), Conv(192, 3, 3, 2, "valid")],
            [HALVE],
        ]
    ),
    _grid_8(AVERAGE), _grid_8(MAX),  # mixed_9, mixed_10
]  # fmt: skip


def preprocess(pictures):
    """Pixels 0 ... 255 -> the network's input, (x - 128) / 128."""
    return (pictures - np.float32(128)) / np.float32(128)


def network(steps=NETWORK, input_size=299, precision=None):
    """The network with random weights: `preprocess`ed pictures (B, S, S, 3) -> mixed_10 (B, G, G, D).

    Args:
        steps: a table such as NETWORK. Layers are named as TensorFlow names scopes: conv, conv_1, ... in the order
            of the table; the steps of a branch are in a scope "tower" of their block if there are several.
        precision: a Keras dtype policy such as "mixed_bfloat16"; None for the current one.
    """
    import keras
    from keras import layers

    seen = collections.Counter()

    def unique(name):
        seen[name] += 1
        return name if seen[name] == 1 else f"{name}_{seen[name] - 1}"

    def run(steps, x, scope):
        for step in steps:
            match step:
                case Conv(filters, height, width, strides, padding):
                    x = layers.Conv2D(
                        filters, (height, width), strides, padding,
                        activation="relu", dtype=precision, name=unique(f"{scope}conv"),
                    )(x)  # fmt: skip
                case Pool(kind, strides, padding):
                    pooling = layers.MaxPooling2D if kind == "max" else layers.AveragePooling2D
                    x = pooling(3, strides, padding, dtype=precision, name=unique(f"{scope}pool"))(x)
                case Mixed(branches):
                    block = unique(f"{scope}mixed")
                    scopes = [f"{block}_" if len(b) == 1 else unique(f"{block}_tower") + "_" for b in branches]
                    outputs = [run(b, x, inner) for b, inner in zip(branches, scopes, strict=True)]
                    x = layers.Concatenate(dtype=precision, name=block)(outputs)
        return x

    pictures = keras.Input((input_size, input_size, 3))
    return keras.Model(pictures, run(steps, pictures, ""), name="inception_2015")


def named_variables(network):
    """Yields ("<scope>/kernel" or "<scope>/bias", variable) for each variable of a `network`."""
    for layer in network.layers:
        for variable in layer.weights:
            yield f"{layer.name}/{variable.name}", variable


def fold(kernel, mean, variance, beta, gamma=1.0, epsilon=1e-3):
    """Kernel (h, w, in, out) and bias (out,), float32, of a convolution and the batch norm after it.

    (k * x - mean) s + beta = (s k) * x + (beta - s mean),   s = gamma / sqrt(variance + epsilon)
    """
    scale = gamma / np.sqrt(np.asarray(variance, np.float64) + epsilon)
    return (kernel * scale).astype(np.float32), (beta - mean * scale).astype(np.float32)


def convert(graph):
    """The weights of a frozen graph, with batch norm folded into the convolutions.

    Args:
        graph: a serialised GraphDef whose convolutions go through BatchNormWithGlobalNormalization.
    Returns:
        {"<scope>/kernel": (h, w, in, out), "<scope>/bias": (out,)}, float32.
    Raises:
        ValueError: if it is no such graph.
    """
    try:
        nodes, arrays = _nodes(graph), {}
        for node in nodes.values():
            if node.op != "BatchNormWithGlobalNormalization":
                continue
            names = [nodes[node.input[0]].input[1], *node.input[1:]]
            kernel, mean, variance, beta, gamma = (_constant(nodes[name]) for name in names)
            scope = node.name.rpartition("/")[0].replace("/", "_")
            arrays[f"{scope}/kernel"], arrays[f"{scope}/bias"] = fold(
                kernel, mean, variance, beta,
                gamma if node.attr["scale_after_normalization"].b else 1.0, node.attr["variance_epsilon"].f,
            )  # fmt: skip
    except Exception as error:  # protobuf's DecodeError, or a node that is missing
        raise ValueError(f"not the frozen graph of 2015: {type(error).__name__} {error}") from error
    return arrays


def classifier(graph):
    """The last layer of the frozen graph, from pool_3 to its classes: kernel (D, L) and bias (L,), float32.

    Raises:
        ValueError: if it has none.
    """
    try:
        nodes = _nodes(graph)
        return _constant(nodes["softmax/weights"]), _constant(nodes["softmax/biases"])
    except Exception as error:
        raise ValueError(f"no softmax of the frozen graph of 2015: {type(error).__name__} {error}") from error


def _nodes(graph):
    """{name: node} of a serialised GraphDef."""
    import tensorflow as tf

    return {node.name: node for node in tf.compat.v1.GraphDef.FromString(graph).node}


def _constant(node):
    """The array of a constant of the graph."""
    import tensorflow as tf  # with `_nodes` the only code that reads TensorFlow's own format

    return tf.make_ndarray(node.attr["value"].tensor)


def write_converted(path):
    """Downloads the graph if it is not there, and writes its converted weights as an `.npz`.

    Raises:
        UserError: as `download`.
    """
    arrays = convert(download())
    with atomic_path(path) as partial, open(partial, "wb") as file:
        np.savez(file, graph_sha256=GRAPH_DIGEST, **arrays)


def models_folder():
    """The folder in which Keras keeps the weights that it downloads."""
    return Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "models"


def download():
    """The serialised graph, from the archive in Keras' folder, which is downloaded if it is not there.

    Returns:
        bytes. Nothing is unpacked onto the disk.
    Raises:
        MissingWeights: if the archive can neither be found nor downloaded.
        UserError: if it is damaged, or holds another graph.
    """
    graph = read_member(GRAPH)
    if (digest := hashlib.sha256(graph).hexdigest()) == GRAPH_DIGEST:
        return graph
    raise UserError(
        f"{_archive()} holds another graph (SHA-256 {digest}, expected {GRAPH_DIGEST}); delete it and run again, or, "
        f"if you trust it, take {GRAPH} out of it and give it to --weights"
    )


def _archive():
    """Where the archive is kept."""
    return models_folder() / PurePosixPath(URL).name


def read_member(name):
    """A file of the archive in Keras' folder, as bytes. Raises: as `download`."""
    import keras

    archive = _archive()
    try:
        with contextlib.redirect_stdout(sys.stderr):  # Keras' progress bar
            keras.utils.get_file(origin=URL, cache_dir=str(archive.parent.parent), cache_subdir="models")
    except Exception as error:
        raise MissingWeights(
            f"{archive.name} could not be downloaded ({error}); fetch {URL} by hand, put it into {archive.parent} "
            "and run again"
        ) from None
    try:
        with tarfile.open(archive) as members:
            member = next(m for m in members if PurePosixPath(m.name).name == name and m.isreg())  # no link
            return members.extractfile(member).read()
    except StopIteration:
        reason = f"it does not hold {name}"
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        reason = str(error)
    raise UserError(f"{archive} is damaged ({reason}); delete it and run again, or fetch {URL} by hand")
