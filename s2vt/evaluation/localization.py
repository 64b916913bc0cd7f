"""Localization scores of trained runs (Tables 1 and 2): do their maps find what the words of true captions name?

Writes the scores with their provenance into the first run's folder, RUN/scores/localization_<...>.json. While it works,
a file beside it holds the scores of the media that are done, so that a killed run can be resumed.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from s2vt.config import Config
from s2vt.data import datasets
from s2vt.data.files import read_json, write_json
from s2vt.errors import UserError
from s2vt.evaluation.mentions import ANNOTATIONS
from s2vt.evaluation.protocol import Protocol
from s2vt.evaluation.scorer import MapSource, Scorer
from s2vt.evaluation.tally import Tally
from s2vt.features.descriptors import DescriptorStore, with_descriptors
from s2vt.saliency.maps import find_evidence, kinds_with


@dataclass(frozen=True)
class LocalizationRequest:
    """Which maps to score.

    Attributes:
        runs: the Runs (`s2vt.captioning.runs`) whose maps are compared.
        configs: the Config of each run, all of one data set, with the saliency and evaluation asked for.
        data_dir: the folder of the data sets.
        kinds: kinds of map; of each run those that it can give.
        checkpoint: of each run: a number, "best" or "last".
        split: train, val or test.
        limit: the most media to score; None: all of the split.
    """

    runs: tuple
    configs: tuple[Config, ...]
    data_dir: str | Path
    kinds: tuple[str, ...]
    checkpoint: str = "best"
    split: str = "test"
    limit: int | None = None


@dataclass(frozen=True)
class LocalizationScores:
    """Scores of maps.

    Attributes:
        tallies: {name of a table: Tally}.
        absent: lines that say which rows have no scores in a table, and why.
        checkpoints: {run: number of its checkpoint}.
        num_media: number of media.
        path: the JSON file with the scores.
    """

    tallies: dict[str, Tally]
    absent: list[str]
    checkpoints: dict[str, int]
    num_media: int
    path: Path


def localize(request: LocalizationRequest, progress: Callable = iter) -> LocalizationScores:
    """Scores the maps of all runs on the media that have descriptors, or resumes where a killed run stopped.

    Args:
        progress: wraps the list of media (tqdm).
    Raises:
        UserError: if the data set is not annotated, the runs read different descriptors, one of them gives none of the
            maps, or media, descriptors or checkpoints are missing.
    """
    config, first = request.configs[0], request.runs[0]
    kinds_of_runs = [_kinds(run, its, request.kinds) for run, its in zip(request.runs, request.configs, strict=True)]
    if config.annotations not in ANNOTATIONS:
        raise UserError(f"{config.dataset} does not say what its captions name; use a set with boxes, or --test")
    media = datasets.select(datasets.read_media(config, request.data_dir), request.split, request.limit)
    stores = _stores(request)
    media = with_descriptors(stores[0], media)
    protocol = Protocol.of(config)

    sources, rows, checkpoints = [], [], {}
    for run, its_config, store, kinds in zip(request.runs, request.configs, stores, kinds_of_runs, strict=True):
        captioner, checkpoints[run.name] = run.captioner(request.checkpoint)
        labels = {kind: kind if len(request.runs) == 1 else f"{run.name}: {kind}" for kind in kinds}
        find = _finder(captioner, store, its_config, kinds, protocol)
        sources.append(MapSource(labels, run.vocabulary(), its_config.text.max_words, find))
        identity = run.identity(checkpoints[run.name])
        rows += [{"row": label, "map": kind, **identity} for kind, label in labels.items()]
    key = {"dataset": config.dataset, "split": request.split, "rows": rows, "descriptors": stores[0].meta(),
           "protocol": protocol.to_json()}  # fmt: skip

    path = first.folder / "scores" / f"{_name(request, protocol, checkpoints)}.json"
    record = Record(path.with_suffix(".partial.json"), key)
    scorer = Scorer(sources, config.media, protocol)
    score_media(media, _annotation_reader(config, request.data_dir, stores[0]), scorer, record, progress)
    tallies = scorer.ordered_tallies()
    tables = {name: tally.to_json() for name, tally in tallies.items()}
    write_json(path, {**key, "media": len(media), "tables": tables})
    record.remove()
    return LocalizationScores(tallies, absent_rows(tallies, rows), checkpoints, len(media), path)


def score_media(media, annotated, scorer, record=None, progress=iter):
    """Adds the media to a Scorer, one after the other. Memory does not grow with their number.

    Args:
        media: list of Medium.
        annotated: Medium -> (Geometry, iterable of AnnotatedCaption).
        scorer: a Scorer.
        record: a Record to resume from and to keep up to date; None: none.
        progress: wraps the list of media (tqdm).
    """
    num_done = record.resume(media, scorer.tallies) if record else 0
    for number, medium in enumerate(progress(media[num_done:]), start=num_done + 1):
        scorer.add(medium, *annotated(medium))
        if record:
            record.save(number, medium, scorer.tallies)


def absent_rows(tallies, rows):
    """Lines that say which rows have no scores in a table, and why.

    Args:
        tallies: {name of a table: Tally}.   rows: list of {"row": name, ...}.
    """
    return [
        f"{row['row']}: not in the table of {tally.metric!r}, where this kind of map has no values (attention has them "
        "for what the captioner reads: a picture's cells, or a video's frames)"
        for tally in tallies.values()
        if tally.scored
        for row in rows
        if row["row"] not in tally.averages()
    ]


# --- parts of the request -------------------------------------------------------------------------------------------


def _stores(request):
    """The DescriptorStore of each run's cells; all hold the same descriptors."""
    stores = [DescriptorStore(config, request.data_dir, layer="mixed_10") for config in request.configs]
    for run, store in zip(request.runs, stores, strict=True):
        if store.meta() != stores[0].meta():
            raise UserError(f"{run.folder} reads other descriptors than {request.runs[0].folder}; score them apart")
    return stores


