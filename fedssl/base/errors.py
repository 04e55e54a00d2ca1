"""What a person can mend."""

from fedssl.base.printable import printable_message


class ConfigError(ValueError):
    """A config or another file cannot be used; the message names file, field, value and fix.

    What in it came from outside is made printable, and its length bounded.
    """

    def __init__(self, message: str):
        super().__init__(printable_message(message))
