"""FedBN: BatchNorm stays on the clients."""

from typing import Literal

from flwr.serverapp.strategy import Strategy

from fedssl.state import ModelParts
from strategies.config import StrategyConfig
from strategies.fedavg import FedAvg


class FedBN(FedAvg):
    """Federate all but BatchNorm: scales, shifts and statistics stay on each client.

    All else is the mean by examples. The global model's own BatchNorm keeps the scales and shifts
    that it began with; before each central evaluation its statistics are measured anew, on training
    examples that the server has, without their labels. So round 0 is measured, too.

    For clients whose examples differ in style (cameras, hospitals, domains) rather than in classes.
    The global encoder is not what any client uses: judge it by the clients', too.

    Parameters
    ----------
    norms : frozenset[str] (default: frozenset())
        The names of all of BatchNorm's tensors.

    Source: Li et al., "FedBN: Federated Learning on Non-IID Features via Local Batch
    Normalization", ICLR 2021, algorithm 1.
    """

    def __init__(self, norms: frozenset[str] = frozenset()):
        super().__init__()
        if not norms:
            raise ValueError(
                "fedbn: the model has no BatchNorm that could stay local (model.norm: group leaves "
                "none); take fedavg"
            )
        self.norms = norms

    def stays_local(self, name: str) -> bool:
        """Tell whether a tensor is BatchNorm's."""
        return name in self.norms

    def __repr__(self) -> str:
        return "FedBN: the mean by examples, of all but BatchNorm"


class FedBNConfig(StrategyConfig):
    """BatchNorm stays on the clients: examples that differ in style, such as cameras or domains."""

    name: Literal["fedbn"] = "fedbn"
    """The strategy."""

    def build(self, parts: ModelParts) -> Strategy:
        """Return the strategy; a ValueError says that the model has no BatchNorm."""
        return FedBN(parts.norms)
