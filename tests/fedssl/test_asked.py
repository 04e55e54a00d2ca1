import pytest
from flwr.app import ConfigRecord
from hypothesis import given
from hypothesis import strategies as st

from fedssl.asked import Asked

names = st.lists(st.text("abc.", min_size=1), unique=True, max_size=3).map(tuple)
numbers = st.floats(0.001, 0.9)


@given(
    asked=st.builds(
        Asked,
        local=names,
        scheduled=st.just(("a", "b")),
        merged=st.just((0, 3)),
        withheld=names,
        fedema_tau=st.none() | numbers,
        fedu_threshold=st.none() | numbers,
        proximal_mu=numbers,
        moon_mu=numbers,
        moon_temperature=numbers,
        sensitivity_decay=st.none() | numbers,
    )
)
def test_a_messages_config_carries_it(asked: Asked) -> None:
    record = ConfigRecord({**asked.to_config()})
    assert Asked.from_config(dict(record)) == asked


def test_who_asks_for_nothing_says_nothing() -> None:
    assert Asked().to_config() == {}
    assert Asked.from_config({}) == Asked()


def test_flowers_fedprox_is_understood() -> None:
    assert Asked.from_config({"proximal-mu": 1}).proximal_mu == 1.0


def test_what_no_client_does_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="asks its clients for dropout, which they do not do"):
        Asked.from_config({"dropout": 0.5, "proximal-mu": 1.0})


@pytest.mark.parametrize(
    "config",
    [
        {"proximal-mu": -1.0},
        {"proximal-mu": float("nan")},
        {"proximal-mu": "1"},
        {"fedema-tau": 0.0},
        {"sensitivity-decay": 1.0},
        {"local": "encoder"},
        {"scheduled": ["a"], "merged": []},
    ],
)
def test_numbers_that_make_no_sense_are_refused(config: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(config)).split("-")[0]):
        Asked.from_config(config)
