"""What explaining a medium gives: numbers, maps in source pixels, pictures, and files.

Letters: T words, m explained frames (1 for a picture), G x G grid; H, W height and width of the source, pixels.
"""

import dataclasses
import functools
import html
import io
import sys
import tempfile
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from s2vt.data import video
from s2vt.data.phrases import Phrase, find_phrases, noun_phrases, phrases_at
from s2vt.data.sampling import SampledMedium
from s2vt.data.text import tokenize
from s2vt.data.video_writer import output_rate
from s2vt.errors import UserError
from s2vt.explaining import outputs
from s2vt.explaining.request import View
from s2vt.rendering import drawing
from s2vt.rendering import odds as drawn_odds
from s2vt.saliency.explanation import Explanation
from s2vt.saliency.instead import Odds, parting


@dataclass(frozen=True, repr=False, eq=False)
class Finding:
    """What one captioner finds, under one kind of map.

    Attributes:
        view: the View that asked.
        explanation: the Explanation.
        odds: as `SentenceEvidence.odds` of the Explainer.
        request: the ExplanationRequest.   job: the Job.
    """

    view: View
    explanation: Explanation
    odds: Callable
    request: object
    job: object

    @property
    def words(self) -> tuple[str, ...]:
        """The T words of the sentence."""
        return self.explanation.words

    @property
    def nll(self) -> np.ndarray:
        """Information lost about each word when the captioner reads one cell alone (Eq. 7), (T, m, G, G), nats."""
        return -self._evidence("nll").cells

    @property
    def kl(self) -> np.ndarray:
        """Information lost about the distribution of each word (Eq. 6), (T, m, G, G), nats."""
        return -self._evidence("kl").cells

    @property
    def frame_nll(self) -> np.ndarray | None:
        """`nll` of each frame of a video alone (Eq. 13), (T, m), nats; None for a picture."""
        frames = self._evidence("nll").frames
        return None if frames is None else -frames

    @functools.cached_property
    def instead(self) -> Odds | None:
        """Log-odds of the word in which the two sentences part, against the other sentence's; None without one."""
        instead = self.request.selection.instead
        if instead is None:
            return None
        words = tokenize(instead)
        t = parting(self.words, words)
        return self.odds({t: [self.view.captioner.vocabulary.index[words[t]]]})[t]

    def map(self, words=None, kind=None) -> np.ndarray:
        """Where the evidence for words lies, as it is drawn, in source pixels.

            e = scale(-sum of the words' losses)    (Eq. 8, 9), 0 to 1 over the picture or clip

        Args:
            words: a word or phrase of the sentence, its first occurrence ("a dog"); the position of a word, from 0;
                positions; None: the whole sentence, or with `instead` the log-odds of the two words, nats, signed and
                not scaled.
            kind: of map, a key of `explanation.maps`; None: the one that was asked for.
        Returns:
            (H, W) float32 of a picture, (m, H, W) of the explained frames of a video.
        Raises:
            UserError: if the sentence has no such words, or the kind of map has no values in space or was not found.
        """
        look = self.view.look
        if words is None and self.instead is not None:
            maps = look.upsample(self.instead.cells[0], self.explanation.geometry)
            return maps if self.job.moving else maps[0]
        look = dataclasses.replace(look, saliency=dataclasses.replace(look.saliency, map=kind or look.kind))
        self._evidence(look.kind)
        cells, _ = drawing.drawn_evidence(self.explanation, [self._phrase(words)], look)
        if cells is None:
            raise UserError(f"{look.title} of a video has values in time only; choose another kind of map")
        geometry = self.explanation.geometry_of(look.kind)
        e = look.to_draw(cells, geometry)[0]
        maps = np.clip(look.upsample(e, geometry), 0, 1).astype(np.float32)
        return maps if self.job.moving else maps[0]

    def _evidence(self, kind):
        if kind not in self.explanation.maps:
            found = ", ".join(self.explanation.maps)
            raise UserError(f"no map {kind!r} was found, only {found}; name it with map= when explaining")
        return self.explanation.maps[kind]

    def _phrase(self, words):
        """The Phrase of a word, a phrase, or positions."""
        every = range(len(self.words))
        if isinstance(words, str):
            return find_phrases(self.words, [tokenize(words)])[0]
        positions = every if words is None else [words] if isinstance(words, int | np.integer) else list(words)
        if not len(positions) or not all(isinstance(t, int | np.integer) and t in every for t in positions):
            raise UserError(f"{words!r}: expected words of the sentence {' '.join(self.words)!r}, or their positions")
        return phrases_at(self.words, [tuple(map(int, positions))])[0]

    @property
    def phrases(self) -> list[Phrase]:
        """What is shown: the phrases asked for, else every word of a video, every noun phrase of a picture."""
        if self.request.phrases:
            return find_phrases(self.words, self.request.phrases)
        every = [(t,) for t in range(len(self.words))]
        return phrases_at(self.words, every if self.job.moving else noun_phrases(self.words) or every)

    @property
    def shown(self) -> drawing.Shown:
        """What pictures and videos show: the phrases' maps; with `instead` the log-odds."""
        drawn = self.explanation, self.phrases, self.view.look
        if self.instead is not None:
            drawn = drawn_odds.to_draw(self.explanation, self.instead, self.view.look)
        return drawing.Shown(*drawn, self.view.heading)


