from collections.abc import Mapping
from importlib.metadata import EntryPoint, EntryPoints
from typing import Annotated, Any

import pytest
from flwr.serverapp import strategy as flower
from flwr.serverapp.strategy import Strategy
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

import strategies
from fedssl.base import registry
from fedssl.base.registry import Registry
from fedssl.model_state import TensorRoles
from strategies import (
    STRATEGIES,
    CustomStrategyConfig,
    FedAvg,
    FedAvgM,
    FoldingStrategy,
    StrategyConfig,
    build,
)
from strategies.fold import ExampleMean, Fold

PARTS = TensorRoles(("bn.weight",), frozenset({"bn.running_mean"}), frozenset({"bn.weight"}))


SECTION: TypeAdapter[StrategyConfig] = TypeAdapter(Annotated[StrategyConfig, STRATEGIES.choice])

SHARED = {"max_update_norm": None, "on_exceed": "clip"}
DEFAULTS: dict[str, dict[str, Any]] = {
    # What configs and run folders rely on.
    "fedavg": {"weighting": "examples"},
    "uniform": {
        "warmup_rounds": 3,
        "granularity": "none",
        "weighting": "uniform",
        "scaling": "as-is",
        "bn_buffers": "mean",
        "negative": "clip",
    },
    "ldawa": {
        "warmup_rounds": 3,
        "granularity": "tensor",
        "weighting": "uniform",
        "scaling": "as-is",
        "bn_buffers": "mean",
        "negative": "clip",
    },
    "ldawa-released": {
        "warmup_rounds": 3,
        "granularity": "tensor",
        "weighting": "uniform",
        "scaling": "as-is",
        "bn_buffers": "scaled",
        "negative": "keep",
    },
    "ldawa-normalized": {
        "warmup_rounds": 3,
        "granularity": "tensor",
        "weighting": "uniform",
        "scaling": "normalized",
        "bn_buffers": "mean",
        "negative": "clip",
    },
    "dawa": {
        "warmup_rounds": 3,
        "granularity": "model",
        "weighting": "uniform",
        "scaling": "as-is",
        "bn_buffers": "mean",
        "negative": "clip",
    },
    "const-shrink": {
        "warmup_rounds": 3,
        "granularity": "tensor",
        "weighting": "uniform",
        "scaling": "constant-shrink",
        "bn_buffers": "mean",
        "negative": "clip",
    },
    "ldawa-renorm": {
        "warmup_rounds": 3,
        "granularity": "tensor",
        "weighting": "uniform",
        "scaling": "restored-norm",
        "bn_buffers": "mean",
        "negative": "clip",
    },
    "loss-weighted": {},
    "fedprox": {"mu": 0.01},
    "moon": {"mu": 1.0, "temperature": 0.5},
    "fedu": {"threshold": 0.4},
    "fedema": {"tau": 0.7},
    "fedbn": {},
    "encoder-only": {},
    "layer-schedule": {"every": {}},
    "fedlama": {"factor": 2},
    "fedvssl": {"alpha": 0.9},
    "fednova": {},
    "elastic": {"tau": 0.5, "decay": 0.95},
    "fedavgm": {"lr": 1.0, "momentum": 0.9},
    "fedadam": {"lr": 0.01, "beta_1": 0.9, "beta_2": 0.99, "tau": 0.001},
    "fedyogi": {"lr": 0.01, "beta_1": 0.9, "beta_2": 0.99, "tau": 0.001},
    "fedadagrad": {"lr": 0.01, "beta_1": 0.0, "tau": 0.001},
    "fedexp": {"epsilon": 0.001},
    "fedlws": {"beta": 0.03, "least": 0.01, "most": 0.2},
    "median": {},
    "trimmed-mean": {"beta": 0.2},
    "krum": {"byzantine": 1},
    "multikrum": {"byzantine": 1, "selected": None},
    "bulyan": {"byzantine": 1},
    "attack-adaptive": {"scale": 10.0},
}


def read(**section: Any) -> StrategyConfig:
    return SECTION.validate_python(section)


