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


BENCHMARKS = {"saliency": saliency, "start": start}


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
