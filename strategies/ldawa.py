"""L-DAWA and its controls: client tensors are weighed by their cosine with the global model's."""

from collections.abc import Iterable, Mapping
from typing import Literal

from pydantic import Field
from torch import Tensor

from strategies import fold
from strategies.base import FoldingStrategy
from strategies.config import StrategyConfig
from strategies.divergence import DivergenceFold
from strategies.fold import ExampleMean, Fold, UpdateSummary
from strategies.ldawa_options import BatchNormBuffers, Granularity, LDAWAOptions, Negative, Scaling

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
    """A strategy of the L-DAWA family: `LDAWAOptions`, after some rounds of FedAvg.

    The first rounds are FedAvg by examples, since an untrained model has no direction worth
    keeping.
    """

    class Config(LDAWAOptions, StrategyConfig):
        """The ``strategy`` section of the L-DAWA family."""

        warmup_rounds: int = Field(3, ge=0)
        """How many first rounds are FedAvg by examples."""

    config: Config

    def start_fold(self, server_round: int, global_state: Mapping[str, Tensor]) -> Fold:
        """Return a mean by examples in the first rounds, then the fold of the L-DAWA family."""
        if server_round <= self.config.warmup_rounds:
            return ExampleMean(like=global_state)
        return DivergenceFold(global_state, self.config, self.parts.buffers)

    def __repr__(self) -> str:
        choices = ", ".join(
            f"{name} {getattr(self.config, name)}" for name in LDAWAOptions.model_fields
        )
        rounds = self.config.warmup_rounds
        return f"{type(self).__name__}: {choices}, after {rounds} rounds of FedAvg"


class Uniform(DivergenceAware):
    """The mean over clients after a warm-up of FedAvg: the baseline of the L-DAWA family.

    Examples
    --------
    >>> import torch
    >>> sent = {"w": torch.tensor([1.0, 0.0])}
    >>> clients = [{"w": torch.tensor([2.0, 0.0])}, {"w": torch.tensor([0.0, 2.0])}]
    >>> merge(sent, clients, [1, 3], preset="uniform")
    {'w': tensor([1., 1.])}
    """

    class Config(DivergenceAware.Config):
        """The ``strategy`` section of Uniform."""

        name: Literal["uniform"] = "uniform"
        """The name of this strategy."""
        granularity: Granularity = "none"

    config: Config


class LDAWA(DivergenceAware):
    """Each layer weighed by its cosine with the global one: for very different clients.

    A layer is one tensor here. The lower its cosine with the global one, the less it counts. The
    weights do not sum to 1, so every merged tensor also shrinks: compare results with ``uniform``,
    and with the controls ``ldawa-normalized``, ``const-shrink`` and ``ldawa-renorm``.

    Source: Rehman et al., "L-DAWA: Layer-wise Divergence Aware Weight Aggregation in Federated
    Self-Supervised Visual Representation Learning", ICCV 2023.

    Examples
    --------
    In a config, without the first rounds of FedAvg::

        strategy: {name: ldawa, warmup_rounds: 0}

    >>> LDAWA(LDAWA.Config(warmup_rounds=0)).config.scaling
    'as-is'
    """

    class Config(DivergenceAware.Config):
        """The ``strategy`` section of LDAWA."""

        name: Literal["ldawa"] = "ldawa"
        """The name of this strategy."""

    config: Config


class ReleasedLDAWA(DivergenceAware):
    """L-DAWA as in the authors' code: negative cosines count, BatchNorm statistics are scaled.

    Examples
    --------
    >>> import torch
    >>> sent = {"w": torch.tensor([1.0])}
    >>> clients = [{"w": torch.tensor([2.0])}, {"w": torch.tensor([-2.0])}]
    >>> merge(sent, clients, [1, 1], preset="ldawa-released")  # δ = −1 turns the second around
    {'w': tensor([2.])}
    """

    class Config(DivergenceAware.Config):
        """The ``strategy`` section of ReleasedLDAWA."""

        name: Literal["ldawa-released"] = "ldawa-released"
        """The name of this strategy."""
        bn_buffers: BatchNormBuffers = "scaled"
        negative: Negative = "keep"

    config: Config


class NormalizedLDAWA(DivergenceAware):
    """A control: L-DAWA with weights that sum to 1, so that nothing shrinks.

    Examples
    --------
    >>> import torch
    >>> sent = {"w": torch.tensor([1.0, 0.0])}
    >>> clients = [{"w": torch.tensor([2.0, 0.0])}, {"w": torch.tensor([0.0, 2.0])}]
    >>> merge(sent, clients, [1, 1], preset="ldawa-normalized")  # as `ldawa`, divided by γ = 0.5
    {'w': tensor([2., 0.])}
    """

    class Config(DivergenceAware.Config):
        """The ``strategy`` section of NormalizedLDAWA."""

        name: Literal["ldawa-normalized"] = "ldawa-normalized"
        """The name of this strategy."""
        scaling: Scaling = "normalized"

    config: Config


