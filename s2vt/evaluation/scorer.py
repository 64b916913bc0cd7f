"""Scores the maps of every mention of every caption, medium by medium.

All rows of a table are scored on the same phrases: those of which every captioner reads at least one word, and, apart
from them, those that some captioner cannot read (`evaluation.unknown`).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from s2vt.data.text import END, Vocabulary
from s2vt.evaluation import phrase_scores
from s2vt.evaluation.mentions import Mention
from s2vt.evaluation.protocol import Window
from s2vt.evaluation.tables import TABLES, PhraseMap, Table
from s2vt.saliency.maps import Asking

PARTLY_READ = "without some of its words, unknown to a captioner or beyond its steps"


@dataclass(frozen=True)
class MapSource:
    """A captioner and the kinds of its maps that are scored.

    Attributes:
        rows: {kind of map: name of its row}.
        vocabulary: words unknown to it are left out of a sentence, as in training.
        max_words: number of decoder steps, END included: a sentence is cut to one word less.
        find: (Medium, sentences, each word indices (T,)) -> {kind of map: Evidence} of each sentence; kinds
            that the protocol has no values for are left out.
        captioner: what the maps are of, for questions that ask it more than for maps.
        describe: Medium -> its `Descriptors`.
        asking: the `Asking` of the evidence.
        label: what is scored beside the maps, such as "random" -> name of its row.
    """

    rows: dict[str, str]
    vocabulary: Vocabulary
    max_words: int
    find: Callable
    captioner: object = None
    describe: Callable | None = None
    asking: Asking | None = None
    label: Callable = str


@dataclass(frozen=True)
class EncodedCaption:
    """A caption as one captioner reads it.

    Attributes:
        y: its word indices, (T,); END alone if it reads none.
        position: {index of a token: its position in y}, of the tokens that are read.
        beyond: indices of the tokens that the vocabulary knows but that exceed the decoder's steps.
    """

    y: np.ndarray
    position: dict[int, int]
    beyond: frozenset[int]

    @classmethod
    def of(cls, tokens, vocabulary, max_words):
        """Encodes the tokens of a caption.

        Example:
            >>> vocabulary = Vocabulary([".", "red", "car", "stops"], counts=[1, 1, 1, 1])
            >>> caption = EncodedCaption.of("a red car stops".split(), vocabulary, max_words=3)
            >>> caption.y.tolist(), caption.position, sorted(caption.beyond)
            ([1, 2], {1: 0, 2: 1}, [3])
        """
        known = [k for k, token in enumerate(tokens) if token in vocabulary.index]
        read, beyond = known[: max_words - 1], known[max_words - 1 :]
        y = np.array([vocabulary.index[tokens[k]] for k in read] or [END], np.int32)
        return cls(y, {k: position for position, k in enumerate(read)}, frozenset(beyond))

    def positions(self, words):
        """Positions in y of those words that are read. words: indices of tokens."""
        return [self.position[k] for k in words if k in self.position]


class Scorer:
    """Sums up the scores of maps in the tables of one kind of media.

    A subclass asks other questions about the same mentions: it has tables and `scores` of its own.

    Args:
        sources: list of MapSource.
        media: "picture" or "video" (`Config.media`).
        protocol: a Protocol.
        tables: list of Table, or of what has the same attributes; None: those of `TABLES`.
    Attributes:
        tallies: {name of a table: Tally} of the tables asked so far.
        phrases: the scores of each phrase of the medium that was scored last, see `phrase_scores`.
        groups: see `localization.LocalizationScores`.
    """

    groups = ()

    def __init__(self, sources, media, protocol, tables=None):
        self.sources, self.protocol, self.tallies, self.phrases = sources, protocol, {}, []
        self.tables = [table for table in tables or TABLES if media in table.media]

    @property
    def file_name(self):
        """Its part in the name of the result file."""
        return self.protocol.file_name

    def settings(self):
        """All settings that the scores depend on, as JSON values."""
        return self.protocol.to_json()

    def add(self, medium, geometry, captions):
        """Scores one medium and adds its tallies. Arguments and result as `score`."""
        tallies = self.score(medium, geometry, captions)
        self.merge(tallies)
        return tallies

    def score(self, medium, geometry, captions):
        """Scores all mentions of one medium. Each captioner explains all captions in one call.

        Args:
            medium: a Medium.   geometry: its Geometry.   captions: iterable of AnnotatedCaption.
        Returns:
            {name of a table: Tally} of this medium alone.
        """
        window = Window.of(geometry, self.protocol.evaluation.region)
        tallies = {}
        asked = [self._ask(caption, window, tallies) for caption in captions]
        asked = [(encoded, questions) for encoded, questions in asked if questions]
        phrases = {}
        for question, table, values in self.scores(medium, window, asked) if asked else ():
            values = {row: float(value) for row, value in values.items()}
            self._tally(table, tallies).add(values, question.mention.phrase.categories, medium.id, question.unread)
            phrases.setdefault(id(question), phrase_scores.entry(question))["scores"][table.name] = values
        self.phrases = list(phrases.values())
        return tallies

    def scores(self, medium, window, asked):
        """The scores of one medium.

        Args:
            window: the Window of the medium that counts.
            asked: of each caption, ([EncodedCaption for each source], [Question]), neither empty.
        Yields:
            Question, Table, {row: bool or number}.
        """
        found = [source.find(medium, [each[s].y for each, _ in asked]) for s, source in enumerate(self.sources)]
        for k, (encoded, questions) in enumerate(asked):
            for question in questions:
                mention, maps = question.mention, {}
                for source, caption, of_captions in zip(self.sources, encoded, found, strict=True):
                    words = caption.positions(mention.phrase.words)
                    for kind, row in source.rows.items():
                        if kind in of_captions[k]:
                            maps[row] = PhraseMap(of_captions[k][kind], words, window, self.protocol.saliency)
                for table in question.tables:
                    yield question, table, table.values(maps, mention, window, self.protocol)

    def absent(self, rows):
        """Lines that say which rows have no scores in a table, and why.   rows: list of {"row": name, ...}."""
        return absent_rows(self.ordered_tallies(), rows)

    def merge(self, tallies):
        """Adds the tallies of a medium, {name of a table: Tally}."""
        for table in self.tables:
            if table.name in tallies:
                self._tally(table, self.tallies).merge(tallies[table.name])

    def ordered_tallies(self):
        """The tallies in the order of the tables."""
        return {table.name: self.tallies[table.name] for table in self.tables if table.name in self.tallies}

    def _tally(self, table, tallies):
        if table.name not in tallies:
            tallies[table.name] = table.tally(self.protocol)
        return tallies[table.name]

    def _ask(self, caption, window, tallies):
        """Finds the questions about a caption, and counts in `tallies` the mentions that cannot be scored.

        Returns:
            [EncodedCaption for each source], [Question]
        """
        encoded = [EncodedCaption.of(caption.tokens, source.vocabulary, source.max_words) for source in self.sources]
        questions = []
        for mention in caption.mentions:
            question = Question(" ".join(caption.tokens), mention.cut(window), [], _reason_unread(mention, encoded))
            words = mention.phrase.words
            partly_read = not question.unread and any(len(each.positions(words)) < len(words) for each in encoded)
            for table in self.tables:
                if not table.asks(question.mention):
                    continue
                if reason := table.reason_to_drop(question.mention):
                    self._tally(table, tallies).drop({reason: 1})
                    continue
                question.tables.append(table)
                if partly_read:
                    self._tally(table, tallies).note({PARTLY_READ: 1})
            if question.tables:
                questions.append(question)
        for table in self.tables:
            if table.domain != "time":
                self._tally(table, tallies).drop(caption.dropped)
        return encoded, questions


class ReadScorer(Scorer):
    """A Scorer of questions that only a captioner can answer: mentions that one of them cannot read are dropped."""

    def _ask(self, caption, window, tallies):
        encoded, questions = super()._ask(caption, window, tallies)
        for question in questions:
            for table in question.tables if question.unread else ():
                self._tally(table, tallies).drop({question.unread: 1})
        return encoded, [question for question in questions if not question.unread]


@dataclass(frozen=True)
class Question:
    """A mention in a sentence, the tables that score it, and why a captioner cannot read it, "" if all can."""

    sentence: str
    mention: Mention
    tables: list[Table]
    unread: str


def _reason_unread(mention, encoded):
    """Why a captioner reads none of a mention's words; "" if each reads one."""
    words = mention.phrase.words
    for caption in encoded:
        if not caption.positions(words):
            return "beyond the decoder's steps" if caption.beyond.intersection(words) else "not in the vocabulary"
    return ""


def absent_rows(tallies, rows):
    """Lines that say which rows have no scores in a table, and why.

    Args:
        tallies: {name of a table: Tally}.   rows: list of {"row": name, ...}.
    """
    return [
        f"{row['row']}: not in the table of {tally.metric!r}, where this kind of map has no values (attention has them "
        "for what the captioner reads: a picture's cells, or a video's frames; so have banzhaf and rise)"
        for tally in tallies.values()
        if tally.scored
        for row in rows
        if row["row"] not in tally.averages()
    ]
