"""Every number that moves a score or a map: one frozen dataclass a stage, whose defaults are the paper's or the
release's where these say one. Each field's comment gives unit and source.

A `Config` describes one data set and how everything is run on it; `cfg.py` holds one for each. `--set
training.epochs=5` (any field, by its dotted name) makes a changed copy through `Config.replace`. A run keeps its own as
`experiments/RUN/config.json`.

This module imports nothing heavy, so that `--help` answers at once.
"""

import dataclasses
import difflib
import sys
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from s2vt.data.files import read_json
from s2vt.errors import UserError

Share = Annotated[float, "a number from 0 to 1"]


@dataclass(frozen=True)
class FeatureConfig:
    """From media to descriptors (Eq. 1)."""

    weights: str = "imagenet"  # imagenet | inception-2015 (paper) | inception-shapes | a file (.npz, .pb)
    # pool_3: one v_i a frame, the mean of its cells (paper, videos) | mixed_10: one v_i a cell (paper, pictures)
    layer: Literal["pool_3", "mixed_10"] = "pool_3"
    resize: Literal["squash", "center_crop"] = "squash"  # squash (paper, Table 1) | center_crop (release; Table 2)
    scan: Literal["raster", "snake"] = "raster"  # a picture's cells: row by row (paper) | boustrophedon (release)
    num_frames: int = 26  # evenly spaced frames of a video (paper)
    batch_size: int = 26  # pictures a forward pass (ours)
    precision: Literal["float32", "mixed_bfloat16"] = "float32"  # of the CNN (ours)


@dataclass(frozen=True)
class TextConfig:
    """From captions to word indices."""

    min_count: int = 5  # words that occur less often in the training captions are left out (ours; release: 1)
    max_words: int = 25  # steps of the decoder, END included (release)


@dataclass(frozen=True)
class ModelConfig:
    """The captioner. Fields after `dropout` are read by the attention models only."""

    # s2vt (paper) | mean_pool (Venugopalan 2015) | soft_attention (Xu, Yao 2015) | hard_attention (Xu 2015)
    name: Literal["s2vt", "mean_pool", "soft_attention", "hard_attention"] = "s2vt"
    units: int = 1300  # of the LSTM and of W_x (paper)
    embedding_size: int = 300  # of a word (paper)
    dropout: Share = 0.5  # on the LSTM's inputs and outputs, a fresh mask every step (release)
    attention_size: int = 512  # units of the attention layer (Eq. 5; ours)
    # none (Yao 2015) | beta: z_t = beta_t sum_i alpha_ti v_i, beta_t = sigmoid(w_beta h_{t-1} + b) (Xu 2015)
    gate: Literal["none", "beta"] = "none"
    doubly_stochastic: float = 0.0  # lambda of sum_i (1 - sum_t alpha_ti)^2 (Xu 2015: 1; Yao 2015: 0)
    reinforce: float = 1.0  # hard attention: lambda_r, weight of the REINFORCE term (Xu 2015)
    entropy: float = 0.002  # hard attention: lambda_e, weight of the attention's entropy (Xu 2015)
    soft_share: Share = 0.5  # hard attention: share of sentences read with alpha instead of a sample (Xu 2015)


@dataclass(frozen=True)
class TrainingConfig:
    """Adam on the captions' cross entropy."""

    epochs: int = 30  # passes over all captions (ours; release: 10)
    batch_size: int = 100  # captions a step (release)
    captions_per_medium: int = 1  # captions of one medium that share one reading of it in a batch (release: 1)
    learning_rate: float = 5e-4  # Adam's initial rate (paper)
    decay: Literal["constant", "cosine"] = "constant"  # constant (paper) | cosine: to 1/20 over the epochs (ours)
    frame_as_image_share: Share = 0.0  # of the batches: read a video as the 64 cells of one frame (ours; paper: 0)
    score_every: int = 1  # epochs between two checkpoints scored by validation METEOR (ours)


@dataclass(frozen=True)
class SaliencyConfig:
    """From losses to maps (section 4, Eq. 8)."""

    map: str = "nll"  # kind of map: nll, query loss (Eq. 7) | kl, representativeness (Eq. 6) | attention (Eq. 5)
    # Encoder input for one frame in isolation: its pooled descriptor (paper, Eq. 13) | its 64 cells as a sequence
    # (ours, for captioners trained with frame_as_image_share).
    frame_input: Literal["pooled", "cells"] = "pooled"
    sigma_cells: float = 0.75  # Gaussian interpolation between cells, in cells; 0: bilinear (ours; release: 1)
    sigma_frames: float = 0.75  # Gaussian smoothing over the sampled frames, in frames; 0: none (ours; release: 2)


