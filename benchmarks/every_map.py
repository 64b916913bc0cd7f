"""The same picture and phrase under every map that its captioner gives, and the seconds of each."""

import dataclasses
import functools
import time
from pathlib import Path

import numpy as np

from benchmarks.timing import RESULTS

ROOT = Path(__file__).resolve().parent.parent
LAYERS = ("17x17", "35x35")
COLOURS = 224  # of the figure, for a small file


def measure(
    dataset="StillShapes",
    medium_id="002509",
    sentence="a yellow triangle is above a green heart",
    phrase="a yellow triangle",
    data_dir="DATA",
    columns=6,
):
    """Seconds of all words' evidence, once, with the time that the engine takes to compile. Draws results/maps.png.

    The run that the data set's name has; no descriptor files are needed.
    """
    import cfg
    from s2vt.captioning.runs import Run
    from s2vt.data.datasets import read_media
    from s2vt.data.phrases import find_phrases
    from s2vt.features.descriptors import descriptors_of
    from s2vt.features.extraction import sample_inputs
    from s2vt.features.middle_layer import middle_layer
    from s2vt.features.networks import FeatureExtractor, network_of
    from s2vt.saliency.explanation import Explanation
    from s2vt.saliency.maps import Asking, find_evidence, kinds_with

    run, config = Run(ROOT / "experiments" / dataset).require(), cfg.CONFIGS[dataset]
    medium, vocabulary, features = read_media(config, data_dir)[medium_id], run.vocabulary(), config.features
    captioner, sampled = run.captioner("best")[0], sample_inputs(medium.path, config)
    descriptors = descriptors_of(FeatureExtractor(features).cells(sampled.frames), config)
    descriptors = dataclasses.replace(descriptors, pictures=lambda: sampled.frames)
    geometry = sampled.geometry(features.resize, network_of(features.weights).grid)
    y, words = vocabulary.encode(sentence, config.text.max_words), tuple(sentence.split())
    (shown,) = find_phrases(words, [tuple(phrase.split())])
    kinds = [(kind, "mixed_10") for kind in kinds_with(config.model.methods, config.media)]
    rows, panels = {}, []
    for kind, layer in [*kinds, *((kind, layer) for layer in LAYERS for kind in ("eb", "ceb", "eb_likely"))]:
        saliency = dataclasses.replace(config.saliency, map=kind, eb_layer=layer)
        layers = functools.partial(middle_layer, features.weights)
        start = time.perf_counter()
        asking = Asking(config.media, saliency, tuple(vocabulary.words), layers=layers)
        (found,) = find_evidence(captioner, descriptors, [y], [kind], asking)
        name = kind if layer == "mixed_10" else f"{kind} {layer}"
        rows[name] = {"seconds": time.perf_counter() - start}
        panels.append((name, Explanation(words, found, geometry), saliency))
    _draw(medium.path, panels, shown, f"{sentence}: {phrase}", columns)
    return rows


def _draw(path, panels, phrase, title, columns):
    """The picture, then a map for each panel, as `visualization.py` draws it.

    Args:
        panels: list of (name, Explanation of one kind, SaliencyConfig).
    """
    from matplotlib.figure import Figure
    from PIL import Image

    from s2vt.data.pictures import read_picture
    from s2vt.rendering import drawing

    picture = np.asarray(read_picture(path))
    backdrop = drawing.Backdrop(picture)
    height, width = picture.shape[:2]
    count = -(-(1 + len(panels)) // columns)
    figure = Figure(figsize=(1.9 * columns, (1.9 * height / width + 0.25) * count + 0.3), layout="constrained")
    axes = figure.subplots(count, columns).ravel()
    for axis in axes:
        axis.axis("off")
    axes[0].imshow(backdrop.lit)
    for axis, (name, explanation, saliency) in zip(axes[1:], panels, strict=False):
        look, geometry = drawing.Look(saliency), explanation.geometry_of(saliency.map)
        cells, _ = drawing.drawn_evidence(explanation, [phrase], look)
        e_map = look.upsample(drawing.e_to_draw(cells, geometry, look)[0, 0], geometry)
        axis.imshow(drawing.overlay(backdrop, e_map, look.cmap))
        axis.set_title(name, fontsize="small")
    figure.suptitle(title, fontsize="medium")
    RESULTS.mkdir(exist_ok=True)
    figure.savefig(RESULTS / "maps.png", dpi=80)
    with Image.open(RESULTS / "maps.png") as drawn:
        few_colours = drawn.convert("RGB").quantize(COLOURS)
    few_colours.save(RESULTS / "maps.png", optimize=True)
