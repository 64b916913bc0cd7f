"""The files that are made of an explanation; the endings of their names choose which."""

import dataclasses
from pathlib import Path

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
    saliency_video(path, frames, rate, *explained.drawn)


def make_storyboard(path, explained):
    """The storyboard of a video: the phrases asked for, else its content words."""
    explanation, phrases, look = explained.drawn
    times = explanation.times
    if not explained.request.phrases and explained.instead is None:
        phrases = [phrases[t] for t in content_words(explanation.words)]
    span = float(times[0]), float(times[0]) + explained.sampled.duration
    thumbnails = explained.sampled.frames["shown"]
    storyboard.storyboard(path, explanation, phrases, thumbnails, span, look)


def make_figure(path, explained):
    """The figure of a picture, with the true boxes of its phrases where they are annotated."""
    request, medium = explained.request, explained.job.medium
    explanation, phrases, look = explained.drawn
    if medium.split:
        boxes = named_boxes(request.config.annotations, request.data_dir / request.config.dataset, medium)
        phrases = [dataclasses.replace(phrase, boxes=boxes.get(phrase.name, ())) for phrase in phrases]
    figure.picture_figure(path, explained.sampled.frames["shown"][0], explanation, phrases, look)


def make_page(path, explained):
    """The HTML page of a video or picture: all kinds of map and any words; the first phrase asked for comes first."""
    request, explanation = explained.request, explained.explanation
    chosen = explained.phrases[0].words if request.phrases else ()
    words, instead = tuple(request.captioner.vocabulary.words), explained.instead
    shown = None if instead is None else (instead.position, *instead.others)
    content = page.PageContent(explained.job.source.name, words, chosen, _odds(explained, shown), shown)
    if explained.job.moving:
        frames, rate = explained.frames(path)
        page.video_page(path, frames, rate, explanation, content, request.look)
    else:
        page.picture_page(path, explained.sampled.frames["shown"][0], explanation, content, request.look)


def _odds(explained, shown):
    """{t: Odds} against what the captioner would have said instead, and `shown`; none beside the release's maps."""
    explanation, vocabulary = explained.explanation, explained.request.captioner.vocabulary
    if explained.request.look.of_release or explanation.log_p is None:
        return {}
    listed = page.alternatives(explanation.log_p, explanation.words, vocabulary.words, also=shown)
    others = {
        t: [vocabulary.index[item["word"]] for item in items if item["word"] != explanation.words[t]]
        for t, items in enumerate(listed)
    }
    return explained.odds(others)


def save_numbers(path, explained):
    """The raw numbers as .npz, see `Explanation.save`."""
    explained.explanation.save(path, explained.instead)


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
