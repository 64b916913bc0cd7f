"""What the precision of the network does to the maps: those from mixed_bfloat16's descriptors beside float32's."""

import dataclasses
from pathlib import Path

import numpy as np


def measure(data_dir="DATA", experiments_dir="experiments", clips=5, pictures=100):
    """The trained captioners' best checkpoints, each medium's first caption. Saliency e_ti of a word (Eq. 8) runs from
    0 to 1 over all cells of all frames; a maximum is unchanged where the same cell of the same frame has it."""
    from s2vt.captioning.runs import Run
    from s2vt.data import datasets
    from s2vt.features.extraction import sample_inputs
    from s2vt.features.inception import FeatureExtractor

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
    """e of each word over all cells of all frames: cells (m, G*G, D), y (T,) -> (T, m G*G)."""
    from s2vt.saliency.heatmaps import scale
    from s2vt.saliency.information_loss import information_loss

    ((loss, _),) = information_loss(captioner.encode, captioner.step, cells.reshape(-1, cells.shape[-1]), [y])
    return scale(loss, axes=1)


def compare(e, reference):
    """How far maps are from others, each (words, items)."""
    change = np.abs(e - reference)
    return {
        "words": len(e),
        "change of e, largest": float(change.max()),
        "change of e, mean": float(change.mean()),
        "unchanged maxima": float(np.mean(e.argmax(axis=1) == reference.argmax(axis=1))),
    }
