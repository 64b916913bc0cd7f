"""Markdown tables."""

from collections.abc import Iterable


def table(header: Iterable, rows: Iterable[Iterable], decimals: int = 3) -> str:
    """A Markdown table.

    Args:
        header: the cells of its first line.
        rows: the cells of each further line. None is shown as "-", a float with `decimals` places.
        decimals: places of a float.

    Example:
        >>> print(table(("pointing game", "people", "average"), [("nll", 0.5, None), ("random|center", 0.25, 12)]))
        | pointing game | people | average |
        |---|---|---|
        | nll | 0.500 | - |
        | random\\|center | 0.250 | 12 |
    """

    def line(cells):
        return "| " + " | ".join(_text(cell, decimals).replace("|", "\\|") for cell in cells) + " |"

    header = tuple(header)
    return "\n".join([line(header), "|---" * len(header) + "|", *map(line, rows)])


def _text(cell, decimals):
    if cell is None:
        return "-"
    return f"{cell:.{decimals}f}" if isinstance(cell, float) else str(cell)
