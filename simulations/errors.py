"""What can go wrong in a run that began."""


class RunError(RuntimeError):
    """A run cannot go on; what it finished is on disk."""


class TooFewAnswersError(RuntimeError):
    """Of a round's clients fewer answered than it needs; nothing of it counts, so run it again."""


class BadModelError(RuntimeError):
    """What a strategy made of a round's replies cannot be used; the global model is as before."""
