"""The training loop in Keras: Adam on the captions' cross entropy, with a scored checkpoint after each epoch.

Imports the engine; `training` checks everything else first.
"""

import contextlib
import dataclasses
import functools

import keras
import numpy as np
from keras import ops
from tqdm import tqdm

from s2vt.captioning import scoring
from s2vt.captioning.decoding import caption_media
from s2vt.captioning.java import MeteorScorer
from s2vt.captioning.runs import new_model
from s2vt.data.batches import CaptionBatches, Source
from s2vt.data.files import atomic_path, reserve, write_json
from s2vt.engine import undistributed
from s2vt.features.descriptors import DescriptorStore


def fit(config, run, data, first_epoch, devices):
    """Trains the epochs from `first_epoch` to config.training.epochs.

    Args:
        run: a Run with config.json, whose seed counts, and vocabulary.json.   data: a TrainingData.
        first_epoch: 0, or the number of epochs done: then weights, optimizer and random state are restored first.
        devices: the Devices that train. Of several processes one writes, and all return when it has.
    Raises:
        UserError: if checkpoint or state do not fit the run.
    """
    seed, vocabulary = run.record()["seed"], run.vocabulary()
    keras.utils.set_random_seed(seed)
    with _precision(config.training.precision), devices.distributed():
        model = new_model(config, vocabulary)
        batches = CaptionBatches(_sources(config, data), vocabulary, config, seed, first_epoch, devices.share)
        validation = [Source(data.validation, data.store)]
        if first_epoch:
            run.load_weights(model, first_epoch - 1)
        model.compile(_optimizer(config.training, len(batches)))
        if first_epoch:
            _restore_state(model, run)
        with MeteorScorer() as scorer:
            model.fit(
                batches,
                validation_data=CaptionBatches(validation, vocabulary, config, share=devices.share),
                epochs=config.training.epochs,
                initial_epoch=first_epoch,
                callbacks=_callbacks(config, run, data, scorer) if devices.writes else [],
                verbose=0,
                shuffle=False,  # CaptionBatches shuffles by seed and epoch
            )
    devices.from_first(lambda: config.training.epochs)


def _callbacks(config, run, data, scorer):
    """What writes the run and tells of it."""
    return [
        _Checkpoints(run, config, data, scorer),
        keras.callbacks.TensorBoard(run.folder / "tensorboard", write_graph=False),
        _Progress(config.training.epochs),
    ]


@contextlib.contextmanager
def _precision(policy):
    """Makes `policy` Keras' default for the models that are built in the block."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _optimizer(training, steps_per_epoch):
    rate = training.learning_rate
    if training.decay == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, training.epochs * steps_per_epoch, alpha=0.05)
    # Departs from Keras, whose epsilon is 1e-7: TF1's Adam, which the release used, has 1e-8.
    return keras.optimizers.Adam(rate, epsilon=1e-8)


def _sources(config, data):
    """What training batches read: whole media and, of the data set itself, all cells of one random frame.

    Saliency asks the captioner about single cells (Eq. 13); one trained on frames alone has never read a cell.

    Returns:
        list of Source, for `CaptionBatches`.
    """
    cells = DescriptorStore(config, data.store.data_dir, layer="mixed_10")

    def cells_of_a_frame(medium, rng):
        return cells.load(medium, rng.integers(cells.num_pictures))

    own, *joint = (Source(media, store) for media, store in data.training)
    share = config.training.frame_as_image_share
    return [dataclasses.replace(own, readings=((share, cells_of_a_frame),)), *joint]


# --- the state for --resume -----------------------------------------------------------------------------------------


def _state_variables(model):
    """The variables besides the weights that the next epoch depends on: seeds of dropout, optimizer."""
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    seeds = [variable for variable in model.non_trainable_variables if "seed_generator" in variable.path]
    return [*seeds, *model.optimizer.variables]


def _save_state(model, path, epochs):
    """Writes the state after `epochs` epochs."""
    arrays = {str(k): ops.convert_to_numpy(variable) for k, variable in enumerate(_state_variables(model))}
    with atomic_path(path) as partial, open(partial, "wb") as file:
        np.savez(file, epochs=epochs, **arrays)


def _restore_state(model, run):
    with run.state() as arrays:
        for k, variable in enumerate(_state_variables(model)):
            variable.assign(arrays[str(k)])


# --- callbacks ------------------------------------------------------------------------------------------------------


class _Checkpoints(keras.callbacks.Callback):
    """After each epoch, writes weights, validation METEOR, the row of log.csv and the state, in this order."""

    def __init__(self, run, config, data, scorer):
        super().__init__()
        self.run, self.config, self.data, self.scorer = run, config, data, scorer

    @functools.cached_property
    def bare(self):
        """A captioner without the optimizer, which Keras saves with every compiled model, on this process alone."""
        with undistributed():
            return new_model(self.config, self.run.vocabulary())

    def on_epoch_end(self, epoch, logs=None):
        self.bare.set_weights(self.model.get_weights())
        with undistributed():
            score = self._score() if self._is_scored(epoch) else None
        self._save_weights(epoch)
        scores = {**self.run.scores(), epoch: score}
        write_json(self.run.folder / "checkpoints" / "scores.json", {str(k): v for k, v in scores.items()})
        logs["val_METEOR"] = float("nan") if score is None else score
        self._log(epoch, logs)
        _save_state(self.model, self.run.state_path, epoch + 1)

    def _is_scored(self, epoch):
        training = self.config.training
        return (epoch + 1) % training.score_every == 0 or epoch + 1 == training.epochs

    def _score(self):
        """METEOR on the validation media."""
        media = self.data.validation
        candidates = caption_media(self.bare, self.run.vocabulary(), media, self.data.store, self.config)
        references = {medium.id: list(medium.captions) for medium in media}
        return scoring.meteor(references, candidates, self.scorer)[0]

    def _save_weights(self, epoch):
        """Writes a checkpoint."""
        with atomic_path(self.run.checkpoint_path(epoch)) as partial:
            reserve(partial, 2**17 + sum(weights.nbytes for weights in self.bare.get_weights()))
            self.bare.save_weights(partial)

    def _log(self, epoch, logs):
        """Writes the epoch's row of log.csv; replaces rows of this and later epochs that a killed process left."""
        path = self.run.folder / "log.csv"
        rows = path.read_text("utf-8").splitlines()[1:] if path.exists() else []
        names = sorted(logs)
        rows = [row for row in rows if row.split(",")[0] in map(str, range(epoch))]
        rows.append(",".join(str(value) for value in (epoch, *(logs[name] for name in names))))
        with atomic_path(path) as partial:
            partial.write_text("\n".join([",".join(["epoch", *names]), *rows, ""]), "utf-8")


class _Progress(keras.callbacks.Callback):
    """A progress bar per epoch on stderr and a line per epoch on stdout."""

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
        names = [name for name in ("loss", "contrast", "val_loss", "val_contrast", "val_METEOR") if name in logs]
        figures = " ".join(f"{name} {logs[name]:.4f}" for name in names)
        print(f"epoch {epoch} of {self.epochs}: {figures}", flush=True)
