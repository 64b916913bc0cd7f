"""Jobs: which media are explained and which files are made of each, with every check that needs no engine."""

import dataclasses
import difflib
import errno
import itertools
import os
from dataclasses import dataclass, field
from pathlib import Path

from s2vt.data import datasets
from s2vt.data.datasets import Medium
from s2vt.data.phrases import find_phrases
from s2vt.data.sources import File, Frames, source_of
from s2vt.data.text import tokenize
from s2vt.errors import UserError
from s2vt.explaining import outputs
from s2vt.saliency.instead import parting
from s2vt.saliency.maps import KINDS

WHOLE = {
    "picture": "cells of one picture",
    "video": "the frames that it reads together",
}  # what a captioner of these reads together


@dataclass(frozen=True)
class Job:
    """One medium and one sentence.

    Attributes:
        name: of its files: the medium's id, with a number if the medium has several jobs.
        medium: the Medium; its split is "" if it is one of the user's own.
        source: where its frames come from.
        sentence: to look for; None: the captioner's own caption.
        moving: whether it is shown as a video.
        files: the files to make, {path: function of `outputs` that makes it}; the first is the output asked for.
    """

    name: str
    medium: Medium
    source: File | Frames
    sentence: str | None
    moving: bool
    files: dict[Path, object] = field(default_factory=dict)

    @property
    def output(self):
        """The file asked for."""
        return next(iter(self.files))

    @property
    def has_page(self):
        """Whether an HTML page is made, alone or beside the output."""
        return outputs.make_page in self.files.values()


@dataclass(frozen=True)
class Plan:
    """Jobs, and whether there may be many: an index page is made then."""

    jobs: tuple[Job, ...]
    many: bool


def plan(request):
    """The jobs of an ExplanationRequest.

    Raises:
        UserError: on an unknown medium, a sentence that a captioner cannot say, a phrase that the sentence lacks,
            an option that is not for this kind of medium, or a file that cannot be written or is one of the media.
    """
    selected, many = _selected(request)
    if many and request.save_maps:
        raise UserError("--save_maps is for one medium; name it with --media_id")
    taken, jobs = set(), []
    for medium, sentence, place in selected:
        job = _job(request, medium, sentence, place)
        if not many:
            job.source.check()
        name = _unused(medium.id, taken)
        jobs.append(dataclasses.replace(job, name=name, files=_files(request, name, job.moving, many)))
    _check_excerpt(request, jobs)
    _check_outputs(jobs)
    return Plan(tuple(jobs), many)


def plan_in_memory(request):
    """The job of one medium of the user's own, of which no file is made. Raises: as `plan`."""
    ((medium, sentence, place),) = _selected(request)[0]
    source_of(request.selection.media).check()
    job = _job(request, medium, sentence, place)
    _check_excerpt(request, [job])
    return job


# --- media and sentences --------------------------------------------------------------------------------------------


def _selected(request):
    """([(Medium, sentence or None, its line in a list)], whether there may be many)."""
    selection = request.selection
    if selection.media is not None:
        path = source_of(selection.media).path
        return [(Medium(path.stem, path, "", ()), selection.sentence, "")], False
    media = datasets.read_media(request.config, request.data_dir)
    if selection.media_id == "all":
        found = datasets.select(media, selection.split, selection.limit)
        return [(medium, selection.sentence, "") for medium in found], True
    if selection.media_id in media or not Path(selection.media_id).is_file():
        return [(_medium(media, selection.media_id), selection.sentence, "")], False
    return _listed(media, selection), True


def _listed(media, selection):
    """The lines of a list of media."""
    path, found = selection.media_id, []
    try:
        lines = Path(path).read_text("utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as a list of media_id<TAB>sentence ({error})") from None
    for number, line in enumerate(lines, start=1):
        medium_id, _, sentence = line.partition("\t")
        if line.strip():
            place = f"{path}, line {number}: "
            found.append((_medium(media, medium_id.strip(), place), sentence.strip() or selection.sentence, place))
    if not found:
        raise UserError(f"{path} lists no media; expected lines of media_id<TAB>sentence")
    return found


def _medium(media, medium_id, place=""):
    if medium_id not in media:
        near = difflib.get_close_matches(medium_id, media, 3)
        hint = f"nearest: {', '.join(near)}; " if near else ""
        ids = list(media)
        raise UserError(f"{place}no medium {medium_id!r}; {hint}there are {len(ids)}, from {ids[0]} to {ids[-1]}")
    return media[medium_id]


def _job(request, medium, sentence, place):
    """A job without files, after its checks. place: its line in a list, for messages."""
    source = File(medium.path) if request.selection.media is None else source_of(request.selection.media)
    for captioner in request.captioners:
        _check_sentence(sentence, place, request, captioner)
    moving = _moves(request.config, medium, source)
    for view in request.views:
        _check_map(view, source, moving)
    if moving:
        _check_frames(request.captioners)
    return Job(medium.id, medium, source, sentence, moving)


