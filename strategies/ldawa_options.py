"""The options of the L-DAWA family."""

from typing import Annotated, Literal

from pydantic import Field

from fedssl.base.fields import Fields

# Described here, since a preset with another default would lose what a docstring says of a field.
Granularity = Annotated[
    Literal["tensor", "model", "none"],
    Field(
        description="Over what a cosine with the global model is taken: each tensor, the model "
        "(all tensors that δ weighs), or none, which leaves every δ at 1."
    ),
]
Weighting = Literal["uniform", "examples"]
Scaling = Annotated[
    Literal["as-is", "normalized", "constant-shrink", "restored-norm"],
    Field(
        description="How the shrinking is treated: as-is, normalized (divided out), "
        "constant-shrink (only the shrinking is left) or restored-norm (each tensor gets the "
        "clients' mean norm)."
    ),
]
BatchNormBuffers = Annotated[
    Literal["mean", "scaled"],
    Field(
        description="Whether BatchNorm's statistics are averaged by examples, or scaled like any "
        "other tensor."
    ),
]
Negative = Annotated[
    Literal["clip", "keep"],
    Field(description="Whether a negative cosine counts as 0, or reverses the client's tensor."),
]


class LDAWAOptions(Fields):
    """How a merge weighs client models by δ, their cosine with the global model.

    Write a[k] for the weight of client k by ``weighting`` (the a[k] sum to 1), w[k] for its tensor,
    g for the global one and γ = Σ_k a[k]·δ[k]. By ``scaling`` a tensor becomes

    as-is: Σ_k a[k]·δ[k]·w[k]; zero where every δ is 0.
    normalized: that divided by γ, so that nothing shrinks; g where γ is 0.
    constant-shrink: γ·Σ_k a[k]·w[k], so that only the shrinking is left; zero where γ is 0.
    restored-norm: as-is, then each tensor is given the norm Σ_k a[k]·‖w[k]‖; g where it is zero.

    Examples
    --------
    >>> import torch
    >>> from strategies.ldawa import merge
    >>> sent = {"w": torch.tensor([1.0, 0.0])}
    >>> clients = [{"w": torch.tensor([2.0, 0.0])}, {"w": torch.tensor([0.0, 2.0])}]
    >>> merge(sent, clients, [3, 1], preset=LDAWAOptions(weighting="examples"))
    {'w': tensor([1.5000, 0.0000])}
    """

    granularity: Granularity = "tensor"
    weighting: Weighting = "uniform"
    """Whether clients count the same, or by their examples."""
    scaling: Scaling = "as-is"
    bn_buffers: BatchNormBuffers = "mean"
    negative: Negative = "clip"
