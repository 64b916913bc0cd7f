"""One HTML page that shows a sentence's saliency live: point at words, sum them, move through time.

The page is one file that needs nothing else, no network and no server. It holds the medium (a video as H.264, a
picture as WebP), the losses of Eq. 6 and 7 on the grid, and the maths of `heatmaps` in JavaScript (`page.js`), so any
words can be summed (Eq. 9) and scaled (Eq. 8) in the browser. `page.html`, `page.js` and `page.css` beside this file
are its parts as they are.

Losses are kept in 16 bits, word by word: off by at most (max Loss - min Loss) / 131070 of the word. A phrase of q words
is off by at most the sum of its words' errors.

Letters: n words; m sampled frames, 1 for a picture; G=8 grid; V vocabulary; H, W height and width of the source.
"""

import base64
import dataclasses
import hashlib
import html
import io
import json
import math
import re
import tempfile
from pathlib import Path

import numpy as np

from s2vt.data.files import atomic_path
from s2vt.data.phrases import noun_phrases
from s2vt.data.video import iterate_frames
from s2vt.data.video_writer import VideoWriter
from s2vt.errors import UserError
from s2vt.rendering.drawing import COLOUR_MAP, palette, resized, shrunk
from s2vt.saliency.heatmaps import NORMALIZATIONS, SPREAD

COLOUR_MAPS = (COLOUR_MAP, "viridis", "magma", "cividis", "turbo", "jet")
VIDEO_SIDE, PICTURE_SIDE = 640, 1024  # longest side at which a medium is kept, pixels; none is enlarged
VIDEO_BYTES = 3_000_000  # a longer clip is kept smaller and coarser until it fits, as far as SMALLEST_SIDE and CRF
SMALLEST_SIDE, CRF = 160, (24, 36)  # x264's quality, the best and the worst
KEYFRAME_INTERVAL = 10  # frames: what a browser decodes at most to show the one that the time line points at
SCALED = {"clip": "per {whole}", "frame": "per frame", "release": "release"}


@dataclasses.dataclass(frozen=True)
class PageContent:
    """What a page says beside the maps.

    Attributes:
        title: heading of the page, any text (a file's name, a caption).
        vocabulary: the V words that `explanation.log_p` runs over, needed only with it.
        chosen: positions of the words shown at first; empty: the first noun phrase.
    """

    title: str = ""
    vocabulary: tuple[str, ...] = ()
    chosen: tuple[int, ...] = ()


def video_page(path, frames, frame_rate, explanation, content, look):
    """The page of a video. It holds all of `explanation.maps`; `look.kind` is shown first.

    Args:
        path: the file to write, *.html.
        frames, frame_rate, explanation, look: as of `video.saliency_video`.
        content: `PageContent`.
    """
    raise NotImplementedError


def picture_page(path, picture, explanation, content, look):
    """The page of a picture, (H, W, 3) uint8. The other arguments: as of `video_page`."""
    raise NotImplementedError


def alternatives(log_p, words, vocabulary, count=6):
    """What the captioner would have said at each step of the sentence, most probable first.

    Args:
        log_p: log p(y_t) given all descriptors and the words before, (n, V), nats.
        words: the n words of the sentence.   vocabulary: the V words.   count: how many alternatives to list.
    Returns:
        n lists of {"word", "probability", "rank"}: the `count` most probable, rank 1 first, and after them the
        sentence's own word if it is not among them.
    Raises:
        ValueError: if the shapes disagree, or a word of the sentence is not in the vocabulary.

    Example:
        >>> p = [[0.5, 0.3, 0.2], [0.1, 0.6, 0.3]]
        >>> for step in alternatives(np.log(p), ("red", "car"), ("a", "car", "red"), count=1):
        ...     print([(item["word"], round(item["probability"], 3), item["rank"]) for item in step])
        [('a', 0.5, 1), ('red', 0.2, 3)]
        [('car', 0.6, 1)]
    """
    log_p, index = np.asarray(log_p, float), {word: k for k, word in enumerate(vocabulary)}
    if log_p.shape != (len(words), len(vocabulary)):
        raise ValueError(f"log_p must be (n, V) = {(len(words), len(vocabulary))}, received {log_p.shape}")
    missing = [word for word in words if word not in index]
    if missing:
        raise ValueError(f"not in the vocabulary: {', '.join(missing)}")
    lists = []
    for row, word in zip(log_p, words, strict=True):
        ranks = np.empty(len(row), int)
        order = np.argsort(-row, kind="stable")
        ranks[order] = np.arange(1, len(row) + 1)
        listed = [*order[:count], *([index[word]] if ranks[index[word]] > count else [])]
        lists.append([{"word": vocabulary[k], "probability": math.exp(row[k]), "rank": int(ranks[k])} for k in listed])
    return lists


