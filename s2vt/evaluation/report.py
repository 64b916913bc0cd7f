"""Writes the tables of README.md and docs/results.md from docs/results/*.json: python -m s2vt.evaluation.report

A table of `docs_tables.TABLES` stands between two comments of a page; all text outside them is left as it is:

    <!-- table: StillShapes_place -->
    <!-- end -->
"""

import itertools
import re
import sys
from pathlib import Path

from s2vt import command_line
from s2vt.data.files import atomic_path
from s2vt.errors import UserError, listed
from s2vt.evaluation.docs_tables import TABLES
from s2vt.evaluation.results import FOLDER, Results, add

PAGES = ("README.md", "docs/results.md")
END = "<!-- end -->"
_MARKER = re.compile(r"^(<!-- *(?:table\b.*|end) *-->) *$", re.MULTILINE)
_TABLE = re.compile(r"<!-- table: (\S+) -->")


def fill(page, text, results):
    """Puts the tables between their markers.

    Args:
        page: its name, for messages.   text: of the page.   results: Results.
    Returns:
        The new text; names of the tables that changed; {name of a table: its files that are missing, all of them}.
    Raises:
        UserError: if a marker names no table, or has no end.
    """
    tables, changed, missing = {table.name: table for table in TABLES}, [], {}
    parts = _MARKER.split(text)  # text, marker, text, marker, ..., text
    markers = parts[1::2]
    for k, (start, end) in enumerate(itertools.zip_longest(markers[::2], markers[1::2])):
        marker = _TABLE.fullmatch(start)
        if not marker:
            raise UserError(f"{page}: expected <!-- table: NAME --> before {END}; found {start}")
        name = marker[1]
        if name not in tables:
            raise UserError(f"{page}: there is no table {name!r}; there are {listed(tables, len(tables))}")
        if end != END:
            raise UserError(f"{page}: {start} has no {END}" + (f" before {end}" if end else ""))
        table = tables[name].markdown(results)
        if not table:
            missing[name] = [file for file in tables[name].files() if results.get(file) is None]
        elif parts[4 * k + 2] != (between := f"\n\n{table}\n\n"):
            parts[4 * k + 2] = between
            changed.append(name)
    return "".join(parts), changed, missing


def update(root, check=False):
    """Writes the tables of all pages, or checks them.

    Args:
        root: the folder of README.md and docs/.   check: compare only.
    Returns:
        Lines that say what is wrong: which tables differ, and which have no results yet and are left as they are.
    """
    results, wrong, filled = Results(root / FOLDER), [], {}
    for page in PAGES:
        text = read_text(root / page)
        filled[page], changed, missing = fill(page, text, results)
        if check:
            command = "python -m s2vt.evaluation.report"
            wrong += [f"{page}: table {name} differs from {FOLDER}; write it with {command}" for name in changed]
        for name, files in missing.items():
            wrong.append(f"{page}: table {name} needs one of {', '.join(f'{file}.json' for file in files)} in {FOLDER}")
    for page, text in filled.items() if not check else ():
        if text != read_text(root / page):
            with atomic_path(root / page) as temporary:
                temporary.write_text(text, encoding="utf-8", newline="\n")
    return wrong


def read_text(path):
    """The text of a page."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}; choose the repository's folder with --root") from error


def main(arguments=None):
    parser = command_line.Parser("python -m s2vt.evaluation.report", __doc__.split("\n")[0])
    parser.add_argument(
        "--add", nargs=2, metavar=("FILE", "NAME"), help="copy a result to docs/results/NAME.json first"
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 if a table differs")
    parser.add_argument("--list", action="store_true", help="print the tables and the results that they are made of")
    parser.add_argument("--root", default=".", type=Path, help="the folder of README.md and docs/")
    options = parser.parse_args(arguments)
    if options.list:
        results = Results(options.root / FOLDER)
        for table in TABLES:
            files = (file if results.get(file) else f"({file})" for file in table.files())
            print(f"{table.name}: {', '.join(files)}")
        return 0
    if options.add:
        print(add(*options.add, options.root / FOLDER))
    wrong = update(options.root, options.check)
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    command_line.run(main)
