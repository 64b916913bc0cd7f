"""Evidence of single descriptors: the paper's losses, and those made of them."""

from s2vt.data.phrases import content_words
from s2vt.saliency.finding import Values


def find_losses(captioner, descriptors, sentences, asking, names):
    """Evidence of the paper's maps, and of those made of them: -Loss of each descriptor alone (Eq. 6, 7, 13).

    Args: as `finding`; names: of measures, "nll", "kl", "logit" or "contrast".
    """
    from s2vt.precision import products_in
    from s2vt.saliency.information_loss import cell_input, frame_input, information_loss

    measures = _measures(names, captioner, descriptors.v, sentences, asking)
    cells, reads = descriptors.cells, asking.saliency.reads
    alone = asking.frames and frame_input(cells, asking.frames, reads)
    with products_in(asking.saliency.precision):
        found = information_loss(captioner.encode, captioner.step, cell_input(cells, reads), sentences, alone, measures)
    return [
        {name: Values(-loss.cells[name], loss.frames and -loss.frames[name]) for name in measures} for loss in found
    ]


def _measures(names, captioner, v, sentences, asking):
    """The measures of `information_loss` that have these names: {name: measure}."""
    from s2vt.saliency import information_loss as losses

    def kl():
        log_p = losses.sentence_log_probabilities(captioner.encode, captioner.step, v, sentences)
        return losses.representativeness_measure(log_p, sentences)

    makers = {
        "nll": lambda: losses.query_measure,
        "kl": kl,
        "logit": losses.relative_measure,
        "contrast": lambda: losses.relative_measure(content_words(asking.vocabulary)),
    }
    return {name: makers[name]() for name in names}