# --- numbers --------------------------------------------------------------------------------------------------------


def _fields(path, explanation, vocabulary, title, chosen, loss, cmap, normalize, whole):
    """What the pages of videos and pictures have in common, after checking it; nothing is written yet."""
    if Path(path).suffix.lower() != ".html":
        raise UserError(f"cannot write {path}: expected a name that ends in .html; name another output")
    colour_maps = {name: _base64(palette(name)) for name in dict.fromkeys((cmap, *COLOUR_MAPS))}
    words, losses = [str(word) for word in explanation.words], {}
    chosen = sorted(set(chosen or (noun_phrases(words) or [range(len(words))])[0]))
    if chosen and not 0 <= chosen[0] <= chosen[-1] < len(words):
        raise ValueError(f"chosen are positions 0..{len(words) - 1} of the sentence, received {chosen}")
    for kind in ("nll", "kl"):
        cells, pooled = explanation.maps(kind)
        if cells is not None:
            _check_losses(cells, pooled, words)
            losses[kind] = {"cells": quantised(cells), "pooled": None if pooled is None else quantised(pooled)}
    if loss not in losses:
        raise ValueError(f"the explanation has no {loss!r} loss, only: {', '.join(losses)}")
    if normalize not in NORMALIZATIONS:
        raise ValueError(f"normalize is one of {', '.join(NORMALIZATIONS)}, not {normalize!r}")
    log_p = explanation.log_p
    return {
        "title": title,
        "words": words,
        "grid": int(np.shape(explanation.maps(loss)[0])[-1]),
        "spread": SPREAD,
        "losses": losses,
        "error": max(max(part["step"]) for kind in losses.values() for part in kind.values() if part) / 2,
        "loss": loss,
        "normalize": normalize,
        "normalizations": {  # as the control says it, and in full
            how: (SCALED[how].format(whole=whole), text.replace("clip", whole))
            for how, text in NORMALIZATIONS.items()
            if how != "frame" or whole == "clip"
        },
        "chosen": chosen,
        "alternatives": None if log_p is None else alternatives(log_p, words, vocabulary),
        "cmap": cmap,
        "colour_maps": colour_maps,
    }


def _check_losses(cells, pooled, words):
    n, shape = len(words), np.shape(cells)
    if not n or len(shape) != 4 or shape[0] != n or shape[2] != shape[3] or shape[2] < 2:
        raise ValueError(f"expected n >= 1 words and losses (n, m, G, G); received {n} words and {shape}")
    if pooled is not None and np.shape(pooled) != shape[:2]:
        raise ValueError(f"expected the frames' losses (n, m) = {shape[:2]}, received {np.shape(pooled)}")
    if not all(np.isfinite(array).all() for array in (cells, pooled) if array is not None):
        raise ValueError("losses must be finite numbers")


