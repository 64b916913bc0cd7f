"""A linear classifier on pool_3 of a frozen network: which classes are in a picture (several at a time).

    logits = v W + b,    v = pool_3,    P(class l is in the picture) = sigmoid(logits_l)

It exists to ask a network about its classes where no captioner is at hand: `s2vt.saliency.excitation_backprop` starts
from the columns of W. `fit` makes it in a second on a CPU; a file of it is a small `.npz` of arrays without objects.

Letters: B pictures, D channels of the network, L classes.
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s2vt.data.files import atomic_path
from s2vt.errors import UserError
from s2vt.features import networks

ENDING = ".labels.npz"  # of the file of a head
PENALTY = 1e-2  # of the squared weights of standardised channels, for a mean over pictures


def file_beside(weights):
    """Where the head of a network is kept: beside the network's file, NAME.npz -> NAME.labels.npz.

    Args:
        weights: a value of `--weights`.
    Raises:
        UserError: if the network's file is not here, or not of this project's keeping.
    """
    path = networks.weights_file(weights)
    if path is None:
        raise UserError(f"--weights {weights} has no file that a head could lie beside; name the head with --head FILE")
    return path.with_name(path.stem + ENDING)


def network_beside(path):
    """The value of `--weights` of the network that a head lies beside: NAME.labels.npz -> NAME.npz, or a known NAME.

    Example:
        >>> network_beside("DATA/weights/inception-shapes.labels.npz"), network_beside("folder/mine.labels.npz")
        ('inception-shapes', 'folder/mine.npz')
    """
    path = Path(path)
    name = path.name.removesuffix(ENDING)
    return name if name in networks.NAMES else str(path.with_name(f"{name}.npz"))


@dataclass(frozen=True)
class LabelHead:
    """The classifier, and where it is from.

    Attributes:
        kernel: W, (D, L) float32.
        bias: b, (L,) float32.
        classes: names of the L classes.
        weights: digest of the network that it reads (`networks.digest`).
        made_by: the command that fitted it.
    """

    kernel: np.ndarray
    bias: np.ndarray
    classes: tuple[str, ...]
    weights: str
    made_by: str = ""

    def logits(self, v):
        """Logits of the classes, (..., L), of pool_3, (..., D)."""
        return np.asarray(v, np.float32) @ self.kernel + self.bias

    def on_cells(self, classes):
        """The weights of some classes as Excitation Backprop wants them on cells, (K, 1, 1, D).

        pool_3 is the mean of the cells, so that each cell has pool_3's weights up to a factor, which cancels.

        Args:
            classes: K names.
        """
        return self.kernel.T[[self.classes.index(name) for name in classes], None, None]

    def save(self, path):
        """Writes the head: kernel as float16, the rest as it is."""
        with atomic_path(path) as partial, open(partial, "wb") as file:
            text = {"classes": list(self.classes), "weights": self.weights, "made_by": self.made_by}
            text = {name: np.array(value, dtype=np.str_) for name, value in text.items()}
            np.savez(file, kernel=self.kernel.astype(np.float16), bias=self.bias.astype(np.float32), **text)

    @classmethod
    def load(cls, path, weights=None):
        """The head of a file.

        Args:
            weights: the value of `--weights` of the network that is to be read; None: any.
        Raises:
            UserError: if there is no such file, it is no head, or it reads another network.
        """
        path = Path(path)
        if not path.is_file():
            raise UserError(f"{path}: no such file; fit a head with python -m s2vt.synthetic.labels --train")
        try:
            if not zipfile.is_zipfile(path):
                raise ValueError("not an .npz file")
            with np.load(path, allow_pickle=False) as arrays:
                kernel, bias = (arrays[name].astype(np.float32) for name in ("kernel", "bias"))
                classes, of, made_by = (arrays[name].tolist() for name in ("classes", "weights", "made_by"))
            if kernel.ndim != 2 or bias.shape != (len(classes),) or kernel.shape[1:] != bias.shape:
                raise ValueError(f"kernel {kernel.shape}, bias {bias.shape}, {len(classes)} classes")
            if not (np.isfinite(kernel).all() and np.isfinite(bias).all()):
                raise ValueError("not finite")
        except (KeyError, OSError, TypeError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise UserError(
                f"{path} is no head of a classifier ({error}); fit one with python -m s2vt.synthetic.labels --train"
            ) from None
        if weights is not None and networks.digest(weights) != of:
            raise UserError(
                f"{path} reads the network {of}, not {weights} ({networks.digest(weights)}); fit one for it with "
                f"python -m s2vt.synthetic.labels --train --weights {weights} --head FILE"
            )
        return cls(kernel, bias, tuple(classes), of, made_by)


def fit(v, present, penalty=PENALTY):
    """Kernel and bias of the logistic regression of each class: the minimum of

        mean over pictures of -log P(present_l)  +  penalty / 2 sum_d (s_d W_dl)^2,

    s_d the standard deviation of channel d; the minimum is unique, so that nothing depends on where the search starts.

    Args:
        v: pool_3 of the training pictures, (B, D).
        present: whether the class is in the picture, bool (B, L).
        penalty: > 0.
    Returns:
        kernel (D, L) and bias (L,), float32.
    Raises:
        UserError: if a class is in all or in none of the pictures.
    """
    from scipy.optimize import minimize

    v, present = np.asarray(v, np.float64), np.asarray(present, bool)
    for k in np.flatnonzero(present.all(axis=0) | ~present.any(axis=0)):
        raise UserError(f"class {k} is in all or in none of the {len(v)} pictures; fit to more or to others")
    scale, middle = np.where(v.std(axis=0) > 0, v.std(axis=0), 1), v.mean(axis=0)
    z, (B, D), L = (v - middle) / scale, v.shape, present.shape[1]
    sign = np.where(present, 1.0, -1.0)

    def objective(parameters):
        W, b = parameters[: D * L].reshape(D, L), parameters[D * L :]
        margin = sign * (z @ W + b)
        loss = np.logaddexp(0, -margin).sum() / B + penalty / 2 * (W**2).sum()
        slope = -sign * np.exp(-np.logaddexp(0, margin)) / B  # of the loss by the logits
        return loss, np.concatenate([(z.T @ slope + penalty * W).ravel(), slope.sum(axis=0)])

    found = minimize(objective, np.zeros((D + 1) * L), jac=True, method="L-BFGS-B", options={"maxiter": 500})
    W = found.x[: D * L].reshape(D, L) / scale[:, None]
    return W.astype(np.float32), (found.x[D * L :] - middle @ W).astype(np.float32)
