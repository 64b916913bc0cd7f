"""Saliency of all captions of one clip in one call, beside one caption: each distinct prefix is decoded once."""

from functools import partial

import numpy as np

from benchmarks.saliency import losses, random_captioner, random_clip
from benchmarks.timing import median_seconds, peak_memory


def measure(
    dataset="MovingShapes", data_dir="DATA", clips=3, captions=20, repeats=3, frames=26, V=10_000, H=1300, E=300, D=2048
):
    """Captions of the first clips of a test split, on random descriptors.

    The cost of one caption is the mean over a clip's captions, each in a call of its own. The limit of the ratio is
    (distinct prefixes) / (mean caption length + 1): reading the descriptors costs one step.
    """
    import cfg
    from s2vt import config as configs
    from s2vt.data import datasets
    from s2vt.data.text import tokenize
    from s2vt.saliency.teacher_forcing import prefixes

    config = configs.find(dataset, data_dir, cfg.CONFIGS)
    captioner, clip = random_captioner(V, H, E, D), random_clip(frames, D)
    rows, encoded = {}, {}
    for medium in datasets.select(datasets.read_media(config, data_dir), "test", clips):
        words_of = [tokenize(caption)[: config.text.max_words - 1] for caption in medium.captions[:captions]]
        index = {word: 1 + k for k, word in enumerate(sorted({word for words in words_of for word in words}))}
        encoded[medium.id] = [np.array([index[word] for word in words]) for words in words_of if words]
    memories = peak_memory(*(partial(losses, captioner, clip, sentences) for sentences in encoded.values()))
    for (medium_id, sentences), memory in zip(encoded.items(), memories, strict=True):
        together, apart = median_seconds(
            partial(losses, captioner, clip, sentences),
            lambda sentences=sentences: [losses(captioner, clip, [y]) for y in sentences],
            repeats=repeats,
        )
        ratio = together / (apart / len(sentences))
        length, distinct = np.mean([len(y) for y in sentences]), len(prefixes([tuple(y) for y in sentences]))
        rows[medium_id] = {
            "captions": len(sentences),
            "words in a caption": float(length),
            "distinct prefixes": distinct,
            "seconds": together,
            "captions/s": len(sentences) / together,
            "extra memory, MB": memory / 2**20,
            "times one by one": apart / together,
            "cost over one caption's": ratio,
            "limit": float(distinct / (length + 1)),
            "of the limit": float(ratio / (distinct / (length + 1))),
        }
    return rows
