"""Result files: scores of runs that the docs quote, docs/results/NAME.json.

NAME is CAPTIONER_PART: the captioner, and the protocol of `--localize` (or "maps", of many kinds), "captions" of
`--test`, "faithfulness", "pixels" (`--faithfulness --pixels`) or "sanity"; of a classifier's classes the network, and
the layer that is read. Runs that differ in their seed alone are named RUN-seed1, RUN-seed2, ...; the run without such
an ending is the captioner's own. Of tables of maps a file holds the sums of each medium, from which averages and
intervals are computed (`Tally`).
"""

import functools
import math
import re
from pathlib import Path

import numpy as np

from s2vt.data.files import read_json, write_json
from s2vt.errors import UserError, listed
from s2vt.evaluation.intervals import bootstrap, interval
from s2vt.evaluation.question_tables import COSTS
from s2vt.evaluation.tally import Tally

FOLDER = Path("docs") / "results"
_SEED = re.compile(r"(.+)-seed\d+")
_KEPT = ("metric", "protocol", "average", "unknown", "columns", "dropped", "noted", "unread", "media")  # Tally.sums


class MapScores:
    """Scores of maps: a result of `--localize`, `--faithfulness` or `--sanity`.

    Args:
        record: the JSON value of the file.
    """

    decimals = 3

    def __init__(self, record):
        self._record = record
        self._rows = {(row["run"], row["map"]): row["row"] for row in record["rows"]}
        self.runs = list(dict.fromkeys(run for run, _ in self._rows))
        self.maps = set(self._rows.values())  # names of rows that are no baselines
        self.bounds = functools.cache(self._bounds)
        self._intervals = functools.cache(lambda table: self.tally(table).intervals())
        self._differences = functools.cache(lambda table: self.tally(table).differences())
        self._averages = functools.cache(lambda table: self.tally(table).averages())
        self.tally = functools.cache(self._tally)

    def row(self, run, kind):
        """The name of the row with the maps of a run; None if they are not in this file."""
        return self._rows.get((run, kind))

    def value(self, table, row):
        """The average of a row over all phrases; None if the table does not have it."""
        return self._averages(table).get(row, (None, None))[0]

    def _bounds(self, table, row, other=None):
        """The 95 % interval of a row's average, or of its difference to another row's; None for one medium."""
        found = self._intervals(table).get(row)
        return found if other is None else self._differences(table).get((row, other), (None, None))[1]

    def ratio_bounds(self, table, other, row):
        """The 95 % interval of a row's average in one table over that in another, of the same phrases.

        The share s = a / (a + b) is bootstrapped, since it stays finite; a / b = s / (1 - s).
        """
        a, b = self._sums(table, row), self._sums(other, row)
        sums = np.array([(a[medium], b[medium]) for medium in a if medium in b], float)  # (M, 2)
        if len(sums) < 2 or not sums.any():
            return None

        def share(_, total):
            with np.errstate(invalid="ignore"):
                return total[:, 0, :1] / total[:, 0].sum(axis=1, keepdims=True)

        bounds = interval(bootstrap(np.ones((len(sums), 1)), sums[:, None], share))
        return tuple(s / (1 - s) if s < 1 else math.inf for s in bounds)

    def scored(self, table):
        """Number of phrases of a table; 0 of costs, which have a value a medium."""
        return 0 if table in COSTS else self.tally(table).scored

    def counts(self, table):
        """{category: number of phrases}, in the order of the table's columns."""
        tally = self.tally(table)
        media = tally.sums()["media"]
        kept = [*media["read"].values(), *(media["unread"].values() if tally.unknown == "miss" else ())]
        numbers = dict(zip(media["columns"], map(sum, zip(*(sums[0] for sums in kept), strict=True)), strict=True))
        return {category: numbers[category] for category in tally.categories}

    def media(self):
        """The media that were scored, in words."""
        return _media_text(self._record["dataset"], self._record["media"], self._record)

    def _sums(self, table, row):
        """{medium: sum of a row's scores over its phrases}."""
        media = self.tally(table).sums()["media"]
        k = 1 + media["rows"].index(row) if row in media["rows"] else None  # first the numbers of phrases
        return {} if k is None else {medium: sums[k][0] for medium, sums in media["read"].items()}

    def _tally(self, table):
        """The Tally of a table; an empty one if the file does not have it."""
        sums = self._record["tables"].get(table)
        return Tally.from_sums(sums) if sums else Tally(table, "")


