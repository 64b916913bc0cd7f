"""A step of training at the sizes of two data sets, beside the machine's own GEMM rate and the release's procedure."""

import numpy as np

from benchmarks import release
from benchmarks.timing import GEMM_OPERATIONS, gemm, median_seconds, peak_memory

# N descriptors, V words of the vocabulary; words of a caption: mean, standard deviation (of the published sets' own)
SETS = {"MSR-VTT": (26, 10_000, (9.4, 4.4)), "Flickr30k": (64, 7_000, (10.8, 3.7))}


def measure(repeats=3, captions=100, captions_per_medium=5, H=1300, E=300, D=2048):
    """Batches of `captions` as `CaptionBatches` makes them, Adam's step included. The release reads a medium once for
    each caption, all its steps are one graph, and for pictures that graph takes 11 GB."""
    return {name: step(*sizes, repeats, captions, captions_per_medium, H, E, D) for name, sizes in SETS.items()}


def step(N, V, words, repeats, captions, captions_per_medium, H, E, D):
    """The row of one data set; ours and the release's form give the same loss before they are timed."""
    batch = random_batch(captions, captions_per_medium, N, V, D, words)
    ours, theirs = captioner(V, H, E, D), captioner(V, H, E, D, plain=True)
    theirs.set_weights(ours.get_weights())
    B, T = batch["y"].shape
    plain = {"v": batch["v"][batch["medium"]], "y": np.pad(batch["y"], ((0, 0), (0, 25 - T)))}
    np.testing.assert_allclose(ours.test_on_batch(batch), theirs.test_on_batch(plain), rtol=1e-4)

    calls = [lambda: ours.train_on_batch(batch), lambda: theirs.train_on_batch(plain), gemm()]
    (memory,) = peak_memory(calls[0])
    seconds, of_theirs, of_gemm = median_seconds(*calls, repeats=repeats)
    M, P = len(batch["v"]), len(batch["words"])
    # Twice forwards and four times backwards, but for v, whose gradient nobody asks for.
    operations = 4 * M * N * D * H + 6 * (M * N * 2 * H * 4 * H + B * T * (E + H) * 4 * H + P * H * V)
    return {
        "seconds": seconds,
        "captions/s": B / seconds,
        "extra memory, MB": memory / 2**20,
        "GFLOP/s": operations / seconds / 1e9,
        "of the GEMM rate": operations / seconds / (GEMM_OPERATIONS / of_gemm),
        "times the release": of_theirs / seconds,
    }


def captioner(V, H, E, D, plain=False):
    """An untrained S2VT, compiled as in training; with `plain`, in the release's form."""
    import keras

    from s2vt.captioning.s2vt import S2VT

    class Plain(S2VT):
        def call(self, inputs, training=False):
            return release.caption_logits(self, inputs["v"], inputs["y"], training)

    model = (Plain if plain else S2VT)(V, H, E)
    model.build({"v": (None, None, D)})
    model.compile(keras.optimizers.Adam(5e-4, epsilon=1e-8))
    return model


def random_batch(captions, captions_per_medium, N, V, D, words):
    """The first batch of a set of random descriptors and captions, of `words` (mean, standard deviation) words."""
    import cfg
    from s2vt.data.batches import CaptionBatches
    from s2vt.data.datasets import Medium
    from s2vt.data.text import Vocabulary

    class Store:
        def v(self, medium):
            return rng.standard_normal((N, D), np.float32) / 3

    rng, (mean, deviation) = np.random.default_rng(0), words
    vocabulary = Vocabulary([".", *(f"word{k}" for k in range(1, V))], np.ones(V))
    config = cfg.MSR_VTT.replace(
        [f"training.batch_size={captions}", f"training.captions_per_medium={captions_per_medium}"]
    )
    lengths = np.clip(rng.gamma((mean / deviation) ** 2, deviation**2 / mean, captions).round(), 1, 24).astype(int)
    said = [" ".join(f"word{k}" for k in rng.integers(1, V, length)) for length in lengths]
    groups = [said[k : k + captions_per_medium] for k in range(0, captions, captions_per_medium)]
    media = [Medium(f"{k}", None, "train", tuple(group)) for k, group in enumerate(groups)]
    return CaptionBatches(media, Store(), vocabulary, config)[0]
