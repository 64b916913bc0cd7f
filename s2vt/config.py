"""The settings: one frozen dataclass per stage. Every number that changes a score or a map is a field of one of them.

Defaults are the paper's, else the release's, else ours; the comment of each field gives its unit and source. A `Config`
holds one of each for one data set: `cfg.py` defines those of the published and the synthetic sets, `own` reads that of
a user's media. A trained run keeps its Config in `experiments/RUN/config.json`.

Imports only the standard library and `s2vt.data.files`, so that `--help` needs no NumPy.
"""

import dataclasses
import difflib
import json
import sys
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from s2vt.data.files import read_json
from s2vt.errors import UserError

# Numbers with their smallest and largest value.
Share = Annotated[float, 0, 1]
Sigma = Annotated[float, 0, 100]
PartialShare = Annotated[float, 0.01, 0.99]  # of a random subset that is neither empty nor all
Reads = Annotated[int, 1, 64]
Subsets = Annotated[int, 2, 100_000]
InputSize = Annotated[int, 0, 2048]
Steps = Annotated[int, 1, 1000]


@dataclass(frozen=True)
class FeatureConfig:
    """Media to descriptors (Eq. 1)."""

    # InceptionV3: imagenet | inception-2015 (paper) | inception-shapes | a file (.npz, .pb). EfficientNet-Lite0:
    # efficientnet-lite0 | a file (.pth)
    weights: str = "imagenet"
    # Layers are called after InceptionV3's, whatever the network.
    # pool_3: one v_i a frame, the mean of its cells (paper, videos) | mixed_10: one v_i a cell (paper, pictures)
    layer: Literal["pool_3", "mixed_10"] = "pool_3"
    resize: Literal["squash", "center_crop"] = "squash"  # squash (paper, Table 1) | center_crop (release; Table 2)
    scan: Literal["raster", "snake"] = "raster"  # a picture's cells: row by row (paper) | boustrophedon (release)
    input_size: InputSize = 0  # side of the network's input, pixels; 0: the network's own (299, 256). 448: 12x12 cells
    # How a cell sees its picture. plain: within the whole (paper) | mirrored: the mean of this and of the mirror image
    # | two_scales: the mean of this and of the network's own input size | region: the network sees the cell's
    # surroundings alone, "replacing the input by a single region"
    view: Literal["plain", "mirrored", "two_scales", "region"] = "plain"
    num_frames: int = 26  # evenly spaced frames of a video (paper)
    batch_size: int = 26  # pictures a forward pass (ours)
    precision: Literal["float32", "mixed_bfloat16"] = "float32"  # of the CNN (ours)
    # Cells in descriptor files: float16 | uint8, half as large, with a scale for each channel of a medium (ours)
    storage: Literal["float16", "uint8"] = "float16"


SEEN = ("input_size", "view")  # fields of FeatureConfig that a trained run can be asked about with other values


@dataclass(frozen=True)
class TextConfig:
    """Captions to word indices."""

    min_count: int = 5  # occurrences in the training captions that a word of the vocabulary has (ours; release: 1)
    max_words: int = 25  # decoding steps; a training caption is cut to max_words - 1 words and END (release)


CONTRASTED = ("s2vt", "mean_pool")  # values of `model.name` whose captioners can have a contrast


