"""The distillation of a captioner's alignment into what it says of single descriptors.

Letters: M pictures, K of the N descriptors of each, Q content words of one of its captions, T words, H=1300 units.

The paper's saliency asks q_i(w) = P(w | y_<t, v_i): the likelihood of a word, given one descriptor alone. Training on
whole pictures never asks for it, and nothing tells a cell that shows the dog from one that shows the sky beside it:
both may say "dog". The alignment of a captioner with a contrast does tell them apart (`s2vt.captioning.contrast`).
Here it is the teacher, and q_i the student: of the cells of one picture, those that agree with a word must be those
that make the word likely.

    a_i(w) = exp(10 cos(i, w)) / sum_k exp(10 cos(k, w))       the teacher's share of cell i, without a gradient
    p_i(w) = q_i(w) / sum_k q_k(w)                             the student's: that of Eq. 7 among the picture's cells
    loss = mean_w sum_i a_i(w) log(a_i(w) / p_i(w))

Teacher and student share W_x. The architecture is as before, and so are all maps; it is `nll` that gains. After Hinton
et al. (2015, "Distilling the Knowledge in a Neural Network"); departs from it, as student and teacher are two outputs
of one network that is trained on both at once.
"""

from keras import ops

from s2vt.captioning.contrast import CELL_SHARPNESS


def distillation_loss(cosine, log_q, counts):
    """Mean divergence of the student's shares of the cells from the teacher's: nats.

    Args:
        cosine: of cells and words, (M, K, Q); gets no gradient.   log_q: log q_i(w), (M, K, Q).
        counts: whether a word counts, (M, Q) bool.
    Returns:
        A scalar, >= 0; 0 if no word counts.
    """
    teacher = ops.stop_gradient(ops.log_softmax(CELL_SHARPNESS * cosine, axis=1))
    student = ops.log_softmax(log_q, axis=1)
    divergence = ops.sum(ops.exp(teacher) * (teacher - student), axis=1)  # (M, Q)
    counts = ops.cast(counts, divergence.dtype)
    return ops.sum(counts * divergence) / ops.maximum(ops.sum(counts), 1.0)
