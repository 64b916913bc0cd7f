"""A training step at the sizes of two data sets, beside the machine's own GEMM rate and the release's procedure."""

from dataclasses import dataclass

import numpy as np

from benchmarks import release
from benchmarks.timing import GEMM_OPERATIONS, gemm, median_seconds, peak_memory

# N descriptors, V words of the vocabulary; words in a caption: mean, standard deviation (of the published sets)
SETS = {"MSR-VTT": (26, 10_000, (9.4, 4.4)), "Flickr30k": (64, 7_000, (10.8, 3.7))}
MAX_WORDS = 25  # steps of the decoder; the release always runs all of them


@dataclass(frozen=True)
class Sizes:
    """Sizes of a training step.

    Attributes:
        N, V: descriptors of a medium; words of the vocabulary.
        words: number of words in a caption: mean, standard deviation.
        captions, group: captions in the batch; those of them that share a medium.
        H, E, D: LSTM units; size of a word's embedding; size of a descriptor.
    """

    N: int
    V: int
    words: tuple[float, float]
    captions: int = 100
    group: int = 5
    H: int = 1300
    E: int = 300
    D: int = 2048


def measure(repeats=3, captions=100, captions_per_medium=5, H=1300, E=300, D=2048):
    """Batches of `captions` as `CaptionBatches` makes them, Adam's step included.

    The release reads a medium once for each caption and unrolls all steps in one graph, which takes 11 GB for pictures.
    """
    return {
        name: step(Sizes(*of_set, captions, captions_per_medium, H, E, D), repeats) for name, of_set in SETS.items()
    }


def step(sizes, repeats):
    """The row of one data set. Both forms must give the same loss."""
    batch = random_batch(sizes)
    ours, theirs = captioner(sizes), captioner(sizes, plain=True)
    theirs.set_weights(ours.get_weights())
    B, T = batch["y"].shape
    plain = {"v": batch["v"][batch["medium"]], "y": np.pad(batch["y"], ((0, 0), (0, MAX_WORDS - T)))}
    np.testing.assert_allclose(ours.test_on_batch(batch), theirs.test_on_batch(plain), rtol=1e-4)

    calls = [lambda: ours.train_on_batch(batch), lambda: theirs.train_on_batch(plain), gemm()]
    (memory,) = peak_memory(calls[0])
    seconds, of_theirs, of_gemm = median_seconds(*calls, repeats=repeats)
    M, P, N, V, H, E, D = len(batch["v"]), len(batch["words"]), sizes.N, sizes.V, sizes.H, sizes.E, sizes.D
    # Each product twice forwards and four times backwards, except that v needs no gradient.
    operations = 4 * M * N * D * H + 6 * (M * N * 2 * H * 4 * H + B * T * (E + H) * 4 * H + P * H * V)
    return {
        "seconds": seconds,
        "captions/s": B / seconds,
        "extra memory, MB": memory / 2**20,
        "GFLOP/s": operations / seconds / 1e9,
        "of the GEMM rate": operations / seconds / (GEMM_OPERATIONS / of_gemm),
        "times the release": of_theirs / seconds,
    }


def captioner(sizes, plain=False):
    """An untrained S2VT, compiled as in training; with `plain`, in the release's form."""
    import keras

    from s2vt.captioning.s2vt import S2VT

    class Plain(S2VT):
        def call(self, inputs, training=False):
            return release.caption_logits(self, inputs["v"], inputs["y"], training)

    model = (Plain if plain else S2VT)(sizes.V, sizes.H, sizes.E)
    model.build({"v": (None, None, sizes.D)})
    model.compile(keras.optimizers.Adam(5e-4, epsilon=1e-8))
    return model


def random_batch(sizes):
    """The first batch of a set of random descriptors and captions."""
    import cfg
    from s2vt.data.batches import CaptionBatches, Source
    from s2vt.data.datasets import Medium
    from s2vt.data.text import Vocabulary

    class Store:
        def v(self, medium):
            return rng.standard_normal((sizes.N, sizes.D), np.float32) / 3

    rng, (mean, deviation) = np.random.default_rng(0), sizes.words
    vocabulary = Vocabulary([".", *(f"word{k}" for k in range(1, sizes.V))], np.ones(sizes.V))
    config = cfg.MSR_VTT.replace(
        [
            f"training.batch_size={sizes.captions}",
            f"training.captions_per_medium={sizes.group}",
            f"text.max_words={MAX_WORDS}",
        ]
    )
    lengths = rng.gamma((mean / deviation) ** 2, deviation**2 / mean, sizes.captions)
    lengths = np.clip(lengths.round(), 1, MAX_WORDS - 1).astype(int)
    captions = [" ".join(f"word{k}" for k in rng.integers(1, sizes.V, length)) for length in lengths]
    groups = [captions[k : k + sizes.group] for k in range(0, sizes.captions, sizes.group)]
    media = [Medium(f"{k}", None, "train", tuple(group)) for k, group in enumerate(groups)]
    return CaptionBatches([Source(media, Store())], vocabulary, config)[0]
