"""The docs' tables: they equal what the committed results give; numbers by hand; errors."""

import itertools
import json
import re
import sys
from pathlib import Path

import pytest

from s2vt import command_line
from s2vt.data.files import file_digest, read_json
from s2vt.errors import UserError
from s2vt.evaluation import docs_tables, report
from s2vt.evaluation.results import FOLDER, Results, add, read_result
from s2vt.evaluation.tally import Tally

ROOT = Path(__file__).resolve().parents[1]
COMMITTED = sorted((ROOT / FOLDER).glob("*.json"))
RUNS = ("StillShapes", "StillShapes-seed1", "StillShapes-seed2", "StillShapes-seed3")
HITS = ((1, 1, 1, 0), (1, 1, 1, 1), (1, 1, 0, 0), (1, 1, 1, 0))  # of each run, on four pictures of one phrase
PLACE = {"random": (0.25,) * 4, "center": (1, 0, 0, 0)}
CATEGORIES = ("angular", "round", "round", "round")


# --- the committed pages --------------------------------------------------------------------------------------------


def test_the_committed_pages_equal_what_the_committed_results_give():
    assert report.update(ROOT, check=True) == []


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_committed_results_are_shown_and_of_the_shipped_checkpoints(path):
    assert path.stem in {file for table in docs_tables.TABLES for file in table.files()}
    for row in read_json(path).get("rows", []):
        weights = ROOT / "experiments" / row["run"] / "checkpoints" / f"{row['checkpoint']}.weights.h5"
        if weights.parent.exists():
            assert row["sha256"] == file_digest(weights), row["run"]


def test_every_table_of_a_cell_exists():
    from s2vt.captioning.scoring import METRICS
    from s2vt.evaluation import question_tables
    from s2vt.evaluation.tables import TABLES
    from s2vt.saliency.deletion import DOMAINS
    from s2vt.saliency.maps import KINDS

    known = {table.name for table in TABLES} | {*METRICS, "", *question_tables.COSTS}
    asked = itertools.product(("deletion", "insertion"), DOMAINS, ("descriptors", "pixels"))
    known |= {question_tables.curve_name(*each) for each in asked}
    stages = (*question_tables.STAGES, question_tables.OTHER)
    known |= {question_tables.similarity_name("space", stage, "Spearman") for stage in stages}
    known |= {question_tables.CLASSES, *map(question_tables.classes_name, ("colour", "shape"))}
    for table in docs_tables.TABLES:
        for cell in sum(table.cells(), []) if isinstance(table, docs_tables.Grid) else [table.cell]:
            assert {cell.table, cell.over} <= known and cell.kind in {*KINDS, ""}, table.name


def test_names_of_tables_differ():
    names = [table.name for table in docs_tables.TABLES]
    assert len(names) == len(set(names)) and all(re.fullmatch(r"\w+", name) for name in names)


# --- small results --------------------------------------------------------------------------------------------------


def result(tables, runs, kinds=("nll",), dataset="StillShapes", categories=CATEGORIES):
    """A result as --localize writes it. tables: {name: {row: value of each medium's one phrase}}."""

    def label(run, kind):
        return kind if len(runs) == 1 else f"{run}: {kind}"

    rows = [{"row": label(run, kind), "map": kind, "run": run} for run in runs for kind in kinds]
    found = {}
    for name, values in tables.items():
        tally = Tally(name, "a hit.", categories=("people",))
        for k, of_rows in enumerate(zip(*values.values(), strict=True)):
            tally.add(dict(zip(values, of_rows, strict=True)), (categories[k],), f"medium{k}")
        found[name] = tally.to_json()
    return {"dataset": dataset, "split": "test", "limit": None, "rows": rows, "media": 4, "tables": found}


def still_shapes():
    return result({"space": {f"{run}: nll": hits for run, hits in zip(RUNS, HITS, strict=True)} | PLACE}, RUNS)


