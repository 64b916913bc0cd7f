"""The JSON formats of the COCO caption evaluation: annotations (references) and results (candidates).

References are {id: [caption, ...]}, candidates {id: caption}; an id is a string or an integer.
"""

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path

from s2vt.data.files import read_json, write_json
from s2vt.errors import UserError, listed


def write_annotations(path: str | Path, references: Mapping[Hashable, Sequence[str]]):
    """Writes references as a COCO annotation file, atomically.

    Raises:
        UserError: if the file cannot be written.
    """
    pairs = [(medium, caption) for medium, captions in references.items() for caption in captions]
    write_json(
        path,
        {
            "info": {},
            "licenses": [],
            "type": "captions",
            "images": [{"id": medium} for medium in references],
            "annotations": [
                {"image_id": medium, "id": number, "caption": caption}
                for number, (medium, caption) in enumerate(pairs, start=1)
            ],
        },
    )


def read_annotations(path: str | Path) -> dict[Hashable, list[str]]:
    """References from a COCO annotation file.

    Raises:
        UserError: if the file is missing or has another format, or an image has no caption.
    """
    content = read_json(path)
    sections = [content.get(key) if isinstance(content, dict) else None for key in ("images", "annotations")]
    if not all(isinstance(section, list) for section in sections):
        raise UserError(
            f'{path} is no COCO annotation file; expected {{"images": [...], "annotations": [...]}}; '
            "a results file goes to --results"
        )
    references = {_field(path, "images", k, image, "id"): [] for k, image in enumerate(content["images"])}
    for k, annotation in enumerate(content["annotations"]):
        medium = _field(path, "annotations", k, annotation, "image_id")
        if medium not in references:
            raise UserError(f"{path}: annotations[{k}] is for image_id {medium!r}, which is not among its images")
        references[medium].append(_field(path, "annotations", k, annotation, "caption"))
    missing = [repr(medium) for medium, captions in references.items() if not captions]
    if missing:
        raise UserError(
            f"{path}: {len(missing)} images without a caption ({listed(missing, 3)}); every image needs at least one"
        )
    return references


def write_results(path: str | Path, candidates: Mapping[Hashable, str]):
    """Writes candidates as a COCO results file, atomically.

    Raises:
        UserError: if the file cannot be written.
    """
    write_json(path, [{"image_id": medium, "caption": caption} for medium, caption in candidates.items()])


def read_results(path: str | Path) -> dict[Hashable, str]:
    """Candidates from a COCO results file.

    Raises:
        UserError: if the file is missing or has another format, or an image has two captions.
    """
    content = read_json(path)
    if not isinstance(content, list):
        raise UserError(
            f'{path} is no COCO results file; expected [{{"image_id": ..., "caption": ...}}, ...]; '
            "an annotation file goes to --annotations"
        )
    candidates = {}
    for k, item in enumerate(content):
        medium = _field(path, "", k, item, "image_id")
        if medium in candidates:
            raise UserError(f"{path}: image_id {medium!r} has two captions; expected one caption per image")
        candidates[medium] = _field(path, "", k, item, "caption")
    return candidates


def _field(path, section, k, item, key):
    """A field of the k-th item of a section: a caption is a string, an id a string or an integer."""
    value = item.get(key) if isinstance(item, dict) else None
    expected = str if key == "caption" else (str, int)
    if not isinstance(value, expected) or isinstance(value, bool):
        kind = "a string" if key == "caption" else "a string or an integer"
        raise UserError(f'{path}: {section}[{k}] has no "{key}"; expected {kind}, not {value!r}')
    return value
