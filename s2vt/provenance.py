"""Where a number comes from: versions of packages, the commit, the machine. Recorded with trained runs and scores."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

PACKAGES = ("tensorflow", "jax", "torch", "keras", "numpy", "av", "pillow")


def versions():
    """{name: version} of Python and of those PACKAGES that are installed."""
    return {"python": platform.python_version()} | {name: found for name in PACKAGES if (found := _version(name))}


def machine():
    """Architecture and number of cores."""
    return f"{platform.machine()}, {os.cpu_count()} cores"


def git_revision():
    """The commit of this source file, with "-dirty" if files differ from it; None without git or a repository."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        git = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return git.stdout.strip() or None


def _version(package):
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
