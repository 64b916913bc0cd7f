"""Copies a run for shipping, with one checkpoint in float16.

    python -m s2vt.captioning.export --name RUN --output experiments/FOLDER --network inception-2015

The copy can be tested, localized and explained as the run itself; without training_state.npz it cannot be resumed.
float16 has 11 significant bits: weights change by at most one part in 2,048.
"""

import shutil
import tempfile
from pathlib import Path

import h5py
import numpy as np

from s2vt import command_line
from s2vt.captioning.runs import Run, portable
from s2vt.data.files import read_json, write_json
from s2vt.errors import UserError

COPIED = ("vocabulary.json", "log.csv", "descriptor_statistics.json")


def export(run, which, folder, network=None):
    """Copies a run's files, and one of its checkpoints in float16.

    Args:
        run: a Run.   which: the checkpoint, as `Run.checkpoint`.
        folder: of the copy; it must not exist, and its name is the copy's.
        network: what the copy calls the weights of its network, `features.weights`, where they are a file that its
            users do not have; None: as the run does. The digest stays: it says whether other weights are the same.
    Returns:
        The copy, a Run.
    Raises:
        UserError: if there is no such checkpoint, the folder exists, or a weight exceeds the range of float16.
    """
    number, copy = run.checkpoint(which), Run(folder)
    if copy.folder.exists():
        raise UserError(f"--output {folder}: the folder exists; choose another, or delete it first")
    copy.folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=copy.folder.parent, prefix=".") as temporary:
        partial = Path(temporary) / copy.name
        (partial / "checkpoints").mkdir(parents=True)
        for name in COPIED:
            if (run.folder / name).exists():
                shutil.copyfile(run.folder / name, partial / name)
        record = portable(read_json(run.folder / "config.json"))
        record["config"]["features"]["weights"] = network or record["config"]["features"]["weights"]
        write_json(partial / "config.json", record)
        weights = run.checkpoint_path(number)
        to_float16(weights, partial / "checkpoints" / weights.name)
        write_json(partial / "checkpoints" / "scores.json", {str(k): score for k, score in run.scores().items()})
        partial.rename(copy.folder)
    return copy


def to_float16(source, target):
    """Copies a weights file (HDF5) with its floating-point arrays in float16, compressed.

    Raises:
        UserError: if a weight is beyond 65,504, the largest float16.
    """
    with h5py.File(source) as weights, h5py.File(target, "w") as smaller:

        def copy(name, item):
            here = smaller.require_group(name) if isinstance(item, h5py.Group) else _copy_array(name, item, smaller)
            here.attrs.update(item.attrs)

        weights.visititems(copy)
        smaller.attrs.update(weights.attrs)


def _copy_array(name, item, smaller):
    values = item[()]
    if np.issubdtype(item.dtype, np.floating):
        with np.errstate(over="ignore"):  # checked next
            values = values.astype(np.float16)
        if not np.all(np.isfinite(values)):
            raise UserError(f"{item.file.filename}: {name} has values beyond the range of float16 (65,504)")
    options = {"compression": "gzip", "shuffle": True} if values.shape else {}
    return smaller.create_dataset(name, data=values, **options)


def main(arguments=None):
    parser = command_line.Parser("python -m s2vt.captioning.export", __doc__.split("\n")[0])
    parser.add_argument("--name", required=True, help="the run's folder under experiments_dir")
    parser.add_argument("--experiments_dir", default="experiments", help="folder of the runs")
    parser.add_argument("--checkpoint", default="best", help="a number, best (by validation METEOR) or last")
    parser.add_argument("--output", required=True, metavar="FOLDER", help="of the copy, such as experiments/Flickr30k")
    parser.add_argument("--network", help="what the copy calls its network's weights, such as inception-2015")
    options = parser.parse_args(arguments)
    run = Run(Path(options.experiments_dir) / options.name).require()
    copy = export(run, options.checkpoint, options.output, options.network)
    size = sum(path.stat().st_size for path in copy.folder.rglob("*") if path.is_file())
    print(f"{copy.folder}: {size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    command_line.run(main)
