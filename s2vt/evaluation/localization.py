"""Localization scores of trained runs (Tables 1 and 2): do their maps find what the words of true captions name?

Writes the scores with their provenance into RUN/scores/localization_<...>.json of the first run, one file for each
protocol, and beside it the scores of every phrase, .phrases.tsv. While it works, a file beside them holds the scores of
the media that are done, so that a killed run can be resumed.
"""

import dataclasses
import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from s2vt.config import Config
from s2vt.data import datasets
from s2vt.data.files import append_text, atomic_path, write_json
from s2vt.data.video import iterate_frames
from s2vt.errors import UserError
from s2vt.evaluation import phrase_scores, published
from s2vt.evaluation.mentions import ANNOTATIONS, FRAMES
from s2vt.evaluation.protocol import Protocol
from s2vt.evaluation.scorer import MapSource, Scorer
from s2vt.evaluation.tally import Tally, side_by_side
from s2vt.features.descriptors import DescriptorStore, seen_otherwise, with_descriptors
from s2vt.features.every_frame import every_frame
from s2vt.features.extraction import sample_inputs
from s2vt.features.middle_layer import middle_layer
from s2vt.features.networks import FeatureExtractor
from s2vt.provenance import versions
from s2vt.saliency.maps import KINDS, Asking, find_evidence, kinds_with
from s2vt.workers import here


@dataclass(frozen=True)
class LocalizationRequest:
    """Which maps to score.

    Attributes:
        runs: the Runs (`s2vt.captioning.runs`) whose maps are compared; none: the baselines alone, which need the
            media's list, captions and annotations, but no media, descriptors or checkpoint.
        configs: the Config of each run, all of one data set; without runs, that of the data set.
        data_dir: the folder of the data sets.
        kinds: kinds of map; of each run those that it can give.
        protocols: how maps are made and scored; each has results of its own. Empty: that of the first config.
        folder: of the results; None: scores/ in the first run's folder.
        checkpoint: of each run: a number, "best" or "last".
        split: train, val or test.
        limit: the most media to score; None: all of the split.
        seed: of the random subsets of `banzhaf` and `rise`, and of what else is drawn.
        pixels: whether pictures are read too, by the network, where a question asks about pixels.
    """

    runs: tuple
    configs: tuple[Config, ...]
    data_dir: str | Path
    kinds: tuple[str, ...] = ()
    protocols: tuple[Protocol, ...] = ()
    folder: Path | None = None
    checkpoint: str = "best"
    split: str = "test"
    limit: int | None = None
    seed: int = 0
    pixels: bool = False

    def __post_init__(self):
        names = [protocol.name for protocol in self.protocols]
        if len(set(names)) < len(names):
            raise UserError(f"--protocol {','.join(names)}: expected each protocol once")
        if not self.protocols:
            usual = self.runs[0].config() if self.runs else None
            object.__setattr__(self, "protocols", (Protocol.of(self.configs[0], usual=usual),))


@dataclass(frozen=True)
class LocalizationScores:
    """Scores of maps under one protocol.

    Attributes:
        data: names of the data set and of its split.
        protocol: the Protocol.
        tallies: {name of a table: Tally}.
        absent: lines that say which rows have no scores in a table, and why.
        checkpoints: {run: number of its checkpoint}.
        media: which media were scored, in words.
        path: the JSON file with the scores.
        groups: tables that are printed as columns of one, [(corner, {column: name of a table})]; none: each by itself.
    """

    data: tuple[str, str]
    protocol: Protocol
    tallies: dict[str, Tally]
    absent: list[str]
    checkpoints: dict[str, int]
    media: str
    path: Path
    groups: tuple = ()

    def __str__(self):
        """The tables in Markdown, the paper's beside them where they are of the same data."""
        dataset, split = self.data
        parts = []
        for corner, columns in self.groups:
            found = {column: self.tallies[name] for column, name in columns.items() if name in self.tallies}
            parts += [side_by_side(corner, found)] if found else []
        for name, tally in () if self.groups else self.tallies.items():
            parts += [tally.table(), *published.beside(dataset, split, name)]
        checkpoints = "".join(f", {run} checkpoint {number}" for run, number in self.checkpoints.items())
        last = f"Protocol {self.protocol.name}; {self.media}{checkpoints}; {self.path}"
        return "\n\n".join([*parts, "\n".join([*self.absent, last])])


def localize(
    request: LocalizationRequest, progress: Callable = iter, workers: Callable = here
) -> list[LocalizationScores]:
    """Scores the localization of all runs' maps, as `score_maps`."""

    def scorers(ground):
        return [Scorer(ground.sources(protocol), ground.config.media, protocol) for protocol in request.protocols]

    return score_maps(request, "localization", scorers, progress, workers)


