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


def explain_files(request, progress: Callable = _no_progress) -> Result:
    """Explains the media that a request selects, and makes its files.

    All checks that need no engine are made first. Of many media, those whose files exist and were made with the same
    settings are left as they are, and those that fail are listed.

    Args:
        request: an ExplanationRequest.
        progress: unit -> ((iterable, total) -> iterable), such as `command_line.progress`.
    Raises:
        UserError: see `jobs.plan`; of one medium, also if it cannot be decoded or its caption is empty.
    """
    planned = plan(request)
    explainer = Explainer(request)
    if planned.many:
        folder = planned.jobs[0].output.parent
        with lock(folder, "choose another --output"):
            return _explain_many(planned.jobs, explainer, progress)
    return Result(_make(explain_job(explainer, planned.jobs[0], progress)))


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


def _explain_many(jobs, explainer, progress):
    """Explains what the folder lacks, medium by medium."""
    request = explainer.request
    names = ", ".join(captioner.name for captioner in request.captioners)
    index = gallery.Gallery(jobs[0].output.parent, f"{names}: {len(jobs)} media explained")
    settings = _settings(request)
    made_with = {job.name: {**settings, "medium": job.medium.id, "sentence": job.sentence, "file": job.output.name}
                 for job in jobs}  # fmt: skip
    missing, failed = {}, {}
    for job in jobs:
        if not index.holds(job.name, made_with[job.name]):
            missing.setdefault(job.medium.id, []).append(job)
    for of_medium in progress("medium")(missing.values(), len(missing)):
        for explained in _of_medium(of_medium, explainer, progress, failed):
            job = explained.job
            try:
                paths, sentence = _make(explained), " ".join(explained.words)
                index.add(job.name, sentence, paths, _thumbnail(explained), made_with[job.name])
            except UserError as error:
                failed[job.name] = error
    return Result([index.folder / "index.html"], failed)


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