@dataclass(frozen=True)
class ModelConfig:
    """The captioner. `contrast` and `distillation` are read by s2vt and mean_pool only, `layers` and `heads` by the
    transformer, fields after them by the other models with attention."""

    # s2vt (paper) | mean_pool (Venugopalan 2015) | soft_attention (Xu, Yao 2015) | hard_attention (Xu 2015)
    # | transformer (Vaswani 2017)
    name: Literal["s2vt", "mean_pool", "soft_attention", "hard_attention", "transformer"] = "s2vt"
    units: int = 1300  # of the LSTM and of W_x (paper); width of the transformer
    embedding_size: int = 300  # of a word (paper)
    dropout: Share = 0.5  # on the LSTM's inputs and outputs, a fresh mask every step (release; Vaswani 2017: 0.1)
    # weight of the contrast of a batch's pictures and captions in the training loss (ours, after Akbari 2019); 0: none
    # (paper)
    contrast: float = 0.0
    # weight of the distillation of the contrast's alignment into the likelihood of single descriptors (ours); 0: none
    # (paper)
    distillation: float = 0.0
    layers: int = 2  # of the transformer (ours)
    heads: int = 4  # of each attention of the transformer (ours)
    attention_size: int = 512  # units of the attention layer (Eq. 5; ours)
    # none (Yao 2015) | beta: z_t = beta_t sum_i alpha_ti v_i, beta_t = sigmoid(w_beta h_{t-1} + b) (Xu 2015)
    gate: Literal["none", "beta"] = "none"
    doubly_stochastic: float = 0.0  # lambda of sum_i (1 - sum_t alpha_ti)^2 (Xu 2015: 1; Yao 2015: 0)
    reinforce: float = 1.0  # hard attention: lambda_r, weight of the REINFORCE term (Xu 2015)
    entropy: float = 0.002  # hard attention: lambda_e, weight of the attention's entropy (Xu 2015)
    soft_share: Share = 0.5  # hard attention: share of sentences read with alpha instead of a sample (Xu 2015)

    @property
    def methods(self):
        """The methods of the captioner that maps are made with (`maps.KINDS`), known without the engine."""
        more = {
            "soft_attention": ("attention",),
            "hard_attention": ("attention",),
            "transformer": ("attention", "rollout"),
        }
        return ("encode", "step", *more.get(self.name, ()), *(("alignment",) if self.contrast else ()))


@dataclass(frozen=True)
class TrainingConfig:
    """Adam on the captions' cross entropy."""

    epochs: int = 30  # passes over all captions (ours; release: 10)
    batch_size: int = 100  # captions a step (release)
    captions_per_medium: int = 1  # captions of one medium that share one reading of it in a batch (release: 1)
    learning_rate: float = 5e-4  # Adam's initial rate (paper)
    decay: Literal["constant", "cosine"] = "constant"  # constant (paper) | cosine: to 1/20 over the epochs (ours)
    # another data set whose training captions are learned too, its media read by its own layer: with Flickr30k, a
    # captioner of videos also reads photographs, each as the cells of one frame; none: no other (ours)
    joint_dataset: str = "none"
    # of the data set's own batches: read a video as the cells of one frame (ours; paper: 0)
    frame_as_image_share: Share = 0.0
    score_every: int = 1  # epochs between two checkpoints scored by validation METEOR (ours)
    precision: Literal["float32", "mixed_bfloat16"] = "float32"  # of the products (ours); weights are always float32


@dataclass(frozen=True)
class SaliencyConfig:
    """Losses to maps (section 4, Eq. 8)."""

    # Kind of map, a key of `s2vt.saliency.maps.KINDS`: nll, query loss (Eq. 7) | kl, representativeness (Eq. 6) | ...
    # `visualization.py --map list` prints them all with their costs.
    map: str = "nll"
    # Encoder input for one frame in isolation: its pooled descriptor (paper, Eq. 13) | its cells as a sequence
    # (ours, for captioners trained with frame_as_image_share).
    frame_input: Literal["pooled", "cells"] = "pooled"
    sigma_cells: Sigma = 0.75  # Gaussian interpolation between cells, in cells; 0: bilinear (ours; release: 1)
    sigma_frames: Sigma = 0.75  # Gaussian smoothing over the sampled frames, in frames; 0: none (ours; release: 2)
    # Evidence to saliency: scaled over the clip (paper, Eq. 8) | in each frame (ours) | all steps of the 2017 release's
    # visualisation, from every frame of a video; neither sigma is used then.
    normalize: Literal["clip", "frame", "release"] = "clip"
    # Words of a phrase whose evidence is summed (Eq. 9): all (paper) | content, without its function words, unless it
    # has no others (ours).
    words: Literal["all", "content"] = "all"
    # Of the large products of single descriptors' losses (map=nll, kl, logit, contrast and likelihoods of them; ours):
    # float32 | bfloat16, 1.5 times as fast on clips on a CPU with AVX512-BF16. State and log-partition are float32.
    precision: Literal["float32", "bfloat16"] = "float32"
    reads: Reads = 1  # times that the encoder reads a cell, or a pooled frame, in isolation (paper: 1)
    subsets: Subsets = 256  # random subsets of what the captioner reads, for map=banzhaf and rise (ours)
    subset_share: PartialShare = 0.5  # probability of a descriptor to be in a subset (Banzhaf: 1/2; RISE: 1/2)
    integration_steps: Steps = 24  # points of the integral over inputs, for map=integrated (ours; Captum: 50)
    # Where Excitation Backprop is read, for map=eb, ceb, eb_likely: the captioner's cells | a layer of InceptionV3 with
    # 17x17 or 35x35 units.
    eb_layer: Literal["mixed_10", "17x17", "35x35"] = "mixed_10"

    @property
    def of_evidence(self):
        """The settings that evidence depends on, before it is scaled, smoothed and interpolated; others by default."""
        names = (
            "words", "precision", "reads", "subsets", "subset_share", "integration_steps", "eb_layer", "frame_input",
        )  # fmt: skip
        return SaliencyConfig(**{name: getattr(self, name) for name in names})

    @property
    def of_release(self):
        """Whether maps are made in the steps of the 2017 release (`s2vt.saliency.release`)."""
        return self.normalize == "release"


