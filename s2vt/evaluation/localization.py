"""Do the maps find what the words name? In space on pictures and clips, in time on clips, baselines beside.

One mechanism for all truths: a caption has mentions; a mention has words, and in each of the m sampled frames the
boxes of what it names (m = 1 for a picture). One mechanism for all rows of a table: maps come from a callable, so any
captioner and any kind of map can be scored, all on the same phrases.
"""

import dataclasses
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s2vt.data.files import read_json, write_json
from s2vt.data.text import Vocabulary
from s2vt.evaluation import baselines
from s2vt.evaluation.mentions import TRUTHS
from s2vt.evaluation.pointing import (
    attention_correctness,
    hit_share,
    temporal_hit,
)
from s2vt.evaluation.protocol import SPACE, TABLE_1, TABLES, Window
from s2vt.evaluation.tally import Tally
from s2vt.saliency.heatmaps import maximum, over_time, upsample


@dataclass(frozen=True)
class Row:
    """One row of the tables: a captioner and a kind of map.

    Attributes:
        name: what stands before its numbers.
        vocabulary: words unknown to it are left out of a sentence, as in training.
        max_words: the decoder's steps; a sentence is cut to one less.
        maps: (Medium, sentences, each word indices (T,)) -> a map of each (see `s2vt.saliency.maps`).
    """

    name: str
    vocabulary: Vocabulary
    max_words: int
    maps: Callable


class Record:
    """The scores so far, in one file that is whole after every medium: a killed run goes on with the next one.

    Args:
        path: the file.
        key: what the scores hang on (runs, checkpoints' digests, maps, protocol, descriptors), as JSON values; a file
            with another key, or of other media, is not gone on with.
    """

    def __init__(self, path, key):
        self.path, self.key = Path(path), key
        self.digest = hashlib.sha256()

    def resume(self, media):
        """(how many of the media are done, their tallies)."""
        if self.path.exists():
            found = read_json(self.path)
            digest = _digest(media[: found["media"]])
            if found["key"] == self.key and digest.hexdigest() == found["digest"] and found["media"] <= len(media):
                self.digest = digest
                return found["media"], {name: Tally.from_json(tally) for name, tally in found["tables"].items()}
        return 0, {}

    def save(self, number, medium, tallies):
        """Medium `number`, counted from 1, is done."""
        self.digest.update(f"{medium.id}\n".encode())
        tables = {name: tally.to_json() for name, tally in tallies.items()}
        write_json(self.path, {"key": self.key, "media": number, "digest": self.digest.hexdigest(), "tables": tables})

    def remove(self):
        """Everything is done, and stands elsewhere."""
        self.path.unlink(missing_ok=True)


def _digest(media):
    return hashlib.sha256("".join(f"{medium.id}\n" for medium in media).encode())


def localize(media, truth, data_folder, details, rows, protocol=TABLE_1, record=None, progress=iter):
    """Scores the maps of every mention of every caption; but for the list of media, nothing grows with their number.

    A mention is scored if each row knows one of its words at the least, so that all rows have the same phrases.

    Args:
        media: list of Medium.
        truth: a key of TRUTHS. data_folder: where the data set lies.
        details: Medium -> (Geometry, indices of the sampled frames, their times).
        rows: list of Row.
        protocol: a Protocol.
        record: a Record to go on from and to keep; None: none.
        progress: wraps the media (tqdm).
    Returns:
        {name: Tally}
    """
    done, tallies = record.resume(media) if record else (0, {})
    for number, medium in enumerate(progress(media[done:]), start=done + 1):
        geometry, indices, _ = details(medium)
        captions = TRUTHS[truth](Path(data_folder), medium, indices)
        space = SPACE[:1] if len(indices) else SPACE  # attention correctness is asked of pictures
        _score_medium(tallies, medium, captions, Window.of(geometry, protocol.resize), space, rows, protocol)
        if record:
            record.save(number, medium, tallies)
    return {name: tallies[name] for name in TABLES if name in tallies}


def absent(tallies, rows):
    """Lines that say which rows have no numbers in a table.

    Args: tallies: from `localize`.   rows: its list of Row.
    """
    return [
        f"{row.name}: not in the table of {tally.metric!r}, a map that is not defined there (attention weighs what the "
        "captioner reads: a picture's cells, or a video's frames)"
        for tally in tallies.values()
        if tally.scored
        for row in rows
        if row.name not in tally.averages()
    ]


