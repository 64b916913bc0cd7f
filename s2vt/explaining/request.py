"""What is asked of `explain_files`, and by the library's `explain`: frozen values, checked where they can be alone."""

import math
from dataclasses import dataclass, field
from pathlib import Path

from s2vt.data.sources import File, Frames
from s2vt.errors import UserError
from s2vt.explaining.captioners import GivenCaptioner, TrainedCaptioner
from s2vt.rendering.drawing import Look, palette
from s2vt.saliency.maps import KINDS


@dataclass(frozen=True)
class Selection:
    """Which media to explain, and by which sentence.

    Attributes:
        media: a medium of the user's own, a source or the path of a file; None: `media_id` selects.
        media_id: an id of the data set, "all", or the path of a text file with lines media_id<TAB>sentence.
        split, limit: of "all": train, val or test, and the most media.
        sentence: to look for; None: the captioner's own caption. A sentence in the text file comes first.
        instead: another sentence, with the same words up to one: why that word, and not this sentence's. None: none.
    """

    media: str | File | Frames | None = None
    media_id: str | None = None
    split: str = "test"
    limit: int | None = None
    sentence: str | None = None
    instead: str | None = None


@dataclass(frozen=True)
class Excerpt:
    """The part of a video that is explained and shown.

    Attributes:
        start, end: seconds since the clip's first frame; None: no bound.
        stride: show one frame in so many.
    Raises:
        UserError: if the range is empty or the stride is below 1.
    """

    start: float | None = None
    end: float | None = None
    stride: int = 1

    def __post_init__(self):
        start, end = self.start or 0.0, math.inf if self.end is None else self.end
        if not (0 <= start < math.inf and start < end):
            given = [
                f"--{name} {getattr(self, name):g}" for name in ("start", "end") if getattr(self, name) is not None
            ]
            raise UserError(f"{' '.join(given)}: expected seconds, 0 or more, the end after the start")
        if self.stride < 1:
            raise UserError(f"--stride {self.stride}: expected 1 or more frames")

    @property
    def whole(self):
        """Whether it reaches over the whole clip."""
        return self.start is None and self.end is None


@dataclass(frozen=True)
class ExplanationRequest:
    """What to explain, how, and where the files go.

    Attributes:
        captioner: what is explained.
        data_dir: the folder of the data sets.
        selection: which media and sentence.
        phrases: words and phrases to show, each a tuple of words; empty: every word of a video, every noun phrase of
            a picture.
        excerpt: which part of a video.
        look: how it is drawn, and the kind of map.
        output: the file to write, whose ending chooses what is made; of many media a folder, or FOLDER/{id}.gif. None:
            in the run's folder, saliency/.
        page: write the HTML page, too.
        save_maps: an .npz file for the raw numbers; None: none.
        seed: of the random subsets of `banzhaf` and `rise`.
        every_kind: find every kind of map that takes no further pass, not only the one that is drawn.
    Raises:
        UserError: on an unknown colour map or kind of map, a kind that the captioner cannot give, a name of `save_maps`
            with another ending, or `instead` beside what it cannot be drawn with.
    """

    captioner: TrainedCaptioner | GivenCaptioner
    data_dir: Path
    selection: Selection
    phrases: tuple[tuple[str, ...], ...] = ()
    excerpt: Excerpt = field(default_factory=Excerpt)
    look: Look = field(default_factory=Look)
    output: str | None = None
    page: bool = False
    save_maps: str | None = None
    seed: int = 0
    every_kind: bool = False

    def __post_init__(self):
        palette(self.look.cmap)
        if self.look.kind not in KINDS:
            raise UserError(f"--map {self.look.kind}: expected one of {', '.join(KINDS)}")
        if self.look.kind not in self.captioner.kinds:
            raise UserError(
                f"--map {self.look.kind}: {self.captioner.described}, which gives {', '.join(self.captioner.kinds)} of "
                f"a {self.config.media}; choose one of these, or another run with --name"
            )
        if self.save_maps and Path(self.save_maps).suffix.lower() != ".npz":
            raise UserError(f"--save_maps {self.save_maps}: expected a name that ends in .npz")

        if self.selection.instead is not None and self.phrases:
            raise UserError("--instead shows the word in which two sentences part; leave out --words and --phrases")
        if self.selection.instead is not None and self.look.of_release:
            raise UserError("--instead: the 2017 release has no such maps; choose --normalize clip or frame")

    @property
    def config(self):
        """The Config to explain the captioner with."""
        return self.captioner.config
