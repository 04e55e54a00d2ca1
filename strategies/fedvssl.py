"""FedVSSL: a mix of loss-weighted and by examples, averaged with the last global encoder."""

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from fedssl.base.fields import Number
from strategies.config import StrategyConfig
from strategies.encoder_only import LocalHeads
from strategies.fold import ExampleMean, Fold, UpdateSummary
from strategies.loss_weighted import LossWeighted, SoftmaxMean


class _Mixed:
    def __init__(self, global_state: Mapping[str, Tensor], alpha: float):
        self._global = global_state
        self._alpha = alpha
        self._by_loss = SoftmaxMean(global_state)
        self._by_examples = ExampleMean(global_state)

    def add(self, state: Mapping[str, Tensor], summary: UpdateSummary) -> None:
        self._by_loss.add(state, summary)
        self._by_examples.add(state, summary)

    @torch.no_grad()
    def result(self) -> dict[str, Tensor]:
        merged, by_loss = self._by_examples.result(), self._by_loss.result()
        for name, tensor in merged.items():
            if tensor.is_floating_point():
                tensor.lerp_(by_loss[name], self._alpha).lerp_(self._global[name], 0.5)
        return merged


class FedVSSL(LocalHeads):
    """Encoders by loss and examples, averaged with the last one; heads stay: noisy rounds.

    g' = ½·(α·Σ_k a[k]·w[k] + (1 − α)·Σ_k p[k]·w[k]) + ½·g over the encoder, BatchNorm's statistics
    included, with a the weights of `LossWeighted` and p the shares of examples; counters take the
    maximum. Heads stay on the clients, as in `EncoderOnly`.

    For when rounds are few and noisy: half of each step is taken, so that the encoder moves evenly,
    and slowly. It holds two running means.

    Source: Rehman et al., "Federated Self-supervised Learning for Video Understanding", ECCV 2022,
    equation 3, with stochastic weight averaging on the server; the weights by loss are its idea,
    their softmax is not.

    Examples
    --------
    >>> from strategies.fold import merge
    >>> sent, first, second = ({"w": torch.tensor([value])} for value in (0.0, 2.0, 4.0))
    >>> summary = UpdateSummary(examples=1, loss=2.0, metrics={"chance-loss": 3.0})
    >>> merge(FedVSSL().start_fold(1, sent), [first, second], [summary] * 2)  # half of the way
    {'w': tensor([1.5000])}
    """

    class Config(StrategyConfig):
        """The ``strategy`` section of FedVSSL."""

        name: Literal["fedvssl"] = "fedvssl"
        """The name of this strategy."""
        alpha: Number = Field(0.9, ge=0, le=1)
        """α: how much of the loss-weighted mean is in it; the rest is the mean by examples."""

    config: Config

    required_metrics = LossWeighted.required_metrics

    def start_fold(self, server_round: int, global_state: Mapping[str, Tensor]) -> Fold:
        """Return the two means."""
        return _Mixed(global_state, self.config.alpha)

    def __repr__(self) -> str:
        return f"FedVSSL: alpha {self.config.alpha}"
