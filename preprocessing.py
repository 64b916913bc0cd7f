"""Media -> descriptors (Eq. 1): InceptionV3's mixed_10 cells or their mean, pool_3, one file a medium.

    python preprocessing.py --dataset MovingShapes

Run it again after any interruption: it does only what is missing.
"""

import functools
import sys

from s2vt import command_line


def main():
    parser = command_line.parser("preprocessing.py", __doc__.split("\n")[0])
    parser.add_argument("--split", help="train, val or test (default: all)")
    parser.add_argument("--layer", choices=("pool_3", "mixed_10"),
                        help="default: what the captioner reads; a video's mixed_10 is for --localize")  # fmt: skip
    parser.add_argument("--batch_size", type=int, help="pictures a forward pass (default: cfg.py's)")
    parser.add_argument("--limit", type=int, help="at most so many media")
    parser.add_argument("--overwrite", action="store_true", help="make all of them again")
    options = parser.parse_args()
    if options.batch_size is not None:
        options.assignments.append(f"features.batch_size={options.batch_size}")
    config = command_line.config_of(options)

    from s2vt.data import datasets
    from s2vt.data.files import lock
    from s2vt.features.descriptors import DescriptorStore, lazy_extractor

    @functools.cache
    def extractor():
        command_line.load_engine()
        return lazy_extractor(config)()

    media = datasets.select(datasets.read_media(config, options.data_dir), options.split, options.limit)
    store = DescriptorStore(config, options.data_dir, options.layer)
    datasets.require_folders([m for m in media if options.overwrite or m.id not in store], config)
    layers = [store.folder.parent / layer for layer in ("pool_3", "mixed_10")]
    with lock(store.folder.parent, "choose another --data_dir", writes=layers):
        failed = store.extract(media, extractor, options.overwrite, command_line.progress("medium"))
    print(f"{len(media) - len(failed)} of {len(media)} media have {store.layer} descriptors in {store.folder}")
    if failed:
        print(f"{len(failed)} could not be decoded; {store.folder / 'failed.tsv'} says why:", file=sys.stderr)
    for medium_id, reason in list(failed.items())[:10]:
        print(f"{medium_id}: {reason}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    command_line.run(main)
