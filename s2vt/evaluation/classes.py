"""Do the maps of a classifier's classes find the objects of those classes? Excitation Backprop's own question.

For each picture and each class that an object in it has: does the map's largest pixel lie in a box of such an object
(the pointing game of Zhang et al. 2016, here without tolerance)? Scored by the same functions as the maps of
captioners, over the same kind of media, beside the same baselines.

Letters: K classes of a picture, G x G cells, D channels, h x w units of the layer that is read, L classes of the head.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s2vt.config import Config
from s2vt.data import datasets, entities
from s2vt.data.files import write_json
from s2vt.data.labels import read_labels
from s2vt.evaluation.baselines import POINTING_BASELINES, pointing_rows
from s2vt.evaluation.pointing import hit
from s2vt.evaluation.question_tables import CLASSES, classes_name
from s2vt.evaluation.tally import Tally, bounds_text, side_by_side
from s2vt.features import middle_layer
from s2vt.features.descriptors import DescriptorStore, with_descriptors
from s2vt.features.extraction import sample_inputs
from s2vt.features.label_head import LabelHead
from s2vt.provenance import versions
from s2vt.saliency.excitation_backprop import ExcitationBackprop, contrast, excitation
from s2vt.saliency.heatmaps import argmax_point, upsample

LAYERS = ("mixed_10", *middle_layer.LAYERS)
RULES = {"ceb": contrast, "eb": excitation}  # {kind of map: one layer down from the class}


@dataclass(frozen=True)
class ClassesRequest:
    """Which maps of which classes to score.

    Attributes:
        config: of a data set with Entities and `labels.json`; its network, resize, `saliency.sigma_cells` and
            `evaluation` count.
        data_dir: folder of the data sets.
        head: the classifier on the config's network; its classes must be those of `labels.json`.
        name: what the head is called in results.   digest: of its file, for the record.
        folder: of the results.
        layers: of LAYERS; where the maps are read.
        split: train, val or test.   limit: the most media; None: all.
    """

    config: Config
    data_dir: str | Path
    head: LabelHead
    name: str
    digest: str
    folder: Path
    layers: tuple[str, ...] = LAYERS
    split: str = "test"
    limit: int | None = None


@dataclass(frozen=True)
class ClassScores:
    """Scores of the maps that are read at one layer.

    Attributes:
        layer: of LAYERS.
        tallies: {name of a table: Tally}: all classes, then those of each kind.
        path: the JSON file with the scores.
    """

    layer: str
    tallies: dict[str, Tally]
    path: Path

    def __str__(self):
        """The tables side by side in Markdown, and the difference that the paper claims."""
        found = self.tallies[CLASSES].differences().get(("ceb", "eb"))
        claim = f"\nceb - eb {found[0]:+.3f} {bounds_text(found[1])}." if found else ""
        return f"{side_by_side(f'pointing, read at {self.layer}', self.tallies)}{claim}\n{self.path}"


def score_classes(request, progress=iter):
    """Scores the maps of the classes that are in each picture, at each layer of the request.

    Args:
        request: a ClassesRequest.   progress: wraps the list of media (tqdm).
    Returns:
        list of ClassScores, one for each layer.
    Raises:
        UserError: if the media, their boxes, labels or descriptors are missing, or the head has other classes.
    """
    config, folder = request.config, Path(request.data_dir) / request.config.dataset
    media = datasets.select(datasets.read_media(config, request.data_dir), request.split, request.limit)
    labels = read_labels(folder, [medium.id for medium in media])
    labels.require(request.head.classes)
    store = DescriptorStore(config, request.data_dir, "mixed_10")
    media = with_descriptors(store, media)
    found = []
    for layer in request.layers:
        maps = _maps_at(layer, config, store)
        tallies = {CLASSES: _tally(config), **{classes_name(kind): _tally(config) for kind in labels.classes}}
        for medium in progress(media):
            annotations = entities.read_annotations(folder / "Entities" / "Annotations" / f"{medium.id}.xml")
            boxes = labels.boxes(medium.id, annotations.boxes)
            for name, values in _hits(maps(medium, request.head.on_cells(boxes)), boxes, annotations, config):
                for table in (CLASSES, classes_name(labels.kinds[name])):
                    tallies[table].add(values, (labels.kinds[name],), medium.id)
        path = request.folder / f"classes_{layer}.json"
        write_json(path, _record(request, layer, len(media), store, tallies))
        found.append(ClassScores(layer, tallies, path))
    return found


def _tally(config):
    sigma = config.saliency.sigma_cells
    between = f"a Gaussian of sigma {sigma:g} units" if sigma else "bilinear"
    protocol = (
        "a phrase is a class that an object of the picture has; a hit: the largest pixel of the class's map lies "
        f"within {config.evaluation.tolerance:g} px of a box of such an object. Interpolation between units of the "
        f"layer: {between}. {POINTING_BASELINES}"
    )
    return Tally("pointing game", protocol, config.evaluation.average)


def _maps_at(layer, config, store):
    """A function (medium, weights (K, 1, 1, D)) -> {kind of map: (K, h, w)} and their geometry, read at a layer."""
    side = store.network.grid.side

    def top(medium, weights):
        cells = np.asarray(store.load(medium), np.float32).reshape(side, side, -1)
        return np.concatenate([rule(cells, weights) for rule in RULES.values()])

    def at_cells(medium, weights):
        return _by_kind(top(medium, weights).sum(axis=-1)), store.details(medium)[0]

    if layer == "mixed_10":
        return at_cells
    below = middle_layer.middle_layer(config.features, layer)
    backprop = ExcitationBackprop(below.network, below.name)

    def at_units(medium, weights):
        pictures = below.preprocess(np.asarray(sample_inputs(medium.path, config).frames, np.float32))
        x = backprop.activations(pictures)[0][0]
        geometry = dataclasses.replace(store.details(medium)[0], grid=below.grid)
        return _by_kind(backprop.probabilities(x, top(medium, weights)).sum(axis=-1)), geometry

    return at_units


def _by_kind(maps):
    """{kind of map: (K, h, w)}, clamped at 0, from one array of all kinds."""
    return dict(zip(RULES, np.split(np.maximum(maps, 0), len(RULES)), strict=True))


def _hits(found, boxes, annotations, config):
    """Yields (class, {row: whether it hits}). found: from `_maps_at`; boxes: {class: its boxes}."""
    maps, geometry = found
    tolerance = config.evaluation.tolerance
    drawn = {kind: upsample(of_kind, geometry, config.saliency.sigma_cells) for kind, of_kind in maps.items()}
    for k, (name, of_class) in enumerate(boxes.items()):
        rows = {kind: hit(argmax_point(of_kind[k]), of_class, tolerance) for kind, of_kind in drawn.items()}
        yield name, rows | pointing_rows(of_class, annotations.width, annotations.height, tolerance)


def _record(request, layer, num_media, store, tallies):
    """A result file, as `results.read_result` reads it."""
    settings = {"sigma_cells": request.config.saliency.sigma_cells, "tolerance": request.config.evaluation.tolerance}
    row = {"run": request.name, "checkpoint": "head", "sha256": request.digest}
    return {
        "dataset": request.config.dataset,
        "split": request.split,
        "limit": request.limit,
        "media": num_media,
        "layer": layer,
        "rows": [{"row": kind, "map": kind, **row} for kind in RULES],
        "descriptors": store.meta(),
        "protocol": settings,
        "versions": versions(),
        "tables": {name: tally.to_json() for name, tally in tallies.items()},
    }
