"""Only a UserError leaves a reader, whatever atheris makes of its files: seconds here, minutes with -m long."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("atheris", reason="atheris, of requirements-dev.txt, is not installed")

FUZZ = Path(__file__).with_name("fuzz.py")
TARGETS = ("picture", "video", "list", "annotations", "sentences", "truth", "description")
SHORT, LONG = 3, 300  # seconds a target


def fuzz(target, seconds, folder, before="pass"):
    """(exit status, number of files read, what was printed). before: Python to run first.

    libFuzzer limits the peak of memory, which on Linux begins with that of the process that started this one, here a
    worker that has run thousands of tests. A shell in between starts it anew.
    """
    code = f"import sys; sys.path.insert(0, {str(FUZZ.parent)!r}); import fuzz; {before}; fuzz.main()"
    result = subprocess.run(
        ["sh", "-c", '"$@"; exit $?', "sh", sys.executable, "-c", code, target, str(seconds), str(folder)],
        cwd=FUZZ.parents[1], capture_output=True, text=True, errors="replace", timeout=600 + 2 * seconds, check=False,
        env={**os.environ, "TMPDIR": str(folder)},
    )  # fmt: skip
    printed = result.stdout + result.stderr
    return result.returncode, sum(map(int, re.findall(r"Done (\d+) runs", printed))), printed


@pytest.mark.parametrize("target", TARGETS)
def test_readers_refuse_in_one_line(tmp_path, target):
    status, runs, printed = fuzz(target, SHORT, tmp_path)
    assert status == 0 and runs > 20, printed[-3000:]


@pytest.mark.long
@pytest.mark.parametrize("target", TARGETS)
def test_readers_refuse_in_one_line_for_minutes(tmp_path, target, capsys):
    status, runs, printed = fuzz(target, LONG, tmp_path)
    assert status == 0, printed[-3000:]
    with capsys.disabled():
        print(f"\n{target}: {runs:,} files, no surprise")


@pytest.mark.parametrize("mistake", ["{}[0]", "open('/nowhere')", "1 / 0"])
def test_a_reader_that_lets_something_else_out_is_found(tmp_path, mistake):
    before = f"fuzz.TARGETS['truth'] = (lambda path: {mistake}, 'a.json', [b'{{}}'])"
    status, _, printed = fuzz("truth", 60, tmp_path, before)
    assert status == 77 and "Uncaught Python exception" in printed and list(tmp_path.glob("crash-*"))
