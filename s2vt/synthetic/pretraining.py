"""Training of the backbone of the synthetic sets, InceptionV3 `inception-shapes`, from random weights.

Targets are labels of rendered frames: which coloured shapes are in view, roughly where, how big, whether fading, and on
which background. First on 139 x 139 crops at the scale of 299 x 299 frames (a fifth of the cost), then on whole frames,
last on windows of 2 x 2 cells of whole frames. The labels of a window are those of the part of the frame that it
covers, so that a cell describes that part and not all of its large receptive field. Labels of crops and windows are
made from the renderer's boxes; captioners and saliency never use boxes.

    python -m s2vt.synthetic.pretraining --size 139 --window 3 --steps 2400 --output stage1.npz
    python -m s2vt.synthetic.pretraining --size 299 --window 8 --steps 470 --batch_size 16 --learning_rate 2e-4 \
        --weights stage1.npz --output stage2.npz
    python -m s2vt.synthetic.pretraining --size 299 --window 2 --steps 200 --batch_size 16 --learning_rate 3e-4 \
        --weights stage2.npz --output DATA/weights/inception-shapes.npz

40, 18 and 8 minutes on two CPU cores (33 crops, 7 frames per second). The shipped file was trained in more sittings: at
139 pixels 1,600 steps as above after 1,180 at other rates and without the choice of crops in `_corner` (the first 900
of them at 1e-3, which taught colours but no shapes); at 299 pixels 320 steps, then 150 and the last 200 in
mixed_bfloat16. The commands have not been run as a whole from random weights.

Letters: B pictures, S input side, L labels, K windows of a picture, D channels.
"""

import itertools
import math
import time
from pathlib import Path

import numpy as np
from PIL import Image

from s2vt import command_line
from s2vt.features.inception import GRID, save_weights, trainable
from s2vt.synthetic.drawing import COLOURS, SHAPES, Renderer
from s2vt.synthetic.scenes import BACKGROUNDS, sample_scene

HEIGHT, WIDTH = 240, 320  # of the rendered frames, pixels
PLACES = ("left", "right", "top", "bottom")
LABELS = (
    [f"{c} {s}" for c in COLOURS for s in SHAPES]
    + [f"{c} {p}" for c in COLOURS for p in PLACES]
    + [f"{c} {z}" for c in COLOURS for z in ("small", "big", "fading")]
    + list(BACKGROUNDS)
    + [f"any {s}" for s in SHAPES]  # without these, shapes are told apart some 20,000 crops later
)
INDEX = {name: i for i, name in enumerate(LABELS)}
PLACED = [INDEX[f"{colour} {place}"] for colour in COLOURS for place in PLACES]
UNKNOWN = -1.0  # a label that the loss leaves out: of an object cut by the crop's edge, for instance
REPORTED = {"place": PLACES, "size": ("small", "big", "fading"), "ground": BACKGROUNDS}  # labels by their last word


def labels_of(scene, time, boxes, seen, crop, window=None):
    """Labels of a crop, or of a window of it: 1, 0 or UNKNOWN, (L,).

    Args:
        time: of the frame, 0 to 1.   seen: share of each shape that is seen.
        boxes: of the scene's shapes.   crop, window: (x1, y1, x2, y2). All in pixels of the squashed frame. An object
            counts if the window holds it; "left", "top", ... refer to the crop.
    """
    left, top, right, bottom = crop
    x1, y1, x2, y2 = window or crop
    labels = np.zeros(len(LABELS), np.float32)
    labels[INDEX[scene.background]] = 1
    for shape, box, share in zip(scene.shapes, boxes, seen, strict=True):
        if box is None:
            continue
        inside = max(0, min(box[2], x2) - max(box[0], x1)) * max(0, min(box[3], y2) - max(box[1], y1))
        inside /= (box[2] - box[0]) * (box[3] - box[1])
        value = 1.0 if share > 0.3 and inside > 0.6 else UNKNOWN if inside > 0.1 else 0.0
        u = ((box[0] + box[2]) / 2 - left) / (right - left)
        v = ((box[1] + box[3]) / 2 - top) / (bottom - top)
        _, _, radius, _, opacity = shape.at(time)
        facts = {
            shape.shape: True, "left": u < 0.36, "right": u > 0.64, "top": v < 0.36, "bottom": v > 0.64,
            "small": radius < 0.14, "big": radius > 0.19, "fading": 0.1 < opacity < 0.9,
        }  # fmt: skip
        for fact, holds in facts.items():
            index = INDEX[f"{shape.colour} {fact}"]
            if holds and labels[index] != 1:
                labels[index] = value
        index = INDEX[f"any {shape.shape}"]
        labels[index] = max(labels[index], value) if value != UNKNOWN or labels[index] == 1 else UNKNOWN
    return labels


