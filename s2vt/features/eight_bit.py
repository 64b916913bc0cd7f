"""Cells in 8 bits: half of a float16 file, a scale for each channel of a medium.

Descriptors follow a ReLU, so that 0 stays 0: x of channel d becomes round(x / scale_d), scale_d = max_d / 255, with
the largest value max_d of that channel in the medium. An error is at most scale_d / 2.

Letters: (..., D) descriptors of D channels.
"""

import numpy as np

LEVELS = 255


def record_of(shape):
    """The dtype of one medium's descriptors of a shape: `scale`, (D,), and `levels`, of that shape.

    Example:
        >>> record_of((64, 2048)).itemsize / (64 * 2048 * 2)
        0.53125
    """
    return np.dtype([("scale", np.float32, shape[-1:]), ("levels", np.uint8, shape)])


def pack(descriptors):
    """One record, (), of descriptors.

    What `unpack` gives is packed to the same record, and the largest value of each channel is kept.

    Args:
        descriptors: (..., D) float16, none below 0.
    Raises:
        ValueError: if one is below 0 or not finite.
    """
    values = np.asarray(descriptors, np.float32)
    if not (np.isfinite(values) & (values >= 0)).all():
        raise ValueError("descriptors below 0, or not finite, cannot be stored as uint8; use features.storage=float16")
    record = np.zeros((), record_of(values.shape))
    scale = values.reshape(-1, values.shape[-1]).max(axis=0) / LEVELS
    record["scale"] = scale
    record["levels"] = np.rint(values / np.where(scale, scale, 1))
    return record


def unpack(record, index=...):
    """The descriptors of a record, or those that an index selects, (..., D) float16."""
    return np.asarray(record["levels"][index] * record["scale"], np.float16)
