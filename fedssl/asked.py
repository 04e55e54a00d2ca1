"""What a strategy asks of its clients, beside training the model that it sends."""

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import Field, model_validator

from fedssl.fields import Fields, Listed, Number

Names = Annotated[tuple[str, ...], Listed]

ConfigValue = bool | int | float | str | list[str] | list[int]


class Asked(Fields):
    """What clients are asked for; nothing by default.

    In a message it is part of the config, each field under its name with hyphens; what is at its
    default is left out. So strategies that only merge, such as Flower's own, say nothing, and
    Flower's FedProx is understood.
    """

    local: Names = ()
    """Tensors that never travel: each client has its own, made from the seed at first."""
    scheduled: Names = ()
    """Tensors that are not merged in every round; a client keeps its own while they are newer."""
    merged: Annotated[tuple[int, ...], Listed] = ()
    """The last round that merged each of ``scheduled``, 0 for none yet."""
    withheld: Names = ()
    """Tensors that are not sent back in this round."""
    fedema_tau: Number | None = Field(None, gt=0)
    """τ of FedEMA: start from a mix of the global model and one's own."""
    fedu_threshold: Number | None = Field(None, ge=0)
    """The divergence from which on FedU's clients keep their own predictor."""
    proximal_mu: Number = Field(0.0, ge=0)
    """μ of FedProx's term."""
    moon_mu: Number = Field(0.0, ge=0)
    """μ of MOON's term."""
    moon_temperature: Number = Field(0.5, gt=0)
    """τ of MOON's term."""
    sensitivity_decay: Number | None = Field(None, ge=0, lt=1)
    """Report each parameter's sensitivity, as a moving average of this decay over the steps."""

    @model_validator(mode="after")
    def _one_round_each(self) -> Self:
        if len(self.merged) != len(self.scheduled):
            raise ValueError(f"merged = {self.merged}: must have a round for each of scheduled")
        return self

    def to_config(self) -> dict[str, ConfigValue]:
        """Return it as a message's config holds it."""
        fields = type(self).model_fields
        return {
            name.replace("_", "-"): list(value) if isinstance(value, tuple) else value
            for name, value in self
            if value != fields[name].default
        }

    @classmethod
    def from_config(cls, config: Mapping[str, object]) -> Self:
        """Read what ``to_config`` returned.

        Raises
        ------
        ValueError
            There is something that clients do not do, or with numbers that make no sense.
        """
        names = {name.replace("_", "-") for name in cls.model_fields}
        if unknown := sorted(config.keys() - names):
            raise ValueError(
                f"the strategy asks its clients for {', '.join(unknown)}, which they do not do: "
                "choose a strategy that merges only"
            )
        return cls.model_validate({k.replace("-", "_"): value for k, value in config.items()})

    @property
    def withholds(self) -> frozenset[str]:
        """The tensors that are in no reply."""
        return frozenset(self.local) | frozenset(self.withheld)