class WithBuffers(FedAvg):
    def __init__(self, beta: float, buffers: frozenset[str]):
        super().__init__()
        self.beta, self.buffers = beta, buffers


class Heavier(FedAvgM):
    """Twice the step."""

    def step(self, name: str, update: Tensor) -> Tensor:
        return 2 * super().step(name, update)


class Plain(FoldingStrategy):
    """A mean, without fields of its own."""

    def start_fold(self, server_round: int, global_state: Mapping[str, Tensor]) -> Fold:
        return ExampleMean(global_state)


class Configured(Plain):
    """A mean, with a field of its own."""

    class Config(StrategyConfig):
        """Its section."""

        share: float = 0.5
        """A share."""

    config: Config


NOT_A_STRATEGY = 3


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_name_is_built_with_its_defaults_and_its_config_reads_back(name: str) -> None:
    config = read(name=name)
    dumped = config.model_dump(mode="json")
    if name in DEFAULTS:
        assert dumped == {"name": name, **SHARED, **DEFAULTS[name]}
    assert read(**dumped) == config == SECTION.validate_python(name)
    strategy = build(config, PARTS)
    assert type(strategy) is STRATEGIES[name]
    assert isinstance(strategy, FoldingStrategy)
    assert (strategy.config, strategy.parts) == (config, PARTS)


def test_choices_replace_the_presets() -> None:
    config = read(name="ldawa-released", weighting="examples", warmup_rounds=0)
    given = {"weighting": "examples", "warmup_rounds": 0}
    expected = {"name": "ldawa-released", **SHARED, **DEFAULTS["ldawa-released"], **given}
    assert config.model_dump() == expected


@pytest.mark.parametrize("name", ["uniform", "ldawa-released", "ldawa-renorm"])
def test_a_preset_says_of_each_field_what_it_means(name: str) -> None:
    fields = STRATEGIES.models[name].model_fields
    assert all(field.description for field in fields.values())
    ldawa = STRATEGIES.models["ldawa"].model_fields
    assert fields["scaling"].description == ldawa["scaling"].description