@dataclass(frozen=True)
class Ground:
    """What scorers are made of.

    Attributes:
        request: a LocalizationRequest.
        sources: Protocol -> the MapSource of each run.
        media: list of the media to score.   all_media: those of all splits, {id: Medium}.
        store: the DescriptorStore of the cells; None without runs.
    """

    request: LocalizationRequest
    sources: Callable
    media: list
    all_media: dict
    store: DescriptorStore | None

    @property
    def config(self):
        """The Config of the first run, or of the data set."""
        return self.request.configs[0]


def score_maps(request, question, scorers, progress=iter, workers=here, beside=()):
    """Asks a question about all runs' maps of media that have descriptors, or resumes where a killed run stopped.

    Args:
        request: a LocalizationRequest.
        question: the first word of the names of its result files.
        scorers: Ground -> list of Scorer, one for each of the request's protocols.
        progress: wraps the list of media (tqdm).
        workers: who scores the media, `here` or a `Cluster` (`s2vt.workers`).
        beside: what is scored of each run beside its maps, such as "random".
    Returns:
        The LocalizationScores of each protocol.
    Raises:
        UserError: if the data set is not annotated, the runs read different descriptors, one of them gives none of the
            maps, or media, descriptors or checkpoints are missing.
    """
    config = request.configs[0]
    if config.annotations not in ANNOTATIONS:
        raise UserError(f"{config.dataset} does not say what its captions name; use a set with boxes, or --test")
    known = datasets.read_media(config, request.data_dir)
    all_media = datasets.select(known, request.split)
    media = datasets.select({medium.id: medium for medium in all_media}, limit=request.limit)
    stores = _stores(request)
    media = with_descriptors(stores[0], media) if stores else media

    scoring = Scoring(request, scorers, beside, media, known)
    rows, checkpoints, asked = scoring.rows, scoring.checkpoints, scoring.scorers
    provenance = {
        "dataset": config.dataset,
        "split": request.split,
        "limit": request.limit,
        "seed": request.seed,
        "rows": rows,
        "descriptors": stores[0].meta() if stores else None,
    }
    folder = request.folder or request.runs[0].folder / "scores"
    paths = [folder / f"{_name(question, request, scorer, checkpoints)}.json" for scorer in asked]
    key = {**provenance, "protocols": [scorer.settings() for scorer in asked]}
    record = Record(paths[0].with_suffix(".partial.jsonl"), key)
    score_media(media, scoring.reading.annotated, asked, record, progress, functools.partial(workers, scoring))

    part = f"all {len(media)} media" if len(media) == len(all_media) else f"{len(media)} of {len(all_media)} media"
    found = []
    for k, (scorer, path) in enumerate(zip(asked, paths, strict=True)):
        tallies = scorer.ordered_tallies()
        tables = {name: tally.to_json() for name, tally in tallies.items()}
        settings = {"protocol": scorer.settings(), "versions": versions(), "media": len(media)}
        write_json(path, {**provenance, **settings, "tables": tables})
        phrase_scores.write(path.with_suffix(".phrases.tsv"), functools.partial(record.phrases, k))
        data, media_text = (config.dataset, request.split), f"{part} of {request.split}"
        result = (data, scorer.protocol, tallies, scorer.absent(rows), checkpoints, media_text, path, scorer.groups)
        found.append(LocalizationScores(*result))
    record.remove()
    return found


def score_media(media, annotated, scorers, record=None, progress=iter, scored=None):
    """Adds the media to Scorers, one after the other.

    Args:
        media: list of Medium.
        annotated: (Medium, Protocol) -> (Geometry, iterable of AnnotatedCaption).
        scorers: list of Scorer.
        record: a Record to resume from and to keep up to date; None: none.
        progress: wraps the list of media (tqdm).
        scored: media -> their scores, as `scores_of` yields them; None: `scores_of` by these scorers.
    """
    media = media[record.resume(media, scorers) if record else 0 :]
    scored = scored or functools.partial(scores_of, annotated, scorers)
    for medium, scores in zip(progress(media), scored(media), strict=True):
        for scorer, (tallies, _) in zip(scorers, scores, strict=True):
            scorer.merge(tallies)
        if record:
            record.add(medium, *zip(*scores, strict=True))


def scores_of(annotated, scorers, media):
    """Yields the scores of each medium: of each Scorer, ({name of a table: Tally}, list of `phrase_scores.entry`).

    Args: as `score_media`.
    """
    for medium in media:
        yield [
            (scorer.score(medium, *annotated(medium, scorer.protocol)), scorer.phrases)  # in this order
            for scorer in scorers
        ]


