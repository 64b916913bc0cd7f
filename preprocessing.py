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
    command_line.add_worker_flags(parser)
    options, command = parser.parse()

    from s2vt.features.extraction import ExtractionRequest, extract_data_set

    request = ExtractionRequest(
        config=command.config,
        data_dir=command.data_dir,
        layer=options.layer,
        split=options.split,
        limit=options.limit,
        overwrite=options.overwrite,
    )
    found = extract_data_set(request, command_line.progress("medium"), command_line.workers(options))
    store, num_done = found.store, found.num_media - len(found.failed)
    print(f"{num_done} of {found.num_media} media have {store.layer} descriptors in {store.folder}")
    if found.failed:
        path = store.folder / "failed.tsv"
        print(f"{len(found.failed)} are missing or cannot be decoded; {path} has the reasons:", file=sys.stderr)
    for medium_id, reason in list(found.failed.items())[:10]:
        print(f"{medium_id}: {reason}", file=sys.stderr)
    return 1 if found.failed else 0


if __name__ == "__main__":
    command_line.run(main)
