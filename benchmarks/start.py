"""Seconds of `--help` of each script."""

import subprocess
import sys
from pathlib import Path

from benchmarks.timing import median_seconds

ROOT = Path(__file__).resolve().parent.parent


def measure(repeats=5):
    """Each in a process of its own."""
    return {
        script: {"seconds": median_seconds(lambda script=script: _answer(script), repeats=repeats)}
        for script in ("preprocessing.py", "run_s2vt.py", "visualization.py")
    }


def _answer(script):
    subprocess.run([sys.executable, ROOT / script, "--help"], stdout=subprocess.DEVNULL, check=True)
