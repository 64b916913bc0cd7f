"""The 2017 release's procedures, written out plainly, with the weights of today's captioner.

Letters: R rows, H LSTM units, E word embedding, V vocabulary, m frames, r=64 cells of a frame, T words.
"""

import numpy as np
from keras import ops


def lstm_kernel(captioner):
    """The kernel of the release's one LSTM, which reads [x ; embed(word) ; h]: (H + E + H, 4H)."""
    return ops.concatenate([captioner.K_x, captioner.K_y, captioner.lstm.cell.U])


def lstm(kernel, b, x, word, h, c):
    """One step on x (R, H) and word (R, E), of which one is zeros -> h and c, each (R, H)."""
    i, f, candidate, o = ops.split(ops.matmul(ops.concatenate([x, word, h], axis=1), kernel) + b, 4, axis=1)
    c = ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(candidate)
    return ops.sigmoid(o) * ops.tanh(c), c


def video_saliency(captioner, cells, pooled, y, max_words=25):
    """Query loss of each descriptor alone: one batch for each frame's cells and one for the pooled frames, always all
    steps, zeros and all -> (T, m r + m), nats."""
    kernel, losses = lstm_kernel(captioner), []
    for v in [*cells, pooled]:
        no_word, no_x = ops.zeros((len(v), captioner.embedding_size)), ops.zeros((len(v), captioner.units))
        h, c = lstm(kernel, captioner.b, ops.matmul(v, captioner.W_x) + captioner.b_x, no_word, no_x, no_x)
        word, loss = no_word, []
        for t in range(max_words):
            h, c = lstm(kernel, captioner.b, no_x, word, h, c)
            log_q = ops.log_softmax(ops.matmul(h, captioner.W_o) + captioner.b_o)
            w = int(y[t]) if t < len(y) else 0
            loss.append(-ops.convert_to_numpy(log_q[:, w]))
            word = ops.repeat(captioner.embedding[w][None], len(v), axis=0)
        losses.append(np.stack(loss[: len(y)]))
    return np.concatenate(losses, axis=1)
