"""Evidence by the gradient of a word's log-probability with respect to the descriptors."""

import math

import numpy as np

from s2vt.saliency.finding import Values, of_read


def find_gradients(captioner, descriptors, sentences, asking, names):
    """Evidence by the gradient where the captioner stands: gradient x input, and Grad-CAM of the cells.

        gradient(t, i) = sum_d x_id dlog P(y_t) / dx_id
        gradcam(t, i) = sum_d a_td x_id,   a_td = the mean over all cells of dlog P(y_t) / dx_id, then max(., 0)

    The last step of Grad-CAM, max(., 0), follows the sum over a phrase's words (`sums.positive_part`), so that a
    phrase's map is that of its log-probability. Of a video, the mean is over the cells of all frames: its features are
    one volume in space and time.

    Args: as `finding`; names: "gradient" or "gradcam".
    """
    from s2vt.saliency.gradients import word_gradients

    makers = {"gradient": lambda g: g, "gradcam": lambda g: g.mean(axis=1, keepdims=True)}

    found = word_gradients(captioner.encode, captioner.step, descriptors.v, sentences)  # S of (T, N, D)
    return [{name: times_input(makers[name](g), descriptors) for name in names} for g in found]


def find_integrated(captioner, descriptors, sentences, asking, names):
    """Evidence by integrated gradients (Sundararajan et al. 2017) from descriptors of zeros.

        value(t, i) = sum_d x_id  integral over a in [0, 1] of dlog P(y_t | a v) / dx_id

    They sum to log P(y_t | v) - log P(y_t | 0) (completeness) as far as the points of the sum follow the path. They do
    not where the function jumps, in captioners that choose, such as hard attention. Nor do they for S2VT on the 64
    cells of a picture: near a = 0 its log P goes up and down by tens of nats. Of the words of a picture of StillShapes,
    whose log P differ by 2.5 nats on average between 0 and v, the sums miss the difference by 2.7 nats with 24 points
    (`gradients.integrated_gradients`), and with 32 and 48 points that do not crowd near 0 by 16 and 7.

    The baseline is zero because descriptors are activations after a ReLU: zero is a cell in which the network found
    nothing, whatever the data set; a set's mean descriptor would measure the difference from its average picture
    instead.

    Args: as `finding`; names: "integrated".
    """
    from s2vt.saliency.gradients import integrated_gradients

    steps = asking.saliency.integration_steps
    found = integrated_gradients(captioner.encode, captioner.step, descriptors.v, sentences, steps)
    return [dict.fromkeys(names, times_input(g, descriptors)) for g in found]


def times_input(g, descriptors):
    """The values sum_d g_id x_id of cells, and of a video's frames.

    A frame's descriptor is the mean of its r cells, so the gradient of each of them is that of the frame over r, and
    the values of a frame's cells sum to the frame's.

    Args:
        g: gradients with respect to what the captioner reads, (T, N, D), or (T, 1, D), the same for each of the N.
        descriptors: `s2vt.features.descriptors.Descriptors`, of a picture's cells or a video's frames.
    Returns:
        Values.
    """
    v, cells = np.asarray(descriptors.v, np.float32), descriptors.cells
    if descriptors.order is not None:
        return of_read((g * v).sum(axis=-1), descriptors.order)
    (m, r, _), G = cells.shape, math.isqrt(cells.shape[1])
    g = np.broadcast_to(g, (len(g), *v.shape))
    values = [np.asarray(of_frame, np.float32) @ g[:, i].T / r for i, of_frame in enumerate(cells)]  # m of (r, T)
    values = np.stack(values).transpose(2, 0, 1)
    return Values(values.reshape(-1, m, G, G), values.sum(axis=-1))
