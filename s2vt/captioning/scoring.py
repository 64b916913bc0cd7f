"""Caption scores as the COCO caption evaluation computes them: BLEU-1..4, METEOR, ROUGE-L, CIDEr.

Captions are cleaned to one line each, tokenised by the Penn Treebank tokenizer, then scored by `pycocoevalcap`'s BLEU,
ROUGE-L and CIDEr and by METEOR 1.5. On captions without control characters and `|||` the scores equal those of
`pycocoevalcap`; on others they still belong to the right medium (see `java`).

References are {id: [caption, ...]}, candidates {id: caption}; an id is a string or an integer. Scores are fractions in
[0, 1], except CIDEr's, which are in [0, 10].
"""

import concurrent.futures
import contextlib
from collections.abc import Hashable, Mapping, Sequence

from s2vt import markdown
from s2vt.captioning import java
from s2vt.errors import UserError, listed

METRICS = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr")


def score(
    references: Mapping[Hashable, Sequence[str]],
    candidates: Mapping[Hashable, str],
    timeout: float = java.TIMEOUT,
    scorer: java.MeteorScorer | None = None,
) -> dict[str, float]:
    """All caption scores of a set of media, each over the whole set.

    Args:
        references: {id: [caption, ...]}, at least one caption each.
        candidates: {id: caption}, for the same ids. An empty caption scores 0.
        timeout: seconds without an answer after which a Java program counts as stuck.
        scorer: a running `MeteorScorer`; None: a new one.
    Returns:
        {metric: value} in the order of `METRICS`. CIDEr weights n-grams by their rarity among the media, so it is 0
        for a single medium, or when all media have the same references.
    Raises:
        UserError: if the two hold different ids, no ids, or an id has no reference.
        ScoringError: if a Java program fails twice.
    """
    references, candidates = _tokenize_sets(references, candidates, timeout)
    with contextlib.ExitStack() as stack:
        scorer = scorer or stack.enter_context(java.MeteorScorer(timeout))
        thread = stack.enter_context(concurrent.futures.ThreadPoolExecutor(1))  # Java runs beside Python's metrics
        meteor_score = thread.submit(scorer.score_tokens, references, candidates)
        bleu, rouge, cider = (metric(references, candidates) for metric in (_bleu, _rouge, _cider))
        values = (*bleu, meteor_score.result()[0], rouge, cider)
    return dict(zip(METRICS, map(float, values), strict=True))


def meteor(
    references: Mapping[Hashable, Sequence[str]], candidates: Mapping[Hashable, str], scorer: java.MeteorScorer
) -> tuple[float, dict[Hashable, float]]:
    """METEOR over the whole set, in [0, 1], and of each medium, {id: value}. Arguments and errors as `score`."""
    return scorer.score_tokens(*_tokenize_sets(references, candidates, scorer.timeout))


def table(scores: Mapping[str, Mapping[str, float]]) -> str:
    """Scores as a Markdown table, times 100: a row per name, a column per metric.

    Example:
        >>> print(table({"greedy": {"BLEU-4": 0.25, "METEOR": 0.3104}, "beam 5": {"METEOR": 0.32}}))
        |  | BLEU-4 | METEOR |
        |---|---|---|
        | greedy | 25.0 | 31.0 |
        | beam 5 | - | 32.0 |
    """
    metrics = list(dict.fromkeys(metric for row in scores.values() for metric in row))
    rows = [(name, *(100 * row[m] if m in row else None for m in metrics)) for name, row in scores.items()]
    return markdown.table(["", *metrics], rows, decimals=1)


def _tokenize_sets(references, candidates, timeout):
    """Tokens of references and candidates, in the references' order, by one process.

    Raises:
        UserError: if the two sets do not fit each other.
    """
    _check_sets(references, candidates)
    captions = [caption for medium in references for caption in references[medium]]
    captions += [candidates[medium] for medium in references]
    tokens = iter(java.tokenize(captions, timeout))
    tokenized_references = {medium: [next(tokens) for _ in references[medium]] for medium in references}
    return tokenized_references, {medium: next(tokens) for medium in references}


def _check_sets(references, candidates):
    if not references and not candidates:
        raise UserError("there are no captions to score; write some first")
    missing = [repr(medium) for medium in references if medium not in candidates]
    if missing:
        raise UserError(
            f"{len(missing)} media without a candidate ({listed(missing, 3)}); every medium with references needs one"
        )
    missing = [repr(medium) for medium in candidates if not references.get(medium)]
    if missing:
        raise UserError(
            f"{len(missing)} media without references ({listed(missing, 3)}); every candidate needs at least one"
        )
    for medium in references:
        if isinstance(references[medium], str) or not isinstance(candidates[medium], str):
            raise ValueError(f"{medium!r}: expected a sequence of reference strings and one candidate string")


def _bleu(references, candidates):
    """BLEU-1..4 over the set, with the closest reference length."""
    from pycocoevalcap.bleu.bleu import Bleu

    values, _ = Bleu(4).compute_score(references, _as_lists(candidates), verbose=0)
    return values


def _rouge(references, candidates):
    """ROUGE-L, mean over the media."""
    from pycocoevalcap.rouge.rouge import Rouge

    return Rouge().compute_score(references, _as_lists(candidates))[0]


def _cider(references, candidates):
    """CIDEr, mean over the media."""
    from pycocoevalcap.cider.cider import Cider

    if not any(any(captions) for captions in references.values()):
        return 0.0  # pycocoevalcap fails if no reference holds a word
    return Cider().compute_score(references, _as_lists(candidates))[0]


def _as_lists(candidates):
    """pycocoevalcap's format of candidates: {id: [caption]}."""
    return {medium: [caption] for medium, caption in candidates.items()}
