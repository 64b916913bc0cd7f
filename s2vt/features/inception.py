"""InceptionV3, whose last convolutional layer mixed_10 gives the descriptors (Eq. 1, phi).

`load` returns a network together with its preprocessing: Keras' InceptionV3, or the one of 2015 (inception_2015.py).

Letters: B pictures, S=299 input side, G=8 grid, D=2048 channels.
"""

import contextlib
import dataclasses
import zipfile
from pathlib import Path

import numpy as np

from s2vt.data.files import atomic_path
from s2vt.data.geometry import Grid
from s2vt.errors import UserError
from s2vt.features import inception_2015

GRID = Grid()  # of 299 pixels, mixed_10's cells look at 32 k + 37: tests/test_heatmaps.py derives it from the layers
SMALLEST = 75  # pixels of the smallest input, which has one cell
NUM_CHANNELS = 2048


def grid_of(input_size):
    """The Grid of mixed_10 for an input of S pixels.

    Raises:
        ValueError: if no cell fits into it.

    Example:
        >>> grid_of(448).side, grid_of(598).side
        (12, 17)
    """
    if input_size < SMALLEST:
        raise ValueError(f"InceptionV3 needs {SMALLEST} pixels or more")
    return dataclasses.replace(GRID, side=1 + (input_size - SMALLEST) // GRID.stride, input_size=input_size)


def load(weights, precision=None, **size):
    """The network and its preprocessing. The content of a file decides which one it is; batch norm is folded.

    Args:
        weights: "imagenet", or a file.
        precision: a Keras dtype policy such as "mixed_bfloat16"; None for the current one.
        size: as for `trainable`.
    Returns:
        network: (B, S, S, 3) -> mixed_10 (B, G, G, D).
        preprocess: pictures (B, S, S, 3) of 0 ... 255, float32 -> the network's input.
    Raises:
        UserError: if the weights cannot be downloaded or read as those of InceptionV3.
    """
    network, preprocess = trainable(weights, precision=precision, **size)
    return (fold_batch_norm(network) if has_batch_norm(network) else network), preprocess


def trainable(weights, precision=None, **size):
    """As `load`, with the batch norm layers that the network has.

    Args:
        weights: as for `load`; None: random ones, of Keras' InceptionV3.
        size: input_size=S, pixels; 299 if it is not given.
    """
    if weights not in (None, "imagenet"):
        with _open_arrays(weights) as arrays:
            if "conv/kernel" in arrays:  # the first scope of the 2015 graph
                network = inception_2015.network(precision=precision, **size)
                _assign(inception_2015.named_variables(network), arrays)
                return network, inception_2015.preprocess
    return inception_v3(weights, precision=precision, **size), preprocess


def has_batch_norm(network):
    """Whether a network has batch norm layers."""
    import keras

    return any(isinstance(layer, keras.layers.BatchNormalization) for layer in network.layers)


def preprocess(pictures):
    """Pixels 0 ... 255 -> the input of Keras' InceptionV3, x / 127.5 - 1."""
    return pictures / np.float32(127.5) - 1


def inception_v3(weights=None, input_size=GRID.input_size, precision=None):
    """InceptionV3 up to mixed_10: pictures (B, S, S, 3) in [-1, 1] -> (B, G, G, D).

    Args:
        weights: None for random ones, "imagenet" for Keras' file, which Keras downloads once and verifies, or the path
            of a file that `save_weights` wrote.
        input_size: S in pixels; 299 gives G = 8.
        precision: a Keras dtype policy such as "mixed_bfloat16"; None for the current one.
    Raises:
        UserError: if the weights cannot be downloaded or read.
    """
    import keras

    before = keras.config.dtype_policy()
    if precision is not None:
        keras.config.set_dtype_policy(precision)
    try:
        network = keras.applications.InceptionV3(
            include_top=False,
            weights="imagenet" if weights == "imagenet" else None,
            input_shape=(input_size, input_size, 3),
            name="inception_v3",
        )
    except Exception as error:
        if weights == "imagenet":
            raise UserError(
                f"the ImageNet weights could not be downloaded ({error}); put "
                f"inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5 into {inception_2015.models_folder()} "
                "and run again"
            ) from None
        raise
    finally:
        keras.config.set_dtype_policy(before)
    if weights not in (None, "imagenet"):
        load_weights(network, weights)
    return network


def _named_variables(network):
    # A layer's own name counts all layers that the process has built; its place within the network is always the same.
    counts = {}
    for layer in network.layers:
        kind = type(layer).__name__
        counts[kind] = counts.get(kind, 0) + bool(layer.weights)
        for variable in layer.weights:
            yield f"{kind}_{counts[kind]:02d}/{variable.name}", variable


def fold_batch_norm(network):
    """The same function without batch norm layers: each is folded into the convolution before it, which gains a bias.

    Outputs equal those of `network` up to rounding; `python -m benchmarks extraction` measures the time saved.
    """
    import keras

    def with_bias(layer):
        bias = {"use_bias": True} if isinstance(layer, keras.layers.Conv2D) else {}
        return type(layer).from_config(layer.get_config() | bias)

    def past_batch_norm(layer, *args, **kwargs):
        return args[0] if isinstance(layer, keras.layers.BatchNormalization) else layer(*args, **kwargs)

    folded = keras.models.clone_model(network, clone_function=with_bias, call_function=past_batch_norm)
    source = {id(layer.output): layer for layer in network.layers}
    for norm in network.layers:
        if isinstance(norm, keras.layers.BatchNormalization):
            beta, mean, variance = norm.get_weights()  # Keras' InceptionV3 has no gamma
            convolution = source[id(norm.input)]
            (kernel,) = convolution.get_weights()
            weights = inception_2015.fold(kernel, mean, variance, beta, epsilon=norm.epsilon)
            folded.get_layer(convolution.name).set_weights(weights)
    return folded


def save_weights(network, path):
    """Writes the weights of a `trainable` network as one `.npz`: kernels as float16, vectors as float32."""
    from keras import ops

    arrays, named = {}, _named_variables if has_batch_norm(network) else inception_2015.named_variables
    for name, variable in named(network):
        value = ops.convert_to_numpy(variable)
        arrays[name] = value.astype(np.float16 if value.ndim == 4 else np.float32)
    with atomic_path(path) as partial, open(partial, "wb") as file:
        np.savez(file, **arrays)


def load_weights(network, path):
    """Assigns weights that `save_weights` wrote to an `inception_v3`.

    Raises:
        UserError: if the file is of another kind.
    """
    with _open_arrays(path) as arrays:
        _assign(_named_variables(network), arrays)


@contextlib.contextmanager
def _open_arrays(path):
    """Yields {name: array} of an `.npz` or a frozen graph; an error in reading or using them becomes a UserError."""
    try:
        if Path(path).suffix == ".pb":
            yield inception_2015.convert(Path(path).read_bytes())
        elif not zipfile.is_zipfile(path):  # np.load would take it for a pickle, and advise to load that unsafely
            raise ValueError("not a whole .npz archive")
        else:
            with np.load(path, allow_pickle=False) as arrays:
                yield arrays
    except Exception as error:  # on damaged files NumPy and zipfile raise nearly anything
        reason = "an array of Python objects" if "pickle" in str(error) else error or type(error).__name__
        raise UserError(
            f"{path} does not hold this InceptionV3 ({reason}); expected an .npz of save_weights, or the frozen graph "
            "of 2015 as .pb or as an .npz of <scope>/kernel and <scope>/bias"
        ) from None


def _assign(named_variables, arrays):
    for name, variable in named_variables:
        if arrays[name].shape != tuple(variable.shape):
            raise ValueError(f"{name} has shape {arrays[name].shape}, expected {tuple(variable.shape)}")
        variable.assign(arrays[name].astype(np.float32))