class Scoring:
    """The work on the media of a question (`s2vt.workers`); its results are those of `scores_of`.

    Args:
        request, scorers, beside: as `score_maps`.   media, all_media: of its Ground.
    Attributes:
        reading: the Reading.   scorers: list of Scorer.
        rows: the provenance of each row.   checkpoints: {run: number of its checkpoint}.
    """

    def __init__(self, request, scorers, beside, media, all_media):
        self.arguments = request, scorers, beside, media, all_media
        kinds = [_kinds(run, its, request.kinds) for run, its in zip(request.runs, request.configs, strict=False)]
        stores = _stores(request)
        self.reading = Reading(request, stores)
        sources, self.rows, self.checkpoints = _sources(request, self.reading, kinds, beside)

        def under(protocol):
            return [source(protocol) for source in sources]

        self.scorers = scorers(Ground(request, under, media, all_media, stores[0] if stores else None))

    def __reduce__(self):
        return type(self), self.arguments

    def __call__(self, media):
        return scores_of(self.reading.annotated, self.scorers, media)


# --- parts of the request -------------------------------------------------------------------------------------------


def _stores(request):
    """The DescriptorStore of each run's cells; all hold the same descriptors."""
    configs = request.configs[: len(request.runs)]
    stores = [DescriptorStore(config, request.data_dir, layer="mixed_10") for config in configs]
    for run, store in zip(request.runs, stores, strict=True):
        if store.meta() != stores[0].meta():
            raise UserError(f"{run.folder} reads other descriptors than {request.runs[0].folder}; score them apart")
    return stores


def _kinds(run, config, wanted):
    """The kinds of map, of those that are wanted, that a run can give."""
    possible = kinds_with(config.model.methods, config.media)
    if not set(possible) & set(wanted):
        raise UserError(
            f"{run.folder} has no {' or '.join(wanted)} maps of a {config.media}, being of the kind "
            f"{config.model.name}; it can give {', '.join(possible)} (--map), or choose another run with --name"
        )
    return [kind for kind in possible if kind in wanted]


def refuse_other_cells(protocols, question):
    """Raises UserError if a protocol's maps are not of the cells and frames that the captioner reads."""
    for protocol in protocols:
        if (layer := protocol.saliency.eb_layer) != "mixed_10":
            raise UserError(
                f"{question} asks about the cells that the captioner reads, saliency.eb_layer={layer} has maps of "
                "another layer's; choose saliency.eb_layer=mixed_10"
            )
        if protocol.saliency.of_release:
            raise UserError(
                f"{question} asks about the cells and frames that the captioner reads, --protocol {protocol.name} has "
                "maps of smoothed or other ones; expected ours, paper or torchray"
            )


class Reading:
    """What captioners read of media, and their annotations, under each protocol.

    Args:
        request: a LocalizationRequest.   stores: the DescriptorStore of each run; none without runs.
    """

    def __init__(self, request, stores):
        self.config, self.stores = request.configs[0], stores
        self.folder = Path(request.data_dir) / self.config.dataset
        self.every_frame = functools.lru_cache(1)(self._every_frame)

    def reads_every_frame(self, protocol):
        """Whether every frame is read from the medium itself, instead of descriptors of the sampled frames."""
        return protocol.saliency.of_release and self.config.media == "video"

    def descriptors(self, store, medium, every_frame):
        """Descriptors of a medium."""
        descriptors = store.descriptors(medium)
        if every_frame:
            return dataclasses.replace(descriptors, cells=self.every_frame(medium).cells)
        return dataclasses.replace(descriptors, pictures=lambda: sample_inputs(medium.path, store.config).frames)

    def annotated(self, medium, protocol):
        """(Geometry, iterable of AnnotatedCaption)."""
        if not self.stores:
            geometry, indices = FRAMES[self.config.annotations](self.folder, medium, self.config.features)
        elif self.reads_every_frame(protocol):
            every = self.every_frame(medium)
            geometry, indices = every.geometry, every.indices.tolist()
        else:
            geometry, indices, _ = self.stores[0].details(medium)
        return geometry, ANNOTATIONS[self.config.annotations](self.folder, medium, indices)

    @functools.cached_property
    def _network(self):
        return FeatureExtractor(self.config.features)

    def _every_frame(self, medium):
        return every_frame(iterate_frames(medium.path), self._network, self.config.features)


def _sources(request, reading, kinds_of_runs, beside):
    """What is scored of each run.

    Args:
        beside: names of what is scored beside its maps.

    Returns:
        [Protocol -> MapSource], the provenance of each row, {run: number of its checkpoint}.
    """
    sources, rows, checkpoints = [], [], {}
    for run, config, store, kinds in zip(request.runs, request.configs, reading.stores, kinds_of_runs, strict=False):
        captioner, checkpoints[run.name] = run.captioner(request.checkpoint)
        label = functools.partial(_label, "" if len(request.runs) == 1 else f"{run.name}: ")
        descriptors, vocabulary = functools.partial(reading.descriptors, store), run.vocabulary()
        layers = functools.partial(middle_layer, config.features)
        source = MapSource(
            rows={kind: label(kind) for kind in kinds},
            vocabulary=vocabulary,
            max_words=config.text.max_words,
            find=finder(captioner, descriptors, kinds),
            captioner=captioner,
            describe=functools.partial(descriptors, every_frame=False),
            asking=Asking(config.media, config.saliency, tuple(vocabulary.words), request.seed, layers),
            label=label,
        )
        sources.append(functools.partial(_under, source, reading))
        identity = run.identity(checkpoints[run.name])
        rows += [{"row": label(name), "map": name, **identity} for name in (*kinds, *beside)]
    return sources, rows, checkpoints


