"""The choices of the L-DAWA family, and the named sets of choices."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

Granularity = Literal["tensor", "model", "none"]
Weighting = Literal["uniform", "examples"]
Scaling = Literal["as-is", "normalized", "constant-shrink", "restored-norm"]
BatchNormBuffers = Literal["mean", "scaled"]
Negative = Literal["clip", "keep"]

_CHOICES: dict[str, Any] = {
    "granularity": Granularity,
    "weighting": Weighting,
    "scaling": Scaling,
    "bn_buffers": BatchNormBuffers,
    "negative": Negative,
}


@dataclass(frozen=True)
class Rule:
    """How a merge weighs client models by δ, their cosine with the global model.

    Write a[k] for the weight of client k by ``weighting`` (the a[k] sum to 1), w[k] for its tensor,
    g for the global one and γ = Σ_k a[k]·δ[k].
    """

    granularity: Granularity = "tensor"
    """Over what a cosine is taken: each tensor, the whole model (of all that the rule merges), or
    nothing, which leaves every δ at 1."""
    weighting: Weighting = "uniform"
    """Whether clients count the same, or by their examples."""
    scaling: Scaling = "as-is"
    """What becomes of the shrinking that δ < 1 brings.

    as-is: Σ_k a[k]·δ[k]·w[k]; zero where every δ is 0.
    normalized: that divided by γ, so that nothing shrinks; g where γ is 0.
    constant-shrink: γ·Σ_k a[k]·w[k], so that nothing but the shrinking is left; zero where γ is 0.
    restored-norm: as-is, then each tensor is given the norm Σ_k a[k]·‖w[k]‖; g where it is zero.
    """
    bn_buffers: BatchNormBuffers = "mean"
    """Whether BatchNorm's statistics are averaged by examples, or merged like any other tensor."""
    negative: Negative = "clip"
    """Whether a negative cosine counts as 0, or turns the client's tensor round."""

    def __post_init__(self) -> None:
        """Refuse a choice that there is not."""
        for field, choices in _CHOICES.items():
            value, valid = getattr(self, field), get_args(choices)
            if value not in valid:
                raise ValueError(f"{field} = {value!r}: choose one of {', '.join(valid)}")


PRESETS: dict[str, Rule] = {
    "uniform": Rule(granularity="none"),
    "ldawa": Rule(),
    "ldawa-released": Rule(bn_buffers="scaled", negative="keep"),
    "ldawa-normalized": Rule(scaling="normalized"),
    "dawa": Rule(granularity="model"),
    "const-shrink": Rule(scaling="constant-shrink"),
    "ldawa-renorm": Rule(scaling="restored-norm"),
}
"""The rules by name: ``uniform`` is the baseline of all others, ``ldawa-normalized``,
``const-shrink`` and ``ldawa-renorm`` are controls."""


def resolve(preset: str | Rule) -> Rule:
    """Return the rule of that name, or the rule itself.

    Raises
    ------
    ValueError
        There is no preset of that name.
    """
    if isinstance(preset, Rule):
        return preset
    if preset not in PRESETS:
        raise ValueError(f"preset = {preset!r}: choose one of {', '.join(PRESETS)}")
    return PRESETS[preset]
