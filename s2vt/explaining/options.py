"""How `s2vt.explain` is asked for more than a map: the keyword arguments that have a default."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from s2vt import config as configs
from s2vt.data.sources import source_of
from s2vt.data.text import tokenize
from s2vt.errors import UserError
from s2vt.evaluation.protocol import Protocol
from s2vt.explaining.request import Excerpt, ExplanationRequest, Selection, views_of
from s2vt.rendering.drawing import COLOUR_MAP, LAYOUTS, Look


@dataclass(frozen=True)
class Options:
    """Options of `s2vt.explain`, called as the flags of visualization.py.

    Attributes:
        fps, times: of a clip in memory: frames per second, or seconds of each frame.
        start, end: seconds: the part of a video that is sampled, explained and shown; None: no bound.
        stride: of a video, draw one frame in so many.
        protocol: how maps are made: "ours" (the captioner's own settings), "paper", "release" or "torchray".
        settings: {"saliency.normalize": "frame", ...}: settings of maps that differ from the protocol's.
        cmap: name of a matplotlib colour map.   layout: "grid", "strip" or "single".
        size: (width, height), the largest canvas of a video, pixels.
        seed: of the random subsets of map="banzhaf".
    """

    fps: float | None = None
    times: Sequence[float] | None = None
    start: float | None = None
    end: float | None = None
    stride: int = 1
    protocol: str = "ours"
    settings: dict = field(default_factory=dict)
    cmap: str = COLOUR_MAP
    layout: str = "grid"
    size: tuple[int, int] | None = None
    seed: int = 0

    def selection(self, medium, sentence, instead=None):
        """The Selection of a medium of the user's own."""
        return Selection(source_of(medium, self.fps, self.times), sentence=sentence, instead=instead)

    def request(self, captioners, selection, phrases=(), map=None):
        """The ExplanationRequest, of all kinds of map.

        Args:
            captioners: of `captioners.load`.   phrases: strings.   map: a kind of map, or several to stand side by
                side; None: the captioner's setting.
        Raises:
            UserError: if an option is wrong.
        """
        if self.layout not in LAYOUTS:
            raise UserError(f"layout {self.layout!r}: expected one of {', '.join(LAYOUTS)}")
        return ExplanationRequest(
            views=views_of([(captioner, self._look(captioner, map)) for captioner in captioners]),
            data_dir=Path("DATA"),
            selection=selection,
            phrases=tuple(tuple(tokenize(phrase)) for phrase in ([phrases] if isinstance(phrases, str) else phrases)),
            excerpt=Excerpt(self.start, self.end, self.stride),
            seed=self.seed,
            every_kind=True,
        )

    def _look(self, captioner, map):
        """The Look of a captioner's maps; several kinds are joined by commas."""
        kinds = map if map is None or isinstance(map, str) else ",".join(map)
        config, protocol = self._config(captioner.config, kinds)
        return Look(config.saliency, self.cmap, self.layout, self.size, protocol)

    def _config(self, config, map):
        """(the captioner's config with this protocol, settings and map; the protocol's name with what was changed)."""
        if self.protocol not in configs.PROTOCOLS:
            raise UserError(f"protocol {self.protocol!r}: expected one of {', '.join(configs.PROTOCOLS)}")
        pure = changed = config.with_settings(configs.PROTOCOLS[self.protocol])
        for key, value in (self.settings | ({"saliency.map": map} if map else {})).items():
            if not key.startswith("saliency."):
                raise UserError(f"settings={{{key!r}: ...}}: a trained captioner fixes it; expected saliency.KEY")
            changed = changed.with_value(key, str(value), f"{key}={value}")
        return changed, Protocol.of(changed, self.protocol, pure).name
