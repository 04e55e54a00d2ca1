"""The ``strategy`` section of a config: the fields of all strategies, and of custom classes."""

from typing import Literal

from pydantic import ConfigDict, Field

from fedssl.base.fields import DottedPath, Fields, Number


class StrategyConfig(Fields):
    """The ``strategy`` section.

    Examples
    --------
    >>> from strategies import FedAvg
    >>> FedAvg.Config(max_update_norm=10.0).on_exceed
    'clip'
    """

    name: str = "own"
    """How client models are merged: a name that `fedssl list` prints, or a dotted path."""
    max_update_norm: Number | None = Field(None, gt=0)
    """The largest norm of a client's update, ‖w − g‖₂ over all floating tensors that it sends; null
    for no limit."""
    on_exceed: Literal["clip", "refuse"] = "clip"
    """What to do with a larger update: scale it down to the limit (clip), or count the client as
    failed (refuse)."""


class CustomStrategyConfig(StrategyConfig):
    """Any Flower strategy by its dotted path; further fields are its keyword arguments.

    Examples
    --------
    In a config::

        strategy: {name: flwr.serverapp.strategy.FedTrimmedAvg, beta: 0.1}

    >>> from fedssl.model_state import TensorRoles
    >>> from strategies import build
    >>> config = CustomStrategyConfig(name="flwr.serverapp.strategy.FedTrimmedAvg", beta=0.1)
    >>> build(config, TensorRoles()).beta
    0.1
    """

    model_config = ConfigDict(extra="allow")

    name: DottedPath
    """The dotted path."""