@pytest.fixture
def root(tmp_path):
    """A repository with one result and one page that shows it."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("Front page\n")
    (tmp_path / "docs" / "results.md").write_text(
        "Above\n<!-- table: StillShapes_place -->\nold\n<!-- end -->\nbelow\n", encoding="utf-8"
    )
    put(tmp_path, "StillShapes_paper", still_shapes())
    return tmp_path


def put(root, name, value):
    path = root / "scores.json"
    path.write_text(json.dumps(value))
    return add(path, name, root / FOLDER)


def lines(root, name):
    """The table's lines in Markdown, as lists of cells, then the line of its media."""
    (table,) = (table for table in docs_tables.TABLES if table.name == name)
    text = table.markdown(Results(root / FOLDER)).splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text if line.startswith("| ")] + text[-1:]


def test_place_by_hand(root):
    """Own run 3 of 4, seeds 4, 2 and 3 of 4; hits of 4 draws are Bin(4, 3/4): P(0) = .004, P(<= 1) = .051."""
    header, row, media = lines(root, "StillShapes_place")
    assert header[1:] == [docs_tables.SEEDS, docs_tables.SHIPPED, "shipped - center", "random", "center", "phrases"]
    assert row[:3] == ["paper", "0.750 (0.500 to 1.000)", "0.750 [0.250, 1.000]"]
    # Own - centre: 0, 1, 1, 0, so Bin(4, 1/2): P(0) = .0625.
    assert row[3:] == ["+0.500 [0.000, 1.000]", "0.250", "0.250", "4"]
    assert media == "StillShapes: 4 media of test, 4 phrases."


def test_seeds_that_are_missing_are_counted_and_empty_columns_left_out(root):
    values = {"StillShapes: nll": HITS[0], "StillShapes-seed2: nll": HITS[2], **PLACE}
    put(root, "StillShapes_paper", result({"space": values}, (RUNS[0], RUNS[2])))
    assert lines(root, "StillShapes_place")[1][1] == "0.500 (0.500 to 0.500; 1 of 3)"
    put(root, "StillShapes_paper", result({"space": {"nll": HITS[0], **PLACE}}, RUNS[:1]))
    header, row, _ = lines(root, "StillShapes_place")
    assert docs_tables.SEEDS not in header and row[:2] == ["paper", "0.750 [0.250, 1.000]"]
    put(root, "StillShapes_ours", {**still_shapes(), "limit": 4})
    *_, ours, media = lines(root, "StillShapes_place")
    assert ours[:2] == ["ours", "0.750 (0.500 to 1.000)"]
    assert media == "StillShapes: 4 media of test, 4 phrases; StillShapes: the first 4 media of test, 4 phrases."


def test_columns_over_other_media_or_phrases_are_named(root):
    scores = result({"space": {"nll": HITS[0], **PLACE}}, RUNS[:1])
    put(root, "StillShapes_maps", scores)
    assert lines(root, "StillShapes_maps")[-1] == "StillShapes: 4 media of test, 4 phrases."
    curve = result({docs_tables.curve_name("deletion", "space"): {"nll": (-1.0,) * 4}}, RUNS[:1])
    put(root, "StillShapes_faithfulness", {**curve, "limit": 4})
    assert lines(root, "StillShapes_maps")[-1] == (
        "StillShapes: 4 media of test, 4 phrases (pointing); "
        "StillShapes: the first 4 media of test, 4 phrases (deletion, space)."
    )


def test_by_category_by_hand(root):
    put(root, "StillShapes_ours", still_shapes())
    header, *rows, media = lines(root, "StillShapes_place_by_category")
    assert header[1:] == ["angular", "round", "average", "95 % interval"]
    assert rows == [
        ["nll", "1.000", "0.667", "0.750", "[0.250, 1.000]"],
        ["random", "0.250", "0.250", "0.250", "[0.250, 0.250]"],
        ["center", "1.000", "0.000", "0.250", "[0.000, 0.750]"],
        ["phrases", "1", "3", "4", ""],
    ]


def test_baselines_stand_beside_the_papers(root):
    values = result({"space": PLACE}, (), dataset="Flickr30k", categories=("people", "other", "other", "other"))
    put(root, "Flickr30k_baselines", values)
    header, random, center, *paper, phrases, _ = lines(root, "Flickr30k_baselines")
    assert header[1:] == ["people", "other", "average", "95 % interval"]
    assert random[:4] == ["random", "0.250", "0.250", "0.250"] and center[:4] == ["center", "1.000", "0.000", "0.250"]
    assert paper[0] == ["random (published)", "0.318", "0.246", "0.268", "-"]
    assert phrases[1:4] == ["1", "3", "4"]


