"""What is explained: a trained run with its network, a classifier on one, or any captioner of a user's own.

All have the same attributes for the rest of this room. A captioner of a user's own is any object with

    words                   V strings, the word of each index; index 0 ends a sentence
    descriptors(picture)    (H, W, 3) uint8 -> (G*G, D), numbers of the cells of a square grid, row by row from the
                            upper left; the encoder reads them in this order
    encode(v (B, N, D)) -> state, step(state, word) -> logits (B, V), state
                            as `s2vt.saliency.teacher_forcing`: word is y_{t-1}, (1,) or (B,), or None before the first
                            word; N is 1 where a cell is read alone; the leaves of a state have leading dimension B,
                            and come back to `step` as tensors of Keras' engine, which `numpy.asarray` reads; logits
                            are an array of any library that NumPy can read

and, where it has them,

    geometry(width, height)     -> `s2vt.data.geometry.Geometry` of a source picture; without it the whole picture is
                                divided into G x G equal cells, each with its value at its centre
    name                        for titles and messages; without it that of its class
    max_words                   the longest sentence, 25 without it
    vocabulary                  of a captioner that says words in pieces: an object with `words`, of all pieces,
                                `whole_words` (False), `encode`, `read` and `said`, as `s2vt.data.text.Vocabulary`;
                                a word's evidence is the sum over its pieces
    kinds                       names of the kinds of map that it can give, of those that its methods allow
    attention(inputs), rollout(inputs), alignment(v, words)     further kinds of map (docs/architecture.md, Contracts)

A sentence is split by `s2vt.data.text.tokenize`, and each of its words must be one of `words`. `step` may have a method
`along` that scores all words in one pass (`s2vt.saliency.teacher_forcing`). A video is read frame by
frame, as a captioner of pictures reads it.

Letters: S input side, G*G cells and D channels of the network; m frames, N descriptors.
"""

import dataclasses
import functools
import math
from pathlib import Path

import numpy as np

from s2vt.captioning.runs import Run
from s2vt.config import Config, FeatureConfig, TextConfig
from s2vt.data.geometry import Geometry, Grid
from s2vt.data.text import END_WORD, Vocabulary
from s2vt.errors import UserError
from s2vt.evaluation.protocol import Protocol
from s2vt.explaining.classifiers import Classifier
from s2vt.explaining.on_network import OnNetwork
from s2vt.explaining.usual import naming_others
from s2vt.features import label_head
from s2vt.features.descriptors import descriptors_of
from s2vt.saliency.maps import kinds_with

NEEDED = ("words", "descriptors", "encode", "step")
MAPS = ("encode", "step", "attention", "rollout", "alignment")  # the methods that kinds of map call


class TrainedCaptioner(OnNetwork):
    """A captioner of a run and its network. Each is loaded once, when it is first needed, and kept.

    Args:
        run: the Run.   checkpoint: the number of its checkpoint.   config: the Config to explain it with.
    """

    def __init__(self, run, checkpoint, config):
        super().__init__(config)
        self.run, self.checkpoint = run, checkpoint
        self.name, self.folder = run.name, run.folder

    @functools.cached_property
    def vocabulary(self):
        """The Vocabulary of its training captions."""
        return self.run.vocabulary()

    @functools.cached_property
    def model(self):
        """The trained captioner, with `encode` and `step`."""
        return self.run.captioner(self.checkpoint)[0]

    @functools.cached_property
    def network(self):
        """As `OnNetwork.network`.

        Raises:
            MissingWeights: if they cannot be had; names the runs whose network is at hand.
        """
        with naming_others(self.run):
            return self.extractor()

    @property
    def kinds(self):
        """The kinds of map that it can give of the media that it was trained on."""
        return kinds_with(self.config.model.methods, self.config.media)

    @property
    def described(self):
        """What it is, for messages."""
        return f"{self.folder} is of the kind {self.config.model.name}"

    def warning(self, name, v):
        """A line to print if a medium is unlike those of its training, else None: `Run.warning`."""
        return self.run.warning(name, v)


