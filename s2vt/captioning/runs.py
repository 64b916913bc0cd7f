"""Runs: the folders of trained captioners.

experiments/RUN/config.json         Config, seed, command, versions, digest of the network's weights, git revision;
                                    no path of the machine
               /vocabulary.json
               /log.csv             epoch, loss, val_METEOR, val_loss; with a contrast also contrast, val_contrast
               /tensorboard/
               /checkpoints/<k>.weights.h5, scores.json (validation METEOR of each)
               /descriptor_statistics.json  mean and covariance of the training media's descriptors (see `Domain`)
               /training_state.npz  number of epochs done, optimizer, random state; for --resume
"""

import contextlib
import shlex
from pathlib import Path

import numpy as np

from s2vt import config as configs
from s2vt.data.files import file_digest, read_json
from s2vt.data.text import Vocabulary
from s2vt.engine_import import import_engine
from s2vt.errors import UserError
from s2vt.features.domain import Domain
from s2vt.features.networks import is_of, network_of, weights_for


class Run:
    """One folder under experiments/ and the files in it."""

    def __init__(self, folder):
        self.folder = Path(folder)

    @property
    def name(self):
        """The folder's name."""
        return self.folder.name

    def exists(self):
        """Whether a training has started here."""
        return (self.folder / "config.json").exists()

    def require(self):
        """The run itself.

        Raises:
            UserError: if nothing was trained here; names the runs that exist.
        """
        if not self.exists():
            runs = sorted(path.parent.name for path in self.folder.parent.glob("*/config.json"))
            advice = f"there are: {', '.join(runs)} (choose with --name)"
            if not runs:
                advice = (
                    "make one with --train, or name the folder experiments/ of the project's repository, which has the "
                    "shipped runs, with --experiments_dir"
                )
            raise UserError(f"no run {self.name!r} in {self.folder.parent}; {advice}")
        return self

    def record(self):
        """The contents of config.json, as `config.record`."""
        return configs.record(self.require().folder / "config.json")

    def config(self):
        """The Config that the run was trained with."""
        return self.record()["config"]

    def weights(self, wanted, given):
        """The network to test or explain the run with, as `weights_for` of `s2vt.features.networks`."""
        record = self.record()
        return weights_for(self.folder, record["config"].features.weights, record["weights"], wanted, given)

    def has_network(self, weights):
        """Whether a value of `features.weights` names the network that the run was trained on."""
        record = self.record()
        return is_of(weights, record["config"].features.weights, record["weights"])

    def vocabulary(self):
        """The Vocabulary of its training captions."""
        return Vocabulary.load(self.folder / "vocabulary.json")

    def scores(self):
        """{checkpoint number: validation METEOR, or None where it was not scored}."""
        path = self.folder / "checkpoints" / "scores.json"
        values = read_json(path) if path.exists() else {}
        try:
            return {int(k): None if v is None else float(v) for k, v in values.items()}
        except (AttributeError, TypeError, ValueError, OverflowError) as error:
            raise UserError(f"{path} does not hold the checkpoints' scores ({error}); name a --checkpoint") from None

    def checkpoint_path(self, number):
        """The weights file of a checkpoint."""
        return self.folder / "checkpoints" / f"{number}.weights.h5"

    def checkpoint(self, which):
        """The number of a checkpoint.

        Args:
            which: a number, "best" (by validation METEOR) or "last".
        Raises:
            UserError: if there is no such checkpoint; lists those that exist.
        """
        self.require()
        names = (path.name.split(".")[0] for path in (self.folder / "checkpoints").glob("*.weights.h5"))
        present = sorted(int(name) for name in names if name.isdecimal())
        scored = {k: score for k, score in self.scores().items() if score is not None and k in present}
        if which == "best" and scored:
            return max(scored, key=lambda k: (scored[k], -k))
        if which == "last" and present:
            return present[-1]
        if str(which) in map(str, present):
            return int(which)
        listed = ", ".join(map(str, present)) or "none"
        raise UserError(f"no checkpoint {which!r} in {self.folder}; there are: {listed} (and best, last)")

    @property
    def domain_path(self):
        """descriptor_statistics.json, which runs of small data sets and older runs lack."""
        return self.folder / "descriptor_statistics.json"

    def warning(self, name, v):
        """A line to print if a medium is unlike those that the run was trained on; None if it is like them.

        Args:
            name: of the medium, for the line.   v: its descriptors, (N, D).
        Raises:
            UserError: if descriptor_statistics.json is damaged or of another network.
        """
        if not self.domain_path.exists():
            return None
        values = read_json(self.domain_path)
        try:
            domain = Domain.from_json(values)
            distance = domain.distance(v)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{self.domain_path} does not fit this run ({error!r}); delete it") from None
        if distance <= domain.limit:
            return None
        return (
            f"warning: {name} is unlike the media that {self.folder} was trained on (distance {distance:.2f}, limit "
            f"{domain.limit:.2f}); its caption and maps may be meaningless"
        )

    @property
    def state_path(self):
        """training_state.npz. It is the last file of an epoch, so the number in it counts whole epochs."""
        return self.folder / "training_state.npz"

    @contextlib.contextmanager
    def state(self):
        """The arrays of training_state.npz, for a `with` block.

        Raises:
            UserError: if the file cannot be read, or the block raises any exception because of what it holds.
        """
        try:
            with np.load(self.state_path, allow_pickle=False) as arrays:
                yield arrays
        except Exception as error:  # on damaged files NumPy and zipfile raise exceptions of many types
            raise UserError(
                f"{self.state_path} does not fit this run ({error}); start again with --overwrite"
            ) from None

    def epochs_done(self):
        """How many epochs are whole; 0 if training was stopped in the first one.

        Raises:
            UserError: if training_state.npz is missing (as in the shipped runs) or damaged.
        """
        if not self.state_path.exists():
            if {path.name for path in (self.folder / "checkpoints").glob("*.h5")} <= {"0.weights.h5"}:
                return 0
            raise UserError(
                f"{self.folder} has no {self.state_path.name}, which --resume needs; start again with --overwrite, or "
                "choose another --name"
            )
        with self.state() as arrays:
            epochs = int(arrays["epochs"])
            if epochs < 1:
                raise ValueError(f"{epochs} epochs")
        return epochs

    def identity(self, number):
        """Provenance of a score: the run, its captioner, the checkpoint and the SHA-256 of its weights file."""
        digest = file_digest(self.checkpoint_path(number))
        return {"run": self.name, "model": self.config().model.name, "checkpoint": number, "sha256": digest}

    def captioner(self, which):
        """(the trained captioner, checkpoint number); `which` as `checkpoint`."""
        number = self.checkpoint(which)
        model = new_model(self.config(), self.vocabulary())
        self.load_weights(model, number)
        return model, number

    def load_weights(self, model, number):
        """Loads the weights of a checkpoint into a captioner.

        Raises:
            UserError: if the file is damaged or has other shapes.
        """
        path = self.checkpoint_path(number)
        try:
            model.load_weights(path)
        except Exception as error:  # on damaged files HDF5 and Keras raise exceptions of many types
            reason = " ".join((str(error) or type(error).__name__).split())[:200]
            raise UserError(f"{path} does not fit {self.folder / 'config.json'} ({reason})") from None


