"""L-DAWA and its controls: client tensors are weighed by their cosine with the global model's."""

from collections.abc import Iterable, Mapping
from typing import Literal

from pydantic import Field
from torch import Tensor

from strategies import fold
from strategies.base import FoldingStrategy
from strategies.config import StrategyConfig
from strategies.divergence import DivergenceFold
from strategies.fold import ExampleMean, Fold, Report
from strategies.rule import BatchNormBuffers, Granularity, Negative, Rule, Scaling

__all__ = [
    "DAWA",
    "LDAWA",
    "PRESETS",
    "ConstShrink",
    "DivergenceAware",
    "NormalizedLDAWA",
    "ReleasedLDAWA",
    "RenormedLDAWA",
    "Uniform",
    "merge",
]


class DivergenceAware(FoldingStrategy):
    """A strategy of the L-DAWA family: a `Rule`, after some rounds of FedAvg.

    The first rounds are FedAvg by examples, since an untrained model has no direction worth
    keeping.
    """

    class Config(Rule, StrategyConfig):
        """The ``strategy`` section of the L-DAWA family."""

        warmup_rounds: int = Field(3, ge=0)
        """How many first rounds are FedAvg by examples."""

    config: Config

    def start_fold(self, server_round: int, global_state: Mapping[str, Tensor]) -> Fold:
        """Return a mean by examples in the first rounds, then the rule's fold."""
        if server_round <= self.config.warmup_rounds:
            return ExampleMean(like=global_state)
        return DivergenceFold(global_state, self.config, self.parts.buffers)

    def __repr__(self) -> str:
        choices = ", ".join(f"{name} {getattr(self.config, name)}" for name in Rule.model_fields)
        rounds = self.config.warmup_rounds
        return f"{type(self).__name__}: {choices}, after {rounds} rounds of FedAvg"


class Uniform(DivergenceAware):
    """The mean over clients: the baseline of the L-DAWA family, with its warm-up."""

    class Config(DivergenceAware.Config):
        """The ``strategy`` section of Uniform."""

        name: Literal["uniform"] = "uniform"
        """The strategy."""
        granularity: Granularity = "none"

    config: Config


class LDAWA(DivergenceAware):
    """Each layer weighed by its cosine with the global one: for very different clients.

    The further a client's layer turned from the global one, the less it counts. In reading results,
    mind that the weights are not divided by their sum, so that every tensor also shrinks: compare
    with ``uniform``, and with the controls ``ldawa-normalized``, ``const-shrink`` and
    ``ldawa-renorm``.

    Source: Rehman et al., "L-DAWA: Layer-wise Divergence Aware Weight Aggregation in Federated
    Self-Supervised Visual Representation Learning", ICCV 2023.
    """

    class Config(DivergenceAware.Config):
        """The ``strategy`` section of LDAWA."""

        name: Literal["ldawa"] = "ldawa"
        """The strategy."""

    config: Config


class ReleasedLDAWA(DivergenceAware):
    """The rule of the authors' code: negative cosines, scaled statistics."""

    class Config(DivergenceAware.Config):
        """The ``strategy`` section of ReleasedLDAWA."""

        name: Literal["ldawa-released"] = "ldawa-released"
        """The strategy."""
        bn_buffers: BatchNormBuffers = "scaled"
        negative: Negative = "keep"

    config: Config


class NormalizedLDAWA(DivergenceAware):
    """A control: L-DAWA's direction without its shrinking of the weights."""

    class Config(DivergenceAware.Config):
        """The ``strategy`` section of NormalizedLDAWA."""

        name: Literal["ldawa-normalized"] = "ldawa-normalized"
        """The strategy."""
        scaling: Scaling = "normalized"

    config: Config


class DAWA(DivergenceAware):
    """One cosine for the whole model: is looking at single layers worth it?"""

    class Config(DivergenceAware.Config):
        """The ``strategy`` section of DAWA."""

        name: Literal["dawa"] = "dawa"
        """The strategy."""
        granularity: Granularity = "model"

    config: Config


class ConstShrink(DivergenceAware):
    """A control: L-DAWA's shrinking without its direction."""

    class Config(DivergenceAware.Config):
        """The ``strategy`` section of ConstShrink."""

        name: Literal["const-shrink"] = "const-shrink"
        """The strategy."""
        scaling: Scaling = "constant-shrink"

    config: Config


class RenormedLDAWA(DivergenceAware):
    """A control: L-DAWA with each layer's norm restored."""

    class Config(DivergenceAware.Config):
        """The ``strategy`` section of RenormedLDAWA."""

        name: Literal["ldawa-renorm"] = "ldawa-renorm"
        """The strategy."""
        scaling: Scaling = "restored-norm"

    config: Config


PRESETS: dict[str, Rule] = {
    rule.name: rule
    for rule in (
        Uniform.Config(),
        LDAWA.Config(),
        ReleasedLDAWA.Config(),
        NormalizedLDAWA.Config(),
        DAWA.Config(),
        ConstShrink.Config(),
        RenormedLDAWA.Config(),
    )
}
"""The rules by name."""


def merge(
    global_state: Mapping[str, Tensor],
    client_states: Iterable[Mapping[str, Tensor]],
    num_examples: Iterable[int],
    *,
    preset: str | Rule = "ldawa",
    buffers: frozenset[str] = frozenset(),
) -> dict[str, Tensor]:
    """Merge client models by a rule of the L-DAWA family; as a rule g'[l] = 1/K·Σ_k δ[k,l]·w[k,l].

    This is the rule itself: the rounds of FedAvg before it belong to the strategy. Integer counters
    take the maximum. Nothing that comes in is written to, or shared with what is returned.

    Parameters
    ----------
    global_state : Mapping[str, Tensor]
        The model g that was sent to the clients.
    client_states : Iterable[Mapping[str, Tensor]]
        The models w[k] that came back, with the same names and shapes; read one by one.
    num_examples : Iterable[int]
        How many examples each client trained on.
    preset : str | Rule (default: "ldawa")
        The rule, or its name in ``PRESETS``.
    buffers : frozenset[str] (default: frozenset())
        The names of BatchNorm's running statistics, which most rules average by examples.

    Raises
    ------
    ValueError
        There is no client or no such preset, or the models differ in names or shapes.
    """
    if isinstance(preset, str) and preset not in PRESETS:
        raise ValueError(f"preset = {preset!r}: choose one of {', '.join(PRESETS)}")
    rule = PRESETS[preset] if isinstance(preset, str) else preset
    return fold.merge(
        DivergenceFold(global_state, rule, buffers), client_states, map(Report, num_examples)
    )