class GivenCaptioner:
    """A captioner of a user's own, as the top of this module describes it.

    Args:
        captioner: the object.   name: for titles; None: the name of its class.
    Raises:
        UserError: if it lacks what every captioner needs, or its words repeat.
    """

    checkpoint = None

    def __init__(self, captioner, name=None):
        self.model, self.name = captioner, name or getattr(captioner, "name", type(captioner).__name__)
        missing = [needed for needed in NEEDED if not hasattr(captioner, needed)]
        if missing:
            raise UserError(
                f"cannot explain {self.name}: it has no {', '.join(missing)}; expected the name or folder of a run, or "
                f"an object with {', '.join(NEEDED)} (s2vt.explaining.captioners says what each does)"
            )
        self.vocabulary, self.folder = self._vocabulary(), Path(self.name)
        text = TextConfig(max_words=getattr(captioner, "max_words", TextConfig.max_words))
        picture = FeatureConfig(layer="mixed_10")
        self.config = Config(self.name, "coco", "picture", "none", "", features=picture, text=text)

    def _vocabulary(self):
        """Its own vocabulary if it has one, else that of its words."""
        if hasattr(self.model, "vocabulary"):
            return self.model.vocabulary
        words = list(self.model.words)
        try:
            return Vocabulary([END_WORD, *words[1:]], np.ones(len(words)))
        except ValueError:
            raise UserError(f"the words of {self.name}: expected V strings, each once, the first for the end") from None

    @property
    def kinds(self):
        """The kinds of map that it can give of a picture."""
        possible = kinds_with([name for name in MAPS if hasattr(self.model, name)], "picture")
        return [kind for kind in possible if kind in getattr(self.model, "kinds", possible)]

    @property
    def sees(self):
        """What its cells depend on: itself."""
        return id(self.model)

    @property
    def described(self):
        """What it is, for messages."""
        return f"{self.name} is a captioner of its own"

    def geometry(self, width, height, cells):
        """Geometry of a source; cells: G*G of them, which give the grid where the captioner has no `geometry`."""
        if hasattr(self.model, "geometry"):
            return self.model.geometry(width, height)
        side, stride = math.isqrt(cells), 32
        return Geometry.of(width, height, "squash", Grid(side, stride, (stride - 1) / 2, side * stride))

    def prepare(self, frame):
        """Descriptors of a frame, (G*G, D)."""
        cells = np.asarray(self.model.descriptors(frame), np.float32)
        if cells.ndim != 2 or not cells.size or math.isqrt(len(cells)) ** 2 != len(cells):
            raise UserError(
                f"{self.name}.descriptors gave {cells.shape}; expected (G*G, D), the cells of a square grid"
            )
        return cells

    def cells(self, prepared):
        """Cells (m, G*G, D) of m prepared frames."""
        return prepared

    def stored_cells(self, medium, data_dir):
        """None: it has no descriptor files."""

    def every_frame(self, frames, keep):
        """Not for captioners of a user's own."""
        raise UserError(f"{self.described}, which has no maps of the 2017 release of a video; choose another normalize")

    def middle_layer(self, where):
        """Not for captioners of a user's own, whose network is not known."""
        raise UserError(f"{self.described}, whose network is not known; choose saliency.eb_layer=mixed_10")

    def read(self, cells):
        """Descriptors: what it reads of a medium with these cells, (m, G*G, D)."""
        return descriptors_of(cells, self.config)

    def warning(self, name, v):
        """None: the media that it was trained on are not known."""


def load(captioner, checkpoint="best", experiments_dir=None, weights=None):
    """A captioner to keep, which loads its weights and its network once.

    Args:
        captioner: the name of a run; a run's folder; the file of a classifier's head, NAME.labels.npz; an object as
            the top of this module describes it; or what this function returned, which comes back.
        checkpoint: of a run: a number, "best" (by validation METEOR) or "last".
        experiments_dir: the folder of the runs; None: experiments/ under the current folder if it has the run, else in
            the repository that this package lies in.
        weights: of a run's network, as `--weights`; None: those that its config names, or the file that the head lies
            beside.
    Raises:
        UserError: if there is no such run, checkpoint or head, its network is not here, or the object is no captioner.
    """
    if isinstance(captioner, OnNetwork | GivenCaptioner):
        return captioner
    if not isinstance(captioner, str | Path):
        return GivenCaptioner(captioner)
    if str(captioner).endswith(label_head.ENDING):
        return Classifier.load(captioner, weights)
    run = _run(captioner, experiments_dir).require()
    config = run.config()
    with naming_others(run):
        weights = run.weights(weights or config.features.weights, weights is not None)
    return TrainedCaptioner(run, run.checkpoint(checkpoint), config.with_settings({"features.weights": weights}))


def selected(command, name, checkpoint, protocol):
    """The captioner that a command line selects, and how its maps are made.

    Args:
        command: a `s2vt.command_line.Command`.   name: of the run, or None.   checkpoint: as of `load`.
        protocol: one of `config.PROTOCOLS`.
    Returns:
        TrainedCaptioner, and the protocol's name with what was changed.
    Raises:
        UserError: if there is no such run, checkpoint or protocol, a setting does not fit the run, or its network is
            not here.
    """
    run = Run(command.run_folder(name)).require()
    settings, usual = command.under_protocol(protocol)
    with naming_others(run):
        config = command.config_of(run)
    config = dataclasses.replace(config, saliency=settings.saliency)
    named = Protocol.of(config, protocol, usual, usual.features.resize).name
    return TrainedCaptioner(run, run.checkpoint(checkpoint), config), named


def _run(name, experiments_dir):
    """The Run of a name or folder."""
    here, repository = Path("experiments"), Path(__file__).resolve().parents[2] / "experiments"
    if Run(name).exists() or Path(name).name != str(name):
        return Run(name)
    folders = [Path(experiments_dir)] if experiments_dir else [here, *[repository] * repository.is_dir()]
    runs = [Run(folder / name) for folder in folders]
    return next((run for run in runs if run.exists()), runs[-1])