def portable(record):
    """The contents of a config.json without the folders of this machine: files are named, not located.

    Args:
        record: {"config": as `Config.to_json`, "command": the command line (older runs: none), ...}.
    """
    features = record["config"]["features"]
    config = {**record["config"], "features": {**features, "weights": network_of(features["weights"]).name}}
    return {**record, "config": config, "command": portable_command(record.get("command", ""))}


def portable_command(command):
    """A command line in which paths that lead out of the current folder are cut to their last part.

    Example:
        >>> portable_command("python run.py --weights /home/me/w.npz --set a=/home/me/b --data_dir DATA/x")
        'python run.py --weights w.npz --set a=b --data_dir DATA/x'
    """

    def cut(word):
        name, equals, value = word.rpartition("=")
        path = Path(value)
        return f"{name}{equals}{path.name}" if path.is_absolute() or ".." in path.parts else word

    return shlex.join(map(cut, shlex.split(command)))


def new_model(config, vocabulary):
    """An untrained captioner for a Config and a Vocabulary."""
    import_engine()
    from s2vt.captioning.captioners import CAPTIONERS

    captioner = CAPTIONERS[config.model.name]
    fields = {**vars(config.text), **vars(config.model)}
    settings = {name: fields[name] for name in captioner.SETTINGS}
    model = captioner(len(vocabulary), word_log_frequencies=vocabulary.log_frequencies(), **settings)
    model.build({"v": (None, None, network_of(config.features.weights).num_channels)})
    return model
