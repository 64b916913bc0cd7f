"""The layout of docs/architecture.md: which room imports which, and how long files and functions may be.

Everything is read from the source, imports inside functions too.
"""

import ast
import collections
import functools
import graphlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = sorted(ROOT.glob("*.py"))
PACKAGE = sorted((ROOT / "s2vt").rglob("*.py"))

# The rooms that each room may import, besides itself and the modules that know none (config, engine, errors, ...).
FLOW = {
    "data": set(),
    "features": {"data"},
    "captioning": {"data", "features"},
    "saliency": {"data"},
    "evaluation": {"data", "features", "saliency"},
    "rendering": {"data", "saliency"},
    "explaining": {"data", "features", "captioning", "saliency", "evaluation", "rendering"},
    "synthetic": {"data"},
    "hugging_face": {"data"},
}
# What single modules may import instead.
MODULES = {
    "s2vt": {"s2vt.library"},
    "s2vt.errors": set(),
    "s2vt.engine_import": set(),
    "s2vt.engine": set(),
    "s2vt.markdown": set(),
    "s2vt.precision": {"s2vt.engine"},
    "s2vt.provenance": set(),
    "s2vt.workers": {"s2vt.errors"},
    "s2vt.library": {f"s2vt.explaining.{name}" for name in ("captioners", "explain", "explainer", "jobs", "options")},
    "s2vt.config": {"s2vt.errors", "s2vt.data.files"},
    "s2vt.command_line": {"s2vt.errors", "s2vt.config", "s2vt.workers"},
}
COMMON = {
    f"s2vt.{name}"
    for name in ("config", "engine", "engine_import", "errors", "markdown", "precision", "provenance", "workers")
}
COMMANDS = {  # run with python -m, and what each may import besides its room's and command_line
    "s2vt.synthetic.__main__": set(),
    "s2vt.synthetic.pretraining": {"features"},
    "s2vt.synthetic.labels": {"features", "evaluation"},
    "s2vt.features.imagenet": set(),
    "s2vt.features.shards": set(),
    "s2vt.captioning.export": {"features"},
    "s2vt.evaluation.report": set(),
}


def name_of(path):
    """The dotted name of a module of the package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def tree_of(path):
    return ast.parse(path.read_text(), path.name)


@functools.cache
def imports_of(path):
    """Dotted names of all modules that a file imports, anywhere in it."""
    modules = {name_of(other) for other in PACKAGE}
    found = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in modules else node.module for name in names}
    return found


def room_of(module):
    """The folder of a module of the package, "" for s2vt/*.py."""
    parts = module.split(".")
    return parts[1] if len(parts) > 2 or (ROOT / "s2vt" / parts[-1]).is_dir() else ""


def internal_imports(path):
    return {module for module in imports_of(path) if module.split(".")[0] == "s2vt"}


def allowed(module, imported):
    """Whether one module of the package may import another."""
    room, other = room_of(module), room_of(imported)
    if module in MODULES:
        return imported in MODULES[module]
    if imported in COMMON or (room and other == room):
        return True
    if module in COMMANDS and (imported == "s2vt.command_line" or other in COMMANDS[module]):
        return True
    return other in FLOW[room]


def test_every_room_is_known():
    assert {room_of(name_of(path)) for path in PACKAGE} - {""} == set(FLOW)
    assert {name_of(path) for path in PACKAGE if not room_of(name_of(path))} == set(MODULES)


def test_imports_run_against_the_flow_only():
    against = [
        f"{name_of(path)} imports {imported}"
        for path in PACKAGE
        for imported in sorted(internal_imports(path))
        if not allowed(name_of(path), imported)
    ]
    assert not against


def test_no_import_circle():
    graph = {name_of(path): internal_imports(path) - {name_of(path)} for path in PACKAGE}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_ray_is_imported_where_a_cluster_is_made_only():
    assert [name_of(path) for path in PACKAGE if "ray" in imports_of(path)] == ["s2vt.workers"]
    at_import = [node for node in tree_of(ROOT / "s2vt" / "workers.py").body if isinstance(node, ast.Import)]
    assert "ray" not in {alias.name for node in at_import for alias in node.names}


def test_the_package_imports_no_script_and_no_test():
    outside = {path.stem for path in SCRIPTS} | {"benchmarks", "tests"} | {p.stem for p in ROOT.glob("tests/*.py")}
    found = {name_of(path): {module.split(".")[0] for module in imports_of(path)} & outside for path in PACKAGE}
    assert not {name: modules for name, modules in found.items() if modules}


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_short_and_do_no_mathematics(path):
    assert len(path.read_text().splitlines()) <= 150
    assert not {module.split(".")[0] for module in imports_of(path)} & {"numpy", "scipy", "keras", "math"}


def functions():
    """(file, function) of all functions of the package, methods and nested ones too."""
    for path in PACKAGE:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{path.relative_to(ROOT)}: {node.name}", node


def test_no_function_is_longer_than_60_lines():
    lengths = {name: node.end_lineno - node.lineno + 1 for name, node in functions()}
    assert not {name: length for name, length in lengths.items() if length > 60}


def test_no_function_has_more_than_7_parameters():
    numbers = {}
    for name, node in functions():
        given = node.args
        names = [argument.arg for argument in [*given.posonlyargs, *given.args, *given.kwonlyargs]]
        numbers[name] = len([each for each in names if each not in ("self", "cls")])
    assert not {name: number for name, number in numbers.items() if number > 7}


def test_no_six_lines_are_written_twice():
    """Six consecutive lines, blank lines and comments left out, but for lists of imports."""
    places = collections.defaultdict(list)
    files = [path for room in ("s2vt", "benchmarks", "tests", "coco-caption") for path in (ROOT / room).rglob("*.py")]
    for path in [*files, *SCRIPTS]:
        numbered = enumerate(map(str.strip, path.read_text().splitlines()), start=1)
        lines = [(number, line) for number, line in numbered if line and not line.startswith("#")]
        for first, window in enumerate(zip(*(lines[k:] for k in range(6)), strict=False)):
            text = tuple(line for _, line in window)
            if not all(line.startswith(("import ", "from ")) for line in text):
                places[text].append(f"{path.relative_to(ROOT)}:{lines[first][0]}")
    assert not [at for at in places.values() if len(at) > 1]
