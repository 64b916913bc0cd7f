"""The 2017 release's procedures, with the weights of this project's captioner.

Letters: R rows, B captions, N descriptors, D=2048, H LSTM units, E word embedding, V vocabulary, m frames, r = G*G = 64
cells of a frame, T words.
"""

import tempfile
from pathlib import Path

import numpy as np
from keras import ops
from PIL import Image

from s2vt.data.pictures import read_picture
from s2vt.data.text import END
from s2vt.data.video import iterate_frames
from s2vt.data.video_writer import VIDEO_SUFFIXES
from s2vt.features.inception import INPUT_SIZE


def lstm_kernel(captioner):
    """The kernel of the release's LSTM, whose input is [x ; embed(word) ; h]: (H + E + H, 4H)."""
    return ops.concatenate([captioner.K_x, captioner.K_y, captioner.lstm.cell.U])


def lstm(kernel, b, x, word, h, c):
    """One step on x (R, H) and a word's embedding (R, E), one of them zeros: the new h and c, each (R, H)."""
    i, f, candidate, o = ops.split(ops.matmul(ops.concatenate([x, word, h], axis=1), kernel) + b, 4, axis=1)
    c = ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(candidate)
    return ops.sigmoid(o) * ops.tanh(c), c


def query_losses(captioner, cells, pooled, y, max_words=25):
    """Query loss of each descriptor alone, (T, r m + m), nats.

    One batch for the cells of each frame and one for the pooled frames, always all steps, on zero-padded inputs.
    """
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


def caption_logits(captioner, v, y, training=False):
    """Logits by teacher forcing, (B, T, V): the descriptors are read once for each caption, and every step computes
    the output layer.

    Args:
        v: descriptors of each caption's medium, (B, N, D).   y: word indices, (B, T).
    """
    kernel, x = lstm_kernel(captioner), ops.matmul(v, captioner.W_x) + captioner.b_x
    no_x = h = c = ops.zeros_like(x[:, 0])
    no_word, logits = ops.zeros_like(ops.take(captioner.embedding, y[:, 0], axis=0)), []
    for k in range(x.shape[1]):
        h, c = lstm(kernel, captioner.b, captioner.input_dropout(x[:, k], training=training), no_word, h, c)
    word = no_word
    for t in range(y.shape[1]):
        h, c = lstm(kernel, captioner.b, no_x, captioner.input_dropout(word, training=training), h, c)
        logits.append(ops.matmul(captioner.output_dropout(h, training=training), captioner.W_o) + captioner.b_o)
        word = ops.take(captioner.embedding, y[:, t], axis=0)
    return ops.stack(logits, axis=1)


def captions(captioner, v, max_words=25):
    """Captions by greedy decoding, one medium after the other, always all steps: B lists of words, without END.

    Args:
        v: (B, N, D).
    """
    kernel, found = lstm_kernel(captioner), []
    for x in v:
        x, words = ops.matmul(x, captioner.W_x) + captioner.b_x, []
        no_x, no_word = ops.zeros((1, captioner.units)), ops.zeros((1, captioner.embedding_size))
        h, c, word = no_x, no_x, no_word
        for k in range(len(x)):
            h, c = lstm(kernel, captioner.b, x[k : k + 1], no_word, h, c)
        for _ in range(max_words):
            h, c = lstm(kernel, captioner.b, no_x, word, h, c)
            words.append(int(ops.argmax(ops.matmul(h, captioner.W_o) + captioner.b_o)))
            word = captioner.embedding[words[-1]][None]
        found.append(words[: words.index(END)] if END in words else words)
    return found


def cells(path, extractor, num_frames=26):
    """The mixed_10 cells of a medium, (m, G*G, D).

    Every frame of a video is written as a JPEG file of 400 x 300 pixels, a picture as one of its own size. Then the
    sampled ones are read and given to the network, one at a time.
    """
    video = path.suffix in VIDEO_SUFFIXES
    found = []
    with tempfile.TemporaryDirectory() as folder:
        frames = [frame for _, frame in iterate_frames(path)] if video else [read_picture(path)]
        files = [Path(folder, f"{k}.jpg") for k in range(len(frames))]
        for frame, file in zip(frames, files, strict=True):
            picture = Image.fromarray(frame)
            (picture.resize((400, 300)) if video else picture).save(file, quality=95)
        chosen = np.round(np.linspace(0, len(files) - 1, num_frames if video else 1)).astype(int)
        for k in chosen:
            picture = np.asarray(Image.open(files[k]).resize((INPUT_SIZE, INPUT_SIZE)))
            found.extend(extractor.network.predict_on_batch(picture[None]))
    return np.stack(found)
