"""Training a run: everything that can fail without the engine is checked first, then `fitting` trains."""

import contextlib
import dataclasses
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

from s2vt.captioning.devices import Devices
from s2vt.captioning.runs import Run, portable, portable_command
from s2vt.config import CONTRASTED, Config, TrainingConfig, find, keys
from s2vt.data import datasets
from s2vt.data.files import lock, read_json, write_json
from s2vt.data.text import Vocabulary
from s2vt.errors import UserError
from s2vt.features.descriptors import DescriptorStore, with_descriptors
from s2vt.features.domain import Domain
from s2vt.provenance import git_revision, machine, versions


@dataclass(frozen=True)
class TrainingRequest:
    """What to train.

    Attributes:
        config: the Config to train with.
        run: the Run to train.
        data_dir: the folder of the data sets.
        seed: of initial weights, order of the captions and dropout; a resumed run keeps its own.
        resume: continue an existing run after its last whole epoch.
        overwrite: start an existing run again.
        command: the command line, recorded in config.json.
        weights: digest of the backbone's weights that `config` was used with before; None: not checked.
        data_sets: {name: Config} in which `config.training.joint_dataset` is looked up; a `dataset.json` is, too.
        devices: that train; a run may be resumed on others.
    """

    config: Config
    run: Run
    data_dir: str | Path
    seed: int = 0
    resume: bool = False
    overwrite: bool = False
    command: str = ""
    weights: str | None = None
    data_sets: dict[str, Config] = field(default_factory=dict)
    devices: Devices = Devices()


@dataclass(frozen=True)
class TrainingData:
    """Media with descriptors.

    Attributes:
        training: pairs (list of Medium, their DescriptorStore), of the data set and of its joint data set, if any.
        validation: list of Medium of the data set.
        store: the data set's DescriptorStore.
    """

    training: list
    validation: list
    store: DescriptorStore


def train(request: TrainingRequest) -> tuple[int, float]:
    """Trains a captioner. Each epoch writes a checkpoint; those of `score_every` are scored by validation METEOR.

    With `resume`, training continues after the last whole epoch. The config must be the run's own, except that
    `training.epochs` may be larger; config.json is then updated and lists the earlier number under "extended". With
    constant decay the result is that of a run of the larger number from the start. With cosine decay the remaining
    epochs follow the schedule of the larger number, so the learning rate first rises again. A run whose epochs are all
    done is left as it is.

    The same seed gives the same weights, bit for bit, on one machine with the same versions and number of cores. On a
    GPU, the order of additions varies; TF_DETERMINISTIC_OPS=1 fixes it on TensorFlow, at a cost in speed. On other
    numbers of devices they are equal up to rounding.

    Returns:
        The number of the best checkpoint and its validation METEOR.
    Raises:
        UserError: if the run exists and neither `resume` nor `overwrite` is set; if a run to be resumed has another
            config (each field is named) or no saved state; if media or descriptors are missing or other than
            expected; if another process is training the run; if there are no such devices.
    """
    _check_losses(request.config)
    request.devices.check()
    run, epochs = request.run, request.config.training.epochs
    if _first_epoch(request) >= epochs:
        print(f"{run.folder}: all {epochs} epochs are done; to train longer, add --set training.epochs={2 * epochs}",
              file=sys.stderr)  # fmt: skip
    else:
        data = _data(request)
        request.devices.join()
        with contextlib.ExitStack() as held:
            first_epoch = request.devices.from_first(lambda: _prepare(request, data, held))
            from s2vt.captioning import fitting  # loads the engine

            fitting.fit(request.config, run, data, first_epoch, request.devices)
    best = run.checkpoint("best")
    return best, run.scores()[best]


def _check_losses(config):
    """Raises UserError if the config asks for a contrast or a distillation that its training cannot have."""
    contrast, distillation, training = config.model.contrast, config.model.distillation, config.training
    if distillation and not contrast:
        raise UserError(
            f"model.distillation={distillation} teaches single descriptors the alignment of model.contrast, which is "
            "0; add --set model.contrast=0.3, or model.distillation=0"
        )
    if contrast and config.model.name not in CONTRASTED:
        raise UserError(
            f"model.contrast={contrast}: {config.model.name} cannot be trained with a contrast; "
            f"choose --model {' or '.join(CONTRASTED)}, or model.contrast=0"
        )
    if contrast and training.batch_size < 2 * training.captions_per_medium:
        raise UserError(
            f"model.contrast={contrast} sets the media of a batch against each other; expected at least two of them, "
            f"training.batch_size={2 * training.captions_per_medium} or more with training.captions_per_medium="
            f"{training.captions_per_medium}"
        )


def _data(request):
    """The descriptors of both splits, all checked."""
    config, data_dir = request.config, request.data_dir
    media = datasets.read_media(config, data_dir)
    store = DescriptorStore(config, data_dir)
    training, validation = (with_descriptors(store, datasets.select(media, split)) for split in ("train", "val"))
    if config.training.frame_as_image_share:
        training = with_descriptors(DescriptorStore(config, data_dir, "mixed_10"), training)
    if request.weights not in (None, store.meta()["weights"]):
        raise UserError(
            f"the descriptors in {store.folder} are of other weights than this config was trained on; make those with "
            f"preprocessing.py --weights, or train on these with --dataset {config.dataset}"
        )
    return TrainingData([(training, store), *_joint(request)], validation, store)


