"""The 2017 release's procedures, with the weights of this project's captioner.

Its visualisation explains every frame of a video: `cells` of all frames, `maps` of them (`averaged` over 3 frames,
`query_losses`, `saliency`), and a `figure` of each frame.

Letters: R rows, B captions, N descriptors, D=2048, H LSTM units, E word embedding, V vocabulary, m frames, r = G*G = 64
cells of a frame, T words.
"""

import math
import tempfile
from pathlib import Path

import numpy as np
from keras import ops
from PIL import Image
from scipy.ndimage import convolve1d, gaussian_filter

from s2vt.data.pictures import read_picture
from s2vt.data.text import END
from s2vt.data.video import iterate_frames
from s2vt.data.video_writer import VIDEO_SUFFIXES
from s2vt.features.inception import GRID


def lstm_kernel(captioner):
    """The kernel of the release's LSTM, whose input is [x ; embed(word) ; h]: (H + E + H, 4H)."""
    return ops.concatenate([captioner.K_x, captioner.K_y, captioner.lstm.cell.U])


def lstm(kernel, b, x, word, h, c):
    """One step on x (R, H) and a word's embedding (R, E), one of them zeros: the new h and c, each (R, H)."""
    i, f, candidate, o = ops.split(ops.matmul(ops.concatenate([x, word, h], axis=1), kernel) + b, 4, axis=1)
    c = ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(candidate)
    return ops.sigmoid(o) * ops.tanh(c), c


def query_losses(captioner, cells, pooled, y, max_words=25):
    """Query loss of each descriptor alone, (T, r m + m), nats; without pooled frames (None), (T, r m).

    One batch for the cells of each frame and one for the pooled frames, always all steps, on zero-padded inputs. The
    visualisation has no pooled frames; Eq. 13 has.
    """
    kernel, losses = lstm_kernel(captioner), []
    for v in [*cells, *([] if pooled is None else [pooled])]:
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

    Args:
        num_frames: m of a video; None: all of its frames, as the visualisation reads them.
    """
    video = path.suffix in VIDEO_SUFFIXES
    found = []
    with tempfile.TemporaryDirectory() as folder:
        frames = [frame for _, frame in iterate_frames(path)] if video else [read_picture(path)]
        files = [Path(folder, f"{k}.jpg") for k in range(len(frames))]
        for frame, file in zip(frames, files, strict=True):
            picture = Image.fromarray(frame)
            (picture.resize((400, 300)) if video else picture).save(file, quality=95)
        num_frames = (num_frames or len(files)) if video else 1
        chosen = np.round(np.linspace(0, len(files) - 1, num_frames)).astype(int)
        for k in chosen:
            picture = np.asarray(Image.open(files[k]).resize((GRID.input_size, GRID.input_size)))
            found.extend(extractor.network.predict_on_batch(picture[None]))
    return np.stack(found)


def averaged(cells):
    """Descriptors averaged over 3 neighbouring frames, (m, G*G, D)."""
    return convolve1d(cells, np.ones(3, np.float32) / 3, axis=0)


def maps(captioner, cells, y, max_words=25):
    """Saliency of each word, (T, m, G, G), from the descriptors of every frame, (m, G*G, D)."""
    losses = query_losses(captioner, averaged(cells), None, y, max_words)
    G = math.isqrt(cells.shape[1])
    return saliency(losses.reshape(len(y), len(cells), G, G))


def saliency(losses):
    """Saliency of each word, (T, m, G, G), from query losses of that shape: word by word and frame by frame.

    Each word to [0, 1] over the clip, less its mean; each frame to [0, 1] over all words; a Gaussian of 2 frames and 1
    cell.
    """
    e = -np.asarray(losses)
    for t in range(len(e)):
        e[t] = (e[t] - e[t].min()) / (e[t].max() - e[t].min())
        e[t] = np.clip(e[t] - e[t].mean(), 0, 1)
    for k in range(e.shape[1]):
        e[:, k] = (e[:, k] - e[:, k].min()) / (e[:, k].max() - e[:, k].min())
    for t in range(len(e)):
        e[t] = gaussian_filter(e[t], sigma=[2, 1, 1])
    return e


def saliency_map(e, side=300):
    """A word's map of a frame, (side, side) in [0, 1], from e (G, G): 8 bits, a ring of the minimum, two resizes."""
    padded = np.pad(np.uint8(e * 255), 1, constant_values=int(e.min() * 255))
    large = Image.fromarray(padded).resize((side, side), Image.Resampling.BICUBIC)
    large = large.resize((int(side * 1.2), int(side * 1.2)), Image.Resampling.BICUBIC)
    return np.asarray(large.crop((int(side * 0.1), int(side * 0.1), int(side * 1.1), int(side * 1.1)))) / 255


def figure(frame, e, words, path, side=300):
    """One frame as a PNG by pyplot: a subplot for each word, its map in jet over the picture."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    picture = Image.fromarray(frame).resize((side, side), Image.Resampling.LANCZOS)
    rows = int(np.sqrt(len(words)))
    columns = -(-len(words) // rows)
    page = pyplot.figure(figsize=(columns * 3, rows * 3), facecolor="black", dpi=150)
    for t, word in enumerate(words):
        pyplot.subplot(rows, columns, t + 1)
        pyplot.imshow(picture)
        pyplot.imshow(saliency_map(e[t], side), vmin=0, vmax=1, alpha=0.5, cmap="jet")
        size = 12 + (columns - 2) * 2
        pyplot.text(6, 18, word, color="black", backgroundcolor="white", fontsize=size)
        pyplot.axis("off")
    pyplot.tight_layout(pad=0.02, w_pad=0.02, h_pad=0.02)
    pyplot.subplots_adjust(hspace=0.02, wspace=0.02)
    pyplot.savefig(path, bbox_inches="tight", facecolor=page.get_facecolor(), dpi=90, edgecolor="none")
    pyplot.close()
