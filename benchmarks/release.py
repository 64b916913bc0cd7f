"""The 2017 release's procedures, written out plainly, with the weights of today's captioner.

Letters: R rows, B captions, N descriptors, D=2048, H LSTM units, E word embedding, V vocabulary, m frames, r=64 cells
of a frame, G*G=64 of them in a grid, T words.
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


def caption_logits(captioner, v, y, training=False):
    """Teacher forcing: one reading a caption, every step one after the other, the output layer at every step.

    v: one row of descriptors a caption, (B, N, D).   y: (B, T) word indices. -> logits (B, T, V).
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
    """Greedy decoding, one medium after the other, always all steps: v (B, N, D) -> B lists of words, without END."""
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
    """A medium's mixed_10: every frame of a video is written as a JPEG of 400 x 300 and read again, a picture as a JPEG
    of its own size; then the network sees one at a time -> (m, G*G, D)."""
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
