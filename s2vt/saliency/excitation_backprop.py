"""Excitation Backprop: the probability that a unit wins the competition for what a word or class said (EB, c-EB).

Zhang et al., "Top-down Neural Attention by Excitation Backprop", ECCV 2016; for recurrent networks, EB-R: Bargal et
al., "Excitation Backprop for RNNs", CVPR 2018. Its authors' release calls Excitation Backprop patent pending.

A unit j of a layer hands its probability down to the units i that excite it, in proportion to their contributions:

    P(i) = sum_j P(j) x_i w+_ij / sum_k x_k w+_kj,    x >= 0 the activations, w+ = max(w, 0), no bias, 0 / 0 = 0

That is gradient times activation, P(i) = x_i dL / dx_i, of a surrogate network with the same activations in which the
ratio s of a layer's activations to its excitations is constant,

    a = s (x * w+),    L = sum_j P(j) a_j / constant(a_j),

so that one automatic differentiation on any engine gives the probabilities at any layer. Pooling and concatenation are
their own surrogates: average pooling has positive weights, maximum pooling hands down to the largest unit. Batch norm
and ReLU pass the probability through.

    from where                              to the units that the captioner or classifier reads
    a class, weights W of pool_3            `excitation(x, W)`, contrastive: `contrast(x, W)`
    a word or phrase of a captioner         the same with the weights of `gradients.word_weights` (EB-R)
    cells that alone make a word likely     `of_likely_cells`

EB-R is the ordinary gradient through the LSTM's gates. Departs from Bargal et al., because their LSTM was trained with
ReLU in the place of tanh, so that its states are not negative; here tanh stays, and the competition is among the
numbers that are read.

`on_cells` gives what that means for the cells, and from there `ExcitationBackprop` goes down to a layer of the network.

Letters: K words or classes, T words, N descriptors, G x G cells, D=2048, V vocabulary; h, w, C of the layer that is
read.
"""

import math
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from s2vt.engine import compiled, gradient

MAX_ROWS = 8  # words or classes that go down at once: from a 35x35 layer of InceptionV3, some 100 MB each

# --- from words and classes to the units that are read -------------------------------------------------------------


def excitation(x, weights):
    """Probability that each unit below a linear layer wins, one layer down from each of its K units.

        P(i) = x_i w+_i / sum_k x_k w+_k

    Args:
        x: activations, >= 0: cells (G, G, D), pool_3 (D,), or of any other shape.
        weights: of the K units, (K, ...), broadcast to (K, *x.shape): a class's weights on pool_3 are (K, 1, 1, D) on
            the cells.
    Returns:
        (K, *x.shape), sum 1 for each k; all 0 if nothing excites unit k.
    Raises:
        ValueError: if an activation is negative or the shapes do not fit.

    Example:
        >>> excitation(np.array([1.0, 2.0, 4.0]), np.array([[3.0, 0.5, -1.0]])).tolist()
        [[0.75, 0.25, 0.0]]
    """
    x, weights = np.asarray(x, "float32"), np.asarray(weights, "float32")
    if x.min() < 0:
        raise ValueError(f"Excitation Backprop needs activations >= 0; received {x.min()}")
    return _normalised(np.broadcast_to(x * np.maximum(weights, 0), (len(weights), *x.shape)))


def contrast(x, weights, against=None):
    """What excites a unit, minus what excites its opposite (contrastive EB): both one layer down, each with sum 1.

    Args:
        x, weights: as `excitation`.
        against: weights of what is contrasted with, as `weights`; None: the negated weights, as c-EB has it.
    Returns:
        (K, *x.shape), signed, sum 0 where both have an excitation. Further down, then clamped at 0: see
        `ExcitationBackprop.maps`.
    Raises:
        ValueError: as `excitation`.

    Example:
        >>> contrast(np.array([1.0, 2.0, 4.0]), np.array([[3.0, 0.5, -1.0]])).tolist()
        [[0.75, 0.25, -1.0]]
    """
    opposite = -np.asarray(weights) if against is None else against
    return excitation(x, weights) - excitation(x, opposite)


def of_likely_cells(x, likelihood):
    """Probabilities of the units of cells which alone make a word likely: of each cell, and in it by activation.

        P(cell, d) = likelihood(cell) / sum of likelihoods  x_cell,d / sum_k x_cell,k

    Args:
        x: activations of the cells, (G, G, D), >= 0.
        likelihood: of each word from each cell alone, exp(-Loss) (Eq. 7), (K, G, G); see `maps.likelihood`.
    Returns:
        (K, G, G, D), sum 1 for each k if every cell is active.

    Example:
        >>> of_likely_cells(np.array([[[1.0, 3.0], [2.0, 2.0]]]), np.array([[[0.5, 1.5]]])).tolist()
        [[[[0.0625, 0.1875], [0.375, 0.375]]]]
    """
    x, likelihood = np.asarray(x, "float64"), np.asarray(likelihood, "float64")
    return _normalised(likelihood)[..., None] * _normalised(x, axes=-1)


