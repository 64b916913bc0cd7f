"""The tables of README.md and docs/results.md: which scores of which result file stand in which cell.

A new table is an entry of `TABLES`; `report` writes it between its markers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from s2vt import markdown
from s2vt.data.entities import CATEGORIES
from s2vt.evaluation import published
from s2vt.evaluation.question_tables import CLASSES, OTHER, classes_name, curve_name, similarity_name
from s2vt.evaluation.results import own_of, seeds_of
from s2vt.evaluation.tally import bounds_text
from s2vt.saliency.deletion import DOMAINS
from s2vt.saliency.maps import KINDS

NUM_SEEDS = 3  # repetitions of the trainings that the docs quote

# --- cells ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """One cell of a `Grid`.

    Attributes:
        captioner, part: the result file is docs/results/CAPTIONER_PART.json; part is a protocol, or "captions".
        table: of the file: one of `tables.TABLES`, or a metric of captions.
        show: (result, Cell) -> text, None if the result does not have it; one of the functions below.
        kind: of map; "" in a row of a baseline alone.
        over: another table of the same phrases: the value is the ratio of the two tables' averages.
    """

    captioner: str
    part: str
    table: str
    show: Callable
    kind: str = "nll"
    over: str = ""

    @property
    def file(self):
        """The name of its result file."""
        return f"{self.captioner}_{self.part}"

    def value(self, result, row):
        """The value of a row; None if the result does not have it."""
        value = result.value(self.table, row)
        if value is None or not self.over:
            return value
        other = result.value(self.over, row)
        return None if other is None or not value + other else value / other if other else float("inf")

    def own_row(self, result):
        """The row of the captioner's own run."""
        return result.row(own_of(result.runs, self.captioner), self.kind)

    def has_map(self, result):
        """Whether the result has maps of this kind, of any run, or no maps at all: baselines alone, or captions."""
        return not result.runs or any(result.row(run, self.kind) for run in result.runs)

    def text(self, value, result):
        """A value as text."""
        return f"{value:.{1 if self.over else result.decimals}f}"


def own(result, cell):
    """The captioner's own run, with the 95 % interval over media: "0.889 [0.872, 0.905]"."""
    row = cell.own_row(result)
    value = cell.value(result, row)
    if value is None:
        return None
    if cell.over:
        bounds = result.ratio_bounds(cell.table, cell.over, row)
        return cell.text(value, result) + (" [{:.1f}, {:.1f}]".format(*bounds) if bounds else "")
    bounds = result.bounds(cell.table, row)
    return cell.text(value, result) + (f" {bounds_text(bounds)}" if bounds else "")


def seeds(result, cell):
    """The mean of the repetitions with other seeds, with their range: "0.889 (0.884 to 0.893)"."""
    values = [cell.value(result, result.row(run, cell.kind)) for run in seeds_of(result.runs)]
    values = [value for value in values if value is not None]
    if not values:
        return None
    mean, low, high = (cell.text(v, result) for v in (sum(values) / len(values), min(values), max(values)))
    return (
        f"{mean} ({low} to {high})"
        if len(values) >= NUM_SEEDS
        else f"{mean} ({low} to {high}; {len(values)} of {NUM_SEEDS})"
    )


def baseline(*names):
    """The first of some baselines that the table has, beside a map that the result has. names: of rows."""

    def show(result, cell):
        if not cell.has_map(result):
            return None
        values = [value for name in names if (value := cell.value(result, name)) is not None]
        return cell.text(values[0], result) if values else None

    return show


def minus(name):
    """The captioner's own run minus a baseline, with the paired 95 % interval: "+0.755 [0.735, 0.775]"."""

    def show(result, cell):
        row = cell.own_row(result)
        values = cell.value(result, row), cell.value(result, name)
        if None in values:
            return None
        bounds = result.bounds(cell.table, row, name)
        return f"{values[0] - values[1]:+.3f}" + (f" {bounds_text(bounds)}" if bounds else "")

    return show


def beside(*names):
    """The first of some baselines that the table has: a row of its own under the maps. names: of rows."""

    def show(result, cell):
        values = [cell.value(result, row) for name in names for row in (result.row(cell.captioner, name), name)]
        values = [value for value in values if value is not None]
        return cell.text(values[0], result) if values else None

    return show


def rounded(result, cell):
    """The captioner's own run with three digits or more, without an interval: seconds, passes."""
    value = cell.value(result, cell.own_row(result))
    return None if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def phrases(result, cell):
    """The number of phrases that the averages are over, beside a map that the result has."""
    return str(result.scored(cell.table) or "") or None if cell.has_map(result) else None


