"""Mentions: which words of a caption name what, and where and when that is in the sampled frames."""

import collections
from dataclasses import dataclass
from pathlib import Path

from s2vt.data import entities, tracks
from s2vt.data.text import tokenize


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
