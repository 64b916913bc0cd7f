"""Backend-specific compilation, differentiation and devices; the only module that branches on the Keras backend.

Keras compiles graphs and differentiates for `fit` and `predict` only; these functions do so for other code.
"""

import contextlib
import functools

import keras
import numpy as np


def compiled(layer, function):
    """A function as a graph, on TensorFlow and JAX, compiled once per shape of its arguments; else the function itself.

    On two CPU cores, a decoder step of S2VT at the paper's size takes 169 ms instead of 178 ms. Gradients go through to
    the arguments, and not to variables, which are constants of the graph's derivative.

    Args:
        layer: the layer whose variables the function reads; the function must not write variables.
        function: of tensors and nested tuples of tensors.
    """
    engine = keras.backend.backend()
    if engine == "tensorflow":
        import tensorflow

        def of_constants(*args):  # gradients with respect to variables are not asked for: they would be computed, too
            constants = [(variable, keras.ops.stop_gradient(variable.value)) for variable in layer.variables]
            with keras.StatelessScope(constants):
                return function(*args)

        of_constants.__wrapped__ = function  # TensorFlow counts graphs by function, and warns of many
        return tensorflow.function(of_constants, autograph=False, reduce_retracing=True)
    if engine == "jax":
        import jax

        @jax.jit
        def of_values(values, *args):  # a graph that reads variables directly would keep their values at compile time
            with keras.StatelessScope(zip(layer.variables, values, strict=True)):
                return function(*args)

        return lambda *args: of_values([variable.value for variable in layer.variables], *args)
    return function


def fused(function):
    """A function of tensors as one fused element-wise loop: by XLA, on JAX and on TensorFlow's CPU; else unchanged.

    For element-wise operations after a product, which are limited by memory bandwidth. Compiling takes about 0.1 s per
    shape. TensorFlow's XLA is not used on a GPU, where it needs a CUDA compiler (and does not exist on Apple's).
    """

    @functools.cache
    def compile_once():  # at the first call: importing a module must not initialise the devices
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
        return compile_once()(*args)

    return fused_function


def matmul(x, kernel):
    """The product of two bfloat16 matrices, (..., H) by (H, J): sums in float32, rounded where the engine does so.

    JAX's result is float32 (and twice as fast on a CPU as one in bfloat16), that of the other engines bfloat16.
    """
    if keras.backend.backend() == "jax":
        import jax.numpy

        x, kernel = (keras.ops.convert_to_tensor(factor) for factor in (x, kernel))
        return jax.numpy.matmul(x, kernel, preferred_element_type="float32")
    return keras.ops.matmul(x, kernel)


def gradient(function):
    """The gradient of a function of one tensor with a scalar value: x -> d function(x) / dx, of x's shape.

    Rows that the function treats independently of each other get their own gradients if it sums over them.

    Args:
        function: of a float tensor.
    Returns:
        A function of a tensor; `compiled` takes it.
    Raises:
        NotImplementedError: on engines other than TensorFlow and JAX.
    """
    engine = keras.backend.backend()
    if engine == "jax":
        import jax

        return jax.grad(function)
    if engine == "tensorflow":
        import tensorflow

        def of_tensor(x):
            with tensorflow.GradientTape() as tape:
                tape.watch(x)
                value = function(x)
            return tape.gradient(value, x, unconnected_gradients="zero")

        return of_tensor
    raise NotImplementedError(f"gradients on {engine}; choose KERAS_BACKEND=tensorflow or jax")


def predictor(model, batch_size):
    """`model.predict_on_batch` for batches of any size up to batch_size, with one graph for all sizes.

    On TensorFlow the graph leaves the size open, so a smaller batch takes less time. The other backends compile once
    per size: there, batches are padded with zeros to batch_size.

    Args:
        model: with one input and one output.
        batch_size: the largest batch.
    Returns:
        A function: array (B, ...) -> array (B, ...).
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow

        signature = [tensorflow.TensorSpec(of_input.shape, of_input.dtype) for of_input in model.inputs]
        graph = tensorflow.function(lambda batch: model(batch, training=False), signature, autograph=False)
        return lambda batch: graph(batch).numpy()

    def predict_padded(batch):
        padding = [(0, batch_size - len(batch)), *[(0, 0)] * (batch.ndim - 1)]
        return model.predict_on_batch(np.pad(batch, padding))[: len(batch)]

    return predict_padded


# --- several devices, on JAX ----------------------------------------------------------------------------------------


def join(coordinator, processes, process, patience):
    """Makes this process one of several that compute together; before anything is computed.

    Returns when all have joined.

    Args:
        coordinator: HOST:PORT, at which process 0 listens.   processes: how many.   process: which one, from 0.
        patience: seconds to wait for the others.
    Raises:
        RuntimeError: if they do not join in time.
    """
    import jax

    jax.distributed.initialize(coordinator, processes, process, initialization_timeout=patience)


def data_parallel(number):
    """The distribution of batches over the first devices of every process, and of variables as copies on all of them.

    Graphs compute what they would on one device, sums over the whole batch included: the engine exchanges what is
    needed. A variable or a tensor that is made without the distribution is this process' own.

    Args:
        number: of devices of each process.
    Returns:
        A keras.distribution.DataParallel.
    Raises:
        ValueError: if a process has fewer devices.
    """
    import jax

    every = [[each for each in jax.devices() if each.process_index == k] for k in range(jax.process_count())]
    if min(map(len, every)) < number:
        raise ValueError(f"{min(map(len, every))} of {jax.default_backend()}")
    chosen = [device for devices in every for device in devices[:number]]
    return keras.distribution.DataParallel(devices=chosen, auto_shard_dataset=False)


@contextlib.contextmanager
def undistributed():
    """Context in which new variables and graphs are this process' own, whatever distribution there is around it."""
    around = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(around)


def from_first(number):
    """Process 0's whole number, in all processes; returns when all have called it."""
    from jax.experimental import multihost_utils

    return int(multihost_utils.broadcast_one_to_all(np.int32(number)))
