"""The tables of the evaluation: the mentions each of them asks about, the score of a map, and the baselines.

Letters: K words of a phrase, m sampled frames (1 for a picture), H x W source pixels.

A new table is an entry of `TABLES`.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from s2vt.config import SaliencyConfig
from s2vt.data.entities import CATEGORIES
from s2vt.evaluation import baselines
from s2vt.evaluation.pointing import attention_correctness, hit_share, temporal_hit
from s2vt.evaluation.protocol import Window
from s2vt.evaluation.tally import Tally
from s2vt.saliency import release
from s2vt.saliency.heatmaps import argmax_point, over_time, upsample
from s2vt.saliency.maps import Evidence


@dataclass(frozen=True)
class PhraseMap:
    """Evidence for one phrase, in pixels and over time, computed once for all tables; where `has` says there is any.

    Attributes:
        evidence: for each word of the sentence.
        words: positions of those of the phrase's words that the captioner reads.
        window: the region of the picture that counts.
        saliency: from evidence to maps.
    """

    evidence: Evidence
    words: list[int]
    window: Window
    saliency: SaliencyConfig

    def has(self, domain):
        """Whether there are values in a `Table.domain`."""
        in_time = domain == "time" and not self.saliency.of_release
        return (self.evidence.frames if in_time else self.evidence.cells) is not None

    @functools.cached_property
    def space(self):
        """The phrase's map over the window's pixels, (m, H, W), see `Evidence.space`."""
        return self._map(self.words)

    @functools.cached_property
    def space_of_words(self):
        """The map of each word by itself, (K, m, H, W)."""
        return self.space[None] if len(self.words) == 1 else np.stack([self._map([t]) for t in self.words])

    @functools.cached_property
    def time(self):
        """Smoothed evidence for each frame, (m,)."""
        if self.saliency.of_release:
            return release.over_time(self.evidence.of_release(self.words))
        return over_time(self.evidence.time(self.words), self.saliency.sigma_frames)

    def _map(self, words):
        if self.saliency.of_release:
            return release.upsample(self.evidence.of_release(words), self.window)
        return upsample(self.evidence.space(words), self.window, self.saliency.sigma_cells)


@dataclass(frozen=True)
class Table:
    """One question about maps, asked about each mention.

    Attributes:
        name: in result files.
        title: in the table's upper left corner.
        domain: the values of a PhraseMap that are scored: its attribute of this name.
        media: the kinds of media asked about.
        asks: Mention -> whether the question applies to it.
        score: (values in the domain, Mention, Protocol) -> bool or number.
        baselines: (Mention, Window, Protocol) -> {row: bool or number}.
        text: Protocol -> how the values are computed, in words.
    """

    name: str
    title: str
    domain: Literal["space", "space_of_words", "time"]
    media: tuple[str, ...]
    asks: Callable
    score: Callable
    baselines: Callable
    text: Callable

    def tally(self, protocol):
        """An empty Tally. The columns of the paper's Table 1 come first."""
        settings = protocol.time_text() if self.domain == "time" else protocol.space_text()
        text = f"{protocol.heading(self.name)}; {self.text(protocol)} {settings}"
        return Tally(self.title, text, protocol.evaluation.average, CATEGORIES, protocol.evaluation.unknown)

    def reason_to_drop(self, mention):
        """Why a mention cannot be scored here, whatever the captioner; "" if it can."""
        if self.domain != "time" and not any(map(len, mention.boxes)):
            return "outside the crop"
        return mention.unscorable

    def values(self, maps, mention, window, protocol):
        """The scores of one mention.

        Args:
            maps: {row: PhraseMap}.   mention: with boxes in the window's pixels.
        Returns:
            {row: bool or number}: of the maps that have values in this table's domain, 0 where the captioner reads no
            word of the phrase; and of the baselines.
        """
        scores = {}
        for row, phrase_map in maps.items():
            if not phrase_map.has(self.domain):
                continue
            values = getattr(phrase_map, self.domain) if phrase_map.words else None
            scores[row] = 0.0 if values is None else self.score(values, mention, protocol)
        return scores | self.baselines(mention, window, protocol)


# --- pointing game --------------------------------------------------------------------------------------------------


def _pointing(maps, mention, protocol):
    points = [argmax_point(frame) for frame in maps]
    return hit_share(points, mention.boxes, protocol.evaluation.tolerance)