def test_right_and_wrong_events_by_hand(root):
    """Right 3 of 4, wrong 1 of 4: 3.0; random .3 and .1 of the frames. In a draw of only right events it is inf."""
    tables = {
        "time: right event": {"nll": (1, 1, 1, 0), "random": (0.3,) * 4, "middle": (0, 0, 0, 0)},
        "time: wrong event": {"nll": (0, 0, 0, 1), "random": (0.1,) * 4, "middle": (0, 0, 0, 0)},
        "time: no event": {"nll": (0, 0, 0, 0), "random": (0.6,) * 4, "middle": (1, 1, 1, 1)},
    }
    put(root, "ShapeSequences_ours", result(tables, ("ShapeSequences",), dataset="ShapeSequences"))
    _, nll, media = lines(root, "ShapeSequences_events")
    assert nll == [f"ours, nll, {docs_tables.RUN}", "0.750 [0.250, 1.000]", "0.250 [0.000, 0.750]",
                   "0.000 [0.000, 0.000]", "3.0 [0.3, inf]"]  # fmt: skip
    put(root, "ShapeSequences_paper", result(tables, ("ShapeSequences",), dataset="ShapeSequences"))
    *_, random, middle, media = lines(root, "ShapeSequences_events")
    assert random == ["random", "0.300", "0.100", "0.600", "3.0"] and middle[1:] == ["0.000", "0.000", "1.000", "-"]


def test_captions_are_times_100(root):
    def scored(run, meteor):
        return {"run": run, "split": "test", "media": 4, "scores": {"METEOR": meteor, "CIDEr": 2.5}}

    values = [scored(run, meteor) for run, meteor in zip(RUNS, (0.4, 0.3, 0.35, 0.4), strict=True)]
    put(root, "StillShapes_captions", {"dataset": "StillShapes", "rows": values})
    put(root, "ShapeSequences_captions", scored("ShapeSequences", 0.25))
    header, seeds, shipped, other, media = lines(root, "captions")
    assert header[1:] == ["METEOR", "CIDEr"]
    assert seeds[1:] == ["35.0 (30.0 to 40.0)", "250.0 (250.0 to 250.0)"] and shipped[1:] == ["40.0", "250.0"]
    assert other == ["ShapeSequences, one run", "25.0", "250.0"]
    assert media == "StillShapes: 4 media of test; 4 media of test."


def test_a_run_without_repetitions_stands_beside_those_with(root):
    put(root, "StillShapes-imagenet_paper", result({"space": {"nll": HITS[1], **PLACE}}, ("StillShapes-imagenet",)))
    _, boxes, imagenet, _ = lines(root, "backbones")
    assert boxes[1:] == ["0.750 (0.500 to 1.000)", "0.750 [0.250, 1.000]"]
    assert imagenet[1:] == ["-", "1.000 [1.000, 1.000]"]


# --- pages ----------------------------------------------------------------------------------------------------------


def test_only_the_text_between_markers_changes(root):
    assert report.update(root) == []
    page = root / "docs" / "results.md"
    text = page.read_text()
    table = docs_tables.TABLES[1].markdown(Results(root / FOLDER))
    assert text == f"Above\n<!-- table: StillShapes_place -->\n\n{table}\n\n<!-- end -->\nbelow\n"
    assert (root / "README.md").read_text() == "Front page\n"
    assert report.update(root, check=True) == []


@pytest.mark.parametrize("planted", [("0.750 [", "0.760 ["), ("| paper |", "| ours |"), ("4 phrases", "5 phrases")])
def test_a_changed_figure_is_found(planted, root):
    report.update(root)
    page = root / "docs" / "results.md"
    changed = page.read_text().replace(*planted)
    page.write_text(changed)
    (line,) = report.update(root, check=True)
    assert line.startswith("docs/results.md: table StillShapes_place differs from docs/results;")
    assert page.read_text() == changed  # a check writes nothing


def test_a_changed_result_is_found(root):
    report.update(root)
    path = root / FOLDER / "StillShapes_paper.json"
    record = read_json(path)
    record["tables"]["space"]["media"]["read"]["medium3"][1][0] = 1  # own run: 4 of 4
    path.write_text(json.dumps(record))
    assert len(report.update(root, check=True)) == 1


