"""Do the maps find what the words name? In space on pictures and clips, in time on clips, baselines beside.

One mechanism for all truths: a caption has mentions; a mention has words, and in each of the m sampled frames the
boxes of what it names (m = 1 for a picture). The maps come from a callable, so any captioner can be scored.
"""

import collections
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s2vt.data.text import tokenize
from s2vt.evaluation import baselines, entities, tracks
from s2vt.evaluation.pointing import (
    ATTENTION_CORRECTNESS,
    TEMPORAL_HIT,
    Tally,
    attention_correctness,
    hit_share,
    pointing_game,
    temporal_hit,
)
from s2vt.saliency.heatmaps import maximum, phrase_loss, scale, upsample

MAP = "information loss"


@dataclass(frozen=True)
class Mention:
    """Some words of a caption, and what they name in each sampled frame.

    Attributes:
        words: positions in the caption's tokens.
        categories: columns of the table it counts in.
        boxes: m lists of boxes (x1, y1, x2, y2), source pixels; empty where it is not in view. None: it has no place.
        present: (m,) bools: the frames that are right in time. None: time is not asked for.
        moment: which temporal table it counts in.
    """

    words: tuple[int, ...]
    categories: tuple[str, ...]
    boxes: tuple | None
    present: tuple[bool, ...] | None = None
    moment: str = ""


def entities_mentions(folder, medium, indices):
    """Captions of a picture and their mentions, from Flickr30k Entities.

    Yields:
        (tokens, mentions, {reason: phrases dropped})
    """
    annotations = entities.read_annotations(folder / "Entities" / "Annotations" / f"{medium.id}.xml")
    path = folder / "Entities" / "Sentences" / f"{medium.id}.txt"
    for sentence in entities.read_sentences(path, len(medium.captions)):
        found, dropped = entities.phrases(sentence, annotations, tokenize)
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
                if not passing:
                    dropped["event that lasts"] += 1
                    continue
                mentions.append(Mention(words, category, None, tuple(tracks.happens_at(track, indices)), "event"))
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


def localize(media, truth, data_folder, details, vocabulary, max_words, explain):
    """Scores the maps of every mention of every caption.

    Args:
        media: iterable of Medium (a progress bar may wrap it); nothing grows with their number.
        truth: a key of TRUTHS. data_folder: where the data set lies.
        details: Medium -> (Geometry, indices of the sampled frames, their times).
        vocabulary: words unknown to it are left out of the sentence, as in training.
        max_words: the decoder's steps; a sentence is cut to one less.
        explain: (Medium, y (T,)) -> (loss (T, m, G, G), loss_pooled (T, m)) in nats; m = 1 for a picture, whose
            loss_pooled is None.
    Returns:
        {name: Tally}
    """
    tallies = {}
    for medium in media:
        geometry, indices, _ = details(medium)
        for tokens, mentions, dropped in TRUTHS[truth](Path(data_folder), medium, indices):
            kept = [k for k, word in enumerate(tokens) if word in vocabulary.index][: max_words - 1]
            place = {k: position for position, k in enumerate(kept)}
            mentions = [(mention, [place[k] for k in mention.words if k in place]) for mention in mentions]
            unknown = sum(not words for _, words in mentions)
            scored = [(mention, words) for mention, words in mentions if words]
            _tally(tallies, "space").drop({**dropped, **({"not in the vocabulary": unknown} if unknown else {})})
            if not scored:
                continue
            loss, loss_pooled = explain(medium, np.array([vocabulary.index[tokens[k]] for k in kept], np.int32))
            for mention, words in scored:
                if mention.boxes is not None:
                    _score_space(
                        tallies, mention, upsample(scale(phrase_loss(loss, words), (1, 2)), geometry), geometry
                    )
                if mention.present is not None:
                    name = f"time: {mention.moment}"
                    values = {MAP: temporal_hit(-phrase_loss(loss_pooled, words), mention.present)}
                    _tally(tallies, name).add(values | baselines.temporal_rows(mention.present), mention.categories)
    return tallies


def _score_space(tallies, mention, maps, geometry):
    """Adds one mention with its maps (m, H, W) to the tables of space."""
    points = [maximum(pixel_map) for pixel_map in maps]
    rows = baselines.clip_pointing_rows(mention.boxes, geometry.width, geometry.height)
    _tally(tallies, "space").add({MAP: hit_share(points, mention.boxes), **rows}, mention.categories)
    if len(maps) == 1:
        values = {MAP: attention_correctness(maps[0], mention.boxes[0])}
        values |= baselines.correctness_rows(mention.boxes[0], geometry.width, geometry.height)
        _tally(tallies, "attention correctness").add(values, mention.categories)


PROTOCOLS = {
    "space": (
        "pointing game",
        pointing_game() + " In a clip: its share of the sampled frames with the object in "
        "view. " + baselines.POINTING_BASELINES,
    ),  # fmt: skip
    "attention correctness": (
        "attention correctness",
        ATTENTION_CORRECTNESS + " " + baselines.CORRECTNESS_BASELINES,
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
}


def _tally(tallies, name):
    return tallies.setdefault(name, Tally(*PROTOCOLS[name], categories=entities.CATEGORIES))
