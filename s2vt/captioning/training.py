"""Training a captioner with Keras: Adam on the captions' cross entropy, a scored checkpoint an epoch."""

import contextlib
import os
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
from s2vt.captioning.decoding import caption_media
from s2vt.captioning.java import MeteorScorer
from s2vt.captioning.runs import new_model
from s2vt.data.batches import CaptionBatches
from s2vt.data.files import atomic_path, reserve, write_json
from s2vt.data.text import Vocabulary
from s2vt.errors import UserError
from s2vt.features.descriptors import DescriptorStore


def train(config, run, training, validation, store, seed=0, resume=False, overwrite=False, command=""):
    """Trains a captioner; every epoch leaves a checkpoint, scored by METEOR on the validation media.

    The same seed gives the same weights, to the bit, on the same machine with the same versions and number of cores.
    Not so on a GPU, where engines add up in any order; TensorFlow keeps one with TF_DETERMINISTIC_OPS=1, more slowly.

    Args:
        run: a Run. training, validation: lists of Medium. store: their DescriptorStore.
    Raises:
        UserError: as `Run.check_new`.
    """
    run.check_new(config, resume, overwrite)
    state = run.folder / "training_state.npz"
    if run.exists() and resume:
        vocabulary, first_epoch = run.vocabulary(), _epochs_done(run)
        seed = cfg.record(run.folder / "config.json")["seed"]
    else:
        # The order is for kills: a run without config.json has not begun, one with it has nothing of an older run.
        for path in (run.folder / "config.json", run.folder / "log.csv", state):
            path.unlink(missing_ok=True)
        shutil.rmtree(run.folder / "checkpoints", ignore_errors=True)
        captions = (caption for medium in training for caption in medium.captions)
        vocabulary, first_epoch = Vocabulary.from_captions(captions, config.text.min_count), 0
        vocabulary.save(run.folder / "vocabulary.json")
        write_json(run.folder / "config.json", {"config": config.to_json(), **provenance(store, seed, command)})

    keras.utils.set_random_seed(seed)
    model = new_model(config, vocabulary)
    batches = CaptionBatches(
        training, store, vocabulary, config, seed, epoch=first_epoch, readings=readings(config, store)
    )
    rate = config.training.learning_rate
    if config.training.decay == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, config.training.epochs * len(batches), alpha=0.05)
    if first_epoch:
        run.load_weights(model, first_epoch - 1)
    # TF1's Adam, which the release used, has epsilon 1e-8 (Keras: 1e-7).
    model.compile(keras.optimizers.Adam(rate, epsilon=1e-8))
    if first_epoch:
        _restore_state(model, state)
    callbacks = [
        _Checkpoints(run, config, vocabulary, validation, store),
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


def readings(config, store):
    """What a video is read as in some of the batches: the cells of one frame, like a picture.

    Saliency asks what the captioner says of a single cell (Eq. 13); one trained on frames alone has never met one.

    Returns:
        pairs (share of the batches, (Medium, random generator) -> (N, D)), for `CaptionBatches`.
    """
    cells = DescriptorStore(config, store.data_dir, layer="mixed_10")

    def cells_of_a_frame(medium, rng):  # row by row
        frames = cells.load(medium)
        return frames[rng.integers(len(frames))]

    return [(config.training.cells, cells_of_a_frame)]


def provenance(store, seed, command):
    """What it takes to repeat a run, besides its config: `--config` reads the seed and compares the weights."""
    packages = ("tensorflow", "jax", "torch", "keras", "numpy", "av", "pillow")
    versions = {name: metadata.version(name) for name in packages if _installed(name)}
    return {
        "seed": seed,
        "command": command,
        "weights": store.meta()["weights"],
        "engine": keras.backend.backend(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {"python": platform.python_version(), **versions},
        "git": _git_revision(),
    }


def _git_revision():
    """The commit that this file is of, "-dirty" where files differ from it; None without git or a repository."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        git = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return git.stdout.strip() or None


def _installed(name):
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _state_variables(model):
    """The random state of the dropout masks, and the optimizer's step and moments."""
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    seeds = [variable for variable in model.non_trainable_variables if "seed_generator" in variable.path]
    return [*seeds, *model.optimizer.variables]


def _save_state(model, path, epochs):
    """The epochs that are done, and `_state_variables` after them: written last, it says that the epoch is whole."""
    arrays = {str(k): ops.convert_to_numpy(variable) for k, variable in enumerate(_state_variables(model))}
    with atomic_path(path) as partial, open(partial, "wb") as file:
        np.savez(file, epochs=epochs, **arrays)


def _epochs_done(run):
    """How many epochs a run has behind it; 0 where it was killed in its first one."""
    path = run.folder / "training_state.npz"
    if not path.exists() and {p.name for p in run.checkpoint_path(0).parent.glob("*.h5")} <= {"0.weights.h5"}:
        return 0
    with _open_state(path) as arrays:
        epochs = int(arrays["epochs"])
        if epochs < 1:
            raise ValueError(f"{epochs} epochs")
        return epochs


def _restore_state(model, path):
    with _open_state(path) as arrays:
        for k, variable in enumerate(_state_variables(model)):
            variable.assign(arrays[str(k)])


@contextlib.contextmanager
def _open_state(path):
    """The arrays that `_save_state` wrote; what the block finds wrong with them is told in one line."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            yield arrays
    except Exception as error:  # on damaged files NumPy and zipfile raise nearly anything
        raise UserError(f"{path} does not fit this run ({error}); start again with --overwrite") from None


class _Checkpoints(keras.callbacks.Callback):
    """Saves each epoch's weights, METEOR on the validation media, row of log.csv and optimizer, in this order."""

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
        bare = new_model(self.config, self.vocabulary)  # a compiled model's file would hold the optimizer, too
        bare.set_weights(self.model.get_weights())
        with atomic_path(self.run.checkpoint_path(epoch)) as partial:
            reserve(partial, 2**17 + sum(weights.nbytes for weights in bare.get_weights()))
            bare.save_weights(partial)
        scores = {**self.run.scores(), epoch: score}
        write_json(self.run.folder / "checkpoints" / "scores.json", {str(k): v for k, v in scores.items()})
        logs["val_METEOR"] = float("nan") if score is None else score
        self._log(epoch, logs)
        _save_state(self.model, self.run.folder / "training_state.npz", epoch + 1)

    def _log(self, epoch, logs):
        """Writes the epoch's row of log.csv, in the place of one that a killed run has left."""
        path = self.run.folder / "log.csv"
        rows = path.read_text("utf-8").splitlines()[1:] if path.exists() else []
        names = sorted(logs)
        rows = [row for row in rows if row.split(",")[0] in map(str, range(epoch))]
        rows.append(",".join(str(value) for value in (epoch, *(logs[name] for name in names))))
        with atomic_path(path) as partial:
            partial.write_text("\n".join([",".join(["epoch", *names]), *rows, ""]), "utf-8")


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