@dataclass(frozen=True, repr=False, eq=False)
class Explained:
    """A medium and a sentence, explained. A notebook shows it as a picture: a figure, or the storyboard of a video.

    Of one captioner, the numbers are here. Of several side by side, each has its own: `findings`.

    Attributes:
        request: the ExplanationRequest.   job: the Job.
        sampled: SampledMedium of the frames that are explained, of `Explainer.explain`.
        findings: what is found, a Finding for each of `request.views`.
        progress: (iterable of a video's frames, their number) -> iterable.
    """

    request: object
    job: object
    sampled: SampledMedium
    findings: tuple[Finding, ...]
    progress: Callable = lambda frames, total: frames

    # --- numbers

    @property
    def words(self) -> tuple[str, ...]:
        """The T words of the sentence."""
        return self.findings[0].words

    @property
    def times(self) -> np.ndarray:
        """Seconds of the m frames that are explained, (m,); empty for a picture."""
        return np.asarray(self.findings[0].explanation.times)

    @property
    def explanation(self) -> Explanation:
        """The Explanation. Raises: UserError, as `nll`, if there are several captioners."""
        return self._of_one_captioner.explanation

    @property
    def nll(self) -> np.ndarray:
        """`Finding.nll`, (T, m, G, G), nats. Raises: UserError if there are several captioners: see `findings`."""
        return self._of_one_captioner.nll

    @property
    def kl(self) -> np.ndarray:
        """`Finding.kl`, (T, m, G, G), nats. Raises: as `nll`."""
        return self._of_one_captioner.kl

    @property
    def frame_nll(self) -> np.ndarray | None:
        """`Finding.frame_nll`, (T, m), nats; None for a picture. Raises: as `nll`."""
        return self._of_one_captioner.frame_nll

    @property
    def instead(self) -> Odds | None:
        """`Finding.instead`: log-odds against the other sentence; None without one. Raises: as `nll`."""
        return self._of_one_captioner.instead

    def map(self, words=None, kind=None) -> np.ndarray:
        """`Finding.map`: where the evidence for words lies, (H, W) or (m, H, W), by the first kind of map asked for, or
        by `kind`. Raises: as `Finding.map`, and as `nll`."""
        return self._of_one_captioner.map(words, kind)

    @property
    def _of_one_captioner(self):
        first, names = self.findings[0], [captioner.name for captioner in self.request.captioners]
        if len(names) > 1:
            raise UserError(
                f"{len(names)} captioners are side by side ({', '.join(names)}); take the numbers of one, such as "
                "explained.findings[0].nll"
            )
        return first

    # --- what is shown

    @property
    def shown(self) -> list[drawing.Shown]:
        """What pictures and videos show side by side: `Finding.shown` of each."""
        return [finding.shown for finding in self.findings]

    def frames(self, path):
        """(every frame of the video that is shown, (seconds, (H, W, 3) uint8), and frames per second of a file)."""
        excerpt, sampled = self.request.excerpt, self.sampled
        rate = output_rate(sampled.frame_rate, sampled.duration, excerpt.stride, path.suffix)
        frames = self.job.source.frames(excerpt.start, excerpt.end)
        frames = video.at_rate(frames, rate, sampled.frame_rate)
        return self.progress(frames, round(sampled.duration * rate)), rate

    def save(self, path):
        """Writes a file; the ending of its name chooses what is made.

        `.png`, `.pdf`, `.svg`: the figure of a picture, the storyboard of a video; `.html`: the page; `.npz`: the
        numbers (`Explanation.save`); of a video also `.mp4` and other endings of videos, `.gif` and `.webp`.

        Args:
            path: the file, which appears when it is complete.
        Returns:
            The path.
        Raises:
            UserError: on another ending, or if the file cannot be written.
        """
        outputs.maker_of(path, self.job.moving)(Path(path), self)
        return Path(path)

    def show(self):
        """Shows the page, on which words are chosen with the mouse: in a notebook inline, else in the web browser."""
        notebook = sys.modules.get("IPython")
        if notebook and notebook.get_ipython():
            from IPython.display import HTML, display

            display(HTML(self.inline_page()))
            return
        with tempfile.NamedTemporaryFile(suffix=".html", delete=False) as file:
            webbrowser.open(self.save(file.name).as_uri())

    def inline_page(self, height=720) -> str:
        """The page as an HTML element for another page: a frame that keeps its scripts and styles to itself.

        Args:
            height: of the frame, pixels.
        """
        page = self._made(".html").decode()
        return (
            f'<iframe sandbox="allow-scripts" style="width: 100%; height: {height}px; border: 0" '
            f'srcdoc="{html.escape(page)}"></iframe>'
        )

    def _made(self, suffix):
        """The bytes of a file that `save` makes."""
        with tempfile.TemporaryDirectory() as folder:
            return self.save(Path(folder, f"made{suffix}")).read_bytes()

    def _repr_png_(self):
        """The figure or storyboard, for notebooks, PNG bytes."""
        return self._made(".png")

    def picture(self):
        """The figure or storyboard as a Pillow image."""
        return Image.open(io.BytesIO(self._made(".png")))

    def __repr__(self):
        kinds = ", ".join(dict.fromkeys(view.look.kind for view in self.request.views))
        names, medium = (c.name for c in self.request.captioners), "video" if self.job.moving else "picture"
        return f"<{kinds} maps of {' '.join(self.words)!r} on a {medium}, by {', '.join(names)}>"
