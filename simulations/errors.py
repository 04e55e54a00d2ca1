"""What can go wrong in a run that began."""

from fedssl.base.printable import printable_message


class RunError(RuntimeError):
    """A run cannot go on; what it finished is on disk.

    What in the message came from outside is made printable, and its length bounded.

    Examples
    --------
    With an experiment from `load_experiment`::

        try:
            run(experiment, out="runs/three")
        except RunError as error:
            print(f"{error}; go on by run(..., resume=True)")
    """

    def __init__(self, message: str):
        super().__init__(printable_message(message))


class EngineLostError(RunError):
    """What runs the clients is gone, which is no client's fault; what was finished is on disk."""


class TooFewRepliesError(RuntimeError):
    """Of a round's clients fewer answered than it needs; nothing of it counts, so run it again."""


class BadModelError(RuntimeError):
    """What a strategy made of a round's replies cannot be used; the global model is as before."""


class MembersChangedError(RuntimeError):
    """A client of a round's cohort is no longer a member, and the others are too few: draw anew."""
