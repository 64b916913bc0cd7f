"""Caption scores of trained runs (Table 3): each run captions a split, and its captions are scored.

Writes for each run its scores with their provenance, RUN/scores/captions_<run>_<split>_<checkpoint>.json, and, in the
formats of the COCO caption evaluation, references and captions.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from s2vt.captioning import coco_format, scoring
from s2vt.captioning.runs import Run
from s2vt.config import Config
from s2vt.data import datasets
from s2vt.data.files import write_json
from s2vt.errors import UserError
from s2vt.features.descriptors import DescriptorStore, with_descriptors
from s2vt.provenance import versions
from s2vt.workers import here


@dataclass(frozen=True)
class ScoringRequest:
    """Which captions to score.

    Attributes:
        runs: the Runs, each a row of the table.
        configs: the Config of each run, all of one data set.
        data_dir: the folder of the data sets.
        checkpoint: of each run: a number, "best" or "last".
        split: train, val or test.
        limit: the most media to caption; None: all of the split.
        beam: the beam's width; 1: greedy.
        coco_folder: where annotations/ and results/ are written in COCO's formats; None: nowhere.
    """

    runs: tuple[Run, ...]
    configs: tuple[Config, ...]
    data_dir: str | Path
    checkpoint: str = "best"
    split: str = "test"
    limit: int | None = None
    beam: int = 1
    coco_folder: str | Path | None = None


@dataclass(frozen=True)
class CaptionScores:
    """The Markdown table of all runs, the number of media captioned, and the JSON file with the scores."""

    table: str
    num_media: int
    path: Path


@dataclass(frozen=True)
class Captioning:
    """The work on batches of media of one run (`s2vt.workers`): results as of `decoding.caption_batches`.

    Attributes:
        run: the Run.   number: of its checkpoint.   store: the DescriptorStore of what it reads.
        config: to caption with.   beam: the beam's width.
    """

    run: Run
    number: int
    store: DescriptorStore
    config: Config
    beam: int

    def __call__(self, batches):
        from s2vt.captioning.decoding import caption_batches  # loads the engine

        return caption_batches(self._captioner, self.run.vocabulary(), self.store, self.config, self.beam, batches)

    @functools.cached_property
    def _captioner(self):
        return self.run.captioner(self.number)[0]

    def caption(self, media, progress, workers):
        """Captions of media, {id: sentence}. Arguments as `score_captions`."""
        from s2vt.captioning.decoding import batches_of  # loads the engine

        batches = batches_of(media, self.config, self.beam)
        found = zip(progress(batches), workers(self, batches), strict=True)
        return {medium_id: sentence for _, of_batch in found for medium_id, sentence in of_batch.items()}


def score_captions(request: ScoringRequest, progress: Callable = iter, workers: Callable = here) -> CaptionScores:
    """Captions the media that have descriptors of every run, and scores each run's captions.

    Args:
        progress: wraps the list of batches (tqdm).
        workers: who captions them, `here` or a `Cluster` (`s2vt.workers`).
    Raises:
        UserError: if media, descriptors or checkpoints are missing, or the beam has no width.
        ToolError: if a Java program of the metrics fails.
    """
    if request.beam < 1:
        raise UserError(f"--beam {request.beam}: expected 1 or more")
    media = datasets.select(datasets.read_media(request.configs[0], request.data_dir), request.split, request.limit)
    stores = [DescriptorStore(config, request.data_dir) for config in request.configs]
    for store in stores:
        media = with_descriptors(store, media)
    references = {medium.id: list(medium.captions) for medium in media}
    records = {}  # row's name: record
    for config, run, store in zip(request.configs, request.runs, stores, strict=True):
        number = run.checkpoint(request.checkpoint)
        candidates = Captioning(run, number, store, config, request.beam).caption(media, progress, workers)
        scores = scoring.score(references, candidates)
        name = f"{run.name}_{request.split}_{number}{_beam_suffix(request)}"
        if request.coco_folder is not None:
            folder = Path(request.coco_folder)
            coco_format.write_annotations(folder / "annotations" / f"{run.name}_{request.split}.json", references)
            coco_format.write_results(folder / "results" / f"{name}.json", candidates)
        settings = {"dataset": config.dataset, "split": request.split, "beam": request.beam, "media": len(media)}
        record = {**run.identity(number), **settings, "versions": versions(), "scores": scores}
        path = run.folder / "scores" / f"captions_{name}.json"
        write_json(path, record)
        records[f"{run.name}, checkpoint {number}"] = record
    if len(request.runs) > 1:
        path = _write_comparison(request, list(records.values()))
    table = scoring.table({name: record["scores"] for name, record in records.items()})
    return CaptionScores(table, len(media), path)


def _write_comparison(request, records):
    """Writes the scores of several runs into one file in the first run's folder, and returns its path."""
    first, names = request.runs[0], "+".join(run.name for run in request.runs)
    path = first.folder / "scores" / f"captions_{names}_{request.split}{_beam_suffix(request)}.json"
    write_json(path, {"dataset": request.configs[0].dataset, "rows": records})
    return path


def _beam_suffix(request):
    return f"_beam{request.beam}" if request.beam > 1 else ""
