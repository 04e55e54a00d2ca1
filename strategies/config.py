"""The ``strategy`` section of a config: what all strategies share, and a class of one's own."""

from typing import Literal

from pydantic import ConfigDict, Field

from fedssl.base.fields import DottedPath, Fields, Number


class StrategyConfig(Fields):
    """The ``strategy`` section."""

    name: str = "own"
    """How client models become one: a name that `fedssl list` prints, or a dotted path."""
    max_update_norm: Number | None = Field(None, gt=0)
    """The most that a client's model may be away from the one it was sent, as ‖w − g‖₂ over all
    floating tensors that it sends; null for no limit."""
    on_exceed: Literal["clip", "refuse"] = "clip"
    """What becomes of a client that is further away: its update is shortened to the limit, or the
    client counts as failed."""


class CustomStrategyConfig(StrategyConfig):
    """Any Flower strategy by its dotted path; further fields are its keyword arguments."""

    model_config = ConfigDict(extra="allow")

    name: DottedPath
    """The dotted path."""