@dataclass(frozen=True)
class _Said:
    """A caption as one row's captioner reads it: word indices (T,), where each token that is left stands among them,
    and the tokens that it knows but has no steps for."""

    y: np.ndarray
    place: dict[int, int]
    late: frozenset[int]

    @classmethod
    def of(cls, tokens, row):
        known = [k for k, word in enumerate(tokens) if word in row.vocabulary.index]
        kept = known[: row.max_words - 1]
        y = np.array([row.vocabulary.index[tokens[k]] for k in kept], np.int32)
        return cls(y, {k: position for position, k in enumerate(kept)}, frozenset(known[row.max_words - 1 :]))

    def words(self, mention):
        """Positions in y of the mention's words."""
        return [self.place[k] for k in mention.words if k in self.place]


def _score_medium(tallies, medium, captions, window, space, rows, protocol):
    """Adds all mentions of all captions of one medium; each row explains all captions in one call."""

    def table(name):
        if name not in tallies:
            tallies[name] = protocol.tally(name)
        return tallies[name]

    asked = []  # ([the caption as each row reads it], [(mention, the tables it is scored in)])
    for tokens, mentions, dropped in captions:
        said, scored = [_Said.of(tokens, row) for row in rows], []
        for mention in mentions:
            boxes = mention.boxes and tuple(window.cut(there) for there in mention.boxes)
            mention = dataclasses.replace(mention, boxes=boxes)
            names = []
            for name in mention.tables(space):
                reason = _reason_to_drop(mention, name, said)
                if reason:
                    table(name).drop({reason: 1})
                    continue
                names.append(name)
                if any(len(caption.words(mention)) < len(mention.words) for caption in said):
                    table(name).note({"without some of its words, unknown to a captioner or beyond its steps": 1})
            scored += [(mention, names)] if names else []
        for name in space:
            table(name).drop(dropped)
        asked += [(said, scored)] if scored else []
    if not asked:
        return
    maps = [row.maps(medium, [said[r].y for said, _ in asked]) for r, row in enumerate(rows)]
    for k, (said, scored) in enumerate(asked):
        for mention, names in scored:
            found = {row.name: (maps[r][k], said[r].words(mention)) for r, row in enumerate(rows)}
            for name, values in _values(mention, names, found, window, protocol).items():
                table(name).add(values, mention.categories)


def _reason_to_drop(mention, table, said):
    """Why a mention cannot be scored in a table, or ""."""
    if mention.reason:
        return mention.reason
    if table in SPACE and not any(len(there) for there in mention.boxes):
        return "outside the crop"
    for caption in said:
        if not caption.words(mention):
            late = any(k in caption.late for k in mention.words)
            return "beyond the decoder's steps" if late else "not in the vocabulary"
    return ""


def _values(mention, names, found, window, protocol):
    """{table: {row: value}} of one mention. found: {row: (its map of the sentence, the mention's words in it)}."""
    values = {}
    if "space" in names:
        grids = {row: sentence.space(words) for row, (sentence, words) in found.items()}  # (K, m, G, G) or None
        grids = {row: grid for row, grid in grids.items() if grid is not None}
        maps = {row: upsample(grid, window, protocol.spread) for row, grid in grids.items()}  # (K, m, H, W)
        points = {row: [maximum(frame) for frame in K_maps.sum(axis=0)] for row, K_maps in maps.items()}
        hits = {row: hit_share(of_frames, mention.boxes, protocol.tolerance) for row, of_frames in points.items()}
        size = window.width, window.height
        values["space"] = hits | baselines.clip_pointing_rows(mention.boxes, *size, protocol.tolerance)
        if "attention correctness" in names:
            (boxes,) = mention.boxes
            correct = {
                row: float(np.mean([attention_correctness(frame, boxes) for (frame,) in K_maps]))
                for row, K_maps in maps.items()
            }
            values["attention correctness"] = correct | baselines.correctness_rows(boxes, *size)
    for name in names:
        if name not in SPACE:
            times = {row: sentence.time(words) for row, (sentence, words) in found.items()}
            times = {row: over_time(time, protocol.spread) for row, time in times.items() if time is not None}
            hits = {row: temporal_hit(time, mention.present) for row, time in times.items()}
            values[name] = hits | baselines.temporal_rows(mention.present)
    return values
