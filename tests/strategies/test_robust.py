"""The rules against attackers: with attackers, and beside Flower's own."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import strategy as flower
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies.messages import arrays_of
from tests.strategies import naive
from tests.tools.fake_grid import FakeGrid
from tests.tools.strategy_models import State
from tests.tools.strategy_rounds import (
    PARAMETERS,
    Client,
    clients,
    make_strategy,
    model,
    play_round,
)
from tests.tools.tensors import assert_states_close

quick = settings(deadline=None, max_examples=12)
many = st.lists(
    clients, min_size=7, max_size=9, unique_by=lambda c: float(c.state[PARAMETERS[0]][0, 0, 0, 0])
)


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("krum", partial(naive.multikrum, byzantine=1, selected=1)),
        ("multikrum", partial(naive.multikrum, byzantine=1)),
        ("bulyan", partial(naive.bulyan, byzantine=1)),
    ],
)
@quick
@given(answers=many)
def test_one_byzantine_client_by_the_formula(
    name: str, formula: Callable[..., State], answers: list[Client]
) -> None:
    g = model(77)
    assert_states_close(
        play_round(make_strategy(name, byzantine=1), g, answers), formula(g, answers)
    )


def near(seed: int, centre: State) -> Client:
    noise = model(seed)
    return Client(
        {n: t + 0.01 * noise[n] if t.is_floating_point() else t for n, t in centre.items()}
    )


@pytest.mark.parametrize("name", ["median", "trimmed-mean", "krum", "multikrum", "bulyan"])
@pytest.mark.parametrize("place", [0, 3, 6])
@pytest.mark.parametrize("size", [1e3, -1e3])
def test_one_attacker_among_seven_moves_nothing(name: str, place: int, size: float) -> None:
    g, honest = model(77), model(78)
    answers = [near(seed, honest) for seed in range(6)]
    attack = {n: t * size if t.is_floating_point() else t for n, t in model(5).items()}
    answers.insert(place, Client(attack, examples=1_000_000))
    merged = play_round(make_strategy(name), g, answers)
    for tensor, value in honest.items():
        torch.testing.assert_close(merged[tensor], value, rtol=0, atol=0.1)


def test_attention_drops_clients_that_push_the_other_way() -> None:
    g = model(77)
    honest = {n: t + 0.1 if t.is_floating_point() else t for n, t in g.items()}
    attack = {n: t - 5.0 if t.is_floating_point() else t + 9 for n, t in g.items()}
    answers = [near(seed, honest) for seed in range(5)] + [Client(attack)] * 2
    merged = play_round(make_strategy("attack-adaptive"), g, answers)
    for tensor, value in honest.items():
        torch.testing.assert_close(merged[tensor], value, rtol=0, atol=0.05)


def test_counters_do_not_count_in_distances() -> None:
    g = model(77)
    answers = [near(seed, model(78)) for seed in range(5)]
    counter = "encoder.bn.num_batches_tracked"
    before = play_round(make_strategy("krum"), g, answers)
    for place, answer in enumerate(answers):
        answer.state[counter] = torch.tensor(10_000 * place)
    after = play_round(make_strategy("krum"), g, answers)
    assert all(torch.equal(after[n], t) for n, t in before.items() if n != counter)


def only_parameters(state: State) -> State:
    return {n: state[n] for n in PARAMETERS if state[n].dim()}


ALONE = only_parameters(model(77))
ALL = [Client(only_parameters(model(seed)), examples=1) for seed in range(8)]


def flowers(strategy: flower.FedAvg, g: State, answers: list[Client]) -> State:
    nodes = list(range(1, len(answers) + 1))
    config = ConfigRecord()
    messages = strategy.configure_train(1, ArrayRecord(g), config, FakeGrid(nodes, lambda _, s: s))
    replies = []
    for message in messages:
        client = answers[message.metadata.dst_node_id - 1]
        metrics = MetricRecord({"num-examples": client.examples})
        content = RecordDict({"arrays": ArrayRecord(client.state), "metrics": metrics})
        replies.append(Message(content, reply_to=message))
    merged, _ = strategy.aggregate_train(1, replies)
    assert merged is not None
    return dict(merged.to_torch_state_dict())


@pytest.mark.parametrize(
    ("name", "fields", "theirs"),
    [
        ("median", {}, flower.FedMedian),
        ("trimmed-mean", {"beta": 0.3}, partial(flower.FedTrimmedAvg, beta=0.3)),
        ("krum", {}, partial(flower.Krum, num_malicious_nodes=1)),
        (
            "multikrum",
            {"selected": 3},
            partial(flower.MultiKrum, num_malicious_nodes=1, num_nodes_to_select=3),
        ),
    ],
)
@pytest.mark.filterwarnings("default")
def test_on_parameters_alone_it_gives_what_flowers_own_gives(
    name: str, fields: dict[str, object], theirs: Callable[..., flower.FedAvg]
) -> None:
    own = play_round(make_strategy(name, **fields), ALONE, ALL)
    assert_states_close(own, flowers(theirs(fraction_evaluate=0.0), ALONE, ALL))


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_bulyan_is_flowers_own_where_that_picks_one_after_the_other() -> None:
    def one_by_one(contents: list[RecordDict], byzantine: int, count: int) -> list[RecordDict]:
        left, picked = list(range(len(contents))), []
        for _ in range(count):
            states = [Client(dict(arrays_of(contents[k]).to_torch_state_dict())) for k in left]
            picked.append(left.pop(naive.krum_ranking(ALONE, states, byzantine)[0]))
        return [contents[k] for k in picked]

    theirs = flower.Bulyan(num_malicious_nodes=1, selection_rule=one_by_one, fraction_evaluate=0.0)
    assert_states_close(
        play_round(make_strategy("bulyan"), ALONE, ALL), flowers(theirs, ALONE, ALL)
    )


@pytest.mark.parametrize(
    ("name", "fields", "needed"),
    [
        ("krum", {}, 5),
        ("multikrum", {"byzantine": 0, "selected": 4}, 4),
        ("multikrum", {"byzantine": 2}, 7),
        ("bulyan", {}, 7),
    ],
)
def test_too_few_answers_are_refused(name: str, fields: dict[str, object], needed: int) -> None:
    answers = [Client(model(seed)) for seed in range(needed)]
    play_round(make_strategy(name, **fields), model(77), answers)
    with pytest.raises(ValueError, match=rf"{needed - 1} client.*at least {needed}"):
        play_round(make_strategy(name, **fields), model(77), answers[:-1])