def _check_excerpt(request, jobs):
    excerpt = request.excerpt
    if not any(job.moving for job in jobs) and not (excerpt.whole and excerpt.stride == 1):
        raise UserError("--start, --end and --stride are for videos; this is a picture")


def _check_sentence(sentence, place, request, captioner):
    instead, vocabulary = request.selection.instead, captioner.vocabulary
    if sentence is None:
        if instead is not None:
            raise UserError(f"{place}--instead {instead!r} needs a sentence to compare with; give --sentence")
        return
    try:
        for given in (sentence, *[instead] * (instead is not None)):
            vocabulary.encode(given, captioner.config.text.max_words)
        if instead is not None:
            if not vocabulary.whole_words:
                raise UserError(f"--instead {instead!r}: {request.captioner.name} says words in pieces; leave it out")
            parting(tokenize(sentence), tokenize(instead))
        find_phrases(tokenize(sentence), request.phrases)
    except UserError as error:
        raise UserError(f"{place}{request.of(captioner)}{error}") from None


def _moves(config, medium, source):
    """Whether a medium is explained as a video: any that is no picture, but for those of a data set of pictures."""
    return not (config.media == "picture" and medium.split) and not source.is_picture


def _check_frames(captioners):
    """Raises UserError if captioners do not read the same frames of a video, which their maps over time would be of."""
    first, *others = captioners
    for other in others:
        read, by_first = other.config.features.num_frames, first.config.features.num_frames
        if read != by_first:
            raise UserError(
                f"{first.name} reads {by_first} frames of a video and {other.name} {read}; side by side both must read "
                "the same; explain them one by one"
            )


def _check_map(view, source, moving):
    kind, name, read = KINDS[view.look.kind], view.look.kind, view.captioner.config.media
    if moving and view.look.of_release and not kind.alone:
        raise UserError(
            f"--map {name}: of a captioner of {read}s it has values of {WHOLE[read]}, the release's maps need cells of "
            "every frame; choose another kind, or --normalize clip"
        )
    given = "video" if moving else "picture"
    if given == read or (isinstance(source, File) and not source.path.exists()):
        return
    if given not in kind.media:
        raise UserError(f"--map {name} compares the frames of a video, {source} is a picture; choose another kind")
    if not kind.alone:
        raise UserError(
            f"--map {name}: of a captioner of {read}s it has values of {WHOLE[read]}, {source} is a {given}; "
            "choose another kind"
        )


def _unused(medium_id, taken):
    """A name that no other job has: the id, id_2, id_3, ..."""
    names = itertools.chain([medium_id], (f"{medium_id}_{k}" for k in itertools.count(2)))
    name = next(name for name in names if name not in taken)
    taken.add(name)
    return name


# --- files ----------------------------------------------------------------------------------------------------------


def _files(request, name, moving, many):
    """The files of a job, {path: function}.

    Raises:
        UserError: if the ending of --output is none for this kind of medium.
    """
    ending, default = ".mp4" if moving else ".png", request.captioner.folder / "saliency"
    if many:
        output = Path(request.output or default)
        output = output if "{id}" in output.name else output / f"{{id}}{ending}"
        output = output.with_name(output.name.replace("{id}", name))
    else:
        beside = "_".join(("", *(view.title.replace(", ", "_") for view in request.views))).rstrip("_")
        output = Path(request.output or default / f"{name}{beside}{ending}")
    files = outputs.files_of(output, moving, request.page)
    return files | ({Path(request.save_maps): outputs.save_numbers} if request.save_maps else {})


def _check_outputs(jobs):
    """Raises UserError if a file cannot be written, or is one of the media, also through a link."""
    media = {_identity(job.source.path): job.source.path for job in jobs if isinstance(job.source, File)}
    for path in (path for job in jobs for path in job.files):
        identity = _identity(path)
        if identity is not None and identity in media:
            raise UserError(
                f"{path} is the medium {media[identity]} itself, which is never overwritten; choose --output"
            )
        _check_writable(path)


def _identity(path):
    """Device and number of an existing file, links followed; None if there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _check_writable(path):
    """Raises UserError if a file cannot be written; folders that are missing are made for a try, and removed."""
    folder = path.absolute().parent
    missing = [place for place in (folder, *folder.parents) if not os.path.lexists(place)]
    try:
        if missing:
            missing[-1].mkdir()
            missing[-1].rmdir()
        elif _exists(path) and path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "a folder has this name")
        elif not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, "no permission to write in this folder")
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}; choose another place") from None


def _exists(path):
    """Whether there is a file. Raises OSError if there can be none, its name being too long, for example."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    return True
