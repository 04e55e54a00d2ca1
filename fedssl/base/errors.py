"""The error for mistakes that a user can fix."""

from fedssl.base.printable import printable_message


class ConfigError(ValueError):
    """A config or another file is not valid; the message names the file, field, value and fix.

    The message is made printable and is limited in length.

    Examples
    --------
    >>> try:
    ...     raise ConfigError("client.lr = -1: must be 0 or more")
    ... except ValueError as error:
    ...     print(error)
    client.lr = -1: must be 0 or more
    """

    def __init__(self, message: str):
        super().__init__(printable_message(message))