# --- tables ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Grid:
    """A table whose cells are made of what its rows and its columns say. Empty rows and columns are left out.

    Attributes:
        name: in the marker.
        corner: the upper left cell.
        rows, columns: (label, {attribute of Cell: value}).
        common: attributes of all cells.
    """

    name: str
    corner: str
    rows: tuple[tuple[str, Mapping], ...]
    columns: tuple[tuple[str, Mapping], ...]
    common: Mapping = field(default_factory=dict)

    def cells(self):
        """One list of Cells for each row of the table."""
        return [[Cell(**{**self.common, **row, **column}) for _, column in self.columns] for _, row in self.rows]

    def files(self):
        """Names of the result files that it shows."""
        return list(dict.fromkeys(cell.file for row in self.cells() for cell in row))

    def markdown(self, results):
        """The table as Markdown; "" if none of its files has any of it."""
        cells = [[_shown(results, cell) for cell in row] for row in self.cells()]
        columns = [c for c in range(len(self.columns)) if any(row[c].text for row in cells)]
        rows = [
            (label, *(row[c].text or None for c in columns))
            for (label, _), row in zip(self.rows, cells, strict=True)
            if any(cell.text for cell in row)
        ]
        if not rows:
            return ""
        header = (self.corner, *(self.columns[c][0] for c in columns))
        shown = [
            (cell.table, cell.result, label)
            for row in cells
            for cell, (label, _) in zip(row, self.columns, strict=True)
            if cell.text
        ]
        return f"{markdown.table(header, rows)}\n\n{media_line(shown)}"


class _Shown(NamedTuple):
    """A cell's text, "" if there is none, the result that it is from, and the table of that."""

    text: str
    result: object
    table: str


def _shown(results, cell):
    result = results.get(cell.file)
    return _Shown((result and cell.show(result, cell)) or "", result, cell.table)


@dataclass(frozen=True)
class ByCategory:
    """A table with a column for each category of phrases: the captioner's own run, the baselines, published rows.

    Attributes:
        name: in the marker.
        corner: the upper left cell.
        cell: a Cell; its `show` is ignored.
        beside: published rows, {label: values of `entities.CATEGORIES`, then the average}.
    """

    name: str
    corner: str
    cell: Cell
    beside: Mapping = field(default_factory=dict)

    def files(self):
        """Names of the result files that it shows."""
        return [self.cell.file]

    def markdown(self, results):
        """The table as Markdown; "" if there is no such file or table."""
        result, table = results.get(self.cell.file), self.cell.table
        if not result or not result.scored(table):
            return ""
        tally, own_row, rows = result.tally(table), self.cell.own_row(result), []
        for row, (average, by_category) in tally.averages().items():
            if row == own_row or row not in result.maps:
                bounds = result.bounds(table, row)
                label = self.cell.kind if row == own_row else row
                rows.append((label, *by_category.values(), average, bounds_text(bounds) if bounds else None))
        for label, (*by_category, average) in self.beside.items():
            values = dict(zip(CATEGORIES, by_category, strict=True))
            rows.append((label, *map(values.get, tally.categories), average, None))
        rows.append(("phrases", *result.counts(table).values(), tally.scored, ""))
        header = (self.corner, *tally.categories, "average", "95 % interval")
        return f"{markdown.table(header, rows)}\n\n{media_line([(table, result, '')])}"


def media_line(shown):
    """Which media and phrases a table is over; where its columns differ in it, which columns are over which.

    Args:
        shown: (table, result, label of the column) of its cells.
    """
    parts, samples = {}, {}  # {media: {number of phrases: labels}}, {label: its (media, number)}
    for table, result, label in shown:
        media, number = result.media(), result.scored(table)
        parts.setdefault(media, {})
        if number:
            parts[media].setdefault(number, {})[label] = None
            samples.setdefault(label, set()).add((media, number))
    differ = len(set.union(set(), *samples.values())) > 1 and all(len(each) == 1 for each in samples.values())
    texts = []
    for media, labels_of in parts.items():
        each = [f"{n:,}" + (f" phrases ({'; '.join(labels)})" if differ else "") for n, labels in labels_of.items()]
        texts.append(", ".join([media, *each]) if differ or not each else f"{media}, {' or '.join(each)} phrases")
    return f"{'; '.join(texts)}."


