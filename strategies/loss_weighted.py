"""Loss-weighted: the lower a client's loss, the more it counts."""

import math
from collections.abc import Mapping
from typing import Literal

from torch import Tensor

from strategies.base import FoldingStrategy
from strategies.config import StrategyConfig
from strategies.fold import Fold, UpdateSummary, WeightedMean
from strategies.messages import CHANCE_LOSS


class SoftmaxMean:
    """The fold that weighs client k by softmax_k(chance loss − loss).

    The weights are known only once all have answered, so each is taken relative to the largest so
    far, as in an online softmax, and the sums are scaled when a larger one comes.

    Parameters
    ----------
    like : Mapping[str, Tensor]
        A model whose names, shapes and element types each client's must have.
    """

    def __init__(self, like: Mapping[str, Tensor]):
        self._mean = WeightedMean(like)
        self._largest = -math.inf

    def add(self, state: Mapping[str, Tensor], summary: UpdateSummary) -> None:
        """Add one client's model.

        Raises
        ------
        ValueError
            Its loss or chance loss is missing or not finite, or the model has other tensors.
        """
        score = summary.number(CHANCE_LOSS) - summary.loss
        if not math.isfinite(score):
            raise ValueError(f"its loss above chance is {-score}: it must be finite")
        if score > self._largest:
            self._mean.scale(math.exp(self._largest - score))
            self._largest = score
        self._mean.add(state, math.exp(score - self._largest))

    def result(self) -> dict[str, Tensor]:
        """Return the mean; a ValueError says that no model was added."""
        return self._mean.result()


class LossWeighted(FoldingStrategy):
    """Clients weigh by how far their loss is below chance: where some learn hardly anything.

    g' = Σ_k a[k]·w[k] with a = softmax_k(−(loss[k] − chance[k])), BatchNorm's statistics included;
    integer counters take the maximum. chance[k] is the loss of a constant encoder at the client's
    own batch sizes: NT-Xent's is log(2B − 1), so without it small clients would
    always seem to do better.

    For when some clients learn well and others hardly at all, such as those with few or poor
    examples. It trusts the losses that clients report, and an easy client (one class, little
    variety) may have a low loss without a good encoder.

    Source: the loss-based weights of Rehman et al., "Federated Self-supervised Learning for Video
    Understanding", ECCV 2022, as a softmax, and measured from chance.

    Examples
    --------
    >>> import torch
    >>> from strategies.fold import merge
    >>> sent, first, second = ({"w": torch.tensor([value])} for value in (0.0, 0.0, 1.0))
    >>> chance = {CHANCE_LOSS: 4.0}
    >>> summaries = [UpdateSummary(examples=1, loss=loss, metrics=chance) for loss in (4.0, 1.0)]
    >>> merge(LossWeighted().start_fold(1, sent), [first, second], summaries)
    {'w': tensor([0.9526])}
    """

    class Config(StrategyConfig):
        """The ``strategy`` section of LossWeighted."""

        name: Literal["loss-weighted"] = "loss-weighted"
        """The name of this strategy."""

    config: Config

    required_metrics = frozenset({"train-loss", CHANCE_LOSS})

    def start_fold(self, server_round: int, global_state: Mapping[str, Tensor]) -> Fold:
        """Return a mean weighed by the softmax."""
        return SoftmaxMean(global_state)

    def __repr__(self) -> str:
        return "LossWeighted: the mean by softmax(chance loss - loss)"