def on_cells(p, cells, order=None):
    """Probabilities of the cells' units, frame by frame, from those of the descriptors that the captioner reads.

    The mean over a frame's cells (pool_3) hands down in proportion:

        P(cell, d) = P(i, d) x_cell,d / sum over the cells of frame i

    Args:
        p: of v, for each of K words, (K, N, D), from `excitation` or `contrast`.
        cells: activations, (m, G G, D), row by row from the upper left.
        order: which cell of a picture each v_i is, (N,), N = G G; None where v_i is the mean of frame i, N = m.
    Yields:
        (K, G, G, D) for each of the m frames.
    Raises:
        ValueError: if N does not fit.
    """
    (m, r, D), (K, N, _) = cells.shape, p.shape
    grid = math.isqrt(r)
    if N != (m if order is None else r):
        raise ValueError(f"p must be (K, {m if order is None else r}, D) for cells {cells.shape}; received {p.shape}")
    for i in range(m):
        if order is None:
            of_frame = p[:, i, None] * _normalised(np.asarray(cells[i], "float32"), axes=0)
        else:
            of_frame = p[:, np.argsort(order)]
        yield of_frame.reshape(K, grid, grid, D)


def _normalised(values, axes=None):
    """Values over their sum over the given axes, of all but the first if None; 0 / 0 = 0."""
    total = values.sum(axis=tuple(range(1, values.ndim)) if axes is None else axes, keepdims=True)
    return values / np.where(total > 0, total, 1)


# --- down the network ------------------------------------------------------------------------------------------------


class ExcitationBackprop:
    """Excitation Backprop from the last layer of a network down to one of its layers.

    Args:
        network: a Keras functional model with one input and one output >= 0, float32, each layer called once, of
            convolutions and dense layers followed by ReLU (batch norm between them or folded), pooling, concatenation
            and addition; `inception.load` gives such ones.
        layer: name of the layer to read, >= 0, which every path to the output goes through: the last one itself, or
            of InceptionV3 "mixed7" (17x17), "mixed2" (35x35), in the network of 2015 "mixed_7", "mixed_2".
    Raises:
        ValueError: if there is no such layer, a path goes around it, or a layer above it is of another kind.
    """

    def __init__(self, network, layer):
        names = [each.name for each in network.layers]
        if layer not in names:
            raise ValueError(f"network {network.name} has no layer {layer}; its layers are {names}")
        self.layer = network.get_layer(layer)
        self._above = _above(network, self.layer)
        self._activations = keras.Model(network.input, [self.layer.output, network.output])
        self._down = compiled(network, self._probabilities)

    def activations(self, pictures):
        """What the pictures make of the two layers.

        Args:
            pictures: preprocessed for the network, (B, S, S, 3).
        Returns:
            of the layer that is read, (B, h, w, C), and of the last, (B, G, G, D); float32.
        """
        return tuple(self._activations.predict_on_batch(pictures))

    def probabilities(self, x, p):
        """Probabilities of the layer's units, from those of the last layer's units.

        Args:
            x: activations of the layer that is read, of one picture, (h, w, C).
            p: for each of K words or classes, over the units of the last layer, (K, G, G, D), from `excitation`,
                `contrast` or `of_likely_cells`.
        Returns:
            (K, h, w, C), float32: with the sum of p, except for what units hold that nothing excites but their bias.
        """
        x, p = np.asarray(x, "float32"), np.asarray(p, "float32")
        chunks = [p[k : k + MAX_ROWS] for k in range(0, len(p), MAX_ROWS)]
        tensors = [(np.broadcast_to(x, (len(chunk), *x.shape)), chunk) for chunk in chunks]
        found = [self._down(*map(ops.convert_to_tensor, pair)) for pair in tensors]
        return np.concatenate([ops.convert_to_numpy(each) for each in found])

    def maps(self, x, p):
        """Maps of K words or classes: the probabilities, summed over channels, clamped at 0.

        Args: as `probabilities`.
        Returns:
            (K, h, w), float32, >= 0; the centres of h x w: `features.receptive_field`.
        """
        return np.maximum(self.probabilities(x, p).sum(axis=-1), 0)

    def signed_maps_of_frames(self, x, p):
        """As `maps`, in each frame of what the captioner read, but signed where p is: not clamped.

        Args:
            x: activations of the layer that is read, of each of the m frames, (h, w, C).
            p: of each frame in turn, (K, G, G, D), from `on_cells` of the cells that the network made of them.
        Yields:
            (K, h, w), float32, for each of the m frames.
        """
        for of_frame, each in zip(x, p, strict=True):
            yield self.probabilities(of_frame, each).sum(axis=-1)

    def _probabilities(self, x, p):
        def loss(x):
            top = _surrogate(self._above, self.layer.output, x)
            return ops.sum(_ratio(p, top) * top)

        return x * gradient(loss)(x)


