"""What is asked of `explain_files`, and by the library's `explain`: frozen values, checked where they can be alone."""

import collections
import dataclasses
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
class View:
    """A captioner, and the kind of map that is asked of it.

    Attributes:
        captioner: what is explained.
        look: how it is drawn, and the kind of map.
        name: the captioner's, with a number where another one beside it has the same.
        heading: lines that tell it from the others beside it, such as ("Flickr30k", "nll"); empty if it is alone.
    """

    captioner: TrainedCaptioner | GivenCaptioner
    look: Look = field(default_factory=Look)
    name: str = ""
    heading: tuple[str, ...] = ()

    @property
    def title(self):
        """The heading in one line."""
        return ", ".join(self.heading)


MOST = 4  # explanations side by side: more are too small to be read


def views_of(asked):
    """The Views of captioners and their kinds of map: every captioner under each of its kinds, in this order.

    Args:
        asked: pairs of a captioner and a Look, whose kind is one kind of map or several, joined by commas.
    Raises:
        UserError: if there are more than MOST, or one is named twice.
    """
    views, kinds = [], []
    for captioner, look in asked:
        kinds = [kind.strip() for kind in look.kind.split(",")]
        if len(set(kinds)) < len(kinds):
            raise UserError(f"--map {look.kind}: expected each kind of map once")
        views += [View(captioner, dataclasses.replace(look, saliency=dataclasses.replace(look.saliency, map=kind)))
                  for kind in kinds]  # fmt: skip
    names, of_captioners = _names([captioner for captioner, _ in asked]), len(asked) > 1
    if len(views) > MOST:
        raise UserError(
            f"{len(views)} maps side by side ({len(asked)} captioners, {len(kinds)} kinds of map): expected at most "
            f"{MOST}; name fewer with --name and --map"
        )
    return tuple(
        dataclasses.replace(view, name=name, heading=(name,) * of_captioners + (view.look.kind,) * (len(kinds) > 1))
        for view, name in zip(views, (names[id(view.captioner)] for view in views), strict=True)
    )


def _names(captioners):
    """{id of a captioner: its name, with a number where two have the same}."""
    if len({id(captioner) for captioner in captioners}) < len(captioners):
        raise UserError(f"--name {','.join(c.name for c in captioners)}: expected each captioner once")
    times, seen = collections.Counter(captioner.name for captioner in captioners), collections.Counter()
    names = {}
    for captioner in captioners:
        seen[captioner.name] += 1
        number = f" ({seen[captioner.name]})" if times[captioner.name] > 1 else ""
        names[id(captioner)] = f"{captioner.name}{number}"
    return names


@dataclass(frozen=True)
class ExplanationRequest:
    """What to explain, how, and where the files go.

    Attributes:
        views: which captioners are asked for which kinds of map, side by side: see `views_of`.
        data_dir: the folder of the data sets.
        selection: which media and sentence.
        phrases: words and phrases to show, each a tuple of words; empty: every word of a video, every noun phrase of
            a picture.
        excerpt: which part of a video.
        output: the file to write, whose ending chooses what is made; of many media a folder, or FOLDER/{id}.gif. None:
            in the run's folder, saliency/.
        page: write the HTML page, too.
        save_maps: an .npz file for the raw numbers; None: none.
        seed: of the random subsets of `banzhaf` and `rise`.
        every_kind: find every kind of map that takes no further pass, not only the one that is drawn.
    Raises:
        UserError: on an unknown colour map or kind of map, a kind that a captioner cannot give, a name of `save_maps`
            with another ending, `instead` beside what it cannot be drawn with, or views that cannot stand side by side.
    """

    views: tuple[View, ...]
    data_dir: Path
    selection: Selection
    phrases: tuple[tuple[str, ...], ...] = ()
    excerpt: Excerpt = field(default_factory=Excerpt)
    output: str | None = None
    page: bool = False
    save_maps: str | None = None
    seed: int = 0
    every_kind: bool = False

    def __post_init__(self):
        for view in self.views:
            _check_view(view)
        if self.save_maps and Path(self.save_maps).suffix.lower() != ".npz":
            raise UserError(f"--save_maps {self.save_maps}: expected a name that ends in .npz")
        _check_beside(self.views, self.selection)
        if self.selection.instead is None:
            return
        if self.phrases:
            raise UserError("--instead shows the word in which two sentences part; leave out --words and --phrases")
        if self.look.of_release:
            raise UserError("--instead: the 2017 release has no such maps; choose --normalize clip or frame")
        if len(self.captioners) < len(self.views):
            raise UserError("--instead shows log-odds, whatever the kind of map; name one kind with --map")

    @property
    def captioners(self):
        """The captioners, each once, in their order."""
        return tuple({id(view.captioner): view.captioner for view in self.views}.values())

    @property
    def captioner(self):
        """The first captioner, whose own caption is explained where no sentence is given."""
        return self.views[0].captioner

    @property
    def look(self):
        """The first Look; all are of one layout, size and colour map."""
        return self.views[0].look

    @property
    def config(self):
        """The Config of the first captioner."""
        return self.captioner.config

    def kinds(self, captioner):
        """The kinds of map that are asked of a captioner."""
        return [view.look.kind for view in self.views if view.captioner is captioner]

    def saliency(self, captioner):
        """The settings under which a captioner is asked: a SaliencyConfig, of all of its views but for the kind."""
        return next(view.look.saliency for view in self.views if view.captioner is captioner)

    def of(self, captioner):
        """What stands before a message about one captioner: its name where there are several, else nothing."""
        return f"{captioner.name}: " if len(self.captioners) > 1 else ""


def _check_view(view):
    """Raises UserError on an unknown colour map or kind of map, or a kind that the captioner cannot give."""
    palette(view.look.cmap)
    if view.look.kind not in KINDS:
        raise UserError(f"--map {view.look.kind}: expected one of {', '.join(KINDS)}")
    if view.look.kind not in view.captioner.kinds:
        raise UserError(
            f"--map {view.look.kind}: {view.captioner.described}, which gives {', '.join(view.captioner.kinds)} of "
            f"a {view.captioner.config.media}; choose one of these, or another run with --name"
        )


def _check_beside(views, selection):
    """Raises UserError if captioners of several data sets are to explain a medium of one, or scale maps differently."""
    first, configs = views[0].captioner, [view.captioner.config for view in views]
    for config, view in zip(configs, views, strict=True):
        if selection.media_id is not None and config.dataset != configs[0].dataset:
            raise UserError(
                f"{view.captioner.name} is of {config.dataset}, {first.name} of {configs[0].dataset}: captioners of "
                "several data sets explain a file side by side; name it with --media"
            )
        if view.look.of_release != views[0].look.of_release:
            raise UserError(
                f"{view.captioner.name} and {first.name} scale maps in different ways (saliency.normalize="
                f"{view.look.saliency.normalize} and {views[0].look.saliency.normalize}); choose one with --normalize"
            )
