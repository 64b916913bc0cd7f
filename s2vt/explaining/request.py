"""What is asked of `explain`: frozen values, checked where they can be checked alone."""

import math
from dataclasses import dataclass, field
from pathlib import Path

from s2vt.captioning.runs import Run
from s2vt.config import Config
from s2vt.errors import UserError
from s2vt.rendering.drawing import Look, palette
from s2vt.saliency.maps import KINDS, kinds_with


@dataclass(frozen=True)
class Selection:
    """Which media to explain, and by which sentence.

    Attributes:
        media: a file of the user's own; None: `media_id` selects.
        media_id: an id of the data set, "all", or the path of a text file with lines media_id<TAB>sentence.
        split, limit: of "all": train, val or test, and the most media.
        sentence: to look for; None: the captioner's own caption. A sentence in the text file comes first.
    """

    media: str | None = None
    media_id: str | None = None
    split: str = "test"
    limit: int | None = None
    sentence: str | None = None


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
        run: the Run whose captioner is explained.   checkpoint: the number of its checkpoint.
        config: the Config to explain it with.
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
    Raises:
        UserError: on an unknown colour map or kind of map, a kind that the captioner cannot give, or a name of
            `save_maps` with another ending.
    """

    run: Run
    checkpoint: int
    config: Config
    data_dir: Path
    selection: Selection
    phrases: tuple[tuple[str, ...], ...] = ()
    excerpt: Excerpt = field(default_factory=Excerpt)
    look: Look = field(default_factory=Look)
    output: str | None = None
    page: bool = False
    save_maps: str | None = None
    seed: int = 0

    def __post_init__(self):
        palette(self.look.cmap)
        if self.look.kind not in KINDS:
            raise UserError(f"--map {self.look.kind}: expected one of {', '.join(KINDS)}")
        if self.look.kind not in self.kinds:
            raise UserError(
                f"--map {self.look.kind}: {self.run.folder} is of the kind {self.config.model.name}, which gives "
                f"{', '.join(self.kinds)} of a {self.config.media}; choose one of these, or another run with --name"
            )
        if self.save_maps and Path(self.save_maps).suffix.lower() != ".npz":
            raise UserError(f"--save_maps {self.save_maps}: expected a name that ends in .npz")

    @property
    def kinds(self):
        """The kinds of map that the captioner can give of the media that it was trained on."""
        return kinds_with(self.config.model.methods, self.config.media)
