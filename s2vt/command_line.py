"""The command line of all scripts: their common flags, the config that these select, and errors of one line.

A script makes a `Parser`, adds its own flags and calls `parse`, which returns its options and a `Command`. It passes
values on to the package as frozen requests, never the options themselves. Imports nothing heavy: `--help` is instant.
"""

import argparse
import dataclasses
import faulthandler
import gc
import logging
import os
import re
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

from s2vt import config as configs
from s2vt.errors import ToolError, UserError

# --- flags ----------------------------------------------------------------------------------------------------------


class HelpFormatter(argparse.HelpFormatter):
    """Appends the default of each flag that has one and whose help does not state it."""

    def _get_help_string(self, action):
        unstated = action.default not in (None, False, argparse.SUPPRESS) and action.default != []
        return f"{action.help} (default: %(default)s)" if unstated and "(default" not in action.help else action.help


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line and exit status 2, with the flag --verbose."""

    def __init__(self, prog, description):
        super().__init__(prog=prog, description=description, formatter_class=HelpFormatter)
        self.add_argument(
            "--verbose", action="store_true", help="show the log messages of TensorFlow, CUDA, FFmpeg, ..."
        )

    def parse_args(self, args=None, namespace=None):
        """As in argparse. Silences other libraries (see `silence`), unless --verbose is given."""
        options = super().parse_args(_with_values(sys.argv[1:] if args is None else args), namespace)
        if not options.verbose:
            silence()
        return options

    def error(self, message):
        self.exit(2, f"{self.prog}: {_one_line(message)}; see {self.prog} --help\n")


def _with_values(args):
    """Joins a flag and a value like -5x10, which argparse would take for another flag."""
    joined = []
    for word in args:
        if joined and re.match(r"-\d", word) and re.fullmatch("--[a-z_]+", joined[-1]):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


class ScriptParser(Parser):
    """The parser of the scripts that read a data set: adds the flags that select data set, folders and settings.

    Args:
        configs: the data sets that can be chosen by name, {name: Config}.
        usual: options -> the name of the data set that is meant where neither --dataset nor --config is given; None:
            one of them is required.
    """

    def __init__(self, prog, description, configs, usual=lambda options: None):
        super().__init__(prog, description)
        self.configs, self.usual, self.short_forms = configs, usual, []
        self.add_argument(
            "--dataset",
            metavar="D",
            help=f"one of {', '.join(configs)}, or the folder of your own media with its dataset.json",
        )
        self.add_argument("--config", metavar="FILE", help="config.json of a run: use its data set, settings and seed")
        self.add_argument("--data_dir", default="DATA", help="folder of the data sets")
        self.add_argument("--experiments_dir", default="experiments", help="folder of the runs")
        self.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            dest="assignments",
            help="change a setting of cfg.py, such as model.units=512; may be repeated",
        )
        self.add_short_form(
            "--weights",
            "features.weights",
            "W",
            "the network: imagenet, inception-2015, inception-shapes, efficientnet-lite0 or a file; a run's network "
            "is known by its digest",
        )
        self.add_argument("--seed", type=_seed, help="random seed (default: that of --config, else 0)")

    def add_short_form(self, flag, key, metavar, help, value=None):
        """Adds a flag that is short for `--set key=...`.

        Args:
            value: the setting's value, for a flag that takes none itself; metavar is not used then.
        """
        self.short_forms.append((flag, key, value))
        stands_for = f"(short for --set {key}={value or metavar})"
        how = {"metavar": metavar} if value is None else {"action": "store_const", "const": value}
        self.add_argument(flag, help=f"{help} {stands_for}", **how)

    def parse(self, args=None):
        """The script's options, and the Command that the common flags select; errors as `command_of`."""
        options = self.parse_args(args)
        return options, self.command_of(options)

    def command_of(self, options):
        """The Command that the common flags among parsed options select.

        Raises:
            UserError: on an unknown data set or setting, or as `usual`.
        """
        record = None if options.config is None else configs.record(options.config)
        dataset, data_dir = options.dataset, Path(options.data_dir)
        if record is None and dataset is None:
            dataset = self.usual(options)
        if record:
            of_record = record["config"].dataset
            if dataset not in (None, of_record):
                raise UserError(f"--config {options.config} is of {of_record}, not {dataset}; drop --dataset")
            dataset = of_record
        elif dataset is None:
            self.error("the following arguments are required: --dataset, or --config")
        else:
            data_dir, dataset = _find_folder(dataset, data_dir, self.configs)
        usual = record["config"] if record else configs.find(dataset, data_dir, self.configs)
        config, given = self._settings(usual, options)
        seed = options.seed if options.seed is not None else record["seed"] if record else 0
        weights = record["weights"] if record else None
        return Command(config, data_dir, Path(options.experiments_dir), seed, weights, given, usual)

    def _settings(self, config, options):
        """(the config with all settings that were given, {key: what the user typed})."""
        config, given = config.replace(options.assignments), {}
        for assignment in options.assignments:
            key = assignment.partition("=")[0].strip()
            given[key] = f"--set {assignment}"
        for flag, key, value in self.short_forms:
            text = getattr(options, flag.lstrip("-"))
            if text is not None:
                given[key] = flag if value else f"{flag} {text}"
                config = config.with_value(key, text, given[key])
        return config, given


