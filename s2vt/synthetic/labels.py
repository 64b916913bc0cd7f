"""A classifier of colours and shapes on the frozen backbone, and whether the maps of its classes find the objects.

    python preprocessing.py --dataset StillShapes --split train --limit 600
    python -m s2vt.synthetic.labels --train --limit 600

fits a linear head on pool_3 to the colours and shapes that are in each training picture (`features.label_head`): no
boxes and no captions. A second on one CPU core, after the descriptors of 600 pictures. With `--localize`, Excitation
Backprop and contrastive EB from each class of a picture play the pointing game (`evaluation.classes`):

    python preprocessing.py --dataset StillShapes --split test
    python -m s2vt.synthetic.labels --localize
"""

from pathlib import Path

from s2vt import command_line
from s2vt.config import Config, FeatureConfig

STILL_SHAPES = Config(  # what the head and the maps depend on; the captioner's settings are in cfg.py
    features=FeatureConfig(weights="inception-shapes", layer="mixed_10"),
    dataset="StillShapes",
    source="run: python -m s2vt.synthetic --dataset StillShapes",
    layout="flickr30k",
    annotations="entities",
    media="picture",
)


def main(arguments=None):
    parser = _parser()
    options = parser.parse_args(arguments)
    command = parser.command_of(options)
    return _train(options, command) if options.train else _localize(options, command)


def _parser():
    name = "python -m s2vt.synthetic.labels"
    known = {STILL_SHAPES.dataset: STILL_SHAPES}
    parser = command_line.ScriptParser(name, __doc__.split("\n")[0], known, usual=lambda options: STILL_SHAPES.dataset)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--train", action="store_true", help="fit the head and write it")
    action.add_argument("--localize", action="store_true", help="score the maps of its classes against boxes")
    parser.add_argument("--head", metavar="FILE", help="the head's .npz (default: beside the network: NAME.labels.npz)")
    parser.add_argument("--split", help="train, val or test (default: --train: train; --localize: test)")
    parser.add_argument("--limit", type=int, metavar="N", help="the first N media only")
    parser.add_argument(
        "--layers", metavar="A,B", help="with --localize: some of mixed_10, 17x17, 35x35 (default: all)"
    )
    return parser


def _train(options, command):
    """Fits a head to the pictures of a split, and says how often it is right on them and on held-out ones."""
    from s2vt.features import label_head
    from s2vt.features.networks import digest

    split = options.split or "train"
    v, present, labels = _pictures(command, split, options.limit)
    kernel, bias = label_head.fit(v, present)
    given = "".join(f" --{name} {value}" for name in ("split", "limit") if (value := getattr(options, name)))
    made_by = f"python -m s2vt.synthetic.labels --train{given}"
    weights = digest(command.config.features.weights)
    head = label_head.LabelHead(kernel, bias, labels.names, weights, made_by)
    path = _head_file(options, command)
    head.save(path)
    right = ((label_head.LabelHead.load(path).logits(v) > 0) == present).mean()
    print(f"{path}: {len(labels.names)} classes, fitted to {len(v)} pictures of {split}, {right:.3f} of labels right")
    return 0


def _head_file(options, command):
    """Path of the head: --head, or beside the network."""
    from s2vt.features.label_head import file_beside

    return Path(options.head) if options.head else file_beside(command.config.features.weights)


def _pictures(command, split, limit):
    """pool_3 of the pictures of a split, (B, D); which classes are in each, (B, L); the Labels."""
    import numpy as np

    from s2vt.data import datasets
    from s2vt.data.labels import read_labels
    from s2vt.features.descriptors import DescriptorStore, with_descriptors

    store = DescriptorStore(command.config, command.data_dir, "mixed_10")
    media = datasets.select(datasets.read_media(command.config, command.data_dir), split, limit)
    media = with_descriptors(store, media)
    labels = read_labels(command.data_dir / command.config.dataset, [medium.id for medium in media])
    v = np.stack([np.asarray(store.load(medium)).mean(axis=0, dtype=np.float32) for medium in media])
    return v, np.stack([labels.present(medium.id) for medium in media]), labels


def _localize(options, command):
    """Prints the pointing game of the classes' maps and the accuracy of the head on the same pictures."""
    from s2vt.data.files import file_digest
    from s2vt.errors import UserError
    from s2vt.evaluation.classes import LAYERS, ClassesRequest, score_classes
    from s2vt.features import label_head

    layers = tuple(options.layers.split(",")) if options.layers else LAYERS
    if unknown := sorted(set(layers) - set(LAYERS)):
        raise UserError(f"--layers {options.layers}: {unknown[0]!r} is none of {', '.join(LAYERS)}")
    split, path = options.split or "test", _head_file(options, command)
    head = label_head.LabelHead.load(path, command.config.features.weights)
    v, present, _ = _pictures(command, split, options.limit)
    right = ((head.logits(v) > 0) == present).mean()
    print(f"{path.name}: {right:.3f} of the labels of {len(v)} pictures of {split} right\n", flush=True)
    request = ClassesRequest(
        command.config, command.data_dir, head, path.name.partition(".")[0], file_digest(path),
        command.experiments_dir / "classes", layers, split, options.limit,
    )  # fmt: skip
    for scores in score_classes(request, command_line.progress("picture")):
        print(f"{scores}\n", flush=True)
    return 0


if __name__ == "__main__":
    command_line.run(main)
