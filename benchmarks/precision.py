"""Saliency with bfloat16 products (`saliency.precision`) beside float32: speed at the paper's size; a run's maps."""

from pathlib import Path

import numpy as np

from benchmarks.rounding import compare, saliency
from benchmarks.saliency import losses, random_captioner, random_clip
from benchmarks.timing import GEMM_OPERATIONS, gemm, median_seconds


def measure(repeats=5, frames=26, n=10, V=10_000, H=1300, E=300, D=2048, run="StillShapes", split="test",
            limit=100, data_dir="DATA", experiments_dir="experiments"):  # fmt: skip
    """A clip's r m + m descriptors (Eq. 14), a picture's 64, and e of a trained run's maps of stored descriptors.

    bfloat16 is used even where it is not faster. Of the maps, each caption of the first `limit` pictures is read.
    """
    captioner = random_captioner(V, H, E, D)
    rows = {f"{m * 65:,} descriptors": speed(captioner, random_clip(m, D), n, V, repeats) for m in (frames, 1)}
    return rows | {f"{run}, {limit} of {split}": agreement(run, split, limit, data_dir, experiments_dir)}


def speed(captioner, clip, n, V, repeats):
    """Seconds of n words in both precisions, and of one product of the machine, in turns."""
    y = np.random.default_rng(1).integers(1, V, n)

    def rounded():
        with bfloat16():
            return losses(captioner, clip, [y])

    in_float32, in_bfloat16, of_gemm = median_seconds(
        lambda: losses(captioner, clip, [y]), rounded, gemm(), repeats=repeats
    )
    return {
        "seconds": in_bfloat16,
        "seconds in float32": in_float32,
        "times float32": in_float32 / in_bfloat16,
        "float32 GEMM, GFLOP/s": GEMM_OPERATIONS / of_gemm / 1e9,
    }


def bfloat16():
    """The context of bfloat16 products, whatever the machine's gain."""
    from s2vt.precision import products_in

    return products_in("bfloat16", least_gain=0)


def agreement(run, split, limit, data_dir, experiments_dir):
    """Differences between the two precisions' e (Eq. 8), as in `rounding`."""
    from s2vt.captioning.runs import Run
    from s2vt.data import datasets
    from s2vt.features.descriptors import DescriptorStore

    run = Run(Path(experiments_dir) / run)
    config, vocabulary = run.config(), run.vocabulary()
    captioner, _ = run.captioner("best")
    store, found = DescriptorStore(config, data_dir, layer="mixed_10"), []
    for medium in datasets.select(datasets.read_media(config, data_dir), split, limit):
        cells = store.descriptors(medium).cells
        for caption in medium.captions:
            y = np.array(vocabulary.known(caption)[: config.text.max_words - 1])
            with bfloat16():
                rounded = saliency(captioner, cells, y)
            found.append((rounded, saliency(captioner, cells, y)))
    return compare(*map(np.concatenate, zip(*found, strict=True)))
