"""Mentions: which words of a caption name what, and where and when that is in the sampled frames.

`ANNOTATIONS` has a reader for each kind of annotation: (folder of the data set, Medium, indices of the m sampled
frames) -> iterator of AnnotatedCaption. A picture is one frame, m = 1, and has no indices.
"""

import collections
import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from s2vt.data import entities, tracks
from s2vt.data.geometry import Geometry
from s2vt.data.phrases import Phrase
from s2vt.data.sampling import sampled_indices
from s2vt.data.text import tokenize


@dataclass(frozen=True)
class Mention:
    """A phrase of a caption, and where and when it is right to point.

    Attributes:
        phrase: its words and the columns of the tables that it counts in.
        boxes: of what it names, m lists of boxes (x1, y1, x2, y2), source pixels; an empty list where it is not in
            view. None: it names nothing with a place.
        in_view: (m,) bools, of an object that comes or goes: the frames that show it. None: any other phrase.
        happens: (m,) bools, of an event: the frames in which it happens. None: any other phrase.
        elsewhere: (m,) bools, of an event at a moment: the frames in which another object comes or goes, and this one
            does not. None: any other phrase, and where no other object does, or only at the same time.
        unscorable: why the moment cannot be scored; "" if it can.
    """

    phrase: Phrase
    boxes: tuple | None = None
    in_view: tuple[bool, ...] | None = None
    happens: tuple[bool, ...] | None = None
    elsewhere: tuple[bool, ...] | None = None
    unscorable: str = ""

    def cut(self, window):
        """The mention with its boxes in the pixels of a `protocol.Window`."""
        return dataclasses.replace(self, boxes=self.boxes and tuple(map(window.cut, self.boxes)))


class AnnotatedCaption(NamedTuple):
    """A caption with its mentions.

    Attributes:
        tokens: its words.
        mentions: list of Mention.
        dropped: {reason: number of phrases} that have no place and are left out of `mentions`.
    """

    tokens: list[str]
    mentions: list[Mention]
    dropped: dict[str, int]


def entities_mentions(folder, medium, indices=()):
    """The captions of a picture, annotated in Flickr30k Entities.

    All phrases of a caption on the published list of unrelated captions (`Entities/UNRELATED_CAPTIONS`, if it exists)
    are dropped.
    """
    unrelated_list = folder / "Entities" / "UNRELATED_CAPTIONS"
    unrelated = entities.read_unrelated_captions(unrelated_list) if unrelated_list.exists() else ()
    annotations = entities.read_annotations(folder / "Entities" / "Annotations" / f"{medium.id}.xml")
    path = folder / "Entities" / "Sentences" / f"{medium.id}.txt"
    for k, sentence in enumerate(entities.read_sentences(path, len(medium.captions))):
        phrases, dropped = entities.phrases(sentence, annotations, tokenize)
        if (medium.id, k) in unrelated:
            phrases, dropped = [], {"unrelated caption": len(sentence.phrases)}
        mentions = [Mention(phrase, (phrase.boxes,)) for phrase in phrases]
        yield AnnotatedCaption(entities.words(sentence, tokenize), mentions, dropped)


def tracks_mentions(folder, medium, indices):
    """The captions of a clip, annotated in `truth/<id>.json`."""
    annotations = tracks.read_tracks(folder / "truth" / f"{medium.id}.json")
    for entry in annotations["captions"]:
        tokens = entry["caption"].split()
        mentions, dropped = [], collections.Counter()
        for phrase in entry["phrases"]:
            if phrase["object"] is None:
                dropped["ground"] += 1
                continue
            mention = _track_mention(tokens, phrase, annotations["objects"], indices)
            if mention.happens is None and not any(mention.boxes):
                dropped["never in view"] += 1
            else:
                mentions.append(mention)
        yield AnnotatedCaption(tokens, mentions, dict(dropped))


def _track_mention(tokens, phrase, objects, indices):
    """The mention of an object, or of its event, by a phrase of `truth/<id>.json`."""
    first, end = phrase["tokens"]
    track = objects[phrase["object"]]
    named = Phrase(" ".join(tokens[first:end]), tuple(range(first, end)), (track["event"],))
    passing = track["event"] in tracks.PASSING
    if phrase["kind"] == "event":
        happens = tuple(tracks.happens_at(track, indices))
        others = [
            other for k, other in enumerate(objects) if k != phrase["object"] and other["event"] in tracks.PASSING
        ]
        elsewhere = _elsewhere(happens, [tracks.happens_at(other, indices) for other in others]) if passing else None
        return Mention(named, None, None, happens, elsewhere, "" if passing else "event that lasts")
    boxes = tuple(tracks.boxes_at(track, indices))
    return Mention(named, boxes, in_view=tuple(map(bool, boxes)) if passing else None)


def _elsewhere(happens, others):
    """The frames of other events, without those of this one; None if there are none. others: (m,) bools of each."""
    frames = tuple(any(of_frame) and not here for here, *of_frame in zip(happens, *others, strict=True))
    return frames if any(frames) else None


ANNOTATIONS = {"entities": entities_mentions, "tracks": tracks_mentions}  # the values of Config.annotations


def entities_frame(folder, medium, features):
    """The Geometry of a picture, and no frame indices."""
    annotations = entities.read_annotations(folder / "Entities" / "Annotations" / f"{medium.id}.xml")
    return Geometry.of(annotations.width, annotations.height, features.resize), []


def tracks_frames(folder, medium, features):
    """The Geometry of a clip, and the indices of its sampled frames."""
    annotations = tracks.read_tracks(folder / "truth" / f"{medium.id}.json")
    geometry = Geometry.of(annotations["width"], annotations["height"], features.resize)
    return geometry, sampled_indices(annotations["num_frames"], features.num_frames).tolist()


# What the annotations alone say of a medium: (folder, Medium, FeatureConfig) -> (Geometry, indices of sampled frames).
FRAMES = {"entities": entities_frame, "tracks": tracks_frames}


def named_boxes(annotations, folder, medium):
    """The boxes of what the captions of a picture name.

    Args:
        annotations: `Config.annotations`.   folder: of the data set.   medium: a Medium.
    Returns:
        {phrase as written: its boxes}; empty where no picture is annotated.
    """
    folder = Path(folder)
    if annotations != "entities" or not (folder / "Entities" / "Annotations" / f"{medium.id}.xml").exists():
        return {}
    captions = entities_mentions(folder, medium)
    return {mention.phrase.name: mention.phrase.boxes for caption in captions for mention in caption.mentions}
