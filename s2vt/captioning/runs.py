"""Runs: the folders of trained captioners, and finding their checkpoints again.

experiments/<RUN>/config.json         the Config, seed, command, versions, weights' digest, git revision
                 /vocabulary.json
                 /log.csv             loss, val_loss, val_METEOR an epoch
                 /tensorboard/
                 /checkpoints/<k>.weights.h5, scores.json ("best" is the best validation METEOR)
                 /training_state.npz  epochs done, optimizer and random state, for --resume
"""

import dataclasses
from pathlib import Path

import cfg
from s2vt.data.files import file_digest, read_json
from s2vt.data.text import Vocabulary
from s2vt.errors import UserError


class Run:
    """One folder under experiments/, and what is in it."""

    def __init__(self, folder):
        self.folder = Path(folder)

    @property
    def name(self):
        """The folder's name."""
        return self.folder.name

    def exists(self):
        """Whether a training has begun here."""
        return (self.folder / "config.json").exists()

    def require(self):
        """Raises UserError, naming the runs that there are, if nothing was trained here."""
        if not self.exists():
            runs = sorted(path.parent.name for path in self.folder.parent.glob("*/config.json"))
            raise UserError(
                f"no run {self.name!r} in {self.folder.parent}; "
                + (f"there are: {', '.join(runs)} (choose with --name)" if runs else "make one with --train")
            )
        return self

    def check_new(self, config, resume, overwrite):
        """Whether a training may begin here, or go on. One that was killed before it had a config.json begins anew.

        Raises:
            UserError: if the run exists and neither is asked for, or it would go on with another config.
        """
        if self.exists() and not (resume or overwrite):
            raise UserError(
                f"{self.folder} exists; add --resume to go on, --overwrite to start again, or --name another"
            )
        if resume and (self.exists() or not self.folder.is_dir()):
            if dataclasses.replace(self.config(), source=config.source, splits=config.splits) != config:
                raise UserError(
                    f"{self.folder} was trained with another config; give the same --set, or start again with "
                    "--overwrite"
                )

    def config(self):
        """The Config that the run was trained with."""
        return cfg.load(self.require().folder / "config.json")

    def vocabulary(self):
        """The run's words."""
        return Vocabulary.load(self.folder / "vocabulary.json")

    def scores(self):
        """{checkpoint number: validation METEOR or None}."""
        path = self.folder / "checkpoints" / "scores.json"
        values = read_json(path) if path.exists() else {}
        try:
            return {int(k): None if v is None else float(v) for k, v in values.items()}
        except (AttributeError, TypeError, ValueError, OverflowError) as error:
            raise UserError(f"{path} does not hold the checkpoints' scores ({error}); name a --checkpoint") from None

    def checkpoint_path(self, number):
        """The weights of one checkpoint."""
        return self.folder / "checkpoints" / f"{number}.weights.h5"

    def checkpoint(self, which):
        """The number of a checkpoint.

        Args:
            which: a number, "best" (by validation METEOR) or "last".
        Raises:
            UserError: if there is no such checkpoint; lists those there are.
        """
        self.require()
        names = (path.name.split(".")[0] for path in (self.folder / "checkpoints").glob("*.weights.h5"))
        there = sorted(int(name) for name in names if name.isdecimal())
        scored = {k: score for k, score in self.scores().items() if score is not None and k in there}
        if which == "best" and scored:
            return max(scored, key=lambda k: (scored[k], -k))
        if which == "last" and there:
            return there[-1]
        if str(which) in map(str, there):
            return int(which)
        listed = ", ".join(map(str, there)) or "none"
        raise UserError(f"no checkpoint {which!r} in {self.folder}; there are: {listed} (and best, last)")

    def identity(self, number):
        """What scores hang on: the run, its captioner, and which weights, to the byte."""
        digest = file_digest(self.checkpoint_path(number))
        return {"run": self.name, "model": self.config().model.name, "checkpoint": number, "sha256": digest}

    def captioner(self, which):
        """(the trained captioner, checkpoint number)."""
        number = self.checkpoint(which)
        model = new_model(self.config(), self.vocabulary())
        self.load_weights(model, number)
        return model, number

    def load_weights(self, model, number):
        """Gives a captioner the weights of a checkpoint.

        Raises:
            UserError: if the file is damaged or does not fit.
        """
        path = self.checkpoint_path(number)
        try:
            model.load_weights(path)
        except Exception as error:  # on damaged files HDF5 and Keras raise nearly anything
            reason = " ".join((str(error) or type(error).__name__).split())[:200]
            raise UserError(f"{path} does not fit {self.folder / 'config.json'} ({reason})") from None


def new_model(config, vocabulary):
    """An untrained captioner for a config and a vocabulary."""
    from s2vt.captioning.captioners import CAPTIONERS  # here: a wrong name is told before the engine is loaded

    captioner = CAPTIONERS[config.model.name]
    settings = {name: getattr(config.model, name) for name in captioner.SETTINGS}
    model = captioner(len(vocabulary), word_log_frequencies=vocabulary.log_frequencies(), **settings)
    model.build()
    return model