@pytest.mark.parametrize(
    "section",
    [
        {"name": "fedsgd"},
        {"name": "fedavg", "warmup_rounds": 1},
        {"name": "ldawa", "scaling": "none"},
        {"name": "ldawa", "warmup_rounds": -1},
        {"name": "ldawa", "granularty": "tensor"},
    ],
)
def test_what_does_not_exist_is_refused(section: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        read(**section)


def test_a_dotted_path_gets_its_fields_and_the_buffers() -> None:
    name = f"{__name__}.WithBuffers"
    strategy = build(read(name=name, beta=0.5), PARTS)
    # Imported by its path, the module may be another object than this one.
    assert type(strategy).__name__ == "WithBuffers"
    assert vars(strategy)["beta"] == 0.5
    assert vars(strategy)["buffers"] == PARTS.buffers


def test_a_subclass_has_the_fields_of_what_it_is_made_of() -> None:
    name = f"{__name__}.Heavier"
    strategy = build(read(name=name, momentum=0.5), PARTS)
    assert type(strategy).__name__ == "Heavier"
    assert isinstance(strategy, FedAvgM)
    assert (strategy.config.name, strategy.config.momentum, strategy.config.lr) == (name, 0.5, 1.0)
    with pytest.raises(ValueError, match=r"strategy\.momentum = 2: .*less than 1"):
        build(read(name=name, momentum=2), PARTS)
    with pytest.raises(ValueError, match=r"strategy\.beta: unknown field; choose one of"):
        build(read(name=name, beta=0.5), PARTS)


def test_a_class_without_fields_or_with_its_own_gets_its_section() -> None:
    plain = build(read(name=f"{__name__}.Plain", max_update_norm=3.0), PARTS)
    assert isinstance(plain, FoldingStrategy)
    assert (plain.config.max_update_norm, plain.parts) == (3.0, PARTS)
    with pytest.raises(ValueError, match=r"strategy\.share: unknown field; choose one of"):
        build(read(name=f"{__name__}.Plain", share=0.25), PARTS)
    configured = build(read(name=f"{__name__}.Configured", share=0.25), PARTS)
    assert isinstance(configured, FoldingStrategy)
    assert configured.config.model_dump()["share"] == 0.25


def added(monkeypatch: pytest.MonkeyPatch, **points: str) -> TypeAdapter[StrategyConfig]:
    """Return what reads a section where installed packages add these strategies."""
    made = EntryPoints(EntryPoint(n, value, "fedssl.strategies") for n, value in points.items())
    monkeypatch.setattr(registry, "entry_points", lambda group: made)
    known = Registry("strategy", "fedssl.strategies", Strategy, FedAvg, custom=CustomStrategyConfig)
    monkeypatch.setattr(strategies, "STRATEGIES", known)
    return TypeAdapter(Annotated[StrategyConfig, known.choice])


def test_an_installed_package_adds_a_strategy(monkeypatch: pytest.MonkeyPatch) -> None:
    here = f"{__name__}:"
    section = added(monkeypatch, heavier=f"{here}Heavier", plain=f"{here}Plain", gone="gone:Gone")
    heavier = build(section.validate_python({"name": "heavier", "lr": 0.5}), PARTS)
    assert isinstance(heavier, Heavier)
    assert (heavier.config.name, heavier.config.lr) == ("heavier", 0.5)
    assert strategies.STRATEGIES.summary("heavier") == "Twice the step."
    with pytest.raises(ValidationError, match="greater than 0"):
        section.validate_python({"name": "heavier", "lr": -1})
    assert isinstance(build(section.validate_python("plain"), PARTS), Plain)


def test_an_installed_package_adds_a_strategy_as_flower_has_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = "flwr.serverapp.strategy:FedAvgM"
    section = added(monkeypatch, theirs=path)
    theirs = build(section.validate_python({"name": "theirs", "server_momentum": 0.9}), PARTS)
    assert isinstance(theirs, flower.FedAvgM)
    assert (theirs.server_momentum, theirs.min_available_nodes) == (0.9, 1)


@pytest.mark.parametrize("name", ["FedAvg", "FedAvgM", "FedAdam", "FedProx", "FedMedian"])
@pytest.mark.filterwarnings("default")
def test_flowers_own_never_wait_for_a_second_node(name: str) -> None:
    strategy = build(read(name=f"flwr.serverapp.strategy.{name}"), PARTS)
    assert isinstance(strategy, flower.FedAvg)
    assert (strategy.min_train_nodes, strategy.min_available_nodes) == (1, 1)
    assert (strategy.min_evaluate_nodes, strategy.fraction_evaluate) == (0, 0.0)


def test_fields_given_for_flowers_own_are_kept() -> None:
    section = {"name": "flwr.serverapp.strategy.FedAvgM", "server_momentum": 0.9}
    strategy = build(read(**section), PARTS)
    assert isinstance(strategy, flower.FedAvgM)
    assert strategy.server_momentum == 0.9


@pytest.mark.parametrize("field", ["fraction_train", "min_train_nodes", "min_available_nodes"])
def test_who_takes_part_is_not_the_strategys_to_say(field: str) -> None:
    with pytest.raises(ValueError, match=f"strategy.{field}: .*`participation`"):
        build(read(name="flwr.serverapp.strategy.FedAvg", **{field: 1}), PARTS)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"name": "flwr.serverapp.strategy.FedAvg", "momentum": 1}, "momentum.*fraction_train"),
        ({"name": f"{__name__}.WithBuffers"}, "beta"),
        ({"name": f"{__name__}.NOT_A_STRATEGY"}, "must be a subclass of flwr.serverapp"),
        ({"name": "fractions.Fraction"}, "must be a subclass of flwr.serverapp"),
        ({"name": f"{__name__}.Nowhere"}, "Nowhere"),
    ],
)
def test_a_dotted_path_that_leads_nowhere_is_refused(section: dict[str, Any], message: str) -> None:
    config = read(**section)
    with pytest.raises(ValueError, match=message):
        build(config, PARTS)
