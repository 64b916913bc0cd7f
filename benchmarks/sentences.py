"""Many real captions of one clip in one call, beside one caption alone: each distinct prefix is decoded once."""

from functools import partial

import numpy as np

from benchmarks.saliency import losses, random_captioner, random_clip
from benchmarks.timing import median_seconds, peak_memory


def measure(
    dataset="MovingShapes", data_dir="DATA", clips=3, captions=20, repeats=3, frames=26, V=10_000, H=1300, E=300, D=2048
):
    """The first clips of a test split. The cost of one caption is the mean over all of a clip's, each by itself; the
    limit is (distinct prefixes) / (mean caption length + 1), the descriptors being read like one word more."""
    import cfg
    from s2vt.data import datasets
    from s2vt.data.text import tokenize
    from s2vt.saliency.teacher_forcing import prefixes

    config = cfg.find(dataset, data_dir)
    captioner, clip, rows, said = random_captioner(V, H, E, D), random_clip(frames, D), {}, {}
    for medium in datasets.select(datasets.read_media(config, data_dir), "test", clips):
        words_of = [tokenize(caption)[: config.text.max_words - 1] for caption in medium.captions[:captions]]
        index = {word: 1 + k for k, word in enumerate(sorted({word for words in words_of for word in words}))}
        said[medium.id] = [np.array([index[word] for word in words]) for words in words_of if words]
    memories = peak_memory(*(partial(losses, captioner, clip, sentences) for sentences in said.values()))
    for (medium_id, sentences), memory in zip(said.items(), memories, strict=True):
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
