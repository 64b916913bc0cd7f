"""Seconds of saliency over the number of frames, words and captions, beside straight lines; and the seconds of
reading one second of a video over the number of frames before it."""

import tempfile

import numpy as np

from benchmarks.saliency import losses, random_captioner, random_clip
from benchmarks.timing import RESULTS, median_seconds


def measure(repeats=3, frames=4, n=5, steps=6, V=10_000, H=1300, E=300, D=2048):
    """Grows one number at a time, from one clip of few frames and one caption of few words.

    The captions share no prefix. The frames that are not asked for come before the last second of a file (`--start`)
    that has a keyframe every 250 frames. Draws results/scaling.png.
    """
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
    with tempfile.TemporaryDirectory() as folder:
        axes["frames not asked for"] = 250 * grown - 25, [_last_second(f"{folder}/{k}.mp4", 250 * k) for k in grown]
        for name, (sizes, calls) in axes.items():
            seconds = np.array(median_seconds(*calls, repeats=repeats))
            line = np.polyval(np.polyfit(sizes, seconds, 1), sizes)
            points[name] = sizes, seconds, line
            for k, s, on_line in zip(sizes, seconds, line, strict=True):
                rows[f"{k} {name}"] = {"seconds": float(s), "over the line": float(s / on_line)}
    _draw(points, f"{frames} frames, {n} words, 1 caption unless varied")
    return rows


def _last_second(path, num_frames, width=320, height=240):
    """Writes a clip of 25 frames per second; returns a call that reads its last second."""
    from s2vt.data.video import iterate_frames
    from s2vt.data.video_writer import VideoWriter

    picture = np.random.default_rng(0).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    picture = picture.repeat(8, axis=0).repeat(8, axis=1)
    with VideoWriter(path, width, height, 25) as video:
        for k in range(num_frames):
            video.write(np.roll(picture, k, axis=1))
    return lambda: [time for time, _ in iterate_frames(path, start=num_frames / 25 - 1)]


def _draw(points, note):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 2.8), layout="constrained")
    for axis, (name, (sizes, seconds, line)) in zip(figure.subplots(1, len(points)), points.items(), strict=True):
        axis.plot(sizes, line, color="#c0c0c0")
        axis.plot(sizes, seconds, "o", color="#1a1a1a")
        axis.set(xlabel=name, ylabel="seconds", xlim=(0, None), ylim=(0, 1.1 * seconds.max()))
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(note, fontsize="small")
    RESULTS.mkdir(exist_ok=True)
    figure.savefig(RESULTS / "scaling.png", dpi=150)