@dataclass(frozen=True)
class EvaluationConfig:
    """Scores of maps against boxes and frame ranges."""

    tolerance: float = 0.0  # distance from a box at which a point still hits, source pixels (paper: 0; TorchRay: 15)
    average: Literal["phrase", "class"] = "phrase"  # over phrases (paper) | mean of the categories' (TorchRay)
    region: Literal["picture", "center_crop"] = "picture"  # scored part: the whole (Table 1) | its centre (Table 2)
    # Phrases that a captioner cannot read: left out (ours) | misses, as published numbers count them
    unknown: Literal["drop", "miss"] = "drop"
    # Definition of the curves of deletion and insertion (`saliency.deletion.PRESETS`): RISE's | Quantus' | Xplique's
    faithfulness: Literal["rise", "quantus", "xplique"] = "rise"


# Named protocols: how maps are made and scored. A protocol overrides the data set's sections saliency and evaluation.
_PAPER = {
    "saliency.words": "all",
    "saliency.reads": 1,
    "saliency.normalize": "clip",
    "saliency.frame_input": "pooled",
    "saliency.sigma_cells": 0.0,
    "saliency.sigma_frames": 0.0,
    "evaluation.tolerance": 0.0,
    "evaluation.average": "phrase",
    "evaluation.unknown": "drop",
}
PROTOCOLS = {
    "paper": _PAPER,  # the paper's text and nothing else
    "ours": {},  # the data set's own settings, cfg.py
    "release": {**_PAPER, "saliency.normalize": "release"},  # the maps of the 2017 release's visualisation
    "torchray": {**_PAPER, "evaluation.tolerance": 15.0, "evaluation.average": "class"},  # the paper's maps
}


