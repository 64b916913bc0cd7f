"""The files that are made of an explanation; the endings of their names choose which."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from s2vt.data import video
from s2vt.data.phrases import Phrase, content_words, find_phrases, noun_phrases, phrases_at
from s2vt.data.sampling import SampledMedium
from s2vt.data.video_writer import ANIMATION_SUFFIXES, VIDEO_SUFFIXES, output_rate
from s2vt.errors import UserError
from s2vt.evaluation.mentions import named_boxes
from s2vt.rendering import figure, page, storyboard
from s2vt.rendering.drawing import FIGURE_SUFFIXES
from s2vt.rendering.video import saliency_video
from s2vt.saliency.explanation import Explanation


@dataclass(frozen=True)
class Exhibit:
    """An explained medium, as it is shown.

    Attributes:
        request: the ExplanationRequest.   job: the Job.
        sampled: SampledMedium of the frames that are explained, of `Explainer.explain`.
        explanation: the Explanation.
        vocabulary: the captioner's words, (V,).
        progress: (iterable of a video's frames, their number) -> iterable.
    """

    request: object
    job: object
    sampled: SampledMedium
    explanation: Explanation
    vocabulary: tuple[str, ...]
    progress: Callable = lambda frames, total: frames

    @property
    def phrases(self) -> list[Phrase]:
        """What is shown: the phrases asked for, else every word of a video, every noun phrase of a picture."""
        words = self.explanation.words
        if self.request.phrases:
            return find_phrases(words, self.request.phrases)
        every = [(t,) for t in range(len(words))]
        return phrases_at(words, every if self.job.moving else noun_phrases(words) or every)

    def frames(self, path):
        """(every frame of the video that is shown, (seconds, (H, W, 3) uint8), and frames per second of a file)."""
        excerpt, sampled = self.request.excerpt, self.sampled
        rate = output_rate(sampled.frame_rate, sampled.duration, excerpt.stride, path.suffix)
        frames = video.iterate_frames(self.job.medium.path, excerpt.start, excerpt.end)
        frames = video.at_rate(frames, rate, sampled.frame_rate)
        return self.progress(frames, round(sampled.duration * rate)), rate


def files_of(output, moving, with_page):
    """The files that are made for an output, {path: function (path, Exhibit)}, the output first.

    A video or animation has a storyboard beside it.

    Args:
        moving: whether the medium is shown as a video.   with_page: make the HTML page, too.
    Raises:
        UserError: if the output's ending is none for such a medium.
    """
    output, makers = Path(output), MAKERS[moving]
    suffix = output.suffix.lower()
    if suffix not in makers:
        kind = "video" if moving else "picture"
        raise UserError(f"--output {output}: of a {kind}, expected a name that ends in {', '.join(makers)}")
    files = {output: makers[suffix]}
    if makers[suffix] is make_video:
        files[output.with_name(f"{output.stem}_storyboard.png")] = make_storyboard
    return files | ({output.with_suffix(".html"): make_page} if with_page else {})


# --- functions (path, Exhibit) that make one file -------------------------------------------------------------------


def make_video(path, exhibit):
    """A saliency video or animation."""
    frames, rate = exhibit.frames(path)
    saliency_video(path, frames, rate, exhibit.explanation, exhibit.phrases, exhibit.request.look)


def make_storyboard(path, exhibit):
    """The storyboard of a video: the phrases asked for, else its content words."""
    phrases, times = exhibit.phrases, exhibit.explanation.times
    if not exhibit.request.phrases:
        phrases = [phrases[t] for t in content_words(exhibit.explanation.words)]
    span = float(times[0]), float(times[0]) + exhibit.sampled.duration
    thumbnails = exhibit.sampled.frames["shown"]
    storyboard.storyboard(path, exhibit.explanation, phrases, thumbnails, span, exhibit.request.look)


def make_figure(path, exhibit):
    """The figure of a picture, with the true boxes of its phrases where they are annotated."""
    request, medium, phrases = exhibit.request, exhibit.job.medium, exhibit.phrases
    if medium.split:
        boxes = named_boxes(request.config.annotations, request.data_dir / request.config.dataset, medium)
        phrases = [dataclasses.replace(phrase, boxes=boxes.get(phrase.name, ())) for phrase in phrases]
    figure.picture_figure(path, exhibit.sampled.frames["shown"][0], exhibit.explanation, phrases, request.look)


def make_page(path, exhibit):
    """The HTML page of a video or picture: all kinds of map and any words; the first phrase asked for comes first."""
    request, explanation = exhibit.request, exhibit.explanation
    chosen = exhibit.phrases[0].words if request.phrases else ()
    content = page.PageContent(exhibit.job.medium.path.name, exhibit.vocabulary, chosen)
    if exhibit.job.moving:
        frames, rate = exhibit.frames(path)
        page.video_page(path, frames, rate, explanation, content, request.look)
    else:
        page.picture_page(path, exhibit.sampled.frames["shown"][0], explanation, content, request.look)


def save_numbers(path, exhibit):
    """The raw numbers as .npz, see `Explanation.save`."""
    exhibit.explanation.save(path)


# Whether the medium is shown as a video -> ending of the output -> the function that makes it.
MAKERS = {
    True: {
        **dict.fromkeys((*VIDEO_SUFFIXES, *ANIMATION_SUFFIXES), make_video),
        **dict.fromkeys(FIGURE_SUFFIXES, make_storyboard),
        ".html": make_page,
    },
    False: {**dict.fromkeys(FIGURE_SUFFIXES, make_figure), ".html": make_page},
}
