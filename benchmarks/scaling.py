"""What saliency costs as frames, words and captions grow, in seconds and over a straight line through all points."""

import numpy as np

from benchmarks.saliency import losses, random_captioner, random_clip
from benchmarks.timing import RESULTS, median_seconds


def measure(repeats=3, frames=4, n=5, steps=6, V=10_000, H=1300, E=300, D=2048):
    """One axis grows at a time, from one clip of few frames and one caption of few words. The captions have no prefix
    in common. Draws results/scaling.png."""
    rng = np.random.default_rng(0)
    captioner, words = random_captioner(V, H, E, D), 1 + rng.permutation(V - 1)

    def call(m, T, S):
        clip, sentences = random_clip(m, D), words[: S * T].reshape(S, T)
        return lambda: losses(captioner, clip, sentences)

    grown = np.arange(1, steps + 1)
    axes = {  # name: (sizes, calls)
        "frames": (frames * grown, [call(k, n, 1) for k in frames * grown]),
        "words": (n * grown, [call(frames, k, 1) for k in n * grown]),
        "captions": (grown, [call(frames, n, k) for k in grown]),
    }
    rows, points = {}, {}
    for name, (sizes, calls) in axes.items():
        seconds = np.array(median_seconds(*calls, repeats=repeats))
        line = np.polyval(np.polyfit(sizes, seconds, 1), sizes)
        points[name] = sizes, seconds, line
        for k, s, on_line in zip(sizes, seconds, line, strict=True):
            rows[f"{k} {name}"] = {"seconds": float(s), "over the line": float(s / on_line)}
    _draw(points, f"{frames} frames, {n} words, 1 caption where not said otherwise")
    return rows


def _draw(points, note):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3), layout="constrained")
    for axis, (name, (sizes, seconds, line)) in zip(figure.subplots(1, len(points)), points.items(), strict=True):
        axis.plot(sizes, line, color="#c0c0c0")
        axis.plot(sizes, seconds, "o", color="#1a1a1a")
        axis.set(xlabel=name, ylabel="seconds", xlim=(0, None), ylim=(0, None))
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(note, fontsize="small")
    RESULTS.mkdir(exist_ok=True)
    figure.savefig(RESULTS / "scaling.png", dpi=150)
