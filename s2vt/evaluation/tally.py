"""Average scores of maps and baselines on the same phrases, with intervals, and their Markdown table.

Letters: M media, C columns (the average over all phrases first, then the categories), K rows.
"""

import math

import numpy as np

from s2vt import markdown
from s2vt.evaluation.intervals import bootstrap, interval

AVERAGES = {
    "phrase": "the average is over phrases, each counted once",
    "class": "the average is the unweighted mean of the categories' averages",
}
UNKNOWN = {
    "drop": "phrases that a captioner cannot read are left out",
    "miss": "phrases that a captioner cannot read count as its misses",
}
ALL = ""  # the column of all phrases
PHRASES = None  # the row of the numbers of phrases
DECIMALS = 6  # of the sums that are kept


class Tally:
    """Average scores of maps and of baselines on the same phrases, by category and over all of them.

    A tally holds the scores of one table. Every phrase has a value in every row, so that all rows are averages over
    the same phrases. Sums are kept for each medium, so that intervals can be computed.

    Args:
        metric: the table's upper left corner, such as "pointing game".
        protocol: how a value is computed, in words; printed under the table.
        average: "phrase" (over phrases, each counted once: the paper) or "class" (unweighted mean over categories:
            TorchRay). A phrase of several categories counts in each of them; one of none only in "phrase".
        categories: the first columns, in this order, as far as any phrase has them; others follow alphabetically.
        unknown: "drop" or "miss": what phrases are that were added with `unread`. The other average has a column of
            its own.
    Raises:
        ValueError: if average or unknown is neither.

    Example:
        >>> tally = Tally("pointing game", "a hit: the point lies in a box.", categories=("people", "other"))
        >>> tally.add({"nll": True, "random": 0.25}, ("other",), "picture1")
        >>> tally.add({"nll": False, "random": 0.5}, ("people", "other"), "picture1")
        >>> tally.drop({"no box": 3})
        >>> print(tally.table())
        | pointing game | people | other | average |
        |---|---|---|---|
        | nll | 0.000 | 0.500 | 0.500 |
        | random | 0.500 | 0.375 | 0.375 |
        | phrases | 1 | 2 | 2 |
        <BLANKLINE>
        Protocol: a hit: the point lies in a box.
        Scored 2 phrases of 1 medium; the average is over phrases, each counted once. Dropped 3: no box 3.
    """

    def __init__(self, metric, protocol, average="phrase", categories=(), unknown="drop"):
        for name, value, allowed in (("average", average, AVERAGES), ("unknown", unknown, UNKNOWN)):
            if value not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}; received {value!r}")
        self.metric, self.protocol, self.average, self.unknown = metric, protocol, average, unknown
        self._dropped = {}  # reason: number of phrases
        self.noted = {}  # fact: number of scored phrases
        self.unread = {}  # reason why a captioner cannot read a phrase: number of phrases
        self._order = tuple(categories)
        self._rows = None
        self._samples = {}  # {unknown: resampled averages}, while no phrase is added
        self._read, self._unread = {}, {}  # medium: {column: {row: sum over phrases, PHRASES: their number}}

    def add(self, values, categories=(), medium="", unread=""):
        """Adds one phrase.

        Args:
            values: {row: bool or number}, the same rows for every phrase.
            categories: of the phrase; one that is named twice counts once.
            medium: id of the medium that it is of.
            unread: why a captioner cannot read the phrase, whose maps have the value 0 then; "" if all can.
        Raises:
            ValueError: if the rows differ from the earlier phrases' or a value is not finite.
        """
        values = {row: float(value) for row, value in values.items()}
        if not values or self._rows not in (None, list(values)):
            raise ValueError(f"every phrase needs a value for each of {self._rows}; received {list(values)}")
        for row, value in values.items():
            if not math.isfinite(value):
                raise ValueError(f"the value of {row!r} is {value}: score it or drop the phrase")
        self._rows, self._samples = list(values), {}
        of_medium = (self._unread if unread else self._read).setdefault(medium, {})
        for column in dict.fromkeys((ALL, *categories)):
            sums = of_medium.setdefault(column, dict.fromkeys((PHRASES, *values), 0))
            for row, value in {PHRASES: 1, **values}.items():
                sums[row] += value
        if unread:
            self.unread[unread] = self.unread.get(unread, 0) + 1

    def drop(self, reasons):
        """Counts phrases that are not scored: {reason: number of phrases}."""
        for reason, count in reasons.items():
            self._dropped[reason] = self._dropped.get(reason, 0) + count

    def note(self, facts):
        """Counts facts about scored phrases: {fact: number of phrases}."""
        for fact, count in facts.items():
            self.noted[fact] = self.noted.get(fact, 0) + count

    # --- averages ---------------------------------------------------------------------------------------------------

    @property
    def rows(self):
        """Names of the rows."""
        return self._rows or []

    @property
    def scored(self):
        """Number of phrases that the average is over."""
        return int(self._arrays(self.unknown)[0][:, 0].sum())

    @property
    def dropped(self):
        """{reason: number of phrases} of those that the average is not over."""
        return self._dropped | (self.unread if self.unknown == "drop" else {})

    @property
    def categories(self):
        """Categories of the scored phrases, in the columns' order."""
        return self._categories(self.unknown)

    def _categories(self, unknown):
        media = [*self._read.values(), *(self._unread.values() if unknown == "miss" else ())]
        found = {column for of_medium in media for column in of_medium} - {ALL}
        first = [category for category in self._order if category in found]
        return (*first, *sorted(found - set(first)))

    def averages(self, unknown=None):
        """{row: (average over all, {category: average})}; the average is None if it is over no category.

        Args:
            unknown: "drop" or "miss"; None: the tally's own.
        """
        unknown = unknown or self.unknown
        counts, sums = (values.sum(axis=0, keepdims=True) for values in self._arrays(unknown))
        if not counts.any():
            return {}
        overall, found = self._overall(counts, sums)[0], {}
        for k, row in enumerate(self.rows):
            of_category = zip(self._categories(unknown), counts[0, 1:], sums[0, 1:, k], strict=True)
            by_category = {name: float(total / count) for name, count, total in of_category}
            found[row] = None if np.isnan(overall[k]) else float(overall[k]), by_category
        return found

    def intervals(self, unknown=None):
        """95 % intervals over media: {row: (low, high)} of the averages over all; empty for fewer than two media."""
        samples = self._bootstrapped(unknown or self.unknown)
        return {} if samples is None else {row: interval(samples[:, k]) for k, row in enumerate(self.rows)}

    def differences(self, unknown=None):
        """Differences between rows, paired over media: {(row, later row): (difference, (low, high))}.

        Empty for fewer than two media.
        """
        samples, averages = self._bootstrapped(unknown or self.unknown), self.averages(unknown)
        if samples is None:
            return {}
        return {
            (a, b): (averages[a][0] - averages[b][0], interval(samples[:, i] - samples[:, j]))
            for i, a in enumerate(self.rows)
            for j, b in enumerate(self.rows)
            if i < j
        }

    def _arrays(self, unknown):
        """Numbers of phrases, (M, C), and sums of their scores, (M, C, K)."""
        media = [(name, self._read.get(name, {})) for name in self._read | self._unread]
        if unknown == "miss":
            media = [(name, _sum(of_medium, self._unread.get(name, {}))) for name, of_medium in media]
        rows, columns = (PHRASES, *self.rows), (ALL, *self._categories(unknown))
        values = [[[of.get(column, {}).get(row, 0) for row in rows] for column in columns] for _, of in media]
        values = np.array(values, float).reshape(len(media), len(columns), len(rows)).round(DECIMALS)
        return values[..., 0], values[..., 1:]

    def _overall(self, counts, sums):
        """The average over all phrases, or the mean of the categories': (B, K) from (B, C) and (B, C, K)."""
        with np.errstate(invalid="ignore"):
            averages = sums / counts[..., None]
        if self.average == "phrase":
            return averages[:, 0]
        present = counts[:, 1:, None] > 0
        return np.where(present, averages[:, 1:], 0).sum(axis=1) / np.where(
            present.any(axis=1), present.sum(axis=1), np.nan
        )

    def _bootstrapped(self, unknown):
        """The average over all of each resample of the media, (B, K); None for fewer than two media."""
        if unknown not in self._samples:
            counts, sums = self._arrays(unknown)
            too_few = (counts[:, 0] > 0).sum() < 2 or (self.average == "class" and not self.categories)
            self._samples[unknown] = None if too_few else bootstrap(counts, sums, self._overall)
        return self._samples[unknown]

    # --- files and tables -------------------------------------------------------------------------------------------

    def sums(self):
        """What the tally holds, as JSON values: counts, and the sums of each medium. `from_sums` is the inverse."""
        return {
            "metric": self.metric,
            "protocol": self.protocol,
            "average": self.average,
            "unknown": self.unknown,
            "columns": list(self._order),
            "dropped": dict(self._dropped),
            "noted": dict(self.noted),
            "unread": dict(self.unread),
            "media": {"columns": [ALL, *self._all_columns()], "rows": self.rows,
                      "read": self._sums_json(self._read), "unread": self._sums_json(self._unread)},
        }  # fmt: skip

    def to_json(self):
        """A result as JSON values: averages with intervals, then what the tally holds."""
        other = "miss" if self.unknown == "drop" else "drop"
        counts = self._arrays(self.unknown)[0].sum(axis=0)[1:].astype(int).tolist()
        return {
            "scored": self.scored,
            "categories": dict(zip(self.categories, counts, strict=True)),
            "rows": self._rows_json(self.unknown),
            **({f"rows with unknown={other}": self._rows_json(other)} if self.unread else {}),
            "differences": [
                {"rows": list(pair), "difference": difference, "interval": list(bounds)}
                for pair, (difference, bounds) in self.differences().items()
            ],
            **self.sums(),
        }

    def _rows_json(self, unknown):
        intervals = self.intervals(unknown)
        return {
            row: {
                "average": overall,
                "interval": list(intervals[row]) if row in intervals else None,
                "categories": by_category,
            }
            for row, (overall, by_category) in self.averages(unknown).items()
        }

    def _all_columns(self):
        return sorted(
            {column for media in (self._read, self._unread) for of in media.values() for column in of} - {ALL}
        )

    def _sums_json(self, media):
        """{medium: for each row, for each column, the sum}."""
        columns = (ALL, *self._all_columns())

        def rounded(value):
            return int(value) if value == int(value) else round(value, DECIMALS)

        return {
            name: [[rounded(of.get(column, {}).get(row, 0)) for column in columns] for row in (PHRASES, *self.rows)]
            for name, of in media.items()
        }

    @classmethod
    def from_sums(cls, record):
        """The tally of `sums`, or of a result (`to_json`); further phrases can be added."""
        tally = cls(record["metric"], record["protocol"], record["average"], record["columns"], record["unknown"])
        tally.noted, tally.unread, tally._dropped = (dict(record[name]) for name in ("noted", "unread", "dropped"))
        kept = record["media"]
        tally._rows = kept["rows"] or None
        rows = (PHRASES, *kept["rows"])
        for media, sums in ((tally._read, kept["read"]), (tally._unread, kept["unread"])):
            for name, of_rows in sums.items():
                by_column = zip(kept["columns"], zip(*of_rows, strict=True), strict=True)
                media[name] = {
                    column: dict(zip(rows, values, strict=True)) for column, values in by_column if values[0]
                }
        return tally

    def merge(self, other):
        """Adds all that another tally of the same table holds."""
        if self._rows is not None and other._rows not in (None, self._rows):
            raise ValueError(f"every phrase needs a value for each of {self._rows}; received {other._rows}")
        self._rows, self._samples = self._rows or other._rows, {}
        for mine, its in ((self._read, other._read), (self._unread, other._unread)):
            for name, columns in its.items():
                mine[name] = _sum(mine.get(name, {}), columns)
        for mine, its in ((self._dropped, other._dropped), (self.noted, other.noted), (self.unread, other.unread)):
            for reason, count in its.items():
                mine[reason] = mine.get(reason, 0) + count

    def table(self):
        """The averages with their intervals as a Markdown table.

        Below it stand the paired differences of the first row, the protocol, and the numbers of phrases.
        """
        header, columns = [self.metric, *self.categories, "average"], [self.averages()]
        intervals, other = self.intervals(), "miss" if self.unknown == "drop" else "drop"
        header += ["95 % interval"] if intervals else []
        header += [f"average, unknown={other}"] if self.unread else []
        others = self.averages(other) if self.unread else {}
        rows = [
            (
                row, *by_category.values(), average,
                *([bounds_text(intervals[row])] if intervals else []),
                *([others[row][0]] if others else []),
            )
            for row, (average, by_category) in columns[0].items()
        ]  # fmt: skip
        counts = [int(count) for count in self._arrays(self.unknown)[0].sum(axis=0)]
        total = [int(self._arrays(other)[0][:, 0].sum())] if self.unread else []
        rows.append(("phrases", *counts[1:], counts[0], *([""] if intervals else []), *total))
        return "\n".join([markdown.table(header, rows), "", *self._notes()])

    def _notes(self):
        """The lines below the table."""
        pairs = [(pair, found) for pair, found in self.differences().items() if pair[0] == self.rows[0]]
        if pairs:
            texts = [f"{a} - {b} {difference:+.3f} {bounds_text(bounds)}" for (a, b), (difference, bounds) in pairs]
            yield f"Differences, with 95 % intervals paired over media: {'; '.join(texts)}."
        yield f"Protocol: {self.protocol}"
        yield self.scored_text()

    def scored_text(self):
        """The numbers of phrases, in words."""
        num_media = len(self._read | (self._unread if self.unknown == "miss" else {}))
        media = f" of {num_media} medi{'um' if num_media == 1 else 'a'}" if num_media else ""
        dropped = f"Dropped {sum(self.dropped.values())}" + (f": {_listed(self.dropped)}." if self.dropped else ".")
        line = f"Scored {self.scored} phrases{media}; {AVERAGES[self.average]}. {dropped}"
        if self.unread:
            line += f" {UNKNOWN[self.unknown][0].upper()}{UNKNOWN[self.unknown][1:]} ({_listed(self.unread)})."
        return line + (f" Of the scored: {_listed(self.noted)}." if self.noted else "")


