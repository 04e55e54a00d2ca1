"""FedBN: BatchNorm stays on the clients."""

from typing import Literal

from fedssl.model_state import TensorRoles
from strategies.base import NO_PARTS
from strategies.config import StrategyConfig
from strategies.fedavg import MeanByExamples


class FedBN(MeanByExamples):
    """BatchNorm stays on the clients: examples that differ in style, such as cameras or domains.

    Scales, shifts and statistics stay on each client; all else is the mean by examples. The global
    model's own BatchNorm keeps the scales and shifts that it began with; before each central
    evaluation its statistics are measured anew, on training examples that the server has, without
    their labels. So round 0 is measured, too.

    For clients whose examples differ in style (cameras, hospitals, domains) rather than in classes.
    The global encoder is not what any client uses: judge it by the clients', too.

    Source: Li et al., "FedBN: Federated Learning on Non-IID Features via Local Batch
    Normalization", ICLR 2021, algorithm 1.

    Raises
    ------
    ValueError
        The model has no BatchNorm.

    Examples
    --------
    >>> norm = frozenset({"encoder.norm.weight", "encoder.norm.bias"})
    >>> strategy = FedBN(parts=TensorRoles(batchnorm_names=norm))
    >>> strategy.stays_local("encoder.norm.weight"), strategy.stays_local("encoder.conv.weight")
    (True, False)
    """

    class Config(StrategyConfig):
        """The ``strategy`` section of FedBN."""

        name: Literal["fedbn"] = "fedbn"
        """The name of this strategy."""

    config: Config

    def __init__(self, config: Config | None = None, parts: TensorRoles = NO_PARTS):
        super().__init__(config, parts)
        if not parts.batchnorm_names:
            raise ValueError(
                "fedbn: the model has no BatchNorm that could stay local (model.norm: group leaves "
                "none); take fedavg"
            )

    def stays_local(self, name: str) -> bool:
        """Tell whether a tensor is BatchNorm's."""
        return name in self.parts.batchnorm_names

    def __repr__(self) -> str:
        return "FedBN: the mean by examples, of all but BatchNorm"
