"""Average scores of maps and baselines on the same phrases, by category and over all, and their Markdown table."""

import math

from s2vt import markdown

AVERAGES = {
    "phrase": "the average is over phrases, each counted once",
    "class": "the average is the unweighted mean of the categories' averages",
}


class Tally:
    """Average scores of maps and of baselines on the same phrases, by category and over all of them.

    A tally holds the scores of one table. Every phrase has a value in every row, so that all rows are averages over
    the same phrases. Only sums are kept: memory does not grow with the number of phrases.

    Args:
        metric: the table's upper left corner, such as "pointing game".
        protocol: how a value is computed, in words; printed under the table.
        average: "phrase" (over phrases, each counted once: the paper) or "class" (unweighted mean over categories:
            TorchRay). A phrase of several categories counts in each of them; one of none only in "phrase".
        categories: the first columns, in this order, as far as any phrase has them; others follow alphabetically.
    Raises:
        ValueError: if average is neither.

    Example:
        >>> tally = Tally("pointing game", "a hit: the point lies in a box.", categories=("people", "other"))
        >>> tally.add({"nll": True, "random": 0.25}, ("other",))
        >>> tally.add({"nll": False, "random": 0.5}, ("people", "other"))
        >>> tally.drop({"no box": 3})
        >>> print(tally.table())
        | pointing game | people | other | average |
        |---|---|---|---|
        | nll | 0.000 | 0.500 | 0.500 |
        | random | 0.500 | 0.375 | 0.375 |
        | phrases | 1 | 2 | 2 |
        <BLANKLINE>
        Protocol: a hit: the point lies in a box.
        Scored 2 phrases; the average is over phrases, each counted once. Dropped 3: no box 3.
    """

    def __init__(self, metric, protocol, average="phrase", categories=()):
        if average not in AVERAGES:
            raise ValueError(f"average must be one of {', '.join(AVERAGES)}; received {average!r}")
        self.metric, self.protocol, self.average = metric, protocol, average
        self.scored = 0  # number of phrases
        self.dropped = {}  # reason: number of phrases
        self.noted = {}  # fact: number of scored phrases
        self._order = tuple(categories)
        self._counts = {}  # category: number of phrases
        self._sums = {}  # row: sum over phrases
        self._category_sums = {}  # row: {category: sum over its phrases}

    def add(self, values, categories=()):
        """Adds one phrase.

        Args:
            values: {row: bool or number}, the same rows for every phrase.
            categories: of the phrase; one that is named twice counts once.
        Raises:
            ValueError: if the rows differ from the earlier phrases' or a value is not finite.
        """
        values = {row: float(value) for row, value in values.items()}
        if not values or (self.scored and values.keys() != self._sums.keys()):
            raise ValueError(f"every phrase needs a value for each of {list(self._sums)}; received {list(values)}")
        for row, value in values.items():
            if not math.isfinite(value):
                raise ValueError(f"the value of {row!r} is {value}: score it or drop the phrase")
        categories = tuple(dict.fromkeys(categories))
        self.scored += 1
        for category in categories:
            self._counts[category] = self._counts.get(category, 0) + 1
        for row, value in values.items():
            self._sums[row] = self._sums.get(row, 0.0) + value
            sums = self._category_sums.setdefault(row, {})
            for category in categories:
                sums[category] = sums.get(category, 0.0) + value

    def drop(self, reasons):
        """Counts phrases that are not scored: {reason: number of phrases}."""
        for reason, count in reasons.items():
            self.dropped[reason] = self.dropped.get(reason, 0) + count

    def note(self, facts):
        """Counts facts about scored phrases: {fact: number of phrases}."""
        for fact, count in facts.items():
            self.noted[fact] = self.noted.get(fact, 0) + count

    @property
    def categories(self):
        """Categories of the scored phrases, in the columns' order."""
        first = [category for category in self._order if category in self._counts]
        return (*first, *sorted(self._counts.keys() - set(first)))

    def averages(self):
        """{row: (average over all, {category: average})}; the average is None if it is over no category."""
        averages = {}
        for row, total in self._sums.items():
            sums = self._category_sums[row]
            by_category = {category: sums[category] / self._counts[category] for category in self.categories}
            if self.average == "phrase":
                overall = total / self.scored
            else:
                overall = sum(by_category.values()) / len(by_category) if by_category else None
            averages[row] = (overall, by_category)
        return averages

    def to_json(self):
        """The tally as JSON values, for `from_json`."""
        return {
            "metric": self.metric,
            "protocol": self.protocol,
            "average": self.average,
            "columns": list(self._order),
            "scored": self.scored,
            "dropped": dict(self.dropped),
            "noted": dict(self.noted),
            "categories": {category: self._counts[category] for category in self.categories},
            "rows": {
                row: {
                    "average": overall,
                    "categories": by_category,
                    "sum": self._sums[row],
                    "category_sums": {category: self._category_sums[row][category] for category in by_category},
                }
                for row, (overall, by_category) in self.averages().items()
            },
        }

    @classmethod
    def from_json(cls, record):
        """The tally that `to_json` wrote; further phrases can be added."""
        tally = cls(record["metric"], record["protocol"], record["average"], record["columns"])
        tally.scored, tally.dropped, tally.noted = record["scored"], dict(record["dropped"]), dict(record["noted"])
        tally._counts = dict(record["categories"])
        tally._sums = {row: values["sum"] for row, values in record["rows"].items()}
        tally._category_sums = {row: dict(values["category_sums"]) for row, values in record["rows"].items()}
        return tally

    def table(self):
        """The averages as a Markdown table; below it the protocol and the numbers of phrases scored and dropped."""
        rows = [(row, *by_category.values(), average) for row, (average, by_category) in self.averages().items()]
        rows.append(("phrases", *(self._counts[category] for category in self.categories), self.scored))
        table = markdown.table((self.metric, *self.categories, "average"), rows)
        counts = f"Scored {self.scored} phrases; {AVERAGES[self.average]}. Dropped {sum(self.dropped.values())}"
        counts += f": {_listed(self.dropped)}." if self.dropped else "."
        counts += f" Of the scored: {_listed(self.noted)}." if self.noted else ""
        return f"{table}\n\nProtocol: {self.protocol}\n{counts}"


def _listed(counts):
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
