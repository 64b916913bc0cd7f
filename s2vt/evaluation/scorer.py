"""Scores the maps of every mention of every caption, medium by medium.

All rows of a table are scored on the same phrases: a mention is scored if every captioner knows at least one of its
words.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from s2vt.data.text import Vocabulary
from s2vt.evaluation.protocol import Window
from s2vt.evaluation.tables import TABLES, PhraseMap

PARTLY_READ = "without some of its words, unknown to a captioner or beyond its steps"


@dataclass(frozen=True)
class MapSource:
    """A captioner and the kinds of its maps that are scored.

    Attributes:
        rows: {kind of map: name of its row}.
        vocabulary: words unknown to it are left out of a sentence, as in training.
        max_words: number of decoder steps, END included: a sentence is cut to one word less.
        find: (Medium, sentences, each word indices (T,)) -> {kind of map: Evidence} of each sentence.
    """

    rows: dict[str, str]
    vocabulary: Vocabulary
    max_words: int
    find: Callable


@dataclass(frozen=True)
class EncodedCaption:
    """A caption as one captioner reads it.

    Attributes:
        y: its word indices, (T,).
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
        y = np.array([vocabulary.index[tokens[k]] for k in read], np.int32)
        return cls(y, {k: position for position, k in enumerate(read)}, frozenset(beyond))

    def positions(self, words):
        """Positions in y of those words that are read. words: indices of tokens."""
        return [self.position[k] for k in words if k in self.position]


class Scorer:
    """Sums up the scores of maps in the tables of one kind of media.

    Args:
        sources: list of MapSource.
        media: "picture" or "video" (`Config.media`).
        protocol: a Protocol.
    Attributes:
        tallies: {name of a table: Tally} of the tables asked so far.
    """

    def __init__(self, sources, media, protocol):
        self.sources, self.protocol, self.tallies = sources, protocol, {}
        self.tables = [table for table in TABLES if media in table.media]

    def add(self, medium, geometry, captions):
        """Adds all mentions of one medium. Each captioner explains all captions in one call.

        Args:
            medium: a Medium.   geometry: its Geometry.   captions: iterable of AnnotatedCaption.
        """
        window = Window.of(geometry, self.protocol.evaluation.region)
        asked = [self._ask(caption, window) for caption in captions]
        asked = [(encoded, mentions) for encoded, mentions in asked if mentions]
        if not asked:
            return
        found = [source.find(medium, [encoded[s].y for encoded, _ in asked]) for s, source in enumerate(self.sources)]
        for k, (encoded, mentions) in enumerate(asked):
            for mention, tables in mentions:
                maps = {}
                for source, caption, of_captions in zip(self.sources, encoded, found, strict=True):
                    words = caption.positions(mention.phrase.words)
                    for kind, row in source.rows.items():
                        maps[row] = PhraseMap(of_captions[k][kind], words, window, self.protocol.saliency)
                for table in tables:
                    values = table.values(maps, mention, window, self.protocol)
                    self._tally(table).add(values, mention.phrase.categories)

    def ordered_tallies(self):
        """The tallies in the order of the tables."""
        return {table.name: self.tallies[table.name] for table in self.tables if table.name in self.tallies}

    def _tally(self, table):
        if table.name not in self.tallies:
            self.tallies[table.name] = table.tally(self.protocol)
        return self.tallies[table.name]

    def _ask(self, caption, window):
        """Finds the mentions of a caption that can be scored, and counts the others.

        Returns:
            [EncodedCaption for each source], [(Mention, [Table that scores it])]
        """
        encoded = [EncodedCaption.of(caption.tokens, source.vocabulary, source.max_words) for source in self.sources]
        asked = []
        for mention in caption.mentions:
            mention, tables = mention.cut(window), []
            for table in self.tables:
                if not table.asks(mention):
                    continue
                reason = table.reason_to_drop(mention) or _reason_unread(mention, encoded)
                if reason:
                    self._tally(table).drop({reason: 1})
                    continue
                tables.append(table)
                words = mention.phrase.words
                if any(len(each.positions(words)) < len(words) for each in encoded):
                    self._tally(table).note({PARTLY_READ: 1})
            if tables:
                asked.append((mention, tables))
        for table in self.tables:
            if table.domain == "space":
                self._tally(table).drop(caption.dropped)
        return encoded, asked


def _reason_unread(mention, encoded):
    """Why a captioner reads none of a mention's words; "" if each reads one."""
    words = mention.phrase.words
    for caption in encoded:
        if not caption.positions(words):
            return "beyond the decoder's steps" if caption.beyond.intersection(words) else "not in the vocabulary"
    return ""
