"""Which captioner explains a file of the user's own: the usual data set of its medium, and other runs at hand."""

import contextlib
from pathlib import Path

from s2vt.captioning.runs import Run
from s2vt.data import pictures
from s2vt.data.sources import File
from s2vt.errors import MissingWeights, UserError
from s2vt.features.networks import weights_file


def usual_dataset(media, name, experiments_dir, usual):
    """The data set whose captioner explains a medium, where the user names none.

    Args:
        media: a file of the user's own; None: no file, then a run is named.
        name: of a run, whose data set is taken, of several (A,B) that of the first; None: the first usual data set
            that has a run of its name.
        experiments_dir: the folder of the runs.
        usual: {"picture" or "video": names of data sets}, such as `cfg.USUAL`.
    Raises:
        UserError: if there is no such file or run, or none of the usual runs.
    """
    if media is not None:
        File(Path(media)).check()
    if name is not None:
        return Run(Path(experiments_dir) / name.split(",")[0]).require().config().dataset
    kind = "picture" if pictures.is_picture(media) else "video"
    for dataset in usual[kind]:
        if Run(Path(experiments_dir) / dataset).exists():
            return dataset
    raise UserError(
        f"{media} is a {kind}, and {experiments_dir} has no run {' or '.join(usual[kind])}, which would explain it; "
        f"there are: {', '.join(_runs(experiments_dir)) or 'none'}. Choose one with --name, or another folder with "
        "--experiments_dir"
    )


def runs_of(folder, names, weights):
    """Which runs are meant, and for each one the network to explain it with.

    Args:
        folder: of the runs.
        names: of one run, or None; or of several, joined by commas.
        weights: a value of `features.weights`, or None; of several runs also several values, joined by commas.
    Returns:
        [(name, value of `features.weights` or None)]. Of one run as they are given; of several runs, each has the one
        of the networks that it was trained on, by its digest, else None: it names its network itself.
    Raises:
        UserError: if one of several runs or networks does not exist, or none of the runs was trained on a network.
    """
    listed, given = (names or "").split(","), [each for each in (weights or "").split(",") if each]
    if len(listed) == 1:
        return [(names, weights)]
    runs = [Run(Path(folder) / name).require() for name in listed]
    found = [next((each for each in given if run.has_network(each)), None) for run in runs]
    for each in given:
        if each not in found:
            raise UserError(
                f"--weights {each}: none of {', '.join(listed)} was trained on it; leave it out, or name the networks "
                "of the runs, joined by commas"
            )
    return list(zip(listed, found, strict=True))


@contextlib.contextmanager
def naming_others(run):
    """Adds to a MissingWeights that a `with` block raises which other runs of the data set could be used at once."""
    try:
        yield
    except MissingWeights as error:
        names = " or ".join(f"--name {name}" for name in runs_at_hand(run))
        raise MissingWeights(f"{error}; or choose {names}, whose network is here" if names else str(error)) from None


def runs_at_hand(run):
    """Names of the other runs of a run's data set whose network's weights are on this machine, without a download."""
    folder, dataset = run.folder.parent, run.config().dataset
    others = [Run(folder / name) for name in _runs(folder) if name != run.name]
    return [other.name for other in others if other.config().dataset == dataset and _has_weights(other)]


def _runs(folder):
    return sorted(path.parent.name for path in Path(folder).glob("*/config.json"))


def _has_weights(run):
    try:
        path = weights_file(run.config().features.weights)
    except UserError:
        return False
    return path is not None and path.is_file()
