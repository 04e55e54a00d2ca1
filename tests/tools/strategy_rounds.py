"""A round of any strategy, on random models in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

from flwr.app import ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import Strategy
from hypothesis import strategies as st

from fedssl.base.fields import Fields
from fedssl.client_rules import ClientRuleConfig
from fedssl.model_state import TensorRoles
from strategies import STRATEGIES, StrategyConfig, build
from strategies.elastic import SENSITIVITY
from strategies.messages import arrays_of, config_of, read_instructions, to_record, to_state
from tests.tools import strategy_models
from tests.tools.fake_grid import FakeGrid
from tests.tools.strategy_models import State

NAMES = {
    "conv.weight": "encoder.conv.weight",
    "bn.weight": "encoder.bn.weight",
    "bn.bias": "encoder.bn.bias",
    "bn.running_mean": "encoder.bn.running_mean",
    "bn.running_var": "encoder.bn.running_var",
    "bn.num_batches_tracked": "encoder.bn.num_batches_tracked",
    "head.weight": "projector.weight",
    "temperature": "predictor.temperature",
}
PARTS = TensorRoles(
    names=tuple(NAMES.values()),
    buffers=frozenset(NAMES[name] for name in strategy_models.BUFFERS),
    batchnorm_names=frozenset(new for new in NAMES.values() if ".bn." in new),
)
PARAMETERS = [n for n in NAMES.values() if "running" not in n and "tracked" not in n]


def model(seed: int) -> State:
    return {NAMES[name]: tensor for name, tensor in strategy_models.model(seed).items()}


@dataclass(frozen=True)
class Client:
    """A client's answer."""

    state: State
    examples: int = 10
    loss: float = 1.0
    chance: float = 0.0
    steps: int = 1
    sensitivity: list[float] = field(default_factory=lambda: [1.0] * len(PARAMETERS))


clients = st.builds(
    Client,
    state=st.integers(0, 10_000).map(model),
    examples=st.integers(1, 9_000),
    loss=st.floats(-3, 9),
    chance=st.floats(0, 6),
    steps=st.integers(1, 50),
    sensitivity=st.lists(st.floats(0, 5), min_size=len(PARAMETERS), max_size=len(PARAMETERS)),
)
cohorts = st.lists(clients, min_size=1, max_size=5)


class _Section(Fields):
    strategy: Annotated[StrategyConfig, STRATEGIES.choice]


def read_strategy(**section: object) -> StrategyConfig:
    return _Section.model_validate({"strategy": section}).strategy


def make_strategy(name: str, **fields: object) -> Strategy:
    return build(read_strategy(name=name, **fields), PARTS)


def play_round(
    strategy: Strategy, g: State, answers: Sequence[Client], server_round: int = 1
) -> State:
    """Let a strategy send g, and merge the answers to it."""
    nodes = list(range(1, len(answers) + 1))
    grid = FakeGrid(nodes, lambda node, state: state)
    messages = strategy.configure_train(server_round, to_record(g), ConfigRecord(), grid)
    replies = [_reply(m, a) for m, a in zip(messages, answers, strict=True)]
    merged, _ = strategy.aggregate_train(server_round, iter(replies))
    assert merged is not None
    return to_state(merged)


def extra_of_client(rules: Sequence[ClientRuleConfig], client: Client) -> State:
    """What a client's rules send beside its model: here, of its own weights."""
    names = {rule.name for rule in rules}
    sent: State = {}
    if "scaffold" in names:
        sent |= {f"scaffold/{name}": client.state[name] for name in PARAMETERS}
    if "fedx" in names:
        sent |= {"fedx/0.weight": client.state["projector.weight"]}
    return sent


def _reply(message: Message, client: Client) -> Message:
    metrics = MetricRecord(
        {
            "num-examples": client.examples,
            "train-loss": client.loss,
            "chance-loss": client.chance,
            "num-steps": client.steps,
            SENSITIVITY: client.sensitivity,
        }
    )
    instructions = read_instructions(config_of(message.content))
    plan = instructions.transmission
    received = arrays_of(message.content)
    sent = {name: client.state[name] for name in received if name not in plan.withheld}
    content = RecordDict({"arrays": to_record(sent), "metrics": metrics})
    if extra := extra_of_client(instructions.rules, client):
        content["extra"] = to_record(extra)
    return Message(content, reply_to=message)
