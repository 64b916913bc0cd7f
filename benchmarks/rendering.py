"""A saliency video of 10 words, beside the encoder alone and the release's way: a pyplot figure for each frame."""

import tempfile

import numpy as np

from benchmarks import release
from benchmarks.timing import median_seconds, peak_memory

LIMIT = (1080, 810)  # of the canvas, pixels: about the size of the release's figures


def measure(num_frames=75, n=10, width=320, height=240, pyplot_frames=3, repeats=3):
    """Time per frame of drawing, and of drawing and encoding, from decoded frames.

    The release encodes 25 frames a second of its 8 with x264's "veryslow"; its times are of `pyplot_frames` frames.
    """
    from s2vt.data.phrases import phrases_at
    from s2vt.data.video_writer import VideoWriter
    from s2vt.rendering.drawing import Look, Shown
    from s2vt.rendering.video import saliency_frames, saliency_video

    frames, explanation = _explained_clip(num_frames, n, width, height)
    phrases = phrases_at(explanation.words, [(t,) for t in range(n)])
    shown = [Shown(explanation, phrases, Look(limit=LIMIT))]

    def clip():
        return ((k / 25, frame) for k, frame in enumerate(frames))

    with tempfile.TemporaryDirectory() as folder:
        canvas, pictures = saliency_frames(clip(), 25, shown)
        pictures = list(pictures)

        def draw():
            for _ in saliency_frames(clip(), 25, shown)[1]:
                pass

        def encode():
            with VideoWriter(f"{folder}/pictures.mp4", *canvas, 25, preset="veryfast") as video:
                for picture in pictures:
                    video.write(picture)

        def write():
            saliency_video(f"{folder}/ours.mp4", clip(), 25, shown)

        memories = peak_memory(draw, write)
        *seconds, of_encoder = median_seconds(draw, write, encode, repeats=repeats)
        of_release = median_seconds(*_release(folder, frames[:pyplot_frames], explanation), repeats=repeats)
    theirs = np.cumsum(np.array(of_release) / pyplot_frames).tolist()
    rows = {}
    for name, taken, memory, of_theirs in zip(
        ("drawing", "drawing and encoding"), seconds, memories, theirs, strict=True
    ):
        rows[name] = {
            "words": n,
            "seconds": taken,
            "frames/s": num_frames / taken,
            "ms a frame": 1000 * taken / num_frames,
            "extra memory, MB": memory / 2**20,
            "of the encoder alone": of_encoder / taken,
            "release's ms a frame": 1000 * of_theirs,
            "times the release": of_theirs / (taken / num_frames),
        }
    return rows


def _explained_clip(num_frames, n, width, height):
    """Frames (num_frames, H, W, 3) of moving shapes, and an Explanation of n words with random evidence."""
    from s2vt.data.geometry import Geometry
    from s2vt.saliency.explanation import Explanation
    from s2vt.saliency.maps import Evidence
    from s2vt.synthetic.drawing import Renderer
    from s2vt.synthetic.scenes import sample_scene

    rng = np.random.default_rng(0)
    renderer = Renderer(sample_scene(rng, 2, True), height, width)
    frames = [renderer.frame(time)[0] for time in np.linspace(0, 1, num_frames)]
    cells = -rng.random((n, 26, 8, 8), np.float32)
    times = np.linspace(0, (num_frames - 1) / 25, 26)
    words = tuple(f"word{t}" for t in range(n))
    maps = {"nll": Evidence("nll", cells, cells.mean(axis=(2, 3)))}
    return frames, Explanation(words, maps, Geometry.of(width, height), times=times)


def _release(folder, frames, explanation):
    """The release's two steps as calls: maps and a PNG for each of a few frames, and a video of these."""
    from PIL import Image

    from s2vt.data.video_writer import VideoWriter

    pngs = [f"{folder}/{k:06d}.png" for k in range(len(frames))]
    losses = -explanation.maps["nll"].cells[:, : len(frames)]

    def draw():
        e = release.saliency(losses)
        for k, path in enumerate(pngs):
            release.figure(frames[k], e[:, k], explanation.words, path)

    def encode():
        pictures = [np.asarray(Image.open(path).convert("RGB")) for path in pngs]
        size = pictures[0].shape[1::-1]
        with VideoWriter(f"{folder}/release.mp4", *size, 25, crf=23, preset="veryslow") as video:
            for k in range(len(pngs) * 25 // 8):
                video.write(pictures[k * 8 // 25])

    return draw, encode
