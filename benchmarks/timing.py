"""Measurement: median seconds, the machine's own GEMM rate, peak memory, and a description of the machine."""

import ctypes
import gc
import importlib
import os
import platform
import statistics
import time
from pathlib import Path

import numpy as np

RESULTS = Path(__file__).resolve().parent / "results"  # not in git


def median_seconds(*calls, repeats=5):
    """Median wall seconds of each call. The calls alternate, so that other load on the machine affects all of them.

    Each is called once before, untimed. A call must wait for its result (`keras.ops.convert_to_numpy`).

    Returns:
        Seconds of one call, or a list for several.
    """
    seconds = [[] for _ in calls]
    for call in calls:
        call()
    for _ in range(repeats):
        for call, found in zip(calls, seconds, strict=True):
            start = time.perf_counter()
            call()
            found.append(time.perf_counter() - start)
    medians = [statistics.median(found) for found in seconds]
    return medians[0] if len(calls) == 1 else medians


GEMM_OPERATIONS = 2 * 4096**3


def gemm(size=4096):
    """A call that computes one 4096 x 4096 x 4096 float32 matrix product with the engine: GEMM_OPERATIONS."""
    from keras import ops

    a = ops.convert_to_tensor(np.random.default_rng(0).standard_normal((size, size), np.float32))
    return lambda: ops.convert_to_numpy(ops.matmul(a, a)[0, 0])


def peak_memory(*calls):
    """The peak memory of each call, beyond what the process held before the first, in the order given.

    Resident memory, from Linux's /proc. Memory that the engine keeps from one call to the next counts in both. With JAX
    on a GPU: the device's memory, and its peak since the process started.

    Returns:
        list of bytes, one for each call.
    """
    held, peak = _gpu_memory() or _process_memory()
    before, peaks = held(), []
    for call in calls:
        held()
        call()
        peaks.append(peak() - before)
    return peaks


def _process_memory():
    def read(key):
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith(key))

    def held():
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)  # or the next call would reuse freed pages and seem to need less
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # resets the peak to the memory held now
        return read("VmRSS")

    return held, lambda: read("VmHWM")


def _gpu_memory():
    """The same for JAX's GPU; None without one."""
    import keras

    if keras.backend.backend() != "jax":
        return None
    import jax

    device = jax.devices()[0]
    if device.platform == "cpu":
        return None
    return lambda: device.memory_stats()["bytes_in_use"], lambda: device.memory_stats()["peak_bytes_in_use"]


def machine():
    """Engine, precision, device, processor and versions."""
    import keras

    engine = keras.backend.backend()
    return {
        "engine": f"{engine} {importlib.import_module(engine).__version__}",
        "keras": f"Keras {keras.__version__}",
        "precision": keras.config.dtype_policy().name,
        "device": ", ".join(keras.distribution.list_devices()) if engine != "torch" else "torch's default",
        "processor": f"{_processor()}, {len(os.sched_getaffinity(0))} cores",
        "python": f"Python {platform.python_version()}",
    }


def _processor():
    with open("/proc/cpuinfo") as file:
        names = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
    return names[0] if names else platform.machine()
