"""Benchmarks: speed beside the machine's own limit and the 2017 release's procedure, and what settings change.

    python -m benchmarks                                      all stages
    python -m benchmarks saliency                             one
    python -m benchmarks saliency --set n=20 --set H=512      at another size: any argument of its `measure`

Prints a table of each stage and writes benchmarks/results/<stage>.json. A stage is a module with `measure(**settings)
-> {row: {column: number}}`; times are medians of several runs. What is compared in one row is measured in one run.
"""

import importlib
import inspect

from benchmarks.timing import RESULTS, machine
from s2vt import command_line, markdown
from s2vt.errors import UserError

STAGES = (
    "saliency", "maps", "every_map", "sentences", "scaling", "training", "extraction", "decoding", "scoring",
    "rendering", "start", "first_map", "grouping", "rounding", "precision", "ablations",
)  # fmt: skip
OF_EXTRAS = ("hugging_face", "cluster")  # run by name only: they need packages that requirements.txt has not


def main():
    from s2vt.data.files import write_json

    parser = command_line.Parser("python -m benchmarks", __doc__.split("\n")[0])
    parser.add_argument(
        "stages",
        nargs="*",
        metavar="STAGE",
        help=f"{', '.join(STAGES)} (default: all of these), {', '.join(OF_EXTRAS)}",
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="assignments",
                        help="change an argument of the stage's measure; may be repeated")  # fmt: skip
    options = parser.parse_args()
    for stage in options.stages:
        if stage not in STAGES + OF_EXTRAS:
            raise UserError(f"no stage {stage!r}; expected some of {', '.join(STAGES + OF_EXTRAS)}")
    modules = {stage: importlib.import_module(f"benchmarks.{stage}") for stage in options.stages or STAGES}
    sizes = {stage: _sizes(stage, module.measure, options.assignments) for stage, module in modules.items()}
    for stage, module in modules.items():
        rows, place = module.measure(**sizes[stage]), machine()
        write_json(RESULTS / f"{stage}.json", {"stage": stage, "machine": place, "set": sizes[stage], "rows": rows})
        lines = module.__doc__.strip(), table(stage, rows), ", ".join(place.values())
        print("", *lines, sep="\n\n", flush=True)
    return 0


def _sizes(stage, measure, assignments):
    """Arguments of a stage's measure, {name: value}, each of its default's type, from KEY=VALUE strings."""
    defaults, sizes = {name: p.default for name, p in inspect.signature(measure).parameters.items()}, {}
    for assignment in assignments:
        key, _, value = assignment.partition("=")
        if key not in defaults:
            raise UserError(f"--set {assignment}: {stage} has no {key!r}; expected some of {', '.join(defaults)}")
        try:
            sizes[key] = type(defaults[key])(value)
        except ValueError:
            raise UserError(f"--set {assignment}: expected a {type(defaults[key]).__name__}") from None
    return sizes


def table(title, rows):
    """A Markdown table of {row: {column: number}}; a column that a row lacks, or None, is left empty.

    Example:
        >>> print(table("stage", {"a": {"seconds": 0.25, "items": 1200}, "b": {"seconds": 12.5}}))
        | stage | seconds | items |
        |---|---|---|
        | a | 0.250 | 1,200 |
        | b | 12.5 |  |
    """
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    lines = ((name, *(_shown(row.get(column)) for column in columns)) for name, row in rows.items())
    return markdown.table([title, *columns], lines)


def _shown(value):
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}" if abs(value) >= 1 else f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


if __name__ == "__main__":
    command_line.run(main)