def _pointing_baselines(mention, window, protocol):
    tolerance = protocol.evaluation.tolerance
    return baselines.clip_pointing_rows(mention.boxes, window.width, window.height, tolerance)


def _pointing_text(protocol):
    tolerance = protocol.evaluation.tolerance
    return (
        f"a hit: the map's largest pixel lies in any of the phrase's boxes (tolerance {tolerance:g} px). In a clip: "
        "the share of hits among the sampled frames with the object in view. " + baselines.POINTING_BASELINES
    )


# --- attention correctness ------------------------------------------------------------------------------------------


def _correctness(maps, mention, protocol):
    ((pixel_map,), (boxes,)) = maps, mention.boxes
    return attention_correctness(pixel_map, boxes)


def _correctness_of_words(summary):
    """The score of a table of the maps of single words. summary: numbers of the K words -> number."""

    def score(maps, mention, protocol):
        return float(summary([_correctness(of_word, mention, protocol) for of_word in maps]))

    return score


def _correctness_baselines(mention, window, protocol):
    (boxes,) = mention.boxes
    return baselines.correctness_rows(boxes, window.width, window.height)


def _correctness_text(summary):
    """Protocol -> text. summary: whose map is scored, or how the words' scores are summed up."""
    return lambda protocol: (
        "the map is normalised to sum 1 over the picture's pixels and summed over the pixels whose centre lies in any "
        f"of the phrase's boxes (their union); {summary}. {baselines.CORRECTNESS_BASELINES}"
    )


# --- the right moment -----------------------------------------------------------------------------------------------


def _moment_text(hit):
    return f"a hit: {hit} in the most salient of the clip's sampled frames. {baselines.TEMPORAL_BASELINES}"


def _without_event(mention):
    """The frames in which neither the event that a mention names nor that of another object happens, (m,) bools."""
    return [not (here or there) for here, there in zip(mention.happens, mention.elsewhere, strict=True)]


def _has_place(mention):
    return mention.boxes is not None


def _correctness_table(how, domain, score, summary):
    """A table of attention correctness. how: end of its name.   Others: as in `Table` and `_correctness_text`."""
    name = f"attention correctness{how}"
    text = _correctness_text(summary)
    return Table(name, name, domain, ("picture",), _has_place, score, _correctness_baselines, text)


def _moment_table(name, title, frames, hit, asks=None):
    """A table of right moments.

    Args:
        frames: Mention -> the frames that are right, (m,) bools, or None.
        hit: which frames are right, in words.
        asks: Mention -> whether the question applies to it; None: if it has such frames.
    """
    return Table(
        name=f"time: {name}",
        title=title,
        domain="time",
        media=("video",),
        asks=asks or (lambda mention: frames(mention) is not None),
        score=lambda saliency, mention, protocol: temporal_hit(saliency, frames(mention)),
        baselines=lambda mention, window, protocol: baselines.temporal_rows(frames(mention)),
        text=lambda protocol: _moment_text(hit),
    )


def _has_other_events(mention):
    return mention.elsewhere is not None


TABLES = (
    Table(
        name="space",
        title="pointing game",
        domain="space",
        media=("picture", "video"),
        asks=_has_place,
        score=_pointing,
        baselines=_pointing_baselines,
        text=_pointing_text,
    ),
    _correctness_table(
        "",
        "space_of_words",
        _correctness_of_words(max),
        "the maximum over the maps of the phrase's words (Liu et al. 2017)",
    ),
    _correctness_table(
        ", mean of words",
        "space_of_words",
        _correctness_of_words(np.mean),
        "the mean over the maps of the phrase's words",
    ),
    _correctness_table(", phrase", "space", _correctness, "the map of the phrase (Eq. 9)"),
    _moment_table(
        "object",
        "right moment, objects that come or go",
        lambda mention: mention.in_view,
        "the phrase's object, which appears or disappears, is in view",
    ),
    _moment_table(
        "event",
        "right moment, the event itself",
        lambda mention: mention.happens,
        "the object is appearing or disappearing, half faded,",
    ),
    _moment_table(
        "right event",
        "which event: the one named",
        lambda mention: mention.happens,
        "the event that the phrase names happens",
        _has_other_events,
    ),
    _moment_table(
        "wrong event",
        "which event: another one",
        lambda mention: mention.elsewhere,
        "the event of another object happens",
    ),
    _moment_table("no event", "which event: none", _without_event, "no event happens", _has_other_events),
)
