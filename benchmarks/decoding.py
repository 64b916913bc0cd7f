"""Captioning of a data set's test split, beside the machine's own GEMM rate and the release's procedure."""

import numpy as np

from benchmarks import release
from benchmarks.timing import GEMM_OPERATIONS, gemm, median_seconds, peak_memory


def measure(
    dataset="MovingShapes", name="", data_dir="DATA", experiments_dir="experiments", limit=0, beam=5, repeats=3
):
    """Uses a trained captioner, because the length of its captions is part of the cost.

    The release decodes one medium after the other, greedily, always all steps. Both must give the same captions.
    """
    from pathlib import Path

    from s2vt.captioning.decoding import caption_media
    from s2vt.captioning.runs import Run
    from s2vt.data import datasets
    from s2vt.features.descriptors import DescriptorStore

    run = Run(Path(experiments_dir) / (name or dataset))
    config, vocabulary = run.config(), run.vocabulary()
    captioner, _ = run.captioner("best")
    store = DescriptorStore(config, data_dir)
    media, _ = store.available(datasets.select(datasets.read_media(config, data_dir), "test", limit or None))
    v = np.stack([store.v(medium) for medium in media]).astype(np.float32)

    calls = [
        lambda: caption_media(captioner, vocabulary, media, store, config),
        lambda: caption_media(captioner, vocabulary, media, store, config, beam),
        lambda: release.captions(captioner, v, config.text.max_words),
    ]
    memories = peak_memory(*calls[:2])
    found, plain = calls[0](), calls[2]()
    if list(found.values()) != [vocabulary.decode(words) for words in plain]:
        raise ValueError("the release's procedure gives other captions")
    *seconds, of_theirs, of_gemm = median_seconds(*calls, gemm(), repeats=repeats)

    words = sum(len(caption.split()) + 1 for caption in found.values())  # END among them
    D, H, E, V = v.shape[2], captioner.units, captioner.embedding_size, captioner.vocabulary_size
    operations = 2 * v.shape[0] * v.shape[1] * (D * H + 2 * H * 4 * H) + 2 * words * ((E + H) * 4 * H + H * V)
    rows = {}
    for label, taken, memory in zip(("greedy", f"beam {beam}"), seconds, memories, strict=True):
        rows[label] = {
            "media": len(media),
            "words in a caption": words / len(media) - 1,
            "seconds": taken,
            "captions/s": len(media) / taken,
            "extra memory, MB": memory / 2**20,
            "of the GEMM rate": operations / taken / (GEMM_OPERATIONS / of_gemm) if label == "greedy" else None,
            "times the release": of_theirs / taken if label == "greedy" else None,
        }
    return rows