def _joint(request):
    """The training media of the joint data set and their DescriptorStore, [] without one.

    Media are read by the joint data set's own layer; all other settings of features are those of the training.
    """
    config, name = request.config, request.config.training.joint_dataset
    if name == TrainingConfig.joint_dataset:
        return []
    if name == config.dataset:
        raise UserError(f"training.joint_dataset={name} is the data set itself; expected another one")
    joint = find(name, request.data_dir, request.data_sets)
    features = dataclasses.replace(config.features, layer=joint.features.layer)
    joint = dataclasses.replace(joint, features=features)
    store = DescriptorStore(joint, request.data_dir)
    return [(with_descriptors(store, datasets.select(datasets.read_media(joint, request.data_dir), "train")), store)]


# --- starting and resuming ------------------------------------------------------------------------------------------


def _first_epoch(request):
    """The number of the first epoch to train: 0, or the number of epochs done of a run that is resumed.

    A run without config.json was stopped before its first epoch and starts anew.
    """
    run = request.run
    if run.exists() and not (request.resume or request.overwrite):
        raise UserError(f"{run.folder} exists; add --resume to continue, --overwrite to start again, or --name another")
    if not request.resume or (not run.exists() and run.folder.is_dir()):
        return 0
    _check_config(run, request.config)
    return run.epochs_done()


def _check_config(run, wanted):
    """Raises UserError, naming fields and values, if a run to be resumed was trained with another config."""
    differences = {
        key: (of_run, now)
        for key, (of_run, now) in run.config().differences(wanted).items()
        if key not in ("source", "splits") and key.split(".")[0] not in ("saliency", "evaluation")
    }
    if "training.epochs" in differences and differences["training.epochs"][0] < wanted.training.epochs:
        del differences["training.epochs"]
    if "features.weights" in differences and run.has_network(wanted.features.weights):
        del differences["features.weights"]
    if differences:
        named = ", ".join(f"{key}={of_run} (now {now})" for key, (of_run, now) in differences.items())
        flags = [f"--set {key}={of_run}" for key, (of_run, _) in differences.items() if key in keys()]
        advice = f"add {' '.join(flags)}" if len(flags) == len(differences) else "choose another --name"
        raise UserError(f"{run.folder} was trained with {named}; {advice}, or start again with --overwrite")


def _prepare(request, data, held):
    """Locks the run's folder and writes what a run has before it is trained -> the number of the first epoch.

    Args:
        held: the ExitStack that unlocks the folder.
    """
    run = request.run
    held.enter_context(lock(run.folder, "choose another --name", writes=(run.folder, run.folder / "checkpoints")))
    first_epoch = _first_epoch(request)  # again: another process may have trained the run meanwhile
    if request.resume and run.exists():
        _continue(request, first_epoch)
    else:
        _start(request, data)
    _write_domain(run, data)
    return first_epoch


def _start(request, data):
    """Removes an older run and writes the new one's vocabulary and config.json.

    config.json is removed first and written last: a folder that has one has nothing of an older run, whenever the
    process is killed.
    """
    run = request.run
    for path in (run.folder / "config.json", run.folder / "log.csv", run.state_path, run.domain_path):
        path.unlink(missing_ok=True)
    shutil.rmtree(run.folder / "checkpoints", ignore_errors=True)
    captions = (caption for media, _ in data.training for medium in media for caption in medium.captions)
    vocabulary = Vocabulary.from_captions(captions, request.config.text.min_count)
    vocabulary.save(run.folder / "vocabulary.json")
    record = {"config": request.config.to_json(), **provenance(data.store, request.seed, request.command)}
    write_json(run.folder / "config.json", portable(record))


def _continue(request, first_epoch):
    """Notes a larger number of epochs in config.json."""
    run, path = request.run, request.run.folder / "config.json"
    trained, epochs = run.config(), request.config.training.epochs
    if epochs > trained.training.epochs:
        config = dataclasses.replace(trained, training=dataclasses.replace(trained.training, epochs=epochs))
        record = read_json(path)
        extended = {"epochs": trained.training.epochs, "done": first_epoch}
        extended["command"] = portable_command(request.command)
        record["extended"] = [*record.get("extended", []), extended]
        write_json(path, {**record, "config": config.to_json()})


def _write_domain(run, data):
    """Writes descriptor_statistics.json, unless it exists or the data set is too small for it."""
    if not run.domain_path.exists():
        training = [(store, medium) for media, store in data.training for medium in media]
        validation = [(data.store, medium) for medium in data.validation]
        domain = Domain.of(training, validation, lambda stored: stored[0].v(stored[1]))
        if domain is not None:
            write_json(run.domain_path, domain.to_json())


# --- provenance -----------------------------------------------------------------------------------------------------


def provenance(store, seed, command):
    """Provenance of a run, for config.json: what repeating it needs besides its config."""
    import keras

    return {
        "seed": seed,
        "command": command,
        "weights": store.meta()["weights"],
        "engine": keras.backend.backend(),
        "machine": machine(),
        "versions": versions(),
        "git": git_revision(),
    }
