"""What a person can mend."""


class ConfigError(ValueError):
    """A config or another file cannot be used; the message names file, field, value and fix."""
