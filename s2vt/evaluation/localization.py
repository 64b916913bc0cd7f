"""Do the maps find what the words name? In space on pictures and clips, in time on clips, baselines beside.

One mechanism for all truths: a caption has mentions; a mention has words, and in each of the m sampled frames the
boxes of what it names (m = 1 for a picture). One mechanism for all rows of a table: maps come from a callable, so any
captioner and any kind of map can be scored, all on the same phrases.
"""

import collections
import dataclasses
import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s2vt.data.files import read_json, write_json
from s2vt.data.media import Geometry
from s2vt.data.text import Vocabulary, tokenize
from s2vt.evaluation import baselines, entities, tracks
from s2vt.evaluation.pointing import (
    ATTENTION_CORRECTNESS,
    TEMPORAL_HIT,
    Tally,
    attention_correctness,
    clip_boxes,
    hit_share,
    pointing_game,
    temporal_hit,
)
from s2vt.saliency.heatmaps import SPREAD, maximum, over_time, upsample


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


@dataclass(frozen=True)
class Protocol:
    """How maps are scored; the defaults are the paper's Table 1.

    Attributes:
        tolerance: how far outside a box a point still hits, source pixels (TorchRay: 15).
        average: "phrase" or "class" (TorchRay), see `Tally`.
        resize: which part of a picture counts: "squash", all of it, or "center_crop" (Table 2).
        spread: how far a cell's value reaches, in cells; 0: bilinear (see `s2vt.saliency.heatmaps.upsample`). And how
            far a frame's reaches, in sampled frames: a Gaussian mean of them; 0: each frame's own.
        frame: what a frame is when it is seen alone, "pooled" or "cells" (see `information_loss.frames_alone`).
    """

    tolerance: float = 0.0
    average: str = "phrase"
    resize: str = "squash"
    spread: float = SPREAD
    frame: str = "pooled"

    def tally(self, name):
        """An empty table."""
        metric, text = TABLES[name]
        text = text.format(pointing_game=pointing_game(self.tolerance))
        if name in SPACE:
            text += f" Maps between cells: {f'a Gaussian of {self.spread:g} cells' if self.spread else 'bilinear'}."
        if self.resize == "center_crop" and name in SPACE:
            text += " The picture is its centre crop; boxes are cut to it, phrases without a box left are dropped."
        if self.spread and name not in SPACE:
            text += f" Saliency over time: a Gaussian mean of {self.spread:g} sampled frames."
        if self.frame == "cells" and name not in SPACE:
            text += " A frame seen alone is its cells, read like a picture's, not their mean."
        return Tally(metric, text, self.average, entities.CATEGORIES)


TABLE_1 = Protocol()

TABLES = {
    "space": (
        "pointing game",
        "{pointing_game} Of attention the map is the sum over the phrase's words. In a clip: its share of the sampled "
        "frames with the object in view. " + baselines.POINTING_BASELINES,
    ),
    "attention correctness": (
        "attention correctness",
        ATTENTION_CORRECTNESS + " Information loss has one map a phrase, attention the mean over the phrase's words. "
        + baselines.CORRECTNESS_BASELINES,
    ),
    "time: object": (
        "right moment, objects that come or go",
        TEMPORAL_HIT + " Only objects that appear or disappear. " + baselines.TEMPORAL_BASELINES,
    ),
    "time: event": (
        "right moment, the event itself",
        "a hit: the object is appearing or disappearing, half faded, in the most salient of the clip's sampled frames. "
        + baselines.TEMPORAL_BASELINES,
    ),
}  # fmt: skip

SPACE = ("space", "attention correctness")


@dataclass(frozen=True)
class Mention:
    """Some words of a caption, and what they name in each sampled frame.

    Attributes:
        words: positions in the caption's tokens.
        categories: columns of the table it counts in.
        boxes: m lists of boxes (x1, y1, x2, y2), source pixels; empty where it is not in view. None: it has no place.
        present: (m,) bools: the frames that are right in time. None: time is not asked for.
        moment: which temporal table it counts in.
        reason: why it cannot be scored; "" if it can.
    """

    words: tuple[int, ...]
    categories: tuple[str, ...]
    boxes: tuple | None
    present: tuple[bool, ...] | None = None
    moment: str = ""
    reason: str = ""

    def tables(self, space):
        """The names of the tables it counts in, of which `space` are those that ask for a place."""
        return (() if self.boxes is None else space) + (() if self.present is None else (f"time: {self.moment}",))