def test_a_table_without_results_is_left_and_named(root):
    (root / "README.md").write_text("<!-- table: MovingShapes_place_by_category -->\nold\n<!-- end -->\n")
    (line,) = report.update(root)
    assert line == "README.md: table MovingShapes_place_by_category needs one of MovingShapes_ours.json in docs/results"
    assert "old" in (root / "README.md").read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<!-- table: nothing -->\n<!-- end -->", "there is no table 'nothing'; there are README, StillShapes_place"),
        ("<!-- table: README -->\n", "<!-- table: README --> has no <!-- end -->"),
        ("<!-- table: README -->\n<!-- table: captions -->\n<!-- end -->", "has no <!-- end --> before <!-- table"),
        ("<!-- end -->\n", "expected <!-- table: NAME --> before <!-- end -->"),
        ("<!-- table README -->\n<!-- end -->", "expected <!-- table: NAME --> before <!-- end -->; found"),
    ],
)  # fmt: skip
def test_markers_that_do_not_fit(text, message, root):
    (root / "README.md").write_text(text)
    with pytest.raises(UserError, match=re.escape(message)) as error:
        report.update(root)
    assert str(error.value).startswith("README.md: ") and "\n" not in str(error.value)
    assert "old" in (root / "docs" / "results.md").read_text()  # nothing is written


# --- result files ---------------------------------------------------------------------------------------------------


def test_a_copy_keeps_the_sums_and_gives_the_same_averages_and_intervals(root):
    (root / "whole.json").write_text(json.dumps(still_shapes()))
    whole, copy = read_result(root / "whole.json"), read_result(root / FOLDER / "StillShapes_paper.json")
    record = read_json(root / FOLDER / "StillShapes_paper.json")["tables"]["space"]
    assert not {"rows", "differences"} & set(record) and record["media"]["read"]["medium0"][0] == [1, 1, 0]
    for row, written in still_shapes()["tables"]["space"]["rows"].items():
        for scores in (whole, copy):
            assert scores.value("space", row) == written["average"]
            assert list(scores.bounds("space", row)) == written["interval"]


@pytest.mark.parametrize("value", [[], {"rows": []}, {"tables": {"space": {}}, "rows": []}, {"dataset": "StillShapes"}])
def test_what_is_no_result_is_refused(value, root):
    with pytest.raises(UserError, match="scores.json is not a result of run_s2vt.py --localize, .* --sanity or --test"):
        put(root, "StillShapes_ours", value)


@pytest.mark.parametrize("name", ["StillShapes", "../StillShapes_ours", "StillShapes_ours.json/"])
def test_a_name_must_be_that_of_captioner_and_part(name, root):
    with pytest.raises(UserError, match="a result is called CAPTIONER_PROTOCOL"):
        put(root, name, still_shapes())


def test_two_runs_that_are_no_repetitions_need_files_of_their_own(root):
    values = {"A: nll": HITS[0], "B: nll": HITS[1], **PLACE}
    put(root, "StillShapes_paper", result({"space": values}, ("A", "B")))
    with pytest.raises(UserError, match="which run is that of StillShapes: A, B"):
        report.update(root)


def test_the_command_line(root, monkeypatch, capsys):
    assert report.main(["--root", str(root), "--check"]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    (root / "scores.json").write_text(json.dumps(still_shapes()))
    assert report.main(["--root", str(root), "--add", str(root / "scores.json"), "StillShapes_ours"]) == 0
    assert capsys.readouterr().out == f"{root / FOLDER / 'StillShapes_ours.json'}\n"
    assert "| ours | 0.750 (0.500 to 1.000) |" in (root / "docs" / "results.md").read_text()
    assert report.main(["--root", str(root), "--list"]) == 0
    assert "StillShapes_place: StillShapes_paper, StillShapes_ours, (StillShapes_release)" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["report.py", "--root", str(root / "nowhere")])
    with pytest.raises(SystemExit) as status:
        command_line.run(report.main)
    assert status.value.code == 2 and "choose the repository's folder with --root" in capsys.readouterr().err
