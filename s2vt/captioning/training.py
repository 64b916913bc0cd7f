"""Runs: training a captioner and finding its checkpoints again.

experiments/<RUN>/config.json         the Config, seed, versions, weights' digest, command
                 /vocabulary.json
                 /log.csv             loss, val_loss, val_METEOR an epoch
                 /tensorboard/
                 /checkpoints/<k>.weights.h5, scores.json ("best" is the best validation METEOR)
                 /training_state.npz  optimizer and random state, for --resume
"""

import platform
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

import keras
import numpy as np
from keras import ops
from tqdm import tqdm

import cfg
from s2vt.captioning import decoding
from s2vt.captioning.model import S2VT, caption_loss
from s2vt.captioning.scoring import MeteorScorer
from s2vt.data.batches import CaptionBatches
from s2vt.data.files import atomic_path, read_json, write_json
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

    def config(self):
        """The Config that the run was trained with."""
        return cfg.load(self.require().folder / "config.json")

    def vocabulary(self):
        """The run's words."""
        return Vocabulary.load(self.folder / "vocabulary.json")

    def scores(self):
        """{checkpoint number: validation METEOR or None}."""
        path = self.folder / "checkpoints" / "scores.json"
        return {int(k): v for k, v in read_json(path).items()} if path.exists() else {}

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
        there = sorted(int(name) for name in names if name.isdigit())
        scored = {k: score for k, score in self.scores().items() if score is not None and k in there}
        if which == "best" and scored:
            return max(scored, key=lambda k: (scored[k], -k))
        if which == "last" and there:
            return there[-1]
        if str(which).isdigit() and int(which) in there:
            return int(which)
        listed = ", ".join(map(str, there)) or "none"
        raise UserError(f"no checkpoint {which!r} in {self.folder}; there are: {listed} (and best, last)")

    def captioner(self, which):
        """(the trained S2VT, checkpoint number)."""
        number = self.checkpoint(which)
        model = new_model(self.config(), self.vocabulary())
        path = self.checkpoint_path(number)
        try:
            model.load_weights(path)
        except (OSError, ValueError, KeyError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{path} does not fit {self.folder / 'config.json'} ({reason})") from None
        return model, number


def new_model(config, vocabulary):
    """An untrained S2VT for a config and a vocabulary."""
    model = S2VT(
        len(vocabulary),
        units=config.model.units,
        embedding_size=config.model.embedding_size,
        dropout=config.model.dropout,
        word_log_frequencies=vocabulary.log_frequencies(),
    )
    model({"v": np.zeros((1, 1, 2048), np.float32), "y": np.zeros((1, 1), np.int32)})
    return model


def caption_media(captioner, vocabulary, media, store, config, beam=1, progress=iter):
    """Captions of media, in batches.

    Returns:
        {id: sentence}
    """
    sentences = {}
    size = max(1, config.training.batch_size // beam)
    for start in progress(range(0, len(media), size)):
        batch = media[start : start + size]
        v = np.stack([store.v(medium) for medium in batch]).astype(np.float32)
        if beam == 1:
            found = decoding.greedy(captioner, v, config.text.max_words)
        else:
            found = decoding.beam(captioner, v, beam, config.text.max_words)
        sentences.update({medium.id: vocabulary.decode(words) for medium, words in zip(batch, found, strict=True)})
    return sentences


def train(config, run, training, validation, store, seed=0, resume=False, overwrite=False, command=""):
    """Trains a captioner; every epoch leaves a checkpoint, scored by METEOR on the validation media.

    Args:
        run: a Run. training, validation: lists of Medium. store: their DescriptorStore.
    Raises:
        UserError: if the run exists and neither `resume` nor `overwrite` is set.
    """
    if run.exists() and not (resume or overwrite):
        raise UserError(f"{run.folder} exists; add --resume to go on, --overwrite to start again, or --name another")
    if resume and run.config() != config:
        raise UserError(f"{run.folder} was trained with another config; drop --set, or start again with --overwrite")
    for medium in [*training, *validation]:
        store.load(medium)  # says which are missing before anything is written

    if overwrite and run.exists():
        shutil.rmtree(run.folder / "checkpoints", ignore_errors=True)
        (run.folder / "log.csv").unlink(missing_ok=True)
        (run.folder / "training_state.npz").unlink(missing_ok=True)
    if resume:
        vocabulary, first_epoch = run.vocabulary(), run.checkpoint("last") + 1
    else:
        captions = (caption for medium in training for caption in medium.captions)
        vocabulary, first_epoch = Vocabulary.from_captions(captions, config.text.min_count), 0
        vocabulary.save(run.folder / "vocabulary.json")
        write_json(run.folder / "config.json", {"config": config.to_json(), **provenance(store, seed, command)})

    keras.utils.set_random_seed(seed)
    model = new_model(config, vocabulary)
    batches = CaptionBatches(training, store, vocabulary, config, seed, epoch=first_epoch)
    rate = config.training.learning_rate
    if config.training.decay == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, config.training.epochs * len(batches), alpha=0.05)
    # TF1's Adam, which the release used, has epsilon 1e-8 (Keras: 1e-7).
    model.compile(keras.optimizers.Adam(rate, epsilon=1e-8), caption_loss)
    if resume:
        model.load_weights(run.checkpoint_path(first_epoch - 1))
        _restore_state(model, run.folder / "training_state.npz")
    callbacks = [
        _Checkpoints(run, config, vocabulary, validation, store),
        keras.callbacks.CSVLogger(run.folder / "log.csv", append=resume),
        keras.callbacks.TensorBoard(run.folder / "tensorboard", write_graph=False),
        _Progress(config.training.epochs),
    ]
    model.fit(
        batches,
        validation_data=CaptionBatches(validation, store, vocabulary, config, shuffle=False),
        epochs=config.training.epochs,
        initial_epoch=first_epoch,
        callbacks=callbacks,
        verbose=0,
        shuffle=False,  # the batches shuffle themselves, by seed and epoch
    )
    return run


def provenance(store, seed, command):
    """What it takes to repeat a run, besides its config."""
    here = Path(__file__).parent
    git = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=False)
    packages = ("tensorflow", "keras", "numpy", "av")
    versions = {name: metadata.version(name) for name in packages if _installed(name)}
    return {
        "seed": seed,
        "command": command,
        "weights": store.meta()["weights"],
        "versions": {"python": platform.python_version(), **versions},
        "git": git.stdout.strip() or None,
    }


