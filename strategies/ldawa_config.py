"""The ``strategy`` section of the L-DAWA family."""

from dataclasses import asdict
from typing import Any, Literal

from flwr.serverapp.strategy import Strategy
from pydantic import Field, model_validator

from fedssl.state import ModelParts
from strategies.config import StrategyConfig
from strategies.ldawa import LDAWA
from strategies.rule import (
    PRESETS,
    BatchNormBuffers,
    Granularity,
    Negative,
    Rule,
    Scaling,
    Weighting,
)


class LDAWAConfig(StrategyConfig):
    """The L-DAWA family: a preset, each of whose choices can be replaced."""

    name: Literal[
        "uniform",
        "ldawa",
        "ldawa-released",
        "ldawa-normalized",
        "dawa",
        "const-shrink",
        "ldawa-renorm",
    ] = "ldawa"
    """The preset, which gives the default of each field below but warmup_rounds."""
    warmup_rounds: int = Field(3, ge=0)
    """How many first rounds are FedAvg by examples."""
    granularity: Granularity = "tensor"
    """Over what a cosine with the global model is taken: each tensor, the model, or none."""
    weighting: Weighting = "uniform"
    """Whether clients count the same, or by their examples."""
    scaling: Scaling = "as-is"
    """What becomes of the shrinking: as-is, normalized (divided out), constant-shrink (nothing but
    it is left) or restored-norm (each tensor gets the clients' mean norm)."""
    bn_buffers: BatchNormBuffers = "mean"
    """Whether BatchNorm's statistics are averaged by examples, or scaled like any other tensor."""
    negative: Negative = "clip"
    """Whether a negative cosine counts as 0, or turns the client's tensor round."""

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("name", "ldawa") in PRESETS:
            return {**asdict(PRESETS[values.get("name", "ldawa")]), **values}
        return values

    @property
    def rule(self) -> Rule:
        """The choices as the merge takes them."""
        return Rule(
            granularity=self.granularity,
            weighting=self.weighting,
            scaling=self.scaling,
            bn_buffers=self.bn_buffers,
            negative=self.negative,
        )

    def build(self, parts: ModelParts) -> Strategy:
        """Return the strategy."""
        return LDAWA(self.rule, warmup_rounds=self.warmup_rounds, buffers=parts.buffers)
