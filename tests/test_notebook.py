"""docs/explain.ipynb: its cells run in order, with the shipped run of StillShapes; its outputs are stripped."""

import json
import shutil
import webbrowser
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "docs" / "explain.ipynb"
CELLS = json.loads(NOTEBOOK.read_text())["cells"]


def test_outputs_are_stripped():
    assert NOTEBOOK.stat().st_size < 100_000
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in CELLS)
    assert "pip install" in "".join(CELLS[0]["source"]) and "show()" in "".join(CELLS[-2]["source"])


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """(what the cells define, the folder they ran in); `show` opens nothing."""
    folder, names = tmp_path_factory.mktemp("notebook"), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(webbrowser, "open", lambda address: names.setdefault("opened", address))
        for number, cell in enumerate(CELLS):
            if cell["cell_type"] == "code":
                exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)
    Path(names["opened"].removeprefix("file://")).unlink()
    return names, folder


@pytest.mark.slow
def test_the_cells_run_and_find_both_shapes(executed):
    names, folder = executed
    assert {path.name for path in folder.iterdir()} == {"explained.png", "explained.npz", "explained.html"}
    explained = names["explained"]
    for phrase, (x1, x2) in {"a red square": (20, 130), "a blue circle": (190, 300)}.items():
        assert x1 < np.unravel_index(explained.map(phrase).argmax(), (240, 320))[1] < x2, phrase
    assert names["why"].instead.others == ("circle",)
    assert names["opened"].endswith(".html")


FROM_PYTHON = {  # words of docs/usage.md -> their substitutes here: a run whose network is in the repository
    "Flickr30k-light": "StillShapes",
    "a dog runs on the beach": "a red square and a blue circle",
    "a cat runs on the beach": "a blue square and a blue circle",
    '"a dog"': '"a red square"',
}


@pytest.mark.slow
def test_the_ten_lines_of_the_usage_page_run(executed, tmp_path, monkeypatch):
    text = (ROOT / "docs" / "usage.md").read_text().split("\n## From Python\n")[1].split("\n## ")[0]
    blocks = [block.split("\n```")[0] for block in text.split("```python\n")[1:]]
    assert len(blocks[0].splitlines()) <= 10
    names, folder = executed
    monkeypatch.chdir(tmp_path)
    from PIL import Image

    Image.fromarray(names["picture"]).save("photo.jpg")
    shutil.copytree(ROOT / "experiments" / "StillShapes", "experiments/StillShapes")
    defined = {}
    for block in blocks:
        if "hugging_face" in block:  # tests/test_hugging_face.py runs it, where the extra is installed
            continue
        for word, substitute in FROM_PYTHON.items():
            block = block.replace(word, substitute)
        exec(compile(block, "docs/usage.md", "exec"), defined)
    assert defined["explained"].words == tuple("a red square and a blue circle".split())
    assert {"photo.png", "photo.html", "why.png"} <= {path.name for path in tmp_path.iterdir()}