def _label(run, name):
    return run + name


def _under(source, reading, protocol):
    """A MapSource under a protocol."""
    asking = dataclasses.replace(source.asking, saliency=protocol.saliency.of_evidence)
    find = functools.partial(source.find, reading.reads_every_frame(protocol), asking)
    return dataclasses.replace(source, find=find, asking=asking)


def finder(captioner, descriptors, kinds):
    """(every frame?, Asking, Medium, sentences) -> {kind: Evidence} of each.

    Protocols that ask for the same evidence share one computation.

    Args:
        descriptors: (Medium, every frame?) -> Descriptors.
    """

    @functools.lru_cache(4)
    def found(every_frame, asking, medium, sentences):
        # Attention over the sampled frames says nothing about every frame.
        possible = [kind for kind in kinds if KINDS[kind].alone] if every_frame else kinds
        return find_evidence(captioner, descriptors(medium, every_frame), sentences, possible, asking)

    return lambda *asked: found(*asked[:-1], tuple(tuple(y.tolist()) for y in asked[-1]))


def _name(question, request, scorer, checkpoints):
    """The name of a result file. Maps are a part of it where they differ from the data set's own."""
    runs = "+".join(checkpoints) or f"{request.configs[0].dataset}-baselines"
    parts = [question, runs, request.split]
    if request.runs:
        parts.append(str(*checkpoints.values()) if len(checkpoints) == 1 else str(request.checkpoint))
        parts += ["+".join(request.kinds)] if list(request.kinds) != [request.configs[0].saliency.map] else []
    parts += seen_otherwise(request.configs[0].features) if request.runs else []
    parts += [f"first{request.limit}"] if request.limit else []
    return "_".join([*parts, scorer.file_name])


# --- the record of media that are done ------------------------------------------------------------------------------


class Record:
    """The scores of the media that are done, a line of JSON for each, appended when it is done.

    Args:
        path: the file.
        key: all that the scores depend on (runs, digests of the checkpoints, maps, protocols, descriptors), as JSON
            values; the first line. A file with another key, or of other media, is not resumed.
    """

    def __init__(self, path, key):
        self.path, self.key, self._phrases = Path(path), json.loads(json.dumps(key)), []

    def resume(self, media, scorers):
        """Adds the scores of the media that are done to the scorers, and returns the number of those media."""
        key, *done = self._lines() or [None]
        whole = all(entry.keys() == {"medium", "tables", "phrases"} for entry in done)
        if key != self.key or not whole or [entry["medium"] for entry in done] != [m.id for m in media[: len(done)]]:
            done = []
        with atomic_path(self.path) as temporary:
            temporary.write_text("".join(f"{json.dumps(entry)}\n" for entry in [self.key, *done]), "utf-8")
        self._phrases = [(entry["medium"], json.dumps(entry["phrases"])) for entry in done]
        for entry in done:
            for scorer, tables in zip(scorers, entry["tables"], strict=False):
                scorer.merge({name: Tally.from_sums(sums) for name, sums in tables.items()})
        return len(done)

    def _lines(self):
        """The values of the whole lines; none of a file that is missing or damaged."""
        try:
            return [json.loads(line) for line in self.path.read_text("utf-8").split("\n")[:-1]]
        except (OSError, ValueError):
            return []

    def phrases(self, k):
        """The scores of each phrase under the k-th scorer, of the media that this process knows to be done.

        The file is not read: another process may have the same question and the same file.

        Yields:
            The id of a medium, list of `phrase_scores.entry`.
        """
        for medium, phrases in self._phrases:
            yield medium, json.loads(phrases)[k]

    def add(self, medium, tallies, phrases):
        """Appends a medium.

        Args:
            tallies: of each scorer, {name of a table: Tally}.   phrases: of each scorer, list of `phrase_scores.entry`.
        """
        tables = [{name: tally.sums() for name, tally in of_scorer.items()} for of_scorer in tallies]
        self._phrases.append((medium.id, json.dumps(phrases)))  # as text, which is small
        append_text(self.path, json.dumps({"medium": medium.id, "tables": tables, "phrases": phrases}) + "\n")

    def remove(self):
        """Deletes the file."""
        self.path.unlink(missing_ok=True)
