"""Truth of a clip in space and time: `truth/<id>.json`, the boxes of its objects in every frame and who is named.

    {"width", "height", "num_frames", "objects": [{"event", "boxes": [[x1, y1, x2, y2] or null, a frame each],
     "seen": [share of the object that is neither hidden nor faded, a frame each], "happens": [first, last frame]}],
     "captions": [{"caption", "phrases": [{"tokens": [first, past the last], "kind", "object"}]}]}

The kinds of phrases: "object" names an object ("a red circle"), "event" says what it does ("disappears"), "ground"
names what it lies on and cannot be pointed at. Boxes are in source pixels, x2 and y2 exclusive.
"""

import math

from s2vt.data.files import read_json
from s2vt.errors import UserError

IN_VIEW = 0.5  # an object is in view in a frame where at least this share of it can be seen
PASSING = ("appear", "disappear")  # events that happen at a moment, of objects that are there for a part of the clip


def read_tracks(path):
    """The truth of one clip, as the module's head lays it out.

    Raises:
        UserError: if the file is missing or not laid out like that.
    """
    truth = read_json(path)
    try:
        for track in truth["objects"]:
            _check_track(track, truth["num_frames"])
        for entry in truth["captions"]:
            num_tokens = len(entry["caption"].split())
            for phrase in entry["phrases"]:
                _check_phrase(phrase, num_tokens, len(truth["objects"]))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise UserError(f"{path} is not a truth file ({type(error).__name__}: {error}); make the set again") from None
    return truth


def _check_track(track, num_frames):
    first, last = track["happens"]
    if not len(track["boxes"]) == len(track["seen"]) == num_frames:
        raise ValueError("an object has not one box and one share a frame")
    for x1, y1, x2, y2 in filter(None, track["boxes"]):
        if not (math.isfinite(x2 - x1) and math.isfinite(y2 - y1) and x1 <= x2 and y1 <= y2):
            raise ValueError(f"{[x1, y1, x2, y2]} is no box")
    if not (0 <= first <= last < num_frames and all(0 <= share <= 1 for share in track["seen"])):
        raise ValueError("an object is seen, or something happens to it, outside of its clip")
    track["event"].strip()


def _check_phrase(phrase, num_tokens, num_objects):
    first, end = phrase["tokens"]
    if not range(num_tokens)[first:end] == range(first, end) or first >= end:
        raise ValueError(f"there are no words {first} to {end} in a caption of {num_tokens}")
    if phrase["kind"] not in ("object", "event", "ground"):
        raise ValueError(f"no kind of phrase is called {phrase['kind']!r}")
    named = phrase["object"]
    if not (named is None if phrase["kind"] == "ground" else type(named) is int and 0 <= named < num_objects):
        raise ValueError(f"there is no object {named!r}, being of {phrase['kind']}")


def boxes_at(track, indices):
    """An object's boxes in the sampled frames: m lists of one box, empty where it is not in view."""
    return [[tuple(track["boxes"][f])] if track["boxes"][f] and track["seen"][f] >= IN_VIEW else [] for f in indices]


def happens_at(track, indices):
    """(m,) bools: the sampled frames in which an object's event happens.

    At least one frame is marked: the nearest to the event, where sampling stepped over it.
    """
    first, last = track["happens"]
    marks = [first <= f <= last for f in indices]
    if not any(marks):
        nearest = min(range(len(indices)), key=lambda i: abs(indices[i] - (first + last) / 2))
        marks[nearest] = True
    return marks
