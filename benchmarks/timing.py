"""What every stage measures with: median seconds, the machine's own GEMM rate, peak memory, and the machine's name."""

import ctypes
import os
import platform
import statistics
import time
from pathlib import Path

import numpy as np

RESULTS = Path(__file__).resolve().parent / "results"  # not in git


def median_seconds(*calls, repeats=5):
    """Median wall seconds of each call; they take turns, so that another load on the machine falls on all alike.

    Each is called once before, uncounted. A call must wait for its result (`keras.ops.convert_to_numpy`).

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
    """One float32 matrix product of 4096^3 through the engine, as a call: GEMM_OPERATIONS operations."""
    from keras import ops

    a = ops.convert_to_tensor(np.random.default_rng(0).standard_normal((size, size), np.float32))
    return lambda: ops.convert_to_numpy(ops.matmul(a, a)[0, 0])


def peak_memory(call):
    """Bytes that a call needs at its peak, beyond what was held before it: resident memory, from Linux's /proc.

    On a GPU through JAX: of the device's memory instead, whose peak is that of the process's whole life so far.
    """
    import keras

    if keras.backend.backend() == "jax":
        import jax

        device = jax.devices()[0]
        if device.platform != "cpu":
            before = device.memory_stats()["bytes_in_use"]
            call()
            return device.memory_stats()["peak_bytes_in_use"] - before
    ctypes.CDLL(None).malloc_trim(0)  # what earlier calls left free would hide what this one takes
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak starts again from what is held now
    before = _resident("VmRSS")
    call()
    return _resident("VmHWM") - before


def _resident(key):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(key))


def machine():
    """What the numbers were measured on: engine, precision, device and versions."""
    import keras

    engine = keras.backend.backend()
    return {
        "engine": f"{engine} {__import__(engine).__version__}",
        "keras": f"Keras {keras.__version__}",
        "precision": keras.config.dtype_policy().name,
        "device": ", ".join(keras.distribution.list_devices()),
        "processor": f"{_processor()}, {len(os.sched_getaffinity(0))} cores",
        "python": f"Python {platform.python_version()}",
    }


def _processor():
    with open("/proc/cpuinfo") as file:
        names = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
    return names[0] if names else platform.machine()