class DAWA(DivergenceAware):
    """L-DAWA with one cosine for the whole model instead of one for each tensor.

    Examples
    --------
    >>> import torch
    >>> sent = {"v": torch.tensor([3.0]), "w": torch.tensor([4.0])}
    >>> client = {"v": torch.tensor([4.0]), "w": torch.tensor([3.0])}
    >>> merge(sent, [client], [1], preset="dawa")  # δ = 0.96 over both, where each alone has 1
    {'v': tensor([3.8400]), 'w': tensor([2.8800])}
    """

    class Config(DivergenceAware.Config):
        """The ``strategy`` section of DAWA."""

        name: Literal["dawa"] = "dawa"
        """The name of this strategy."""
        granularity: Granularity = "model"

    config: Config


class ConstShrink(DivergenceAware):
    """A control: L-DAWA's shrinking without its direction.

    Examples
    --------
    >>> import torch
    >>> sent = {"w": torch.tensor([1.0, 0.0])}
    >>> clients = [{"w": torch.tensor([2.0, 0.0])}, {"w": torch.tensor([0.0, 2.0])}]
    >>> merge(sent, clients, [1, 1], preset="const-shrink")  # the mean times γ = 0.5
    {'w': tensor([0.5000, 0.5000])}
    """

    class Config(DivergenceAware.Config):
        """The ``strategy`` section of ConstShrink."""

        name: Literal["const-shrink"] = "const-shrink"
        """The name of this strategy."""
        scaling: Scaling = "constant-shrink"

    config: Config


class RenormedLDAWA(DivergenceAware):
    """A control: L-DAWA with each layer's norm restored.

    Examples
    --------
    >>> import torch
    >>> sent = {"w": torch.tensor([1.0, 0.0])}
    >>> clients = [{"w": torch.tensor([2.0, 0.0])}, {"w": torch.tensor([0.0, 4.0])}]
    >>> merge(sent, clients, [1, 1], preset="ldawa-renorm")  # norm 3, the mean of theirs
    {'w': tensor([3., 0.])}
    """

    class Config(DivergenceAware.Config):
        """The ``strategy`` section of RenormedLDAWA."""

        name: Literal["ldawa-renorm"] = "ldawa-renorm"
        """The name of this strategy."""
        scaling: Scaling = "restored-norm"

    config: Config


PRESETS: dict[str, LDAWAOptions] = {
    options.name: options
    for options in (
        Uniform.Config(),
        LDAWA.Config(),
        ReleasedLDAWA.Config(),
        NormalizedLDAWA.Config(),
        DAWA.Config(),
        ConstShrink.Config(),
        RenormedLDAWA.Config(),
    )
}
"""The options of each preset, by the strategy's name."""


def merge(
    global_state: Mapping[str, Tensor],
    client_states: Iterable[Mapping[str, Tensor]],
    num_examples: Iterable[int],
    *,
    preset: str | LDAWAOptions = "ldawa",
    buffers: frozenset[str] = frozenset(),
) -> dict[str, Tensor]:
    """Merge client models as the L-DAWA family does, by default g'[l] = 1/K·Σ_k δ[k,l]·w[k,l].

    δ is the cosine of a client's tensor with the global one: 1 means the same direction; the
    default preset counts negative cosines as 0. The first rounds of FedAvg belong to the strategy,
    not to this function. Integer counters take the maximum. Inputs are not modified, and share no
    memory with the result.

    Parameters
    ----------
    global_state : Mapping[str, Tensor]
        The model g that was sent to the clients.
    client_states : Iterable[Mapping[str, Tensor]]
        The models w[k] that came back, with the same names and shapes; read one by one.
    num_examples : Iterable[int]
        How many examples each client trained on.
    preset : str | LDAWAOptions (default: "ldawa")
        The options, or a name in ``PRESETS``.
    buffers : frozenset[str] (default: frozenset())
        The names of BatchNorm's running statistics, which most presets average by examples.

    Raises
    ------
    ValueError
        There is no client or no such preset, or the models differ in names or shapes.

    Examples
    --------
    >>> import torch
    >>> sent = {"w": torch.tensor([1.0, 0.0])}
    >>> clients = [{"w": torch.tensor([2.0, 0.0])}, {"w": torch.tensor([0.0, 2.0])}]
    >>> merge(sent, clients, [1, 1])  # the second turned by a right angle: δ = 0
    {'w': tensor([1., 0.])}
    """
    if isinstance(preset, str) and preset not in PRESETS:
        raise ValueError(f"preset = {preset!r}: choose one of {', '.join(PRESETS)}")
    options = PRESETS[preset] if isinstance(preset, str) else preset
    return fold.merge(
        DivergenceFold(global_state, options, buffers),
        client_states,
        map(UpdateSummary, num_examples),
    )
