"""From a phrase's summed evidence (Eq. 9) to what is shown of it: the values of `maps.Kind.of_sum`.

Letters: m frames (1 for a picture), G=8 grid. The page's script has the same functions (`ofSum` in page.js).
"""

import numpy as np

SHARPNESS = 10.0  # of `sharpened`, that of the contrast in training (ours)


def evidence_itself(evidence):
    """The sum as it is: -Loss (Eq. 9), or the attention of several words."""
    return evidence


def likelihood(evidence):
    """Likelihood of the phrase, normalised to sum 1 over the cells of each frame, or over the frames.

        exp(-Loss_i) / sum_k exp(-Loss_k),    exp(-Loss_i) = prod_j q_i(y_tj)

    Args:
        evidence: -Loss of the phrase, (m, G, G) or (m,).
    Returns:
        share, of the same shape.

    Example:
        >>> likelihood(np.log([0.5, 0.25, 0.25]))
        array([0.5 , 0.25, 0.25])
    """
    from scipy.special import softmax  # not at the top, for `--help`

    return softmax(evidence, axis=tuple(range(1, evidence.ndim)) or 0)


def sharpened(evidence):
    """`likelihood` of 10 times the evidence: the contrast's own softmax over cells (`s2vt.captioning.contrast`).

    Args:
        evidence: sum of the cosines of the phrase's words, (m, G, G) or (m,).
    Returns:
        share, of the same shape.

    Example:
        >>> sharpened(np.log([2.0, 1.0]) / 10).round(6)
        array([0.666667, 0.333333])
    """
    return likelihood(SHARPNESS * evidence)


def change(evidence, direction=0):
    """Change of the phrase's loss from frame to frame: large where its evidence comes or goes.

        |Loss(i + 1) - Loss(i - 1)| / 2

    Args:
        evidence: -Loss of the phrase, (m, G, G) or (m,). Edge values are repeated.
        direction: 1, the evidence's rise alone; -1, its fall alone; 0, both.
    Returns:
        nats a sampled frame, >= 0, of the same shape.

    Example:
        >>> change(np.array([-4.0, -4.0, -1.0, 0.0])).tolist()
        [0.0, 1.5, 2.0, 0.5]
        >>> change(np.array([-4.0, 0.0, -4.0]), direction=-1).tolist()
        [0.0, 0.0, 2.0]
    """
    first, last = evidence[:1], evidence[-1:]
    rise = (np.concatenate([evidence[1:], last]) - np.concatenate([first, evidence[:-1]])) / 2
    return np.maximum(direction * rise, 0) if direction else np.abs(rise)


def positive_part(evidence):
    """What speaks for the phrase: max(sum, 0), after its words are summed (Grad-CAM's ReLU, contrastive EB's clamp).

    Args:
        evidence: signed, of any shape.

    Example:
        >>> positive_part(np.array([1.0, -2.0]) + np.array([-0.5, 3.0])).tolist()
        [0.5, 1.0]
    """
    return np.maximum(evidence, 0)
