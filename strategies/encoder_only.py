"""Encoder-only federation: the heads stay on the clients."""

from typing import Literal

from strategies.config import StrategyConfig
from strategies.fedavg import MeanByExamples

ENCODER = "encoder."
"""How the names of an encoder's tensors begin."""


class LocalHeads(MeanByExamples):
    """A strategy that federates the encoder alone."""

    def stays_local(self, name: str) -> bool:
        """Tell whether a tensor is none of the encoder's."""
        return not name.startswith(ENCODER)


class EncoderOnly(LocalHeads):
    """Projector and predictor stay on the clients: heads that fit their own data; fewer bytes.

    The encoder is the mean by examples. Heads never travel: each client's begin as the seed makes
    them, all alike, and go on from those of its own last round.

    For when heads would fit the clients' own examples, or are large: less is sent. A client that is
    seldom drawn has a head that lags behind the encoder. The projector in the run's
    `model.safetensors` is the untrained one.

    Source: Rehman et al., "Federated Self-supervised Learning for Video Understanding", ECCV 2022,
    which aggregates the backbone only; Arivazhagan et al., "Federated Learning with Personalization
    Layers", 2019.

    Examples
    --------
    >>> strategy = EncoderOnly()
    >>> strategy.stays_local("encoder.conv.weight"), strategy.stays_local("projector.0.weight")
    (False, True)
    """

    class Config(StrategyConfig):
        """The ``strategy`` section of EncoderOnly."""

        name: Literal["encoder-only"] = "encoder-only"
        """The name of this strategy."""

    config: Config

    def __repr__(self) -> str:
        return "EncoderOnly: the mean by examples, of the encoder"
