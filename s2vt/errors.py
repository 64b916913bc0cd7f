"""The one kind of error that is the user's to mend."""


class UserError(ValueError):
    """One line that says what was wrong, what was expected and what to do next; scripts exit with status 2."""


class ToolError(RuntimeError):
    """A program that this one calls failed, in one line: not the user's mistake; scripts exit with status 1."""
