from typing import Annotated, Any

import pytest
from flwr.serverapp import strategy as flower
from pydantic import ValidationError

from fedssl.fields import Fields
from fedssl.state import ModelParts
from strategies import (
    LDAWA,
    PRESETS,
    STRATEGIES,
    FedAvg,
    FoldingStrategy,
    Rule,
    StrategyChoice,
    StrategyConfig,
    build,
)

PARTS = ModelParts(("bn.weight",), frozenset({"bn.running_mean"}), frozenset({"bn.weight"}))


class Experiment(Fields):
    strategy: Annotated[StrategyConfig, StrategyChoice]


def read(**section: Any) -> StrategyConfig:
    return Experiment.model_validate({"strategy": section}).strategy


class WithBuffers(FedAvg):
    def __init__(self, beta: float, buffers: frozenset[str]):
        super().__init__()
        self.beta, self.buffers = beta, buffers


NOT_A_STRATEGY = 3


def test_every_name_is_built_as_what_it_says() -> None:
    for name in STRATEGIES:
        assert isinstance(build(read(name=name), PARTS), FoldingStrategy)
    assert isinstance(build(read(name="fedavg"), PARTS), FedAvg)
    for name, rule in PRESETS.items():
        strategy = build(read(name=name), PARTS)
        assert isinstance(strategy, LDAWA)
        assert (strategy.rule, strategy.warmup_rounds, strategy.buffers) == (rule, 3, PARTS.buffers)


def test_choices_replace_the_presets() -> None:
    config = read(name="ldawa-released", weighting="examples", warmup_rounds=0)
    strategy = build(config, PARTS)
    assert isinstance(strategy, LDAWA)
    assert strategy.rule == Rule("tensor", "examples", "as-is", "scaled", "keep")
    assert strategy.warmup_rounds == 0


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_resolved_config_shows_every_choice_and_reads_back(name: str) -> None:
    config = read(name=name)
    dumped = config.model_dump(mode="json")
    assert read(**dumped) == config
    if name in PRESETS:
        assert dumped["bn_buffers"] == PRESETS[name].bn_buffers
        shared = {"name", "max_update_norm", "on_exceed"}
        assert set(dumped) == {*shared, "warmup_rounds", *Rule.__dataclass_fields__}


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
        ({"name": f"{__name__}.NOT_A_STRATEGY"}, "no subclass"),
        ({"name": "fractions.Fraction"}, "no subclass"),
        ({"name": f"{__name__}.Nowhere"}, "Nowhere"),
    ],
)
def test_a_dotted_path_that_leads_nowhere_is_refused(section: dict[str, Any], message: str) -> None:
    config = read(**section)
    with pytest.raises(ValueError, match=message):
        build(config, PARTS)
