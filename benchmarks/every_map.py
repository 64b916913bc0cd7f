"""A photograph and a phrase under every map that a captioner gives, and the seconds of each."""

import dataclasses
import functools
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.timing import RESULTS

ROOT = Path(__file__).resolve().parent.parent
PANEL, GAP, LABEL, MARGIN = 188, 10, 28, 12  # of the figure, pixels


def measure(
    run="Flickr30k",
    weights="inception-2015",
    media="",
    sentence="a woman in an orange suit stands in front of a flag",
    phrase="a woman",
    layers="17x17,35x35",
    columns=6,
    output=str(RESULTS / "maps.jpg"),
):
    """Seconds of all words' evidence, once, with the time that the engine takes to compile. Draws `output`.

    Args:
        run: a run of pictures in experiments/.   weights: a value of --weights.
        media: a picture's path; "": scikit-image's astronaut (NASA, public domain).
        layers: of InceptionV3, at which Excitation Backprop is read too; "": none.
    """
    from PIL import Image

    if media:
        return _measure(ROOT / "experiments" / run, weights, media, (sentence, phrase), layers, columns, output)
    from skimage import data

    with tempfile.TemporaryDirectory() as folder:
        media = Path(folder, "astronaut.png")
        Image.fromarray(data.astronaut()).save(media)
        return _measure(ROOT / "experiments" / run, weights, media, (sentence, phrase), layers, columns, output)


def _measure(folder, weights, media, texts, layers, columns, output):
    from s2vt.captioning.runs import Run
    from s2vt.data.phrases import find_phrases
    from s2vt.data.pictures import read_picture
    from s2vt.features.descriptors import descriptors_of
    from s2vt.features.extraction import sample_inputs
    from s2vt.features.middle_layer import middle_layer
    from s2vt.features.networks import FeatureExtractor, network_for
    from s2vt.saliency.explanation import Explanation
    from s2vt.saliency.maps import Asking, find_evidence, kinds_of

    run = Run(folder).require()
    features = dataclasses.replace(run.config().features, weights=str(weights))
    config, vocabulary = dataclasses.replace(run.config(), features=features), run.vocabulary()
    captioner, sampled = run.captioner("best")[0], sample_inputs(media, config)
    descriptors = descriptors_of(FeatureExtractor(features).cells(sampled.frames), config)
    descriptors = dataclasses.replace(descriptors, pictures=lambda: sampled.frames)
    geometry = sampled.geometry(features.resize, network_for(features).grid)
    y, words = vocabulary.encode(texts[0], config.text.max_words), tuple(texts[0].split())
    (phrase,) = find_phrases(words, [tuple(texts[1].split())])
    kinds = [(kind, "mixed_10") for kind in kinds_of(captioner, config.media)]
    kinds += [(kind, layer) for layer in filter(None, layers.split(",")) for kind in ("eb", "ceb", "eb_likely")]
    rows, panels = {}, ([], [])  # of the cells, of lower layers
    for kind, layer in kinds:
        saliency = dataclasses.replace(config.saliency, map=kind, eb_layer=layer)
        start = time.perf_counter()
        asking = Asking(
            config.media, saliency, tuple(vocabulary.words), layers=functools.partial(middle_layer, features)
        )
        (found,) = find_evidence(captioner, descriptors, [y], [kind], asking)
        name = kind if layer == "mixed_10" else f"{kind} {layer}"
        rows[name] = {"seconds": time.perf_counter() - start}
        panels[layer != "mixed_10"].append((name, Explanation(words, found, geometry), saliency))
    draw(np.asarray(read_picture(media)), panels, phrase, texts, columns, output)
    return rows


def draw(picture, panels, phrase, texts, columns, output):
    """The picture, then a map for each panel with its maximum, scaled and placed as `visualization.py` does.

    Args:
        picture: (H, W, 3) uint8.
        panels: lists of (name, Explanation of one kind, SaliencyConfig); each list begins a row, the first one's beside
            the picture.
        phrase: the Phrase.   texts: the sentence, and the phrase in words.   output: a path, *.jpg.
    """
    from PIL import Image

    from s2vt.rendering import drawing
    from s2vt.saliency import heatmaps

    size = PANEL, round(PANEL * picture.shape[0] / picture.shape[1])
    step = size[0] + GAP, size[1] + LABEL
    places, count = _places(panels, columns)
    page = drawing.Page(2 * MARGIN + columns * step[0] - GAP, 2 * MARGIN + count * step[1] + 56)
    shrunk = drawing.shrunk(picture, size)
    page.text(MARGIN, MARGIN + LABEL - 13, "photograph", 15)
    page.picture(shrunk, MARGIN, MARGIN + LABEL)
    for (column, row), (name, explanation, saliency) in places:
        x, y = MARGIN + column * step[0], MARGIN + LABEL + row * step[1]
        page.text(x, y - 13, name, 15, bold=True)
        look = drawing.Look(saliency)
        geometry = drawing.resized(explanation.geometry_of(look.kind), *size)
        cells, _ = drawing.drawn_evidence(explanation, [phrase], look)
        e = drawing.e_to_draw(cells, geometry, look)[0, 0]
        e_map = look.upsample(e, geometry)
        page.picture(_over_grey(shrunk, e_map), x, y)
        if np.ptp(e) > 0:
            left, top = heatmaps.argmax_point(e_map)
            page.star(x + left, y + top, 6)
    below = MARGIN + count * step[1] + 12
    page.text(MARGIN, below, f"{texts[0]}: {texts[1]}", 17)
    page.scale(MARGIN, below + 28, _scale, "each map scaled to [0, 1]; star: its maximum", 15)
    Path(output).parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        page.save(Path(folder, "page.png"))
        with Image.open(Path(folder, "page.png")) as drawn:
            drawn.convert("RGB").save(output, quality=88, subsampling=0, optimize=True)


def _places(panels, columns):
    """[((column, row), panel)], and the number of rows."""
    places, k = [], 1  # the picture's place is 0
    for of_row in panels:
        places += [((at % columns, at // columns), panel) for at, panel in enumerate(of_row, k)]
        k = -(-(k + len(of_row)) // columns) * columns
    return places, k // columns


def _over_grey(picture, e):
    """A map over a grey copy of its picture, for colours that are the map's alone: 0.3 grey + 0.7 colour(e)."""
    from matplotlib import colormaps
    from PIL import Image

    from s2vt.rendering.drawing import COLOUR_MAP

    colours = Image.fromarray((255 * colormaps[COLOUR_MAP](np.clip(e, 0, 1))[..., :3]).astype(np.uint8))
    return Image.blend(picture.convert("L").convert("RGB"), colours, 0.7)


def _scale(share):
    """The colours of shares of the scale, (1, k) -> (1, k, 3), over a grey of 128."""
    from PIL import Image

    return np.asarray(_over_grey(Image.new("L", share.shape[::-1], 128), share))