def windows(size, cells):
    """The parts of an S x S input that windows of cells x cells cover, row by row: [(x1, y1, x2, y2)].

    A cell covers the 32 pixels around its receptive field's centre (`Grid`); the whole grid the whole input.
    """
    grid = 1 + (size - 75) // GRID.stride  # 139: 3, 299: 8
    if cells == grid:
        return [(0, 0, size, size)]
    starts = GRID.centres()[: grid - cells + 1] + 0.5 - GRID.stride / 2
    side = GRID.stride * cells
    return [(x, y, x + side, y + side) for y in starts for x in starts]


def examples(size, cells, seed, places=True, crops_per_frame=2, frames_per_ground=4):
    """Yields (picture (S, S, 3) float32, pixels 0 ... 255, labels of its windows (K, L)) without end.

    Args:
        size: S.   cells: side of the windows, in cells.
        places: whether the labels of PLACES are known.
    """
    rng = np.random.default_rng(seed)
    while True:
        scene = sample_scene(rng, 1, moving=True)
        renderer = Renderer(scene, HEIGHT, WIDTH)
        for _ in range(frames_per_ground):
            other = sample_scene(rng, int(rng.choice([1, 2, 3], p=[0.2, 0.3, 0.5])), moving=True)
            renderer.scene = scene = type(scene)(
                scene.background, other.shapes, scene.texture_seed, scene.light, scene.brightness
            )
            moment = rng.random()
            if rng.random() < 0.3:  # moments of appearing and disappearing are drawn more often than others
                moment = np.clip(scene.shapes[0].moment + rng.uniform(-0.06, 0.06), 0, 1)
            picture, boxes, seen = renderer.frame(moment)
            sx, sy = GRID.input_size / WIDTH, GRID.input_size / HEIGHT
            boxes = [b and (b[0] * sx, b[1] * sy, b[2] * sx, b[3] * sy) for b in boxes]
            squashed = Image.fromarray(picture).resize((GRID.input_size, GRID.input_size), Image.Resampling.BILINEAR)
            pixels = np.asarray(squashed, np.float32)
            for _ in range(crops_per_frame if size < GRID.input_size else 1):
                x, y = _corner(rng, boxes, size)
                crop = (x, y, x + size, y + size)
                parts = [(x + a, y + b, x + c, y + d) for a, b, c, d in windows(size, cells)]
                labels = np.stack([labels_of(scene, moment, boxes, seen, crop, part) for part in parts])
                if not places:
                    labels[:, PLACED] = UNKNOWN
                yield pixels[y : y + size, x : x + size], labels


def _corner(rng, boxes, size):
    """Upper left corner of a crop; nine crops in ten hold a whole object."""
    boxes = [box for box in boxes if box and max(box[2] - box[0], box[3] - box[1]) < size]
    low, high = np.zeros(2), np.full(2, GRID.input_size - size)
    if boxes and rng.random() < 0.9:
        x1, y1, x2, y2 = boxes[rng.integers(len(boxes))]
        low, high = np.maximum(low, (x2 - size, y2 - size)), np.minimum(high, (x1, y1))
    return rng.integers(np.ceil(low).astype(int), np.maximum(high, np.ceil(low)).astype(int) + 1)


def batches(size, cells, batch_size, seed, places=True, pool_size=256):
    """Yields batches (pictures (B, S, S, 3), labels (B, K, L)) without end, drawn from a pool of several scenes."""
    rng = np.random.default_rng(seed)
    source = examples(size, cells, seed, places)
    pool = list(itertools.islice(source, pool_size))
    while True:
        picks = rng.choice(pool_size, batch_size, replace=False)
        yield np.stack([pool[i][0] for i in picks]), np.stack([pool[i][1] for i in picks])
        for i in picks:
            pool[i] = next(source)


def main(arguments=None):
    options = _parse(arguments)
    import keras

    keras.utils.set_random_seed(options.seed)
    keras.config.set_dtype_policy(options.precision)
    network, head, model = _build(options)
    kind, places = (options.size, options.window), not options.no_places
    held_out = list(itertools.islice(batches(*kind, 32, options.seed + 1_000_003, places), 3))
    pictures, labels = (np.concatenate(arrays) for arrays in zip(*held_out, strict=True))
    source = batches(*kind, options.batch_size, options.seed, places)
    start, recent = time.time(), []
    for step in range(1, options.steps + 1):
        recent.append(float(model.train_on_batch(*next(source))))
        if step % options.report_every == 0 or step == options.steps:
            scores = _evaluate(model, pictures, labels)
            minutes, loss, recent = (time.time() - start) / 60, math.fsum(recent) / len(recent), []
            shown = " ".join(f"{name} {value:.3f}" for name, value in scores.items())
            print(f"step {step} loss {loss:.4f} held-out: {shown} {minutes:.1f} min", flush=True)
            _save(network, head, options.output)
    return 0


