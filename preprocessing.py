"""Media -> descriptors (Eq. 1): the network's mixed_10 cells or their mean, pool_3, one file per medium.

    python preprocessing.py --dataset MovingShapes

Resumable: only what is missing is computed.
"""

import sys

import cfg
from s2vt import command_line


def main():
    parser = command_line.ScriptParser("preprocessing.py", __doc__.split("\n")[0], cfg.CONFIGS)
    parser.add_argument("--split", help="train, val or test (default: all)")
    parser.add_argument(
        "--layer",
        choices=("pool_3", "mixed_10"),
        help="default: the one that the captioner reads; --localize of videos needs mixed_10",
    )
    parser.add_short_form("--batch_size", "features.batch_size", "N", "pictures per forward pass")
    parser.add_argument("--limit", type=int, metavar="N", help="the first N media only")
    parser.add_argument("--overwrite", action="store_true", help="compute descriptors that exist again")
    options, command = parser.parse()

    from s2vt.data import datasets
    from s2vt.data.files import lock
    from s2vt.features.descriptors import DescriptorStore
    from s2vt.features.extraction import extract

    media = datasets.read_media(command.config, command.data_dir)
    media = datasets.select(media, options.split, options.limit)
    store = DescriptorStore(command.config, command.data_dir, options.layer)
    datasets.require_folders([m for m in media if options.overwrite or m.id not in store], command.config)
    layers = [store.folder.parent / layer for layer in ("pool_3", "mixed_10")]
    with lock(store.folder.parent, "choose another --data_dir", writes=layers):
        failed = extract(store, media, overwrite=options.overwrite, progress=command_line.progress("medium"))
    print(f"{len(media) - len(failed)} of {len(media)} media have {store.layer} descriptors in {store.folder}")
    if failed:
        print(
            f"{len(failed)} are missing or cannot be decoded; {store.folder / 'failed.tsv'} has the reasons:",
            file=sys.stderr,
        )
    for medium_id, reason in list(failed.items())[:10]:
        print(f"{medium_id}: {reason}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    command_line.run(main)
