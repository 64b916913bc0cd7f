"""Compiled functions: one graph for all sizes, current variables, the same numbers on every engine."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from s2vt.engine import compiled, fused, gradient, predictor


class Counting(keras.layers.Layer):
    """Twice its input plus its weight; records the batch size of each trace."""

    def build(self, input_shape):
        self.weight = self.add_weight(shape=input_shape[-1:], initializer="ones")
        self.rows = []

    def call(self, x):
        self.rows.append(x.shape[0])
        return 2 * x + self.weight


def check():
    """The checks, on the engine of this process."""
    engine = keras.backend.backend()
    layer = Counting()
    inputs = keras.Input((3,))
    predict = predictor(keras.Model(inputs, layer(inputs)), batch_size=4)
    layer.rows.clear()
    for rows in (4, 1, 3, 4, 2):
        x = np.random.default_rng(rows).random((rows, 3), "float32")
        found = predict(x)
        assert isinstance(found, np.ndarray)
        np.testing.assert_allclose(found, 2 * x + 1, rtol=1e-6, strict=True)
    assert layer.rows == [{"tensorflow": None, "jax": 4}[engine]]  # one graph: of any size, or of full batches

    twice = compiled(layer, layer)
    np.testing.assert_allclose(ops.convert_to_numpy(twice(ops.convert_to_tensor(x))), 2 * x + 1, rtol=1e-6)
    layer.weight.assign([3, 4, 5])  # a graph reads current values
    np.testing.assert_allclose(ops.convert_to_numpy(twice(ops.convert_to_tensor(x))), 2 * x + [3, 4, 5], rtol=1e-6)

    d_x = gradient(lambda x: ops.sum(twice(x) ** 2))(ops.convert_to_tensor(x))  # goes through a graph to its arguments
    np.testing.assert_allclose(ops.convert_to_numpy(d_x), 4 * (2 * x + [3, 4, 5]), rtol=1e-6)

    total = fused(lambda a, b: (ops.sum(ops.exp(a) + b, axis=-1), b))
    for rows in (2, 5):
        a, b = np.random.default_rng(rows).random((rows, 3), "float32"), np.float32([[1, 2, 3]])
        found, same = total(ops.convert_to_tensor(a), ops.convert_to_tensor(b))
        np.testing.assert_allclose(ops.convert_to_numpy(found), (np.exp(a) + b).sum(axis=-1), rtol=1e-6)
        np.testing.assert_array_equal(ops.convert_to_numpy(same), b)


def test_graphs_on_this_engine():
    check()


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="needs jax, a test dependency")
def test_graphs_on_the_other_engine():
    other = {"tensorflow": "jax", "jax": "tensorflow"}[keras.backend.backend()]
    subprocess.run(
        [sys.executable, "-c", "import test_engine; test_engine.check()"],
        env={**os.environ, "KERAS_BACKEND": other, "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"}
        | {"PYTHONPATH": os.pathsep.join(map(str, [Path(__file__).parent, Path(__file__).parents[1]]))},
        check=True,
        timeout=120,
    )
