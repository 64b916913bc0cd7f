"""Evidence of what a word loses or gains when the captioner reads some of the descriptors only."""

import numpy as np

from s2vt.saliency.finding import Values, of_read


def find_subsets(captioner, descriptors, sentences, asking, names):
    """Evidence by random subsets of what the captioner reads: a picture's cells, or a video's frames, never both.

    All names are estimated from the same subsets.

    Args: as `finding`; names: "banzhaf" or "rise".
    """
    from s2vt.saliency.subsets import banzhaf, random_subsets, rise, subset_values

    settings, v, estimators = asking.saliency, descriptors.v, {"banzhaf": banzhaf, "rise": rise}
    subsets = random_subsets(len(v), settings.subsets, settings.subset_share, asking.seed)
    found = subset_values(captioner.encode, captioner.step, v, sentences, subsets)
    return [{name: of_read(estimators[name](values, subsets), descriptors.order) for name in names} for values in found]


def find_left_out(captioner, descriptors, sentences, asking, names):
    """Evidence by leaving out: what is lost about each word when one cell, or one frame, is not read.

        value(t, i) = Loss(t | all but i) - Loss(t | all)

    A picture's cell, or a video's frame, is left out of the sequence; a cell of a video's frame is left out of the mean
    that the frame's descriptor is, the other frames are read as they are.

    Args: as `finding`; names: "leave_one_out", of the query loss (Eq. 7), or "leave_one_out_kl", of representativeness
        (Eq. 6), where Loss(t | all) is 0.
    """
    from s2vt.saliency import information_loss as losses
    from s2vt.saliency.subsets import left_out_losses, without_each, without_each_cell

    encode, step, v, cells = captioner.encode, captioner.step, descriptors.v, descriptors.cells
    measures = {"leave_one_out": losses.query_measure}
    if "leave_one_out_kl" in names:
        log_p = losses.sentence_log_probabilities(encode, step, v, sentences)
        measures["leave_one_out_kl"] = losses.representativeness_measure(log_p, sentences)
    measures = {name: measures[name] for name in names}
    found = left_out_losses(encode, step, v, without_each(v), sentences, measures)
    if descriptors.order is not None:
        return [{name: of_read(loss, descriptors.order) for name, loss in each.items()} for each in found]
    m, G = len(cells), int(np.sqrt(cells.shape[1]))
    of_cells = left_out_losses(encode, step, v, without_each_cell(v, cells), sentences, measures)
    return [
        {name: Values(here[name].reshape(-1, m, G, G), there[name]) for name in names}
        for here, there in zip(of_cells, found, strict=True)
    ]