@dataclass(frozen=True)
class EvaluationConfig:
    """How maps are scored against boxes and moments."""

    tolerance: float = 0.0  # distance from a box at which a point still hits, source pixels (paper: 0; TorchRay: 15)
    average: Literal["phrase", "class"] = "phrase"  # over phrases (paper) | mean of the categories' (TorchRay)
    region: Literal["picture", "center_crop"] = "picture"  # all of the picture counts (Table 1) | its centre crop


@dataclass(frozen=True)
class Config:
    """One data set: where it lies, how it is laid out, and how everything is run on it."""

    dataset: str  # also its folder under DATA/
    layout: Literal["msr_vtt", "msvd", "flickr30k", "coco"]  # which reader of s2vt.data.datasets
    media: Literal["video", "picture"]
    annotations: Literal["none", "entities", "tracks"]  # which reader of s2vt.evaluation.mentions knows what words name
    source: str  # where to get its files, one line
    splits: str = ""  # published numbers of media, "train/val/test"; alternatives separated by spaces; "": not checked
    features: FeatureConfig = field(default_factory=FeatureConfig)
    text: TextConfig = field(default_factory=TextConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    saliency: SaliencyConfig = field(default_factory=SaliencyConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def replace(self, assignments):
        """A copy with fields changed by dotted name.

        Args:
            assignments: strings "key=value", such as "model.units=512".
        Raises:
            UserError: on an unknown key (the valid ones are listed) or a value of another type.
        """
        config = self
        for assignment in assignments:
            key, equals, text = assignment.partition("=")
            if not equals:
                raise UserError(f"--set {assignment!r}: expected key=value, such as model.units=512")
            config = _replace(config, key.strip(), text.strip())
        return config

    def to_json(self):
        """The config as nested dicts."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values):
        """The inverse of `to_json`. A missing section or field has its default.

        Raises:
            UserError: on unknown fields, and on values that a field cannot have.
        """
        try:
            sections = {name: kind(**values.get(name, {})) for name, kind in SECTIONS.items()}
            config = cls(**{**values, **sections})
            for f in dataclasses.fields(cls):
                if f.name not in SECTIONS:
                    _check(f.name, _types(cls)[f.name], getattr(config, f.name))
            for key in keys(config):
                _check(key, *_type_and_value(config, key))
        except (TypeError, KeyError, AttributeError, UserError) as error:
            raise UserError(f"this config does not fit the program: {error}; make it again with --train") from None
        return config

    def differences(self, other):
        """The fields in which two configs differ: {dotted name: (value here, value there)}."""
        names = [f.name for f in dataclasses.fields(self) if f.name not in SECTIONS]
        pairs = {name: (getattr(self, name), getattr(other, name)) for name in names}
        pairs |= {key: (_type_and_value(self, key)[1], _type_and_value(other, key)[1]) for key in keys(self)}
        return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


SECTIONS = {f.name: f.type for f in dataclasses.fields(Config) if dataclasses.is_dataclass(f.type)}


def keys(config):
    """All dotted names that `--set` takes.

    Example:
        >>> keys(Config)[:2]
        ['features.weights', 'features.layer']
    """
    return [f"{name}.{f.name}" for name, section in SECTIONS.items() for f in dataclasses.fields(section)]


def choices(key):
    """The values that a field can have, of those with a list of them.

    Example:
        >>> choices("features.layer")
        ('pool_3', 'mixed_10')
    """
    section, _, name = key.rpartition(".")
    return typing.get_args(_types(SECTIONS[section] if section else Config)[name])


def _types(section):
    return typing.get_type_hints(section, include_extras=True)


def _replace(config, key, text):
    valid = keys(config)
    if key not in valid:
        near = difflib.get_close_matches(key, valid, 1) or difflib.get_close_matches(
            key, [k.split(".")[1] for k in valid], 1
        )
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UserError(f"--set {key}: no such setting{hint} There are: {', '.join(valid)}")
    kind, old = _type_and_value(config, key)
    try:
        value = _plain(kind)(text)
    except ValueError:
        raise UserError(f"--set {key}={text}: expected {_plain(kind).__name__}, such as {old}") from None
    try:
        _check(key, kind, value)
    except UserError as error:
        raise UserError(f"--set {error}") from None
    section, name = key.split(".")
    return dataclasses.replace(config, **{section: dataclasses.replace(getattr(config, section), **{name: value})})


def _type_and_value(config, key):
    section, name = key.split(".")
    part = getattr(config, section)
    return _types(type(part))[name], getattr(part, name)


def _plain(kind):
    """The Python type behind a field's type: str of a Literal, float of a Share."""
    origin = typing.get_origin(kind)
    return str if origin is Literal else typing.get_args(kind)[0] if origin is Annotated else kind


def _check(key, kind, value):
    """Raises UserError if a field cannot have a value."""
    plain = _plain(kind)
    if type(value) is not plain and (plain, type(value)) != (float, int):
        expected = plain.__name__
    elif key == "dataset" and (value != Path(value).name or value in ("", "..")):
        expected = "the plain name of a folder"
    elif typing.get_origin(kind) is Literal and value not in typing.get_args(kind):
        expected = f"one of {', '.join(typing.get_args(kind))}"
    elif plain is int and not 1 <= value < 2**31:
        expected = "a positive number"
    elif kind == Share and not 0 <= value <= 1:
        expected = kind.__metadata__[0]
    elif plain is float and not 0 <= value <= sys.float_info.max:
        expected = "a number, 0 or more"
    else:
        return
    raise UserError(f"{key}={value}: expected {expected}")


# --- finding a config -----------------------------------------------------------------------------------------------

OWN = "dataset.json"  # describes a folder of one's own media

# What `dataset.json` may say; the layouts, and the kinds of media that each can hold.
OWN_LAYOUTS = {"msr_vtt": ("video", "picture"), "coco": ("picture", "video"), "flickr30k": ("picture",)}


def find(dataset, data_dir, configs):
    """The Config of a data set: of the `dataset.json` in its folder, else the shipped one of that name.

    Args:
        dataset: its folder's name under `data_dir`.
        configs: the shipped ones, {name: Config}.
    Raises:
        UserError: if there is neither; lists the names there are.
    """
    path = Path(data_dir) / dataset / OWN
    if path.parent.name == dataset and path.exists():
        return own(path)
    if dataset not in configs:
        raise UserError(
            f"no data set {dataset!r}; expected one of {', '.join(configs)}, or your own, described by {path} "
            "(DATA/README.md says how)"
        )
    return configs[dataset]


def own(path):
    """The Config of one's own media, from the `dataset.json` in their folder; the set is called as the folder is.

        {"layout": "coco", "media": "picture", "set": {"text.min_count": 1}}

    Raises:
        UserError: names what is wrong in the file, and what may stand there.
    """
    values = read_json(path)
    if not isinstance(values, dict):
        raise UserError(f'{path}: expected an object such as {{"layout": "coco", "media": "picture"}}')
    known = {"layout": None, "media": None, "truth": "none", "set": {}}
    for key in values:
        if key not in known:
            raise UserError(f"{path}: nothing is called {key!r}; expected {', '.join(known)}")
    for key in ("layout", "media"):
        if key not in values:
            raise UserError(f'{path}: {key!r} is missing; expected an object such as {{"layout": "coco", "media": '
                            '"picture"}')  # fmt: skip
    values = known | values
    for key, allowed in (("layout", list(OWN_LAYOUTS)), ("truth", choices("annotations"))):
        if values[key] not in allowed:
            raise UserError(f"{path}: {key!r} is {values[key]!r}; expected one of {', '.join(allowed)}")
    if values["media"] not in OWN_LAYOUTS[values["layout"]]:
        allowed = " or ".join(OWN_LAYOUTS[values["layout"]])
        raise UserError(f"{path}: 'media' is {values['media']!r}; layout {values['layout']} expects {allowed}")
    if not isinstance(values["set"], dict):
        raise UserError(f"{path}: expected 'set' to be an object such as {{\"text.min_count\": 1}}")
    config = Config(
        dataset=Path(path).parent.name,
        layout=values["layout"],
        media=values["media"],
        annotations=values["truth"],
        source='DATA/README.md, "Your own media", says what belongs where',
        features=FeatureConfig(layer="mixed_10" if values["media"] == "picture" else "pool_3"),
    )
    try:
        return config.replace([f"{key}={value}" for key, value in values["set"].items()])
    except UserError as error:
        raise UserError(f"{path}, 'set': {str(error).removeprefix('--set ')}") from None


def load(path):
    """The config of a run, from its `config.json`."""
    return record(path)["config"]


def record(path):
    """What a run's `config.json` records: its `config`, a Config, its `seed`, the digest of its `weights`, ...

    Raises:
        UserError: if it is no such file.
    """
    values = read_json(path)
    if not isinstance(values, dict) or not isinstance(values.get("config"), dict):
        raise UserError(f"{path}: expected the config.json of a run, such as experiments/RUN/config.json")
    values = {"seed": 0, "weights": None, **values, "config": Config.from_json(values["config"])}
    if type(values["seed"]) is not int or not 0 <= values["seed"] < 2**32:
        raise UserError(f"{path}: the seed is {values['seed']!r}; expected a whole number from 0 to 2^32 - 1")
    return values
