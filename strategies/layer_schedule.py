"""A schedule of layers: each is merged every n rounds, or never."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Literal

from pydantic import Field, NonNegativeInt
from torch import Tensor

from fedssl.model_state import TensorRoles
from fedssl.training.transmission import TransmissionPlan
from strategies.base import NO_PARTS
from strategies.config import StrategyConfig
from strategies.fedavg import MeanByExamples


class Scheduled(MeanByExamples):
    """FedAvg in which each tensor is merged every n rounds, with its own n.

    A tensor of interval n is sent back, and merged, in the rounds that n divides. In between, a
    client goes on with its own as long as that is newer than the last merge, else it takes the
    global one. So bytes are saved on the way up; on the way down all is sent, for those who were
    absent.
    """

    @abstractmethod
    def interval(self, name: str) -> int:
        """Return the interval n of a tensor, in rounds."""

    def plan(self, server_round: int, global_state: Mapping[str, Tensor]) -> TransmissionPlan:
        """Return when each slow tensor was last merged, and which are not sent back this round."""
        slow = {name: n for name in global_state if (n := self.interval(name)) > 1}
        return TransmissionPlan(
            scheduled=tuple(slow),
            merged=tuple((server_round - 1) // n * n for n in slow.values()),
            withheld=tuple(name for name, n in slow.items() if server_round % n),
        )


def belongs(name: str, layer: str) -> bool:
    """Tell whether a tensor's name begins with a layer's, up to a dot."""
    return f"{name}.".startswith(f"{layer}.")


class LayerSchedule(Scheduled):
    """Layers are merged every n rounds, or never, by a table: where bytes are dear.

    The mean by examples. Layers that are never merged stay on the clients: each client starts them
    from the seed, and continues from its own last round.

    For when bytes are dear: the last layers hold most of them, and the first ones agree first. Also
    for federating a part of the encoder alone. `fedlama` finds a table by itself.

    Source: the fixed intervals of Lee, Zhang and Avestimehr, "Layer-wise Adaptive Model Aggregation
    for Scalable Federated Learning", AAAI 2023.

    Examples
    --------
    In a config::

        strategy: {name: layer-schedule, every: {projector: 0}}

    >>> parts = TensorRoles(names=("encoder.weight", "projector.weight"))
    >>> strategy = LayerSchedule(LayerSchedule.Config(every={"projector": 0}), parts)
    >>> [strategy.stays_local(name) for name in parts.names]
    [False, True]
    """

    class Config(StrategyConfig):
        """The ``strategy`` section of LayerSchedule."""

        name: Literal["layer-schedule"] = "layer-schedule"
        """The name of this strategy."""
        every: dict[str, NonNegativeInt] = Field(default_factory=dict)
        """Rounds by layer, such as {encoder.layers.9: 4, projector: 0}; 0 for never. A layer is the
        beginning of tensors' names, up to a dot; of several that fit, the longest counts. All other
        tensors are merged in every round."""

    config: Config

    def __init__(self, config: Config | None = None, parts: TensorRoles = NO_PARTS):
        super().__init__(config, parts)
        for layer in self.config.every:
            if not any(belongs(name, layer) for name in parts.names):
                raise ValueError(
                    f"strategy.every.{layer}: the model has no such layer; its tensors are "
                    f"{', '.join(parts.names)}"
                )

    def interval(self, name: str) -> int:
        """Return the interval that the table gives."""
        fit = [layer for layer in self.config.every if belongs(name, layer)]
        return self.config.every[max(fit, key=len)] if fit else 1

    def stays_local(self, name: str) -> bool:
        """Tell whether a tensor is never merged."""
        return self.interval(name) == 0

    def __repr__(self) -> str:
        return f"LayerSchedule: {self.config.every}"