def quantised(loss):
    """Losses in 16 bits, word by word: Loss = low + step code, off by at most step / 2.

    Args:
        loss: (n, ...), nats.
    Returns:
        dict: `low` and `step` of each word, lists of n floats; `codes`, little-endian uint16 in row order as base64.

    Example:
        >>> q = quantised(np.array([[1.0, 2.0, 3.0]]))
        >>> q["low"], q["step"] == [2 / 65535], np.frombuffer(base64.b64decode(q["codes"]), "<u2").tolist()
        ([1.0], True, [0, 32768, 65535])
    """
    loss = np.asarray(loss, float)
    rows = loss.reshape(len(loss), -1)
    low = rows.min(axis=1)
    step = (rows.max(axis=1) - low) / 65535
    codes = np.rint((rows - low[:, None]) / np.where(step > 0, step, 1)[:, None])
    return {"low": low.tolist(), "step": step.tolist(), "codes": _base64(codes.astype("<u2").tobytes())}


def _base64(data):
    return base64.b64encode(data).decode()


# --- the medium -----------------------------------------------------------------------------------------------------


def _size(geometry, longest):
    """(width, height) of the copy that is drawn."""
    ratio = min(1.0, longest / max(geometry.width, geometry.height))
    return max(1, round(geometry.width * ratio)), max(1, round(geometry.height * ratio))


def _check_frame(frame, geometry):
    expected = (geometry.height, geometry.width, 3)
    if np.shape(frame) != expected or np.asarray(frame).dtype != np.uint8:
        raise ValueError(f"expected frames of {expected} uint8, as the geometry says, received {np.shape(frame)}")


def _clip(frames, frame_rate, geometry):
    """(MP4 bytes, (width, height), time of the first frame, number of frames); small enough, see VIDEO_BYTES."""
    times = []

    def noted():
        for time, frame in frames:
            _check_frame(frame, geometry)
            times.append(time)
            yield frame

    size, crf = _even(_size(geometry, VIDEO_SIDE)), CRF[0]
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "0.mp4")
        data = _encoded(source, noted(), frame_rate, size, crf)
        for attempt in range(1, 8):
            if len(data) <= VIDEO_BYTES or (crf == CRF[1] and max(size) <= SMALLEST_SIDE):
                break
            shrink = min(0.9, max(0.5, math.sqrt(VIDEO_BYTES / len(data))))
            size = _even(_size(geometry, max(SMALLEST_SIDE, shrink * max(size))))
            crf = min(CRF[1], crf + 3)
            first = (frame for _, frame in iterate_frames(source))
            data = _encoded(Path(folder, f"{attempt}.mp4"), first, frame_rate, size, crf)
    return data, size, float(times[0]), len(times)


def _even(size):
    """H.264 wants even sides; a copy whose shape is a pixel off still shows each place where the map has it."""
    return tuple(max(2, side + side % 2) for side in size)


def _encoded(path, frames, frame_rate, size, crf):
    with VideoWriter(path, *size, frame_rate, crf=crf, keyframe_interval=KEYFRAME_INTERVAL) as video:
        for frame in frames:
            video.write(np.asarray(shrunk(frame, size)))
    return path.read_bytes()


# --- the page -------------------------------------------------------------------------------------------------------


def _write(path, title, fields):
    """Puts the parts together. Text reaches the page as JSON, whose < and & are escaped, or HTML-escaped."""
    style, script, page = (
        Path(__file__).with_name(f"page.{kind}").read_text("utf-8") for kind in ("css", "js", "html")
    )
    data = json.dumps(fields, allow_nan=False, separators=(",", ":"))  # ASCII: of its letters only < > & mean anything
    for letter in "<>&":
        data = data.replace(letter, f"\\u{ord(letter):04x}")
    policy = (  # the browser refuses whatever is not in this file: any address, any other script
        f"default-src 'none'; img-src data: blob:; media-src blob:; style-src {_digest(style)}; "
        f"script-src {_digest(script)}; base-uri 'none'; form-action 'none'"
    )
    parts = {"policy": policy, "title": html.escape(title), "style": style, "data": data, "script": script}
    page = re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], page)  # one pass: a title {{data}} stays text
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="replace", newline="\n")


def _digest(text):
    """A script or style as a content security policy names it."""
    return f"'sha256-{_base64(hashlib.sha256(text.encode()).digest())}'"