def _seed(text):
    if not re.fullmatch("[0-9]{1,10}", text) or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number from 0 to 2^32 - 1")
    return int(text)


def add_run_flags(parser):
    """Adds the flags of run_s2vt.py's actions: which runs, media and maps, and how these are made and scored.

    Args:
        parser: a ScriptParser.
    """
    parser.add_short_form(
        "--model", "model.name", "M", "the captioner: s2vt, mean_pool, soft_attention, hard_attention, transformer"
    )
    parser.add_argument(
        "--name",
        help="the run's folder under experiments_dir (default: the name of the data set, with -MODEL if that is not "
        "s2vt); with all but --train also A,B,...: the rows of one table",
    )
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="with --train: continue an existing run")
    again.add_argument("--overwrite", action="store_true", help="with --train: start an existing run again")
    for flag, default, metavar, help in (
        ("--devices", 1, "N", "number of devices of each process that every batch is spread over; needs JAX"),
        ("--processes", 1, "N", "number of processes that train together, one a machine as a rule"),
        ("--process", 0, "K", "which of them this one is; 0 writes the run"),
    ):
        parser.add_argument(flag, type=int, default=default, metavar=metavar, help=f"with --train: {help}")
    parser.add_argument("--coordinator", metavar="HOST:PORT", help="with --train and --processes: of process 0")
    parser.add_argument("--checkpoint", default="best", help="a number, best (by validation METEOR) or last")
    parser.add_argument("--beam", type=int, default=1, metavar="K", help="with --test: width of the beam; 1 is greedy")
    maps = "--localize, --faithfulness, --sanity"
    parser.add_argument("--split", default="test", help="with all but --train: train, val or test")
    parser.add_argument("--limit", type=int, metavar="N", help="with all but --train: the first N media only")
    kinds = f"with {maps}: kinds of map; all: those that each run can give (default: saliency.map)"
    protocols = f"with {maps}: how maps are made and scored: paper, ours, release (--localize), torchray"
    parser.add_argument("--map", metavar="A,B,...", help=kinds)
    parser.add_argument("--protocol", metavar="A,B,...", default="ours", help=protocols)
    parser.add_argument(
        "--baselines_only",
        action="store_true",
        help="with --localize: score the baselines alone, which needs no media, descriptors or run",
    )
    parser.add_argument(
        "--pixels",
        action="store_true",
        help="with --faithfulness: replace pixels, too; with --sanity: scramble the network, too; needs the media",
    )
    for flag, key, values, what in (
        ("--tolerance", "tolerance", "PIXELS", "source pixels by which a point may miss a box"),
        ("--average", "average", "phrase|class", "over phrases (paper), or over the categories' averages (TorchRay)"),
        ("--unknown", "unknown", "drop|miss", "phrases that the captioner cannot read: left out, or misses"),
    ):
        parser.add_short_form(flag, f"evaluation.{key}", values, f"with --localize: {what}")
    crop = "with --localize: only the centre of the picture counts"
    parser.add_short_form("--center_crop", "evaluation.region", None, crop, value="center_crop")
    add_worker_flags(parser)


