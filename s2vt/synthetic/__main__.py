"""Renders the synthetic data sets: python -m s2vt.synthetic --dataset MovingShapes --split test --limit 20"""

import sys
from pathlib import Path

from s2vt import command_line
from s2vt.synthetic.writers import WRITERS


def main(arguments=None):
    parser = command_line.Parser("python -m s2vt.synthetic", __doc__.split("\n")[0])
    parser.add_argument("--dataset", required=True, choices=sorted(WRITERS))
    parser.add_argument("--split", help="render this split only (default: all)")
    parser.add_argument("--limit", type=int, help="render at most this many media of each split")
    parser.add_argument("--data_dir", default="DATA", help="folder of the data sets")
    parser.add_argument("--seed", type=int, default=1, help="random seed")
    options = parser.parse_args(arguments)
    write, sizes = WRITERS[options.dataset]
    if options.split and options.split not in sizes:
        parser.error(f"{options.dataset} has no split {options.split!r}; it has {', '.join(sizes)}")
    folder = Path(options.data_dir) / options.dataset
    count = write(folder, sizes, options.split, options.limit, options.seed)
    print(f"{options.dataset}: {count} media rendered into {folder}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    command_line.run(main)
