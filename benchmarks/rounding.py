"""The effect of the network's precision on maps: descriptors of mixed_bfloat16 against those of float32."""

import dataclasses
from pathlib import Path

import numpy as np


def measure(data_dir="DATA", experiments_dir="experiments", clips=5, pictures=100):
    """The shipped captioners' best checkpoints, on each medium's first caption.

    Saliency e_ti of a word (Eq. 8) is scaled to [0, 1] over all cells of all frames. A maximum is unchanged if it is in
    the same cell of the same frame.
    """
    from s2vt.captioning.runs import Run
    from s2vt.data import datasets
    from s2vt.features.extraction import sample_inputs
    from s2vt.features.networks import FeatureExtractor

    rows = {}
    for dataset, count in (("MovingShapes", clips), ("StillShapes", pictures)):
        run = Run(Path(experiments_dir) / dataset)
        config, vocabulary = run.config(), run.vocabulary()
        captioner, _ = run.captioner("best")
        media = datasets.select(datasets.read_media(config, data_dir), "test", count)
        inputs = [sample_inputs(medium.path, config).frames for medium in media]
        sentences = [np.array(vocabulary.known(medium.captions[0])[: config.text.max_words - 1]) for medium in media]
        found = []
        for precision in ("mixed_bfloat16", "float32"):
            extractor = FeatureExtractor(dataclasses.replace(config.features, precision=precision))
            cells = np.split(extractor.cells(np.concatenate(inputs)), np.cumsum([len(p) for p in inputs])[:-1])
            found.append(np.concatenate([saliency(captioner, *of) for of in zip(cells, sentences, strict=True)]))
        rows[dataset] = compare(*found)
    return rows


def saliency(captioner, cells, y):
    """e of each word over all cells of all frames (Eq. 8), (T, m G*G), from cells (m, G*G, D) and y (T,)."""
    from s2vt.saliency.heatmaps import scale
    from s2vt.saliency.information_loss import information_loss

    (loss,) = information_loss(captioner.encode, captioner.step, cells, [y])
    return scale(-loss.cells["nll"].reshape(len(y), -1), axes=1)


def compare(e, reference):
    """Differences between maps and reference maps, both (words, items)."""
    change = np.abs(e - reference)
    return {
        "words": len(e),
        "change of e, largest": float(change.max()),
        "change of e, mean": float(change.mean()),
        "change of e, median": float(np.median(change)),
        "unchanged maxima": float(np.mean(e.argmax(axis=1) == reference.argmax(axis=1))),
    }