def entities_mentions(folder, medium, indices):
    """Captions of a picture and their mentions, from Flickr30k Entities.

    All phrases of a caption on the published list of unrelated captions (`Entities/UNRELATED_CAPTIONS`, if it is
    there) are dropped.

    Yields:
        (tokens, mentions, {reason: phrases dropped})
    """
    unrelated_list = folder / "Entities" / "UNRELATED_CAPTIONS"
    unrelated = entities.read_unrelated_captions(unrelated_list) if unrelated_list.exists() else ()
    annotations = entities.read_annotations(folder / "Entities" / "Annotations" / f"{medium.id}.xml")
    path = folder / "Entities" / "Sentences" / f"{medium.id}.txt"
    for k, sentence in enumerate(entities.read_sentences(path, len(medium.captions))):
        found, dropped = entities.phrases(sentence, annotations, tokenize)
        if (medium.id, k) in unrelated:
            found, dropped = [], {"unrelated caption": len(sentence.phrases)}
        mentions = [Mention(phrase.words, phrase.categories, (list(phrase.boxes),)) for phrase in found]
        yield entities.words(sentence, tokenize), mentions, dropped


def tracks_mentions(folder, medium, indices):
    """Captions of a clip and their mentions, from `truth/<id>.json`, at the sampled frames `indices`."""
    truth = tracks.read_tracks(folder / "truth" / f"{medium.id}.json")
    for entry in truth["captions"]:
        mentions, dropped = [], collections.Counter()
        for phrase in entry["phrases"]:
            words = tuple(range(*phrase["tokens"]))
            track = truth["objects"][phrase["object"]] if phrase["object"] is not None else None
            if track is None:
                dropped["ground"] += 1
                continue
            boxes, category = tracks.boxes_at(track, indices), (track["event"],)
            passing = track["event"] in tracks.PASSING
            if phrase["kind"] == "event":
                happens = tuple(tracks.happens_at(track, indices))
                mentions.append(Mention(words, category, None, happens, "event", "" if passing else "event that lasts"))
            elif not any(boxes):
                dropped["never in view"] += 1
            else:
                present = tuple(bool(there) for there in boxes) if passing else None
                mentions.append(Mention(words, category, tuple(boxes), present, "object"))
        yield entry["caption"].split(), mentions, dict(dropped)


TRUTHS = {"entities": entities_mentions, "tracks": tracks_mentions}


def named_boxes(truth, data_folder, medium):
    """{phrase as written: its boxes} over all captions of a picture; empty where nothing is annotated."""
    if truth != "entities" or not (Path(data_folder) / "Entities" / "Annotations" / f"{medium.id}.xml").exists():
        return {}
    return {
        " ".join(tokens[k] for k in mention.words): mention.boxes[0]
        for tokens, mentions, _ in entities_mentions(Path(data_folder), medium, ())
        for mention in mentions
    }


@dataclass(frozen=True)
class Window:
    """The part of a source picture that counts, as if it were the picture: pixels and boxes start at its corner.

    Attributes:
        geometry: of the source.   left, top, width, height: source pixels.

    Example:
        >>> window = Window.of(Geometry.of(300, 200), "center_crop")
        >>> window.left, window.top, window.width, window.height
        (62, 12, 175, 175)
        >>> window.cut([(0, 0, 100, 100), (0, 0, 62, 100)]).tolist()
        [[0.0, 0.0, 38.0, 88.0]]
    """

    geometry: Geometry
    left: int
    top: int
    width: int
    height: int

    @classmethod
    def of(cls, geometry, resize):
        """The pixels whose centres lie in what the protocol `resize` keeps of the source (see `Geometry.of`)."""
        crop = Geometry.of(geometry.width, geometry.height, resize).crop
        left, top, right, bottom = (math.ceil(edge - 0.5) for edge in crop)
        return cls(geometry, left, top, right - left, bottom - top)

    def to_input(self, points):
        """Points (..., 2) in the window's pixels -> (..., 2) in input pixels."""
        return self.geometry.to_input(np.asarray(points, float) + (self.left, self.top))

    def cut(self, boxes):
        """Boxes (K, 4) in source pixels -> what is left of them in the window, in its pixels, (K', 4)."""
        region = self.left, self.top, self.left + self.width, self.top + self.height
        return clip_boxes(boxes, region) - (self.left, self.top, self.left, self.top)


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
