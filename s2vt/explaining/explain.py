"""Explaining one medium, or many with an index page, into files."""

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from s2vt.data.files import lock
from s2vt.errors import UserError
from s2vt.explaining.explained import Explained, Finding
from s2vt.explaining.explainer import Explainer
from s2vt.explaining.jobs import plan
from s2vt.rendering import gallery
from s2vt.workers import here


@dataclass(frozen=True)
class Result:
    """What was made.

    Attributes:
        paths: the files; of many media, their index page.
        failed: {name of a job: error}; of one medium, errors are raised instead.
    """

    paths: list[Path]
    failed: dict[str, Exception] = field(default_factory=dict)


def _no_progress(unit):
    return lambda items, total: items


def explain_files(request, progress: Callable = _no_progress, workers: Callable = here) -> Result:
    """Explains the media that a request selects, and makes its files.

    All checks that need no engine are made first. Of many media, those whose files exist and were made with the same
    settings are left as they are, and those that fail are listed.

    Args:
        request: an ExplanationRequest.
        progress: unit -> ((iterable, total) -> iterable), such as `command_line.progress`.
        workers: who explains many media, `here` or a `Cluster` (`s2vt.workers`).
    Raises:
        UserError: see `jobs.plan`; of one medium, also if it cannot be decoded, its caption is empty, or it is given to
            a Cluster.
    """
    planned = plan(request)
    if planned.many:
        folder = planned.jobs[0].output.parent
        with lock(folder, "choose another --output"):
            return _explain_many(planned.jobs, request, progress, workers)
    if workers is not here:
        raise UserError("--ray is for many media: --media_id all, or a text file; one is explained without it")
    return Result(_make(explain_job(Explainer(request), planned.jobs[0], progress)))


def explain_job(explainer, job, progress: Callable = _no_progress) -> Explained:
    """Explains the medium and sentence of one job.

    Raises:
        UserError: if it cannot be decoded, or there is nothing to explain, the captioner's own caption being empty.
    """
    sampled, (found,) = explainer.explain([job], progress("frame"))
    return _explained(explainer, job, sampled, found, progress("frame"))


def _explained(explainer, job, sampled, found, progress):
    """The Explained of a job. sampled, found: from `Explainer.explain`. Raises: as `explain_job`."""
    if found is None:
        raise UserError(f"the captioner's own caption of {job.source} is empty; give one with --sentence")
    request = explainer.request
    by_captioner = dict(zip(map(id, request.captioners), found, strict=True))
    findings = tuple(
        Finding(view, by_captioner[id(view.captioner)].explanation, by_captioner[id(view.captioner)].odds, request, job)
        for view in request.views
    )
    return Explained(request, job, sampled, findings, progress)


def _make(explained):
    """Makes the files of a job, and returns their paths."""
    for path, make in explained.job.files.items():
        make(path, explained)
    return list(explained.job.files)


# --- many media -----------------------------------------------------------------------------------------------------


def _explain_many(jobs, request, progress, workers):
    """Explains what the folder lacks, medium by medium."""
    names = ", ".join(captioner.name for captioner in request.captioners)
    index = gallery.Gallery(jobs[0].output.parent, f"{names}: {len(jobs)} media explained")
    settings = _settings(request)
    made_with = {job.name: {**settings, "medium": job.medium.id, "sentence": job.sentence, "file": job.output.name}
                 for job in jobs}  # fmt: skip
    missing, failed = {}, {}
    for job in jobs:
        if not index.holds(job.name, made_with[job.name]):
            missing.setdefault(job.medium.id, []).append(job)
    work = _Explaining(request, progress)
    shown = progress("medium")(missing.values(), len(missing))
    for _, made in zip(shown, workers(work, missing.values()), strict=True):
        for name, entry in made.items():
            try:
                if isinstance(entry, UserError):
                    raise entry
                index.add(name, *entry, made_with[name])
            except UserError as error:
                failed[name] = error
    return Result([index.folder / "index.html"], failed)


class _Explaining:
    """The work on many media (`s2vt.workers`): each item is the jobs of one medium, whose files it makes.

    A result is {name of a job: (sentence, paths, thumbnail) of its entry in the index, or the UserError}.

    Args:
        request: an ExplanationRequest.   progress: as `explain_files`, in this process only.
    """

    def __init__(self, request, progress=_no_progress):
        self.request, self.progress, self.explainer = request, progress, Explainer(request)

    def __reduce__(self):
        return type(self), (self.request,)

    def __call__(self, jobs_of_media):
        for jobs in jobs_of_media:
            made = {}
            for explained in _of_medium(jobs, self.explainer, self.progress, made):
                try:
                    paths, sentence = _make(explained), " ".join(explained.words)
                    made[explained.job.name] = sentence, paths, _thumbnail(explained)
                except UserError as error:
                    made[explained.job.name] = error
            yield made


def _settings(request):
    """The settings that the files depend on, as JSON values."""
    settings = {
        "phrases": request.phrases,
        "instead": request.selection.instead,
        "look": dataclasses.asdict(request.look),
        "excerpt": dataclasses.asdict(request.excerpt),
        "page": request.page,
        "checkpoint": request.captioner.checkpoint,
    }
    if len(request.views) > 1:
        settings["views"] = [(view.title, view.captioner.checkpoint, view.look.kind) for view in request.views]
    return json.loads(json.dumps(settings))  # tuples as lists, as they are read again


def _of_medium(jobs, explainer, progress, failed):
    """Yields the Explained of each job about one medium; adds those that cannot be explained to `failed`."""
    try:
        sampled, every = explainer.explain(jobs, progress("frame"))
    except UserError as error:
        failed.update({job.name: error for job in jobs})
        return
    for job, found in zip(jobs, every, strict=True):
        try:
            yield _explained(explainer, job, sampled, found, progress("frame"))
        except UserError as error:
            failed[job.name] = error


def _thumbnail(explained):
    first = explained.shown[0]
    return gallery.thumbnail(explained.sampled.frames["shown"], first.explanation, first.phrases, first.look)
