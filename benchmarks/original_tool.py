"""Areas of deletion beside those that Quantus itself computes, for the same black box, picture and map.

Quantus does not install beside Keras 3, so this runs in an environment of its own, from the repository's folder:

    python -m venv other
    other/bin/pip install torch quantus
    other/bin/python -m benchmarks.original_tool

The black box is additive: log P of one of four words, whose logits are sums over the pixels of 8 x 8 cells of 8 x 8
pixels. Both tools delete the most salient cells first, one at a time, and set their pixels to the least value of the
picture (Quantus' "black"). Quantus' areas leave out the point before the first deletion and are not divided by the
number of steps; ours are drawn over the same points here, and both are divided.
"""

from importlib.metadata import version

import numpy as np

from s2vt.saliency import deletion

SIDE, PIXELS, WORDS = 8, 8, 4


def log_p(pictures, weights):
    """log P of each word: pictures (B, S, S), weights (WORDS, S, S) -> (B, WORDS)."""
    logits = np.einsum("bij,wij->bw", np.asarray(pictures, float), weights)
    logits -= logits.max(axis=1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def ours(picture, saliency, weights, word, preset):
    """(K+1,) log P of the word at each point of our deletion curve, and how many cells are deleted there."""
    counts = deletion.step_counts(SIDE * SIDE, preset)
    cells = saliency.reshape(1, SIDE, SIDE)
    kept = deletion.kept_cells(cells, "space", SIDE * SIDE, counts, "deletion", np.arange(SIDE * SIDE))
    kept = np.kron(kept.reshape(-1, SIDE, SIDE), np.ones((PIXELS, PIXELS)))
    return log_p(np.where(kept, picture, picture.min()), weights)[:, word], counts


def theirs(metric, picture, saliency, weights, word):
    """A curve of Quantus."""
    import torch

    class BlackBox(torch.nn.Module):
        def forward(self, x):
            return torch.from_numpy(log_p(x[:, 0].numpy(), weights))

    pixels = np.kron(saliency.reshape(SIDE, SIDE), np.ones((PIXELS, PIXELS)))
    (curve,) = metric(
        model=BlackBox().eval(), x_batch=picture[None, None], y_batch=np.array([word]), a_batch=pixels[None, None],
        softmax=False, channel_first=True, device="cpu",
    )  # fmt: skip
    return np.array(curve)


def measure(seed=0):
    """{definition: {whose: area}}, nats."""
    import quantus

    rng, S = np.random.default_rng(seed), SIDE * PIXELS
    picture, weights = rng.random((S, S)), rng.normal(size=(WORDS, S, S)) / 8
    saliency, usual = rng.normal(size=SIDE * SIDE), {"abs": False, "normalise": False, "disable_warnings": True}
    rows = {}
    regions = quantus.RegionPerturbation(patch_size=PIXELS, regions_evaluation=8, **usual)
    curve, counts = ours(picture, saliency, weights, 1, deletion.PRESETS["quantus"])
    rows["RegionPerturbation, log P lost, 8 of 64 cells"] = (
        deletion.area(curve[0] - curve[1:], counts[1:] - 1),
        np.trapezoid(theirs(regions, picture, saliency, weights, 1)) / 7,
    )
    flipping = quantus.PixelFlipping(features_in_step=PIXELS * PIXELS, **usual)
    curve, counts = ours(picture, saliency, weights, 1, deletion.Preset("all"))
    rows["PixelFlipping, log P, 64 of 64 cells"] = (
        deletion.area(curve[1:], counts[1:] - 1),
        np.trapezoid(theirs(flipping, picture, saliency, weights, 1)) / 63,
    )
    return {name: dict(zip(("ours", "Quantus"), map(float, areas), strict=True)) for name, areas in rows.items()}


if __name__ == "__main__":
    print(f"Quantus {version('quantus')}")
    for name, areas in measure().items():
        print(f"{name}: " + ", ".join(f"{whose} {area:.6f}" for whose, area in areas.items()))
