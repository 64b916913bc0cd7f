"""Annotations of a clip in space and time, `truth/<id>.json`: boxes of its objects in every frame, and its captions.

    {"width", "height", "num_frames",
     "objects": [{"event", "boxes": [[x1, y1, x2, y2] or null, one per frame],
                  "seen": [share of the object that is neither hidden nor faded, one per frame],
                  "happens": [first, last frame of the event]}],
     "captions": [{"caption", "phrases": [{"tokens": [first, past the last], "kind", "object"}]}]}

Kinds of phrases: "object" names an object ("a red circle"), "event" what an object does ("disappears"), "ground" the
background, which has no box. Boxes are in source pixels, x2 and y2 exclusive.
"""

import math

from s2vt.data.files import read_json
from s2vt.errors import UserError

IN_VIEW = 0.5  # share of an object that is seen in a frame, from which on it counts as in view
PASSING = ("appear", "disappear")  # events at a moment; their objects are there for a part of the clip only


def read_tracks(path):
    """The annotations of one clip, laid out as above.

    Raises:
        UserError: if the file is missing or laid out differently.
    """
    annotations = read_json(path)
    try:
        for track in annotations["objects"]:
            _check_track(track, annotations["num_frames"])
        for entry in annotations["captions"]:
            num_tokens = len(entry["caption"].split())
            for phrase in entry["phrases"]:
                _check_phrase(phrase, num_tokens, len(annotations["objects"]))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        problem = f"{type(error).__name__}: {error}"
        raise UserError(f"{path} is not an annotation of a clip ({problem}); make the set again") from None
    return annotations


def _check_track(track, num_frames):
    first, last = track["happens"]
    if not len(track["boxes"]) == len(track["seen"]) == num_frames:
        raise ValueError("an object needs one box and one share per frame")
    for x1, y1, x2, y2 in filter(None, track["boxes"]):
        if not (math.isfinite(x2 - x1) and math.isfinite(y2 - y1) and x1 <= x2 and y1 <= y2):
            raise ValueError(f"{[x1, y1, x2, y2]} is no box")
    if not (0 <= first <= last < num_frames and all(0 <= share <= 1 for share in track["seen"])):
        raise ValueError("an event is outside of its clip, or a share outside of [0, 1]")
    track["event"].strip()


def _check_phrase(phrase, num_tokens, num_objects):
    first, end = phrase["tokens"]
    if not range(num_tokens)[first:end] == range(first, end) or first >= end:
        raise ValueError(f"there are no words {first} to {end} in a caption of {num_tokens}")
    if phrase["kind"] not in ("object", "event", "ground"):
        raise ValueError(f"unknown kind of phrase {phrase['kind']!r}")
    named = phrase["object"]
    if not (named is None if phrase["kind"] == "ground" else type(named) is int and 0 <= named < num_objects):
        raise ValueError(f"{phrase['kind']} phrase of object {named!r}, which does not exist")


def boxes_at(track, indices):
    """An object's box in the sampled frames: m lists of one box, empty where it is not in view."""
    return [[tuple(track["boxes"][f])] if track["boxes"][f] and track["seen"][f] >= IN_VIEW else [] for f in indices]


def happens_at(track, indices):
    """Whether an object's event happens in each of the sampled frames, (m,) bools.

    If the event lies between two sampled frames, the nearest frame to it is marked.
    """
    first, last = track["happens"]
    marks = [first <= f <= last for f in indices]
    if not any(marks):
        nearest = min(range(len(indices)), key=lambda i: abs(indices[i] - (first + last) / 2))
        marks[nearest] = True
    return marks
