"""The ``strategy`` section of a config: the fields of all strategies, and of custom classes."""

from typing import Literal

from pydantic import ConfigDict, Field

from fedssl.base.fields import DottedPath, Fields, Number


class StrategyConfig(Fields):
    """The ``strategy`` section."""

    name: str = "own"
    """How client models are merged: a name that `fedssl list` prints, or a dotted path."""
    max_update_norm: Number | None = Field(None, gt=0)
    """The largest norm of a client's update, ‖w − g‖₂ over all floating tensors that it sends; null
    for no limit."""
    on_exceed: Literal["clip", "refuse"] = "clip"
    """What to do with a larger update: scale it down to the limit (clip), or count the client as
    failed (refuse)."""


class CustomStrategyConfig(StrategyConfig):
    """Any Flower strategy by its dotted path; further fields are its keyword arguments."""

    model_config = ConfigDict(extra="allow")

    name: DottedPath
    """The dotted path."""
