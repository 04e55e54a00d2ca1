"""What a reply must hold."""

import pytest
import torch
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp.strategy import Strategy

from fedssl.model_state import TensorRoles
from strategies import STRATEGIES, FedAvg
from strategies.ldawa import DivergenceAware
from strategies.messages import to_record
from tests.tools.fake_grid import FakeGrid, reply
from tests.tools.strategy_models import BUFFERS, State, model
from tests.tools.strategy_updates import update

PARTS = TensorRoles(buffers=BUFFERS)


def ours() -> list[Strategy]:
    family = [s for s in STRATEGIES.values() if issubclass(s, DivergenceAware)]
    return [FedAvg(), *(each(each.Config(warmup_rounds=0), PARTS) for each in family)]


@pytest.mark.parametrize("strategy", ours()[:3], ids=repr)
@pytest.mark.parametrize(
    ("state", "name"),
    [
        ({**model(1), "head.weight": torch.zeros(9)}, "head.weight"),
        ({n: t for n, t in model(1).items() if n != "bn.bias"}, "bn.bias"),
        ({**model(1), "queue": torch.zeros(9)}, "queue"),
    ],
)
def test_a_model_that_does_not_fit_is_refused(strategy: Strategy, state: State, name: str) -> None:
    grid = FakeGrid([31], update)
    (message,) = strategy.configure_train(1, to_record(model(77)), ConfigRecord(), grid)
    with pytest.raises(ValueError, match=f"node 31: .*{name}"):
        strategy.aggregate_train(1, [reply(message, state, 5, 1.0)])


@pytest.mark.parametrize(
    ("key", "message"),
    [("arrays", "no ArrayRecord"), ("metrics", "no MetricRecord"), ("num-examples", "None")],
)
def test_a_reply_that_lacks_something_is_refused(key: str, message: str) -> None:
    grid = FakeGrid([31], update)
    strategy = FedAvg()
    (sent,) = strategy.configure_train(1, to_record(model(77)), ConfigRecord(), grid)
    content: RecordDict = reply(sent, model(1), 5, 1.0).content
    if key in content:
        del content[key]
    else:
        del content.metric_records["metrics"][key]
    with pytest.raises(ValueError, match=f"node 31: .*{message}"):
        strategy.aggregate_train(1, [Message(content, reply_to=sent)])
