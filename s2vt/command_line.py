"""What the three scripts share: common flags, the config they select, and one-line errors."""

import argparse
import dataclasses
import os
import re
import sys
from pathlib import Path

import cfg
from s2vt.errors import ToolError, UserError


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose mistakes are one line on stderr and exit status 2."""

    def error(self, message):
        self.exit(2, f"{self.prog}: error: {_one_line(message)}; see {self.prog} --help\n")

    def parse_args(self, args=None, namespace=None):
        """As argparse does; `--dataset FOLDER/dataset.json` is short for `--data_dir PARENT --dataset FOLDER`.

        --config stands for a run's --dataset, and for its --seed unless one is given.
        """
        options = super().parse_args(args, namespace)
        options.record = None
        if options.config is not None:
            options.record = cfg.record(options.config)
            dataset = options.record["config"].dataset
            if options.dataset not in (None, dataset):
                self.error(f"--config {options.config} is of {dataset}, not {options.dataset}; drop --dataset")
            options.dataset = dataset
        if options.dataset is None:
            self.error("the following arguments are required: --dataset, or --config")
        if options.seed is None:
            options.seed = options.record["seed"] if options.record else 0
        path = Path(os.path.abspath(options.dataset))
        if path.suffix == ".json":
            if path.name != cfg.OWN or not path.is_file():
                self.error(f"--dataset {options.dataset}: expected a file named {cfg.OWN} in the media's folder")
            options.data_dir, options.dataset = str(path.parent.parent), path.parent.name
        return options


def parser(prog, description):
    """A parser with the flags every script has."""
    result = Parser(prog=prog, description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    result.add_argument("--dataset", metavar="D",
                        help=f"one of {', '.join(cfg.CONFIGS)}, or the path of your own {cfg.OWN}")  # fmt: skip
    result.add_argument("--config", metavar="FILE",
                        help="a run's config.json: its data set, settings and seed once more")  # fmt: skip
    result.add_argument("--data_dir", default="DATA", help="folder of the data sets")
    result.add_argument("--experiments_dir", default="experiments", help="folder of the runs")
    result.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="assignments",
                        help="change a field of cfg.py, such as model.units=512; may be repeated")  # fmt: skip
    result.add_argument("--weights",
                        help="imagenet, inception-2015, inception-shapes or a file (default: cfg.py's)")  # fmt: skip
    result.add_argument("--seed", type=_seed, help="of all that is random (default: that of --config, or 0)")
    return result


def _seed(text):
    if not re.fullmatch("[0-9]{1,10}", text) or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number from 0 to 2^32 - 1")
    return int(text)


def config_of(options):
    """The Config that the flags select.

    Raises:
        UserError: on an unknown data set or setting.
    """
    assignments = list(options.assignments)
    if options.weights:
        assignments.append(f"features.weights={options.weights}")
    if getattr(options, "model", None):
        assignments.append(f"model.name={options.model}")
    config = options.record["config"] if options.record else cfg.find(options.dataset, options.data_dir)
    return config.replace(assignments)


def run_config_of(options, run):
    """The Config of a trained run, for testing and explaining: model and descriptors are the run's own.

    Raises:
        UserError: if the run is of another data set, or `--set` would change the model or its descriptors.
    """
    wanted, trained = config_of(options), run.config()
    if wanted.dataset != trained.dataset:
        raise UserError(f"{run.folder} was trained on {trained.dataset}, not {wanted.dataset}; choose with --name")
    for key in ("weights", "layer", "scan", "resize"):
        if getattr(wanted.features, key) != getattr(trained.features, key) and (
            options.weights if key == "weights" else any(a.startswith(f"features.{key}=") for a in options.assignments)
        ):
            raise UserError(
                f"{run.folder} was trained with {key} {getattr(trained.features, key)}, not "
                f"{getattr(wanted.features, key)}; drop that flag, or train another run with --name"
            )
    named = getattr(options, "model", None) or any(a.startswith("model.name=") for a in options.assignments)
    if named and wanted.model.name != trained.model.name:
        raise UserError(
            f"{run.folder} was trained as {trained.model.name}, not {wanted.model.name}; drop --model, or choose with "
            "--name"
        )
    features = dataclasses.replace(
        trained.features, batch_size=wanted.features.batch_size, precision=wanted.features.precision
    )
    return dataclasses.replace(trained, features=features)


FRAME_HELP = (
    "what a video's frame is when it is seen alone: its mean descriptor (paper) or its cells, read like a "
    "picture's (default: cells for runs with training.cells, which have met such frames)"
)


def run_folder(options, name=None):
    """The folder of a run. Unless a name is given: the data set's, with the captioner's where it is not S2VT."""
    if name is None:
        model = config_of(options).model.name
        name = options.dataset + ("" if model == cfg.ModelConfig.name else f"-{model}")
    if name != Path(name).name or name in ("", ".", ".."):
        raise UserError(f"--name {name!r} is not a plain name; expected something like {options.dataset}")
    return Path(options.experiments_dir) / name


def progress(unit):
    """tqdm on stderr: (iterable, total) -> iterable."""
    from tqdm import tqdm

    def wrap(iterable, total=None):
        return tqdm(iterable, total=total, unit=unit, leave=False)

    return wrap


def load_engine():
    """Imports Keras and finds its devices, without the notes that TensorFlow's C++ prints; exceptions still rise.

    Scripts call it once the user's mistakes are ruled out, so that those are told at once.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), 2)  # the notes are written before any Python setting is looked at
    try:
        import keras

        keras.distribution.list_devices()
        keras.ops.zeros(())
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def run(main):
    """Calls a script's `main() -> exit status` and turns the user's mistakes into one line and status 2."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="surrogateescape")  # a file's name that is not UTF-8 is printed as it is
    try:
        status = main()
    except (UserError, OSError) as error:  # an OSError that nobody has met: of a name that is too long, say
        _tell(f"{error.filename}: {error.strerror}" if getattr(error, "filename", None) else error)
        status = 2
    except ToolError as error:
        _tell(error)
        status = 1
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where it stopped", file=sys.stderr)
        status = 130
    sys.exit(status)


def _tell(error):
    print(f"{Path(sys.argv[0]).name}: {_one_line(error)}", file=sys.stderr)


def _one_line(error):
    """A message on one line, with what cannot be printed (a terminal's escapes, bidirectional marks) as its number."""
    line = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in " ".join(str(error).split()))
    return line if len(line) <= 1000 else f"{line[:500]} ... {line[-500:]}"
