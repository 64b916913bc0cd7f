"""Every number that the paper or the 2017 release fixes, and the ones that are ours; one `Config` per data set.

A `Config` is frozen. `--set training.epochs=5` (any field, by its dotted name) makes a changed copy through
`Config.replace`, which checks the name and the type. A run keeps its own as `experiments/RUN/config.json`.

This module imports nothing heavy, so that `--help` answers at once.
"""

import dataclasses
import difflib
import sys
import typing
from dataclasses import dataclass, field
from pathlib import Path

from s2vt.data.files import read_json
from s2vt.errors import UserError

ROOT = Path(__file__).resolve().parent

# Weights that ship with the project: name -> file.
SHIPPED_WEIGHTS = {"inception-shapes": ROOT / "DATA" / "weights" / "inception-shapes.npz"}


@dataclass(frozen=True)
class FeatureConfig:
    """From media to descriptors (Eq. 1)."""

    weights: str = "imagenet"  # imagenet | inception-2015 (paper) | inception-shapes | a file (.npz, .pb)
    layer: str = "pool_3"  # pool_3: the mean of the cells, one v_i a frame | mixed_10: 64 cells, one v_i each (paper)
    resize: str = "squash"  # squash (paper, Table 1) | center_crop (release; paper, Table 2)
    scan: str = "raster"  # raster: row by row from the upper left (paper) | snake: boustrophedon (release)
    num_frames: int = 26  # evenly spaced frames of a video (paper)
    batch_size: int = 26  # pictures a forward pass (ours)
    precision: str = "float32"  # float32 | mixed_bfloat16, of the CNN (ours)


@dataclass(frozen=True)
class TextConfig:
    """From captions to word indices."""

    min_count: int = 5  # words rarer than this in the training captions are left out (ours; the release: per data set)
    max_words: int = 25  # steps of the decoder, END among them (release)


@dataclass(frozen=True)
class ModelConfig:
    """The captioner. Fields after `dropout` are read by the attention models only."""

    name: str = "s2vt"  # s2vt (paper) | mean_pool (Venugopalan 2015) | soft_attention, hard_attention (Xu, Yao 2015)
    units: int = 1300  # LSTM and W_x (paper)
    embedding_size: int = 300  # word embedding (paper)
    dropout: float = 0.5  # on the LSTM's inputs and outputs, a fresh mask every step (release)
    attention_size: int = 512  # units of the attention layer (Eq. 5; ours)
    gate: str = "none"  # none | beta: z_t = beta_t sum_i alpha_ti v_i, beta_t = sigmoid(w_beta h_{t-1} + b) (Xu 2015)
    doubly_stochastic: float = 0.0  # lambda of sum_i (1 - sum_t alpha_ti)^2 (Xu 2015: 1; Yao 2015: 0)
    reinforce: float = 1.0  # hard attention: lambda_r, weight of the REINFORCE term (Xu 2015)
    entropy: float = 0.002  # hard attention: lambda_e, weight of the attention's entropy (Xu 2015)
    expected: float = 0.5  # hard attention: share of sentences read with alpha instead of a sample (Xu 2015)


@dataclass(frozen=True)
class TrainingConfig:
    """Adam on the captions' cross entropy."""

    epochs: int = 30  # passes over all captions (ours)
    batch_size: int = 100  # captions a step (release)
    captions_per_medium: int = 1  # captions of one medium that share one reading of it in a batch (release: 1)
    learning_rate: float = 5e-4  # Adam's initial rate (paper)
    decay: str = "constant"  # constant (paper) | cosine: to a twentieth over the epochs (ours)
    cells: float = 0.0  # share of batches that read a video as the cells of one of its frames (ours; paper: 0)
    score_every: int = 1  # epochs between two checkpoints scored by validation METEOR (ours)