def _installed(name):
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _state_variables(model):
    return [*model.non_trainable_variables, *model.optimizer.variables]


def _restore_state(model, path):
    try:
        with np.load(path, allow_pickle=False) as arrays:
            for k, variable in enumerate(_state_variables(model)):
                variable.assign(arrays[f"{k}"])
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"{path} does not fit this run ({error}); start again with --overwrite") from None


class _Checkpoints(keras.callbacks.Callback):
    """Saves each epoch's weights and optimizer, and scores them by METEOR on the validation media."""

    def __init__(self, run, config, vocabulary, validation, store):
        super().__init__()
        self.run, self.config, self.vocabulary = run, config, vocabulary
        self.validation, self.store, self.meteor = validation, store, None

    def on_train_begin(self, logs=None):
        self.meteor = MeteorScorer().__enter__()

    def on_train_end(self, logs=None):
        self.meteor.__exit__(None, None, None)

    def on_epoch_end(self, epoch, logs=None):
        score = None
        if (epoch + 1) % self.config.training.score_every == 0 or epoch + 1 == self.config.training.epochs:
            candidates = caption_media(self.model, self.vocabulary, self.validation, self.store, self.config)
            references = {medium.id: list(medium.captions) for medium in self.validation}
            score = self.meteor.score(references, candidates)
        with atomic_path(self.run.checkpoint_path(epoch)) as partial:
            self.model.save_weights(partial)
        with atomic_path(self.run.folder / "training_state.npz") as partial, open(partial, "wb") as file:
            np.savez(file, **{str(k): ops.convert_to_numpy(v) for k, v in enumerate(_state_variables(self.model))})
        scores = {**self.run.scores(), epoch: score}
        write_json(self.run.folder / "checkpoints" / "scores.json", {str(k): v for k, v in scores.items()})
        if logs is not None:
            logs["val_METEOR"] = float("nan") if score is None else score


class _Progress(keras.callbacks.Callback):
    """A tqdm bar an epoch on stderr; one line an epoch on stdout."""

    def __init__(self, epochs):
        super().__init__()
        self.epochs, self.bar = epochs, None

    def on_epoch_begin(self, epoch, logs=None):
        self.bar = tqdm(total=self.params["steps"], desc=f"epoch {epoch}", unit="step", leave=False)

    def on_train_batch_end(self, batch, logs=None):
        self.bar.set_postfix(loss=f"{logs['loss']:.3f}", refresh=False)
        self.bar.update()

    def on_epoch_end(self, epoch, logs=None):
        self.bar.close()
        figures = " ".join(f"{name} {logs[name]:.4f}" for name in ("loss", "val_loss", "val_METEOR"))
        print(f"epoch {epoch} of {self.epochs}: {figures}", flush=True)
