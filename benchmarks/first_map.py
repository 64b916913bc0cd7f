"""Seconds from the start of visualization.py to a map on disk, descriptors already extracted, on two engines."""

import functools
import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.timing import median_seconds

ROOT = Path(__file__).resolve().parent.parent
MAPS = (  # data set, medium, sentence; the shipped captioners
    ("MovingShapes", "video1050", "a white circle appears"),
    ("StillShapes", "002509", "a yellow triangle is above a green heart"),
)


def measure(data_dir="DATA", repeats=5):
    """A clip's storyboard and a picture's figure, each in a process of its own.

    On TensorFlow, and on JAX where it is installed; JAX reads what it compiled in the untimed first run.
    """
    with tempfile.TemporaryDirectory() as folder:
        engines = ["tensorflow", *(["jax"] if importlib.util.find_spec("jax") else [])]
        calls = {
            f"{dataset} {medium}, {engine}": functools.partial(draw, engine, folder, data_dir, dataset, medium, words)
            for dataset, medium, words in MAPS
            for engine in engines
        }
        seconds = median_seconds(*calls.values(), repeats=repeats)
        return {name: {"seconds": of_call} for name, of_call in zip(calls, seconds, strict=True)}


def draw(engine, folder, data_dir, dataset, medium, sentence):
    """Runs visualization.py on an engine; what it draws, and what JAX compiles, go into a folder."""
    keep = {"JAX_COMPILATION_CACHE_DIR": f"{folder}/jax", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    command = [sys.executable, ROOT / "visualization.py", "--dataset", dataset, "--media_id", medium]
    command += ["--sentence", sentence, "--data_dir", data_dir, "--output", f"{folder}/map.png"]
    environment = {**os.environ, **keep, "KERAS_BACKEND": engine}
    subprocess.run(command, stdout=subprocess.DEVNULL, env=environment, check=True)
