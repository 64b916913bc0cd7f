"""What Keras has no word for that all its engines know: the one place that tells them apart by name.

Departs from "keras.ops alone", because Keras makes graphs of `fit` and `predict` only; what that costs stands below.
"""

import functools

import keras
import numpy as np


def compiled(layer, function):
    """A function as one graph, built anew where its arguments have another shape: TensorFlow and JAX; else as it is.

    Biases are then added within the products and buffers used again: one word of S2VT at the paper's size takes 169
    instead of 178 ms on two cores.

    Args:
        layer: whose variables the function reads; none are written.
        function: of tensors and nested tuples of tensors.
    """
    engine = keras.backend.backend()
    if engine == "tensorflow":
        import tensorflow

        return tensorflow.function(function, autograph=False, reduce_retracing=True)
    if engine == "jax":
        import jax

        @jax.jit
        def of_values(values, *args):  # a graph would keep what the variables held when it was built
            with keras.StatelessScope(zip(layer.variables, values, strict=True)):
                return function(*args)

        return lambda *args: of_values([variable.value for variable in layer.variables], *args)
    return function


def fused(function):
    """A function of tensors alone as one loop over their numbers: XLA's, on JAX and TensorFlow's CPU; else as it is.

    For sums and squashings after a product, which wait for memory and not for arithmetic. It is built anew, in about
    0.1 s, for each shape. On a GPU TensorFlow's XLA asks for a CUDA compiler, and Apple's has none.
    """

    @functools.cache
    def loop():  # the machine is looked at when it is first needed, not when the module is read
        engine = keras.backend.backend()
        if engine == "tensorflow":
            import tensorflow

            xla = not tensorflow.config.list_physical_devices("GPU")
            return tensorflow.function(function, autograph=False, jit_compile=xla, reduce_retracing=True)
        if engine == "jax":
            import jax

            return jax.jit(function)
        return function

    @functools.wraps(function)
    def fused_function(*args):
        return loop()(*args)

    return fused_function


def predictor(model, batch_size):
    """What `predict_on_batch` gives, for batches of any size up to batch_size, with one graph for all of them.

    TensorFlow's leaves the size open: one picture takes the time of one. The others are given full batches, filled up
    with zeros, because JAX builds anew for every size.

    Args:
        model: of one input and one output.
    Returns:
        array (B, ...) -> array (B, ...).
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow

        signature = [tensorflow.TensorSpec(of_input.shape, of_input.dtype) for of_input in model.inputs]
        graph = tensorflow.function(lambda batch: model(batch, training=False), signature, autograph=False)
        return lambda batch: graph(batch).numpy()

    def filled_up(batch):
        padding = [(0, batch_size - len(batch)), *[(0, 0)] * (batch.ndim - 1)]
        return model.predict_on_batch(np.pad(batch, padding))[: len(batch)]

    return filled_up
