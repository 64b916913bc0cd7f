"""One HTML page that shows a sentence's saliency live: point at words, sum them, move through time.

The page is one file that needs nothing else, no network and no server. It holds the medium (a video as H.264, a
picture as WebP) and the evidence of every kind of map of the explanation on the grid, so that any words can be summed
(Eq. 9) and scaled (Eq. 8) in the browser. Interpolation between cells and smoothing over time are matrices of
`heatmaps`, which the page's script multiplies with; of maps in the release's steps, they come from `release`.
`page.html`, `page.js` and `page.css` beside this file are its parts.

Evidence is kept in 16 bits, word by word: off by at most (max - min) / 131070 of the word. A phrase of q words is off
by at most the sum of its words' errors.

Several explanations of the same medium and sentence are panels of one page, with one time line and one choice of words.
What two panels share, two kinds of map of one captioner, is kept once.

Letters: E panels; T words; m sampled frames, 1 for a picture; G x G grid; V vocabulary; H, W height and width of the
source.
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
from s2vt.data.phrases import noun_phrases, phrases_at
from s2vt.data.video import iterate_frames
from s2vt.data.video_writer import VideoWriter
from s2vt.errors import UserError
from s2vt.rendering.drawing import (
    COLOUR_MAP,
    DIMMED,
    NORMALIZATIONS,
    PICTURE_NORMALIZATIONS,
    TINT,
    TINT_POWER,
    Shown,
    check_alike,
    coarse,
    notes_of,
    palette,
    resized,
    shrunk,
)
from s2vt.rendering.odds import COLOUR_MAP as DIVERGING
from s2vt.saliency import release
from s2vt.saliency.heatmaps import over_time
from s2vt.saliency.maps import KINDS

COLOUR_MAPS = (COLOUR_MAP, "viridis", "magma", "cividis", "turbo", "jet")
VIDEO_SIDE, PICTURE_SIDE = 640, 1024  # longest side at which a medium is kept, pixels; none is enlarged
VIDEO_BYTES = 3_000_000  # a longer clip is kept smaller and coarser until it fits, as far as SMALLEST_SIDE and CRF
SMALLEST_SIDE, CRF = 160, (24, 36)  # x264's quality, the best and the worst
ODDS_BYTES = 4_000_000  # of log-odds against alternatives; 25 words of 26 frames take 0.5 MB
KEYFRAME_INTERVAL = 10  # frames: what a browser decodes at most to show the one that the time line points at
SCALED = {"clip": "per clip", "frame": "per frame", "release": "release"}  # texts of the page's control


@dataclasses.dataclass(frozen=True)
class Said:
    """What a captioner says beside its maps.

    Attributes:
        captioner: its name, needed only beside others.
        vocabulary: the V words that `explanation.log_p` runs over, needed only with it.
        odds: {t: Odds of the word against what it would have said instead}; clicking one of these words shows them. Of
            at most ODDS_BYTES in all, else left out.
    """

    captioner: str = ""
    vocabulary: tuple[str, ...] = ()
    odds: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Panel:
    """A map on a page.

    Attributes:
        explanation: `s2vt.saliency.explanation.Explanation`; any of its kinds of map can be chosen.
        look: `Look`, whose kind is shown first.
        title: what tells it from the others, for the description of what is drawn.
        said: what the captioner says.
    """

    explanation: object
    look: object
    title: str = ""
    said: Said = dataclasses.field(default_factory=Said)

    @property
    def key(self):
        """What panels with the same evidence share: the explanation, and the grid of the kind that is shown first."""
        return id(self.explanation), self.explanation.geometry_of(self.look.kind).grid


@dataclasses.dataclass(frozen=True)
class PageContent:
    """What a page says beside the maps.

    Attributes:
        title: heading of the page, any text (a file's name, a caption).
        chosen: positions of the words shown at first; empty: the first noun phrase.
        instead: (t, the other word) whose log-odds are shown at first; None: the chosen words' map.
    """

    title: str = ""
    chosen: tuple[int, ...] = ()
    instead: tuple[int, str] | None = None


def video_page(path, frames, frame_rate, panels, content):
    """The page of a video: any words or phrases of the sentence, any kinds of map of its panels.

    Args:
        path: the file to write, *.html.
        frames, frame_rate: as of `video.saliency_video`.
        panels: E of Panel, explanations of the same video, frames and sentence.
        content: `PageContent`.
    Raises:
        UserError: if path cannot be written or does not end in .html, there is no such colour map, or a kind of map
            has no values for such a medium; nothing is left behind then, nor after any other error.
        ValueError: if shapes disagree, evidence is not finite, a kind of map or the normalization is missing, there is
            no panel or no frame, or the panels are not alike.
    """
    fields, explanation = _fields(path, panels, content), panels[0].explanation
    times = np.asarray(explanation.times, float)
    if times.ndim != 1 or not len(times):
        raise ValueError(f"a video's explanation has times (m,), received {times.shape}")
    clip, size, start, num_frames = _clip(frames, frame_rate, explanation.geometry)
    medium = {
        "medium": {"type": "video/mp4", "data": _base64(clip)},
        "times": (times - start).tolist(),
        "start": start,
        "duration": num_frames / float(frame_rate),
        "frame_rate": float(frame_rate),
    }
    _write(path, content.title, fields | medium | _placed(fields, panels, size))


def picture_page(path, picture, panels, content):
    """The page of a picture, (H, W, 3) uint8. The other arguments and errors: as of `video_page`."""
    fields, explanation = _fields(path, panels, content), panels[0].explanation
    if len(explanation.times):
        raise ValueError(f"a picture has one frame, received evidence for {len(explanation.times)}")
    _check_frame(picture, explanation.geometry)
    size, file = _size(explanation.geometry, PICTURE_SIDE), io.BytesIO()
    shrunk(picture, size).save(file, "WEBP", quality=88)
    medium = {
        "medium": {"type": "image/webp", "data": _base64(file.getvalue())},
        "times": [0.0],
        "start": 0.0,
        "duration": 0.0,
        "frame_rate": 1.0,
    }
    _write(path, content.title, fields | medium | _placed(fields, panels, size))


def alternatives(log_p, words, vocabulary, count=6, also=None):
    """What the captioner would have said at each step of the sentence, most probable first.

    Args:
        log_p: log p(y_t) given all descriptors and the words before, (T, V), nats.
        words: the T words of the sentence.   vocabulary: the V words.   count: how many alternatives to list.
        also: (t, word) to list at position t, too; None: none.
    Returns:
        T lists of {"word", "probability", "rank"}: the `count` most probable, rank 1 first, and after them `also` and
        the sentence's own word if they are not among them.
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
        raise ValueError(f"log_p must be (T, V) = {(len(words), len(vocabulary))}, received {log_p.shape}")
    missing = [word for word in words if word not in index]
    if missing:
        raise ValueError(f"not in the vocabulary: {', '.join(missing)}")
    lists = []
    for t, (row, word) in enumerate(zip(log_p, words, strict=True)):
        ranks = np.empty(len(row), int)
        order = np.argsort(-row, kind="stable")
        ranks[order] = np.arange(1, len(row) + 1)
        own = [index[also[1]], index[word]] if also and also[0] == t else [index[word]]
        listed = [*order[:count], *sorted((k for k in own if ranks[k] > count), key=lambda k: ranks[k])]
        lists.append([{"word": vocabulary[k], "probability": math.exp(row[k]), "rank": int(ranks[k])} for k in listed])
    return lists


# --- numbers ----------------------------------------------------------------------------------------------------------


def _fields(path, panels, content):
    """What the pages of videos and pictures have in common, after checking it; nothing is written yet."""
    if Path(path).suffix.lower() != ".html":
        raise UserError(f"cannot write {path}: expected a name that ends in .html; name another output")
    words = [str(word) for word in panels[0].explanation.words] if panels else []
    every = phrases_at(words, [(t,) for t in range(len(words))])
    shown = [Shown(panel.explanation, every, panel.look, (panel.title,)) for panel in panels]
    for one in shown:
        _ = one.evidence  # checks the kind shown
    check_alike(shown)
    look, moving = panels[0].look, bool(len(panels[0].explanation.times))
    texts = _scalings(panels, moving)
    chosen = sorted(set(content.chosen or (noun_phrases(words) or [range(len(words))])[0]))
    if chosen and not 0 <= chosen[0] <= chosen[-1] < len(words):
        raise ValueError(f"chosen are positions 0..{len(words) - 1} of the sentence, received {chosen}")
    captioners = {key: _captioner(panel, words, moving, content.instead) for key, panel in _distinct(panels).items()}
    steps = [max(part["step"]) for each in captioners.values() for one in each["evidence"].values()
             for part in one.values() if part]  # fmt: skip
    return {
        "title": content.title,
        "words": words,
        "captioners": list(captioners.values()),
        "panels": [{"captioner": list(captioners).index(panel.key), "kind": panel.look.kind} for panel in panels],
        "error": max(steps) / 2,
        "normalize": look.saliency.normalize if look.saliency.normalize in texts else "clip",
        "normalizations": {  # the control's text, and the whole description
            how: (SCALED[how] if moving else SCALED[how].replace("clip", "picture"), text)
            for how, text in texts.items()
        },
        "chosen": chosen,
        "instead": content.instead,
        "diverging": _base64(palette(DIVERGING)),
        "overlay": {"dimmed": DIMMED, "tint": TINT, "tint_power": TINT_POWER},
        "cmap": look.cmap,
        "colour_maps": {name: _base64(palette(name)) for name in dict.fromkeys((look.cmap, *COLOUR_MAPS))},
        "placement": _together(panels, [_placement(panel) for panel in panels]),
        "smoothing": _together(panels, [panel.look.smoothing() for panel in panels]),
    }


def _together(panels, texts):
    """What is said of each panel, in one text."""
    shown = [Shown(None, [], panel.look, (panel.title,)) for panel in panels]
    return " ".join(notes_of(shown, [(text,) for text in texts]).values())


def _distinct(panels):
    """{what panels with the same evidence share: the first of them}."""
    first = {}
    for panel in panels:
        first.setdefault(panel.key, panel)
    return first


def _captioner(panel, words, moving, instead):
    """What the page keeps of a captioner's explanation: evidence of each kind, and what it would have said instead.

    Of the kinds that have values for such a medium, on the grid of the one that is shown first.
    """
    explanation, look, said = panel.explanation, panel.look, panel.said
    found = {
        kind: evidence
        for kind, evidence in explanation.maps.items()
        if (evidence.frames if moving else evidence.cells) is not None and _is_on_grid(kind, explanation, look)
    }
    return {
        "name": said.captioner,
        # Several kinds are made of one loss, which is kept once.
        "evidence": {KINDS[kind].source(kind): _kept(evidence, words, moving) for kind, evidence in found.items()},
        "maps": {kind: _map(kind, evidence.content) for kind, evidence in found.items()},
        "of_change": {t: change._asdict() for t, change in found[look.kind].of_change.items()},
        "alternatives": _alternatives(explanation, words, said.vocabulary, instead),
        "odds": _odds(said.odds),
    }


def _scalings(panels, moving):
    """{how saliency can be scaled on the page: its description}; the release's maps have evidence of their own."""
    for panel in panels:
        if panel.look.saliency.normalize not in NORMALIZATIONS:
            expected = ", ".join(NORMALIZATIONS)
            raise ValueError(f"normalize is one of {expected}, not {panel.look.saliency.normalize!r}")
        if panel.look.of_release != panels[0].look.of_release:
            raise ValueError("panels side by side must all be of the release's maps, or none")
    texts = NORMALIZATIONS if moving else PICTURE_NORMALIZATIONS
    offered = ("release",) if panels[0].look.of_release else ("clip", "frame") if moving else ("clip",)
    return {how: texts[how] for how in offered}


def _alternatives(explanation, words, vocabulary, instead):
    if explanation.log_p is None:
        return None
    return alternatives(explanation.log_p, words, vocabulary, also=instead)


def _odds(odds):
    """Log-odds as the page keeps them, {t: {other word: number of its row, and the rows}}."""
    numbers = sum(array.size for one in odds.values() for array in (one.cells, one.frames) if array is not None)
    if 2 * numbers > ODDS_BYTES:
        return {}
    return {
        t: {
            "others": list(one.others),
            "cells": quantised(one.cells),
            "frames": None if one.frames is None else quantised(one.frames),
        }
        for t, one in odds.items()
    }


def _map(name, content):
    """What the page's script needs of a kind of map: what it is made of, and which words are summed and how.

    Args:
        content: positions, as `Evidence.content`.
    """
    kind, beside = KINDS[name], KINDS.get(KINDS[name].beside)
    return {
        "title": kind.title,
        "unit": kind.unit,
        "of": kind.source(name),
        **_functions(kind, content),
        "beside": beside and {"title": beside.curve, **_functions(beside, content)},
    }


def _functions(kind, content):
    """Which words are summed, and the names of the functions of their sum; the page's script has them, too."""
    return {
        "content": content and list(content),
        "of_sum": kind.of_sum.__name__,
        "of_change": kind.of_change and kind.of_change.__name__,
    }


def _kept(evidence, words, moving):
    """The words' evidence as the page keeps it."""
    cells, frames = evidence.cells, evidence.frames if moving else None
    for values, rank in ((cells, 4), (frames, 2)):
        if values is not None:
            shape = np.shape(values)
            if len(shape) != rank or len(words) != shape[0] or shape[2:3] != shape[3:]:
                raise ValueError(f"expected evidence (T, m, G, G) or (T, m); received {len(words)} words and {shape}")
            if not np.isfinite(values).all():
                raise ValueError("evidence must be finite numbers")
    if cells is not None and frames is not None and np.shape(frames) != np.shape(cells)[:2]:
        raise ValueError(f"expected the frames' evidence (T, m) = {np.shape(cells)[:2]}, received {np.shape(frames)}")
    return {
        "cells": None if cells is None else quantised(cells),
        "frames": None if frames is None else quantised(frames),
    }


def quantised(values):
    """Evidence in 16 bits, word by word: value = low + step code, off by at most step / 2.

    Args:
        values: (T, ...).
    Returns:
        dict: `low` and `step` of each word, lists of T floats; `codes`, little-endian uint16 in row order as base64.

    Example:
        >>> q = quantised(np.array([[1.0, 2.0, 3.0]]))
        >>> q["low"], q["step"] == [2 / 65535], np.frombuffer(base64.b64decode(q["codes"]), "<u2").tolist()
        ([1.0], True, [0, 32768, 65535])
    """
    values = np.asarray(values, float)
    rows = values.reshape(len(values), -1)
    low = rows.min(axis=1)
    step = (rows.max(axis=1) - low) / 65535
    codes = np.rint((rows - low[:, None]) / np.where(step > 0, step, 1)[:, None])
    return {"low": low.tolist(), "step": step.tolist(), "codes": _base64(codes.astype("<u2").tobytes())}


def _placed(fields, panels, size):
    """The fields of a page that depend on the (width, height) of the copy that is drawn: its geometry, and for each
    captioner the matrices that make its maps and curves (`heatmaps`)."""
    placed = [_matrices(panel, size) for panel in _distinct(panels).values()]
    captioners = [kept | matrices for kept, matrices in zip(fields["captioners"], placed, strict=True)]
    geometry = panels[0].explanation.geometry_of(panels[0].look.kind)
    return resized(geometry, *size).to_json() | {"captioners": captioners}


def _matrices(panel, size):
    """The grid on which a captioner's maps lie, and the matrices that interpolate and smooth them."""
    explanation, look = panel.explanation, panel.look
    geometry = resized(explanation.geometry_of(look.kind), *size)
    here = {kind: each.cells for kind, each in explanation.maps.items() if _is_on_grid(kind, explanation, look)}
    grids = {np.shape(cells)[-1] for cells in here.values() if cells is not None}
    if len(grids) > 1:
        raise ValueError(f"expected maps of one grid, received G = {sorted(grids)}")
    grid, m = max(grids, default=2), max(len(explanation.times), 1)
    return {
        "grid": grid,
        "interpolation": {
            name: [_matrix(A) for A in look.interpolation(of, grid)]
            for name, of in (("drawn", geometry), ("coarse", coarse(geometry)))
        },
        "gaussian": release.gaussian_weights() if look.of_release else None,
        "over_time": None if look.of_release else _matrix(over_time(np.eye(m), look.sigma_frames).T),
    }


def _is_on_grid(kind, explanation, look):
    """Whether a kind's cells lie on the grid of the kind that is shown first, the page's."""
    return explanation.geometry_of(kind).grid == explanation.geometry_of(look.kind).grid


def _left_out(explanation, look):
    """Which kinds of map are not on the page because their cells lie on another grid than the page's, a sentence."""
    others = [KINDS[kind].title for kind in explanation.maps if not _is_on_grid(kind, explanation, look)]
    return f" On another grid, and so on a page of their own: {', '.join(others)}." if others else ""


def _placement(panel):
    """Where values belong and what stands between them, what the ends of the scale are, the protocol, and what is not
    on the page."""
    look = panel.look
    return f"{_interpolation(look)} Protocol {look.protocol}.{_left_out(panel.explanation, look)}"


def _interpolation(look):
    """Where values belong and what stands between them, and what the ends of the scale are."""
    if look.of_release:
        return (
            "Values stand in the release’s places, cell k of 8 at .02 + .12 (k + 1/2) of the picture’s side; between "
            "them the map is a bicubic interpolation."
        )
    sigma = look.saliency.sigma_cells
    between = f"a mean of all cells, Gaussian weights of σ = {sigma:g} cells" if sigma else "bilinear interpolation"
    return (
        f"Values belong at the centres of the cells’ receptive fields; between them the map is {between}. The smallest "
        "and the largest drawn value are the ends of the scale."
    )


def _matrix(A):
    """A matrix as little-endian float32 in row order, base64."""
    return _base64(np.ascontiguousarray(A, "<f4").tobytes())


def _base64(data):
    return base64.b64encode(data).decode()


# --- the medium -------------------------------------------------------------------------------------------------------


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


# --- the page ---------------------------------------------------------------------------------------------------------


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
