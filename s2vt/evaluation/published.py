"""The paper's own figures, to stand beside scores of the same data."""

from s2vt import markdown
from s2vt.data.entities import CATEGORIES

# Table 1: pointing game on Flickr30k Entities, by CATEGORIES, then the average over phrases.
TABLE_1 = {
    "random": (0.100, 0.240, 0.318, 0.179, 0.275, 0.524, 0.246, 0.151, 0.268),
    "center": (0.201, 0.599, 0.647, 0.496, 0.644, 0.652, 0.384, 0.397, 0.492),
    "the paper's model": (0.194, 0.690, 0.601, 0.458, 0.645, 0.667, 0.427, 0.360, 0.501),
}
# Table 2: attention correctness on centre crops. The second row is the paper's own evaluation of the first.
TABLE_2 = {
    "uniform": 0.321,
    "uniform, evaluated again": 0.325,
    "soft attention (Liu et al.)": 0.387,
    "soft attention, supervised (Liu et al.)": 0.433,
    "the paper's model": 0.473,
}


def beside(dataset, split, table):
    """The paper's table that belongs beside a table of scores, as Markdown: a list of one, or of none.

    Args:
        dataset: name of the data set.   split: its split.   table: name of one of `tables.TABLES`.

    Example:
        >>> print(beside("Flickr30k", "test", "attention correctness")[0].splitlines()[2])
        | uniform | 0.321 |
    """
    if (dataset, split) != ("Flickr30k", "test"):
        return []
    if table == "space":
        return [markdown.table(("the paper's Table 1", *CATEGORIES, "average"), [(k, *v) for k, v in TABLE_1.items()])]
    if table == "attention correctness":
        return [markdown.table(("the paper's Table 2", "average"), TABLE_2.items())]
    return []
