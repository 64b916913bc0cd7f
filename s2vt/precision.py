"""Products with large kernels, in float32 or with bfloat16 factors.

Letters: R rows, H inputs and J outputs of a kernel.

A captioner computes its large products with `product`. Inside `products_in("bfloat16")` those of `RoundedKernels` have
bfloat16 factors; all else is as before. bfloat16 has float32's range and 8 bits of its 24: a number is rounded by at
most 1/256 of itself.
"""

import contextlib
import contextvars
import functools
import sys
import time

import keras
import numpy as np
from keras import ops

from s2vt.engine import compiled, fused, matmul

_precision = contextvars.ContextVar("precision of large products", default="float32")
_copies = contextvars.ContextVar("{id of a kernel: its bfloat16 copy}, while a graph is traced", default={})  # noqa: B039


def product(x, kernel, bias=None):
    """x W + b of a large kernel, in x's type.

    Of a kernel with a bfloat16 copy W', rows are rounded about their mean, whose own product is in float32:

        x W + b  =  (mean W + b) + (x - mean) W  ~  (mean W + b) + bfloat16(x - mean) W'

    so the error is relative to what tells the rows apart (of single descriptors, what saliency compares), and one row
    alone is exact.

    Args:
        x: (R, ..., H).   kernel: W, (H, J), a variable.   bias: b, (J,); None: zeros.
    Returns:
        (R, ..., J).
    """
    copy = _copies.get().get(id(kernel))
    if copy is None:
        return ops.matmul(x, kernel) if bias is None else ops.matmul(x, kernel) + bias
    mean = ops.mean(x, axis=0, keepdims=True)
    of_mean = ops.matmul(mean, kernel) + (0 if bias is None else bias)
    return _add(matmul(ops.cast(x - mean, "bfloat16"), copy), of_mean)


@fused
def _add(of_differences, of_mean):
    return ops.cast(of_differences, of_mean.dtype) + of_mean


def precision():
    """The precision of large products here: "float32", or "bfloat16" inside `products_in`."""
    return _precision.get()


@contextlib.contextmanager
def products_in(wanted, least_gain=1.0):
    """Context in which captioners compute their large products in a precision.

    Where bfloat16 is not faster (`bfloat16_gain`), float32 is used, and a line on stderr says so, once.

    Args:
        wanted: "float32" or "bfloat16" (`saliency.precision`).
        least_gain: bfloat16 is used above it; 0: always, without a measurement.
    """
    rounds = wanted == "bfloat16" and (not least_gain or _gains(least_gain))
    token = _precision.set("bfloat16" if rounds else "float32")
    try:
        yield
    finally:
        _precision.reset(token)


@functools.cache
def _gains(least):
    """Whether bfloat16 is faster here; says so on stderr if not."""
    gain = bfloat16_gain()
    if gain <= least:
        print(
            f"saliency.precision=bfloat16: its products are {gain:.2f} times as fast as float32's on this machine with "
            f"{keras.backend.backend()}; float32 is used",
            file=sys.stderr,
        )
    return gain > least


def bfloat16_gain(R=512, H=1024, J=2048, repeats=3):
    """How many times as fast the engine multiplies (R, H) by (H, J) with bfloat16 factors as in float32.

    The least of several alternating times of each, after one untimed call.
    """
    x, kernel = (ops.ones(shape, "float32") for shape in ((R, H), (H, J)))
    rounded = ops.cast(kernel, "bfloat16")
    calls = (
        lambda: ops.convert_to_numpy(ops.matmul(x, kernel)[0, 0]),
        lambda: ops.convert_to_numpy(ops.cast(matmul(ops.cast(x, "bfloat16"), rounded)[0, 0], "float32")),
    )
    seconds = np.empty((repeats + 1, 2))
    for of_round in seconds:
        for k, call in enumerate(calls):
            start = time.perf_counter()
            call()
            of_round[k] = time.perf_counter() - start
    in_float32, in_bfloat16 = seconds[1:].min(axis=0)
    return in_float32 / in_bfloat16


class RoundedKernels(keras.layers.Layer):
    """bfloat16 copies of some of a layer's kernels, which `product` finds in graphs made by `rounding`.

    Args:
        layer: built.   kernels: variables of the layer, each (H, J).
    """

    def __init__(self, layer, kernels):
        super().__init__()
        self.layer, self.kernels = layer, kernels
        self.copies = [
            self.add_weight(kernel.shape, "zeros", "bfloat16", trainable=False, autocast=False) for kernel in kernels
        ]

    def refresh(self):
        """Rounds the kernels as they are now."""
        for kernel, copy in zip(self.kernels, self.copies, strict=True):
            copy.assign(ops.cast(kernel, "bfloat16"))

    def rounding(self, function):
        """A function whose products with the kernels are those of their copies."""
        copies = {id(kernel): copy for kernel, copy in zip(self.kernels, self.copies, strict=True)}

        def with_copies(*args):
            token = _copies.set(copies)
            try:
                return function(*args)
            finally:
                _copies.reset(token)

        return with_copies


class Graphs:
    """`encode` and `step` of a captioner as graphs.

    Args:
        layer: whose variables the functions read.
        encode: v (B, N, D) -> state.   step: state, word -> logits, state.
    """

    def __init__(self, layer, encode, step):
        self._encode = functools.cache(lambda N: compiled(layer, encode))  # N=1 has a graph of its own
        self._step = compiled(layer, step)

    def encode(self, v):
        """The state before the first word."""
        return self._encode(v.shape[1])(ops.convert_to_tensor(v))

    def step(self, state, word=None):
        """Logits of the next word, and the new state."""
        return self._step(state, None if word is None else ops.convert_to_tensor(word))


class RoundedGraphs(Graphs):
    """The same with bfloat16 copies of the large kernels, which are made whenever descriptors are read.

    Args:
        kernels: variables of the layer.   others: as `Graphs`.
    """

    def __init__(self, layer, encode, step, kernels):
        self._kernels = RoundedKernels(layer, kernels)
        of_v, of_word = self._kernels.rounding(encode), self._kernels.rounding(step)
        super().__init__(
            self._kernels,
            lambda v: of_v(v),  # TensorFlow counts graphs by a function's line, and warns of many
            lambda state, word: of_word(state, word),
        )

    def encode(self, v):
        """As `Graphs.encode`."""
        self._kernels.refresh()
        return super().encode(v)
