"""FedAvg: the mean of the client models by their numbers of examples."""

from collections.abc import Iterable, Mapping

from torch import Tensor

from strategies import fold
from strategies.base import FoldingStrategy
from strategies.fold import ExampleMean, Fold


def merge(
    client_states: Iterable[Mapping[str, Tensor]], num_examples: Iterable[int]
) -> dict[str, Tensor]:
    """Average client models by their examples: g' = Σ_k n[k]·w[k] / Σ_k n[k].

    Integer counters take the maximum. Nothing that comes in is written to, or shared with what is
    returned.

    Parameters
    ----------
    client_states : Iterable[Mapping[str, Tensor]]
        The models, with the same names and shapes; read one by one.
    num_examples : Iterable[int]
        How many images each client trained on.

    Raises
    ------
    ValueError
        There is no client, the models differ in names or shapes, or no client has an example.

    References
    ----------
    McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data",
    AISTATS 2017, algorithm 1.
    """
    return fold.merge(ExampleMean(), client_states, num_examples)


class FedAvg(FoldingStrategy):
    """Average the clients' models by their numbers of examples (McMahan et al., 2017).

    The plain baseline. Unlike Flower's own FedAvg it folds replies as they come, on whatever device
    they are, keeps integer counters integer, and takes every node that the Grid lists.
    """

    def start_fold(self, server_round: int, global_state: Mapping[str, Tensor]) -> Fold:
        """Return a mean by examples."""
        return ExampleMean(like=global_state)

    def __repr__(self) -> str:
        return "FedAvg: the mean by examples"
