"""Descriptors from real files, beside the network alone on ready batches and the release's procedure."""

import dataclasses
import tempfile
from pathlib import Path

import numpy as np

from benchmarks import release
from benchmarks.timing import median_seconds, peak_memory

PRECISIONS = ("float32", "mixed_bfloat16")


def measure(data_dir="DATA", clips=11, pictures=300, repeats=5):
    """MP4 clips of MovingShapes and JPEG files of StillShapes, with the shipped weights.

    The release runs the network on one picture at a time, after a round trip through JPEG, which changes the
    descriptors. "The network alone" is the one that extraction runs, with batch norm folded, on batches in memory;
    "Keras' network alone" is its InceptionV3 unchanged. Errors are distances between descriptors, relative to the norm
    of the reference: the largest, and the root mean square. Memory that the engine takes once and keeps counts in the
    first row.
    """
    import cfg
    from s2vt.data import datasets
    from s2vt.features.extraction import sample_inputs
    from s2vt.features.networks import FeatureExtractor

    rows = {}
    with tempfile.TemporaryDirectory() as folder:  # deleted last: ext4 creates files slowly after a mass deletion
        for dataset, count in (("MovingShapes", clips), ("StillShapes", pictures)):
            usual = cfg.CONFIGS[dataset]
            media = datasets.select(datasets.read_media(usual, data_dir), "test", count)
            inputs = np.concatenate([sample_inputs(medium.path, usual).frames for medium in media])
            reference = None
            for precision in PRECISIONS:
                config = dataclasses.replace(usual, features=dataclasses.replace(usual.features, precision=precision))
                extractor = FeatureExtractor(config.features)
                row = rows[f"{dataset}, {precision}"] = rates(config, media, inputs, extractor, folder, repeats)
                found = extractor.cells(inputs)
                theirs = of_release(media[:2], extractor)
                row["release's error, RMS"] = errors(theirs, found[: len(theirs)])[1]
                if reference is None:
                    reference = found
                else:
                    row["error, largest"], row["error, RMS"] = errors(found, reference)
    return rows


def rates(config, media, inputs, extractor, folder, repeats):
    """The row of one data set and precision.

    Args:
        media: list of Medium.   inputs: their pictures, (B, S, S, 3) uint8.   folder: for the descriptors.
    """
    from s2vt.features import networks
    from s2vt.features.inception import inception_v3

    features = config.features
    network, preprocess = networks.load(features.weights, features.precision)
    keras_network = inception_v3(networks.weights_file(features.weights), precision=features.precision)
    size = features.batch_size
    starts = range(0, len(inputs) // size * size, size)
    batches = [preprocess(inputs[k : k + size].astype(np.float32)) for k in starts]
    few = media[: max(1, 50 * len(media) // len(inputs))]  # 50 pictures
    (memory,) = peak_memory(lambda: extract(config, media, extractor, folder))
    whole, of_theirs, alone, keras_alone = median_seconds(
        lambda: extract(config, media, extractor, folder),
        lambda: of_release(few, extractor),
        lambda: [network.predict_on_batch(batch) for batch in batches],
        lambda: [keras_network.predict_on_batch(batch) for batch in batches],
        repeats=repeats,
    )
    rate, pictures = len(inputs) / whole, len(batches) * size
    return {
        "pictures": len(inputs),
        "seconds": whole,
        "pictures/s": rate,
        "extra memory, MB": memory / 2**20,
        "of the network alone": rate / (pictures / alone),
        "of Keras' network alone": rate / (pictures / keras_alone),
        "times the release": rate / (len(inputs) * len(few) / len(media) / of_theirs),
    }


def extract(config, media, extractor, folder):
    """Extracts descriptors of media files into a new folder inside `folder`."""
    from s2vt.features import extraction
    from s2vt.features.descriptors import DescriptorStore

    store = DescriptorStore(config, Path(tempfile.mkdtemp(dir=folder)))
    failed = extraction.extract(store, media, lambda: extractor)
    if failed:
        raise ValueError(f"could not be decoded: {', '.join(failed)}")


def of_release(media, extractor):
    """Descriptors of media by the release's procedure, (B, G*G, D)."""
    return np.concatenate([release.cells(medium.path, extractor) for medium in media])


def errors(found, expected):
    """Distances of descriptors (..., D) from the expected ones, relative to their norms: the largest, and the RMS."""
    found, expected = found.astype(np.float32), expected.astype(np.float32)
    distance = np.linalg.norm(found - expected, axis=-1) / np.linalg.norm(expected, axis=-1)
    return float(distance.max()), float(np.sqrt(np.mean(distance**2)))