def add_worker_flags(parser):
    """Adds the flags of work on a Ray cluster; `workers` makes its workers."""
    ray = "work on a Ray cluster: auto, the one that runs on this machine, or its HOST:PORT (default: in this process)"
    parser.add_argument("--ray", metavar="ADDRESS", help=ray)
    cpus = "with --ray: processor cores of a worker, and threads of its engine"
    parser.add_argument("--num_cpus", type=int, default=1, metavar="N", help=cpus)
    gpus = "with --ray: GPUs of a worker, or its share of one, such as 0.5"
    parser.add_argument("--num_gpus", type=float, default=0.0, metavar="N", help=gpus)


def workers(options):
    """Who works on many media, of the flags of `add_worker_flags`: `workers.here`, or a `workers.Cluster`.

    Raises:
        UserError: as `workers.Cluster`.
    """
    from s2vt.workers import Cluster, here

    return here if options.ray is None else Cluster(options.ray, options.num_cpus, options.num_gpus)


def canvas_size(text):
    """(width, height) in pixels of a flag's value such as 1280x720. Raises argparse.ArgumentTypeError."""
    found = re.fullmatch(r"(\d+)x(\d+)", text)
    if not found or not all(160 <= int(side) <= 4096 for side in found.groups()):
        raise argparse.ArgumentTypeError(f"{text!r}: expected pixels such as 1280x720, each 160 to 4096")
    return int(found[1]), int(found[2])


EXAMPLE = "DATA/README.md, 'Your own media', has an example"


def _find_folder(dataset, data_dir, known):
    """(data_dir, name) of --dataset, which may also be the path of a user's folder or of its dataset.json."""
    path = Path(os.path.abspath(dataset))
    by_name = dataset in known or (dataset == path.name and (data_dir / dataset / configs.OWN).is_file())
    if by_name or not dataset:
        return data_dir, dataset
    if path.suffix == ".json":
        if path.name != configs.OWN:
            raise UserError(f"--dataset {dataset}: expected a file named {configs.OWN}, in the folder of the media")
        if not path.is_file():
            raise UserError(f"--dataset {dataset}: no such file; {EXAMPLE}")
        return path.parent.parent, path.parent.name
    if (path / configs.OWN).is_file():
        return path.parent, path.name
    if path.is_dir() and dataset != path.name:
        raise UserError(f"--dataset {dataset}: the folder has no {configs.OWN}; {EXAMPLE}")
    return data_dir, dataset


# --- what they select -----------------------------------------------------------------------------------------------

# Settings that a trained run does not fix: neither changes what its captioner reads, up to rounding.
FREE_SETTINGS = ("features.batch_size", "features.precision", "features.storage")
# Settings that a trained run has unless others are asked for: its captioner can be asked about pictures seen otherwise.
SEEN_SETTINGS = tuple(f"features.{name}" for name in configs.SEEN)
NETWORK = "features.weights"  # a run's network is known by its digest, not by this name


