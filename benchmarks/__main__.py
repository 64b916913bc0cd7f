"""Timings, each beside its own limit and the 2017 release's procedure, measured in one run.

    python -m benchmarks            all
    python -m benchmarks saliency   one

Prints a table and writes benchmarks/results/<name>.json. Medians of several runs; the engine is stated.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent


def median_seconds(call, repeats):
    """Median wall seconds of a call, after one that is not counted."""
    call()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def gemm_rate(repeats=5, size=4096):
    """The machine's own float32 GEMM rate through the engine, operations a second."""
    from keras import ops

    a = ops.convert_to_tensor(np.random.default_rng(0).standard_normal((size, size), np.float32))
    return 2 * size**3 / median_seconds(lambda: ops.convert_to_numpy(ops.matmul(a, a)[0, 0]), repeats)


def saliency(repeats=3, frames=26, cells=64, n=10, V=10_000, H=1300, E=300, D=2048, max_words=25):
    """The paper's size: m r + m = 1,690 descriptors, 10 words (Eq. 14)."""
    from keras import ops

    from s2vt.captioning.model import S2VT
    from s2vt.saliency.information_loss import video_saliency

    rng = np.random.default_rng(0)
    captioner = S2VT(V, H, E)
    captioner.build()
    grid = rng.standard_normal((frames, cells, D), np.float32)
    pooled, y = grid.mean(axis=1), rng.integers(1, V, n)
    R = frames * cells + frames
    kernel = ops.concatenate([captioner.K_x, captioner.K_y, captioner.lstm.cell.U])  # [x ; embed ; h] -> gates

    def ours():
        return video_saliency(captioner.encode, captioner.step, grid, pooled, y)

    def lstm(x, word, h, c):  # the release's one LSTM on [x ; embed(word) ; h], zeros and all
        i, f, candidate, o = ops.split(ops.matmul(ops.concatenate([x, word, h], axis=1), kernel) + captioner.b, 4, 1)
        c = ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(candidate)
        return ops.sigmoid(o) * ops.tanh(c), c

    def release():
        losses = []
        for v in [*grid, pooled]:  # one batch a frame, and one of the pooled frames
            rows = len(v)
            no_word, no_x = ops.zeros((rows, E)), ops.zeros((rows, H))
            h, c = lstm(ops.matmul(v, captioner.W_x) + captioner.b_x, no_word, no_x, no_x)
            word, loss = no_word, []
            for t in range(max_words):  # always all steps
                h, c = lstm(no_x, word, h, c)
                log_q = ops.log_softmax(ops.matmul(h, captioner.W_o) + captioner.b_o)
                w = int(y[t]) if t < n else 0
                loss.append(-ops.convert_to_numpy(log_q[:, w]))
                word = ops.repeat(captioner.embedding[w][None], rows, axis=0)
            losses.append(np.stack(loss[:n]))
        return np.concatenate(losses, axis=1)

    found = ours()
    flat = np.concatenate([found.loss.reshape(n, -1), found.loss_pooled], axis=1)
    np.testing.assert_allclose(flat, release(), rtol=2e-3, atol=2e-3)  # the same numbers
    operations = 2 * R * (D * H + H * 4 * H) + n * 2 * R * (H * 4 * H + H * V)
    rate, seconds, theirs = gemm_rate(), median_seconds(ours, repeats), median_seconds(release, 1)
    return {
        "descriptors": R, "words": n, "seconds": seconds, "share of the GEMM rate": operations / seconds / rate,
        "GEMM GFLOP/s": rate / 1e9, "times the release's procedure": theirs / seconds,
    }  # fmt: skip


def start(repeats=5):
    """Seconds until `--help` of each script has answered."""
    return {
        script: median_seconds(
            lambda script=script: subprocess.run(
                [sys.executable, ROOT / script, "--help"], stdout=subprocess.DEVNULL, check=True
            ),
            repeats,
        )
        for script in ("preprocessing.py", "run_s2vt.py", "visualization.py")
    }


