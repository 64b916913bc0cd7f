"""The two errors that scripts turn into one line on stderr: UserError, exit status 2; ToolError, exit status 1."""

import itertools
from collections.abc import Collection, Hashable


class UserError(ValueError):
    """A mistake of the user. The message is one line: what was wrong, what was expected, what to do next."""


class MissingWeights(UserError):
    """The weights of a feature network are not on this machine, and cannot be downloaded."""


class ToolError(RuntimeError):
    """A failure of a program that this project calls, such as Java. The message is one line."""


def listed(names: Collection[Hashable], shown: int = 10) -> str:
    """The first names of a collection, for a message.

    Example:
        >>> listed(["a", "b", "c"], shown=2)
        'a, b, ...'
    """
    return ", ".join([*map(str, itertools.islice(names, shown)), *["..."] * (len(names) > shown)])
