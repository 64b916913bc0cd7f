"""Seconds from the start of visualization.py to a map on disk, descriptors already extracted."""

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
    """A clip's storyboard and a picture's figure, each in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        return {
            f"{dataset} {medium}": {
                "seconds": median_seconds(
                    lambda dataset=dataset, medium=medium, sentence=sentence: subprocess.run(
                        [sys.executable, ROOT / "visualization.py", "--dataset", dataset, "--media_id", medium]
                        + ["--sentence", sentence, "--data_dir", data_dir, "--output", f"{folder}/map.png"],
                        stdout=subprocess.DEVNULL,
                        check=True,
                    ),
                    repeats=repeats,
                )
            }
            for dataset, medium, sentence in MAPS
        }