def _kinds(run, config, wanted):
    """The kinds of map, of those that are wanted, that a run can give."""
    possible = kinds_with(config.model.methods)
    if not set(possible) & set(wanted):
        raise UserError(
            f"{run.folder} has no {' or '.join(wanted)} maps, being of the kind {config.model.name}; it can give "
            f"{', '.join(possible)} (--map), or choose another run with --name"
        )
    return [kind for kind in possible if kind in wanted]


def _finder(captioner, store, config, kinds, protocol):
    """(Medium, sentences) -> {kind: Evidence} of each sentence."""
    frames = None if config.media == "picture" else protocol.saliency.frame_input

    def find(medium, sentences):
        return find_evidence(captioner, store.descriptors(medium), sentences, kinds, frames)

    return find


def _annotation_reader(config, data_dir, store):
    """Medium -> (Geometry, iterable of AnnotatedCaption)."""
    folder = Path(data_dir) / config.dataset

    def annotated(medium):
        geometry, indices, _ = store.details(medium)
        return geometry, ANNOTATIONS[config.annotations](folder, medium, indices)

    return annotated


def _name(request, protocol, checkpoints):
    """The name of the result file. Maps and protocol are parts of it where they differ from those of the first run."""
    usual = request.runs[0].config()
    parts = ["localization", "+".join(checkpoints), request.split]
    parts.append(str(*checkpoints.values()) if len(checkpoints) == 1 else str(request.checkpoint))
    parts += ["+".join(request.kinds)] if list(request.kinds) != [usual.saliency.map] else []
    return "_".join([*parts, *protocol.differences(Protocol.of(usual))])


# --- the record of media that are done ------------------------------------------------------------------------------


class Record:
    """The scores of the media that are done, in one file that is replaced after each medium.

    Args:
        path: the file.
        key: all that the scores depend on (runs, digests of the checkpoints, maps, protocol, descriptors), as JSON
            values. A file with another key, or of other media, is not resumed.
    """

    def __init__(self, path, key):
        self.path, self.key = Path(path), key
        self.digest = hashlib.sha256()

    def resume(self, media, tallies):
        """Puts the tallies of the media that are done into `tallies`, and returns the number of those media."""
        if not self.path.exists():
            return 0
        found = read_json(self.path)
        digest = _digest(media[: found["media"]])
        if found["key"] != self.key or digest.hexdigest() != found["digest"] or found["media"] > len(media):
            return 0
        self.digest = digest
        tallies.update({name: Tally.from_json(tally) for name, tally in found["tables"].items()})
        return found["media"]

    def save(self, number, medium, tallies):
        """Writes the file after medium `number`, counted from 1."""
        self.digest.update(f"{medium.id}\n".encode())
        tables = {name: tally.to_json() for name, tally in tallies.items()}
        write_json(self.path, {"key": self.key, "media": number, "digest": self.digest.hexdigest(), "tables": tables})

    def remove(self):
        """Deletes the file."""
        self.path.unlink(missing_ok=True)


def _digest(media):
    return hashlib.sha256("".join(f"{medium.id}\n" for medium in media).encode())
