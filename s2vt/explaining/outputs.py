"""The files that are made of an explanation; the endings of their names choose which."""

import dataclasses
import tempfile
from pathlib import Path

import numpy as np

from s2vt.data.files import atomic_path
from s2vt.data.phrases import content_words
from s2vt.data.video_writer import ANIMATION_SUFFIXES, VIDEO_SUFFIXES
from s2vt.errors import UserError
from s2vt.evaluation.mentions import named_boxes
from s2vt.rendering import figure, page, storyboard
from s2vt.rendering.drawing import FIGURE_SUFFIXES
from s2vt.rendering.video import saliency_video


def files_of(output, moving, with_page):
    """The files that are made for an output, {path: function (path, Explained)}, the output first.

    A video or animation has a storyboard beside it.

    Args:
        moving: whether the medium is shown as a video.   with_page: make the HTML page, too.
    Raises:
        UserError: if the output's ending is none for such a medium.
    """
    output = Path(output)
    files = {output: maker_of(output, moving)}
    if files[output] is make_video:
        files[output.with_name(f"{output.stem}_storyboard.png")] = make_storyboard
    return files | ({output.with_suffix(".html"): make_page} if with_page else {})


def maker_of(output, moving):
    """The function (path, Explained) that makes a file.

    Args:
        output: its name, whose ending chooses.   moving: whether the medium is shown as a video.
    Raises:
        UserError: if the ending is none for such a medium.
    """
    makers, kind = MAKERS[moving], "video" if moving else "picture"
    if Path(output).suffix.lower() not in makers:
        raise UserError(f"--output {output}: of a {kind}, expected a name that ends in {', '.join(makers)}")
    return makers[Path(output).suffix.lower()]


# --- functions (path, Explained) that make one file -------------------------------------------------------------------


def make_video(path, explained):
    """A saliency video or animation."""
    frames, rate = explained.frames(path)
    saliency_video(path, frames, rate, explained.shown)


def make_storyboard(path, explained):
    """The storyboard of a video: the phrases asked for, else its content words."""
    shown, times = explained.shown, explained.times
    if not explained.request.phrases and explained.request.selection.instead is None:
        chosen = content_words(explained.words)
        shown = [dataclasses.replace(each, phrases=[each.phrases[t] for t in chosen]) for each in shown]
    span = float(times[0]), float(times[0]) + explained.sampled.duration
    storyboard.storyboard(path, shown, explained.sampled.frames["shown"], span)


def make_figure(path, explained):
    """The figure of a picture, with the true boxes of its phrases where they are annotated."""
    request, medium, shown = explained.request, explained.job.medium, explained.shown
    if medium.split:
        boxes = named_boxes(request.config.annotations, request.data_dir / request.config.dataset, medium)
        shown = [dataclasses.replace(each, phrases=_with_boxes(each.phrases, boxes)) for each in shown]
    figure.picture_figure(path, explained.sampled.frames["shown"][0], shown)


def _with_boxes(phrases, boxes):
    return [dataclasses.replace(phrase, boxes=boxes.get(phrase.name, ())) for phrase in phrases]


def make_page(path, explained):
    """The HTML page of a video or picture: all kinds of map and any words; the first phrase asked for comes first."""
    request, first = explained.request, explained.findings[0]
    chosen = first.phrases[0].words if request.phrases else ()
    instead = None if first.instead is None else (first.instead.position, *first.instead.others)
    content = page.PageContent(explained.job.source.name, chosen, instead)
    panels = [page.Panel(f.explanation, f.view.look, f.view.title, said) for f, said in _said(explained, instead)]
    if explained.job.moving:
        frames, rate = explained.frames(path)
        page.video_page(path, frames, rate, panels, content)
    else:
        page.picture_page(path, explained.sampled.frames["shown"][0], panels, content)


def _said(explained, instead):
    """Each Finding, and what its captioner says or would have said: `page.Said`, with log-odds against all that any of
    the captioners would have said instead, and against `instead`; none beside the release's maps."""
    found, others, of_captioner = explained.findings, {}, {}
    for finding in found:
        if finding.explanation.log_p is None:  # its words are said in pieces
            continue
        listed = page.alternatives(
            finding.explanation.log_p, finding.words, finding.view.captioner.vocabulary.words, also=instead
        )
        for t, items in enumerate(listed):
            others.setdefault(t, {}).update((item["word"], None) for item in items if item["word"] != finding.words[t])
    for finding in found:
        captioner = finding.view.captioner
        if id(captioner) not in of_captioner:
            odds, vocabulary = {}, captioner.vocabulary
            if finding.explanation.log_p is not None and not explained.request.look.of_release:
                odds = finding.odds(
                    {
                        t: [vocabulary.index[word] for word in words if word in vocabulary.index]
                        for t, words in others.items()
                    }
                )
            of_captioner[id(captioner)] = page.Said(finding.view.name, tuple(vocabulary.words), odds)
        yield finding, of_captioner[id(captioner)]


def save_numbers(path, explained):
    """The raw numbers as .npz, see `Explanation.save`; of several captioners, each key with "NAME/" before it."""
    by_captioner = {finding.view.name: finding for finding in reversed(explained.findings)}
    if len(by_captioner) == 1:
        (finding,) = by_captioner.values()
        finding.explanation.save(path, finding.instead)
        return
    arrays = {}
    for name, finding in reversed(by_captioner.items()):
        with tempfile.TemporaryDirectory() as folder:
            finding.explanation.save(Path(folder, "one.npz"), finding.instead)
            with np.load(Path(folder, "one.npz"), allow_pickle=False) as own:
                arrays |= {f"{name}/{key}": own[key] for key in own.files}
    with atomic_path(path) as partial, open(partial, "wb") as file:
        np.savez_compressed(file, **arrays)


# Whether the medium is shown as a video -> ending of the output -> the function that makes it.
MAKERS = {
    True: {
        **dict.fromkeys((*VIDEO_SUFFIXES, *ANIMATION_SUFFIXES), make_video),
        **dict.fromkeys(FIGURE_SUFFIXES, make_storyboard),
        ".html": make_page,
        ".npz": save_numbers,
    },
    False: {**dict.fromkeys(FIGURE_SUFFIXES, make_figure), ".html": make_page, ".npz": save_numbers},
}
