"""Descriptors from real files, beside the network alone on ready batches and the release's procedure."""

import dataclasses
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import release
from benchmarks.timing import median_seconds

PRECISIONS = ("float32", "mixed_bfloat16")


def measure(data_dir="DATA", clips=11, pictures=300, repeats=3):
    """MP4 clips of MovingShapes and JPEG files of StillShapes, with the shipped weights. The release has one picture
    after the other seen by the network, after a round trip through JPEG, which changes the descriptors.

    A descriptor's error is its distance from the other one over that one's norm: the largest, and the root mean
    square."""
    import cfg
    from s2vt.data import datasets
    from s2vt.features.inception import FeatureExtractor, load
    from s2vt.features.store import sample

    rows = {}
    for dataset, count in (("MovingShapes", clips), ("StillShapes", pictures)):
        config = cfg.CONFIGS[dataset]
        media = datasets.select(datasets.read_media(config, data_dir), "test", count)
        inputs = np.concatenate([sample(medium.path, config).pictures for medium in media])
        reference = None
        for precision in PRECISIONS:
            features = dataclasses.replace(config.features, precision=precision)
            extractor, (network, preprocess) = FeatureExtractor(features), load(features.weights, precision)
            batches = [
                preprocess(inputs[k : k + features.batch_size].astype(np.float32))
                for k in range(0, len(inputs) // features.batch_size * features.batch_size, features.batch_size)
            ]
            with tempfile.TemporaryDirectory() as folder:  # cleared away when the time is taken
                alone, whole = median_seconds(
                    lambda batches=batches, network=network: [network.predict_on_batch(b) for b in batches],
                    lambda extract_all=(config, features, media, extractor, folder): extract(*extract_all),
                    repeats=repeats,
                )
            found = extractor.cells(inputs)
            reference = found if reference is None else reference
            row = {
                "pictures": len(inputs),
                "seconds": whole,
                "pictures/s": len(inputs) / whole,
                "of the network alone": len(inputs) / whole / (sum(map(len, batches)) / alone),
            }
            if precision == "float32":
                start = time.perf_counter()
                theirs = np.concatenate([release.cells(medium.path, extractor) for medium in media[:2]])
                seconds = (time.perf_counter() - start) / len(theirs)
                row["times the release"] = seconds / (whole / len(inputs))
                row["release's error, RMS"] = errors(theirs, reference[: len(theirs)])[1]
            else:
                row["error, largest"], row["error, RMS"] = errors(found, reference)
            rows[f"{dataset}, {precision}"] = row
    return rows


def extract(config, features, media, extractor, folder):
    """The media's descriptors, from their files to files of descriptors in a new folder within the one given."""
    from s2vt.features.store import DescriptorStore

    store = DescriptorStore(dataclasses.replace(config, features=features), Path(tempfile.mkdtemp(dir=folder)))
    failed = store.extract(media, lambda: extractor)
    if failed:
        raise ValueError(f"could not be decoded: {', '.join(failed)}")


def errors(found, expected):
    """Distance of descriptors (..., D) from the expected ones over their norms: the largest, and the RMS."""
    found, expected = found.astype(np.float32), expected.astype(np.float32)
    distance = np.linalg.norm(found - expected, axis=-1) / np.linalg.norm(expected, axis=-1)
    return float(distance.max()), float(np.sqrt(np.mean(distance**2)))
