"""Saliency of one sentence at the paper's size, beside the machine's own GEMM rate and the release's procedure."""

import numpy as np

from benchmarks import release
from benchmarks.timing import GEMM_OPERATIONS, gemm, median_seconds, peak_memory


def measure(repeats=5, frames=26, long_frames=300, n=10, V=10_000, H=1300, E=300, D=2048):
    """r m + m = 1,690 descriptors and n words (Eq. 14); the same for a clip with 300 sampled frames.

    And the maps of the release's visualisation of a clip of 26 frames, by its procedure and by ours
    (`saliency.normalize=release`).
    """
    captioner, rows = random_captioner(V, H, E, D), {}
    y = np.random.default_rng(1).integers(1, V, n)
    clips = {m: random_clip(m, D) for m in (frames, long_frames)}
    memories = peak_memory(*(lambda clip=clip: losses(captioner, clip, [y]) for clip in clips.values()))
    for (m, clip), memory in zip(clips.items(), memories, strict=True):
        calls = [lambda clip=clip: losses(captioner, clip, [y]), gemm()]
        if m == frames:
            calls.append(lambda clip=clip: release.query_losses(captioner, *clip, y))
            (found,) = calls[0]()
            flat = np.concatenate([found.cells["nll"].reshape(n, -1), found.frames["nll"]], axis=1)
            np.testing.assert_allclose(flat, calls[-1](), rtol=2e-3, atol=2e-3)  # the same numbers
        seconds, of_gemm, *theirs = median_seconds(*calls, repeats=repeats)
        R = m * 64 + m
        operations = 2 * R * (D * H + H * 4 * H) + n * 2 * R * (H * 4 * H + H * V)
        rows[f"{R:,} descriptors"] = {
            "seconds": seconds,
            "descriptors/s": R / seconds,
            "extra memory, MB": memory / 2**20,
            "GFLOP/s": operations / seconds / 1e9,
            "of the GEMM rate": operations / seconds / (GEMM_OPERATIONS / of_gemm),
            "times the release": theirs[0] / seconds if theirs else None,
        }
    cells = clips[frames][0]
    calls = [lambda: release_maps(captioner, cells, y), lambda: release.maps(captioner, cells, y)]
    np.testing.assert_allclose(*(call() for call in calls), atol=0.02)  # the same maps
    seconds, theirs = median_seconds(*calls, repeats=repeats)
    rows[f"release's maps, {frames} frames"] = {"seconds": seconds, "times the release": theirs / seconds}
    return rows


def release_maps(captioner, cells, y):
    """Saliency in the release's steps, (T, m, G, G), from descriptors of every frame, (m, G*G, D)."""
    from s2vt.features.every_frame import average_frames
    from s2vt.saliency.information_loss import information_loss
    from s2vt.saliency.release import saliency

    averaged = np.stack(list(average_frames(cells)))
    (found,) = information_loss(captioner.encode, captioner.step, averaged, [y])
    return saliency(-found.cells["nll"])


def random_captioner(V=10_000, H=1300, E=300, D=2048):
    """An untrained S2VT, by default of the paper's size."""
    from s2vt.captioning.s2vt import S2VT

    captioner = S2VT(V, H, E)
    captioner.build({"v": (None, None, D)})
    return captioner


def random_clip(m=26, D=2048):
    """Random descriptors of m frames: cells (m, 64, D), pooled (m, D)."""
    cells = np.random.default_rng(0).standard_normal((m, 64, D), np.float32)
    return cells, cells.mean(axis=1)


def losses(captioner, clip, sentences):
    """InformationLoss of each sentence about a clip of `random_clip`, the query loss alone."""
    from s2vt.saliency.information_loss import information_loss

    cells, pooled = clip
    return information_loss(captioner.encode, captioner.step, cells, sentences, pooled)