class CaptionScores:
    """Scores of captions, times 100: a result of `--test`. Its tables are the metrics, its rows the runs."""

    decimals = 1

    def __init__(self, record):
        self._rows = {row["run"]: row for row in record.get("rows", [record])}
        self._dataset = record.get("dataset", "")
        self.runs = list(self._rows)

    def row(self, run, kind):
        """The name of a run's row; None if it is not in this file."""
        return run if run in self._rows else None

    def value(self, table, row):
        """The score of a run, times 100; None if the file does not have it."""
        score = self._rows.get(row, {"scores": {}})["scores"].get(table)
        return None if score is None else 100 * score

    def bounds(self, table, row, other=None):
        """No interval: captions are scored as a whole."""
        return None

    def scored(self, table):
        """No number of phrases."""
        return 0

    def media(self):
        """The media that were captioned, in words."""
        first = self._rows[self.runs[0]]
        return _media_text(self._dataset, first["media"], first)


class Results:
    """The result files of a folder.

    Args:
        folder: docs/results/.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        self.get = functools.cache(self._get)

    def _get(self, name):
        """The MapScores or CaptionScores of a name; None if there is no such file."""
        path = self.folder / f"{name}.json"
        return read_result(path) if path.exists() else None


def read_result(path):
    """The MapScores or CaptionScores of a file.

    Raises:
        UserError: if it is neither.
    """
    record = read_json(path)
    try:
        result = (MapScores if "tables" in record else CaptionScores)(record)
        result.media()
        for table in record.get("tables", ()):
            result.value(table, None)
        return result
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        actions = "--localize, --faithfulness, --sanity or --test"
        raise UserError(f"{path} is not a result of run_s2vt.py {actions} ({reason}); score again") from None


def add(path, name, folder):
    """Copies a result into the folder of the docs, without what follows from the sums of the media.

    Returns:
        Path of the copy.
    """
    if not re.fullmatch(r"[\w.+-]+_[\w.+-]+", name):
        raise UserError(f"a result is called CAPTIONER_PROTOCOL, such as StillShapes_paper; received {name!r}")
    read_result(path)
    record = read_json(path)
    if "tables" in record:
        tables = {name: {key: sums[key] for key in _KEPT} for name, sums in record["tables"].items()}
        record = {**record, "tables": tables}
    copy = Path(folder) / f"{name}.json"
    write_json(copy, record)
    return copy


def seeds_of(runs):
    """The runs that are repetitions with another seed.

    Example:
        >>> seeds_of(["StillShapes", "StillShapes-seed1", "StillShapes-seed2"])
        ['StillShapes-seed1', 'StillShapes-seed2']
    """
    return [run for run in runs if _SEED.fullmatch(run)]


def own_of(runs, captioner):
    """The captioner's own run: that of its name, else the only one that is no repetition; None if there is none.

    Example:
        >>> own_of(["StillShapes-crop"], "StillShapes_crop"), own_of(["A", "B", "B-seed1"], "A")
        ('StillShapes-crop', 'A')
    """
    others = [run for run in runs if not _SEED.fullmatch(run)]
    if captioner in others or not others:
        return captioner if others else None
    if len(others) > 1:
        raise UserError(f"which run is that of {captioner}: {listed(others)}? Score them into files of their own")
    return others[0]


def _media_text(dataset, number, record):
    """Example: ("StillShapes", 300, {"split": "test"}) -> "StillShapes: 300 media of test"."""
    first = "the first " if record.get("limit") else ""
    return f"{dataset}{': ' if dataset else ''}{first}{number} media of {record['split']}"
