"""The package for Python programs and notebooks: `load` a captioner, `explain` a medium and a sentence.

Importing this module loads nothing heavy; the first call does.
"""


def load(captioner, checkpoint="best", experiments_dir=None, weights=None):
    """A captioner to keep: its weights and its network are loaded once, when they are first needed.

    Args:
        captioner: the name of a run, such as "Flickr30k-light"; a run's folder; or any object with `words`,
            `descriptors`, `encode` and `step`, as the top of `s2vt.explaining.captioners` describes them.
        checkpoint: of a run: a number, "best" (by validation METEOR) or "last".
        experiments_dir: the folder of the runs; None: experiments/ under the current folder if it has the run, else in
            the repository that this package lies in.
        weights: of a run's network: "imagenet", "inception-2015", "efficientnet-lite0" or a file, as the scripts'
            `--weights`; None: those that its config names.
    Returns:
        What `explain` takes as its captioner.
    Raises:
        UserError: if there is no such run or checkpoint, its network is not here, or the object is no captioner.
    """
    from s2vt.explaining import captioners

    return captioners.load(captioner, checkpoint, experiments_dir, weights)


def explain(captioner, medium, sentence=None, *, instead=None, phrases=(), map=None, **options):
    """Where, and in a video when, a captioner finds the evidence for each word of a sentence.

        explained = explain(load("Flickr30k-light"), "photo.jpg", "a dog runs on the beach", map="alignment")
        explained.map("a dog")          # (H, W), 0 to 1
        explained.save("page.html")

    Args:
        captioner: what `load` takes or returns. One that `load` returned is not loaded again for the next medium. A
            list of them: side by side, each with its own network.
        medium: the path of a picture or video; a Pillow image; a picture (H, W, 3) uint8; or a clip (m, H, W, 3) uint8
            with `fps` or `times`.
        sentence: to look for; None: the captioner's own caption, of several the first one's.
        instead: another sentence that has the same words up to one, such as "a cat runs on the beach": why the first
            word and not the other? Pictures then show log q(word) - log q(other word).
        phrases: words and phrases of the sentence to draw, such as ["a dog", "the beach"] (Eq. 9). None given: every
            word of a video, every noun phrase of a picture.
        map: kind of map that is drawn first, such as "nll" (Eq. 7) or "kl" (Eq. 6); a list of kinds: side by side;
            None: the captioner's own setting. Every kind that takes no further pass is found, too.
        options: fields of `s2vt.explaining.options.Options`: fps, times, start, end, stride, protocol, settings, cmap,
            layout, size, seed.
    Returns:
        `s2vt.explaining.explained.Explained`: `words`, `nll`, `kl`, `frame_nll`, `instead`, `map`, `show`, `save`; of
        several captioners, the numbers of each are in `findings`.
    Raises:
        UserError: on an unknown captioner, kind of map or setting, a medium that cannot be read, words that the
            captioner does not know, or phrases that the sentence lacks. The message says what to do.
        TypeError: on an unknown option.
    """
    from s2vt.explaining import captioners
    from s2vt.explaining.explain import explain_job
    from s2vt.explaining.explainer import Explainer
    from s2vt.explaining.jobs import plan_in_memory
    from s2vt.explaining.options import Options

    options = Options(**options)
    given = captioner if isinstance(captioner, list | tuple) else [captioner]
    chosen = options.selection(medium, sentence, instead)
    request = options.request([captioners.load(each) for each in given], chosen, phrases, map)
    return explain_job(Explainer(request), plan_in_memory(request))