SEEDS, SHIPPED, RUN = "three seeds: mean (range)", "shipped [95 % interval]", "one training [95 % interval]"
PROTOCOLS = tuple((name, {"part": name}) for name in ("paper", "ours", "release", "torchray"))
PLACE = (
    (SEEDS, {"show": seeds}),
    (SHIPPED, {"show": own}),
    ("shipped - center", {"show": minus("center")}),
    ("random", {"show": baseline("random")}),
    ("center", {"show": baseline("center")}),
    ("phrases", {"show": phrases}),
)
MOMENT = (
    (SEEDS, {"show": seeds}),
    (SHIPPED, {"show": own}),
    ("shipped - random", {"show": minus("random")}),
    ("shipped - middle", {"show": minus("middle")}),
    ("random", {"show": baseline("random")}),
    ("middle", {"show": baseline("middle")}),
    ("phrases", {"show": phrases}),
)
MOMENT_ROWS = tuple(
    (f"{part}, {kind}", {"part": part, "kind": kind})
    for part in ("paper", "ours", "release")
    for kind in ("nll", "change", "moment")
)
CORRECTNESS_ROWS = tuple(
    (f"{kind}, {title}", {"kind": kind, "table": table})
    for kind in ("nll", "likelihood")
    for title, table in (
        ("maximum over the words", "attention correctness"),
        ("mean over the words", "attention correctness, mean of words"),
        ("map of the phrase", "attention correctness, phrase"),
    )
)
BACKBONES = (  # what they were trained with, and the endings of the runs that read them
    ("the renderer's boxes", ""),
    ("ImageNet, then labels of whole frames", "-frames"),
    ("ImageNet", "-imagenet"),
)
SHAPES_CAPTIONERS = {  # besides S2VT: endings of the names of runs, and titles
    "-soft_attention": "soft attention",
    "-mean_pool": "mean pooling",
    "-transformer": "transformer",
}
MAP_ROWS = (
    *((kind, {"kind": kind, "show": own}) for kind in KINDS),
    ("random, or uniform", {"kind": "", "show": beside("random", "uniform")}),
    ("center, or middle", {"kind": "", "show": beside("center", "middle")}),
)
LOCALIZED = (  # of maps side by side: columns whose part is that of `MAPS_OF`
    ("pointing", {"table": "space"}),
    ("attention correctness", {"table": "attention correctness, phrase"}),
    ("right moment", {"table": "time: object"}),
    ("right moment, events", {"table": "time: event"}),
)
ASKED = (
    *(
        (f"{curve}, {domain}", {"part": "faithfulness", "table": curve_name(curve, domain)})
        for domain in DOMAINS
        for curve in ("deletion", "insertion")
    ),
    *(
        (f"{curve}, pixels", {"part": "pixels", "table": curve_name(curve, "space", "pixels")})
        for curve in ("deletion", "insertion")
    ),
    *(
        (f"sanity: {stage}", {"part": "sanity", "table": similarity_name("space", stage, "Spearman")})
        for stage in ("output", "embedding", "network", OTHER)
    ),
    *(
        (f"{title} a medium", {"part": "faithfulness", "table": table, "show": rounded})
        for title, table in (
            ("forward passes", "passes"),
            ("backward passes", "backward passes"),
            ("seconds", "seconds"),
        )
    ),
)
MAPS_OF = (  # captioners whose maps stand side by side, and the part of their scores against boxes
    *((f"{dataset}{kind}", "maps") for dataset in ("StillShapes", "MovingShapes") for kind in ("", *SHAPES_CAPTIONERS)),
    *((f"Flickr30k{kind}", "maps") for kind in ("-plain", "-soft", "-s2vt")),
    *((f"Flickr30k{kind}", "ours") for kind in ("", "-light")),
)
PHOTOGRAPHS = (  # what a table's captioners have in common, (each one's title, its run)
    (
        "plain",
        (
            ("S2VT, 1,300 units", "Flickr30k-s2vt-1300"),
            ("S2VT, 512 units", "Flickr30k-s2vt"),
            ("mean pooling", "Flickr30k-plain"),
            ("soft attention", "Flickr30k-soft"),
            ("hard attention", "Flickr30k-hard"),
        ),
    ),
    ("taught", (("InceptionV3", "Flickr30k"), ("EfficientNet-Lite0", "Flickr30k-light"))),
)


def _rows_of_photographs(captioners):
    """Rows of captioners of photographs: protocols, the last with finer cells than in training, and kinds of map."""
    return tuple(
        (f"{title}, {protocol}, {kind}", {"captioner": run, "part": part, "kind": kind})
        for title, run in captioners
        for part, protocol in (("paper", "paper"), ("ours", "ours"), ("finer", "ours, 17x17 cells"))
        for kind in ("nll", "likelihood", "logit", "attention", "alignment")
    )