def _parse(arguments):
    parser = command_line.Parser("python -m s2vt.synthetic.pretraining", __doc__.split("\n")[0])
    parser.add_argument("--size", type=int, default=139, help="side of the crops, pixels")
    parser.add_argument("--window", type=int, default=3, help="side of the windows that have labels, cells")
    parser.add_argument("--steps", type=int, default=2400, help="batches to train on")
    parser.add_argument("--batch_size", type=int, default=32, help="crops per step")
    parser.add_argument("--learning_rate", type=float, default=4e-4, help="Adam's highest rate")
    parser.add_argument("--precision", default="float32", help="Keras dtype policy")
    parser.add_argument("--weights", help="file to start from (default: random weights)")
    parser.add_argument("--no_places", action="store_true", help="leave out the labels left, right, top and bottom")
    parser.add_argument("--output", required=True, help="the .npz to write at every report")
    parser.add_argument("--report_every", type=int, default=100, help="steps between two reports")
    parser.add_argument("--seed", type=int, default=0, help="random seed")
    return parser.parse_args(arguments)


def _build(options):
    """(InceptionV3, the layer of label logits on windows of its cells, the compiled model of both)."""
    import keras

    network, preprocess = trainable(options.weights, input_size=options.size)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.9 if options.size < GRID.input_size else 0.97
    pictures = keras.Input(network.input.shape[1:])
    pooled = keras.layers.AveragePooling2D(options.window, strides=1, dtype="float32")(network(preprocess(pictures)))
    pooled = keras.layers.Reshape((-1, network.output.shape[-1]), dtype="float32")(pooled)  # (B, K, D)
    head = keras.layers.Dense(len(LABELS), dtype="float32", bias_initializer=keras.initializers.Constant(-3.0))
    model = keras.Model(pictures, head(pooled))
    if options.weights and Path(options.weights + ".head.npy").exists():
        values = np.load(options.weights + ".head.npy", allow_pickle=False)
        head.kernel.assign(values[:-1])
        head.bias.assign(values[-1])
    warmup = min(200, options.steps // 10)
    schedule = keras.optimizers.schedules.CosineDecay(
        options.learning_rate / 50, options.steps - warmup, alpha=0.02,
        warmup_target=options.learning_rate, warmup_steps=warmup,
    )  # fmt: skip
    model.compile(keras.optimizers.Adam(schedule, global_clipnorm=5.0), _loss, jit_compile=False)
    return network, head, model


def _loss(labels, logits):
    """A tenth of the binary cross entropy of the known labels, summed over the labels of a window."""
    from keras import ops

    known = ops.cast(labels >= 0, "float32")
    entropy = ops.binary_crossentropy(ops.maximum(labels, 0), logits, from_logits=True)
    return ops.mean(ops.sum(known * entropy, axis=-1)) / 10


def _evaluate(model, pictures, labels):
    """Scores on held-out windows: {name: share of right answers}.

    "shapes" is the mean share of the shapes in view among as many labels of coloured shapes with the highest logits;
    the others are accuracies of known labels.

    Args:
        labels: (B, K, L).
    """
    labels = labels.reshape(-1, len(LABELS))
    logits = model.predict(pictures, batch_size=32, verbose=0).reshape(labels.shape)
    shapes, recalls = slice(len(COLOURS) * len(SHAPES)), []
    for row, truth in zip(logits[:, shapes], labels[:, shapes], strict=True):
        if count := int((truth == 1).sum()):
            order = [i for i in np.argsort(-row) if truth[i] >= 0][:count]
            recalls.append(np.mean(truth[order] == 1))
    known, right = labels >= 0, (logits > 0) == (labels > 0)
    scores = {"shapes": np.mean(recalls)}
    for name, words in REPORTED.items():
        columns = [INDEX[label] for label in LABELS if label.split()[-1] in words]
        if known[:, columns].any():
            scores[name] = right[:, columns][known[:, columns]].mean()
    return scores


def _save(network, head, output):
    """Writes the backbone, and beside it the head, with which training can go on."""
    save_weights(network, output)
    kernel_and_bias = np.vstack([np.asarray(head.kernel), np.asarray(head.bias)[None]])
    np.save(output + ".head.npy", kernel_and_bias, allow_pickle=False)


if __name__ == "__main__":
    command_line.run(main)