WEIGHTED = (keras.layers.Conv2D, keras.layers.Dense)
PASSED_THROUGH = (keras.layers.BatchNormalization, keras.layers.Activation, keras.layers.ReLU, keras.layers.Dropout)
OWN_SURROGATES = (
    keras.layers.AveragePooling2D, keras.layers.MaxPooling2D, keras.layers.GlobalAveragePooling2D,
    keras.layers.Concatenate, keras.layers.Add, keras.layers.ZeroPadding2D, keras.layers.Flatten,
)  # fmt: skip
NOT_NEGATIVE = ("relu", "relu6", "sigmoid", "softplus")  # activation functions


def _above(network, layer):
    """The layers above a layer, up to the network's output, in the order of computation."""
    above, needed = [], {id(network.output)} - {id(layer.output)}
    for each in reversed(network.layers):
        if id(each.output) not in needed:
            continue
        if isinstance(each, keras.layers.InputLayer):
            raise ValueError(f"a path from the input to the output goes around layer {layer.name}")
        if not isinstance(each, (*WEIGHTED, *PASSED_THROUGH, *OWN_SURROGATES)):
            raise ValueError(f"no rule of Excitation Backprop for layer {each.name}, a {type(each).__name__}")
        if each.compute_dtype != "float32":
            raise ValueError(f"Excitation Backprop needs a float32 network; layer {each.name} is {each.compute_dtype}")
        needed |= {id(tensor) for tensor in _inputs(each)} - {id(layer.output)}
        above.append(each)
    above.reverse()
    _check_signs(above, layer, network)
    return above


def _inputs(layer):
    return keras.tree.flatten(layer.input)


def _check_signs(above, start, network):
    """Refuses a network in which a layer other than ReLU and batch norm reads what can be negative."""
    negative = {id(start.output): False}

    def check(tensors, reader):
        if any(negative[id(tensor)] for tensor in tensors):
            raise ValueError(f"Excitation Backprop needs activations >= 0, from ReLU; {reader} reads others")

    for layer in above:
        if not isinstance(layer, PASSED_THROUGH):
            check(_inputs(layer), f"layer {layer.name}")
        if isinstance(layer, keras.layers.ReLU):
            can_be = bool(layer.negative_slope)
        elif getattr(getattr(layer, "activation", None), "__name__", None) in NOT_NEGATIVE:
            can_be = False
        else:
            can_be = isinstance(layer, (*WEIGHTED, keras.layers.BatchNormalization)) or negative[id(_inputs(layer)[0])]
        negative[id(layer.output)] = can_be
    check([network.output], "the output's competition")


class _Units(NamedTuple):
    """The units behind a layer.

    Attributes:
        value: what they are.
        excited: sum_i x_i w+_i of the last linear layer, the tensor through which probability goes down.
    """

    value: Any
    excited: Any

    def surrogate(self):
        """Equal to `value`, with the gradient of constant(value / excited) excited."""
        if self.value is self.excited:
            return self.value
        constant = ops.stop_gradient(self.excited)
        return ops.stop_gradient(self.value) + _ratio(self.value, constant) * (self.excited - constant)


def _ratio(a, b):
    """The constant a / b, 0 / 0 = 0."""
    a, b = ops.stop_gradient(a), ops.stop_gradient(b)
    return ops.where(b > 0, a / ops.where(b > 0, b, 1.0), 0.0)


def _surrogate(layers, start, x):
    """The output of layers as their surrogate gives it, from x, the activations of the tensor `start`."""
    units, output = {id(start): _Units(x, x)}, start
    for layer in layers:
        output = layer.output
        units[id(output)] = _behind(layer, [units[id(tensor)] for tensor in _inputs(layer)])
    return units[id(output)].surrogate()


def _behind(layer, below):
    """The _Units behind a layer, from those behind the layers below it."""
    if isinstance(layer, PASSED_THROUGH):
        (units,) = below
        return _Units(layer(units.value), units.excited)
    inputs = [units.surrogate() for units in below]
    if isinstance(layer, OWN_SURROGATES):
        value = layer(inputs if len(inputs) > 1 else inputs[0])
        return _Units(value, value)
    (x,) = inputs
    kernel = ops.relu(ops.convert_to_tensor(layer.kernel))
    excited = layer.convolution_op(x, kernel) if isinstance(layer, keras.layers.Conv2D) else ops.matmul(x, kernel)
    return _Units(layer(x), excited)
