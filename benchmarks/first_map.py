"""Seconds from the start of visualization.py to a map on disk, descriptors already extracted, on two engines."""

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
    """A clip's storyboard and a picture's figure, each in a process of its own, on TensorFlow, and on JAX if it is
    installed; JAX keeps what it compiles in the untimed first run."""
    with tempfile.TemporaryDirectory() as folder:
        engines = {"tensorflow": {}}
        if importlib.util.find_spec("jax"):
            kept = {"JAX_COMPILATION_CACHE_DIR": f"{folder}/jax", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
            engines["jax"] = kept

        def draw(dataset, medium, sentence, engine):
            command = [sys.executable, ROOT / "visualization.py", "--dataset", dataset, "--media_id", medium]
            command += ["--sentence", sentence, "--data_dir", data_dir, "--output", f"{folder}/map.png"]
            environment = {**os.environ, "KERAS_BACKEND": engine, **engines[engine]}
            subprocess.run(command, stdout=subprocess.DEVNULL, env=environment, check=True)

        rows = {}
        for asked in MAPS:
            seconds = median_seconds(*(lambda e=e, a=asked: draw(*a, e) for e in engines), repeats=repeats)
            seconds = seconds if len(engines) > 1 else [seconds]
            for engine, of_engine in zip(engines, seconds, strict=True):
                rows[f"{asked[0]} {asked[1]}, {engine}"] = {"seconds": of_engine}
        return rows