@dataclass(frozen=True)
class Command:
    """The data set, settings and folders that the common flags select.

    Attributes:
        config: the Config of the data set, with all settings that were given.
        data_dir: folder of the data sets.
        experiments_dir: folder of the runs.
        seed: random seed.
        weights: digest of the network that --config's run was trained with; None without --config.
        given: the settings that were given, {key: what the user typed}.
        usual: the Config without them.
    """

    config: configs.Config
    data_dir: Path
    experiments_dir: Path
    seed: int
    weights: str | None
    given: dict[str, str]
    usual: configs.Config

    def under_protocol(self, name):
        """The config with the settings of a protocol (`config.PROTOCOLS`) but for those that were given, and without.

        Raises:
            UserError: if there is no such protocol.
        """
        if name not in configs.PROTOCOLS:
            raise UserError(f"--protocol {name}: expected some of {', '.join(configs.PROTOCOLS)}")
        pure, given = configs.PROTOCOLS[name], {key: self.config.setting(key) for key in self.given}
        return self.config.with_settings({**pure, **given}), self.usual.with_settings(pure)

    def run_folder(self, name=None):
        """The folder of a run. The default name is the data set's, with "-MODEL" for captioners other than s2vt.

        Raises:
            UserError: if the name is not that of a plain folder.
        """
        config = self.config
        default = config.dataset
        if config.model.name != configs.ModelConfig.name:
            default += f"-{config.model.name}"
        name = default if name is None else name
        if name != Path(name).name or name in ("", ".", ".."):
            raise UserError(f"--name {name!r}: expected a plain name such as {default}")
        return self.experiments_dir / name

    def config_of(self, run):
        """The Config to test or explain a trained run with.

        Features, text, model and training are the run's own; saliency, evaluation, FREE_SETTINGS and those of
        SEEN_SETTINGS that were given are this command's. The network is the one of the run's digest, whatever its name
        here (`Run.weights`).

        Raises:
            UserError: if the run is of another data set, a setting was given that differs from the run's, or the run's
                network is not here.
        """
        wanted, trained = self.config, run.config()
        if (wanted.dataset, wanted.media) != (trained.dataset, trained.media):
            raise UserError(
                f"{run.folder} was trained on {trained.dataset} ({trained.media}), not {wanted.dataset} "
                f"({wanted.media}); choose another run with --name"
            )
        kept = ("saliency", "evaluation")
        for key, (of_run, asked) in trained.differences(wanted).items():
            if key in self.given and key not in (*FREE_SETTINGS, *SEEN_SETTINGS, NETWORK) and not key.startswith(kept):
                raise UserError(
                    f"{run.folder} was trained with {key}={of_run}, not {asked}; drop {self.given[key]}, or choose "
                    "another run with --name"
                )
        free = (*FREE_SETTINGS, *(key for key in SEEN_SETTINGS if key in self.given))
        free = {key.split(".")[1]: getattr(wanted.features, key.split(".")[1]) for key in free}
        free["weights"] = run.weights(wanted.features.weights, NETWORK in self.given)
        return dataclasses.replace(
            wanted,
            features=dataclasses.replace(trained.features, **free),
            text=trained.text,
            model=trained.model,
            training=trained.training,
        )


# --- what reaches the terminal --------------------------------------------------------------------------------------


def silence():
    """Keeps the messages of other libraries off the terminal, until the process ends.

    Python warnings and log records below ERROR are dropped. Native code writes to file descriptor 2 directly, in part
    before it reads any setting (TensorFlow's import), so that descriptor is sent to the null device; Python's own
    sys.stderr keeps the terminal through a copy of it. Child processes inherit the null device. After a crash in native
    code, faulthandler still prints the Python stack; --verbose shows the crash's own message.

    Does nothing where sys.stderr is not file descriptor 2, as under a test runner or after an earlier call.
    """
    try:
        if sys.stderr.fileno() != 2:
            return
        terminal = os.dup(2)
    except (AttributeError, OSError, ValueError):  # closed, or replaced by an object without a descriptor
        return
    sys.stderr.flush()
    sys.stderr = open(terminal, "w", buffering=1, encoding=sys.stderr.encoding, errors=sys.stderr.errors)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    os.close(null)
    faulthandler.enable(sys.stderr)
    logging.disable(logging.WARNING)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def progress(unit):
    """A tqdm progress bar on stderr: (iterable, total) -> iterable."""
    from tqdm import tqdm

    def wrap(iterable, total=None):
        return tqdm(iterable, total=total, unit=unit, leave=False)

    return wrap


def run(main):
    """Exits with the status that `main` returns; UserError and OSError become one line and status 2, ToolError 1."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="surrogateescape")  # file names that are not UTF-8
    try:
        status = main()
    except (UserError, OSError) as error:  # an OSError of a name that is too long, for example
        _report(f"{error.filename}: {error.strerror}" if getattr(error, "filename", None) else error)
        status = 2
    except ToolError as error:
        _report(error)
        status = 1
    except KeyboardInterrupt:
        print("interrupted; the same command continues where it stopped (--train: with --resume)", file=sys.stderr)
        status = 130
    gc.freeze()  # ends 0.3 s sooner: what is left goes with the process, and need not be searched for garbage
    sys.exit(status)


def _report(error):
    program = Path(sys.argv[0])
    name = program.parent.name if program.stem == "__main__" else program.name
    print(f"{name}: {_one_line(error)}", file=sys.stderr)


def _one_line(error):
    """A message as one line; characters that cannot be printed (escapes, bidirectional marks) as their code."""
    line = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in " ".join(str(error).split()))
    return line if len(line) <= 1000 else f"{line[:500]} ... {line[-500:]}"
