"""Saliency of one sentence at the paper's size, beside the machine's own GEMM rate and the release's procedure."""

import numpy as np

from benchmarks import release
from benchmarks.timing import GEMM_OPERATIONS, gemm, median_seconds, peak_memory


def measure(repeats=5, frames=26, long_frames=300, n=10, V=10_000, H=1300, E=300, D=2048):
    """m r + m = 1,690 descriptors and 10 words (Eq. 14); and the same of a clip of which 300 frames are looked at."""
    from s2vt.captioning.model import S2VT
    from s2vt.saliency.information_loss import video_saliency

    rng = np.random.default_rng(0)
    captioner = S2VT(V, H, E)
    captioner.build({"v": (None, None, D)})
    y, rows = rng.integers(1, V, n), {}
    for m in (frames, long_frames):
        cells = rng.standard_normal((m, 64, D), np.float32)
        pooled = cells.mean(axis=1)

        def ours(cells=cells, pooled=pooled):
            return video_saliency(captioner.encode, captioner.step, cells, pooled, y)

        memory = peak_memory(ours)
        calls = [ours, gemm()]
        if m == frames:
            calls.append(lambda cells=cells, pooled=pooled: release.video_saliency(captioner, cells, pooled, y))
            found = ours()
            flat = np.concatenate([found.loss.reshape(n, -1), found.loss_pooled], axis=1)
            np.testing.assert_allclose(flat, calls[-1](), rtol=2e-3, atol=2e-3)  # the same numbers
        seconds, of_gemm, *theirs = median_seconds(*calls, repeats=repeats if m == frames else 1)
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
    return rows