def rendering(num_frames=75, n=10, width=320, height=240, pyplot_frames=3):
    """A saliency video of 10 words, and beside it the release's way: a pyplot figure a frame, saved as PNG.

    Both start from decoded frames and draw all words on canvases of about the same size. The release then encodes 25
    frames a second of its 8 with x264's "veryslow".
    """
    import tempfile

    from PIL import Image

    from s2vt.data.media import Geometry, VideoWriter
    from s2vt.data.synthetic import Renderer, sample_scene
    from s2vt.saliency.explanation import phrases_at
    from s2vt.saliency.video import saliency_frames, saliency_video

    rng = np.random.default_rng(0)
    renderer = Renderer(sample_scene(rng, 2, True), height, width)
    frames = [renderer.frame(time)[0] for time in np.linspace(0, 1, num_frames)]
    words, loss = [f"word{t}" for t in range(n)], rng.random((n, 26, 8, 8), np.float32)
    sentence = (words, phrases_at(words, [(t,) for t in range(n)]), loss, loss.mean(axis=(2, 3)))
    place = (np.linspace(0, (num_frames - 1) / 25, 26), Geometry.of(width, height))

    with tempfile.TemporaryDirectory() as folder:
        pngs = [f"{folder}/{k:06d}.png" for k in range(pyplot_frames)]

        def clip():
            return ((k / 25, frame) for k, frame in enumerate(frames))

        def draw():
            for _ in saliency_frames(clip(), 25, *sentence, *place, limit=(1080, 810))[1]:
                pass

        def write():
            saliency_video(f"{folder}/ours.mp4", clip(), 25, *sentence, *place, limit=(1080, 810))

        def release_draws():
            for k, path in enumerate(pngs):
                _pyplot_figure(frames[k], 1 - loss[:, k], words, path)

        def release_encodes():
            pictures = [np.asarray(Image.open(path).convert("RGB")) for path in pngs]
            with VideoWriter(
                f"{folder}/release.mp4", *pictures[0].shape[1::-1], 25, crf=23, preset="veryslow"
            ) as video:
                for k in range(pyplot_frames * 25 // 8):
                    video.write(pictures[k * 8 // 25])

        ours = [median_seconds(call, 3) / num_frames for call in (draw, write)]
        theirs = [median_seconds(call, 1) / pyplot_frames for call in (release_draws, release_encodes)]
    return {
        "words": n, "drawing, ms a frame": 1000 * ours[0], "release's drawing, ms a frame": 1000 * theirs[0],
        "times the release's drawing": theirs[0] / ours[0],
        "drawing and encoding, ms a frame": 1000 * ours[1], "release's both, ms a frame": 1000 * sum(theirs),
        "times the release's both": sum(theirs) / ours[1],
    }  # fmt: skip


def _pyplot_figure(frame, e, words, path, side=300):
    """One frame as the 2017 release draws it: a subplot for each word, its map in jet over the picture; a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from PIL import Image

    picture = Image.fromarray(frame).resize((side, side), Image.Resampling.LANCZOS)
    rows = int(np.sqrt(len(words)))
    columns = -(-len(words) // rows)
    figure = pyplot.figure(figsize=(columns * 3, rows * 3), facecolor="black", dpi=150)
    for t, word in enumerate(words):
        pyplot.subplot(rows, columns, t + 1)
        pyplot.imshow(picture)
        padded = np.pad(np.uint8(e[t] * 255), 1, constant_values=int(e[t].min() * 255))
        large = Image.fromarray(padded).resize((side, side), Image.Resampling.BICUBIC)
        large = large.resize((int(side * 1.2), int(side * 1.2)), Image.Resampling.BICUBIC)
        saliency = large.crop((int(side * 0.1), int(side * 0.1), int(side * 1.1), int(side * 1.1)))
        pyplot.imshow(np.asarray(saliency) / 255, vmin=0, vmax=1, alpha=0.5, cmap="jet")
        size = 12 + (columns - 2) * 2
        pyplot.text(6, 18, word, color="black", backgroundcolor="white", fontsize=size)
        pyplot.axis("off")
    pyplot.tight_layout(pad=0.02, w_pad=0.02, h_pad=0.02)
    pyplot.subplots_adjust(hspace=0.02, wspace=0.02)
    pyplot.savefig(path, bbox_inches="tight", facecolor=figure.get_facecolor(), dpi=90, edgecolor="none")
    pyplot.close()


BENCHMARKS = {"saliency": saliency, "start": start, "rendering": rendering}


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.split("\n")[0])
    parser.add_argument("name", nargs="?", choices=sorted(BENCHMARKS), help="default: all")
    options = parser.parse_args()
    from s2vt.command_line import load_engine
    from s2vt.data.files import write_json

    load_engine()
    import keras

    machine = f"{platform.machine()}, {os.cpu_count()} cores, Keras {keras.__version__} on {keras.backend.backend()}"
    for name in [options.name] if options.name else BENCHMARKS:
        figures = BENCHMARKS[name]()
        write_json(ROOT / "benchmarks" / "results" / f"{name}.json", {"machine": machine, **figures})
        print(f"\n| {name} ({machine}) | |\n|---|---|")
        for key, value in figures.items():
            print(f"| {key} | {value:,.3f} |" if isinstance(value, float) else f"| {key} | {value:,} |")


if __name__ == "__main__":
    main()