def side_by_side(corner, tallies):
    """The averages of several tallies as one Markdown table, a column for each, with the notes of the first below.

    Args:
        corner: the upper left cell.   tallies: {column: Tally}, not empty; a row that one does not have is "-" there.

    Example:
        >>> deleted, inserted = Tally("deletion", "the area."), Tally("insertion", "the other area.")
        >>> deleted.add({"nll": -3.0, "kl": -2.0})
        >>> inserted.add({"nll": -1.0})
        >>> print(side_by_side("area", {"deletion": deleted, "insertion": inserted}))
        | area | deletion | insertion |
        |---|---|---|
        | nll | -3.000 | -1.000 |
        | kl | -2.000 | - |
        <BLANKLINE>
        Of deletion: the area.
        Scored 1 phrases of 1 medium; the average is over phrases, each counted once. Dropped 0.
    """
    columns = [(tally.averages(), tally.intervals()) for tally in tallies.values()]
    rows = []
    for row in dict.fromkeys(row for averages, _ in columns for row in averages):
        cells = []
        for averages, intervals in columns:
            value = averages.get(row, (None,))[0]
            bounds = f" {bounds_text(intervals[row])}" if row in intervals else ""
            cells.append(None if value is None else f"{value:.3f}{bounds}")
        rows.append((row, *cells))
    name, first = next(iter(tallies.items()))
    notes = f"Of {name}: {first.protocol}\n{first.scored_text()}"
    return f"{markdown.table((corner, *tallies), rows)}\n\n{notes}"


def bounds_text(bounds):
    """An interval as text.

    Example:
        >>> bounds_text((0.25, 0.5))
        '[0.250, 0.500]'
    """
    return "[{:.3f}, {:.3f}]".format(*bounds)


def _sum(*media):
    """The sums of one medium over several groups of phrases."""
    total = {}
    for columns in media:
        for column, rows in columns.items():
            sums = total.setdefault(column, dict.fromkeys(rows, 0))
            for row, value in rows.items():
                sums[row] += value
    return total


def _listed(counts):
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
