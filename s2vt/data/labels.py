"""What the objects of pictures are, `labels.json`, beside their boxes in the files of Flickr30k Entities.

    {"classes": {"colour": ["red", ...], "shape": ["circle", ...]},
     "objects": {"000000": {"1": ["red", "circle"], "2": ["blue", "star"]}, ...}}

An object's number is its chain in `Entities/Annotations/<id>.xml`. Captions need not name all objects, nor by these
words, so that they do not tell what is in a picture; this file does.

Letters: L classes.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s2vt.data.files import read_json
from s2vt.errors import UserError, listed

FILE = "labels.json"


@dataclass(frozen=True)
class Labels:
    """The labels of all objects of a data set.

    Attributes:
        classes: {kind: its classes}, such as {"colour": ("red", ...)}; no class is of two kinds.
        objects: {id of a picture: {chain of an object: its classes}}.

    Example:
        >>> classes = {"colour": ("red", "blue"), "shape": ("star",)}
        >>> labels = Labels(classes, {"a": {"1": ("blue", "star"), "2": ("blue",)}})
        >>> labels.names, labels.present("a").tolist()
        (('red', 'blue', 'star'), [False, True, True])
        >>> labels.boxes("a", {"1": ((0, 0, 2, 2),), "2": ((5, 5, 6, 6),)})
        {'blue': ((0, 0, 2, 2), (5, 5, 6, 6)), 'star': ((0, 0, 2, 2),)}
    """

    classes: dict[str, tuple[str, ...]]
    objects: dict[str, dict[str, tuple[str, ...]]]

    @property
    def names(self):
        """All classes, in the order of the file."""
        return tuple(name for names in self.classes.values() for name in names)

    @property
    def kinds(self):
        """{class: its kind}."""
        return {name: kind for kind, names in self.classes.items() for name in names}

    def require(self, classes):
        """Raises UserError if a classifier has other classes, or the same in another order."""
        if tuple(classes) != self.names:
            raise UserError(
                f"the classifier's classes are {listed(classes, len(classes))}; {FILE} has "
                f"{listed(self.names, len(self.names))}; fit a head to these: python -m s2vt.synthetic.labels --train"
            )

    def present(self, picture):
        """Which classes an object of a picture has, bool (L,)."""
        found = {name for names in self.objects[picture].values() for name in names}
        return np.array([name in found for name in self.names])

    def boxes(self, picture, boxes):
        """The boxes of the objects of each class that a picture has, in the order of `names`.

        Args:
            picture: its id.   boxes: {chain: its boxes}, of `entities.Entities`.
        Returns:
            {class: boxes, (K, 4) source pixels}, of classes with a box.
        """
        found = {name: () for name in self.names}
        for chain, names in self.objects[picture].items():
            for name in names:
                found[name] += tuple(boxes.get(chain, ()))
        return {name: of_class for name, of_class in found.items() if of_class}


def read_labels(folder, pictures=()):
    """The labels of a data set.

    Args:
        folder: of the data set.   pictures: ids of pictures whose objects must be in the file.
    Raises:
        UserError: if the file is missing, is laid out differently, or lacks one of the pictures.
    """
    path = Path(folder) / FILE
    if not path.exists():
        raise UserError(
            f"{path} is missing, which says what the objects of each picture are; for StillShapes write it with "
            f"python -m s2vt.synthetic --dataset StillShapes --data_dir {path.parent.parent}: pictures that are there "
            "are not rendered again"
        )
    record = read_json(path)
    try:
        classes = {kind: tuple(names) for kind, names in record["classes"].items()}
        objects = {
            picture: {chain: tuple(names) for chain, names in of_picture.items()}
            for picture, of_picture in record["objects"].items()
        }
        labels = Labels(classes, objects)
        used = [name for of_picture in objects.values() for names in of_picture.values() for name in names]
        if unknown := sorted(set(used) - set(labels.names)):
            raise ValueError(f"{unknown[0]!r} is not among the classes")
        if len(labels.names) != len(labels.kinds):
            raise ValueError("a class is named twice")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f'{path}: expected {{"classes": {{kind: [class, ...]}}, "objects": {{picture: {{chain: [class, ...]}}}}}} '
            f"({type(error).__name__}: {error})"
        ) from None
    if missing := next((picture for picture in pictures if picture not in objects), None):
        raise UserError(f"{path} has no objects of {missing}; make the set again")
    return labels