@dataclass(frozen=True)
class Config:
    """One data set: where it lies, how it is laid out, and how everything is run on it."""

    dataset: str  # also its folder under DATA/
    layout: str  # which reader of s2vt.data.datasets
    media: str  # video | picture
    truth: str  # none | entities | tracks: which reader of s2vt.evaluation knows what phrases name
    source: str  # what to do when its files are not there, one line
    splits: str = ""  # published media, "train/val/test"; several published forms stand side by side; "": not checked
    features: FeatureConfig = field(default_factory=FeatureConfig)
    text: TextConfig = field(default_factory=TextConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    @property
    def frame(self):
        """What a video's frame is when saliency shows it alone: as training did (`information_loss.frames_alone`)."""
        return "cells" if self.training.cells else "pooled"

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
        """The inverse of `to_json`. A section's field that is missing has its default: what every run did before there
        was a choice. Unknown fields, and values that a field cannot have, are an error."""
        try:
            sections = {f.name: f.type(**values[f.name]) for f in dataclasses.fields(cls) if f.type in SECTIONS}
            config = cls(**{**values, **sections})
            for f in dataclasses.fields(cls):
                if f.type not in SECTIONS:
                    _check(f.name, f.type, getattr(config, f.name))
            for key in keys(config):
                _check(key, *_kind_and_value(config, key))
        except (TypeError, KeyError, AttributeError, UserError) as error:
            raise UserError(f"this config does not fit the program: {error}; make it again with --train") from None
        return config


SECTIONS = (FeatureConfig, TextConfig, ModelConfig, TrainingConfig)

CHOICES = {
    "layout": ("msr_vtt", "msvd", "flickr30k", "coco"),
    "media": ("video", "picture"),
    "truth": ("none", "entities", "tracks"),
    "features.layer": ("pool_3", "mixed_10"),
    "features.resize": ("squash", "center_crop"),
    "features.scan": ("raster", "snake"),
    "features.precision": ("float32", "mixed_bfloat16"),
    "model.name": ("s2vt", "mean_pool", "soft_attention", "hard_attention"),
    "model.gate": ("none", "beta"),
    "training.decay": ("constant", "cosine"),
}
SHARES = ("model.dropout", "model.expected", "training.cells")  # from 0 to 1


def keys(config):
    """All dotted names that `--set` takes.

    Example:
        >>> keys(CONFIGS["MSR-VTT"])[:2]
        ['features.weights', 'features.layer']
    """
    return [
        f"{section.name}.{f.name}"
        for section in dataclasses.fields(config)
        if section.type in SECTIONS
        for f in dataclasses.fields(section.type)
    ]


def _replace(config, key, text):
    valid = keys(config)
    if key not in valid:
        near = difflib.get_close_matches(key, valid, 1) or difflib.get_close_matches(
            key, [k.split(".")[1] for k in valid], 1
        )
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UserError(f"--set {key}: no such setting{hint} There are: {', '.join(valid)}")
    kind, old = _kind_and_value(config, key)
    try:
        value = kind(text)
    except ValueError:
        raise UserError(f"--set {key}={text}: expected {kind.__name__}, such as {old}") from None
    try:
        _check(key, kind, value)
    except UserError as error:
        raise UserError(f"--set {error}") from None
    section, name = key.split(".")
    return dataclasses.replace(config, **{section: dataclasses.replace(getattr(config, section), **{name: value})})


def _kind_and_value(config, key):
    section, name = key.split(".")
    part = getattr(config, section)
    return typing.get_type_hints(type(part))[name], getattr(part, name)


def _check(key, kind, value):
    """Raises UserError if a field cannot have a value."""
    if type(value) is not kind and (kind, type(value)) != (float, int):
        expected = kind.__name__
    elif key == "dataset" and (value != Path(value).name or value in ("", "..")):
        expected = "the plain name of a folder"
    elif value not in CHOICES.get(key, (value,)):
        expected = f"one of {', '.join(CHOICES[key])}"
    elif kind is int and not 1 <= value < 2**31:
        expected = "a positive number"
    elif kind is float and not 0 <= value <= (1 if key in SHARES else sys.float_info.max):
        expected = "a number from 0 to 1" if key in SHARES else "a number"
    else:
        return
    raise UserError(f"{key}={value}: expected {expected}")


MSR_VTT = Config(
    dataset="MSR-VTT",
    layout="msr_vtt",
    media="video",
    truth="none",
    source="get train_val_videodatainfo.json, test_videodatainfo.json, TrainValVideo/ and TestVideo/ from the owners "
    "(http://ms-multimedia-challenge.com/2017/dataset) and lay them out as DATA/README.md shows",
    splits="6513/497/2990",
)

MSVD = Config(
    dataset="MSVD",
    layout="msvd",
    media="video",
    truth="none",
    source="get YouTubeClips/ from the owners (https://www.cs.utexas.edu/users/ml/clamp/videoDescription/) and either "
    "'MSR Video Description Corpus.csv' (https://www.microsoft.com/en-us/download/details.aspx?id=52422) or "
    "sents_{train,val,test}_lc_nopunc.txt (https://www.cs.utexas.edu/~vsub/naacl15_project.html) with "
    "youtube_mapping.txt (https://github.com/yaoli/arctic-capgen-vid), and lay them out as DATA/README.md shows",
    splits="1200/100/670",
)

FLICKR30K = Config(
    dataset="Flickr30k",
    layout="flickr30k",
    media="picture",
    truth="entities",
    source="get results_20130124.token and flickr30k-images/ from the owners "
    "(http://shannon.cs.illinois.edu/DenotationGraph/), and imgs_{train,val,test}.txt "
    "(https://github.com/VisionLearningGroup/caption-guided-saliency) or dataset_flickr30k.json "
    "(https://cs.stanford.edu/people/karpathy/deepimagesent/), and lay them out as DATA/README.md shows",
    splits="29000/1014/1000 29783/1014/1000 29783/1000/1000",
    features=FeatureConfig(layer="mixed_10"),
)

COCO = Config(
    dataset="COCO",
    layout="coco",
    media="picture",
    truth="none",
    source="get train2014/, val2014/ and annotations/ from the owners (https://cocodataset.org/#download), and "
    "dataset_coco.json for Karpathy's splits (https://cs.stanford.edu/people/karpathy/deepimagesent/), and lay them "
    "out as DATA/README.md shows",
    splits="113287/5000/5000 82783/40504/0 118287/5000/0",
    features=FeatureConfig(layer="mixed_10"),
)

# Trained with: python run_s2vt.py --dataset MovingShapes --train   (README, "Measured", has hardware and scores)
MOVING_SHAPES = Config(
    dataset="MovingShapes",
    layout="msr_vtt",
    media="video",
    truth="tracks",
    source="run: python -m s2vt.synthetic --dataset MovingShapes",
    features=FeatureConfig(weights="inception-shapes"),
    model=ModelConfig(units=256, embedding_size=64),
    training=TrainingConfig(
        epochs=24,
        batch_size=50,
        captions_per_medium=5,
        learning_rate=1e-3,
        decay="cosine",
        cells=0.5,
        score_every=4,
    ),
)

# Trained with: python run_s2vt.py --dataset StillShapes --train
STILL_SHAPES = Config(
    dataset="StillShapes",
    layout="flickr30k",
    media="picture",
    truth="entities",
    source="run: python -m s2vt.synthetic --dataset StillShapes",
    features=FeatureConfig(weights="inception-shapes", layer="mixed_10"),
    model=ModelConfig(units=256, embedding_size=64),
    training=TrainingConfig(
        epochs=20, batch_size=50, captions_per_medium=5, learning_rate=1e-3, decay="cosine", score_every=4
    ),
)

CONFIGS = {config.dataset: config for config in (MSR_VTT, FLICKR30K, MSVD, COCO, MOVING_SHAPES, STILL_SHAPES)}

OWN = "dataset.json"  # describes a folder of your own media

# What `dataset.json` may say; the layouts, and the kinds of media that each can hold.
OWN_LAYOUTS = {"msr_vtt": ("video", "picture"), "coco": ("picture", "video"), "flickr30k": ("picture",)}


def find(dataset, data_dir):
    """The Config of a data set: of the `dataset.json` in its folder, else the one of that name in this file.

    Args:
        dataset: its folder's name under `data_dir`.
    Raises:
        UserError: if there is neither; lists the names there are.
    """
    path = Path(data_dir) / dataset / OWN
    if path.parent.name == dataset and path.exists():
        return own(path)
    if dataset not in CONFIGS:
        raise UserError(
            f"no data set {dataset!r}; expected one of {', '.join(CONFIGS)}, or your own, described by {path} "
            "(DATA/README.md says how)"
        )
    return CONFIGS[dataset]


def own(path):
    """The Config of your own media, from the `dataset.json` in their folder; the set is called as the folder is.

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
    values = known | values
    for key, choices in (("layout", list(OWN_LAYOUTS)), ("truth", CHOICES["truth"])):
        if values[key] not in choices:
            raise UserError(f"{path}: {key!r} is {values[key]!r}; expected one of {', '.join(choices)}")
    if values["media"] not in OWN_LAYOUTS[values["layout"]]:
        choices = " or ".join(OWN_LAYOUTS[values["layout"]])
        raise UserError(f"{path}: 'media' is {values['media']!r}; layout {values['layout']} expects {choices}")
    if not isinstance(values["set"], dict):
        raise UserError(f"{path}: expected 'set' to be an object such as {{\"text.min_count\": 1}}")
    config = Config(
        dataset=Path(path).parent.name,
        layout=values["layout"],
        media=values["media"],
        truth=values["truth"],
        source='DATA/README.md, "Your own media", says what belongs where',
        features=FeatureConfig(layer="mixed_10" if values["media"] == "picture" else "pool_3"),
    )
    try:
        return config.replace([f"{key}={value}" for key, value in values["set"].items()])
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


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
