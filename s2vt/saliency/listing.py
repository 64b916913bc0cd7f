"""The table that `visualization.py --map list` prints: what each kind of map is, who can give it, and its cost."""

from s2vt import markdown
from s2vt.config import ModelConfig, choices
from s2vt.saliency.maps import KINDS, kinds_with

PASSES = (
    "Cost: passes through the captioner of a picture of N cells for a sentence of T words; a pass reads cells and says "
    "the sentence. K: saliency.subsets, A: saliency.integration_steps. Of a video, N are its cells and frames where "
    "each is read alone, else its frames."
)


def kinds_table(model=None, media=None):
    """The kinds of map in Markdown: of a captioner for a kind of media, or all of them.

    Args:
        model: the captioner's ModelConfig; None: any captioner's.   media: "picture" or "video"; None: both.
    """
    methods = {method for kind in KINDS.values() for method in kind.needs} if model is None else model.methods
    asked = ("picture", "video") if media is None else (media,)
    names = dict.fromkeys(name for each in asked for name in kinds_with(methods, each))
    lines = [
        (f"`{name}`", kind.title, captioners(kind), " and ".join(f"{each}s" for each in kind.media), kind.cost)
        for name, kind in ((name, KINDS[name]) for name in KINDS if name in names)
    ]
    return f"{markdown.table(['--map', 'what it is', 'captioners', 'media', 'cost'], lines)}\n\n{PASSES}"


def captioners(kind):
    """The captioners that can give a kind of map, in words.

    Example:
        >>> captioners(KINDS["rollout"]), captioners(KINDS["nll"])
        ('transformer', 'all')
    """
    models = [ModelConfig(name=name) for name in choices("model.name")]
    able = [model.name for model in models if set(kind.needs) <= set(model.methods)]
    if not able:
        return "those trained with model.contrast"
    return "all" if len(able) == len(models) else ", ".join(able)