def _which_event(part):
    """Rows of a protocol in the table of ShapeSequences."""
    shows = ((SEEDS, seeds), (RUN, own))
    return tuple(
        (f"{part}, {kind}, {title}", {"part": part, "kind": kind, "show": show})
        for kind in ("nll", "change", "moment")
        for title, show in shows
    )


TABLES = (
    Grid(
        name="README",
        corner="",
        rows=(
            ("paper's protocol", {"part": "paper", "show": own}),
            ("paper's protocol, map `moment`", {"part": "paper", "show": own, "kind": "moment"}),
            ("ours", {"part": "ours", "show": own}),
            ("ours, map `moment`", {"part": "ours", "show": own, "kind": "moment"}),
            ("ours, map `alignment`", {"part": "ours", "show": own, "kind": "alignment"}),
            ("random", {"part": "paper", "show": baseline("random")}),
            ("centre, or middle frame", {"part": "paper", "show": baseline("center", "middle")}),
        ),
        columns=(
            ("StillShapes: place", {"captioner": "StillShapes", "table": "space"}),
            ("MovingShapes: place", {"captioner": "MovingShapes", "table": "space"}),
            ("MovingShapes: time, objects", {"captioner": "MovingShapes", "table": "time: object"}),
            ("MovingShapes: time, events", {"captioner": "MovingShapes", "table": "time: event"}),
            ("photographs: place", {"captioner": "Flickr30k", "table": "space"}),
        ),
    ),
    *(
        table
        for captioner in ("StillShapes", "MovingShapes")
        for table in (
            Grid(
                name=f"{captioner}_place",
                corner="pointing game, protocol",
                rows=PROTOCOLS,
                columns=PLACE,
                common={"captioner": captioner, "table": "space"},
            ),
            ByCategory(
                name=f"{captioner}_place_by_category",
                corner="pointing game, protocol ours",
                cell=Cell(captioner, "ours", "space", own),
            ),
        )
    ),
    Grid(
        name="StillShapes_correctness",
        corner="attention correctness",
        rows=CORRECTNESS_ROWS,
        columns=(
            (f"paper: {SEEDS}", {"part": "paper", "show": seeds}),
            (f"paper: {SHIPPED}", {"part": "paper", "show": own}),
            (f"ours: {SEEDS}", {"part": "ours", "show": seeds}),
            (f"ours: {SHIPPED}", {"part": "ours", "show": own}),
            ("uniform", {"part": "paper", "show": baseline("uniform")}),
        ),
        common={"captioner": "StillShapes"},
    ),
    *(
        Grid(
            name=f"MovingShapes_time_{which}s",
            corner=f"right moment, {which}s: protocol, map",
            rows=MOMENT_ROWS,
            columns=MOMENT,
            common={"captioner": "MovingShapes", "table": f"time: {which}"},
        )
        for which in ("object", "event")
    ),
    Grid(
        name="ShapeSequences_events",
        corner="most salient frame: protocol, map",
        rows=(
            *_which_event("paper"),
            *_which_event("ours"),
            ("random", {"part": "paper", "show": baseline("random")}),
            ("middle", {"part": "paper", "show": baseline("middle")}),
        ),
        columns=(
            ("right event", {"table": "time: right event"}),
            ("wrong event", {"table": "time: wrong event"}),
            ("neither", {"table": "time: no event"}),
            ("right : wrong", {"table": "time: right event", "over": "time: wrong event"}),
        ),
        common={"captioner": "ShapeSequences"},
    ),
    ByCategory(
        name="Flickr30k_baselines",
        corner="pointing game, protocol paper (Table 1)",
        cell=Cell("Flickr30k", "baselines", "space", own),
        beside={f"{row} (published)": values for row, values in published.TABLE_1.items()},
    ),
    *(
        Grid(
            name=f"Flickr30k_{trained}_{name}",
            corner=f"{title}: captioner, protocol, map",
            rows=_rows_of_photographs(captioners),
            columns=(
                ("captioner [95 % interval]", {"show": own}),
                (f"captioner - {other}", {"show": minus(other)}),
                *((row, {"show": baseline(row)}) for row in rows),
                ("phrases", {"show": phrases}),
            ),
            common={"table": table},
        )
        for trained, captioners in PHOTOGRAPHS
        for name, title, table, other, rows in (
            ("place", "pointing game", "space", "center", ("random", "center")),
            ("correctness", "attention correctness", "attention correctness, phrase", "uniform", ("uniform",)),
        )
    ),
    *(
        ByCategory(
            name=f"{run}_by_category".replace("-", "_"),
            corner=f"pointing game, protocol paper, {title}",
            cell=Cell(run, "paper", "space", own),
            beside={f"{row} (published)": values for row, values in published.TABLE_1.items()} if k == 0 else {},
        )
        for k, (title, run) in enumerate(PHOTOGRAPHS[0][1])
    ),
    *(
        ByCategory(
            name=f"Flickr30k_{kind}_by_category",
            corner="pointing game, protocol ours, InceptionV3",
            cell=Cell("Flickr30k", "ours", "space", own, kind),
        )
        for kind in ("nll", "logit", "alignment")
    ),
    *(
        Grid(
            name=f"{captioner}_maps".replace("-", "_"),
            corner="map, protocol ours",
            rows=MAP_ROWS,
            columns=(*((title, {"part": part, **cell}) for title, cell in LOCALIZED), *ASKED),
            common={"captioner": captioner},
        )
        for captioner, part in MAPS_OF
    ),
    Grid(
        name="StillShapes_classes",
        corner="pointing game, read at",
        rows=tuple(
            (f"{part}, {title}", {"part": part, "table": table})
            for part in ("mixed_10", "17x17", "35x35")
            for title, table in (
                ("all classes", CLASSES),
                ("colours", classes_name("colour")),
                ("shapes", classes_name("shape")),
            )
        ),
        columns=(
            ("EB [95 % interval]", {"kind": "eb", "show": own}),
            ("c-EB [95 % interval]", {"kind": "ceb", "show": own}),
            ("c-EB - EB", {"kind": "ceb", "show": minus("eb")}),
            ("random", {"kind": "ceb", "show": baseline("random")}),
            ("center", {"kind": "ceb", "show": baseline("center")}),
            ("classes", {"kind": "ceb", "show": phrases}),
        ),
        common={"captioner": "inception-shapes"},
    ),
    Grid(
        name="backbones",
        corner="backbone trained with",
        rows=tuple(
            (f"{title}: {dataset}", {"captioner": f"{dataset}{ending}"})
            for dataset in ("StillShapes", "MovingShapes")
            for title, ending in BACKBONES
        ),
        columns=(
            (f"pointing, paper: {SEEDS}", {"part": "paper", "table": "space", "show": seeds}),
            (f"{RUN}", {"part": "paper", "table": "space", "show": own}),
            (f"pointing, ours: {SEEDS}", {"part": "ours", "table": "space", "show": seeds}),
            (f"{RUN}", {"part": "ours", "table": "space", "show": own}),
            ("random", {"part": "ours", "table": "space", "show": baseline("random")}),
            ("center", {"part": "ours", "table": "space", "show": baseline("center")}),
            (f"METEOR: {SEEDS}", {"part": "captions", "table": "METEOR", "show": seeds}),
            ("one training", {"part": "captions", "table": "METEOR", "show": own}),
        ),
    ),
    Grid(
        name="captions",
        corner="captions, greedy",
        rows=tuple(
            (f"{dataset}, {title}", {"captioner": dataset, "show": show})
            for dataset, run in (("StillShapes", "shipped"), ("MovingShapes", "shipped"), ("ShapeSequences", "one run"))
            for title, show in ((SEEDS, seeds), (run, own))
        )
        + tuple(
            (f"{dataset}, {title}, one training", {"captioner": f"{dataset}{ending}", "show": own})
            for dataset in ("StillShapes", "MovingShapes")
            for ending, title in SHAPES_CAPTIONERS.items()
        )
        + tuple(
            (f"photographs, {trained}, {title}", {"captioner": run, "show": own})
            for trained, captioners in PHOTOGRAPHS
            for title, run in captioners
        )
        + (("clips of MSR-VTT, taught, InceptionV3", {"captioner": "MSR-VTT", "show": own}),),
        columns=tuple((metric, {"table": metric}) for metric in ("METEOR", "CIDEr", "BLEU-4")),
        common={"part": "captions"},
    ),
    *(
        Grid(
            name=f"{dataset}_crop",
            corner="protocol paper, centre-cropped inputs (Table 2)",
            rows=CORRECTNESS_ROWS,
            columns=((RUN, {"show": own}), ("uniform", {"show": baseline("uniform")}), ("phrases", {"show": phrases})),
            common={"captioner": f"{dataset}_crop", "part": "paper"},
        )
        for dataset in ("StillShapes", "Flickr30k")
    ),
)  # fmt: skip