@dataclass(frozen=True)
class Config:
    """One data set, its layout, and the settings of every stage."""

    dataset: str  # also its folder under DATA/
    layout: Literal["msr_vtt", "msvd", "flickr30k", "coco"]  # which reader of s2vt.data.datasets
    media: Literal["video", "picture"]
    annotations: Literal["none", "entities", "tracks"]  # format of its boxes: none | Flickr30k Entities | tracks
    source: str  # where to get its files, one line, for error messages
    splits: str = ""  # published numbers of media, "train/val/test"; alternatives separated by spaces; "": not checked
    features: FeatureConfig = field(default_factory=FeatureConfig)
    text: TextConfig = field(default_factory=TextConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    saliency: SaliencyConfig = field(default_factory=SaliencyConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def replace(self, assignments):
        """A copy with settings changed by `--set`.

        Args:
            assignments: strings "key=value", such as "model.units=512".
        Raises:
            UserError: on an unknown key (lists the valid ones) or a value of another type or range.
        """
        config = self
        for assignment in assignments:
            key, equals, text = map(str.strip, assignment.partition("="))
            if not equals:
                raise UserError(f"--set {assignment!r}: expected key=value, such as model.units=512")
            config = config.with_value(key, text, f"--set {key}={text}")
        return config

    def with_value(self, key, text, given_as):
        """A copy with one setting changed.

        Args:
            key: dotted name, such as "model.units".
            text: the value as text.
            given_as: what the user typed, for error messages, such as "--batch_size 0".
        Raises:
            UserError: on an unknown key (lists the valid ones) or a value of another type or range.
        """
        if key not in keys():
            raise UserError(f"{given_as}: no such setting{_hint(key)}; expected one of {', '.join(keys())}")
        kind, _ = _kind_and_value(self, key)
        try:
            value = _plain(kind)(text)
        except ValueError:
            value = None
        _check(given_as, kind, value)
        return self.with_settings({key: value})

    def with_settings(self, settings):
        """A copy with some settings changed: {dotted name: value of the right type}."""
        config = self
        for key, value in settings.items():
            section, name = key.split(".")
            changed = dataclasses.replace(getattr(config, section), **{name: value})
            config = dataclasses.replace(config, **{section: changed})
        return config

    def setting(self, key):
        """The value of a setting: key is its dotted name."""
        return _kind_and_value(self, key)[1]

    def to_json(self):
        """The config as nested dicts."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values):
        """The inverse of `to_json`. A missing section or field has its default.

        Raises:
            UserError: on an unknown field, or a value that a field cannot have.
        """
        try:
            sections = {name: kind(**values.get(name, {})) for name, kind in SECTIONS.items()}
            config = cls(**{**values, **sections})
            for name, kind in _kinds(cls).items():
                if name not in SECTIONS:
                    _check(f"{name}={getattr(config, name)}", kind, getattr(config, name))
            for key in keys():
                kind, value = _kind_and_value(config, key)
                _check(f"{key}={value}", kind, value)
            if config.dataset != Path(config.dataset).name or config.dataset in ("", ".."):
                raise UserError(f"dataset={config.dataset}: expected the plain name of a folder")
        except (TypeError, KeyError, AttributeError, UserError) as error:
            raise UserError(f"this config does not fit the program: {error}; make it again with --train") from None
        return config

    def differences(self, other):
        """The fields in which two configs differ: {dotted name: (value here, value there)}."""
        names = [f.name for f in dataclasses.fields(self) if f.name not in SECTIONS]
        pairs = {name: (getattr(self, name), getattr(other, name)) for name in names}
        pairs |= {key: (_kind_and_value(self, key)[1], _kind_and_value(other, key)[1]) for key in keys()}
        return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


SECTIONS = {f.name: f.type for f in dataclasses.fields(Config) if dataclasses.is_dataclass(f.type)}


def keys():
    """The dotted names of all settings.

    Example:
        >>> keys()[:2]
        ['features.weights', 'features.layer']
    """
    return [f"{name}.{f.name}" for name, section in SECTIONS.items() for f in dataclasses.fields(section)]


def choices(key):
    """The values of a field that has a fixed list of them.

    Example:
        >>> choices("features.layer")
        ('pool_3', 'mixed_10')
    """
    section, _, name = key.rpartition(".")
    return typing.get_args(_kinds(SECTIONS[section] if section else Config)[name])


def _kinds(section):
    """{field: its annotated type} of a dataclass."""
    return typing.get_type_hints(section, include_extras=True)


def _kind_and_value(config, key):
    section, name = key.split(".")
    part = getattr(config, section)
    return _kinds(type(part))[name], getattr(part, name)


def _hint(key):
    names = {**{k.split(".")[1]: k for k in keys()}, **{k: k for k in keys()}}
    near = difflib.get_close_matches(key, names, 1)
    return f" (did you mean {names[near[0]]}?)" if near else ""


def _plain(kind):
    """The Python type behind an annotation: str for a Literal, float for a Share."""
    origin = typing.get_origin(kind)
    return str if origin is Literal else typing.get_args(kind)[0] if origin is Annotated else kind


def _check(given_as, kind, value):
    """Raises UserError if a field of this kind cannot have the value."""
    plain = _plain(kind)
    fits = type(value) is plain or (plain, type(value)) == (float, int)
    if typing.get_origin(kind) is Literal:
        fits, expected = fits and value in typing.get_args(kind), f"one of {', '.join(typing.get_args(kind))}"
    elif typing.get_origin(kind) is Annotated:
        (smallest, largest), number = kind.__metadata__, "a whole number" if plain is int else "a number"
        fits, expected = fits and smallest <= value <= largest, f"{number} from {smallest} to {largest}"
    elif plain is int:
        fits, expected = fits and 1 <= value < 2**31, "a whole number, 1 or more"
    elif plain is float:
        fits, expected = fits and 0 <= value <= sys.float_info.max, "a number, 0 or more"
    else:
        expected = "text"
    if not fits:
        raise UserError(f"{given_as}: expected {expected}")


# --- finding a config -----------------------------------------------------------------------------------------------

OWN = "dataset.json"  # describes a folder of a user's own media

# Values of "layout" in dataset.json, with the kinds of media that each layout can hold.
OWN_LAYOUTS = {"msr_vtt": ("video", "picture"), "coco": ("picture", "video"), "flickr30k": ("picture",)}
OWN_ANNOTATIONS = {"video": ("none", "tracks"), "picture": ("none", "entities")}  # tracks have a box for each frame
OWN_EXAMPLE = '{"layout": "coco", "media": "picture"}'


def find(dataset, data_dir, configs):
    """The Config of a data set: that of the `dataset.json` in its folder, else the one of that name in `configs`.

    Args:
        dataset: name of its folder under `data_dir`.
        configs: {name: Config}.
    Raises:
        UserError: if there is neither; lists the names of `configs`.
    """
    path = Path(data_dir) / dataset / OWN
    if path.parent.name == dataset and path.exists():
        return own(path)
    if dataset not in configs:
        raise UserError(
            f"no data set {dataset!r}; expected one of {', '.join(configs)}, or your own, described by {path} "
            "(DATA/README.md has an example)"
        )
    return configs[dataset]


def own(path):
    """The Config of a user's media, read from the `dataset.json` in their folder; the folder's name is the data set's.

        {"layout": "coco", "media": "picture", "truth": "none", "set": {"text.min_count": 1}}

    Raises:
        UserError: names the faulty entry of the file and its valid values.
    """
    path, values = Path(path), read_json(path)
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected an object such as {OWN_EXAMPLE}")
    known = {"layout": None, "media": None, "truth": "none", "set": {}}
    for key in values:
        if key not in known:
            raise UserError(f"{path}: unknown entry {key!r}; expected {', '.join(known)}")
    for key in ("layout", "media"):
        if key not in values:
            raise UserError(f"{path}: {key!r} is missing; expected an object such as {OWN_EXAMPLE}")
    values = known | values
    _check_choice(path, values, "layout", OWN_LAYOUTS)
    _check_choice(path, values, "media", OWN_LAYOUTS[values["layout"]], f" for layout {values['layout']}")
    _check_choice(path, values, "truth", OWN_ANNOTATIONS[values["media"]], f" for media {values['media']}")
    if not isinstance(values["set"], dict):
        raise UserError(f"{path}: expected 'set' to be an object such as {{\"text.min_count\": 1}}")
    config = Config(
        dataset=path.absolute().parent.name,
        layout=values["layout"],
        media=values["media"],
        annotations=values["truth"],
        source="DATA/README.md, 'Your own media', shows the layout",
        features=FeatureConfig(layer="mixed_10" if values["media"] == "picture" else "pool_3"),
    )
    for key, value in values["set"].items():
        text = value if isinstance(value, str) else json.dumps(value)
        config = config.with_value(key, text, f"{path}, 'set', {key}: {text}")
    return config


def _check_choice(path, values, key, allowed, note=""):
    if not isinstance(values[key], str) or values[key] not in allowed:
        found = json.dumps(values[key], ensure_ascii=False)
        raise UserError(f"{path}: {key!r} is {found}; expected one of {', '.join(allowed)}{note}")


def record(path):
    """The contents of a run's `config.json`: `config` (a Config), `seed`, `weights` (digest of the network), ...

    Raises:
        UserError: if the file is missing or something else.
    """
    values = read_json(path)
    if not isinstance(values, dict) or not isinstance(values.get("config"), dict):
        raise UserError(f"{path}: expected the config.json of a run, such as experiments/RUN/config.json")
    try:
        values = {"seed": 0, "weights": None, **values, "config": Config.from_json(values["config"])}
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    if type(values["seed"]) is not int or not 0 <= values["seed"] < 2**32:
        raise UserError(f"{path}: the seed is {values['seed']!r}; expected a whole number from 0 to 2^32 - 1")
    return values
