"""The ``strategy`` section of a config: what all strategies share, and a class of one's own."""

import inspect
from typing import Literal

from flwr.serverapp.strategy import Strategy
from pydantic import ConfigDict, Field

from fedssl.dotted import load_dotted
from fedssl.fields import Dotted, Fields, Number
from fedssl.state import ModelParts

# Flower's own strategies wait for ever for as many nodes as their minimums say, and would ask
# clients to evaluate, which ours do not; a cohort may well be one client.
_FLOWER_DEFAULTS = {
    "min_train_nodes": 1,
    "min_available_nodes": 1,
    "min_evaluate_nodes": 0,
    "fraction_evaluate": 0.0,
}


class StrategyConfig(Fields):
    """The ``strategy`` section."""

    name: str
    """How client models become one: a name that `fedssl list` prints, or a dotted path."""
    max_update_norm: Number | None = Field(None, gt=0)
    """The most that a client's model may be away from the one it was sent, as ‖w − g‖₂ over all
    floating tensors that it sends; null for no limit."""
    on_exceed: Literal["clip", "refuse"] = "clip"
    """What becomes of a client that is further away: its update is shortened to the limit, or the
    client counts as failed."""

    def build(self, parts: ModelParts) -> Strategy:
        """Return the strategy, for a model of these parts.

        Raises
        ------
        ValueError
            It cannot be had with these fields, or for this model.
        """
        raise NotImplementedError(f"{type(self).__name__} builds nothing")


class CustomStrategyConfig(StrategyConfig):
    """Any Flower strategy by its dotted path; further fields are its keyword arguments."""

    model_config = ConfigDict(extra="allow")

    name: Dotted
    """The dotted path."""

    def build(self, parts: ModelParts) -> Strategy:
        """Return an instance of the class.

        If it has parameters ``buffers`` or ``norms``, it gets those of ``parts``.

        Raises
        ------
        ValueError
            The path leads to nothing, to no Flower strategy, or the fields are not its parameters.
        """
        cls = load_dotted(self.name)
        if not (isinstance(cls, type) and issubclass(cls, Strategy)):
            raise ValueError(
                f"strategy.name = {self.name}: it is no subclass of "
                "flwr.serverapp.strategy.Strategy"
            )
        signature = inspect.signature(cls)
        offered = {**_FLOWER_DEFAULTS, "buffers": parts.buffers, "norms": parts.norms}
        arguments = {n: v for n, v in offered.items() if n in signature.parameters}
        given = self.model_extra or {}
        if refused := sorted(given.keys() & {"fraction_train", *_FLOWER_DEFAULTS}):
            raise ValueError(
                f"strategy.{refused[0]}: who takes part is decided by `participation`; leave it out"
            )
        arguments |= given
        try:
            signature.bind(**arguments)
        except TypeError as error:
            known = ", ".join(signature.parameters) or "nothing"
            raise ValueError(f"strategy {self.name}: {error}; it takes {known}") from None
        return cls(**arguments)
